-- The roles named here are made by package schema before the first migration runs.

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO quartermaster_app, quartermaster_auditor, quartermaster_retention;

-- One row: what is to be known of this database before anything else is trusted in it.
CREATE TABLE installation (
    only_row    boolean     PRIMARY KEY DEFAULT true,
    id          uuid        NOT NULL,
    made_by_dev boolean     NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Name to digest of each configuration variable at the last start; never values.
    config      jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT installation_only_row CHECK (only_row),
    CONSTRAINT installation_config_object CHECK (jsonb_typeof(config) = 'object')
);

GRANT SELECT ON installation TO quartermaster_app, quartermaster_auditor;
GRANT UPDATE (config) ON installation TO quartermaster_app;
GRANT SELECT ON schema_migrations TO quartermaster_app, quartermaster_auditor;

-- The log. Only audit.append writes it; its bytes are final: nothing here may change the body,
-- leaf or chain of an event that was recorded.

CREATE SCHEMA audit;
REVOKE ALL ON SCHEMA audit FROM PUBLIC;
GRANT USAGE ON SCHEMA audit TO quartermaster_app, quartermaster_auditor, quartermaster_retention;

-- The last event. Whoever appends holds this row until the commit, so numbers have no gaps and
-- events become visible in their order.
CREATE TABLE audit.head (
    only_row    boolean     PRIMARY KEY DEFAULT true,
    seq         bigint      NOT NULL,
    recorded_at timestamptz NOT NULL,
    chain       bytea       NOT NULL,
    CONSTRAINT head_only_row CHECK (only_row),
    CONSTRAINT head_chain_size CHECK (octet_length(chain) = 32)
);
INSERT INTO audit.head (seq, recorded_at, chain)
VALUES (0, '1970-01-01 00:00:00+00', decode(repeat('00', 32), 'hex'));

CREATE TABLE audit.events (
    seq           bigint      NOT NULL,
    recorded_at   timestamptz NOT NULL,
    body          bytea       NOT NULL, -- RFC 8785 canonical JSON
    leaf          bytea       NOT NULL, -- SHA256(0x00, seq, recorded_at in microseconds, body)
    chain         bytea       NOT NULL, -- SHA256(0x01, chain of the event before, leaf)
    -- Copies out of the body, for queries only; verification compares them with it.
    id            uuid        NOT NULL,
    act           text        NOT NULL,
    phase         text        NOT NULL,
    outcome       text        NOT NULL,
    inferred      boolean     NOT NULL, -- found by the reconciler, not told by upstream's answer
    operation_id  uuid,
    parent_id     uuid,
    actor_issuer  text        NOT NULL,
    actor_subject text        NOT NULL,
    actor_name    text        NOT NULL,
    actor_email   text        NOT NULL,
    account_id    text        NOT NULL,
    target_kind   text        NOT NULL,
    target_id     text        NOT NULL,
    request_id    text        NOT NULL,
    search        text        NOT NULL,
    CONSTRAINT events_pkey PRIMARY KEY (seq),
    CONSTRAINT events_phase CHECK (phase IN ('attempt', 'outcome', 'settled', 'single')),
    CONSTRAINT events_leaf_size CHECK (octet_length(leaf) = 32),
    CONSTRAINT events_chain_size CHECK (octet_length(chain) = 32)
) PARTITION BY RANGE (seq);

CREATE INDEX events_by_time ON audit.events (recorded_at);
CREATE INDEX events_by_account ON audit.events (account_id, seq);
CREATE INDEX events_by_actor ON audit.events (actor_subject, actor_issuer, seq);
CREATE INDEX events_by_target ON audit.events (target_kind, target_id, seq);
CREATE INDEX events_by_act ON audit.events (act, seq);
CREATE INDEX events_by_outcome ON audit.events (outcome, seq);
CREATE INDEX events_by_operation ON audit.events (operation_id) WHERE operation_id IS NOT NULL;
CREATE INDEX events_by_parent ON audit.events (parent_id) WHERE parent_id IS NOT NULL;

