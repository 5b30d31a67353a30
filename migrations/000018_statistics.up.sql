-- analyze_snapshots has the planner know tables that have grown: before the first statistics it takes a cluster that
-- is not gone for one in two hundred, and sorts all of them for a page of the list. The server does it by itself, but
-- no sooner than a minute after, and a fleet is filled within two. The app role owns no table, so it cannot. Several
-- at once do it once.
CREATE FUNCTION analyze_snapshots() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
    grown regclass;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended('quartermaster analyze_snapshots', 0)) THEN
        RETURN;
    END IF;
    FOR grown IN
        SELECT c.oid FROM pg_class c
        WHERE c.oid IN ('public.clusters'::regclass, 'public.refresh'::regclass, 'public.database_keys'::regclass,
                'public.cluster_reads'::regclass, 'public.cluster_alerts'::regclass,
                'public.backups'::regclass, 'public.backup_schedules'::regclass, 'public.cluster_backups'::regclass)
            AND pg_stat_get_mod_since_analyze(c.oid) > greatest(500, 3 * c.reltuples)
    LOOP
        BEGIN
            EXECUTE format('ANALYZE %s', grown);
        EXCEPTION
            WHEN lock_not_available THEN NULL; -- the server, or a migration, is at it
        END;
    END LOOP;
END;
$$;
REVOKE ALL ON FUNCTION analyze_snapshots() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION analyze_snapshots() TO quartermaster_app;
