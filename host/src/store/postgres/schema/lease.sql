-- Leases what is due of some plugins, the oldest first: at most `most`, and of each plugin at most one
-- more than fit into `most_bytes` of bodies. With `quarantined` those that ran when a host died, and
-- else the others, of these only what is due at `floor` or later. The last row has no event; it says
-- when the first is due that is left, and in what time, if there is one.
CREATE FUNCTION hookbox.lease_v1(
    at bigint, me bigint, plugins text[], quarantined boolean, most integer, most_bytes bigint,
    floor bigint
) RETURNS TABLE (
    event bigint, ordinal integer, plugin text, attempt integer, uncounted integer, deaths integer,
    due bigint, has_steps boolean, again integer, again_for bigint, source text, type text,
    subject text, content_type text, time_ms bigint, parent bigint, root bigint, hops integer,
    trace bytea, body bytea, next_in bigint, key bytea, cancel_tag bigint
)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    t bigint := hookbox.now_ms_v1(at);
    which text;
    left_over integer := most;
    got integer;
    soonest bigint;
    next_due bigint;
BEGIN
    FOREACH which IN ARRAY plugins LOOP
        IF left_over > 0 THEN
            IF quarantined THEN
                RETURN QUERY
                SELECT * FROM hookbox.take_quarantined_v1(t, me, which, left_over, most_bytes);
            ELSE
                RETURN QUERY SELECT * FROM hookbox.take_v1(t, me, which, left_over, most_bytes, floor);
            END IF;
            GET DIAGNOSTICS got = ROW_COUNT;
            left_over := left_over - got;
        END IF;
        IF quarantined THEN
            SELECT o.due INTO next_due FROM hookbox.open o
            WHERE o.plugin = which AND o.holder IS NULL AND o.crashes > 0 AND NOT o.behind
            ORDER BY o.due LIMIT 1;
        ELSE
            SELECT o.due INTO next_due FROM hookbox.open o
            WHERE o.plugin = which AND o.holder IS NULL AND o.crashes = 0 AND NOT o.behind
                AND o.due >= floor
            ORDER BY o.due LIMIT 1;
        END IF;
        soonest := least(soonest, next_due);
    END LOOP;
    RETURN QUERY SELECT NULL::bigint, NULL::integer, NULL::text, NULL::integer, NULL::integer,
        NULL::integer, soonest, NULL::boolean, NULL::integer, NULL::bigint, NULL::text,
        NULL::text, NULL::text, NULL::text, NULL::bigint, NULL::bigint, NULL::bigint,
        NULL::integer, NULL::bytea, NULL::bytea,
        CASE WHEN soonest IS NOT NULL THEN greatest(soonest - t, 0) END, NULL::bytea, NULL::bigint;
END $$;

