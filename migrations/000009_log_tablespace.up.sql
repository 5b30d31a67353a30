-- The log can be on a tablespace of its own. A partition that is made goes where audit.events is,
-- whatever the session's default_tablespace says.

CREATE OR REPLACE FUNCTION audit.ensure_partition(wanted bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET default_tablespace = '' AS $$
DECLARE
    size  constant bigint := 1000000;
    low   constant bigint := wanted / size * size;
    name  constant text := 'events_' || to_char(wanted / size, 'FM000000');
    place text;
BEGIN
    IF to_regclass('audit.' || name) IS NOT NULL THEN
        RETURN;
    END IF;
    SELECT CASE WHEN t.oid IS NULL THEN '' ELSE format(' TABLESPACE %I', t.spcname) END INTO STRICT place
    FROM pg_class c LEFT JOIN pg_tablespace t ON t.oid = c.reltablespace WHERE c.oid = 'audit.events'::regclass;
    -- Made beside and attached, which lets readers of the others go on.
    EXECUTE format('CREATE TABLE audit.%I (LIKE audit.events INCLUDING DEFAULTS INCLUDING CONSTRAINTS,
        CONSTRAINT %I CHECK (seq >= %s AND seq < %s))', name, name || '_range', low, low + size) || place;
    -- Triggers of the parent do not fire for statements on a partition itself.
    EXECUTE format('CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.%I
        FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change()', name);
    -- Its indexes go where the parent's are.
    EXECUTE format('ALTER TABLE audit.events ATTACH PARTITION audit.%I FOR VALUES FROM (%s) TO (%s)',
        name, low, low + size);
END;
$$;

-- move_log puts the whole log on a tablespace, what is there and what comes. It is for the owner, who needs
-- CREATE on the tablespace. Nothing is recorded or read while it copies.
CREATE FUNCTION audit.move_log(place name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    moved record;
BEGIN
    -- The head first: whoever appends waits here, and not in the middle.
    LOCK TABLE audit.head IN ACCESS EXCLUSIVE MODE;
    FOR moved IN
        SELECT c.oid::regclass AS name, CASE WHEN c.relkind IN ('i', 'I') THEN 'INDEX' ELSE 'TABLE' END AS kind
        FROM pg_class c WHERE c.relnamespace = 'audit'::regnamespace AND c.relkind IN ('r', 'p', 'i', 'I') ORDER BY c.oid
    LOOP
        EXECUTE format('ALTER %s %s SET TABLESPACE %I', moved.kind, moved.name, place);
    END LOOP;
END;
$$;
REVOKE ALL ON FUNCTION audit.move_log(name) FROM PUBLIC;
