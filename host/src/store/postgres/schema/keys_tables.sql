-- Columns and tables of deliveries that are ordered by a key or cancelled by events, of dead
-- letters that are told of, and of the sizes of trees. Keys are bytes, because a text of Postgres
-- holds no NUL.

-- Of those with a key, `entered` is the place within it; none until a delayed one is found due. A
-- delivery that is `behind` waits for others of its key, and is never due. `cancel_tag` and
-- `cancel_subject` are those by which an event cancels it.
ALTER TABLE hookbox.open
    ADD key bytea,
    ADD entered bigint,
    ADD cancel_tag bigint,
    ADD cancel_subject text COLLATE "C",
    ADD behind boolean NOT NULL GENERATED ALWAYS AS (due = 9223372036854775806) STORED;
CREATE INDEX open_key ON hookbox.open (plugin, key, entered) WHERE entered IS NOT NULL;
CREATE INDEX open_late ON hookbox.open (plugin, due, event, ordinal)
    WHERE key IS NOT NULL AND entered IS NULL;
CREATE INDEX open_cancellable ON hookbox.open (cancel_subject, cancel_tag)
    WHERE cancel_subject IS NOT NULL;

ALTER TABLE hookbox.settled
    ADD key bytea,
    ADD entered bigint,
    ADD cancel_tag bigint;

-- Keys that wait: until a time (event 0), or for a dead letter until an operator acts on it
-- (`until` is the greatest number). `entered` is the place of that dead letter.
CREATE TABLE hookbox.held_keys (
    plugin text COLLATE "C" NOT NULL,
    key bytea NOT NULL,
    event bigint NOT NULL,
    ordinal integer NOT NULL,
    until bigint NOT NULL,
    entered bigint,
    PRIMARY KEY (plugin, key, event, ordinal)
);
CREATE INDEX held_keys_until ON hookbox.held_keys (until);

-- Deliveries that tell of a dead letter of the same event, and how often that had been one.
CREATE TABLE hookbox.dead_notices (
    event bigint NOT NULL,
    ordinal integer NOT NULL,
    dead_ordinal integer NOT NULL,
    death integer NOT NULL,
    PRIMARY KEY (event, ordinal)
);

-- Counts of all that descends from an event. Batches append to `tree_deltas`, which are folded.
CREATE TABLE hookbox.trees (
    root bigint PRIMARY KEY,
    events bigint NOT NULL,
    bytes bigint NOT NULL
);
CREATE TABLE hookbox.tree_deltas (
    root bigint NOT NULL,
    events bigint NOT NULL,
    bytes bigint NOT NULL
) WITH (autovacuum_vacuum_cost_delay = 0);
CREATE INDEX tree_deltas_root ON hookbox.tree_deltas (root);
