-- Backups and their schedules, read by listings of an account. Upstream keeps backups of clusters that are no more, so they
-- belong to the account.

ALTER TABLE refresh DROP CONSTRAINT refresh_kind_known,
    ADD CONSTRAINT refresh_kind_known CHECK (kind IN ('clusters', 'keys', 'alerts', 'backups'));

CREATE TABLE backups (
    account_id  uuid     NOT NULL CONSTRAINT backups_account_fkey REFERENCES accounts (id) ON DELETE CASCADE,
    backup_id   text     NOT NULL,
    cluster_id  text     NOT NULL,
    name        text     NOT NULL, -- for people
    stored_as   text     NOT NULL, -- the generated name
    status      text     NOT NULL, -- SUCCEEDED, FAILED, RUNNING, ..., or a word that is not known here
    schedule_id text     NOT NULL, -- empty: no schedule made it
    created_at  timestamptz,
    deleted_at  timestamptz,       -- when its deletion began
    took        interval,          -- NULL: it has not ended, or upstream does not tell
    retention   interval,          -- NULL: until somebody deletes it
    CONSTRAINT backups_pkey PRIMARY KEY (account_id, backup_id)
);
CREATE INDEX backups_of_cluster ON backups (account_id, cluster_id, (coalesce(created_at, '-infinity'::timestamptz)), backup_id);
GRANT SELECT, INSERT, DELETE ON backups TO quartermaster_app;
GRANT UPDATE (cluster_id, name, stored_as, status, schedule_id, created_at, deleted_at, took, retention) ON backups TO quartermaster_app;

CREATE TABLE backup_schedules (
    account_id  uuid NOT NULL CONSTRAINT backup_schedules_account_fkey REFERENCES accounts (id) ON DELETE CASCADE,
    schedule_id text NOT NULL,
    cluster_id  text NOT NULL,
    name        text NOT NULL,        -- may be empty
    cron        text NOT NULL,
    status      text NOT NULL,        -- ACTIVE, DISABLED, ..., or a word that is not known here
    created_at  timestamptz,
    deleted_at  timestamptz,
    retention   interval,             -- NULL: until somebody deletes them
    watched_at  timestamptz NOT NULL, -- since when no backup of it can have come and gone unseen
    last_run_at timestamptz,          -- of the newest backup of it that was ever seen
    CONSTRAINT backup_schedules_pkey PRIMARY KEY (account_id, schedule_id)
);
CREATE INDEX backup_schedules_of_cluster ON backup_schedules (account_id, cluster_id);
GRANT SELECT, INSERT, DELETE ON backup_schedules TO quartermaster_app;
GRANT UPDATE (cluster_id, name, cron, status, created_at, deleted_at, retention, watched_at, last_run_at) ON backup_schedules TO quartermaster_app;

-- What the backups of each cluster come to, for the list over all accounts. A cluster without a row was not looked at yet.
CREATE TABLE cluster_backups (
    account_id     uuid  NOT NULL,
    cluster_id     text  NOT NULL,
    cluster_digest bytea NOT NULL,   -- of the cluster that unsupported was read from
    unsupported    text,             -- why upstream offers the cluster no backups; NULL: it does, or does not tell
    last_at        timestamptz,      -- of the newest backup that has ended
    last_status    text  NOT NULL,   -- of the same; empty: there is none
    last_ok_at     timestamptz,      -- of the newest that succeeded
    running        integer NOT NULL,
    schedules      integer NOT NULL, -- that are active
    overdue_at     timestamptz,      -- from when on one of them is late, when no further backup comes; NULL: not known
    CONSTRAINT cluster_backups_pkey PRIMARY KEY (account_id, cluster_id),
    CONSTRAINT cluster_backups_cluster_fkey FOREIGN KEY (account_id, cluster_id) REFERENCES clusters (account_id, cluster_id) ON DELETE CASCADE
);
GRANT SELECT, INSERT, DELETE ON cluster_backups TO quartermaster_app;
GRANT UPDATE (cluster_digest, unsupported, last_at, last_status, last_ok_at, running, schedules, overdue_at) ON cluster_backups TO quartermaster_app;
