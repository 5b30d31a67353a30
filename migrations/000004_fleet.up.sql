-- Snapshots of the upstream and the work of keeping them fresh. Times here are the database's
-- clock, so that replicas with clocks of their own agree on leases and on which read is newer.

CREATE TABLE clusters (
    account_id    uuid        NOT NULL CONSTRAINT clusters_account_fkey REFERENCES accounts (id) ON DELETE CASCADE,
    cluster_id    text        NOT NULL,
    name          text        NOT NULL,
    phase         text        NOT NULL,
    reason        text        NOT NULL,
    cloud         text        NOT NULL,
    region        text        NOT NULL,
    version       text        NOT NULL,
    version_order text        NOT NULL COLLATE "C", -- sorts as versions do
    nodes_up      integer     NOT NULL,
    nodes         integer     NOT NULL,
    package_id    text        NOT NULL,
    package       text        NOT NULL, -- name; empty while the catalogue is not known
    ram_mib       bigint      NOT NULL, -- this and the next two: of each node; 0 while not known
    cpu_milli     bigint      NOT NULL,
    disk_mib      bigint      NOT NULL,
    endpoint      text        NOT NULL,
    labels        jsonb       NOT NULL, -- object of strings
    search        text        NOT NULL COLLATE "C", -- name, id, endpoint and labels in lower case
    created_at    timestamptz,
    raw           bytea       NOT NULL, -- the resource as received: JSON in which the upstream may put anything
    digest        bytea       NOT NULL, -- SHA-256 of raw; a row is written only when it differs
    seen_at       timestamptz NOT NULL, -- when raw was read; a later complete listing confirms it without a write
    changed_at    timestamptz NOT NULL, -- when raw last differed
    written_at    timestamptz,          -- when an act of ours last stored this row; reads begun earlier are dropped
    missing_at    timestamptz,          -- first complete listing without it, while nothing is concluded
    gone_at       timestamptz,          -- absent from a complete listing, and upstream said not found
    CONSTRAINT clusters_pkey PRIMARY KEY (account_id, cluster_id)
);

-- The fleet's default order. The other orders sort what matches in memory.
CREATE INDEX clusters_by_name ON clusters ((lower(name) COLLATE "C"), account_id, cluster_id) WHERE gone_at IS NULL;
CREATE INDEX clusters_gone ON clusters (gone_at) WHERE gone_at IS NOT NULL;

CREATE TABLE refresh (
    account_id  uuid        NOT NULL CONSTRAINT refresh_account_fkey REFERENCES accounts (id) ON DELETE CASCADE,
    kind        text        NOT NULL CONSTRAINT refresh_kind_known CHECK (kind IN ('clusters')),
    created_at  timestamptz NOT NULL,
    next_at     timestamptz NOT NULL,
    busy_until  timestamptz,          -- an act was done: refresh at the shortest interval until then
    lease_until timestamptz,
    lease_owner text        NOT NULL DEFAULT '',
    ok_at       timestamptz,          -- when the last complete read began
    failed_at   timestamptz,
    failures    integer     NOT NULL DEFAULT 0, -- in a row
    error       text        NOT NULL DEFAULT '', -- in words for people; empty when the last refresh went well
    vanished    integer     NOT NULL DEFAULT 0,  -- clusters that were missing at once, more than half; nothing is concluded
    CONSTRAINT refresh_pkey PRIMARY KEY (account_id, kind)
);

CREATE INDEX refresh_due ON refresh (next_at);

GRANT SELECT, INSERT, DELETE ON clusters TO quartermaster_app;
GRANT UPDATE (
    name, phase, reason, cloud, region, version, version_order, nodes_up, nodes, package_id, package, ram_mib, cpu_milli,
    disk_mib, endpoint, labels, search, created_at, raw, digest, seen_at, changed_at, written_at, missing_at, gone_at
) ON clusters TO quartermaster_app;

GRANT SELECT, INSERT ON refresh TO quartermaster_app;
GRANT UPDATE (next_at, busy_until, lease_until, lease_owner, ok_at, failed_at, failures, error, vanished) ON refresh TO quartermaster_app;
