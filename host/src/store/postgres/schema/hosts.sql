-- The database's clock, Unix milliseconds. `at` stands in its place in tests.
CREATE FUNCTION hookbox.now_ms_v1(at bigint) RETURNS bigint
LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(at, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)
$$;

-- Registers a run of the host with this identity, which ends the run before. Returns its slot, its
-- incarnation, that of the run before, and the last event's id.
CREATE FUNCTION hookbox.register_v1(who text, title text, host_version text, at bigint)
RETURNS TABLE (slot smallint, incarnation bigint, before bigint, last_id bigint, now_ms bigint)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    free smallint;
    old hookbox.hosts;
    t bigint := hookbox.now_ms_v1(at);
    run bigint := nextval('hookbox.incarnations');
BEGIN
    -- Registrations take their turns, so that two never choose one slot.
    LOCK TABLE hookbox.hosts IN SHARE ROW EXCLUSIVE MODE;
    SELECT h.* INTO old FROM hookbox.hosts h WHERE h.identity = who;
    IF FOUND THEN
        free := old.slot;
        UPDATE hookbox.hosts h SET incarnation = run, name = title, version = host_version,
            since = t, seen = t, alive = clock_timestamp() WHERE h.slot = free;
    ELSE
        SELECT min(s) INTO free FROM generate_series(0, 255) s
            WHERE NOT EXISTS (SELECT FROM hookbox.hosts h WHERE h.slot = s);
        IF free IS NULL THEN
            RETURN;
        END IF;
        INSERT INTO hookbox.hosts (slot, identity, incarnation, name, version, since, seen)
        VALUES (free, who, run, title, host_version, t, t);
    END IF;
    RETURN QUERY SELECT free, run, old.incarnation,
        greatest((SELECT max(e.id) FROM hookbox.events e),
            (SELECT nullif(s.last_id, 0) FROM hookbox.swept s)), t;
END $$;

-- Notes that a host is heard. Of several at one moment one does it.
CREATE FUNCTION hookbox.hear_v1() RETURNS void
LANGUAGE sql VOLATILE AS $$
    UPDATE hookbox.heard h SET last = clock_timestamp(),
        since = CASE WHEN h.last < clock_timestamp() - interval '5 s'
            THEN clock_timestamp() ELSE h.since END
    WHERE h.one = (SELECT x.one FROM hookbox.heard x FOR UPDATE SKIP LOCKED)
$$;

-- Renews a run's row and folds counts. Returns the database's time, or nothing if the run is over.
CREATE FUNCTION hookbox.renew_v1(me bigint, acked bigint[], at bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    t bigint := hookbox.now_ms_v1(at);
BEGIN
    UPDATE hookbox.hosts SET seen = t, alive = clock_timestamp() WHERE incarnation = me;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    PERFORM hookbox.hear_v1();
    DELETE FROM hookbox.commits WHERE incarnation = me AND seq < acked[writer + 1];
    PERFORM hookbox.fold_v1();
    RETURN t;
END $$;

-- Adds what batches have counted to the counts. One host at a time does it.
CREATE FUNCTION hookbox.fold_v1() RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF NOT pg_try_advisory_xact_lock(7450001, 2) THEN
        RETURN;
    END IF;
    WITH gone AS (DELETE FROM hookbox.count_deltas RETURNING plugin, state, n),
    sums AS (SELECT plugin, state, sum(n)::bigint AS n FROM gone GROUP BY plugin, state)
    INSERT INTO hookbox.counts AS c SELECT s.plugin, s.state, s.n FROM sums s
    ON CONFLICT (plugin, state) DO UPDATE SET n = c.n + excluded.n;
    PERFORM hookbox.fold_trees_v1();
    PERFORM hookbox.fold_failures_v1();
END $$;

-- Makes the partitions of the present day and of the two that follow it, each if the rest holds
-- nothing of that day.
CREATE FUNCTION hookbox.partitions_v1(at bigint) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    day bigint := hookbox.now_ms_v1(at) / 86400000;
    of text;
    low bigint;
    high bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(7450001, 3);
    FOR d IN day .. day + 2 LOOP
        low := (d::bigint * 86400000) << 20;
        high := ((d::bigint + 1) * 86400000) << 20;
        FOREACH of IN ARRAY ARRAY['events', 'settled'] LOOP
            IF to_regclass(format('hookbox.%I', of || '_' || d)) IS NULL THEN
                BEGIN
                    EXECUTE format('CREATE TABLE hookbox.%I PARTITION OF hookbox.%I
                        FOR VALUES FROM (%s) TO (%s)', of || '_' || d, of, low, high);
                EXCEPTION WHEN check_violation THEN
                    NULL;
                END;
            END IF;
        END LOOP;
    END LOOP;
END $$;
