-- Joins and batches. A gathering is a delivery of its first member. Keys and what members are
-- counted as are bytes, because they may hold any character. `number` tells which is newer: it is
-- taken with the lock of the key's stripe held. `frozen` says that the delivery was leased, and
-- `why` what has completed it: 0 need, 1 types, 2 close, 3 size, 4 limit. It ends at `until` in any
-- case, and at `quiet_until` if no further member comes.
CREATE TABLE hookbox.gatherings (
    event bigint NOT NULL,
    ordinal integer NOT NULL,
    number bigint GENERATED ALWAYS AS IDENTITY,
    plugin text COLLATE "C" NOT NULL,
    key bytea NOT NULL,
    opened bigint NOT NULL,
    until bigint NOT NULL,
    quiet_until bigint,
    members integer NOT NULL,
    counted bigint NOT NULL,
    need bigint,
    seen bigint NOT NULL,
    frozen boolean NOT NULL,
    why smallint,
    PRIMARY KEY (event, ordinal)
) WITH (fillfactor = 70);
CREATE INDEX gatherings_key ON hookbox.gatherings (key, plugin, number);

-- The members of gatherings, in the order of `number`.
CREATE TABLE hookbox.gathered (
    gathering bigint NOT NULL,
    ordinal integer NOT NULL,
    number bigint GENERATED ALWAYS AS IDENTITY,
    event bigint NOT NULL,
    member bytea,
    PRIMARY KEY (gathering, ordinal, number)
);
CREATE INDEX gathered_member ON hookbox.gathered (gathering, ordinal, member)
    WHERE member IS NOT NULL;
CREATE INDEX gathered_event ON hookbox.gathered (event);

-- Open deliveries of the host's own plugins, whose names have a slash.
CREATE INDEX open_own ON hookbox.open (crashes, plugin, due, event, ordinal)
    WHERE plugin LIKE '%/%';

-- Host time from which the key of a join that has ended may open another one. If its time ran out,
-- that is once more as long: a straggler would open another one, and perhaps complete it.
CREATE FUNCTION hookbox.closed_until_v1(g hookbox.gatherings) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
    SELECT g.until + CASE WHEN g.frozen AND g.why IS NULL THEN g.until - g.opened ELSE 0 END
$$;

-- Whether an event is kept whatever its age: it is a member of an open gathering, or the first one
-- of a join whose key is still closed.
CREATE FUNCTION hookbox.is_gathered_v1(at bigint, of_event bigint) RETURNS boolean
LANGUAGE sql VOLATILE AS $$
    SELECT EXISTS (SELECT FROM hookbox.gathered m
            JOIN hookbox.open o ON o.event = m.gathering AND o.ordinal = m.ordinal
            WHERE m.event = of_event)
        OR EXISTS (SELECT FROM hookbox.gatherings g
            WHERE g.event = of_event AND g.plugin LIKE 'joins/%'
                AND hookbox.now_ms_v1(at) < hookbox.closed_until_v1(g))
$$;

-- Forgets what events had gathered that are deleted.
CREATE FUNCTION hookbox.forget_gathered_v1(ids bigint[]) RETURNS void
LANGUAGE sql VOLATILE AS $$
    DELETE FROM hookbox.gathered m WHERE m.gathering = ANY (ids);
    DELETE FROM hookbox.gatherings g WHERE g.event = ANY (ids);
$$;

-- Leases the delivery of a gathering if `lends` is true, or else makes it due at `due_at`.
-- Returns whether it is leased.
CREATE FUNCTION hookbox.end_gathering_v1(
    t bigint, me bigint, g hookbox.gatherings, due_at bigint, lends boolean
) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    leases boolean := lends AND due_at <= t;
BEGIN
    UPDATE hookbox.open o SET due = due_at, waits = due_at > t,
        holder = CASE WHEN leases THEN me END, attempt = o.attempt + leases::integer
    WHERE o.event = g.event AND o.ordinal = g.ordinal;
    IF due_at <= t THEN
        INSERT INTO hookbox.count_deltas (plugin, state, n)
        VALUES (g.plugin, 2, -1), (g.plugin, leases::integer, 1);
    END IF;
    RETURN leases;
END $$;

