-- Deliveries with terms, what events cancel, and dead letters that the store makes by itself.

-- Ends a delivery that is not leased. With a reason it is a dead letter, with an attempt that says
-- why.
CREATE FUNCTION hookbox.end_open_v1(
    t bigint, of_event bigint, of_ordinal integer, to_state smallint, reason text
) RETURNS void
LANGUAGE sql VOLATILE AS $$
    WITH gone AS (
        DELETE FROM hookbox.open o WHERE o.event = of_event AND o.ordinal = of_ordinal
        RETURNING o.*
    ), put AS (
        INSERT INTO hookbox.settled (event, ordinal, plugin, state, attempt, uncounted, unrecorded,
            deaths, again, cut_off, started_ms, duration_us, outcome, error, key, entered,
            cancel_tag, failure)
        SELECT g.event, g.ordinal, g.plugin, to_state,
            g.attempt + (reason IS NOT NULL)::integer, g.uncounted, g.unrecorded,
            g.deaths + (to_state = 4)::integer, g.again, false,
            CASE WHEN reason IS NOT NULL THEN t END, CASE WHEN reason IS NOT NULL THEN 0 END,
            CASE WHEN reason IS NOT NULL THEN 6 END, reason, g.key, g.entered, g.cancel_tag,
            g.failure
        FROM gone g
    )
    INSERT INTO hookbox.count_deltas (plugin, state, n)
    SELECT g.plugin, CASE WHEN g.waits THEN 2 ELSE 0 END, -1 FROM gone g
    UNION ALL
    SELECT g.plugin, to_state, 1 FROM gone g
$$;

-- The ordinal of the next delivery of an event, which is locked until the transaction ends.
CREATE FUNCTION hookbox.next_ordinal_v1(of_event bigint) RETURNS integer
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM FROM hookbox.events e WHERE e.id = of_event FOR UPDATE;
    RETURN (SELECT coalesce(max(d.ordinal) + 1, 0) FROM (
        SELECT max(o.ordinal) AS ordinal FROM hookbox.open o WHERE o.event = of_event
        UNION ALL
        SELECT max(s.ordinal) FROM hookbox.settled s WHERE s.event = of_event) d);
END $$;

-- Leaves a delivery that tells of a dead letter which the store itself has made, if a route takes
-- that; says whether it did. Of the deaths of those that tell of deaths nobody is told. Its ordinal
-- is not less than `least`.
CREATE FUNCTION hookbox.notice_death_v1(
    t bigint, of_event bigint, of_ordinal integer, of_plugin text, least_ordinal integer
) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    next integer;
BEGIN
    IF of_plugin = 'hookbox/dead-letters' OR NOT (hookbox.policy_v1(of_plugin)).tells
        OR EXISTS (SELECT FROM hookbox.events e WHERE e.id = of_event AND e.type = 'hookbox.dead')
    THEN
        RETURN false;
    END IF;
    next := greatest(hookbox.next_ordinal_v1(of_event), least_ordinal);
    INSERT INTO hookbox.dead_notices
    SELECT of_event, next, of_ordinal, s.deaths FROM hookbox.settled s
    WHERE s.event = of_event AND s.ordinal = of_ordinal;
    INSERT INTO hookbox.open (event, ordinal, plugin, attempt, waits, due)
    VALUES (of_event, next, 'hookbox/dead-letters', 0, false, t);
    INSERT INTO hookbox.count_deltas VALUES ('hookbox/dead-letters', 0, 1);
    RETURN true;
END $$;

-- Cancels the open deliveries of a subject that have one of these tags. A leased delivery ends with
-- its settlement. Their keys go on only after that, so that none is opened by the end of another.
-- One whose key was not locked came later than the event. Returns what is due by it.
CREATE FUNCTION hookbox.cancel_v1(t bigint, of_subject text, tags bigint[])
RETURNS TABLE (plugin text, due_in bigint)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    o hookbox.open;
    left_keys hookbox.open[] := '{}';
