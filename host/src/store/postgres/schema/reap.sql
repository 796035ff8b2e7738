-- Whether there is anything to reap, and of which plugins deliveries are held by nobody on the list,
-- or by hosts that have not renewed their row for `timeout_ms`: not since `cut_us`, Unix µs by the
-- server's clock.
CREATE FUNCTION hookbox.orphans_v1(
    timeout_ms bigint, OUT cut_us bigint, OUT plugins text[], OUT is_needed boolean
)
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off SET jit = off AS $$
DECLARE
    cut timestamptz := clock_timestamp() - make_interval(secs => timeout_ms / 1000.0);
    run bigint := -1;
BEGIN
    cut_us := extract(epoch FROM cut) * 1000000;
    plugins := '{}';
    is_needed := EXISTS (SELECT FROM hookbox.hosts h WHERE h.alive < cut);
    LOOP
        SELECT min(l.holder) INTO run FROM (
            SELECT h.run AS low, lead(h.run) OVER (ORDER BY h.run) AS high
            FROM (SELECT h.incarnation AS run FROM hookbox.hosts h WHERE h.alive >= cut
                UNION ALL SELECT -1) h) g
        CROSS JOIN LATERAL (SELECT o.holder FROM hookbox.open o
            WHERE o.holder > greatest(g.low, run)
                AND o.holder < coalesce(g.high, 9223372036854775807)
            ORDER BY o.holder LIMIT 1) l;
        EXIT WHEN run IS NULL;
        is_needed := true;
        plugins := plugins
            || ARRAY(SELECT DISTINCT o.plugin FROM hookbox.open o WHERE o.holder = run);
    END LOOP;
END $$;

-- Takes hosts off the list that have not renewed their row since `cut_us`, and makes due again
-- what is held by nobody on the list. The caller has reached the server in all that time: a server
-- that was away has heard nobody. Nobody knows whether a delivery ran, so each goes to the
-- quarantine queue, which leases them one at a time. A delivery that was held from that queue did
-- run, and is dead with `most_crashes`. `policies` is what is known of the plugins that `orphans_v1`
-- names. Returns the hosts, and how many deliveries were held.
CREATE FUNCTION hookbox.reap_v1(
    at bigint, cut_us bigint, most_crashes integer, reason text, policies text
) RETURNS TABLE (hosts text[], held bigint)
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off SET jit = off AS $$
DECLARE
    t bigint := hookbox.now_ms_v1(at);
    names text[];
    total bigint := 0;
    n bigint;
    run bigint := -1;
