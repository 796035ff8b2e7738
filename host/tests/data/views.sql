-- The tables of a SQLite file, as far as tests ask for them, on the tables of Postgres.
CREATE SCHEMA books;
CREATE VIEW books.events AS
    SELECT id, source, type, subject, time_ms, note, parent, root, convert_from(body, 'UTF8') AS body
    FROM hookbox.events;
CREATE VIEW books.deliveries AS
    SELECT event, ordinal, plugin, CASE WHEN holder IS NOT NULL THEN 1 WHEN waits THEN 2 ELSE 0 END AS state,
        attempt, uncounted AS pardoned, deaths, key, entered, due AS due_ms
    FROM hookbox.open
    UNION ALL
    SELECT event, ordinal, plugin, state, attempt, uncounted, deaths, key, entered, NULL FROM hookbox.settled;
CREATE VIEW books.attempts AS
    SELECT event, ordinal, number, started_ms, duration_us, outcome, error FROM hookbox.attempts
    UNION ALL
    SELECT event, ordinal, attempt, started_ms, duration_us, outcome, error FROM hookbox.settled
    WHERE outcome IS NOT NULL;
CREATE VIEW books.gatherings AS
    SELECT event, ordinal, plugin, convert_from(key, 'UTF8') AS key FROM hookbox.gatherings;
CREATE VIEW books.counts AS
    SELECT plugin, state AS what, sum(n)::bigint AS n FROM (
        SELECT plugin, state, n FROM hookbox.counts UNION ALL
        SELECT plugin, state, n FROM hookbox.count_deltas) c
    GROUP BY 1, 2;
-- A number that plugins add to.
CREATE VIEW books.numbers AS
    SELECT bucket AS plugin, convert_from(key, 'UTF8') AS key, hookbox.read_number_v1(value) AS n
    FROM hookbox.kv WHERE octet_length(value) = 8;
-- Functions of SQLite.
CREATE FUNCTION books.printf(format text, id bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT replace(format, '%016x', lpad(to_hex(id), 16, '0'))
$$;
CREATE FUNCTION books.json_extract(document text, path text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT document::jsonb #>> string_to_array(substr(path, 3), '.')
$$;
