DROP TABLE group_values;
ALTER TABLE sessions DROP COLUMN reading;