BEGIN
    FOR o IN
        SELECT p.* FROM hookbox.open p
        WHERE p.cancel_subject = of_subject AND p.cancel_tag = ANY (tags)
        ORDER BY p.event, p.ordinal FOR UPDATE
    LOOP
        IF o.holder IS NOT NULL THEN
            UPDATE hookbox.open p SET cancelled = true
            WHERE p.event = o.event AND p.ordinal = o.ordinal;
            CONTINUE;
        END IF;
        IF o.entered IS NOT NULL THEN
            CONTINUE WHEN NOT
                pg_try_advisory_xact_lock(7450002, hookbox.stripe_v1(o.plugin, o.key));
            left_keys := left_keys || o;
        END IF;
        PERFORM hookbox.end_open_v1(t, o.event, o.ordinal, 5::smallint, NULL);
    END LOOP;
    FOREACH o IN ARRAY left_keys LOOP
        RETURN QUERY SELECT o.plugin, k.due - t FROM hookbox.key_left_v1(t, o.plugin, o.key,
            hookbox.earliest_start_v1(t, o.plugin, o.key), NULL) k;
    END LOOP;
END $$;

-- Creates deliveries with terms, and cancels what events cancel, for those of the events that
-- `append_v1` has stored, one event after the other: an event cancels what came before it.
-- Deliveries (`d_…`) and tags that are cancelled (`c_…`) belong to events by their place, from 1,
-- and are in the order of the events. `e_next` is the least ordinal of what the event gets later.
--
-- Returns a row for each created delivery, with its place `n` and its state. 0: it is ready or
-- waits for its time; 1: it is leased; 2: it waits behind its key; 4: it is dead. Rows without a
-- place name other plugins that have something due.
CREATE FUNCTION hookbox.terms_v1(
    at bigint, me bigint, e_ids bigint[], e_subjects text[], e_next integer[],
    d_event integer[], d_ordinal integer[], d_plugin text[], d_key bytea[], d_tag bigint[],
    d_delay bigint[], d_leased boolean[], c_event integer[], c_tag bigint[]
) RETURNS TABLE (n integer, what smallint, plugin text, due_in bigint)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    t bigint := hookbox.now_ms_v1(at);
    stored bigint[] := ARRAY(SELECT e.id FROM hookbox.events e WHERE e.id = ANY (e_ids));
    d integer := 1;
    c integer := 1;
    first_c integer;
    dead integer[];
    place record;
    goes_at bigint;
    result smallint;
BEGIN
    FOR i IN 1 .. cardinality(e_ids) LOOP
        first_c := c;
        WHILE c_event[c] = i LOOP
            c := c + 1;
        END LOOP;
        IF NOT e_ids[i] = ANY (stored) THEN
            WHILE d_event[d] = i LOOP
                d := d + 1;
            END LOOP;
            CONTINUE;
        END IF;
        IF c > first_c THEN
            RETURN QUERY SELECT NULL::integer, 0::smallint, x.plugin, x.due_in
            FROM hookbox.cancel_v1(t, e_subjects[i], c_tag[first_c : c - 1]) x;
        END IF;
        dead := '{}';
        WHILE d_event[d] = i LOOP
            IF d_key[d] IS NOT NULL AND d_delay[d] = 0 THEN
                SELECT * INTO place FROM hookbox.enter_v1(t, d_plugin[d], d_key[d]);
                goes_at := place.due;
            ELSE
                SELECT NULL::bigint AS number, NULL::bigint AS waiting INTO place;
                goes_at := CASE WHEN d_delay[d] > 9223372036854775805 - t
                    THEN 9223372036854775805 ELSE t + d_delay[d] END;
            END IF;
            IF place.waiting IS NOT NULL THEN
                INSERT INTO hookbox.settled (event, ordinal, plugin, state, attempt, uncounted,
                    unrecorded, deaths, again, cut_off, started_ms, duration_us, outcome, error,
                    key, entered, cancel_tag)
                VALUES (e_ids[i], d_ordinal[d], d_plugin[d], 4, 1, 0, 0, 1, 0, false, t, 0, 6,
                    hookbox.too_many_v1(d_plugin[d], d_key[d], place.waiting), d_key[d],
                    place.number, d_tag[d]);
                dead := dead || d;
                result := 4;
            ELSE
                result := CASE WHEN goes_at = 9223372036854775806 THEN 2
                    WHEN d_leased[d] AND goes_at <= t THEN 1 ELSE 0 END;
                INSERT INTO hookbox.open (event, ordinal, plugin, holder, attempt, waits, due, key,
                    entered, cancel_tag, cancel_subject)
                VALUES (e_ids[i], d_ordinal[d], d_plugin[d], CASE WHEN result = 1 THEN me END,
                    (result = 1)::integer, goes_at > t, goes_at, d_key[d], place.number, d_tag[d],
                    CASE WHEN d_tag[d] IS NOT NULL THEN e_subjects[i] END);
            END IF;
            INSERT INTO hookbox.count_deltas (plugin, state, n)
            VALUES (d_plugin[d], CASE WHEN result = 0 AND goes_at > t THEN 2 ELSE result END, 1);
            RETURN QUERY SELECT d, result, d_plugin[d], greatest(goes_at - t, 0);
            d := d + 1;
        END LOOP;
        FOR k IN 1 .. cardinality(dead) LOOP
            IF hookbox.notice_death_v1(t, e_ids[i], d_ordinal[dead[k]], d_plugin[dead[k]],
                e_next[i])
            THEN
                RETURN QUERY SELECT NULL::integer, 0::smallint, 'hookbox/dead-letters', 0::bigint;
            END IF;
        END LOOP;
    END LOOP;
