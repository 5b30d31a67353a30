-- What providers said of groups: how each sign-in's claim was read, and which values sign-ins named. No right
-- comes from either: rights follow from the groups of a session, which its mark seals.

ALTER TABLE sessions ADD COLUMN reading jsonb NOT NULL DEFAULT '{}'; -- empty: of a program that does not tell

CREATE TABLE group_values (
    issuer     text        NOT NULL,
    value      text        NOT NULL,
    first_seen timestamptz NOT NULL, -- sign-in that named it first
    last_seen  timestamptz NOT NULL, -- the last one, to the hour
    CONSTRAINT group_values_pkey PRIMARY KEY (issuer, value)
);
CREATE INDEX group_values_last_seen ON group_values (last_seen);

GRANT SELECT, INSERT, DELETE ON group_values TO quartermaster_app;
GRANT UPDATE (last_seen) ON group_values TO quartermaster_app;
