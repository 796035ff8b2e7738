-- The statuses of events, those of a request all 2 if one of them is.
CREATE FUNCTION hookbox.all_or_none_v1(st smallint[], groups integer[]) RETURNS smallint[]
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF cardinality(groups) = 0 OR NOT 2 = ANY (st) THEN
        RETURN st;
    END IF;
    RETURN ARRAY(
        SELECT CASE WHEN u.grp > 0 AND bool_or(u.status = 2) OVER (PARTITION BY u.grp)
            THEN 2 ELSE u.status END::smallint
        FROM unnest(st, groups) WITH ORDINALITY AS u (status, grp, n) ORDER BY u.n);
END $$;

-- Stores events with their deliveries, unless a dedupe key of theirs is known. The event of a row
-- of deliveries or keys is its place in the arrays of events, from 1. An event that
-- `requires` a settlement, by its place from 1, is stored only if that was kept: see `settle_v1`.
--
-- Events of one request have a common number above 0 in `groups`, which is empty if there are none.
-- The first of them with a key counts, and if one has to be appended again, all have.
--
-- Returns for each event: 0 it is stored; 1 it is a duplicate of `first`; 2 it has to be appended
-- again; 3 its settlement was not kept. An event is appended again if it shares a key with another
-- of this call, or with one of a host that was faster.
CREATE FUNCTION hookbox.append_v1(
    at bigint, me bigint, requires integer[],
    ids bigint[], sources text[], types text[], subjects text[], content_types text[],
    times bigint[], provider_ids text[], notes text[], headers text[], parents bigint[],
    roots bigint[], hops integer[], traces bytea[], edited_from bigint[], edited_by text[],
    signed_by integer[], bodies bytea[],
    d_event integer[], d_ordinal integer[], d_plugin text[], d_delay bigint[], d_leased boolean[],
    k_event integer[], k_source text[], k_key bytea[], groups integer[]
) RETURNS TABLE (status smallint, first bigint)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_variable
DECLARE
    t bigint := hookbox.now_ms_v1(at);
    st smallint[] := array_fill(0::smallint, ARRAY[cardinality(ids)]);
    firsts bigint[] := array_fill(NULL::bigint, ARRAY[cardinality(ids)]);
    kept integer[] := nullif(current_setting('hookbox.kept', true), '')::integer[];
    now_slot smallint;
    claimed integer;
    r record;
