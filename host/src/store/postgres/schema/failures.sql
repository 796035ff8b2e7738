-- Groups of failures that are alike. `outcome` is NULL for the group of what exceeds the number of
-- groups of a plugin. `dead` and `waiting` are folded: what came since is in `failure_deltas`.
CREATE TABLE hookbox.failures (
    id bigint PRIMARY KEY,
    plugin text COLLATE "C" NOT NULL,
    outcome smallint,
    text text COLLATE "C" NOT NULL,
    first_ms bigint NOT NULL,
    last_ms bigint NOT NULL,
    dead bigint NOT NULL DEFAULT 0,
    waiting bigint NOT NULL DEFAULT 0
);
CREATE INDEX failures_plugin ON hookbox.failures (plugin) WHERE outcome IS NOT NULL;

-- Failed attempts of a group by hour, in hours since 1970, and by the file that failed.
CREATE TABLE hookbox.failure_hours (
    id bigint NOT NULL,
    hour bigint NOT NULL,
    met bigint NOT NULL,
    PRIMARY KEY (id, hour)
);
CREATE TABLE hookbox.failure_files (
    id bigint NOT NULL,
    digest bytea NOT NULL,
    met bigint NOT NULL,
    last_ms bigint NOT NULL,
    PRIMARY KEY (id, digest)
);

-- Gains and losses of groups since they were folded. `met` counts attempts that failed so.
CREATE TABLE hookbox.failure_deltas (
    id bigint NOT NULL,
    dead integer NOT NULL DEFAULT 0,
    waiting integer NOT NULL DEFAULT 0,
    met integer NOT NULL DEFAULT 0,
    digest bytea,
    at bigint NOT NULL DEFAULT 0
) WITH (autovacuum_vacuum_cost_delay = 0);

-- The group of the last attempt, if that failed. Only deliveries that failed enter the indexes.
ALTER TABLE hookbox.open ADD COLUMN failure bigint;
ALTER TABLE hookbox.settled ADD COLUMN failure bigint;
CREATE INDEX open_failure ON hookbox.open (failure, event, ordinal) WHERE failure IS NOT NULL;
CREATE INDEX settled_failure ON hookbox.settled (failure, event, ordinal)
    WHERE failure IS NOT NULL;

-- The counts of groups follow whatever moves a delivery. Deliveries without a group call nothing.
CREATE FUNCTION hookbox.open_in_group() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.failure IS NOT NULL THEN
        INSERT INTO hookbox.failure_deltas (id, waiting) VALUES (OLD.failure, -1);
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.failure IS NOT NULL THEN
        INSERT INTO hookbox.failure_deltas (id, waiting) VALUES (NEW.failure, 1);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER open_group_came AFTER INSERT ON hookbox.open FOR EACH ROW
    WHEN (NEW.failure IS NOT NULL) EXECUTE FUNCTION hookbox.open_in_group();
CREATE TRIGGER open_group_went AFTER DELETE ON hookbox.open FOR EACH ROW
    WHEN (OLD.failure IS NOT NULL) EXECUTE FUNCTION hookbox.open_in_group();
CREATE TRIGGER open_group_changed AFTER UPDATE OF failure ON hookbox.open FOR EACH ROW
    WHEN (OLD.failure IS DISTINCT FROM NEW.failure) EXECUTE FUNCTION hookbox.open_in_group();

CREATE FUNCTION hookbox.settled_in_group() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.failure IS NOT NULL AND OLD.state = 4 THEN
        INSERT INTO hookbox.failure_deltas (id, dead) VALUES (OLD.failure, -1);
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.failure IS NOT NULL AND NEW.state = 4 THEN
        INSERT INTO hookbox.failure_deltas (id, dead) VALUES (NEW.failure, 1);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER settled_group_came AFTER INSERT ON hookbox.settled FOR EACH ROW
    WHEN (NEW.failure IS NOT NULL) EXECUTE FUNCTION hookbox.settled_in_group();
