-- Changes by operators of events and deliveries, and the positions of the sweep.

-- Events that hold nothing any more. `asked`: by a client, and not by `payload_retention`.
CREATE TABLE hookbox.erased (
    event bigint PRIMARY KEY,
    at_ms bigint NOT NULL,
    asked boolean NOT NULL
);

-- Deliveries that operators have made of old events. A table of its own, so that the others pay
-- nothing.
CREATE TABLE hookbox.replays (
    event bigint NOT NULL,
    ordinal integer NOT NULL,
    PRIMARY KEY (event, ordinal)
);

CREATE INDEX events_edited ON hookbox.events (edited_from, id) WHERE edited_from IS NOT NULL;
-- By a hash, because a subject may be longer than an entry of an index.
CREATE INDEX events_subject ON hookbox.events (hashtextextended(subject, 0), id)
    WHERE subject IS NOT NULL;

-- How far the sweep has come. `last_id`: no id up to here is given again. `events_up_to`: where the
-- present pass, which deletes what is settled, goes on. `empty_up_to`: every event up to here is
-- empty, and a pass begins behind it; `empty_at`: where the present one goes on; `empty_kept`: the
-- first event that it has left alone.
CREATE TABLE hookbox.swept (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    last_id bigint NOT NULL,
    events_up_to bigint NOT NULL,
    empty_up_to bigint NOT NULL,
    empty_at bigint NOT NULL,
    empty_kept bigint
);
INSERT INTO hookbox.swept VALUES (true, 0, 0, 0, 0, NULL);

-- Operations, and the deliveries of each. `walk` is where the search goes on; `attempt` is the
-- number of attempts that a delivery had before.
CREATE TABLE hookbox.operations (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    action text NOT NULL,
    scope text NOT NULL,
    as_of_ms bigint NOT NULL,
    planned_ms bigint NOT NULL,
    started_ms bigint,
    ended_ms bigint,
    state smallint NOT NULL,
    reason text,
    first boolean NOT NULL DEFAULT false,
    pace bigint,
    stop_after bigint,
    total bigint NOT NULL,
    exact boolean NOT NULL,
    found bigint NOT NULL DEFAULT 0,
    open bigint NOT NULL DEFAULT 0,
    ok bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    skipped bigint NOT NULL DEFAULT 0,
    walk text,
    is_found boolean NOT NULL DEFAULT false,
    actor text NOT NULL,
    via text NOT NULL
);
CREATE INDEX operations_state ON hookbox.operations (state, planned_ms);
CREATE TABLE hookbox.operation_items (
    operation bigint NOT NULL,
    event bigint NOT NULL,
    ordinal integer NOT NULL,
    result smallint NOT NULL,
    attempt integer NOT NULL,
    PRIMARY KEY (operation, event, ordinal)
);
CREATE INDEX operation_items_result
    ON hookbox.operation_items (operation, result, event, ordinal);

-- Drops the partitions of the oldest day if all ids of it are before `until` and nothing is left of
-- it; says whether it did. It waits only a moment for others that use the tables.
CREATE FUNCTION hookbox.drop_empty_day_v1(until bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    day bigint;
    used boolean;
BEGIN
    SELECT min(substring(c.relname FROM '[0-9]+$')::bigint) INTO day
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'hookbox.events'::regclass AND c.relname ~ '^events_[0-9]+$';
    IF day IS NULL OR ((day + 1) * 86400000) << 20 > until
        OR to_regclass('hookbox.settled_' || day) IS NULL THEN
        RETURN false;
    END IF;
    FOR pass IN 1 .. 2 LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM hookbox.%I) OR EXISTS (SELECT FROM hookbox.%I)',
            'settled_' || day, 'events_' || day) INTO used;
        IF used THEN
            RETURN false;
        END IF;
        IF pass = 1 THEN
            PERFORM set_config('lock_timeout', '200ms', true);
            -- In the order in which batches use them.
            LOCK TABLE hookbox.settled IN ACCESS EXCLUSIVE MODE;
            LOCK TABLE hookbox.events IN ACCESS EXCLUSIVE MODE;
        END IF;
    END LOOP;
    EXECUTE format('DROP TABLE hookbox.%I, hookbox.%I', 'settled_' || day, 'events_' || day);
    RETURN true;
EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
    RETURN false;
END $$;
