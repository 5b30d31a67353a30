-- Accounts, the management keys the console holds for them, and the keysets that seal secrets.
-- The app role gets what the program does today and no more; in particular it cannot change a
-- sealed key or a keyset once it is stored.

CREATE TABLE accounts (
    id                 uuid        NOT NULL CONSTRAINT accounts_pkey PRIMARY KEY,
    generation         text        NOT NULL CONSTRAINT accounts_generation_known CHECK (generation IN ('current', 'pa-v1')),
    cloud_account_id   text        NOT NULL, -- the upstream's id
    upstream_name      text        NOT NULL,
    owner_email        text        NOT NULL,
    name               text        NOT NULL CONSTRAINT accounts_name_length CHECK (char_length(name) BETWEEN 1 AND 64),
    environment        text        NOT NULL CONSTRAINT accounts_environment_known CHECK (environment IN ('production', 'staging', 'development', 'other')),
    owner              text        NOT NULL CONSTRAINT accounts_owner_length CHECK (char_length(owner) <= 128),
    note               text        NOT NULL CONSTRAINT accounts_note_length CHECK (char_length(note) <= 2000),
    rotate_by          date,
    enabled            boolean     NOT NULL,
    created_at         timestamptz NOT NULL,
    created_by         text        NOT NULL, -- name at the time, for the page
    created_by_issuer  text        NOT NULL,
    created_by_subject text        NOT NULL,
    updated_at         timestamptz NOT NULL
);

-- The same upstream account, whichever generation it was registered for; ids are UUIDs, in which
-- letter case means nothing.
CREATE UNIQUE INDEX accounts_cloud_account_id_key ON accounts (lower(cloud_account_id));

-- Two names that differ only in letter case would be confused by people.
CREATE UNIQUE INDEX accounts_name_key ON accounts (lower(name));

CREATE TABLE management_keys (
    id          uuid        NOT NULL CONSTRAINT management_keys_pkey PRIMARY KEY,
    account_id  uuid        NOT NULL CONSTRAINT management_keys_account_fkey REFERENCES accounts (id) ON DELETE CASCADE,
    prefix      text        NOT NULL, -- first characters, enough to find the key in the upstream's list
    sealed      bytea       NOT NULL, -- bound to this row's id
    provenance  text        NOT NULL CONSTRAINT management_keys_provenance_known CHECK (provenance IN ('pasted', 'minted')),
    permissions text[],               -- null: the generation cannot tell
    probed_at   timestamptz,
    added_at    timestamptz NOT NULL,
    added_by    text        NOT NULL,
    refused     text        NOT NULL DEFAULT '', -- the upstream's reason; empty while the key works
    retired_at  timestamptz
);

-- An account has one key in use.
CREATE UNIQUE INDEX management_keys_one_in_use ON management_keys (account_id) WHERE retired_at IS NULL;
CREATE INDEX management_keys_account ON management_keys (account_id);

CREATE TABLE keysets (
    purpose    text        NOT NULL CONSTRAINT keysets_pkey PRIMARY KEY,
    wrapped    bytea       NOT NULL, -- encrypted with the key encryption key, bound to purpose
    kek        text        NOT NULL, -- fingerprint of the key encryption key; tells nothing about it
    created_at timestamptz NOT NULL
);

GRANT SELECT, INSERT, DELETE ON accounts TO quartermaster_app;
GRANT UPDATE (enabled, updated_at) ON accounts TO quartermaster_app;

GRANT SELECT, INSERT ON management_keys TO quartermaster_app;
GRANT UPDATE (permissions, probed_at, refused, retired_at) ON management_keys TO quartermaster_app;

GRANT SELECT, INSERT ON keysets TO quartermaster_app;
