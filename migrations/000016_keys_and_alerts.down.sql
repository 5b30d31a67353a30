DROP TABLE cluster_alerts;
DROP TABLE cluster_reads;
DROP TABLE database_keys;
DELETE FROM refresh WHERE kind <> 'clusters';
ALTER TABLE refresh DROP COLUMN unhealthy, DROP COLUMN digest;
ALTER TABLE refresh DROP CONSTRAINT refresh_kind_known,
    ADD CONSTRAINT refresh_kind_known CHECK (kind IN ('clusters'));
