-- Makes due again what the run `gone` held. An attempt that ran (`r_…`, or all with `all_ran`) is
-- recorded as a crash; a delivery that ran in two crashes is dead. Keys that are left go on. The
-- setting `hookbox.policies` says what is known of the plugins. Returns how many were held and
-- how many of them ran.
CREATE FUNCTION hookbox.recover_v1(
    at bigint, gone bigint, all_ran boolean,
    r_event bigint[], r_ordinal integer[], r_attempt integer[], most_crashes integer, reason text
) RETURNS TABLE (held bigint, running bigint)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    t bigint := hookbox.now_ms_v1(at);
    o record;
    state smallint;
    total bigint := 0;
    ran_total bigint := 0;
    again_at bigint;
    met bigint;
BEGIN
    PERFORM hookbox.lock_held_v1(gone);
    -- The lock of groups: see `fail_v1`.
    PERFORM pg_advisory_xact_lock_shared(7450001, 4);
    FOR o IN
        SELECT p.*, all_ran OR EXISTS (
            SELECT FROM unnest(r_event, r_ordinal, r_attempt) AS r (event, ordinal, attempt)
            WHERE r.event = p.event AND r.ordinal = p.ordinal AND r.attempt = p.attempt) AS ran
        FROM hookbox.open p WHERE p.holder = gone ORDER BY p.event, p.ordinal FOR UPDATE OF p
    LOOP
        total := total + 1;
        state := CASE WHEN o.cancelled THEN 5
            WHEN o.ran AND o.crashes + 1 >= most_crashes THEN 4 ELSE 0 END;
        IF o.ran THEN
            ran_total := ran_total + 1;
        END IF;
        -- The attempt of one that was cancelled is no failure.
        met := o.failure;
        IF o.ran AND state <> 5 THEN
            met := hookbox.meet_v1(t, o.plugin, 7::smallint, 'crash', reason, NULL,
                'other failures', 1000);
        END IF;
        -- The next attempt of a key begins its interval after this one.
        again_at := t;
        IF o.key IS NOT NULL AND (o.ran OR state > 0) THEN
            again_at := t + (hookbox.policy_v1(o.plugin)).apart;
        END IF;
        IF state = 0 THEN
            UPDATE hookbox.open p SET holder = NULL, waits = again_at > t, due = again_at,
                uncounted = p.uncounted + 1, crashes = p.crashes + o.ran::integer, failure = met
            WHERE p.event = o.event AND p.ordinal = o.ordinal;
            IF again_at > t THEN
                PERFORM hookbox.keep_waiting_v1(o.plugin, o.key, 0, 0, NULL, again_at);
            END IF;
            IF o.ran THEN
                INSERT INTO hookbox.attempts (event, ordinal, number, started_ms, duration_us,
                    outcome, error)
                VALUES (o.event, o.ordinal, o.attempt, t, 0, 7, reason);
            END IF;
        ELSE
            DELETE FROM hookbox.open p WHERE p.event = o.event AND p.ordinal = o.ordinal;
            INSERT INTO hookbox.settled (event, ordinal, plugin, state, attempt, uncounted,
                unrecorded, deaths, again, cut_off, started_ms, duration_us, outcome, error, key,
                entered, cancel_tag, failure)
            VALUES (o.event, o.ordinal, o.plugin, state, o.attempt, o.uncounted + 1, o.unrecorded,
                o.deaths + (state = 4)::integer, o.again, o.cancelled AND o.ran,
                CASE WHEN o.ran THEN t END, CASE WHEN o.ran THEN 0 END,
                CASE WHEN o.ran THEN 7 END, CASE WHEN o.ran THEN reason END, o.key, o.entered,
                o.cancel_tag, met);
            IF o.entered IS NOT NULL THEN
                PERFORM hookbox.key_ended_v1(t, o.plugin, o.key, o.event, o.ordinal, o.entered,
                    state = 4, again_at, NULL);
            END IF;
            IF state = 4 THEN
                PERFORM hookbox.notice_death_v1(t, o.event, o.ordinal, o.plugin, 0);
            END IF;
        END IF;
        INSERT INTO hookbox.count_deltas (plugin, state, n)
        VALUES (o.plugin, 1, -1),
            (o.plugin, CASE WHEN state = 0 AND again_at > t THEN 2 ELSE state END, 1);
    END LOOP;
    RETURN QUERY SELECT total, ran_total;
END $$;

-- Ends a run in order: what it still holds is due again, no attempt is spent, and its row goes.
CREATE FUNCTION hookbox.leave_v1(at bigint, me bigint) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    t bigint := hookbox.now_ms_v1(at);
    left_keys hookbox.open[];
    k hookbox.open;
BEGIN
    -- The row first, as a heartbeat and those that reap have it.
    PERFORM FROM hookbox.hosts h WHERE h.incarnation = me FOR UPDATE;
    PERFORM hookbox.lock_held_v1(me);
    left_keys := ARRAY(SELECT p FROM hookbox.open p
        WHERE p.holder = me AND p.cancelled AND p.entered IS NOT NULL);
    WITH ended AS (
        DELETE FROM hookbox.open o WHERE o.holder = me AND o.cancelled RETURNING o.*
    ), put AS (
        INSERT INTO hookbox.settled (event, ordinal, plugin, state, attempt, uncounted, unrecorded,
            deaths, again, cut_off, key, entered, cancel_tag, failure)
        SELECT e.event, e.ordinal, e.plugin, 5, e.attempt - 1, e.uncounted, e.unrecorded, e.deaths,
            e.again, false, e.key, e.entered, e.cancel_tag, e.failure
        FROM ended e
    ), free AS (
        UPDATE hookbox.open o SET holder = NULL, waits = false, due = t, attempt = o.attempt - 1
        WHERE o.holder = me AND NOT o.cancelled RETURNING o.plugin
    )
    INSERT INTO hookbox.count_deltas (plugin, state, n)
    SELECT f.plugin, 0, count(*) FROM free f GROUP BY 1
    UNION ALL
    SELECT e.plugin, 5, count(*) FROM ended e GROUP BY 1
    UNION ALL
    SELECT h.plugin, 1, -count(*) FROM (
        SELECT f.plugin FROM free f UNION ALL SELECT e.plugin FROM ended e) h GROUP BY 1;
    FOREACH k IN ARRAY left_keys LOOP
        PERFORM hookbox.key_left_v1(t, k.plugin, k.key,
            t + (hookbox.policy_v1(k.plugin)).apart, NULL);
    END LOOP;
    DELETE FROM hookbox.commits WHERE incarnation = me;
    DELETE FROM hookbox.hosts WHERE incarnation = me;
END $$;
