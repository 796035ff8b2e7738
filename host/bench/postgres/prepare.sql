-- Calls of the functions of a batch with arrays of `n` events with bodies of 1 KiB, each with a
-- dedupe key and one delivery that is leased on insert.
CREATE SEQUENCE hookbox.bench;
CREATE FUNCTION hookbox.bench_append_v1(me bigint, base bigint, n integer)
RETURNS TABLE (status smallint, first bigint) LANGUAGE sql VOLATILE AS $$
    SELECT a.status, a.first FROM (
        SELECT array_agg(0) AS zeros, array_agg(base + i) AS ids,
            array_agg('acme'::text) AS sources, array_agg('order.paid'::text) AS types,
            array_agg(NULL::text) AS none, array_agg((base + i) >> 20) AS times,
            array_agg(NULL::bigint) AS no_ids, array_agg(NULL::bytea) AS no_bytes, array_agg(NULL::integer) AS no_keys,
            array_agg(decode(repeat('7b', 1024), 'hex')) AS bodies, array_agg(i) AS numbers,
            array_agg('audit'::text) AS plugins, array_agg(0::bigint) AS delays,
            array_agg(true) AS leased,
            array_agg(substr(sha256((base + i)::text::bytea), 1, 16)) AS keys
        FROM generate_series(1, n) i) v,
    hookbox.append_v1(NULL, me, v.zeros, v.ids, v.sources, v.types, v.none, v.none, v.times,
        v.none, v.none, v.none, v.no_ids, v.no_ids, v.zeros, v.no_bytes, v.no_ids, v.none,
        v.no_keys, v.bodies, v.numbers, v.zeros, v.plugins, v.delays, v.leased, v.numbers, v.sources,
        v.keys) a
$$;
CREATE FUNCTION hookbox.bench_settle_v1(me bigint, base bigint, n integer)
RETURNS TABLE (result smallint) LANGUAGE sql VOLATILE AS $$
    SELECT s.result FROM (
        SELECT array_agg(base + i) AS ids, array_agg(0) AS ordinals, array_agg(1) AS ones,
            array_agg(0::smallint) AS done, array_agg(0::bigint) AS afters,
            array_agg(1::smallint) AS spents, array_agg(1770000000000) AS times,
            array_agg(900::bigint) AS durations, array_agg(0::smallint) AS outcomes,
            array_agg(NULL::text) AS none, array_agg(NULL::bytea) AS no_bytes
        FROM generate_series(1, n) i) v,
    hookbox.settle_v1(NULL, me, v.ids, v.ordinals, v.ones, v.done, v.afters, v.spents, v.times,
        v.durations, v.outcomes, v.none, v.none, v.no_bytes, v.none, v.none) s
$$;
