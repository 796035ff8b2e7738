-- Changes by operators of deliveries with a key or a tag. The caller has moved the deliveries
-- between `open` and `settled`, and these functions do to keys what follows from it.

-- Locks the stripes of deliveries, wherever they are.
CREATE FUNCTION hookbox.lock_deliveries_v1(events bigint[], ordinals integer[]) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    s integer;
BEGIN
    FOR s IN
        SELECT hookbox.stripe_v1(d.plugin, d.key) FROM (
            SELECT o.plugin, o.key FROM unnest(events, ordinals) AS i (event, ordinal)
            JOIN hookbox.open o USING (event, ordinal)
            UNION
            SELECT p.plugin, p.key FROM unnest(events, ordinals) AS i (event, ordinal)
            JOIN hookbox.settled p USING (event, ordinal)) d
        WHERE d.key IS NOT NULL GROUP BY 1 ORDER BY 1
    LOOP
        PERFORM pg_advisory_xact_lock(7450002, s);
    END LOOP;
END $$;

-- Does what an action asks for beside the rows of deliveries that it has moved: `what` is 0 cancel,
-- 1 discard, 2 retry, 3 move. The columns are those of before: `was` is the state, `due` that of
-- one that was open. With a move they have the keys `new_keys`. Keys go on after all of it, so that
-- none of the deliveries is opened by the end of another. Returns what is due by it.
CREATE FUNCTION hookbox.changed_keys_v1(
    at bigint, what integer, events bigint[], ordinals integer[], plugins text[], keys bytea[],
    numbers bigint[], dues bigint[], was smallint[], tags bigint[], new_keys bytea[]
) RETURNS TABLE (plugin text, due_in bigint)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    t bigint := hookbox.now_ms_v1(at);
    starts bigint[] := array_fill(NULL::bigint, ARRAY[cardinality(events)]);
    place record;
    goes_at bigint;
    number bigint;
BEGIN
    FOR i IN 1 .. cardinality(events) LOOP
        IF what = 0 THEN
            -- A leased delivery ends with its settlement.
            CONTINUE WHEN was[i] = 1;
            UPDATE hookbox.settled s SET key = keys[i], entered = numbers[i], cancel_tag = tags[i]
            WHERE s.event = events[i] AND s.ordinal = ordinals[i];
            IF numbers[i] IS NOT NULL THEN
                starts[i] := hookbox.earliest_start_v1(t, plugins[i], keys[i]);
            END IF;
        ELSIF what = 1 THEN
            IF hookbox.let_go_v1(plugins[i], keys[i], events[i], ordinals[i]) THEN
                starts[i] := t;
            END IF;
        ELSIF what = 3 THEN
            UPDATE hookbox.open o SET key = new_keys[i], entered = NULL,
                due = CASE WHEN o.due = 9223372036854775806 THEN t ELSE o.due END
            WHERE o.event = events[i] AND o.ordinal = ordinals[i];
            IF FOUND AND numbers[i] IS NOT NULL THEN
                starts[i] := hookbox.earliest_start_v1(t, plugins[i], keys[i]);
            END IF;
            UPDATE hookbox.settled s SET key = new_keys[i], entered = NULL
            WHERE s.event = events[i] AND s.ordinal = ordinals[i];
            IF FOUND AND hookbox.let_go_v1(plugins[i], keys[i], events[i], ordinals[i]) THEN
                starts[i] := t;
            END IF;
        ELSIF was[i] IN (0, 2) THEN
            -- Not before the time that its key keeps.
            goes_at := least(dues[i], hookbox.earliest_start_v1(t, plugins[i], keys[i]));
            PERFORM hookbox.not_before_v1(events[i], ordinals[i], goes_at)
            WHERE keys[i] IS NOT NULL AND goes_at > t;
        ELSE
            number := NULL;
            goes_at := t;
            IF keys[i] IS NULL THEN
                NULL;
            ELSIF hookbox.let_go_v1(plugins[i], keys[i], events[i], ordinals[i]) THEN
                number := numbers[i];
                goes_at := hookbox.earliest_start_v1(t, plugins[i], keys[i]);
                -- Nothing holds the key any more, and there may be room for others.
                starts[i] := t;
            ELSE
                SELECT * INTO place FROM hookbox.enter_v1(t, plugins[i], keys[i]);
                number := place.number;
                goes_at := place.due;
            END IF;
            UPDATE hookbox.open o SET key = keys[i], entered = number, cancel_tag = tags[i],
                cancel_subject = CASE WHEN tags[i] IS NOT NULL THEN
                    (SELECT e.subject FROM hookbox.events e WHERE e.id = events[i]) END
            WHERE o.event = events[i] AND o.ordinal = ordinals[i];
            PERFORM hookbox.not_before_v1(events[i], ordinals[i], goes_at) WHERE goes_at > t;
        END IF;
    END LOOP;
    FOR i IN 1 .. cardinality(events) LOOP
        CONTINUE WHEN starts[i] IS NULL;
        RETURN QUERY SELECT plugins[i], k.due - t
        FROM hookbox.key_left_v1(t, plugins[i], keys[i], starts[i], NULL) k;
    END LOOP;
END $$;

-- Forgets what is kept of events that are deleted: dead letters among them hold no key any more.
-- Returns what is due by it.
CREATE FUNCTION hookbox.forget_keys_v1(at bigint, events bigint[])
RETURNS TABLE (plugin text, due_in bigint)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    t bigint := hookbox.now_ms_v1(at);
    held record;
BEGIN
    FOR held IN
        SELECT h.plugin, h.key, h.event, h.ordinal FROM hookbox.held_keys h
        WHERE h.until = 9223372036854775807 AND h.event = ANY (events)
        ORDER BY hookbox.stripe_v1(h.plugin, h.key)
    LOOP
        PERFORM pg_advisory_xact_lock(7450002, hookbox.stripe_v1(held.plugin, held.key));
        IF hookbox.let_go_v1(held.plugin, held.key, held.event, held.ordinal) THEN
            RETURN QUERY SELECT held.plugin, k.due - t
            FROM hookbox.key_left_v1(t, held.plugin, held.key, t, NULL) k;
        END IF;
    END LOOP;
    DELETE FROM hookbox.dead_notices n WHERE n.event = ANY (events);
END $$;

-- Forgets keys that need not wait any more, at most `most` of them; says how many.
CREATE FUNCTION hookbox.forget_held_v1(at bigint, most integer) RETURNS bigint
LANGUAGE sql VOLATILE AS $$
    WITH gone AS (
        DELETE FROM hookbox.held_keys h WHERE h.ctid = ANY (ARRAY(
            SELECT k.ctid FROM hookbox.held_keys k WHERE k.until <= hookbox.now_ms_v1(at)
            LIMIT most FOR UPDATE SKIP LOCKED)) RETURNING 1
    )
    SELECT count(*) FROM gone
$$;

-- Lets gatherings that are not over wait for their members again.
CREATE FUNCTION hookbox.wait_on_v1(events bigint[], ordinals integer[]) RETURNS void
LANGUAGE sql VOLATILE AS $$
    SELECT hookbox.not_before_v1(g.event, g.ordinal,
        least(g.until, coalesce(g.quiet_until, g.until)))
    FROM unnest(events, ordinals) AS i (event, ordinal)
    JOIN hookbox.gatherings g USING (event, ordinal)
    WHERE NOT g.frozen AND g.why IS NULL
$$;
