DROP SCHEMA audit CASCADE;
REVOKE ALL ON schema_migrations FROM quartermaster_app, quartermaster_auditor;
DROP TABLE installation;
REVOKE USAGE ON SCHEMA public FROM quartermaster_app, quartermaster_auditor, quartermaster_retention;
