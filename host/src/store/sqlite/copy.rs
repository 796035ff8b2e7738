//! Reads everything of a store whose host is stopped, to copy it.

use std::fs::File;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params};

use super::failure::explain;
use super::loss::{self, OnLoss};
use super::peek::open_to_peek;
use super::recent::Recent;
use super::{files, schema, start, sum, time};
use crate::clock::{Clock, rfc3339};
use crate::event::{Attributes, EventId, State};
use crate::store::model::{CopyCell, CopyMarks, CopyRow};

/// A store whose host is stopped. No host can open it as long as this is there.
#[derive(Debug)]
pub(in crate::store) struct CopySource {
    connection: Connection,
    path: PathBuf,
    ahead_ms: i64,
    marks: CopyMarks,
    _lock: File,
}

impl CopySource {
    /// Opens a store as its host does: it is locked, and its schema is brought up to date. Blocks.
    ///
    /// # Errors
    /// A host runs, or holds leases in it that it has not given back; for people.
    pub(in crate::store) fn open(path: &Path, clock: &Clock) -> Result<Self, String> {
        is_there(path)?;
        let (lock, path) = files::lock(path).map_err(|error| error.to_string())?;
        let (connection, _) =
            loss::open(&path, OnLoss::Refuse).map_err(|error| error.to_string())?;
        let (recent, last_id) = Self::check(&connection, &path)?;
        time::begin(&connection, clock, last_id).map_err(|error| explain(&error, &path))?;
        let ahead_ms = clock.ahead_ms();
        Self::read((connection, lock), path, &recent, last_id, ahead_ms)
    }

    /// Opens a store to be counted, and changes nothing in it. Blocks.
    ///
    /// # Errors
    /// As for [`CopySource::open`], and its schema is an older one; for people.
    pub(in crate::store) fn inspect(path: &Path) -> Result<Self, String> {
        is_there(path)?;
        let (lock, path) = files::lock(path).map_err(|error| error.to_string())?;
        let failed = |error| explain(&error, &path);
        let connection = open_to_peek(&path).map_err(failed)?;
        let version: i64 = connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(failed)?;
        if version != schema::VERSION {
            return Err(format!(
                "`{}` has schema version {version}, and this hookbox reads {}: start its host once, or leave out \
                 `--dry-run`, which brings it up to date",
                path.display(),
                schema::VERSION
            ));
        }
        let (recent, last_id) = Self::check(&connection, &path)?;
        Self::read((connection, lock), path, &recent, last_id, 0)
    }

    /// Refuses a store that cannot be copied whole.
    fn check(connection: &Connection, path: &Path) -> Result<(Recent, EventId), String> {
        let failed = |error| explain(&error, path);
        let recent = Recent::load(connection, super::recent::FLUSH_EVENTS).map_err(failed)?;
        if let Some(up_to) = recent.legacy_up_to() {
            return Err(format!(
                "`{}` has dedupe keys of a hookbox that was older than schema version 5, which Postgres does not know: \
                 duplicates of these events would be taken for new ones. Let its host run until they are older than \
                 `store.dedupe_window`; the last of them is of {}",
                path.display(),
                rfc3339(up_to.unix_ms())
            ));
        }
        let sql = "SELECT count(*) FROM deliveries WHERE due_ms IS NOT NULL AND state = ?1";
        let leased: u64 =
            connection.query_row(sql, [State::Leased.code()], |row| row.get(0)).map_err(failed)?;
        if leased > 0 {
            return Err(format!(
                "the host of `{}` did not stop in order, and {leased} of its deliveries are leased: start it once with \
                 `hookbox serve`, and stop it",
                path.display()
            ));
        }
        let last_id = start::last_id(connection, &recent).map_err(failed)?;
        Ok((recent, last_id))
    }

    fn read(
        (connection, lock): (Connection, File),
        path: PathBuf,
        recent: &Recent,
        last_id: EventId,
        ahead_ms: i64,
    ) -> Result<Self, String> {
        let failed = |error| explain(&error, &path);
        put_recent(&connection, recent).map_err(failed)?;
        let marks = marks(&connection, last_id).map_err(failed)?;
        Ok(Self { connection, path, ahead_ms, marks, _lock: lock })
    }

    /// The numbers that stand in no table of many rows.
    pub(in crate::store) fn marks(&self) -> CopyMarks {
        self.marks
    }

    /// The number that a query finds.
    pub(in crate::store) fn count(&self, sql: &str) -> Result<u64, String> {
        self.connection
            .query_row(sql, [], |row| row.get(0))
            .map_err(|error| explain(&error, &self.path))
    }