BEGIN
    -- One host at a time does it.
    IF NOT pg_try_advisory_xact_lock(7450001, 5) THEN
        RETURN;
    END IF;
    PERFORM set_config('hookbox.policies', policies, true);
    WITH gone AS (
        DELETE FROM hookbox.hosts h WHERE h.alive < to_timestamp(cut_us / 1000000.0)
        RETURNING h.name, h.incarnation
    ), ended AS (
        INSERT INTO hookbox.ended_runs (run, ended) SELECT g.incarnation, t FROM gone g
        ON CONFLICT DO NOTHING
    )
    SELECT array_agg(g.name) INTO names FROM gone g;
    LOOP
        -- The next holder that is not on the list. Only the gaps between those on the list are scanned,
        -- so that no row that they hold is read.
        SELECT min(l.holder) INTO run FROM (
            SELECT h.run AS low, lead(h.run) OVER (ORDER BY h.run) AS high
            FROM (SELECT h.incarnation AS run FROM hookbox.hosts h UNION ALL SELECT -1) h) g
        CROSS JOIN LATERAL (SELECT o.holder FROM hookbox.open o
            WHERE o.holder > greatest(g.low, run)
                AND o.holder < coalesce(g.high, 9223372036854775807)
            ORDER BY o.holder LIMIT 1) l;
        EXIT WHEN run IS NULL;
        PERFORM hookbox.lock_held_v1(run);
        -- It may have run, and the next attempt of a key begins its interval after that.
        WITH quarantined AS (
            UPDATE hookbox.open o SET holder = NULL, waits = s.apart > 0,
                due = CASE WHEN s.apart > 0 THEN t + s.apart ELSE least(o.due, t) END,
                uncounted = o.uncounted + 1, crashes = 1
            FROM (
                SELECT p.event, p.ordinal, CASE WHEN p.key IS NULL THEN 0
                    ELSE (hookbox.policy_v1(p.plugin)).apart END AS apart
                FROM hookbox.open p
                WHERE p.holder = run AND p.crashes = 0 AND NOT p.cancelled
                ORDER BY p.event, p.ordinal LIMIT 1000 FOR UPDATE
            ) s
            WHERE o.event = s.event AND o.ordinal = s.ordinal
            RETURNING o.plugin, o.key, o.due, o.waits
        ), kept AS (
            INSERT INTO hookbox.held_keys AS h
            SELECT DISTINCT ON (s.plugin, s.key) s.plugin, s.key, 0, 0, s.due, NULL::bigint
            FROM quarantined s WHERE s.waits
            ON CONFLICT (plugin, key, event, ordinal)
                DO UPDATE SET until = greatest(h.until, excluded.until)
        ), counted AS (
            INSERT INTO hookbox.count_deltas (plugin, state, n)
            SELECT s.plugin, CASE WHEN s.waits THEN 2 ELSE 0 END, count(*)
            FROM quarantined s GROUP BY 1, 2
            UNION ALL
            SELECT s.plugin, 1, -count(*) FROM quarantined s GROUP BY 1
        )
        SELECT count(*) INTO n FROM quarantined;
        total := total + n;
        IF n < 1000 THEN
            SELECT total + r.held INTO total
            FROM hookbox.recover_v1(at, run, true, '{}', '{}', '{}', most_crashes, reason) r;
        END IF;
    END LOOP;
    RETURN QUERY SELECT names, total;
END $$;

-- The plugins that have something due, and apart from them those whose quarantine queue has. Each
-- costs one scan of an index, which for the plugins `known` begins at their floors.
CREATE FUNCTION hookbox.due_v1(at bigint, known text[], floors bigint[])
RETURNS TABLE (plugin text, is_quarantined boolean)
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    t bigint := hookbox.now_ms_v1(at);
    gap record;
    first record;
    last text := '';
BEGIN
    RETURN QUERY
    SELECT k.name, false FROM unnest(known, floors) AS k (name, floor)
    CROSS JOIN LATERAL (SELECT o.due FROM hookbox.open o
        WHERE o.plugin = k.name AND o.holder IS NULL AND o.crashes = 0 AND o.due >= k.floor
        ORDER BY o.due LIMIT 1) o
    WHERE o.due <= t;
    -- The others lie between them. No name has a letter above `~`.
    FOR gap IN
        SELECT k.name AS low, coalesce(lead(k.name) OVER (ORDER BY k.name), '~') AS high
        FROM (SELECT unnest(known) COLLATE "C" AS name UNION ALL SELECT '') k
    LOOP
        last := gap.low;
        LOOP
            SELECT o.plugin, o.due INTO first FROM hookbox.open o
            WHERE o.holder IS NULL AND o.crashes = 0 AND o.plugin > last AND o.plugin < gap.high
            ORDER BY o.plugin, o.due LIMIT 1;
            EXIT WHEN NOT FOUND;
            last := first.plugin;
            IF first.due <= t THEN
                RETURN QUERY SELECT first.plugin, false;
            END IF;
        END LOOP;
    END LOOP;
    last := '';
    LOOP
        SELECT o.plugin, o.due INTO first FROM hookbox.open o
        WHERE o.holder IS NULL AND o.crashes > 0 AND o.plugin > last
        ORDER BY o.plugin, o.due LIMIT 1;
        EXIT WHEN NOT FOUND;
        last := first.plugin;
        IF first.due <= t THEN
            RETURN QUERY SELECT first.plugin, true;
        END IF;
    END LOOP;
END $$;
