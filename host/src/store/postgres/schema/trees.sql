-- The sizes of trees, which are held to a budget.

-- Refuses settlements whose events would make their trees too large: they are found by `settle_v1`
-- in the setting `hookbox.refused`. `places` are those of the settlements. The texts say why, by
-- `format`: of the size so far, the root and what is added.
--
-- Every batch is counted that was committed before; batches that are under way at other hosts are
-- not.
CREATE FUNCTION hookbox.check_trees_v1(
    me bigint, places integer[], events bigint[], ordinals integer[], attempts integer[],
    roots bigint[], names text[], adds bigint[], bytes bigint[],
    most_events bigint, most_bytes bigint, too_many text, too_large text
) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    refused jsonb := coalesce(nullif(current_setting('hookbox.refused', true), ''), '[]')::jsonb;
    r record;
    has_events bigint;
    has_bytes bigint;
    why text;
BEGIN
    FOR r IN
        SELECT n.root, n.events + n.added AS events, n.bytes + n.added_bytes AS bytes,
            n.events AS had_events, n.bytes AS had_bytes
        FROM (
            SELECT a.root, a.added, a.added_bytes,
                coalesce(s.events, 0) + d.events AS events, coalesce(s.bytes, 0) + d.bytes AS bytes
            FROM (SELECT u.root, sum(u.added) AS added, sum(u.bytes) AS added_bytes
                FROM unnest(roots, adds, bytes) AS u (root, added, bytes) GROUP BY u.root) a
            LEFT JOIN hookbox.trees s ON s.root = a.root
            CROSS JOIN LATERAL (SELECT coalesce(sum(x.events), 0) AS events,
                coalesce(sum(x.bytes), 0) AS bytes
                FROM hookbox.tree_deltas x WHERE x.root = a.root) d) n
        WHERE n.events + n.added > most_events OR n.bytes + n.added_bytes > most_bytes
    LOOP
        has_events := r.had_events;
        has_bytes := r.had_bytes;
        PERFORM hookbox.lock_open_v1(events, ordinals);
        FOR i IN 1 .. cardinality(places) LOOP
            -- A settlement that is not kept adds nothing.
            CONTINUE WHEN roots[i] <> r.root OR NOT EXISTS (SELECT FROM hookbox.open o
                WHERE o.event = events[i] AND o.ordinal = ordinals[i]
                    AND o.attempt = attempts[i] AND o.holder IS NOT DISTINCT FROM me
                    AND NOT o.cancelled);
            why := CASE
                WHEN has_events + adds[i] > most_events
                    THEN format(too_many, has_events, names[i], adds[i])
                WHEN has_bytes + bytes[i] > most_bytes
                    THEN format(too_large, has_bytes, names[i], bytes[i]) END;
            IF why IS NULL THEN
                has_events := has_events + adds[i];
                has_bytes := has_bytes + bytes[i];
            ELSE
                refused := refused || jsonb_build_array(
                    jsonb_build_object('n', places[i], 'how', 5, 'why', why));
            END IF;
        END LOOP;
    END LOOP;
    IF refused <> '[]' THEN
        PERFORM set_config('hookbox.refused', refused::text, true);
    END IF;
END $$;

-- Adds what batches have counted to the sizes of trees. One host at a time does it.
CREATE FUNCTION hookbox.fold_trees_v1() RETURNS void
LANGUAGE sql VOLATILE AS $$
    WITH gone AS (DELETE FROM hookbox.tree_deltas RETURNING root, events, bytes),
    sums AS (SELECT root, sum(events)::bigint AS events, sum(bytes)::bigint AS bytes
        FROM gone GROUP BY root)
    INSERT INTO hookbox.trees AS s SELECT * FROM sums
    ON CONFLICT (root) DO UPDATE SET events = s.events + excluded.events,
        bytes = s.bytes + excluded.bytes
$$;

-- Forgets the size of the tree that a deleted event belonged to, once nothing of it is left.
CREATE FUNCTION hookbox.forget_tree_v1(of_root bigint) RETURNS void
LANGUAGE sql VOLATILE AS $$
    WITH gone AS (
        DELETE FROM hookbox.trees s WHERE s.root = of_root
            AND NOT EXISTS (SELECT FROM hookbox.events e WHERE e.id = of_root OR e.root = of_root)
        RETURNING s.root
    )
    DELETE FROM hookbox.tree_deltas d USING gone g WHERE d.root = g.root
$$;
