-- The roles named here are made by package schema before the first migration runs.

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO quartermaster_app, quartermaster_auditor, quartermaster_retention;

-- One row: what is to be known of this database before anything else is trusted in it.
CREATE TABLE installation (
    only_row    boolean     PRIMARY KEY DEFAULT true,
    id          uuid        NOT NULL,
    made_by_dev boolean     NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Name to digest of each configuration variable at the last start; never values.
    config      jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT installation_only_row CHECK (only_row),
    CONSTRAINT installation_config_object CHECK (jsonb_typeof(config) = 'object')
);

GRANT SELECT ON installation TO quartermaster_app, quartermaster_auditor;
GRANT UPDATE (config) ON installation TO quartermaster_app;
GRANT SELECT ON schema_migrations TO quartermaster_app, quartermaster_auditor;
