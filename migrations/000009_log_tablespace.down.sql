-- Partitions that were made on another tablespace stay there.

DROP FUNCTION audit.move_log(name);

CREATE OR REPLACE FUNCTION audit.ensure_partition(wanted bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    size constant bigint := 1000000;
    low  constant bigint := wanted / size * size;
    name constant text := 'events_' || to_char(wanted / size, 'FM000000');
BEGIN
    IF to_regclass('audit.' || name) IS NOT NULL THEN
        RETURN;
    END IF;
    -- Made beside and attached, which lets readers of the others go on.
    EXECUTE format('CREATE TABLE audit.%I (LIKE audit.events INCLUDING DEFAULTS INCLUDING CONSTRAINTS,
        CONSTRAINT %I CHECK (seq >= %s AND seq < %s))', name, name || '_range', low, low + size);
    -- Triggers of the parent do not fire for statements on a partition itself.
    EXECUTE format('CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.%I
        FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change()', name);
    EXECUTE format('ALTER TABLE audit.events ATTACH PARTITION audit.%I FOR VALUES FROM (%s) TO (%s)',
        name, low, low + size);
END;
$$;
