DROP TABLE cluster_backups;
DROP TABLE backup_schedules;
DROP TABLE backups;
DELETE FROM refresh WHERE kind = 'backups';
ALTER TABLE refresh DROP CONSTRAINT refresh_kind_known,
    ADD CONSTRAINT refresh_kind_known CHECK (kind IN ('clusters', 'keys', 'alerts'));
