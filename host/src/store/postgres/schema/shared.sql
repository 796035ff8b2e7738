-- Pauses. `kind`: 0 of a plugin, 1 of a schedule.
CREATE TABLE hookbox.pauses (
    kind smallint NOT NULL,
    name text COLLATE "C" NOT NULL,
    at_ms bigint NOT NULL,
    actor text NOT NULL,
    reason text NOT NULL,
    PRIMARY KEY (kind, name)
);

-- Files of plugins that may run: the one that was admitted last, and one that was approved since.
CREATE TABLE hookbox.approvals (
    plugin text COLLATE "C" NOT NULL,
    admitted boolean NOT NULL,
    digest bytea NOT NULL,
    capabilities text[] NOT NULL,
    approved_by text NOT NULL,
    at_ms bigint NOT NULL,
    PRIMARY KEY (plugin, admitted)
);

-- How far the log of each source has been read.
CREATE TABLE hookbox.log_positions (
    source text COLLATE "C" PRIMARY KEY,
    position text NOT NULL
);

-- Secrets that hosts share, sealed with a key that is with the hosts alone. Versions begin with 1. A
-- secret that was removed keeps its row, so that each host removes it.
CREATE TABLE hookbox.secrets (
    name text COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL,
    deleted boolean NOT NULL,
    sealed bytea NOT NULL
);

-- Keeps a version of a secret if the present one is `before`, or if there is none and that is 0.
CREATE FUNCTION hookbox.keep_secret_v1(
    of_name text, next bigint, gone boolean, bytes bytea, before bigint
) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF before = 0 THEN
        INSERT INTO hookbox.secrets (name, version, deleted, sealed)
        VALUES (of_name, next, gone, bytes) ON CONFLICT (name) DO NOTHING;
    ELSE
        UPDATE hookbox.secrets k SET version = next, deleted = gone, sealed = bytes
        WHERE k.name = of_name AND k.version = before;
    END IF;
    RETURN FOUND;
END $$;

-- Samples of sources and plugins in each five minutes, as each host has seen them. `n` counts the
-- times at which the host of this slot has stored samples; they are deleted by it, because a host's
-- clock may be set. The name of all owners of a kind together is empty. `durations` are pairs of
-- bucket and count. `stored_ms` is the database's time, `at_ms` the host's.
CREATE TABLE hookbox.samples (
    kind smallint NOT NULL,
    name text COLLATE "C" NOT NULL,
    slot smallint NOT NULL,
    n bigint NOT NULL,
    stored_ms bigint NOT NULL,
    at_ms bigint NOT NULL,
    counts text NOT NULL,
    durations text NOT NULL,
    PRIMARY KEY (kind, name, slot, n)
);
CREATE INDEX samples_n ON hookbox.samples (slot, n);

-- Stores the sample of each owner at this host until `until_ms`, and deletes old ones. This host
-- keeps the last `most`; of hosts that are gone those that are older than `most` times go.
CREATE FUNCTION hookbox.keep_samples_v1(
    at bigint, of_slot smallint, until_ms bigint, kinds smallint[], names text[], counts text[],
    durations text[], most bigint, every_ms bigint
) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    t bigint := hookbox.now_ms_v1(at);
    next bigint;
BEGIN
    SELECT coalesce(max(s.n), 0) + 1 INTO next FROM hookbox.samples s WHERE s.slot = of_slot;
    INSERT INTO hookbox.samples
    SELECT u.kind, u.name, of_slot, next, t, until_ms, u.counts, u.durations
    FROM unnest(kinds, names, counts, durations) AS u (kind, name, counts, durations);
    DELETE FROM hookbox.samples s WHERE s.slot = of_slot AND s.n <= next - most;
    DELETE FROM hookbox.samples s
    WHERE s.slot IN (SELECT g FROM generate_series(0, 255) g WHERE g <> of_slot
            AND NOT EXISTS (SELECT FROM hookbox.hosts h WHERE h.slot = g))
        AND s.stored_ms < t - most * every_ms;
END $$;
