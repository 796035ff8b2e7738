-- The oldest snapshot that anybody has, which decides what vacuuming may remove, and its holder. A
-- transaction with a number of its own counts in whichever database it is, because it is in every
-- snapshot. Vacuuming itself holds nothing.
--
-- Numbers of transactions are seen by every role. The start of another role's transaction is seen
-- with `pg_read_all_stats` only, and `age_ms` is null without it. `kind` is null if no holder is
-- seen that is as old as this snapshot.
CREATE FUNCTION hookbox.horizon_v1()
RETURNS TABLE (
    next bigint, behind bigint, kind text, name text, application text, role text, age_ms bigint
)
LANGUAGE sql VOLATILE AS $$
    WITH held AS (
        SELECT greatest(age(a.backend_xid), CASE WHEN a.datname = current_database()
                OR a.datid IS NULL THEN age(a.backend_xmin) END) AS behind,
            CASE WHEN EXISTS (SELECT FROM pg_stat_replication r WHERE r.pid = a.pid)
                THEN 'standby' ELSE 'session' END AS kind, a.pid::text AS name, a.application_name AS application,
            a.usename::text AS role, a.xact_start AS began,
            coalesce(age(a.backend_xid), 0) AS own
        FROM pg_stat_activity a WHERE a.pid <> pg_backend_pid()
            AND NOT EXISTS (SELECT FROM pg_stat_progress_vacuum v WHERE v.pid = a.pid)
        UNION ALL
        SELECT age(s.xmin), CASE WHEN s.active THEN 'used slot' ELSE 'slot' END,
            s.slot_name::text, NULL, NULL, NULL, 0
        FROM pg_replication_slots s
        UNION ALL
        SELECT age(p.transaction), 'prepared', p.gid, NULL, p.owner::text, p.prepared,
            age(p.transaction)
        FROM pg_prepared_xacts p
    )
    SELECT s.next, greatest(s.next - s.oldest, h.behind), h.kind, h.name, h.application, h.role,
        floor(extract(epoch FROM clock_timestamp() - h.began) * 1000)::bigint
    FROM (SELECT pg_snapshot_xmax(p)::text::bigint AS next,
            pg_snapshot_xmin(p)::text::bigint AS oldest
        FROM pg_current_snapshot() p) s
    LEFT JOIN LATERAL (
        SELECT * FROM held WHERE held.behind >= s.next - s.oldest
        -- The snapshots of all others begin with the transaction that has the number as its own.
        ORDER BY held.behind DESC, held.own DESC, held.began LIMIT 1) h ON true
$$;