-- Attempts without an outcome.
CREATE TABLE audit.open_operations (
    operation_id uuid        PRIMARY KEY,
    seq          bigint      NOT NULL, -- of the attempt
    recorded_at  timestamptz NOT NULL,
    target_kind  text        NOT NULL,
    target_id    text        NOT NULL
);
CREATE INDEX open_operations_by_seq ON audit.open_operations (seq);
CREATE INDEX open_operations_by_target ON audit.open_operations (target_kind, target_id);

CREATE FUNCTION audit.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append only: % of % refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END;
$$;
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.events
    FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER refuse_removal BEFORE DELETE OR TRUNCATE ON audit.head
    FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();

-- The partition that holds event number wanted. The caller holds the head row.
CREATE FUNCTION audit.ensure_partition(wanted bigint) RETURNS void
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
REVOKE ALL ON FUNCTION audit.ensure_partition(bigint) FROM PUBLIC;

-- ensure_partitions makes the partition of the next event and the one after it.
CREATE FUNCTION audit.ensure_partitions() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    last bigint;
BEGIN
    -- Mostly there is nothing to do, and then no writer has to wait for it.
    SELECT h.seq INTO STRICT last FROM audit.head h;
    IF to_regclass('audit.events_' || to_char((last + 1) / 1000000, 'FM000000')) IS NOT NULL
        AND to_regclass('audit.events_' || to_char((last + 1) / 1000000 + 1, 'FM000000')) IS NOT NULL THEN
        RETURN;
    END IF;
    SELECT h.seq INTO STRICT last FROM audit.head h FOR UPDATE;
    PERFORM audit.ensure_partition(last + 1);
    PERFORM audit.ensure_partition(last + 1 + 1000000);
END;
$$;
REVOKE ALL ON FUNCTION audit.ensure_partitions() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.ensure_partitions() TO quartermaster_app;

