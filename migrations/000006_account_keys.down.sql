REVOKE UPDATE (generation, upstream_name, owner_email) ON accounts FROM quartermaster_app;
REVOKE UPDATE (name, environment, owner, note, rotate_by) ON accounts FROM quartermaster_app;
REVOKE UPDATE (gone_at) ON management_keys FROM quartermaster_app;

DROP INDEX management_keys_upstream_id_key;

ALTER TABLE management_keys
    DROP CONSTRAINT management_keys_in_use_there,
    DROP CONSTRAINT management_keys_in_use_sealed,
    DROP COLUMN gone_at,
    DROP COLUMN upstream_id;
