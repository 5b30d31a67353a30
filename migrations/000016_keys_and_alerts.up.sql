-- What is read of accounts next to their clusters: database keys by one listing an account, alerts cluster by
-- cluster. Each kind has a row in refresh of its own, so that one that fails disturbs no other.

ALTER TABLE refresh DROP CONSTRAINT refresh_kind_known,
    ADD CONSTRAINT refresh_kind_known CHECK (kind IN ('clusters', 'keys', 'alerts'));
ALTER TABLE refresh
    ADD COLUMN unhealthy boolean NOT NULL DEFAULT false, -- of clusters: something in the account is not well, so it goes first
    ADD COLUMN digest    bytea;                          -- SHA-256 of the last listing, while all of it is stored; NULL: compare
GRANT UPDATE (unhealthy, digest) ON refresh TO quartermaster_app;

CREATE TABLE database_keys (
    account_id uuid        NOT NULL CONSTRAINT database_keys_account_fkey REFERENCES accounts (id) ON DELETE CASCADE,
    admin      boolean     NOT NULL, -- of version 1; ids are unique within a version only
    key_id     text        NOT NULL,
    name       text        NOT NULL, -- empty of an admin key
    mark       text        NOT NULL, -- the characters of its secret that listings show
    clusters   text[]      NOT NULL, -- ids of those that it opens
    access     text[]      NOT NULL,
    created_by text        NOT NULL, -- e-mail as upstream tells it; empty where a management key made it
    created_at timestamptz,
    expires_at timestamptz,          -- NULL: never
    seen_at    timestamptz NOT NULL, -- when it was first listed like this
    missing_at timestamptz,          -- first listing without it, while nothing is concluded
    CONSTRAINT database_keys_pkey PRIMARY KEY (account_id, admin, key_id)
);
CREATE INDEX database_keys_by_end ON database_keys ((coalesce(expires_at, 'infinity'::timestamptz)), account_id, admin, key_id);
CREATE INDEX database_keys_clusters ON database_keys USING gin (clusters);
GRANT SELECT, INSERT, DELETE ON database_keys TO quartermaster_app;
GRANT UPDATE (name, mark, clusters, access, created_by, created_at, expires_at, seen_at, missing_at) ON database_keys TO quartermaster_app;

-- When something was read that is read cluster by cluster.
CREATE TABLE cluster_reads (
    account_id uuid        NOT NULL,
    cluster_id text        NOT NULL,
    kind       text        NOT NULL CONSTRAINT cluster_reads_kind_known CHECK (kind IN ('alerts')),
    next_at    timestamptz NOT NULL,
    ok_at      timestamptz,          -- when the last read began that succeeded; NULL: none did
    failed_at  timestamptz,
    failures   integer     NOT NULL DEFAULT 0, -- in a row
    error      text        NOT NULL DEFAULT '',
    digest     bytea,
    CONSTRAINT cluster_reads_pkey PRIMARY KEY (account_id, kind, cluster_id),
    CONSTRAINT cluster_reads_cluster_fkey FOREIGN KEY (account_id, cluster_id) REFERENCES clusters (account_id, cluster_id) ON DELETE CASCADE
) WITH (fillfactor = 70); -- they are written all the time, and no index holds what changes
GRANT SELECT, INSERT, DELETE ON cluster_reads TO quartermaster_app;
GRANT UPDATE (next_at, ok_at, failed_at, failures, error, digest) ON cluster_reads TO quartermaster_app;

CREATE TABLE cluster_alerts (
    account_id     uuid        NOT NULL,
    cluster_id     text        NOT NULL,
    alert_id       text        NOT NULL,
    type           text        NOT NULL,
    severity       text        NOT NULL,
    rank           smallint    NOT NULL, -- of the severity: 3 critical, 2 warning, 1 information, 0 not known here
    state          text        NOT NULL, -- FIRING, RESOLVED
    title          text        NOT NULL,
    description    text        NOT NULL,
    last_firing_at timestamptz,          -- as upstream told when the row was written
    since          timestamptz NOT NULL, -- when it was first read in this state
    CONSTRAINT cluster_alerts_pkey PRIMARY KEY (account_id, cluster_id, alert_id),
    CONSTRAINT cluster_alerts_cluster_fkey FOREIGN KEY (account_id, cluster_id) REFERENCES clusters (account_id, cluster_id) ON DELETE CASCADE
);
-- The order of the page, and what the navigation counts.
CREATE INDEX cluster_alerts_listed ON cluster_alerts ((state = 'FIRING'), rank, since, account_id, cluster_id, alert_id);
GRANT SELECT, INSERT, DELETE ON cluster_alerts TO quartermaster_app;
GRANT UPDATE (type, severity, rank, state, title, description, last_firing_at, since) ON cluster_alerts TO quartermaster_app;
