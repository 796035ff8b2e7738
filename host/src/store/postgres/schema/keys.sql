-- The order of deliveries with a key. The first `per_key` of a key that have entered are open, and
-- the others wait behind them. All that end an open one open the next in the same transaction.
--
-- To enter a key and to leave it take the lock of its stripe, so that the two exclude each other:
-- `lock_keys_v1` comes before anything is read.

-- The policy of a plugin: the setting `hookbox.policies` has it by the plugin's name. Of one that
-- is not there nothing is known: what has a key is in strict order.
CREATE TYPE hookbox.policy AS (
    per_key integer, apart bigint, holds boolean, most_waiting bigint, tells boolean
);
CREATE FUNCTION hookbox.policy_v1(of_plugin text) RETURNS hookbox.policy
LANGUAGE sql VOLATILE AS $$
    SELECT ROW(coalesce((p ->> 'per_key')::integer, 1), coalesce((p ->> 'apart')::bigint, 0),
        coalesce((p ->> 'holds')::boolean, false),
        coalesce((p ->> 'most_waiting')::bigint, 4294967295),
        coalesce((p ->> 'tells')::boolean, false))::hookbox.policy
    FROM (SELECT nullif(current_setting('hookbox.policies', true), '')::jsonb -> of_plugin AS p) s
$$;

-- The stripe of a key, of 256.
CREATE FUNCTION hookbox.stripe_v1(of_plugin text, of_key bytea) RETURNS integer
LANGUAGE sql IMMUTABLE AS $$
    SELECT get_byte(sha256(convert_to(of_plugin, 'UTF8') || '\x00'::bytea || of_key), 0)
$$;

-- Locks the stripes of these keys, and of what events of these subjects and tags cancel.
CREATE FUNCTION hookbox.lock_keys_v1(
    plugins text[], keys bytea[], subjects text[], tags bigint[]
) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    s integer;
BEGIN
    FOR s IN
        SELECT hookbox.stripe_v1(k.plugin, k.key) FROM unnest(plugins, keys) AS k (plugin, key)
        UNION
        SELECT hookbox.stripe_v1(o.plugin, o.key) FROM unnest(subjects, tags) AS c (subject, tag)
        JOIN hookbox.open o ON o.cancel_subject = c.subject AND o.cancel_tag = c.tag
        WHERE o.entered IS NOT NULL
        ORDER BY 1
    LOOP
        PERFORM pg_advisory_xact_lock(7450002, s);
    END LOOP;
END $$;