BEGIN
    FOR i IN 1 .. cardinality(ids) LOOP
        IF requires[i] > 0 AND NOT coalesce(requires[i] = ANY (kept), false) THEN
            st[i] := 3;
        END IF;
    END LOOP;
    IF cardinality(k_key) > 0 THEN
        -- Rotation takes this lock alone.
        PERFORM pg_advisory_xact_lock_shared(7450001, 1);
        SELECT p.slot INTO now_slot FROM hookbox.dedupe_present p;
        FOR r IN
            SELECT k.e, min(d.event) AS known
            FROM unnest(k_event, k_source, k_key) AS k (e, source, key)
            JOIN hookbox.dedupe d ON d.slot IN (now_slot, (now_slot + 2) % 3)
                AND d.source = k.source AND d.key = k.key
            WHERE st[k.e] = 0
            GROUP BY k.e
        LOOP
            st[r.e] := 1;
            firsts[r.e] := r.known;
        END LOOP;
        IF cardinality(groups) > 0 THEN
            LOOP
                -- One whose keys nobody before it has counts, and makes duplicates of the others.
                WITH mine AS (
                    SELECT k.e, min(k.e) OVER (PARTITION BY groups[k.e], k.source, k.key) AS least
                    FROM unnest(k_event, k_source, k_key) AS k (e, source, key)
                    WHERE st[k.e] = 0 AND groups[k.e] > 0
                ), later AS (
                    SELECT m.e, min(m.least) AS least FROM mine m GROUP BY m.e
                    HAVING min(m.least) < m.e
                )
                SELECT array_agg(l.e) AS es, array_agg(l.least) AS leasts INTO r FROM later l
                WHERE NOT EXISTS (SELECT FROM later x WHERE x.e = l.least);
                EXIT WHEN r.es IS NULL;
                FOR i IN 1 .. cardinality(r.es) LOOP
                    st[r.es[i]] := 1;
                    firsts[r.es[i]] := ids[r.leasts[i]];
                END LOOP;
            END LOOP;
        END IF;
        FOR r IN
            SELECT DISTINCT s.e FROM (
                SELECT k.e, min(k.e) OVER (PARTITION BY k.source, k.key) AS least
                FROM unnest(k_event, k_source, k_key) AS k (e, source, key)
                WHERE st[k.e] = 0) s
            WHERE s.least < s.e
        LOOP
            st[r.e] := 2;
        END LOOP;
        st := hookbox.all_or_none_v1(st, groups);
        -- In the order of the keys, so that two hosts never wait for each other.
        WITH mine AS (
            SELECT DISTINCT k.source, k.key, k.e
            FROM unnest(k_event, k_source, k_key) AS k (e, source, key)
            WHERE st[k.e] = 0
        ), put AS (
            INSERT INTO hookbox.dedupe (slot, source, key, event)
            SELECT now_slot, m.source, m.key, ids[m.e] FROM mine m ORDER BY m.source, m.key
            ON CONFLICT DO NOTHING RETURNING 1
        )
        SELECT (SELECT count(*) FROM mine) - (SELECT count(*) FROM put) INTO claimed;
        IF claimed > 0 THEN
            FOR r IN
                SELECT DISTINCT k.e FROM unnest(k_event, k_source, k_key) AS k (e, source, key)
                JOIN hookbox.dedupe d ON d.slot = now_slot
                    AND d.source = k.source AND d.key = k.key
                WHERE st[k.e] = 0 AND d.event <> ids[k.e]
            LOOP
                st[r.e] := 2;
            END LOOP;
            st := hookbox.all_or_none_v1(st, groups);
            DELETE FROM hookbox.dedupe d
            USING unnest(k_event, k_source, k_key) AS k (e, source, key)
            WHERE st[k.e] = 2 AND d.slot = now_slot AND d.source = k.source AND d.key = k.key
                AND d.event = ids[k.e];
        END IF;
        IF 1 = ANY (st) THEN
            INSERT INTO hookbox.repeats (event, times, last_ms)
            SELECT firsts[n], count(*), (array_agg(times[n] ORDER BY n DESC))[1]
            FROM generate_subscripts(st, 1) n WHERE st[n] = 1 GROUP BY firsts[n];
        END IF;
    END IF;
    INSERT INTO hookbox.events
    SELECT e.* FROM (
        SELECT u.id, u.source, u.type, u.subject, u.content_type, u.time_ms, u.provider_id, u.note,
            u.headers, u.parent, u.root, u.hops, u.trace, u.edited_from, u.edited_by,
            u.signed_by, u.body
        FROM unnest(ids, sources, types, subjects, content_types, times, provider_ids, notes,
            headers, parents, roots, hops, traces, edited_from, edited_by, signed_by, bodies)
            WITH ORDINALITY AS u (id, source, type, subject, content_type, time_ms, provider_id,
            note, headers, parent, root, hops, trace, edited_from, edited_by, signed_by, body, n)
        WHERE st[u.n] = 0) e;
    INSERT INTO hookbox.open (event, ordinal, plugin, holder, attempt, waits, due)
    SELECT ids[d.e], d.ordinal, d.plugin, CASE WHEN d.leased THEN me END, d.leased::integer,
        d.delay > 0, CASE WHEN d.delay > 9223372036854775805 - t THEN 9223372036854775805
            ELSE t + d.delay END
    FROM unnest(d_event, d_ordinal, d_plugin, d_delay, d_leased)
        AS d (e, ordinal, plugin, delay, leased)
    WHERE st[d.e] = 0;
    INSERT INTO hookbox.count_deltas (plugin, state, n)
    SELECT d.plugin, CASE WHEN d.leased THEN 1 WHEN d.delay > 0 THEN 2 ELSE 0 END AS s, count(*)
    FROM unnest(d_event, d_plugin, d_delay, d_leased) AS d (e, plugin, delay, leased)
    WHERE st[d.e] = 0 GROUP BY 1, 2
    UNION ALL
    SELECT '', -1, count(*) FROM unnest(st) s WHERE s = 0 HAVING count(*) > 0;
    IF cardinality(array_remove(roots, NULL)) > 0 THEN
        -- An event that tells of a dead letter is not held against its tree.
        INSERT INTO hookbox.tree_deltas (root, events, bytes)
        SELECT u.root, count(*), sum(octet_length(u.body))
        FROM unnest(roots, types, bodies) WITH ORDINALITY AS u (root, type, body, n)
        WHERE st[u.n] = 0 AND u.root IS NOT NULL AND u.type <> 'hookbox.dead' GROUP BY u.root;
    END IF;
    RETURN QUERY SELECT s.status, s.first FROM unnest(st, firsts) AS s (status, first);
END $$;
