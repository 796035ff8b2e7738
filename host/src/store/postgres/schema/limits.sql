-- How long the joins or batches of a plugin of the host take at most, as the host has it that said
-- so last. It counts for whatever any host opens. `moved` says whether all that were open end by it.
-- Each change has a greater `generation`, also after a failover that has lost the one before.
CREATE TABLE hookbox.time_limits (
    plugin text COLLATE "C" PRIMARY KEY,
    within bigint NOT NULL,
    generation bigint NOT NULL DEFAULT 0,
    moved boolean NOT NULL
);

-- Sets time limits, or (`generations`) sets again those of before that are not there any more: what
-- was set later stays. Returns the generation of each, and whether open gatherings are to follow.
-- After this transaction nothing is opened by another limit: whoever is about to has one of the
-- stripes that it waits for.
CREATE FUNCTION hookbox.set_limits_v1(plugins text[], withins bigint[], generations bigint[])
RETURNS TABLE (plugin text, generation bigint, is_changed boolean)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    again boolean := generations IS NOT NULL;
    newest bigint := extract(epoch FROM clock_timestamp()) * 1000;
    changed text[];
BEGIN
    WITH done AS (
        INSERT INTO hookbox.time_limits AS l (plugin, within, generation, moved)
        SELECT u.plugin, u.within, coalesce(u.generation, newest), false
        FROM unnest(plugins, withins, generations) AS u (plugin, within, generation)
        ORDER BY u.plugin
        ON CONFLICT (plugin) DO UPDATE SET within = excluded.within, moved = false,
            generation = CASE WHEN again THEN excluded.generation
                WHEN l.within = excluded.within THEN l.generation
                ELSE greatest(l.generation + 1, excluded.generation) END
            WHERE CASE WHEN again THEN l.generation < excluded.generation
                    OR l.generation = excluded.generation AND l.within = excluded.within
                        AND NOT l.moved
                ELSE l.within <> excluded.within OR NOT l.moved END
        RETURNING l.plugin
    )
    SELECT array_agg(s.plugin) INTO changed FROM done s;
    IF changed IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(536870912, s.stripe)
        FROM generate_series(0, 255) AS s (stripe);
    END IF;
    RETURN QUERY SELECT l.plugin, l.generation, coalesce(l.plugin = ANY (changed), false)
        FROM hookbox.time_limits l WHERE l.plugin = ANY (plugins);
END $$;

-- Walks some open gatherings of a plugin for its limit of `of_generation`, in the order of their
-- due times, and moves the ends of those that are neither complete nor leased. With `later` it
-- walks backwards and moves those that end later than before, and otherwise the others. A moved one
-- lies behind the walk then, so that each is met once. Returns no row if the limit was changed
-- since, and else the number that were looked at and moved, the time until the first of those is
-- due, and the last place.
CREATE FUNCTION hookbox.move_ends_v1(
    at bigint, of_plugin text, of_generation bigint, later boolean, from_due bigint,
    from_event bigint, from_ordinal integer, most integer
) RETURNS TABLE (
    looked_at bigint, moved bigint, next_in bigint, due bigint, event bigint, ordinal integer
)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    t bigint := hookbox.now_ms_v1(at);
    to_within bigint;
    dues bigint[];
    events bigint[];
    ordinals integer[];
    n integer;
BEGIN
    -- A host that sets another limit waits for this step, and walks everything after it.
    SELECT l.within INTO to_within FROM hookbox.time_limits l
    WHERE l.plugin = of_plugin AND l.generation = of_generation FOR SHARE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF later THEN
        SELECT array_agg(p.due), array_agg(p.event), array_agg(p.ordinal)
        INTO dues, events, ordinals
        FROM (SELECT o.due, o.event, o.ordinal FROM hookbox.open o
            WHERE o.plugin = of_plugin AND o.holder IS NULL AND o.crashes = 0
                AND (o.due, o.event, o.ordinal) < (from_due, from_event, from_ordinal)
            ORDER BY o.due DESC, o.event DESC, o.ordinal DESC LIMIT most) p;
    ELSE
        SELECT array_agg(p.due), array_agg(p.event), array_agg(p.ordinal)
        INTO dues, events, ordinals
        FROM (SELECT o.due, o.event, o.ordinal FROM hookbox.open o
            WHERE o.plugin = of_plugin AND o.holder IS NULL AND o.crashes = 0
                AND (o.due, o.event, o.ordinal) > (from_due, from_event, from_ordinal)
            ORDER BY o.due, o.event, o.ordinal LIMIT most) p;
    END IF;
    n := coalesce(cardinality(events), 0);
    -- In the order of all that locks deliveries. The statement below sees what they are by then.
    PERFORM FROM hookbox.open p
    WHERE (p.event, p.ordinal) IN (SELECT * FROM unnest(events, ordinals))
    ORDER BY p.event, p.ordinal FOR UPDATE;
    RETURN QUERY
    WITH ends AS (
        SELECT g.event, g.ordinal, o.waits, o.due AS was, g.opened + to_within AS until,
            least(g.quiet_until, g.opened + to_within) AS due
        FROM unnest(events, ordinals) AS i (event, ordinal)
        JOIN hookbox.open o ON o.event = i.event AND o.ordinal = i.ordinal
        JOIN hookbox.gatherings g ON g.event = i.event AND g.ordinal = i.ordinal
        WHERE o.holder IS NULL AND NOT g.frozen AND g.why IS NULL
            AND sign(g.opened + to_within - g.until) = CASE WHEN later THEN 1 ELSE -1 END
    ), moved AS (
        UPDATE hookbox.gatherings g SET until = e.until FROM ends e
        WHERE g.event = e.event AND g.ordinal = e.ordinal
        RETURNING g.event
    ), due_again AS (
        -- A gathering that is due already stays so, unless it gets more time.
        UPDATE hookbox.open o SET due = e.due, waits = e.due > t FROM ends e
        WHERE o.event = e.event AND o.ordinal = e.ordinal AND e.due <> e.was
            AND (e.waits OR e.due > t)
        RETURNING o.due, e.waits::integer - o.waits::integer AS freed
    ), counted AS (
        INSERT INTO hookbox.count_deltas (plugin, state, n)
        SELECT of_plugin, c.state, c.n
        FROM (SELECT sum(d.freed) AS n FROM due_again d) s
        CROSS JOIN LATERAL (VALUES (0::smallint, s.n), (2::smallint, -s.n)) AS c (state, n)
        WHERE s.n <> 0
    )
    SELECT n::bigint, (SELECT count(*) FROM moved),
        (SELECT greatest(min(d.due) - t, 0) FROM due_again d), dues[n], events[n], ordinals[n];
END $$;
