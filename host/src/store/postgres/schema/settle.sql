-- Locks open deliveries in one order, and returns their row identifiers: none of those that are not
-- there.
--
-- A batch goes to deliveries by the primary key, and then by these identifiers. Any other way (the
-- whole table, the index of holders) reads dead rows, which are many while somebody holds an old
-- snapshot, and the planner knows nothing of them. So the inner query is one that it cannot join
-- otherwise, and fences by `holder` are written as no index has them: `IS NOT DISTINCT FROM`.
CREATE FUNCTION hookbox.lock_open_v1(events bigint[], ordinals integer[]) RETURNS tid[]
LANGUAGE sql VOLATILE AS $$
    SELECT array_agg(o.tid ORDER BY u.n)
    FROM (SELECT * FROM unnest(events, ordinals) WITH ORDINALITY AS u (event, ordinal, n)
        ORDER BY u.event, u.ordinal) u
    LEFT JOIN LATERAL (SELECT o.ctid AS tid FROM hookbox.open o
        WHERE o.event = u.event AND o.ordinal = u.ordinal FOR UPDATE) o ON true
$$;

-- Settles leases of the run `me`, each fenced by its attempt. `next`: 0 done, 1 again, 2 retry,
-- 3 dead, 4 given back. `spent`: 0 the next attempt has the number, 1 it has a record, 2 it is
-- counted without one.
--
-- Returns for each: 0 it is kept; 1 it is lost; 2 the delivery was cancelled; 3 what it read has
-- changed, and it is due again; from 4 on it is refused, and dead. The latter two are found in the
-- setting `hookbox.refused`: see `write_values_v1` and `check_trees_v1`. The places of those that
-- are kept are in the setting `hookbox.kept` until the transaction ends, for `append_v1`, and of
-- those that are lost in `hookbox.lost`, for `settled_keys_v1`.
CREATE FUNCTION hookbox.settle_v1(
    at bigint, me bigint,
    events bigint[], ordinals integer[], attempts integer[], nexts smallint[], afters bigint[],
    spents smallint[],
    started bigint[], durations bigint[], outcomes smallint[], errors text[], logs text[],
    digests bytea[], calls text[], steps text[], cpus integer[], memories integer[]
) RETURNS TABLE (result smallint)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    t bigint := hookbox.now_ms_v1(at);
    res smallint[] := array_fill(1::smallint, ARRAY[cardinality(events)]);
    ended integer[];
    cut integer[];
    on_again integer[];
    tids tid[];
    refused jsonb := coalesce(nullif(current_setting('hookbox.refused', true), ''), '[]')::jsonb;
    refusal record;
    i integer;
