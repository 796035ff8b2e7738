-- The functions of a batch behind one function of all their arrays, for the comparison.
CREATE FUNCTION hookbox.bench_v1(me bigint, seq bigint, base bigint, n integer)
RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    done bigint;
BEGIN
    INSERT INTO hookbox.commits VALUES (me, 0, seq);
    PERFORM count(*) FROM hookbox.bench_settle_v1(me, base - n, n);
    SELECT count(*) INTO done FROM hookbox.bench_append_v1(me, base, n);
    PERFORM count(*) FROM hookbox.lease_v1(NULL, me, ARRAY['audit'], false, n, 4194304);
    RETURN done;
END $$;