-- append records events in the order given and returns the number of the first; the others
-- follow without gap. It is the last statement of a transaction, because it holds the head.
--
-- An operation ends once: an outcome of one that is not open is refused with QM001. The one
-- exception is what upstream told after the reconciler had already inferred something.
CREATE FUNCTION audit.append(bodies bytea[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    count constant int := coalesce(cardinality(bodies), 0);
    at        timestamptz;
    micros    bytea;
    number    bigint;
    previous  bytea;
    body      bytea;
    leaf      bytea;
    j         jsonb;
    operation uuid;
    inferred  boolean;
BEGIN
    IF count NOT BETWEEN 1 AND 1000 OR array_ndims(bodies) <> 1 THEN
        RAISE EXCEPTION 'append takes 1 to 1000 events' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- From here to the commit nobody else appends: one who stalls in between loses the session.
    PERFORM set_config('idle_in_transaction_session_timeout', '5s', true);
    SELECT h.seq, greatest(clock_timestamp(), h.recorded_at), h.chain INTO STRICT number, at, previous
    FROM audit.head h FOR UPDATE;
    -- The time is read again: the lock may have been waited for.
    at := greatest(clock_timestamp(), at);
    micros := int8send((extract(epoch FROM at) * 1000000)::bigint);
    IF number = 0 OR (number + 1) / 1000000 <> number / 1000000 THEN
        PERFORM audit.ensure_partition(number + 1);
    END IF;
    IF (number + count) / 1000000 <> (number + 1) / 1000000 THEN
        PERFORM audit.ensure_partition(number + count);
    END IF;

    FOREACH body IN ARRAY bodies LOOP
        IF body IS NULL OR octet_length(body) > 65536 THEN
            RAISE EXCEPTION 'an event must have at most 65536 bytes' USING ERRCODE = 'invalid_parameter_value';
        END IF;
        j := convert_from(body, 'UTF8')::jsonb;
        IF jsonb_typeof(j) <> 'object' THEN
            RAISE EXCEPTION 'an event must be a JSON object' USING ERRCODE = 'invalid_parameter_value';
        END IF;
        operation := (j ->> 'operation_id')::uuid;
        inferred := coalesce((j ->> 'inferred')::boolean, false);
        IF j ->> 'phase' IN ('attempt', 'outcome') AND operation IS NULL THEN
            RAISE EXCEPTION 'an attempt and an outcome must name their operation' USING ERRCODE = 'invalid_parameter_value';
        END IF;
        -- Checked under the head's lock, so that whoever comes second sees the first.
        IF j ->> 'phase' = 'outcome' THEN
            DELETE FROM audit.open_operations o WHERE o.operation_id = operation;
            -- What upstream told counts more than what was inferred, also when it is told late.
            IF NOT FOUND AND (inferred OR (SELECT bool_and(e.inferred) FROM audit.events e
                    WHERE e.operation_id = operation AND e.phase = 'outcome') IS NOT TRUE) THEN
                RAISE EXCEPTION 'operation % is not open', operation USING ERRCODE = 'QM001';
            END IF;
        END IF;
        number := number + 1;
        leaf := sha256('\x00'::bytea || int8send(number) || micros || body);
        previous := sha256('\x01'::bytea || previous || leaf);

        INSERT INTO audit.events (seq, recorded_at, body, leaf, chain, id, act, phase, outcome, inferred, operation_id,
            parent_id, actor_issuer, actor_subject, actor_name, actor_email, account_id, target_kind, target_id, request_id, search)
        VALUES (number, at, body, leaf, previous,
            (j ->> 'id')::uuid,
            coalesce(j ->> 'act', ''),
            coalesce(j ->> 'phase', ''),
            coalesce(j ->> 'outcome', ''),
            inferred,
            operation,
            (j ->> 'parent_id')::uuid,
            coalesce(j #>> '{actor,issuer}', ''),
            coalesce(j #>> '{actor,subject}', ''),
            coalesce(j #>> '{actor,name}', ''),
            coalesce(j #>> '{actor,email}', ''),
            coalesce(j #>> '{account,id}', ''),
            coalesce(j #>> '{target,kind}', ''),
            coalesce(j #>> '{target,id}', ''),
            coalesce(j ->> 'request_id', ''),
            -- Lower case of ASCII only, so that it is the same in every locale.
            lower(concat_ws(E'\n',
                nullif(j ->> 'id', ''), nullif(j ->> 'act', ''), nullif(j ->> 'reason', ''), nullif(j ->> 'operation_id', ''),
                nullif(j ->> 'parent_id', ''), nullif(j ->> 'request_id', ''),
                nullif(j #>> '{actor,subject}', ''), nullif(j #>> '{actor,name}', ''), nullif(j #>> '{actor,email}', ''),
                nullif(j #>> '{source,ip}', ''),
                nullif(j #>> '{account,id}', ''), nullif(j #>> '{account,name}', ''),
                nullif(j #>> '{target,id}', ''), nullif(j #>> '{target,name}', ''),
                nullif(j #>> '{upstream,trace_id}', ''), nullif(j #>> '{upstream,key_id}', '')
            ) COLLATE "C"));

        IF j ->> 'phase' = 'attempt' THEN
            INSERT INTO audit.open_operations (operation_id, seq, recorded_at, target_kind, target_id)
            VALUES (operation, number, at, coalesce(j #>> '{target,kind}', ''), coalesce(j #>> '{target,id}', ''));
        END IF;
    END LOOP;

    UPDATE audit.head h SET seq = number, recorded_at = at, chain = previous;
    RETURN number - count + 1;
END;
$$;
REVOKE ALL ON FUNCTION audit.append(bytea[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.append(bytea[]) TO quartermaster_app;

SELECT audit.ensure_partitions();

GRANT SELECT ON audit.events, audit.head, audit.open_operations TO quartermaster_app, quartermaster_auditor;
