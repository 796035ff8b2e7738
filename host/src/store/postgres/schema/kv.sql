-- Values of plugins. Keys are bytes, because a guest's key may hold any character. `event`,
-- `ordinal` and `attempt` name the attempt that wrote a value last; none if a client did.
CREATE TABLE hookbox.kv (
    bucket text COLLATE "C" NOT NULL,
    key bytea NOT NULL,
    value bytea NOT NULL,
    version bigint NOT NULL,
    expires bigint,
    event bigint,
    ordinal integer,
    attempt integer,
    PRIMARY KEY (bucket, key)
) WITH (fillfactor = 70);
CREATE INDEX kv_expires ON hookbox.kv (expires) WHERE expires IS NOT NULL;
CREATE SEQUENCE hookbox.kv_versions AS bigint;

-- The number in 8 bytes, the least of them first.
CREATE FUNCTION hookbox.read_number_v1(value bytea) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN get_byte(value, 0)::bigint | (get_byte(value, 1)::bigint << 8)
        | (get_byte(value, 2)::bigint << 16) | (get_byte(value, 3)::bigint << 24)
        | (get_byte(value, 4)::bigint << 32) | (get_byte(value, 5)::bigint << 40)
        | (get_byte(value, 6)::bigint << 48) | (get_byte(value, 7)::bigint << 56);
END $$;

-- The sum of two numbers in 8 bytes, the least of them first. It stays at the limits of a number.
CREATE FUNCTION hookbox.add_numbers_v1(a bigint, b bigint) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    total bigint := greatest(least(a::numeric + b, 9223372036854775807), -9223372036854775808);
    h text := encode(int8send(total), 'hex');
BEGIN
    RETURN decode(substr(h, 15, 2) || substr(h, 13, 2) || substr(h, 11, 2) || substr(h, 9, 2)
        || substr(h, 7, 2) || substr(h, 5, 2) || substr(h, 3, 2) || substr(h, 1, 2), 'hex');
END $$;

-- Writes a value, or deletes it if it is null. The caller holds the lock of the key's stripe. Only
-- the sweep deletes without it, and it passes over locked rows. Returns the new version, and by how
-- much the bytes of the bucket change.
CREATE FUNCTION hookbox.put_value_v1(
    of_bucket text, of_key bytea, new_value bytea, expires_at bigint,
    by_event bigint, by_ordinal integer, by_attempt integer,
    OUT new_version bigint, OUT change bigint
)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    old_bytes bigint;
BEGIN
    IF new_value IS NULL THEN
        DELETE FROM hookbox.kv v WHERE v.bucket = of_bucket AND v.key = of_key
        RETURNING octet_length(v.value) INTO old_bytes;
        change := coalesce(-old_bytes - octet_length(of_key), 0);
        RETURN;
    END IF;
    new_version := hookbox.once_v1(nextval('hookbox.kv_versions'));
    SELECT octet_length(v.value) INTO old_bytes FROM hookbox.kv v
    WHERE v.bucket = of_bucket AND v.key = of_key FOR UPDATE;
    IF FOUND THEN
        UPDATE hookbox.kv v SET value = new_value, version = new_version, expires = expires_at,
            event = by_event, ordinal = by_ordinal, attempt = by_attempt
        WHERE v.bucket = of_bucket AND v.key = of_key;
        change := octet_length(new_value) - old_bytes;
    ELSE
        INSERT INTO hookbox.kv VALUES (of_bucket, of_key, new_value, new_version, expires_at,
            by_event, by_ordinal, by_attempt);
        change := octet_length(new_value) + octet_length(of_key);
    END IF;
END $$;

-- Adds to the bytes of a bucket. They are counts with the state -2, under the bucket's name.
CREATE FUNCTION hookbox.count_values_v1(of_bucket text, change bigint) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF change <> 0 THEN
        INSERT INTO hookbox.count_deltas (plugin, state, n) VALUES (of_bucket, -2, change);
    END IF;
END $$;

-- The keys of a range, in the order of their bytes: not before `low`, not `besides`, and before
-- `high` if that is given.
CREATE FUNCTION hookbox.list_keys_v1(
    of_bucket text, low bytea, besides bytea, high bytea, most bigint
) RETURNS TABLE (key bytea, bytes bigint)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
    IF high IS NULL THEN
        RETURN QUERY SELECT v.key, octet_length(v.value)::bigint FROM hookbox.kv v
        WHERE v.bucket = of_bucket AND v.key >= low AND (besides IS NULL OR v.key <> besides)
        ORDER BY v.key LIMIT most;
    ELSE
        RETURN QUERY SELECT v.key, octet_length(v.value)::bigint FROM hookbox.kv v
        WHERE v.bucket = of_bucket AND v.key >= low AND v.key < high
            AND (besides IS NULL OR v.key <> besides)
        ORDER BY v.key LIMIT most;
    END IF;
END $$;

