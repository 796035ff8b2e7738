-- The tables of the schema `hookbox`. Times are Unix milliseconds of the database's clock, unless
-- a column says otherwise. Texts are compared by their bytes.
CREATE SCHEMA hookbox;

-- One row. `min_host` is the oldest schema version that a host must know.
CREATE TABLE hookbox.meta (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    version integer NOT NULL,
    min_host integer NOT NULL,
    -- The fingerprint of what made each version, the first one first.
    made_of text[] NOT NULL,
    -- By which hosts know the database again, where the server does not tell its system identifier.
    id text NOT NULL DEFAULT gen_random_uuid()::text
);

-- A number that is never given twice: above the number of a sequence, which a failover may set back,
-- it has the timeline. A server that tells none counts as the first.
CREATE FUNCTION hookbox.once_v1(n bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN (('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::bigint - 1
        << 40) | n;
EXCEPTION WHEN OTHERS THEN
    RETURN n;
END $$;

-- The hosts that live. An incarnation is one run of one host, and is never used again.
CREATE SEQUENCE hookbox.incarnations AS bigint;
CREATE TABLE hookbox.hosts (
    slot smallint PRIMARY KEY CHECK (slot BETWEEN 0 AND 255),
    identity text COLLATE "C" NOT NULL UNIQUE,
    incarnation bigint NOT NULL UNIQUE,
    name text NOT NULL,
    version text NOT NULL,
    since bigint NOT NULL,
    seen bigint NOT NULL,
    -- When the row was renewed, by the server's own clock also in tests.
    alive timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- The SHA-256 of the file of each plugin that runs there, by name.
    plugins text NOT NULL DEFAULT '{}'
) WITH (fillfactor = 20);

-- One marker a batch of a writer of a run: its row says whether the batch has been committed. Each
-- batch writes something, so that also an answer of a duplicate waits for a standby.
CREATE TABLE hookbox.commits (
    incarnation bigint NOT NULL,
    writer smallint NOT NULL,
    seq bigint NOT NULL,
    -- The results of its settlements, if not all were kept.
    settled smallint[],
    PRIMARY KEY (incarnation, writer, seq)
);

CREATE TABLE hookbox.events (
    id bigint PRIMARY KEY,
    source text COLLATE "C" NOT NULL,
    type text COLLATE "C" NOT NULL,
    subject text COLLATE "C",
    content_type text,
    time_ms bigint NOT NULL,
    provider_id text,
    note text,
    headers text,
    parent bigint,
    root bigint,
    hops integer NOT NULL,
    trace bytea,
    edited_from bigint,
    edited_by text,
    signed_by integer,
    body bytea NOT NULL
) PARTITION BY RANGE (id);
CREATE TABLE hookbox.events_rest PARTITION OF hookbox.events DEFAULT;
CREATE INDEX events_parent ON hookbox.events (parent) WHERE parent IS NOT NULL;

-- Deliveries that are not settled. `holder` is the incarnation that leases one.
CREATE TABLE hookbox.open (
    event bigint NOT NULL,
    ordinal integer NOT NULL,
    plugin text COLLATE "C" NOT NULL,
    holder bigint,
    attempt integer NOT NULL,
    uncounted integer NOT NULL DEFAULT 0,
    unrecorded integer NOT NULL DEFAULT 0,
    crashes integer NOT NULL DEFAULT 0,
    deaths integer NOT NULL DEFAULT 0,
    again integer NOT NULL DEFAULT 0,
    again_since bigint,
    waits boolean NOT NULL,
    steps boolean NOT NULL DEFAULT false,
    cancelled boolean NOT NULL DEFAULT false,
    due bigint NOT NULL,
    PRIMARY KEY (event, ordinal)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_cost_delay = 0);
CREATE INDEX open_due ON hookbox.open (plugin, due, event, ordinal)
    WHERE holder IS NULL AND crashes = 0;
CREATE INDEX open_quarantined ON hookbox.open (plugin, due, event, ordinal)
    WHERE holder IS NULL AND crashes > 0;
CREATE INDEX open_held ON hookbox.open (holder) WHERE holder IS NOT NULL;

-- Deliveries that are settled, each with the record of its last attempt, if that has one.
CREATE TABLE hookbox.settled (
    event bigint NOT NULL,
    ordinal integer NOT NULL,
    plugin text COLLATE "C" NOT NULL,
    state smallint NOT NULL,
    attempt integer NOT NULL,
    uncounted integer NOT NULL,
    unrecorded integer NOT NULL,
    deaths integer NOT NULL,
    again integer NOT NULL,
    cut_off boolean NOT NULL,
    started_ms bigint,
    duration_us bigint,
    cpu_us integer,
    memory_kib integer,
    outcome smallint,
    error text,
    logs text,
    digest bytea,
    calls text,
    steps text,
    PRIMARY KEY (event, ordinal)
) PARTITION BY RANGE (event);
CREATE TABLE hookbox.settled_rest PARTITION OF hookbox.settled DEFAULT;

-- The records of attempts that did not settle their delivery.
CREATE TABLE hookbox.attempts (
    event bigint NOT NULL,
    ordinal integer NOT NULL,
    number integer NOT NULL,
    started_ms bigint NOT NULL,
    duration_us bigint NOT NULL,
    cpu_us integer,
    memory_kib integer,
    outcome smallint NOT NULL,
    error text,
    logs text,
    digest bytea,
    calls text,
    steps text,
    PRIMARY KEY (event, ordinal, number)
);

-- Recorded steps of attempts. A delivery that is done keeps none.
CREATE TABLE hookbox.steps (
    event bigint NOT NULL,
    ordinal integer NOT NULL,
    name text COLLATE "C" NOT NULL,
    value bytea NOT NULL,
    attempt integer NOT NULL,
    digest bytea,
    recorded_ms bigint NOT NULL,
    PRIMARY KEY (event, ordinal, name)
);

-- Dedupe keys, in three partitions of which one takes new ones and the one before is still asked.
CREATE TABLE hookbox.dedupe (
    slot smallint NOT NULL,
    source text COLLATE "C" NOT NULL,
    key bytea NOT NULL,
    event bigint NOT NULL,
    PRIMARY KEY (slot, source, key)
) PARTITION BY LIST (slot);
CREATE TABLE hookbox.dedupe_0 PARTITION OF hookbox.dedupe FOR VALUES IN (0);
CREATE TABLE hookbox.dedupe_1 PARTITION OF hookbox.dedupe FOR VALUES IN (1);
CREATE TABLE hookbox.dedupe_2 PARTITION OF hookbox.dedupe FOR VALUES IN (2);
CREATE TABLE hookbox.dedupe_present (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    slot smallint NOT NULL,
    since bigint NOT NULL
);
INSERT INTO hookbox.dedupe_present (slot, since) VALUES (0, 0);

-- Duplicates of events: a row for each batch that had some of an event. The last row says when.
CREATE TABLE hookbox.repeats (
    event bigint NOT NULL,
    at bigint GENERATED ALWAYS AS IDENTITY,
    times bigint NOT NULL,
    last_ms bigint NOT NULL,
    PRIMARY KEY (event, at)
);

-- Counts of deliveries by plugin and state, and of events under the plugin '' and the state -1.
-- Batches append to `count_deltas`; nobody updates a row that others wait for.
CREATE TABLE hookbox.counts (
    plugin text COLLATE "C" NOT NULL,
    state smallint NOT NULL,
    n bigint NOT NULL,
    PRIMARY KEY (plugin, state)
);
CREATE TABLE hookbox.count_deltas (
    plugin text COLLATE "C" NOT NULL,
    state smallint NOT NULL,
    n bigint NOT NULL
) WITH (autovacuum_vacuum_cost_delay = 0);
