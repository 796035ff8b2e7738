-- A database as hosts before schema version 5 made it, without events: what SQLite says of its tables and indexes.
CREATE TABLE events (id INTEGER PRIMARY KEY, source TEXT NOT NULL, type TEXT NOT NULL, subject TEXT, content_type
    TEXT, time_ms INTEGER NOT NULL, provider_id TEXT, note TEXT, headers TEXT, parent INTEGER, hops INTEGER NOT NULL,
    dedupe BLOB, body BLOB NOT NULL , root INTEGER) STRICT;
CREATE INDEX events_subject ON events (subject) WHERE subject IS NOT NULL;
CREATE INDEX events_parent ON events (parent) WHERE parent IS NOT NULL;
CREATE TABLE dedupe (source TEXT NOT NULL, key BLOB NOT NULL, event INTEGER NOT NULL, PRIMARY KEY (source, key))
    STRICT, WITHOUT ROWID;
CREATE TABLE deliveries (event INTEGER NOT NULL, ordinal INTEGER NOT NULL, plugin TEXT NOT NULL, state INTEGER NOT
    NULL, attempt INTEGER NOT NULL, pardoned INTEGER NOT NULL, crashes INTEGER NOT NULL, replay INTEGER NOT NULL,
    due_ms INTEGER, cancelled INTEGER NOT NULL DEFAULT 0, unrecorded INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (event,
    ordinal)) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_open ON deliveries (crashes, plugin, due_ms) WHERE due_ms IS NOT NULL;
CREATE INDEX deliveries_dead ON deliveries (event, ordinal) WHERE state = 4;
CREATE TABLE attempts (event INTEGER NOT NULL, ordinal INTEGER NOT NULL, number INTEGER NOT NULL, started_ms INTEGER
    NOT NULL, duration_us INTEGER NOT NULL, outcome INTEGER NOT NULL, error TEXT, logs TEXT, digest BLOB, calls TEXT,
    PRIMARY KEY (event, ordinal, number)) STRICT, WITHOUT ROWID;
CREATE TABLE kv (plugin TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, version INTEGER NOT NULL, PRIMARY KEY
    (plugin, key)) STRICT, WITHOUT ROWID;
CREATE TABLE counts (plugin TEXT NOT NULL, what INTEGER NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (plugin, what))
    STRICT, WITHOUT ROWID;
CREATE TABLE swept (dedupe_up_to INTEGER NOT NULL, events_up_to INTEGER NOT NULL) STRICT;
CREATE TABLE dedupe_moved (segment INTEGER PRIMARY KEY, up_to INTEGER NOT NULL) STRICT;
CREATE INDEX events_root ON events (root) WHERE root IS NOT NULL;
CREATE TABLE trees (root INTEGER PRIMARY KEY, events INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT;
INSERT INTO swept VALUES (0, 0);
INSERT INTO dedupe_moved
    WITH RECURSIVE bytes (byte) AS (VALUES (0) UNION ALL SELECT byte + 1 FROM bytes WHERE byte < 255)
    SELECT byte, 0 FROM bytes;
PRAGMA journal_mode = WAL;
PRAGMA user_version = 4;
