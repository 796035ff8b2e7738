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
    run bigint := hookbox.once_v1(nextval('hookbox.incarnations'));
BEGIN
    -- Registrations take their turns, so that two never choose one slot.
    LOCK TABLE hookbox.hosts IN SHARE ROW EXCLUSIVE MODE;
    SELECT h.* INTO old FROM hookbox.hosts h WHERE h.identity = who;
    IF FOUND THEN
        free := old.slot;
        UPDATE hookbox.hosts h SET incarnation = run, name = title, version = host_version,
            since = t, seen = t, alive = clock_timestamp() WHERE h.slot = free;
        PERFORM hookbox.end_run_v1(old.incarnation, t);
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

-- Notes that runs are over. Their markers stay for a day, so that a host that stood still finds out
-- what came of its last batches.
CREATE TABLE hookbox.ended_runs (
    run bigint PRIMARY KEY,
    ended bigint NOT NULL
);
CREATE FUNCTION hookbox.end_run_v1(of_run bigint, t bigint) RETURNS void
LANGUAGE sql VOLATILE AS $$
    INSERT INTO hookbox.ended_runs (run, ended) VALUES (of_run, t) ON CONFLICT (run) DO NOTHING
$$;

-- Fails unless this run is on the list of hosts.
CREATE FUNCTION hookbox.lives_v1(me bigint) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM hookbox.hosts h WHERE h.incarnation = me) THEN
        RAISE EXCEPTION 'run % of this host is over, and it registers anew', me
            USING ERRCODE = 'HB001';
    END IF;
END $$;

-- Marks a batch, of a run that is on the list: what is not on it leases nothing and stores nothing.
-- The marker comes first, because it says of a batch that is sent again whether it was committed.
-- The batch that the writer had acknowledged before (`after`; 0 if there is none) has to be here as
-- well: a pooler may lead to another server without a word.
CREATE FUNCTION hookbox.mark_v1(me bigint, by_writer smallint, of_seq bigint, after bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    INSERT INTO hookbox.commits (incarnation, writer, seq) VALUES (me, by_writer, of_seq);
    PERFORM hookbox.lives_v1(me);
    IF after > 0 AND NOT EXISTS (SELECT FROM hookbox.commits c
        WHERE c.incarnation = me AND c.writer = by_writer AND c.seq = after)
    THEN
        RAISE EXCEPTION 'batch % of this host is not here, which was acknowledged', after
            USING ERRCODE = 'HB002';
    END IF;
END $$;

-- Tells all hosts that listen, without a wait for the disk or a standby: a hint may be lost.
CREATE FUNCTION hookbox.wake_v1(payload text) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM pg_notify('hookbox_due', payload);
END $$;

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
    -- The newest that is there stays: a server that has lost some is known by it.
    DELETE FROM hookbox.commits c WHERE c.incarnation = me AND c.seq < acked[c.writer + 1]
        AND c.seq < (SELECT max(m.seq) FROM hookbox.commits m
            WHERE m.incarnation = me AND m.writer = c.writer);
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
-- nothing of that day. Tables are locked in the order in which batches use them.
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
        FOREACH of IN ARRAY ARRAY['settled', 'events'] LOOP
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