CREATE TRIGGER settled_group_went AFTER DELETE ON hookbox.settled FOR EACH ROW
    WHEN (OLD.failure IS NOT NULL) EXECUTE FUNCTION hookbox.settled_in_group();
CREATE TRIGGER settled_group_changed AFTER UPDATE OF failure, state ON hookbox.settled FOR EACH ROW
    WHEN (OLD.failure IS DISTINCT FROM NEW.failure OR OLD.state <> NEW.state)
    EXECUTE FUNCTION hookbox.settled_in_group();

-- The id of a group: 48 bits of a SHA-256, as `FailureId` makes it.
CREATE FUNCTION hookbox.group_id_v1(of_plugin text, outcome_name text, words text) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
    SELECT ('x' || encode(substr(sha256(convert_to(of_plugin, 'UTF8') || '\x00'::bytea
        || convert_to(outcome_name, 'UTF8') || '\x00'::bytea || convert_to(words, 'UTF8')), 1, 6),
        'hex'))::bit(48)::bigint
$$;

-- Counts a failure in its group, which is made if there is none and room for one. Returns the group.
-- The caller holds the lock of groups.
CREATE FUNCTION hookbox.meet_v1(
    t bigint, of_plugin text, code smallint, outcome_name text, words text, file bytea,
    other text, most integer
) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    met_id bigint := hookbox.group_id_v1(of_plugin, outcome_name, words);
BEGIN
    IF NOT EXISTS (SELECT FROM hookbox.failures f WHERE f.id = met_id) THEN
        -- Groups of a plugin are made one at a time, so that their number is that of the limit.
        PERFORM pg_advisory_xact_lock(7450004, hashtext(of_plugin));
        IF NOT EXISTS (SELECT FROM hookbox.failures f WHERE f.id = met_id) THEN
            IF most <= (SELECT count(*) FROM hookbox.failures f
                    WHERE f.plugin = of_plugin AND f.outcome IS NOT NULL) THEN
                met_id := hookbox.group_id_v1(of_plugin, '', other);
                code := NULL;
                words := other;
            END IF;
            INSERT INTO hookbox.failures (id, plugin, outcome, text, first_ms, last_ms)
            VALUES (met_id, of_plugin, code, words, t, t) ON CONFLICT DO NOTHING;
        END IF;
    END IF;
    INSERT INTO hookbox.failure_deltas (id, met, digest, at) VALUES (met_id, 1, file, t);
    RETURN met_id;
END $$;

-- Puts deliveries, whose attempts `settle_v1` has just ended and kept, into the groups of their
-- failures, and takes those whose attempt did not fail out of theirs. `places` are those of the
-- settlements. A delivery without a `code` has not failed.
CREATE FUNCTION hookbox.fail_v1(
    at bigint, places integer[], events bigint[], ordinals integer[], plugins text[],
    codes smallint[], names text[], texts text[], files bytea[], other text, most integer
) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    t bigint := hookbox.now_ms_v1(at);
    kept integer[] := nullif(current_setting('hookbox.kept', true), '')::integer[];
    met bigint[] := array_fill(NULL::bigint, ARRAY[cardinality(places)]);
    r record;
BEGIN
    -- Sweeping takes this lock alone, so that no group goes that is about to be met.
    PERFORM pg_advisory_xact_lock_shared(7450001, 4);
    FOR r IN
        SELECT u.* FROM unnest(places, plugins, codes, names, texts, files) WITH ORDINALITY
            AS u (place, plugin, code, name, words, file, n)
        WHERE u.code IS NOT NULL AND u.place = ANY (kept) ORDER BY u.plugin
    LOOP
        met[r.n] := hookbox.meet_v1(t, r.plugin, r.code, r.name, r.words, r.file, other, most);
    END LOOP;
    UPDATE hookbox.open o SET failure = u.met
    FROM unnest(places, events, ordinals, met) AS u (place, event, ordinal, met)
    CROSS JOIN LATERAL (SELECT p.ctid AS tid FROM hookbox.open p
        WHERE p.event = u.event AND p.ordinal = u.ordinal OFFSET 0) p
    WHERE o.ctid = p.tid AND u.place = ANY (kept) AND o.failure IS DISTINCT FROM u.met;
    UPDATE hookbox.settled s SET failure = u.met
    FROM unnest(places, events, ordinals, met) AS u (place, event, ordinal, met)
    WHERE s.event = u.event AND s.ordinal = u.ordinal AND u.place = ANY (kept)
        AND u.met IS NOT NULL;