-- Makes events members of what they are to be gathered into, those of one key in their order. Only
-- events that `append_v1` has stored are looked at. The stripes of all keys are locked before. The
-- first delivery of an event that this makes has the ordinal in `bases`. `counts`: 0 not, 1 each
-- event, 2 each text of `texts`. With `lends` there is a permit to lease the gathering that the
-- member completes.
--
-- Returns a row without an event for each delivery that is due at another time than before, and
-- then those that are leased, each with the place of the member whose permit it has.
CREATE FUNCTION hookbox.gather_v1(
    at bigint, me bigint, most bigint, ids bigint[], numbers integer[], bases integer[],
    plugins text[], keys bytea[], joins boolean[], withins bigint[], quiets bigint[],
    wants bigint[], types bigint[], counts smallint[], texts bytea[], needs bigint[],
    seens bigint[], closes boolean[], lends boolean[]
) RETURNS TABLE (
    event bigint, ordinal integer, plugin text, attempt integer, uncounted integer, deaths integer,
    due bigint, source text, type text, subject text, content_type text, time_ms bigint,
    parent bigint, root bigint, hops integer, trace bytea, body bytea, next_in bigint, place bigint
)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    t bigint := hookbox.now_ms_v1(at);
    m record;
    g hookbox.gatherings;
    o hookbox.open;
    made integer[] := array_fill(0, ARRAY[cardinality(ids)]);
    l_event bigint[];
    l_ordinal integer[];
    l_place bigint[];
    is_there boolean := false;
    has_ended boolean;
    changed boolean := false;
    is_new boolean;
    next_due bigint;
