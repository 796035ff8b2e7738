-- Gives back what a batch has leased whose answer was lost. The deliveries `k_…` are kept: those
-- that it has leased on insert, or recorded a step of. The rows of the batch have the transaction
-- of its marker. The marker is written again, so that an answer also waits for a standby that has
-- the batch.
CREATE FUNCTION hookbox.take_back_v1(
    at bigint, me bigint, by_writer smallint, of_seq bigint,
    k_event bigint[], k_ordinal integer[]
) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    t bigint := hookbox.now_ms_v1(at);
    batch xid;
BEGIN
    SELECT c.xmin INTO batch FROM hookbox.commits c
    WHERE c.incarnation = me AND c.writer = by_writer AND c.seq = of_seq FOR UPDATE;
    WITH free AS (
        UPDATE hookbox.open o SET holder = NULL, waits = false, due = least(o.due, t),
            attempt = o.attempt - 1
        WHERE o.holder = me AND o.xmin = batch AND NOT o.cancelled AND NOT EXISTS (
            SELECT FROM unnest(k_event, k_ordinal) AS k (event, ordinal)
            WHERE k.event = o.event AND k.ordinal = o.ordinal)
        RETURNING o.plugin
    )
    INSERT INTO hookbox.count_deltas (plugin, state, n)
    SELECT f.plugin, 0, count(*) FROM free f GROUP BY 1
    UNION ALL
    SELECT f.plugin, 1, -count(*) FROM free f GROUP BY 1;
    UPDATE hookbox.commits c SET settled = c.settled
    WHERE c.incarnation = me AND c.writer = by_writer AND c.seq = of_seq;
END $$;

-- Leases again to the run `me` what it had leased in a batch that a failover has lost, each
-- delivery with the attempt that it had. A delivery that another run holds, or that waits behind
-- its key, is passed over. Returns how many are leased.
CREATE FUNCTION hookbox.lease_again_v1(
    me bigint, events bigint[], ordinals integer[], attempts integer[]
) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    plugins text[];
BEGIN
    WITH free AS MATERIALIZED (
        SELECT o.event, o.ordinal FROM hookbox.open o
        JOIN unnest(events, ordinals, attempts) AS l (event, ordinal, attempt)
            ON o.event = l.event AND o.ordinal = l.ordinal AND o.attempt = l.attempt - 1
        WHERE o.holder IS NULL AND NOT o.behind AND NOT (o.key IS NOT NULL AND o.entered IS NULL)
        ORDER BY o.event, o.ordinal FOR UPDATE OF o SKIP LOCKED
    ), taken AS (
        UPDATE hookbox.open o SET holder = me, attempt = o.attempt + 1
        FROM free f WHERE o.event = f.event AND o.ordinal = f.ordinal
        RETURNING o.plugin, o.waits
    ), counted AS (
        INSERT INTO hookbox.count_deltas (plugin, state, n)
        SELECT g.plugin, CASE WHEN g.waits THEN 2 ELSE 0 END, -count(*) FROM taken g GROUP BY 1, 2
        UNION ALL
        SELECT g.plugin, 1, count(*) FROM taken g GROUP BY 1
    )
    SELECT array_agg(g.plugin) INTO plugins FROM taken g;
    PERFORM hookbox.freeze_v1(me, plugins);
    RETURN coalesce(cardinality(plugins), 0);
END $$;