-- Checks what the attempts of settlements read, one settlement after the other, and writes what
-- those leave whose reads still hold. The stripes of all keys are locked before. Rows of reads,
-- lists, writes and additions belong to settlements by their ends: those of the settlement at `n`
-- come after place `…_ends[n - 1]`, up to `…_ends[n]`.
--
-- Settlements that are not kept are left to `settle_v1`, which finds those that are refused in the
-- setting `hookbox.refused`: `n` is the place, `how` its result, `why` the error for people. Those
-- that are there already are not looked at.
CREATE FUNCTION hookbox.write_values_v1(
    at bigint, me bigint, events bigint[], ordinals integer[], attempts integer[],
    places integer[], buckets text[], ttls bigint[],
    read_ends integer[], read_keys bytea[], read_versions bigint[],
    list_ends integer[], list_lows bytea[], list_besides bytea[], list_highs bytea[],
    list_most bigint[], listed_ends integer[], listed_keys bytea[],
    write_ends integer[], write_keys bytea[], write_values bytea[],
    add_ends integer[], add_keys bytea[], add_deltas bigint[], add_faults text[]
) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    t bigint := hookbox.now_ms_v1(at);
    refused jsonb := coalesce(nullif(current_setting('hookbox.refused', true), ''), '[]')::jsonb;
    p integer;
    holds boolean;
    fault text;
    expires_at bigint;
    found_value bytea;
    own integer;
    put record;
    total bigint;
BEGIN
    PERFORM hookbox.lock_open_v1(events, ordinals);
    FOR i IN 1 .. cardinality(places) LOOP
        p := places[i];
        PERFORM FROM hookbox.open o
        WHERE o.event = events[p] AND o.ordinal = ordinals[p] AND o.attempt = attempts[p]
            AND o.holder IS NOT DISTINCT FROM me AND NOT o.cancelled;
        CONTINUE WHEN NOT FOUND OR refused @> jsonb_build_array(jsonb_build_object('n', p));
        holds := true;
        FOR r IN coalesce(read_ends[i - 1], 0) + 1 .. read_ends[i] LOOP
            holds := holds AND (SELECT v.version FROM hookbox.kv v
                WHERE v.bucket = buckets[i] AND v.key = read_keys[r])
                IS NOT DISTINCT FROM read_versions[r];
        END LOOP;
        FOR l IN coalesce(list_ends[i - 1], 0) + 1 .. list_ends[i] LOOP
            holds := holds AND ARRAY(SELECT k.key FROM hookbox.list_keys_v1(buckets[i],
                list_lows[l], list_besides[l], list_highs[l], list_most[l]) k)
                = listed_keys[coalesce(listed_ends[l - 1], 0) + 1 : listed_ends[l]];
        END LOOP;
        IF NOT holds THEN
            refused := refused || jsonb_build_array(jsonb_build_object('n', p, 'how', 3));
            CONTINUE;
        END IF;
        fault := NULL;
        FOR a IN coalesce(add_ends[i - 1], 0) + 1 .. add_ends[i] LOOP
            SELECT max(w) INTO own
            FROM generate_series(coalesce(write_ends[i - 1], 0) + 1, write_ends[i]) w
            WHERE write_keys[w] = add_keys[a];
            IF own IS NULL THEN
                SELECT v.value INTO found_value FROM hookbox.kv v
                WHERE v.bucket = buckets[i] AND v.key = add_keys[a];
            ELSE
                found_value := write_values[own];
            END IF;
            IF octet_length(found_value) <> 8 THEN
                fault := format('%s: its value has %s bytes, and a number has 8', add_faults[a],
                    octet_length(found_value));
                EXIT;
            END IF;
        END LOOP;
        IF fault IS NOT NULL THEN
            refused := refused
                || jsonb_build_array(jsonb_build_object('n', p, 'how', 4, 'why', fault));
            CONTINUE;
        END IF;
        expires_at := t + ttls[i];
        total := 0;
        FOR w IN coalesce(write_ends[i - 1], 0) + 1 .. write_ends[i] LOOP
            SELECT * INTO put FROM hookbox.put_value_v1(buckets[i], write_keys[w],
                write_values[w], expires_at, events[p], ordinals[p], attempts[p]);
            total := total + put.change;
        END LOOP;
        FOR a IN coalesce(add_ends[i - 1], 0) + 1 .. add_ends[i] LOOP
            SELECT v.value INTO found_value FROM hookbox.kv v
            WHERE v.bucket = buckets[i] AND v.key = add_keys[a];
            SELECT * INTO put FROM hookbox.put_value_v1(buckets[i], add_keys[a],
                hookbox.add_numbers_v1(coalesce(hookbox.read_number_v1(found_value), 0),
                    add_deltas[a]),
                expires_at, events[p], ordinals[p], attempts[p]);
            total := total + put.change;
        END LOOP;
        PERFORM hookbox.count_values_v1(buckets[i], total);
    END LOOP;
    PERFORM set_config('hookbox.refused', refused::text, true);
END $$;

-- Deletes values that nobody has written for their time to live, at most `most` of them. Returns
-- whether there may be more.
CREATE FUNCTION hookbox.sweep_values_v1(at bigint, most integer) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    t bigint := hookbox.now_ms_v1(at);
    deleted bigint;
BEGIN
    WITH over AS MATERIALIZED (
        SELECT v.bucket, v.key FROM hookbox.kv v WHERE v.expires <= t
        ORDER BY v.expires LIMIT most FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM hookbox.kv v USING over o WHERE v.bucket = o.bucket AND v.key = o.key
        RETURNING v.bucket, octet_length(v.key) + octet_length(v.value) AS bytes
    ), counted AS (
        INSERT INTO hookbox.count_deltas (plugin, state, n)
        SELECT g.bucket, -2, -sum(g.bytes) FROM gone g GROUP BY g.bucket
    )
    SELECT count(*) INTO deleted FROM gone;
    RETURN deleted = most;
END $$;
