-- Members, their sessions and the single-use tokens of forms. What a browser holds is never
-- stored: only a hash of it, keyed with a keyset of the vault. The app role cannot revive an ended
-- session, and has no right to change a session's token, member or limits. It can insert a row;
-- but mark seals what a row says of its bearer, and a row with another mark is no session.

CREATE TABLE members (
    issuer         text        NOT NULL,
    subject        text        NOT NULL,
    name           text        NOT NULL,
    email          text        NOT NULL,
    email_verified boolean     NOT NULL,
    first_seen     timestamptz NOT NULL,
    last_seen      timestamptz NOT NULL, -- last sign-in
    CONSTRAINT members_pkey PRIMARY KEY (issuer, subject)
);

CREATE TABLE sessions (
    id              uuid        NOT NULL CONSTRAINT sessions_pkey PRIMARY KEY,
    token_hash      bytea       NOT NULL CONSTRAINT sessions_token_hash_key UNIQUE CONSTRAINT sessions_token_hash_length CHECK (length(token_hash) >= 16),
    mark            text        NOT NULL CONSTRAINT sessions_mark_key UNIQUE, -- keyed hash over id, token, member, groups and limits, in hex: what the log calls this session
    issuer          text        NOT NULL,
    subject         text        NOT NULL,
    name            text        NOT NULL,
    email           text        NOT NULL,
    email_verified  boolean     NOT NULL,
    groups          text[]      NOT NULL, -- as received at sign-in
    overage         boolean     NOT NULL, -- the provider left groups out because there are too many
    claims          jsonb       NOT NULL,
    auth_time       timestamptz,
    sid             text        NOT NULL, -- the provider's session id; empty when it told none
    id_token_sealed bytea,                -- bound to this row's id; null once the session has ended
    ip              text        NOT NULL,
    user_agent      text        NOT NULL,
    created_at      timestamptz NOT NULL,
    last_seen_at    timestamptz NOT NULL, -- written at most once a minute
    expires_at      timestamptz NOT NULL, -- absolute
    ended_at        timestamptz, -- once set, nothing of the row changes
    end_reason      text        NOT NULL DEFAULT '', -- logout, revoked, expired
    CONSTRAINT sessions_member_fkey FOREIGN KEY (issuer, subject) REFERENCES members (issuer, subject)
);

CREATE INDEX sessions_member ON sessions (issuer, subject, created_at DESC) WHERE ended_at IS NULL;
CREATE INDEX sessions_last_seen ON sessions (last_seen_at);

CREATE FUNCTION refuse_change_of_ended() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'an ended session stays as it is' USING ERRCODE = 'insufficient_privilege';
END;
$$;
CREATE TRIGGER refuse_change_of_ended BEFORE UPDATE ON sessions
    FOR EACH ROW WHEN (OLD.ended_at IS NOT NULL) EXECUTE FUNCTION refuse_change_of_ended();

CREATE TABLE form_tokens (
    token_hash bytea       NOT NULL CONSTRAINT form_tokens_pkey PRIMARY KEY,
    session_id uuid        NOT NULL CONSTRAINT form_tokens_session_fkey REFERENCES sessions (id) ON DELETE CASCADE,
    act        text        NOT NULL,
    created_at timestamptz NOT NULL,
    used_at    timestamptz,
    result     text        NOT NULL DEFAULT '' -- what the first post made
);

CREATE INDEX form_tokens_session ON form_tokens (session_id, created_at);
CREATE INDEX form_tokens_created ON form_tokens (created_at);

GRANT SELECT, INSERT ON members TO quartermaster_app;
GRANT UPDATE (name, email, email_verified, last_seen) ON members TO quartermaster_app;

-- forget_sessions deletes sessions that ended, or would have, more than 30 days ago; until then
-- they answer questions about what was. The app role deletes in no other way: a row that is gone
-- could be inserted again as if it had not ended. So the limit counts too, which mark seals, and
-- the time is the database's own.
CREATE FUNCTION forget_sessions() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM public.sessions WHERE greatest(ended_at, expires_at) < clock_timestamp() - interval '30 days' AND ended_at IS NOT NULL;
$$;
REVOKE ALL ON FUNCTION forget_sessions() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION forget_sessions() TO quartermaster_app;

GRANT SELECT, INSERT ON sessions TO quartermaster_app;
GRANT UPDATE (last_seen_at, ended_at, end_reason, id_token_sealed) ON sessions TO quartermaster_app;

GRANT SELECT, INSERT, DELETE ON form_tokens TO quartermaster_app;
GRANT UPDATE (used_at, result) ON form_tokens TO quartermaster_app;
