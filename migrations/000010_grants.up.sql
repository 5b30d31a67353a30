-- Who may do what. Rows here are only added; what was is never altered or taken away, so that nobody
-- can put an old right back by putting an old row back. Each row carries a message authentication code
-- over what it says and where it stands, made with a keyset that the database never sees: a row without
-- the right one grants nothing.

CREATE TABLE roles (
    id                 uuid        NOT NULL,
    version            integer     NOT NULL CONSTRAINT roles_version_positive CHECK (version > 0), -- the highest counts
    name               text        NOT NULL CONSTRAINT roles_name_length CHECK (char_length(name) BETWEEN 1 AND 64),
    description        text        NOT NULL CONSTRAINT roles_description_length CHECK (char_length(description) <= 500),
    permissions        text[]      NOT NULL,
    deleted            boolean     NOT NULL,
    written_at         timestamptz NOT NULL,
    written_by         text        NOT NULL, -- name at the time, for pages
    written_by_issuer  text        NOT NULL,
    written_by_subject text        NOT NULL,
    mac                bytea       NOT NULL,
    CONSTRAINT roles_pkey PRIMARY KEY (id, version)
);

CREATE TABLE grants (
    id                 uuid        NOT NULL CONSTRAINT grants_pkey PRIMARY KEY,
    subject_kind       text        NOT NULL CONSTRAINT grants_subject_kind_known CHECK (subject_kind IN ('member', 'group', 'email')),
    issuer             text        NOT NULL,
    subject            text        NOT NULL, -- of the member; the group; the address of a grant that waits for its member
    role               text        NOT NULL, -- name of a built-in role, or the id of one of the team's own
    scope_kind         text        NOT NULL CONSTRAINT grants_scope_kind_known CHECK (scope_kind IN ('everything', 'environment', 'account', 'cluster', 'labels')),
    scope              text        NOT NULL,
    expires_at         timestamptz,
    reason             text        NOT NULL CONSTRAINT grants_reason_length CHECK (char_length(reason) BETWEEN 1 AND 500),
    bound_from         uuid,                 -- the grant to an address that this one follows
    created_at         timestamptz NOT NULL,
    granted_by         text        NOT NULL, -- name at the time, for pages
    granted_by_issuer  text        NOT NULL,
    granted_by_subject text        NOT NULL,
    mac                bytea       NOT NULL, -- over everything above
    ended_at           timestamptz,          -- once set, nothing of the row changes
    ended_by           text        NOT NULL DEFAULT '',
    end_reason         text        NOT NULL DEFAULT ''
);

CREATE INDEX grants_live ON grants (subject_kind, issuer, subject) WHERE ended_at IS NULL;
CREATE INDEX grants_role ON grants (role) WHERE ended_at IS NULL;
-- An address is bound once.
CREATE UNIQUE INDEX grants_bound_from_key ON grants (bound_from) WHERE bound_from IS NOT NULL;

-- Whether a member is blocked; the highest version counts, and none is not blocked.
CREATE TABLE member_standings (
    id                 uuid        NOT NULL CONSTRAINT member_standings_pkey PRIMARY KEY,
    issuer             text        NOT NULL,
    subject            text        NOT NULL,
    version            integer     NOT NULL CONSTRAINT member_standings_version_positive CHECK (version > 0),
    blocked            boolean     NOT NULL,
    reason             text        NOT NULL CONSTRAINT member_standings_reason_length CHECK (char_length(reason) <= 500),
    written_at         timestamptz NOT NULL,
    written_by         text        NOT NULL,
    written_by_issuer  text        NOT NULL,
    written_by_subject text        NOT NULL,
    mac                bytea       NOT NULL,
    CONSTRAINT member_standings_member_key UNIQUE (issuer, subject, version)
);

