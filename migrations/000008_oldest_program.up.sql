-- The oldest schema version whose programs still work on this schema, so that after an update the
-- previous release can be started again. A migration that takes away what older programs use
-- raises it: UPDATE schema_compatibility SET oldest_program = N.

CREATE TABLE schema_compatibility (
    only_row       boolean PRIMARY KEY DEFAULT true,
    oldest_program integer NOT NULL,
    CONSTRAINT schema_compatibility_only_row CHECK (only_row)
);
INSERT INTO schema_compatibility (oldest_program) VALUES (6);

GRANT SELECT ON schema_compatibility TO quartermaster_app, quartermaster_auditor;
