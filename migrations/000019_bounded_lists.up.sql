-- Lists over all accounts read no more than what they show, whatever there is upstream.

-- An alert that is not known to be resolved fires; cluster_alerts.rank is 4 where the severity is not known here. The index of
-- the former order goes with the programs that used it: without it their page is slower, and right.
CREATE INDEX cluster_alerts_open ON cluster_alerts ((CASE WHEN state = 'RESOLVED' THEN 0 ELSE 1 END), rank, since, account_id, cluster_id, alert_id);

-- The first few schedules of each cluster of a page, those that are there before those being deleted.
CREATE INDEX backup_schedules_listed ON backup_schedules (account_id, cluster_id, (CASE WHEN deleted_at IS NULL THEN 0 ELSE 1 END), created_at, schedule_id);

-- How a cluster stands is decided when its account's backups are listed, so that an index has the order of the list.
ALTER TABLE cluster_backups
    ADD COLUMN overdue boolean NOT NULL DEFAULT false, -- overdue_at had passed when the backups were listed
    ADD COLUMN standing smallint NOT NULL GENERATED ALWAYS AS (CASE -- -1: none are offered; else a sum:
        WHEN unsupported IS NOT NULL AND last_status = '' THEN -1
        ELSE CASE WHEN last_ok_at IS NULL THEN 8 ELSE 0 END                     -- none has succeeded
            + CASE WHEN last_status NOT IN ('', 'SUCCEEDED') THEN 4 ELSE 0 END  -- the last one cannot be counted on
            + CASE WHEN overdue THEN 2 ELSE 0 END
            + CASE WHEN schedules = 0 THEN 1 ELSE 0 END END) STORED;
CREATE INDEX cluster_backups_listed ON cluster_backups (standing, (coalesce(last_ok_at, '-infinity'::timestamptz)), account_id, cluster_id);
GRANT UPDATE (overdue) ON cluster_backups TO quartermaster_app;

-- As a listing would say it, for accounts that are not listed soon.
UPDATE cluster_backups b SET overdue = true FROM refresh r WHERE r.account_id = b.account_id AND r.kind = 'backups' AND b.overdue_at < r.ok_at;

-- Last, so that pages wait as little as can be, and none holds one table while it waits for another of these.
DROP INDEX cluster_alerts_listed;
DROP INDEX backup_schedules_of_cluster;
