-- Accounts are edited, their keys replaced, and moved to the current API. A key that is not in use any
-- more stays known until it is gone upstream, and so does one that was made here and whose secret was
-- lost: its sealed is empty, and it can never be the key in use.

ALTER TABLE management_keys
    ADD COLUMN upstream_id text NOT NULL DEFAULT '', -- upstream's id, of a key that was made here; empty: the prefix must do
    ADD COLUMN gone_at timestamptz,                  -- deleted upstream, or said to be
    ADD CONSTRAINT management_keys_in_use_sealed CHECK (retired_at IS NOT NULL OR octet_length(sealed) > 0),
    ADD CONSTRAINT management_keys_in_use_there CHECK (retired_at IS NOT NULL OR gone_at IS NULL);

CREATE UNIQUE INDEX management_keys_upstream_id_key ON management_keys (account_id, upstream_id) WHERE upstream_id <> '';

GRANT UPDATE (gone_at) ON management_keys TO quartermaster_app;
GRANT UPDATE (name, environment, owner, note, rotate_by) ON accounts TO quartermaster_app;
GRANT UPDATE (generation, upstream_name, owner_email) ON accounts TO quartermaster_app;
