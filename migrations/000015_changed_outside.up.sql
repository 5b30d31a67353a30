-- What changes a cluster outside this console is told in the log: each listing is compared with what was
-- read or written here before. A difference that cannot be judged yet, because an act of ours may be the
-- reason, keeps what it began with until a later listing.

ALTER TABLE clusters
    ADD COLUMN base bytea,       -- raw before a difference that is not judged yet, empty: the cluster did not exist; NULL: raw itself
    ADD COLUMN base_seq bigint;  -- number of the log's last event when the base was last known to be so; NULL: refresh.log_seq
ALTER TABLE clusters ALTER COLUMN base SET STORAGE EXTERNAL;

-- The log's last event when the last complete read began. NULL: none was made by a program that compares.
ALTER TABLE refresh ADD COLUMN log_seq bigint;

GRANT UPDATE (base, base_seq) ON clusters TO quartermaster_app;
GRANT UPDATE (log_seq) ON refresh TO quartermaster_app;