    /// The days of the ids of all events, in days since 1970.
    pub(in crate::store) fn days(&self) -> Result<Vec<i64>, String> {
        const DAY_MS: i64 = 24 * 3600 * 1000;
        let sql = "SELECT min(id) FROM events WHERE id >= ?1";
        let first_from = |id: i64| {
            let found: Result<Option<i64>, _> =
                self.connection.query_row(sql, [id], |row| row.get(0));
            found.map_err(|error| explain(&error, &self.path))
        };
        let mut days = Vec::new();
        let mut from = 0;
        while let Some(first) = first_from(from)? {
            let day = EventId::from_row(first).unix_ms().div_euclid(DAY_MS);
            days.push(day);
            from = EventId::first_at((day + 1) * DAY_MS).row();
        }
        Ok(days)
    }

    /// Hands out the rows that a query finds, until `each` wants no more.
    ///
    /// # Errors
    /// A row cannot be read, or the error of `each`; for people.
    pub(in crate::store) fn rows(
        &self,
        sql: &str,
        mut each: impl FnMut(CopyRow) -> Result<(), String>,
    ) -> Result<(), String> {
        let failed = |error| explain(&error, &self.path);
        let mut statement = self.connection.prepare(sql).map_err(failed)?;
        if let Some(ahead) = statement.parameter_index(":ahead").map_err(failed)? {
            statement.raw_bind_parameter(ahead, self.ahead_ms).map_err(failed)?;
        }
        let columns = statement.column_count();
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next().map_err(failed)? {
            let cells = (0..columns).map(|column| cell(row, column)).collect::<Result<_, _>>();
            each(cells.map_err(failed)?)?;
        }
        Ok(())
    }
}

/// Refuses a path without a file: to open it would make a store.
fn is_there(path: &Path) -> Result<(), String> {
    match path.is_file() {
        true => Ok(()),
        false => Err(format!("there is no store: `{}` is no file", path.display())),
    }
}

fn cell(row: &Row<'_>, column: usize) -> Result<CopyCell, rusqlite::Error> {
    Ok(match row.get_ref(column)? {
        ValueRef::Null => CopyCell::Null,
        ValueRef::Integer(number) => CopyCell::Integer(number),
        ValueRef::Text(text) => CopyCell::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => CopyCell::Bytes(bytes.to_vec()),
        ValueRef::Real(_) => {
            let name = row.as_ref().column_name(column)?.to_owned();
            return Err(rusqlite::Error::InvalidColumnType(
                column,
                name,
                rusqlite::types::Type::Real,
            ));
        }
    })
}

/// Puts the keys that are in no table into one, of this connection alone.
fn put_recent(connection: &Connection, recent: &Recent) -> Result<(), rusqlite::Error> {
    connection.execute_batch(
        "PRAGMA temp_store = MEMORY;
         CREATE TEMP TABLE recent_keys (source TEXT, key BLOB, event INTEGER)",
    )?;
    let mut insert = connection.prepare("INSERT INTO temp.recent_keys VALUES (?1, ?2, ?3)")?;
    for ((source, key), event) in recent.shards.iter().flat_map(|shard| &shard.keys) {
        insert.execute(params![source, key, event.row()])?;
    }
    Ok(())
}

fn marks(connection: &Connection, last_id: EventId) -> Result<CopyMarks, rusqlite::Error> {
    let last_of = |table: &str| {
        let sql = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = ?1";
        connection.query_row(sql, [table], |row| row.get(0))
    };
    let sql = "SELECT a.before_ms, e.begins, e.at, e.kept FROM audit_swept a, emptied e";
    connection.query_row(sql, [], |row| {
        Ok(CopyMarks {
            last_id: last_id.row(),
            audit_before_ms: row.get(0)?,
            last_entry: last_of("audit")?,
            last_operation: last_of("operations")?,
            emptied_up_to: row.get(1)?,
            emptying_at: row.get(2)?,
            emptying_kept: row.get(3)?,
        })
    })
}

/// The row of an event without the checksum at its end, if that is right. The columns before it are
/// id, source, type, subject, content type and time, and the last one is the body.
pub(in crate::store) fn undamaged(mut row: CopyRow) -> Result<CopyRow, String> {
    let sum = row.pop();
    let Some(stored) = sum.as_ref().and_then(CopyCell::integer) else { return Ok(row) };
    let [CopyCell::Integer(id), source, kind, subject, content_type, time, .., body] =
        row.as_slice()
    else {
        return Err("an event has no id".to_owned());
    };
    let id = EventId::from_row(*id);
    let text = |cell: &CopyCell| cell.text().map(str::to_owned);
    let read = Attributes {
        source: text(source).unwrap_or_default().into(),
        kind: text(kind).unwrap_or_default(),
        subject: text(subject),
        content_type: text(content_type),
        time_ms: time.integer().unwrap_or_default(),
        body: Bytes::copy_from_slice(body.bytes()),
    };
    if i64::from(sum::of(&read)) == stored {
        return Ok(row);
    }
    Err(format!(
        "the stored event `{id}` is damaged, and Postgres could not tell: have its host erase it with \
         `hookbox events erase {id}`, or restore a backup"
    ))
}
