DROP FUNCTION ensure_text_search();
DROP INDEX IF EXISTS clusters_by_text;

-- The extension goes where the migration made it, unless something else has come to use it.
DO $$
BEGIN
    DROP EXTENSION IF EXISTS pg_trgm;
EXCEPTION
    WHEN dependent_objects_still_exist OR insufficient_privilege THEN
        RAISE NOTICE 'the extension pg_trgm stays: %', SQLERRM;
END;
$$;

ALTER TABLE clusters ALTER COLUMN raw SET STORAGE EXTENDED;

DROP INDEX clusters_by_created, clusters_by_package, clusters_by_nodes, clusters_by_version, clusters_by_region, clusters_by_cloud,
    clusters_by_phase, clusters_by_account;
