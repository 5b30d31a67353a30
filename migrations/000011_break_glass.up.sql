-- Break-glass links, and sessions that a sign-in gave whose time the identity provider did not tell.
--
-- Whoever can log in on the console's machine can have a link printed that signs in without the
-- identity provider. Only a keyed hash of the link is stored, and mark seals the row, so that nobody
-- makes a link by writing to the database. A link is used once: the app role may only say that it was
-- used, and nothing of a used one changes. Rows stay; there are few.

CREATE TABLE break_glass_links (
    id         uuid        NOT NULL CONSTRAINT break_glass_links_pkey PRIMARY KEY,
    token_hash bytea       NOT NULL CONSTRAINT break_glass_links_token_hash_key UNIQUE CONSTRAINT break_glass_links_token_hash_length CHECK (length(token_hash) >= 16),
    mark       text        NOT NULL, -- keyed hash over id, token, reason, maker and limits, in hex
    reason     text        NOT NULL CONSTRAINT break_glass_links_reason_given CHECK (reason <> ''),
    made_by    text        NOT NULL, -- user and host
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz  -- once set, nothing of the row changes
);

CREATE FUNCTION refuse_change_of_used() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'a used break-glass link stays as it is' USING ERRCODE = 'insufficient_privilege';
END;
$$;
CREATE TRIGGER refuse_change_of_used BEFORE UPDATE ON break_glass_links
    FOR EACH ROW WHEN (OLD.used_at IS NOT NULL) EXECUTE FUNCTION refuse_change_of_used();

GRANT SELECT, INSERT ON break_glass_links TO quartermaster_app;
GRANT UPDATE (used_at) ON break_glass_links TO quartermaster_app;

-- The provider told no time of the sign-in; it was asked to have the member sign in anew, and
-- auth_time is when it answered. Sealed by mark where it is set. Programs before this one leave it out.
ALTER TABLE sessions ADD COLUMN prompted boolean NOT NULL DEFAULT false;
