-- Indexes that listings need. Of what is settled as usual, nothing enters any of them.
CREATE INDEX events_root ON hookbox.events (root, id) WHERE root IS NOT NULL;
CREATE INDEX settled_dead ON hookbox.settled (event, ordinal) WHERE state = 4;

-- Events whose own time differs from that of their id by more than an hour, because a host's clock
-- was wrong. Listings by time look at the ids of that time, and at these.
CREATE INDEX events_astray ON hookbox.events (time_ms, id)
    WHERE time_ms - (id >> 20) NOT BETWEEN -3600000 AND 3600000;

-- The first requests of an attempt. Of a text that is no list nothing is returned but the empty
-- text, which is none either: one damaged row ends no page.
CREATE FUNCTION hookbox.first_calls_v1(calls text, most bigint) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
    RETURN (SELECT json_agg(c.call ORDER BY c.n)::text
        FROM json_array_elements(calls::json) WITH ORDINALITY AS c (call, n)
        WHERE c.n <= most);
EXCEPTION WHEN data_exception THEN
    RETURN '';
END $$;