-- Takes what is due of one plugin, and did not run when a host died.
CREATE FUNCTION hookbox.take_v1(
    t bigint, me bigint, which text, most integer, most_bytes bigint, floor bigint
) RETURNS TABLE (
    event bigint, ordinal integer, plugin text, attempt integer, uncounted integer, deaths integer,
    due bigint, has_steps boolean, again integer, again_for bigint, source text, type text,
    subject text, content_type text, time_ms bigint, parent bigint, root bigint, hops integer,
    trace bytea, body bytea, next_in bigint, key bytea, cancel_tag bigint
)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    late record;
BEGIN
    -- A delivery that has not entered its key yet comes before those that are due after it.
    SELECT o.due, o.event, o.ordinal INTO late FROM hookbox.open o
    WHERE o.plugin = which AND o.key IS NOT NULL AND o.entered IS NULL AND o.holder IS NULL
    ORDER BY o.due, o.event, o.ordinal LIMIT 1;
    IF NOT FOUND THEN
        SELECT t + 1 AS due, 0::bigint AS event, 0 AS ordinal INTO late;
    END IF;
    RETURN QUERY
    WITH found AS MATERIALIZED (
        SELECT o.ctid AS tid, o.event, o.ordinal, o.waits, o.due FROM hookbox.open o
        WHERE o.plugin = which AND o.holder IS NULL AND o.crashes = 0 AND o.due <= t
            AND o.due >= floor AND (o.due, o.event, o.ordinal) < (late.due, late.event, late.ordinal)
        ORDER BY o.due, o.event, o.ordinal LIMIT most FOR UPDATE SKIP LOCKED
    ), sized AS MATERIALIZED (
        SELECT f.*, sum(octet_length(e.body)) OVER (ORDER BY f.due, f.event, f.ordinal)
            - octet_length(e.body) AS before
        FROM found f JOIN hookbox.events e ON e.id = f.event
    ), taken AS (
        UPDATE hookbox.open o SET holder = me, attempt = o.attempt + 1
        FROM sized s WHERE o.ctid = s.tid AND s.before < most_bytes
        RETURNING o.*, s.waits AS waited
    ), counted AS (
        INSERT INTO hookbox.count_deltas (plugin, state, n)
        SELECT which, CASE WHEN g.waited THEN 2 ELSE 0 END, -count(*) FROM taken g GROUP BY 2
        UNION ALL
        SELECT which, 1, count(*) FROM taken g HAVING count(*) > 0
    )
    SELECT g.event, g.ordinal, g.plugin, g.attempt, g.uncounted, g.deaths, g.due, g.steps, g.again,
        greatest(t - g.again_since, 0), e.source, e.type, e.subject, e.content_type, e.time_ms,
        e.parent, e.root, e.hops, e.trace, e.body, NULL::bigint, g.key, g.cancel_tag
    FROM taken g JOIN hookbox.events e ON e.id = g.event
    ORDER BY g.due, g.event, g.ordinal;
END $$;

-- Takes what is due of one plugin, and ran when a host died.
CREATE FUNCTION hookbox.take_quarantined_v1(
    t bigint, me bigint, which text, most integer, most_bytes bigint
) RETURNS TABLE (
    event bigint, ordinal integer, plugin text, attempt integer, uncounted integer, deaths integer,
    due bigint, has_steps boolean, again integer, again_for bigint, source text, type text,
    subject text, content_type text, time_ms bigint, parent bigint, root bigint, hops integer,
    trace bytea, body bytea, next_in bigint, key bytea, cancel_tag bigint
)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH found AS MATERIALIZED (
        SELECT o.ctid AS tid, o.event, o.ordinal, o.waits, o.due FROM hookbox.open o
        WHERE o.plugin = which AND o.holder IS NULL AND o.crashes > 0 AND o.due <= t
        ORDER BY o.due, o.event, o.ordinal LIMIT most FOR UPDATE SKIP LOCKED
    ), sized AS MATERIALIZED (
        SELECT f.*, sum(octet_length(e.body)) OVER (ORDER BY f.due, f.event, f.ordinal)
            - octet_length(e.body) AS before
        FROM found f JOIN hookbox.events e ON e.id = f.event
    ), taken AS (
        UPDATE hookbox.open o SET holder = me, attempt = o.attempt + 1
        FROM sized s WHERE o.ctid = s.tid AND s.before < most_bytes
        RETURNING o.*, s.waits AS waited
    ), counted AS (
        INSERT INTO hookbox.count_deltas (plugin, state, n)
        SELECT which, CASE WHEN g.waited THEN 2 ELSE 0 END, -count(*) FROM taken g GROUP BY 2
        UNION ALL
        SELECT which, 1, count(*) FROM taken g HAVING count(*) > 0
    )
    SELECT g.event, g.ordinal, g.plugin, g.attempt, g.uncounted, g.deaths, g.due, g.steps, g.again,
        greatest(t - g.again_since, 0), e.source, e.type, e.subject, e.content_type, e.time_ms,
        e.parent, e.root, e.hops, e.trace, e.body, NULL::bigint, g.key, g.cancel_tag
    FROM taken g JOIN hookbox.events e ON e.id = g.event
    ORDER BY g.due, g.event, g.ordinal;
END $$;
