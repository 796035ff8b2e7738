-- How far each schedule has come. `skipped` is the reason for which the last tick was; `event` is
-- that of the last tick that was emitted.
CREATE TABLE hookbox.schedules (
    name text COLLATE "C" PRIMARY KEY,
    spec bigint NOT NULL,
    next_ms bigint NOT NULL,
    active boolean NOT NULL,
    last_ms bigint,
    skipped smallint,
    event bigint,
    event_ms bigint
);
CREATE TABLE hookbox.skipped_ticks (
    name text COLLATE "C" NOT NULL,
    first_ms bigint NOT NULL,
    last_ms bigint NOT NULL,
    ticks bigint NOT NULL,
    reason smallint NOT NULL,
    PRIMARY KEY (name, first_ms)
);

-- Makes a step of a schedule, if its tick at `from_ms` is the next one. With an `emitted` event the
-- tick is emitted: its `number` is added to those that were kept, and `append_v1` stores the event.
-- Without one, ticks up to `up_to_ms` were missed.
--
-- Returns: 0 it is emitted; 1 it was missed; 2 a delivery of the tick before is open; 3 it was not
-- the next tick.
CREATE FUNCTION hookbox.tick_v1(
    of_name text, of_spec bigint, from_ms bigint, to_ms bigint,
    emitted bigint, number integer, skips_overlap boolean, up_to_ms bigint, missed bigint,
    most_records integer
) RETURNS smallint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    s hookbox.schedules;
    -- As `SkipReason` has it.
    why smallint;
BEGIN
    SELECT i.* INTO s FROM hookbox.schedules i
    WHERE i.name = of_name AND i.spec = of_spec AND i.next_ms = from_ms AND i.active FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 3;
    END IF;
    IF emitted IS NULL THEN
        why := 0;
    ELSIF skips_overlap AND EXISTS (SELECT FROM hookbox.open o WHERE o.event = s.event) THEN
        why := 1;
        up_to_ms := from_ms;
        missed := 1;
    ELSE
        UPDATE hookbox.schedules i SET next_ms = to_ms, last_ms = from_ms, skipped = NULL,
            event = emitted, event_ms = from_ms
        WHERE i.name = of_name;
        PERFORM set_config('hookbox.kept', (coalesce(
            nullif(current_setting('hookbox.kept', true), '')::integer[], '{}') || number)::text,
            true);
        RETURN 0;
    END IF;
    -- With those right before, if these were skipped for the same reason.
    UPDATE hookbox.skipped_ticks k SET last_ms = up_to_ms, ticks = k.ticks + missed
    WHERE s.skipped = why AND k.name = of_name AND k.last_ms = s.last_ms AND k.reason = s.skipped
        AND k.first_ms = (SELECT max(m.first_ms) FROM hookbox.skipped_ticks m
            WHERE m.name = of_name);
    IF NOT FOUND THEN
        INSERT INTO hookbox.skipped_ticks AS k VALUES (of_name, from_ms, up_to_ms, missed, why)
        ON CONFLICT (name, first_ms) DO UPDATE
        SET last_ms = excluded.last_ms, ticks = excluded.ticks, reason = excluded.reason;
        DELETE FROM hookbox.skipped_ticks k
        WHERE k.name = of_name AND k.first_ms < (SELECT m.first_ms FROM hookbox.skipped_ticks m
            WHERE m.name = of_name ORDER BY m.first_ms DESC OFFSET most_records - 1 LIMIT 1);
    END IF;
    UPDATE hookbox.schedules i SET next_ms = to_ms, last_ms = up_to_ms, skipped = why
    WHERE i.name = of_name;
    RETURN why + 1;
END $$;