-- The environment and generation of an account, as far as they are certain; the highest version
-- counts. What accounts says beside it is for lists, and counts for rights only where it is the same.
CREATE TABLE account_standings (
    account_id       uuid        NOT NULL, -- no foreign key: an account that was removed cannot come back as another
    version          integer     NOT NULL CONSTRAINT account_standings_version_positive CHECK (version > 0),
    cloud_account_id text        NOT NULL,
    generation       text        NOT NULL,
    environment      text        NOT NULL,
    written_at       timestamptz NOT NULL,
    mac              bytea       NOT NULL,
    CONSTRAINT account_standings_pkey PRIMARY KEY (account_id, version)
);

-- Counts every change of what rights follow from, so that each process knows when to read it anew.
CREATE TABLE rights_version (
    only_row boolean PRIMARY KEY DEFAULT true,
    version  bigint  NOT NULL,
    CONSTRAINT rights_version_only_row CHECK (only_row)
);
INSERT INTO rights_version (version) VALUES (1);

CREATE FUNCTION count_rights_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE public.rights_version SET version = version + 1;
    RETURN NULL;
END;
$$;
REVOKE ALL ON FUNCTION count_rights_change() FROM PUBLIC;

CREATE TRIGGER count_rights_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON roles
    FOR EACH STATEMENT EXECUTE FUNCTION count_rights_change();
CREATE TRIGGER count_rights_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON grants
    FOR EACH STATEMENT EXECUTE FUNCTION count_rights_change();
CREATE TRIGGER count_rights_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON member_standings
    FOR EACH STATEMENT EXECUTE FUNCTION count_rights_change();
CREATE TRIGGER count_rights_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON account_standings
    FOR EACH STATEMENT EXECUTE FUNCTION count_rights_change();
CREATE TRIGGER count_rights_change AFTER INSERT OR UPDATE OF id, cloud_account_id, generation, environment OR DELETE OR TRUNCATE ON accounts
    FOR EACH STATEMENT EXECUTE FUNCTION count_rights_change();

-- The owner is stopped too, unless the trigger is taken away first; what was altered then is found
-- by comparing with the log.
CREATE FUNCTION refuse_change_of_rights() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'rights are only added to: % of % refused', TG_OP, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END;
$$;
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON roles FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_rights();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON member_standings FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_rights();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON account_standings FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_rights();
CREATE TRIGGER refuse_removal BEFORE DELETE OR TRUNCATE ON grants FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_rights();
CREATE TRIGGER refuse_change_of_ended BEFORE UPDATE ON grants
    FOR EACH ROW WHEN (OLD.ended_at IS NOT NULL) EXECUTE FUNCTION refuse_change_of_rights();

-- A blocked member begins no session, whichever program asks: one older than blocks does not look. The
-- issuer of break-glass sessions is no provider's, and nothing written here keeps them out.
CREATE FUNCTION refuse_session_of_blocked() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.issuer <> 'quartermaster' AND (SELECT m.blocked FROM public.member_standings m WHERE m.issuer = NEW.issuer AND m.subject = NEW.subject ORDER BY m.version DESC LIMIT 1) THEN
        RAISE EXCEPTION 'the member is blocked' USING ERRCODE = 'QM002';
    END IF;
    RETURN NEW;
END;
$$;
REVOKE ALL ON FUNCTION refuse_session_of_blocked() FROM PUBLIC;
CREATE TRIGGER refuse_session_of_blocked BEFORE INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION refuse_session_of_blocked();

-- Clusters by their labels, for scopes.
CREATE INDEX clusters_by_labels ON clusters USING gin (labels jsonb_path_ops) WHERE gone_at IS NULL;

GRANT SELECT, INSERT ON roles, grants, member_standings, account_standings TO quartermaster_app;
GRANT UPDATE (ended_at, ended_by, end_reason) ON grants TO quartermaster_app;
GRANT SELECT ON rights_version TO quartermaster_app;
GRANT SELECT ON roles, grants, member_standings, account_standings, rights_version TO quartermaster_auditor;