BEGIN
    -- The deliveries of the newest gatherings, in the order of all that locks deliveries. A lease
    -- passes over those that are locked.
    PERFORM FROM hookbox.open p
    WHERE (p.event, p.ordinal) IN (
        SELECT n.event, n.ordinal
        FROM (SELECT DISTINCT u.plugin, u.key FROM unnest(plugins, keys) AS u (plugin, key)) k
        CROSS JOIN LATERAL (SELECT h.event, h.ordinal FROM hookbox.gatherings h
            WHERE h.key = k.key AND h.plugin = k.plugin ORDER BY h.number DESC LIMIT 1) n)
    ORDER BY p.event, p.ordinal FOR UPDATE;
    FOR m IN
        SELECT u.*, lag(true) OVER (PARTITION BY u.plugin, u.key ORDER BY u.n) IS NULL AS is_first,
            lead(true) OVER (PARTITION BY u.plugin, u.key ORDER BY u.n) IS NULL AS is_last
        FROM unnest(ids, numbers, bases, plugins, keys, joins, withins, quiets, wants, types,
            counts, texts, needs, seens, closes, lends) WITH ORDINALITY
            AS u (id, number, base, plugin, key, is_join, within, quiet, want, types, counts,
            text, need, seen, closes, lends, n)
        JOIN hookbox.events e ON e.id = u.id
        ORDER BY u.plugin, u.key, u.n
    LOOP
        IF m.is_first THEN
            SELECT h.* INTO g FROM hookbox.gatherings h
            WHERE h.key = m.key AND h.plugin = m.plugin ORDER BY h.number DESC LIMIT 1;
            is_there := FOUND;
            SELECT p.* INTO o FROM hookbox.open p
            WHERE p.event = g.event AND p.ordinal = g.ordinal;
            has_ended := g.frozen OR g.why IS NOT NULL OR NOT FOUND;
        END IF;
        IF is_there AND m.is_join AND (has_ended AND hookbox.closed_until_v1(g) > t
            OR NOT has_ended AND g.until <= t) THEN
            UPDATE hookbox.events e SET note = concat_ws('; ', e.note,
                format('late_member: `%s` had ended before', m.plugin))
            WHERE e.id = m.id;
        ELSE
            IF NOT is_there OR has_ended THEN
                g := NULL;
                g.event := m.id;
                g.ordinal := m.base + made[m.number];
                g.plugin := m.plugin;
                g.key := m.key;
                g.opened := t;
                g.until := t + coalesce((SELECT l.within FROM hookbox.time_limits l
                    WHERE l.plugin = m.plugin), m.within);
                g.quiet_until := t + m.quiet;
                g.members := 0;
                g.counted := 0;
                g.seen := 0;
                g.frozen := false;
                made[m.number] := made[m.number] + 1;
                INSERT INTO hookbox.gatherings (event, ordinal, plugin, key, opened, until,
                    members, counted, seen, frozen)
                VALUES (g.event, g.ordinal, g.plugin, g.key, g.opened, g.until, 0, 0, 0, false);
                next_due := least(g.quiet_until, g.until);
                INSERT INTO hookbox.open (event, ordinal, plugin, attempt, waits, due)
                VALUES (g.event, g.ordinal, g.plugin, 0, true, next_due)
                RETURNING * INTO o;
                INSERT INTO hookbox.count_deltas (plugin, state, n) VALUES (g.plugin, 2, 1);
                is_there := true;
                has_ended := false;
                -- A gathering that is due at once is made so below.
                o.due := 9223372036854775807;
            ELSE
                -- A gathering that has been quiet for long enough is due already, and stays so.
                IF g.quiet_until IS NULL OR g.quiet_until > t THEN
                    g.quiet_until := coalesce(t + m.quiet, g.quiet_until);
                END IF;
                next_due := CASE WHEN m.quiet IS NOT NULL THEN least(t + m.quiet, g.until)
                    ELSE o.due END;
            END IF;
            is_new := m.counts <> 0 AND NOT (m.counts = 2 AND EXISTS (
                SELECT FROM hookbox.gathered w WHERE w.gathering = g.event
                    AND w.ordinal = g.ordinal AND w.member = m.text));
            INSERT INTO hookbox.gathered (gathering, ordinal, event, member)
            VALUES (g.event, g.ordinal, m.id, m.text);
            g.members := g.members + 1;
            g.counted := g.counted + is_new::integer;
            g.need := coalesce(g.need, m.need);
            g.seen := g.seen | m.seen;
            g.why := CASE WHEN m.closes THEN 2
                WHEN m.types <> 0 AND g.seen & m.types = m.types THEN 1
                WHEN g.counted >= coalesce(m.want, g.need)
                    THEN CASE WHEN m.is_join THEN 0 ELSE 3 END
                WHEN g.members >= most THEN 4 END;
            changed := true;
            IF g.why IS NOT NULL THEN
                next_due := t;
                has_ended := true;
            END IF;
            -- A gathering that is due already stays so, and one that ran in a crash is not hurried.
            IF o.due > t AND o.crashes = 0 AND next_due <> o.due THEN
                IF hookbox.end_gathering_v1(t, me, g, next_due, m.lends) THEN
                    g.frozen := true;
                    has_ended := true;
                    l_event := l_event || g.event;
                    l_ordinal := l_ordinal || g.ordinal;
                    l_place := l_place || m.n;
                ELSE
                    RETURN QUERY SELECT NULL::bigint, NULL::integer, g.plugin, NULL::integer,
                        NULL::integer, NULL::integer, NULL::bigint, NULL::text, NULL::text,
                        NULL::text, NULL::text, NULL::bigint, NULL::bigint, NULL::bigint,
                        NULL::integer, NULL::bytea, NULL::bytea, next_due - t, NULL::bigint;
                END IF;
                o.due := next_due;
            END IF;
        END IF;
        IF changed AND (has_ended OR m.is_last) THEN
            UPDATE hookbox.gatherings h SET members = g.members, counted = g.counted,
                need = g.need, seen = g.seen, frozen = g.frozen, why = g.why,
                quiet_until = g.quiet_until
            WHERE h.event = g.event AND h.ordinal = g.ordinal;
            changed := false;
        END IF;
    END LOOP;
    RETURN QUERY
    SELECT p.event, p.ordinal, p.plugin, p.attempt, p.uncounted, p.deaths, p.due, e.source, e.type,
        e.subject, e.content_type, e.time_ms, e.parent, e.root, e.hops, e.trace, e.body,
        NULL::bigint, l.n
    FROM unnest(l_event, l_ordinal, l_place) AS l (event, ordinal, n)
    JOIN hookbox.open p ON p.event = l.event AND p.ordinal = l.ordinal
    JOIN hookbox.events e ON e.id = l.event;
END $$;

-- Notes which gatherings of these plugins the run has leased: they take no more members.
CREATE FUNCTION hookbox.freeze_v1(me bigint, of_plugins text[]) RETURNS void
LANGUAGE sql VOLATILE AS $$
    UPDATE hookbox.gatherings g SET frozen = true FROM hookbox.open o
    WHERE o.holder = me AND o.plugin = ANY (of_plugins) AND g.event = o.event
        AND g.ordinal = o.ordinal AND NOT g.frozen
$$;
