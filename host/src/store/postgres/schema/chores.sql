-- Work that is done for all hosts by any of them, now and then. The host that locks the row does
-- it, in the transaction that says when it is due again.
CREATE TABLE hookbox.chores (
    name text PRIMARY KEY,
    due bigint NOT NULL DEFAULT 0
);
INSERT INTO hookbox.chores (name) VALUES ('partitions'), ('markers');

-- Does a chore that is due, if there is one that no other host is at; returns its name.
CREATE FUNCTION hookbox.chore_v1(at bigint) RETURNS text
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    t bigint := hookbox.now_ms_v1(at);
    chore text;
    after_ms bigint;
BEGIN
    SELECT c.name INTO chore FROM hookbox.chores c WHERE c.due <= t
    ORDER BY c.due, c.name LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF chore = 'partitions' THEN
        after_ms := CASE WHEN hookbox.add_partitions_v1(at) THEN 3600000 ELSE 30000 END;
    ELSIF chore = 'markers' THEN
        -- A day is longer than any host needs to find out what came of a batch.
        WITH old AS (DELETE FROM hookbox.ended_runs r WHERE r.ended < t - 86400000 RETURNING r.run)
        DELETE FROM hookbox.commits c USING old WHERE c.incarnation = old.run;
        after_ms := 3600000;
    ELSE
        RETURN NULL;
    END IF;
    UPDATE hookbox.chores c SET due = t + after_ms WHERE c.name = chore;
    RETURN chore;
END $$;

-- Makes the partitions of the days to come; says whether it did. Batches that use the tables are
-- waited for only a moment, because all that come later wait as well.
CREATE FUNCTION hookbox.add_partitions_v1(at bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM set_config('lock_timeout', '200ms', true);
    PERFORM hookbox.partitions_v1(at);
    RETURN true;
EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
    RETURN false;
END $$;

-- Whether there are events of days that have no partition.
CREATE FUNCTION hookbox.has_astray_days_v1() RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM hookbox.events_rest) OR EXISTS (SELECT FROM hookbox.settled_rest)
$$;
