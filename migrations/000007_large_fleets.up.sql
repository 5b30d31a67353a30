-- Fleets of many thousands of clusters: each order of the list has an index that a page is read from,
-- wherever it begins, and each filter is the beginning of one. A descending list is the ascending one
-- read backwards, so that one index does for both.

CREATE INDEX clusters_by_account ON clusters (account_id, (lower(name) COLLATE "C"), cluster_id) WHERE gone_at IS NULL;
CREATE INDEX clusters_by_phase ON clusters ((phase COLLATE "C"), (lower(name) COLLATE "C"), account_id, cluster_id) WHERE gone_at IS NULL;
CREATE INDEX clusters_by_cloud ON clusters ((cloud COLLATE "C"), (lower(name) COLLATE "C"), account_id, cluster_id) WHERE gone_at IS NULL;
CREATE INDEX clusters_by_region ON clusters ((region COLLATE "C"), (lower(name) COLLATE "C"), account_id, cluster_id) WHERE gone_at IS NULL;
CREATE INDEX clusters_by_version ON clusters (version_order, (lower(name) COLLATE "C"), account_id, cluster_id) WHERE gone_at IS NULL;
CREATE INDEX clusters_by_nodes ON clusters (nodes, (lower(name) COLLATE "C"), account_id, cluster_id) WHERE gone_at IS NULL;
CREATE INDEX clusters_by_package ON clusters (ram_mib, (lower(name) COLLATE "C"), account_id, cluster_id) WHERE gone_at IS NULL;
CREATE INDEX clusters_by_created ON clusters ((coalesce(created_at, 'epoch'::timestamptz)), (lower(name) COLLATE "C"), account_id, cluster_id) WHERE gone_at IS NULL;

-- The answer as received goes out of line, so that what is filtered, sorted and counted by lies together.
ALTER TABLE clusters ALTER COLUMN raw SET STORAGE EXTERNAL;

-- ensure_text_search makes the index of the text search when it can. It needs pg_trgm, which a database's
-- owner may create where its files are installed; where they are not, or the role may not, the search
-- reads every row, and nothing else is different. Each migrate up calls it, so that the index comes
-- with the next one after the files did.
CREATE FUNCTION ensure_text_search() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    home name;
BEGIN
    IF to_regclass('public.clusters_by_text') IS NOT NULL THEN
        RETURN;
    END IF;
    CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public;
    -- Somebody may have put it into another schema before.
    SELECT n.nspname INTO STRICT home FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_trgm';
    -- A list of pending entries makes writing cheap; a short one, because every search reads it.
    EXECUTE format('CREATE INDEX clusters_by_text ON public.clusters USING gin (search %I.gin_trgm_ops)
        WITH (gin_pending_list_limit = 256) WHERE gone_at IS NULL', home);
EXCEPTION
    -- It is not installed, in older words or newer ones; this role may not.
    WHEN feature_not_supported OR undefined_file OR insufficient_privilege THEN
        RAISE NOTICE 'text search has no index: %', SQLERRM;
END;
$$;
REVOKE ALL ON FUNCTION ensure_text_search() FROM PUBLIC;

SELECT ensure_text_search();
