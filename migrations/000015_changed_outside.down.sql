ALTER TABLE refresh DROP COLUMN log_seq;
ALTER TABLE clusters DROP COLUMN base, DROP COLUMN base_seq;