-- Locks the stripes of what a run holds.
CREATE FUNCTION hookbox.lock_held_v1(run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    s integer;
BEGIN
    FOR s IN
        SELECT DISTINCT hookbox.stripe_v1(o.plugin, o.key) FROM hookbox.open o
        WHERE o.holder = run AND o.entered IS NOT NULL ORDER BY 1
    LOOP
        PERFORM pg_advisory_xact_lock(7450002, s);
    END LOOP;
END $$;

-- Keeps a key waiting until a time (event 0), or for a dead letter.
CREATE FUNCTION hookbox.keep_waiting_v1(
    of_plugin text, of_key bytea, of_event bigint, of_ordinal integer, number bigint,
    until_ms bigint
) RETURNS void
LANGUAGE sql VOLATILE AS $$
    INSERT INTO hookbox.held_keys AS h
    VALUES (of_plugin, of_key, of_event, of_ordinal, until_ms, number)
    ON CONFLICT (plugin, key, event, ordinal)
        DO UPDATE SET until = greatest(h.until, excluded.until)
$$;

-- Forgets that a dead letter holds its key; says whether it did.
CREATE FUNCTION hookbox.let_go_v1(
    of_plugin text, of_key bytea, of_event bigint, of_ordinal integer
) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    DELETE FROM hookbox.held_keys h WHERE h.plugin = of_plugin AND h.key = of_key
        AND h.event = of_event AND h.ordinal = of_ordinal;
    RETURN FOUND;
END $$;

-- The place of one that enters its key behind those that have entered. `due` is the greatest number
-- but one if it waits behind them. `waiting` is how many wait, if as many do as may: then it is a
-- dead letter. They are counted by their numbers, so that those that were cancelled may count.
CREATE FUNCTION hookbox.enter_v1(
    t bigint, of_plugin text, of_key bytea, OUT number bigint, OUT due bigint, OUT waiting bigint
)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    policy hookbox.policy := hookbox.policy_v1(of_plugin);
    last_number bigint;
    last_behind boolean;
    until_ms bigint;
    held_number bigint;
    is_held boolean;
    is_behind boolean;
BEGIN
    SELECT o.entered, o.behind INTO last_number, last_behind FROM hookbox.open o
    WHERE o.plugin = of_plugin AND o.key = of_key AND o.entered IS NOT NULL
    ORDER BY o.entered DESC LIMIT 1;
    SELECT max(h.until), max(h.entered) INTO until_ms, held_number FROM hookbox.held_keys h
    WHERE h.plugin = of_plugin AND h.key = of_key;
    number := greatest(last_number, held_number, 0) + 1;
    is_held := coalesce(until_ms = 9223372036854775807, false);
    is_behind := is_held OR last_number IS NOT NULL AND (last_behind OR policy.per_key = 1
        OR (SELECT count(*) FROM (SELECT FROM hookbox.open o
            WHERE o.plugin = of_plugin AND o.key = of_key AND o.entered IS NOT NULL
            LIMIT policy.per_key) e) >= policy.per_key);
    IF NOT is_behind THEN
        due := greatest(t, until_ms);
        RETURN;
    END IF;
    due := 9223372036854775806;
    -- Beside a dead letter that holds the key none is open.
    waiting := coalesce(number - (SELECT min(o.entered) FROM hookbox.open o
        WHERE o.plugin = of_plugin AND o.key = of_key AND o.entered IS NOT NULL)
        - CASE WHEN is_held THEN 0 ELSE policy.per_key END, 0);
    IF waiting < 0 OR waiting < policy.most_waiting THEN
        waiting := NULL;
    END IF;
END $$;

-- Opens the next deliveries of a key, because one of them has ended. They are not due before
-- `not_before`, and if there is none, whatever comes is not either. If `taker` is a run, it leases
-- the first of them, if that is due. Returns what was opened.
CREATE FUNCTION hookbox.key_left_v1(
    t bigint, of_plugin text, of_key bytea, not_before bigint, taker bigint
) RETURNS TABLE (event bigint, ordinal integer, due bigint, leased boolean)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    policy hookbox.policy := hookbox.policy_v1(of_plugin);
    left_taker bigint := taker;
    until_ms bigint;
    opens bigint;
    takes boolean;
    o record;
BEGIN
    IF not_before > t THEN
        PERFORM hookbox.keep_waiting_v1(of_plugin, of_key, 0, 0, NULL, not_before);
    END IF;
    FOR o IN
        SELECT f.event, f.ordinal FROM (
            SELECT p.event, p.ordinal, p.behind FROM hookbox.open p
            WHERE p.plugin = of_plugin AND p.key = of_key AND p.entered IS NOT NULL
            ORDER BY p.entered LIMIT policy.per_key) f
        WHERE f.behind
    LOOP
        IF opens IS NULL THEN
            SELECT max(h.until) INTO until_ms FROM hookbox.held_keys h
            WHERE h.plugin = of_plugin AND h.key = of_key;
            IF until_ms = 9223372036854775807 THEN
                RETURN;
            END IF;
            opens := greatest(not_before, until_ms, t);
        END IF;
        takes := left_taker IS NOT NULL AND opens <= t;
        UPDATE hookbox.open p SET due = opens, waits = opens > t,
            holder = CASE WHEN takes THEN left_taker END, attempt = p.attempt + takes::integer
        WHERE p.event = o.event AND p.ordinal = o.ordinal;
        IF opens <= t THEN
            INSERT INTO hookbox.count_deltas (plugin, state, n)
            VALUES (of_plugin, 2, -1), (of_plugin, takes::integer, 1);
        END IF;
        IF takes THEN
            left_taker := NULL;
        END IF;
        RETURN QUERY SELECT o.event, o.ordinal, opens, takes;
    END LOOP;
END $$;

-- Lets a key wait for what has ended: until a time, or for a dead letter that holds it. Says whether
-- it is held.
CREATE FUNCTION hookbox.key_waits_v1(
    t bigint, of_plugin text, of_key bytea, of_event bigint, of_ordinal integer, number bigint,
    is_dead boolean, not_before bigint
) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    is_held boolean := is_dead AND (hookbox.policy_v1(of_plugin)).holds;
BEGIN
    IF not_before > t THEN
        PERFORM hookbox.keep_waiting_v1(of_plugin, of_key, 0, 0, NULL, not_before);
    END IF;
    IF is_held THEN
        PERFORM hookbox.keep_waiting_v1(of_plugin, of_key, of_event, of_ordinal, number,
            9223372036854775807);
    END IF;
    RETURN is_held;
END $$;

-- Ends what a delivery did to its key: the next one may go, unless it is a dead letter that holds
-- it. Returns what was opened.
CREATE FUNCTION hookbox.key_ended_v1(
    t bigint, of_plugin text, of_key bytea, of_event bigint, of_ordinal integer, number bigint,
    is_dead boolean, not_before bigint, taker bigint
) RETURNS TABLE (event bigint, ordinal integer, due bigint, leased boolean)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
BEGIN
    IF hookbox.key_waits_v1(t, of_plugin, of_key, of_event, of_ordinal, number, is_dead, not_before)
    THEN
        RETURN;
    END IF;
    RETURN QUERY
        SELECT * FROM hookbox.key_left_v1(t, of_plugin, of_key, not_before, taker);
END $$;

-- The time before which no attempt of a key begins, dead letters that hold it aside.
CREATE FUNCTION hookbox.earliest_start_v1(t bigint, of_plugin text, of_key bytea) RETURNS bigint
LANGUAGE sql VOLATILE AS $$
    SELECT greatest(t, (SELECT h.until FROM hookbox.held_keys h
        WHERE h.plugin = of_plugin AND h.key = of_key AND h.event = 0 AND h.ordinal = 0))
$$;

-- Keeps a delivery that is not leased from being due before a time.
CREATE FUNCTION hookbox.not_before_v1(of_event bigint, of_ordinal integer, start bigint)
RETURNS void
LANGUAGE sql VOLATILE AS $$
    WITH early AS (
        SELECT o.event, o.ordinal, o.waits FROM hookbox.open o
        WHERE o.event = of_event AND o.ordinal = of_ordinal AND o.holder IS NULL AND o.due < start
    ), moved AS (
        UPDATE hookbox.open o SET due = start, waits = true FROM early e
        WHERE o.event = e.event AND o.ordinal = e.ordinal RETURNING o.plugin, e.waits AS waited
    )
    INSERT INTO hookbox.count_deltas (plugin, state, n)
    SELECT m.plugin, s.state, s.n FROM moved m
    CROSS JOIN (VALUES (0, -1), (2, 1)) AS s (state, n) WHERE NOT m.waited
$$;

-- A key as people read it.
CREATE FUNCTION hookbox.shown_key_v1(of_key bytea) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    shown text;
BEGIN
    shown := CASE WHEN position('\x00'::bytea IN of_key) > 0 THEN encode(of_key, 'escape')
        ELSE convert_from(of_key, 'UTF8') END;
    shown := regexp_replace(shown, '[[:cntrl:]]', '?', 'g');
    RETURN CASE WHEN length(shown) > 80 THEN left(shown, 77) || '...' ELSE shown END;
END $$;

-- Why a delivery is a dead letter at once, for people.
CREATE FUNCTION hookbox.too_many_v1(of_plugin text, of_key bytea, waiting bigint) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT format('`plugins.%s.max_waiting_per_key`: %s deliveries wait behind the key `%s` already',
        of_plugin, waiting, hookbox.shown_key_v1(of_key))
$$;

-- Does what settlements do to the keys of their deliveries, unless they were lost: `settle_v1` has
-- left which were. `aparts` are the times until the next attempt of the key may begin. With `takes`
-- this run leases the next delivery. Returns what was opened, each with the place in the arrays:
-- the whole lease, or the plugin and the time until it is due. Without `opens` the keys wait as
-- they have to, and nothing is opened yet: what the settlements emit may enter keys, and cancel.
CREATE FUNCTION hookbox.settled_keys_v1(
    at bigint, me bigint, places integer[], events bigint[], ordinals integer[], plugins text[],
    keys bytea[], aparts bigint[], takes boolean[], opens boolean
) RETURNS TABLE (
    n integer, due_in bigint, event bigint, ordinal integer, plugin text, attempt integer,
    uncounted integer, deaths integer, due bigint, has_steps boolean, again integer, source text,
    type text, subject text, content_type text, time_ms bigint, parent bigint, root bigint,
    hops integer, trace bytea, body bytea, key bytea, cancel_tag bigint
)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    t bigint := hookbox.now_ms_v1(at);
    lost integer[] := nullif(current_setting('hookbox.lost', true), '')::integer[];
    ended_as smallint;
    number bigint;
    o record;
BEGIN
    FOR i IN 1 .. cardinality(places) LOOP
        CONTINUE WHEN places[i] = ANY (lost);
        SELECT s.state, s.entered INTO ended_as, number FROM hookbox.settled s
        WHERE s.event = events[i] AND s.ordinal = ordinals[i];
        IF NOT FOUND THEN
            IF aparts[i] > 0 THEN
                PERFORM hookbox.keep_waiting_v1(plugins[i], keys[i], 0, 0, NULL, t + aparts[i]);
                PERFORM hookbox.not_before_v1(events[i], ordinals[i], t + aparts[i]);
            END IF;
            CONTINUE;
        END IF;
        IF NOT opens THEN
            PERFORM hookbox.key_waits_v1(t, plugins[i], keys[i], events[i], ordinals[i], number,
                ended_as = 4, t + aparts[i]);
            CONTINUE;
        END IF;
        FOR o IN SELECT * FROM hookbox.key_ended_v1(t, plugins[i], keys[i], events[i], ordinals[i],
            number, ended_as = 4, t + aparts[i], CASE WHEN takes[i] THEN me END)
        LOOP
            IF o.leased THEN
                RETURN QUERY SELECT i, 0::bigint, p.event, p.ordinal, p.plugin, p.attempt,
                    p.uncounted, p.deaths, p.due, p.steps, p.again, e.source, e.type, e.subject,
                    e.content_type, e.time_ms, e.parent, e.root, e.hops, e.trace, e.body, p.key,
                    p.cancel_tag
                FROM hookbox.open p JOIN hookbox.events e ON e.id = p.event
                WHERE p.event = o.event AND p.ordinal = o.ordinal;
            ELSE
                n := i;
                due_in := o.due - t;
                plugin := plugins[i];
                event := NULL;
                RETURN NEXT;
            END IF;
        END LOOP;
    END LOOP;
END $$;
