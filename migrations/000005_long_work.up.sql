-- Operations whose work goes on upstream after the call was answered. A row is there from before the
-- call until the operation's settled event is recorded, in the same transaction, or until it is
-- certain that there was no work. What the work is, the log tells.

CREATE TABLE long_work (
    operation_id uuid        NOT NULL CONSTRAINT long_work_pkey PRIMARY KEY,
    begun_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX long_work_begun ON long_work (begun_at);

GRANT SELECT, INSERT, DELETE ON long_work TO quartermaster_app;