BEGIN
    FOR refusal IN
        SELECT * FROM jsonb_to_recordset(refused) AS r (n integer, how smallint, why text)
    LOOP
        IF refusal.how = 3 THEN
            nexts[refusal.n] := 4;
            afters[refusal.n] := 0;
            spents[refusal.n] := 0;
        ELSE
            nexts[refusal.n] := 3;
            outcomes[refusal.n] := 6;
            errors[refusal.n] := refusal.why;
            -- Of attempts that only fail for this there may be thousands.
            logs[refusal.n] := NULL;
        END IF;
    END LOOP;
    -- Before anything is looked at.
    tids := hookbox.lock_open_v1(events, ordinals);
    WITH s AS (
        SELECT * FROM unnest(events, ordinals, tids, attempts, nexts, spents, started, durations,
            outcomes, errors, logs, digests, calls, steps, cpus, memories) WITH ORDINALITY
            AS u (event, ordinal, tid, attempt, next, spent, started_ms, duration_us, outcome,
            error, logs, digest, calls, steps, cpu_us, memory_kib, n)
    ), gone AS (
        DELETE FROM hookbox.open o USING s
        WHERE o.ctid = s.tid AND o.attempt = s.attempt
            AND o.holder IS NOT DISTINCT FROM me AND (o.cancelled OR s.next IN (0, 3))
        RETURNING o.plugin, o.uncounted, o.unrecorded, o.deaths, o.again, o.cancelled,
            o.steps AS has_steps, o.key, o.entered, o.cancel_tag, o.failure,
            CASE WHEN o.cancelled THEN 5 WHEN s.next = 0 THEN 3 ELSE 4 END::smallint AS state, s.*
    ), put AS (
        INSERT INTO hookbox.settled (event, ordinal, plugin, state, attempt, uncounted, unrecorded,
            deaths, again, cut_off, started_ms, duration_us, cpu_us, memory_kib, outcome, error,
            logs, digest, calls, steps, key, entered, cancel_tag, failure)
        SELECT g.event, g.ordinal, g.plugin, g.state, g.attempt - (g.spent = 0)::integer,
            g.uncounted, g.unrecorded + (g.spent = 2)::integer, g.deaths + (g.state = 4)::integer,
            g.again, g.cancelled AND g.spent > 0,
            CASE WHEN g.spent = 1 THEN g.started_ms END,
            CASE WHEN g.spent = 1 THEN g.duration_us END,
            CASE WHEN g.spent = 1 THEN g.cpu_us END,
            CASE WHEN g.spent = 1 THEN g.memory_kib END,
            CASE WHEN g.spent = 1 THEN g.outcome END, CASE WHEN g.spent = 1 THEN g.error END,
            CASE WHEN g.spent = 1 THEN g.logs END, CASE WHEN g.spent = 1 THEN g.digest END,
            CASE WHEN g.spent = 1 THEN g.calls END, CASE WHEN g.spent = 1 THEN g.steps END,
            g.key, g.entered, g.cancel_tag,
            -- Of an attempt with a record `fail_v1` says it; one that was cancelled is no failure.
            CASE WHEN g.cancelled OR g.spent <> 1 THEN g.failure END
        FROM gone g
    ), dropped AS (
        DELETE FROM hookbox.steps p USING gone g
        WHERE g.has_steps AND g.state = 3 AND p.event = g.event AND p.ordinal = g.ordinal
    ), counted AS (
        INSERT INTO hookbox.count_deltas (plugin, state, n)
        SELECT g.plugin, g.state, count(*) FROM gone g GROUP BY 1, 2
        UNION ALL
        SELECT g.plugin, 1, -count(*) FROM gone g GROUP BY 1
    )
    SELECT array_agg(g.n) FILTER (WHERE NOT g.cancelled), array_agg(g.n) FILTER (WHERE g.cancelled)
    INTO ended, cut FROM gone g;
    IF nexts && ARRAY[1, 2, 4]::smallint[] THEN
        WITH s AS (
            SELECT * FROM unnest(events, ordinals, tids, attempts, nexts, afters, spents,
                started, durations, outcomes, errors, logs, digests, calls, steps, cpus,
                memories) WITH ORDINALITY
                AS u (event, ordinal, tid, attempt, next, after, spent, started_ms, duration_us,
                outcome, error, logs, digest, calls, steps, cpu_us, memory_kib, n)
        ), moved AS (
            UPDATE hookbox.open o SET
                holder = NULL,
                attempt = o.attempt - (s.spent = 0)::integer,
                uncounted = CASE WHEN s.next = 1 THEN o.attempt ELSE o.uncounted END,
                unrecorded = o.unrecorded + (s.spent = 2)::integer,
                crashes = CASE WHEN s.spent = 0 THEN o.crashes ELSE 0 END,
                again = o.again + (s.next = 1)::integer,
                again_since = CASE WHEN s.next = 1 THEN coalesce(o.again_since, t)
                    ELSE o.again_since END,
                waits = s.next = 2 OR s.after > 0,
                due = CASE WHEN s.after > 9223372036854775805 - t THEN 9223372036854775805
                    ELSE t + s.after END
            FROM s
            WHERE o.ctid = s.tid AND o.attempt = s.attempt
                AND o.holder IS NOT DISTINCT FROM me AND s.next IN (1, 2, 4)
            RETURNING o.plugin, o.waits, s.*
        ), put AS (
            INSERT INTO hookbox.attempts
            SELECT m.event, m.ordinal, m.attempt, m.started_ms, m.duration_us, m.cpu_us,
                m.memory_kib, m.outcome, m.error, m.logs, m.digest, m.calls, m.steps
            FROM moved m WHERE m.spent = 1
        ), counted AS (
            INSERT INTO hookbox.count_deltas (plugin, state, n)
            SELECT m.plugin, CASE WHEN m.waits THEN 2 ELSE 0 END, count(*) FROM moved m
            GROUP BY 1, 2
            UNION ALL
            SELECT m.plugin, 1, -count(*) FROM moved m GROUP BY 1
        )
        SELECT array_agg(m.n) INTO on_again FROM moved m;
    END IF;
    FOREACH i IN ARRAY coalesce(ended, '{}') || coalesce(on_again, '{}') LOOP
        res[i] := 0;
    END LOOP;
    FOREACH i IN ARRAY coalesce(cut, '{}') LOOP
        res[i] := 2;
    END LOOP;
    FOR refusal IN
        SELECT * FROM jsonb_to_recordset(refused) AS r (n integer, how smallint)
    LOOP
        IF res[refusal.n] = 0 THEN
            res[refusal.n] := refusal.how;
            IF refusal.how > 3 THEN
                PERFORM hookbox.notice_death_v1(t, events[refusal.n], ordinals[refusal.n], s.plugin,
                    0) FROM hookbox.settled s
                WHERE s.event = events[refusal.n] AND s.ordinal = ordinals[refusal.n];
            END IF;
        END IF;
    END LOOP;
    IF 0 <> ANY (res) THEN
        -- For a host that never gets the answer: see `take_back_v1`.
        UPDATE hookbox.commits c SET settled = res
        WHERE c.incarnation = me AND c.xmin = pg_current_xact_id()::xid;
    END IF;
    PERFORM set_config('hookbox.kept', coalesce(
        (SELECT array_agg(k.n) FROM unnest(res) WITH ORDINALITY AS k (result, n)
         WHERE k.result = 0), '{}')::text, true);
    IF 1 = ANY (res) THEN
        PERFORM set_config('hookbox.lost', (SELECT array_agg(k.n) FROM unnest(res)
            WITH ORDINALITY AS k (result, n) WHERE k.result = 1)::text, true);
    END IF;
    RETURN QUERY SELECT * FROM unnest(res);
END $$;

-- Records the result of a step, if the attempt holds its delivery. The first under a name stays.
CREATE FUNCTION hookbox.record_v1(
    at bigint, me bigint, of_event bigint, of_ordinal integer, by_attempt integer,
    step text, result bytea, plugin_digest bytea
) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    UPDATE hookbox.open o SET steps = true
    WHERE o.event = of_event AND o.ordinal = of_ordinal AND o.attempt = by_attempt
        AND o.holder IS NOT DISTINCT FROM me;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO hookbox.steps
    VALUES (of_event, of_ordinal, step, result, by_attempt, plugin_digest,
        hookbox.now_ms_v1(at))
    ON CONFLICT DO NOTHING;
    RETURN true;
END $$;