END $$;

-- Gives delayed deliveries that are due their places within their keys, as far as `mosts[n]`
-- deliveries of a plugin may be leased, and a bounded number of them. Returns what is due by it
-- elsewhere.
CREATE FUNCTION hookbox.enter_late_v1(
    at bigint, plugins text[], mosts integer[], most_entered integer
) RETURNS TABLE (plugin text, due_in bigint)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    t bigint := hookbox.now_ms_v1(at);
    which text;
    ready integer;
    given integer;
    place record;
    o record;
BEGIN
    FOR i IN 1 .. cardinality(plugins) LOOP
        which := plugins[i];
        CONTINUE WHEN mosts[i] = 0 OR NOT EXISTS (SELECT FROM hookbox.open p
            WHERE p.plugin = which AND p.key IS NOT NULL AND p.entered IS NULL AND p.due <= t);
        ready := 0;
        given := 0;
        FOR o IN
            SELECT p.event, p.ordinal, p.key, p.waits, p.key IS NOT NULL AND p.entered IS NULL
                AS late FROM hookbox.open p
            WHERE p.plugin = which AND p.holder IS NULL AND p.crashes = 0 AND p.due <= t
            ORDER BY p.due, p.event, p.ordinal LIMIT mosts[i] + most_entered
        LOOP
            EXIT WHEN ready >= mosts[i] OR given >= most_entered;
            IF NOT o.late THEN
                ready := ready + 1;
                CONTINUE;
            END IF;
            CONTINUE WHEN NOT
                pg_try_advisory_xact_lock(7450002, hookbox.stripe_v1(which, o.key));
            PERFORM FROM hookbox.open p WHERE p.event = o.event AND p.ordinal = o.ordinal
                AND p.plugin = which AND p.entered IS NULL AND p.holder IS NULL
                FOR UPDATE SKIP LOCKED;
            CONTINUE WHEN NOT FOUND;
            given := given + 1;
            SELECT * INTO place FROM hookbox.enter_v1(t, which, o.key);
            IF place.waiting IS NOT NULL THEN
                PERFORM hookbox.end_open_v1(t, o.event, o.ordinal, 4::smallint,
                    hookbox.too_many_v1(which, o.key, place.waiting));
                IF hookbox.notice_death_v1(t, o.event, o.ordinal, which, 0) THEN
                    RETURN QUERY SELECT 'hookbox/dead-letters', 0::bigint;
                END IF;
            ELSIF place.due <= t THEN
                UPDATE hookbox.open p SET entered = place.number
                WHERE p.event = o.event AND p.ordinal = o.ordinal;
                ready := ready + 1;
            ELSE
                UPDATE hookbox.open p SET entered = place.number, due = place.due, waits = true
                WHERE p.event = o.event AND p.ordinal = o.ordinal;
                IF NOT o.waits THEN
                    INSERT INTO hookbox.count_deltas (plugin, state, n)
                    VALUES (which, 0, -1), (which, 2, 1);
                END IF;
            END IF;
        END LOOP;
    END LOOP;
END $$;
