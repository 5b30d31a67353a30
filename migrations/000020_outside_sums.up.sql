-- The log only grows, and others decide how often an account changes. So the events of an hour about what was changed
-- outside are counted; what is beyond is told in sums, and noted at the clusters that it is about.

-- Nothing refers to accounts: what was counted of one that is removed meanwhile is told, too.
CREATE TABLE outside_sums (
    account_id      uuid        CONSTRAINT outside_sums_pkey PRIMARY KEY,
    account_name    text        NOT NULL, -- when it was last counted
    hour_from       timestamptz NOT NULL, -- since then events are counted
    told            integer     NOT NULL, -- so many
    untold          integer     NOT NULL DEFAULT 0, -- changes that no event tells of yet
    untold_from     timestamptz,          -- when the first of them was noticed
    untold_clusters text[]      NOT NULL DEFAULT '{}', -- names of the first clusters that they are about
    summed_at       timestamptz           -- when an event last told of such ones
);
GRANT SELECT, INSERT, DELETE ON outside_sums TO quartermaster_app;
GRANT UPDATE (account_name, hour_from, told, untold, untold_from, untold_clusters, summed_at) ON outside_sums TO quartermaster_app;

-- Nothing refers to clusters: a refresh of keys would wait for one of clusters that waits for it.
CREATE TABLE outside_untold (
    account_id uuid        NOT NULL,
    cluster_id text        NOT NULL,
    changes    integer     NOT NULL, -- told of the account and not of the cluster
    first_at   timestamptz NOT NULL,
    last_at    timestamptz NOT NULL,
    CONSTRAINT outside_untold_pkey PRIMARY KEY (account_id, cluster_id)
);
GRANT SELECT, INSERT, DELETE ON outside_untold TO quartermaster_app;
GRANT UPDATE (changes, last_at) ON outside_untold TO quartermaster_app;
