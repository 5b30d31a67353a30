-- Lists over all accounts read no more than what they show, whatever there is upstream.

-- An alert that is not known to be resolved fires; cluster_alerts.rank is 4 where the severity is not known here. The index of
-- the former order goes with the programs that used it: without it their page is slower, and right.
CREATE INDEX cluster_alerts_open ON cluster_alerts ((state <> 'RESOLVED'), rank, since, account_id, cluster_id, alert_id);
DROP INDEX cluster_alerts_listed;

-- The first few schedules of each cluster of a page, those that are there before those being deleted.
CREATE INDEX backup_schedules_listed ON backup_schedules (account_id, cluster_id, (deleted_at IS NOT NULL), created_at, schedule_id);
DROP INDEX backup_schedules_of_cluster;