END $$;

-- Adds what groups have gained and lost to them. The caller holds the lock of folding.
CREATE FUNCTION hookbox.fold_failures_v1() RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    touched bigint[];
BEGIN
    WITH gone AS (
        DELETE FROM hookbox.failure_deltas RETURNING id, dead, waiting, met, digest, at
    ), sums AS (
        SELECT g.id, sum(g.dead) AS dead, sum(g.waiting) AS waiting,
            max(g.at) FILTER (WHERE g.met > 0) AS last_ms
        FROM gone g GROUP BY g.id
    ), counted AS (
        UPDATE hookbox.failures f SET dead = f.dead + s.dead, waiting = f.waiting + s.waiting,
            last_ms = greatest(f.last_ms, s.last_ms)
        FROM sums s WHERE f.id = s.id
    ), hours AS (
        INSERT INTO hookbox.failure_hours AS h
        SELECT g.id, g.at / 3600000, sum(g.met) FROM gone g WHERE g.met > 0 GROUP BY 1, 2
        ON CONFLICT (id, hour) DO UPDATE SET met = h.met + excluded.met
    ), files AS (
        INSERT INTO hookbox.failure_files AS h
        SELECT g.id, g.digest, sum(g.met), max(g.at) FROM gone g WHERE g.digest IS NOT NULL
        GROUP BY 1, 2
        ON CONFLICT (id, digest) DO UPDATE
        SET met = h.met + excluded.met, last_ms = greatest(h.last_ms, excluded.last_ms)
    )
    SELECT array_agg(s.id) INTO touched FROM sums s;
    IF touched IS NULL THEN
        RETURN;
    END IF;
    DELETE FROM hookbox.failure_hours h USING hookbox.failures f
    WHERE h.id = ANY (touched) AND f.id = h.id AND h.hour <= f.last_ms / 3600000 - 24;
    DELETE FROM hookbox.failure_files h
    WHERE h.id = ANY (touched) AND (h.id, h.digest) NOT IN (
        SELECT k.id, k.digest FROM (
            SELECT i.id, i.digest,
                row_number() OVER (PARTITION BY i.id ORDER BY i.last_ms DESC, i.digest) AS place
            FROM hookbox.failure_files i WHERE i.id = ANY (touched)) k
        WHERE k.place <= 8);
END $$;

-- Deletes at most `most` groups that were met last before `before_ms` and that no delivery is in.
-- Returns how many.
CREATE FUNCTION hookbox.sweep_failures_v1(before_ms bigint, most integer) RETURNS integer
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    old bigint[];
BEGIN
    PERFORM pg_advisory_xact_lock(7450001, 4);
    PERFORM pg_advisory_xact_lock(7450001, 2);
    PERFORM hookbox.fold_failures_v1();
    SELECT array_agg(o.id) INTO old FROM (
        SELECT f.id FROM hookbox.failures f
        WHERE f.last_ms < before_ms AND f.dead = 0 AND f.waiting = 0
            AND NOT EXISTS (SELECT FROM hookbox.settled s WHERE s.failure = f.id)
            AND NOT EXISTS (SELECT FROM hookbox.open o WHERE o.failure = f.id)
        LIMIT most) o;
    DELETE FROM hookbox.failure_hours h WHERE h.id = ANY (old);
    DELETE FROM hookbox.failure_files h WHERE h.id = ANY (old);
    DELETE FROM hookbox.failures f WHERE f.id = ANY (old);
    RETURN coalesce(cardinality(old), 0);
END $$;
