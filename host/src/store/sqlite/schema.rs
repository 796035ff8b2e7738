//! The file: how it is opened, what it holds, how it grows from version to version.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use self::approvals::APPROVALS;
use super::error::OpenError;
use super::failure::injected;
use super::files::make_file;
use super::{
    audit, edits, eras, erase, failures, history, kv, limits, operations, pauses, payloads,
    positions, schedules, steps, tables,
};
use crate::fail;

mod approvals;

/// The schema this host writes. A file with a greater one is refused, one with a smaller one is
/// migrated.
pub(super) const VERSION: i64 = 9;

/// Pages after which the writer checkpoints the WAL (4 KiB each). Callers of the commit that
/// crosses the limit wait for the checkpoint. A longer WAL gains nothing: few pages change often
/// enough to be in it many times. With a shorter one each checkpoint is short; how long is measured
/// in `docs/design/measurements.md`.
const WAL_PAGES: i64 = 250;

/// The WAL is cut to this size after a checkpoint, in bytes.
pub(super) const WAL_KEPT_BYTES: u64 = 16 << 20;

/// Page cache of the writer, in KiB.
const CACHE_KIB: u32 = 32 * 1024;

/// How long a reader waits for a lock.
const BUSY: Duration = Duration::from_secs(5);

const TABLES: &str = "
    CREATE TABLE events (
        id           INTEGER PRIMARY KEY,
        source       TEXT NOT NULL,
        type         TEXT NOT NULL,
        subject      TEXT,
        content_type TEXT,
        time_ms      INTEGER NOT NULL,
        provider_id  TEXT,
        note         TEXT,
        headers      TEXT,
        parent       INTEGER,
        hops         INTEGER NOT NULL,
        dedupe       BLOB,
        body         BLOB NOT NULL
    ) STRICT;
    CREATE INDEX events_subject ON events (subject) WHERE subject IS NOT NULL;
    CREATE INDEX events_parent ON events (parent) WHERE parent IS NOT NULL;

    CREATE TABLE dedupe (
        source TEXT NOT NULL,
        key    BLOB NOT NULL,
        event  INTEGER NOT NULL,
        PRIMARY KEY (source, key)
    ) STRICT, WITHOUT ROWID;

    -- attempt: the number of the last attempt begun, the fence of every settlement.
    -- pardoned: attempts that do not count against the retry policy.
    -- due_ms: NULL when settled, the greatest integer while leased.
    CREATE TABLE deliveries (
        event    INTEGER NOT NULL,
        ordinal  INTEGER NOT NULL,
        plugin   TEXT NOT NULL,
        state    INTEGER NOT NULL,
        attempt  INTEGER NOT NULL,
        pardoned INTEGER NOT NULL,
        crashes  INTEGER NOT NULL,
        replay   INTEGER NOT NULL,
        due_ms   INTEGER,
        PRIMARY KEY (event, ordinal)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX deliveries_open ON deliveries (crashes, plugin, due_ms) WHERE due_ms IS NOT NULL;
    CREATE INDEX deliveries_dead ON deliveries (event, ordinal) WHERE state = 4;

    CREATE TABLE attempts (
        event       INTEGER NOT NULL,
        ordinal     INTEGER NOT NULL,
        number      INTEGER NOT NULL,
        started_ms  INTEGER NOT NULL,
        duration_us INTEGER NOT NULL,
        outcome     INTEGER NOT NULL,
        error       TEXT,
        logs        TEXT,
        digest      BLOB,
        PRIMARY KEY (event, ordinal, number)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE kv (
        plugin  TEXT NOT NULL,
        key     TEXT NOT NULL,
        value   BLOB NOT NULL,
        version INTEGER NOT NULL,
        PRIMARY KEY (plugin, key)
    ) STRICT, WITHOUT ROWID;

    -- How many there are: kept with every batch, because counting a million rows is not cheap.
    CREATE TABLE counts (
        plugin TEXT NOT NULL,
        what   INTEGER NOT NULL,
        n      INTEGER NOT NULL,
        PRIMARY KEY (plugin, what)
    ) STRICT, WITHOUT ROWID;

    -- How far the sweeps have come. dedupe_up_to: every event up to here has given up its keys. events_up_to: where the
    -- present round, which deletes what is settled, goes on.
    CREATE TABLE swept (dedupe_up_to INTEGER NOT NULL, events_up_to INTEGER NOT NULL) STRICT;
    INSERT INTO swept VALUES (0, 0);
";

/// Since version 2: what a plugin sent during an attempt.
const CALLS: &str = "ALTER TABLE attempts ADD COLUMN calls TEXT;";

/// Since version 3: how far the dedupe keys, by their first byte, are in their table. Every event
/// up to here has its keys there, if it has not given them up; those of newer ones are found in
/// `events` alone. Before, all were in the table.
const MOVED: &str = "
    CREATE TABLE dedupe_moved (segment INTEGER PRIMARY KEY, up_to INTEGER NOT NULL) STRICT;
    INSERT INTO dedupe_moved
        WITH RECURSIVE bytes (byte) AS (VALUES (0) UNION ALL SELECT byte + 1 FROM bytes WHERE byte < 255)
        SELECT byte, (SELECT coalesce(max(id), 0) FROM events) FROM bytes;
";

/// Since version 4: the root of each event's tree, and the size of the tree so far. Also deliveries
/// that an operator has cancelled while they are leased, and the number of attempts without a
/// record. The bytes of key-value stores are counted under a number of their own, so that states
/// may be added. An event whose parent is gone counts as descending from that parent.
const TREES: &str = "
    ALTER TABLE events ADD COLUMN root INTEGER;
    CREATE INDEX events_root ON events (root) WHERE root IS NOT NULL;
    -- Of each root that anything descends from: how many events do, and the bytes of their bodies.
    CREATE TABLE trees (root INTEGER PRIMARY KEY, events INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT;
    WITH RECURSIVE tree (id, root) AS (
        SELECT id, parent FROM events
            WHERE parent IS NOT NULL
              AND NOT EXISTS (SELECT 1 FROM events p WHERE p.id = events.parent AND p.parent IS NOT NULL)
        UNION ALL
        SELECT e.id, t.root FROM tree t JOIN events e ON e.parent = t.id
    )
    UPDATE events SET root = tree.root FROM tree WHERE tree.id = events.id;
    INSERT INTO trees SELECT root, count(*), sum(length(body)) FROM events WHERE root IS NOT NULL GROUP BY root;
    ALTER TABLE deliveries ADD COLUMN cancelled INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE deliveries ADD COLUMN unrecorded INTEGER NOT NULL DEFAULT 0;
    UPDATE counts SET what = 100 WHERE what = 5;
";

/// Since version 5: how often each event was repeated, and when last.
const DUPLICATES: &str = "
    CREATE TABLE duplicates (event INTEGER PRIMARY KEY, n INTEGER NOT NULL, last_ms INTEGER NOT NULL) STRICT;
";

/// Since version 5: a checksum of each event, absent for older ones.
const SUMS: &str = "ALTER TABLE events ADD COLUMN sum INTEGER;";

/// Since version 5: up to which event dedupe keys are as hosts before made them. See
/// [`LegacyKey`](crate::event::LegacyKey).
const LEGACY_KEYS: &str = "
    ALTER TABLE swept ADD COLUMN legacy_keys_up_to INTEGER NOT NULL DEFAULT 0;
    UPDATE swept SET legacy_keys_up_to = (SELECT coalesce(max(id), 0) FROM events);
";

/// Since version 7: the order of deliveries by a key. `entered` is the number of a delivery within
/// its key, absent until its delay is over. The first few of a key that are not settled are open.
/// The others have a `due_ms` of the greatest integer less one. A row of `held_keys` keeps a key
/// waiting: until a time, or until the dead letter that it names is retried or discarded.
const KEYS: &str = "
    ALTER TABLE deliveries ADD COLUMN key TEXT;
    ALTER TABLE deliveries ADD COLUMN entered INTEGER;
    CREATE INDEX deliveries_keyed ON deliveries (plugin, key, entered) WHERE key IS NOT NULL AND due_ms IS NOT NULL;
    CREATE TABLE held_keys (
        plugin   TEXT NOT NULL,
        key      TEXT NOT NULL,
        event    INTEGER NOT NULL,
        ordinal  INTEGER NOT NULL,
        until_ms INTEGER NOT NULL,
        PRIMARY KEY (plugin, key, event, ordinal)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX held_keys_until ON held_keys (until_ms);
";

/// Since version 7: which open deliveries an event can cancel, by the event's subject and the tag
/// of their routes' items.
const CANCELLABLE: &str = "
    ALTER TABLE deliveries ADD COLUMN cancel_tag INTEGER;
    CREATE TABLE cancellable (
        subject TEXT NOT NULL,
        tag     INTEGER NOT NULL,
        event   INTEGER NOT NULL,
        ordinal INTEGER NOT NULL,
        PRIMARY KEY (subject, tag, event, ordinal)
    ) STRICT, WITHOUT ROWID;
";

/// Since version 7: how often a delivery has become a dead letter, and of which dead letter a
/// delivery to the host's own plugin for them is to tell.
const DEAD_LETTERS: &str = "
    ALTER TABLE deliveries ADD COLUMN deaths INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE dead_notices (
        event        INTEGER NOT NULL,
        ordinal      INTEGER NOT NULL,
        dead_ordinal INTEGER NOT NULL,
        death        INTEGER NOT NULL,
        PRIMARY KEY (event, ordinal)
    ) STRICT, WITHOUT ROWID;
";

/// Since version 8: the span that made each event, absent for one that is not traced.
const TRACES: &str = "ALTER TABLE events ADD COLUMN trace BLOB;";

/// Since version 8: the position of the key that signed each event, absent where nothing was
/// checked. SQLite keeps 0 and 1 in the head of the row, so the usual event takes one byte more.
const SIGNED_BY: &str = "ALTER TABLE events ADD COLUMN signed_by INTEGER;";

/// Since version 9: the processor time of each attempt in microseconds, and its memory in KiB;
/// absent where no guest ran. Two bytes each in the usual row, and one in its head.
const USED: &str = "
    ALTER TABLE attempts ADD COLUMN cpu_us INTEGER;
    ALTER TABLE attempts ADD COLUMN memory_kib INTEGER;
";

/// Each version of the schema with the changes that lead to it from the one before.
const MIGRATIONS: [(i64, &[&str]); 9] = [
    (1, &[TABLES]),
    (2, &[CALLS]),
    (3, &[MOVED]),
    (4, &[TREES]),
    (5, &[DUPLICATES, SUMS, LEGACY_KEYS, eras::SCHEMA]),
    (6, &[APPROVALS]),
    (
        7,
        &[
            KEYS,
            CANCELLABLE,
            DEAD_LETTERS,
            tables::GATHERINGS,
            steps::SCHEMA,
            kv::SCHEMA,
            schedules::SCHEMA,
            history::SCHEMA,
        ],
    ),
    (
        8,
        &[
            audit::SCHEMA,
            erase::SCHEMA,
            payloads::SCHEMA,
            kv::WRITERS,
            failures::SCHEMA,
            operations::SCHEMA,
            pauses::SCHEMA,
            edits::SCHEMA,
            TRACES,
            SIGNED_BY,
            positions::SCHEMA,
            limits::SCHEMA,
        ],
    ),
    (9, &[USED]),
];

/// A connection that is to write, and the version of the schema it found. Nothing is written
/// through it before [`prepare`], not even when it is closed.
pub(super) fn connect(path: &Path) -> Result<(Connection, i64), OpenError> {
    let failed = |source| OpenError::Sqlite { path: path.to_owned(), source };
    make_file(path).map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
    let connection = Connection::open(path).map_err(failed)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    keep_plans(&connection).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(128);
    let version: i64 =
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    if version > VERSION {
        return Err(OpenError::Newer { path: path.to_owned(), found: version, known: VERSION });
    }
    Ok((connection, version))
}

/// Plans do not depend on the values of parameters. Where a partial index is in question SQLite
/// would otherwise look at them, and prepare a statement anew for each: twice the cost of a keyed
/// append.
fn keep_plans(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

/// Checks that the connection is as durable as promised, and brings the schema up to date.
pub(super) fn prepare(connection: &Connection, version: i64, path: &Path) -> Result<(), OpenError> {
    let failed = |source| OpenError::Sqlite { path: path.to_owned(), source };
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(failed)?;
    let settings = format!(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA journal_size_limit = {WAL_KEPT_BYTES};
         PRAGMA cache_size = -{CACHE_KIB};
         PRAGMA temp_store = MEMORY;"
    );
    connection.execute_batch(&settings).map_err(failed)?;
    read_back(connection, path, "journal_mode", "wal")?;
    read_back(connection, path, "synchronous", "2")?;
    for (next, changes) in MIGRATIONS.into_iter().filter(|(next, _)| *next > version) {
        if version > 0 {
            tracing::info!(
                from = version,
                to = next,
                "bringing the database up to date; a large one takes a while"
            );
        }
        let migration =
            format!("BEGIN IMMEDIATE; {} PRAGMA user_version = {next}; COMMIT;", changes.concat());
        connection.execute_batch(&migration).map_err(failed)?;
    }
    Ok(())
}

/// The writing connection to a file that is what it should be.
#[cfg(test)]
pub(super) fn open_writer(path: &Path) -> Result<Connection, OpenError> {
    let (connection, version) = connect(path)?;
    prepare(&connection, version, path)?;
    Ok(connection)
}

/// Writes a page that says what it said before. An `UPDATE` that changes nothing would write none,
/// and find a full disk well.
pub(super) fn rewrite(writer: &Connection) -> Result<(), rusqlite::Error> {
    writer.pragma_update(None, "user_version", VERSION)
}

fn read_back(
    connection: &Connection,
    path: &Path,
    setting: &'static str,
    wanted: &str,
) -> Result<(), OpenError> {
    let found = connection
        .pragma_query_value(None, setting, |row| {
            let value: rusqlite::types::Value = row.get(0)?;
            Ok(match value {
                rusqlite::types::Value::Integer(number) => number.to_string(),
                rusqlite::types::Value::Text(text) => text,
                other => format!("{other:?}"),
            })
        })
        .map_err(|source| OpenError::Sqlite { path: path.to_owned(), source })?;
    if found == wanted {
        Ok(())
    } else {
        Err(OpenError::Setting { path: path.to_owned(), setting, found })
    }
}

/// Pages in the WAL.
pub(super) fn wal_pages(writer: &Connection) -> Result<i64, rusqlite::Error> {
    writer.prepare_cached("PRAGMA wal_checkpoint(NOOP)")?.query_row([], |row| row.get("log"))
}

/// Whether the WAL is so long that it is to be checkpointed.
pub(super) fn wal_is_long(writer: &Connection) -> Result<bool, rusqlite::Error> {
    Ok(wal_pages(writer)? >= WAL_PAGES)
}

/// Checkpoints the WAL, so that the next commit begins it anew. SQLite's own
/// checkpoint would hide errors. Pages that a slow reader still uses are checkpointed after a later
/// commit.
pub(super) fn checkpoint(writer: &Connection) -> Result<(), rusqlite::Error> {
    if let Some(fault) = fail::point(fail::LOG_POINT) {
        return Err(injected(fault));
    }
    writer.prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")?.query_row([], |_| Ok(()))
}

/// Opens a connection that can only read.
pub(super) fn open_reader(path: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    keep_plans(&connection)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}
