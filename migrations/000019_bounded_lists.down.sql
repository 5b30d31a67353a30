DROP INDEX cluster_backups_listed;
ALTER TABLE cluster_backups DROP COLUMN standing, DROP COLUMN overdue;
CREATE INDEX backup_schedules_of_cluster ON backup_schedules (account_id, cluster_id);
DROP INDEX backup_schedules_listed;
CREATE INDEX cluster_alerts_listed ON cluster_alerts ((state = 'FIRING'), rank, since, account_id, cluster_id, alert_id);
DROP INDEX cluster_alerts_open;
