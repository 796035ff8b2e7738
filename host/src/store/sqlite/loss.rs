//! Traces of an earlier life of the store, which a start compares with the file it finds.
//!
//! Nothing here writes. A start that finds something missing says so and leaves every file as it
//! was, unless an operator has said that it may go on.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::commit_mark::{self, Last};
use super::error::OpenError;
use super::files::beside;
use super::schema;
use crate::clock::rfc3339;
use crate::event::EventId;

/// The reaction of a start to a store that has lost something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnLoss {
    /// It ends with [`OpenError::Lost`].
    #[default]
    Refuse,
    /// It goes on with what is there.
    Accept,
}

/// Opens the writing connection, unless something of the store is missing: then nothing is changed.
/// Says how far the store had come before, if that is known.
pub(super) fn open(path: &Path, on_loss: OnLoss) -> Result<(Connection, Option<Last>), OpenError> {
    let failed = |source| OpenError::Sqlite { path: path.to_owned(), source };
    let mark_path = beside(path, "-committed");
    let before = commit_mark::read(&mark_path)
        .map_err(|source| OpenError::Io { path: mark_path, source })?;
    let mut accepted = look_at_files(path, on_loss)?;
    let (connection, version) = schema::connect(path)?;
    if version == 0 && accepted.is_none() {
        accepted = look_at_empty(path, on_loss)?;
    } else if let Some(before) = before
        && version > 0
    {
        accepted = look_at_end(path, last(&connection).map_err(failed)?, before, on_loss)?;
    }
    match accepted {
        Some(loss) => tracing::warn!(loss, "--accept-loss: going on with what is there"),
        None if on_loss == OnLoss::Accept => tracing::warn!(
            "--accept-loss was given and nothing is missing: leave it out from now on, so that a loss is noticed"
        ),
        None => {}
    }
    schema::prepare(&connection, version, path)?;
    Ok((connection, before))
}

/// Checks the files before SQLite opens them, which removes the WAL of an empty database. Returns
/// the loss that was accepted.
fn look_at_files(database: &Path, on_loss: OnLoss) -> Result<Option<String>, OpenError> {
    let name = database.display();
    let what = match fs::metadata(database) {
        Ok(found) if found.len() > 0 => return Ok(None),
        Ok(_) => format!("`{name}` is empty (0 bytes)"),
        Err(_) => format!("`{name}` is not there"),
    };
    let mut traces = traces(database)?;
    if fs::metadata(beside(database, "-wal")).is_ok_and(|log| log.len() > 0) {
        traces.insert(0, format!("{name}-wal"));
    }
    judge(&what, &traces, on_loss)
}

/// Checks a database that has no tables. Returns the loss that was accepted.
fn look_at_empty(database: &Path, on_loss: OnLoss) -> Result<Option<String>, OpenError> {
    let what = format!("`{}` holds nothing, not even tables", database.display());
    judge(&what, &traces(database)?, on_loss)
}

fn judge(what: &str, traces: &[String], on_loss: OnLoss) -> Result<Option<String>, OpenError> {
    if traces.is_empty() {
        return Ok(None);
    }
    let beside = traces.iter().map(|trace| format!("`{trace}`")).collect::<Vec<_>>().join(", ");
    let loss = format!("{what}, and beside it are traces of an earlier store: {beside}");
    let way_out = "Put the database back where it was, with its log, or restore a backup. `hookbox serve --accept-loss` \
                   begins an empty store instead: what the earlier one held is not delivered";
    decide(loss, way_out, on_loss)
}

/// Compares how far the database has come with how far it had come when it was written last. Says
/// what was accepted.
fn look_at_end(
    database: &Path,
    now: Last,
    before: Last,
    on_loss: OnLoss,
) -> Result<Option<String>, OpenError> {
    if now.event >= before.event {
        return Ok(None);
    }
    let name = database.display();
    let ends = match now.event.row() {
        0 => "it holds no event at all".to_owned(),
        _ => format!("it ends with `{}` of {}", now.event, rfc3339(now.event.unix_ms())),
    };
    let loss = format!(
        "events are missing from `{name}`: the last one stored was `{}` of {}, and {ends} ({} events then, {} now)",
        before.event,
        rfc3339(before.event.unix_ms()),
        before.events,
        now.events,
    );
    let way_out = format!(
        "Either the log, `{name}-wal`, was removed, cut or damaged, or an older copy of the database was put in its place. \
         Put back what is missing if you have it. `hookbox serve --accept-loss` goes on without: events after the last one \
         that is there are not delivered"
    );
    decide(loss, &way_out, on_loss)
}

fn decide(loss: String, way_out: &str, on_loss: OnLoss) -> Result<Option<String>, OpenError> {
    match on_loss {
        OnLoss::Refuse => Err(OpenError::Lost(format!("{loss}. {way_out}"))),
        OnLoss::Accept => Ok(Some(loss)),
    }
}

/// Files that only a store which had been opened leaves behind. The lock, the secrets and the
/// folder of compiled plugins are no traces, because they are there before the database.
fn traces(database: &Path) -> Result<Vec<String>, OpenError> {
    let mut found = Vec::new();
    let running = beside(database, "-running");
    if running.exists() {
        found.push(running.display().to_string());
    }
    let committed = beside(database, "-committed");
    let noted = commit_mark::read(&committed)
        .map_err(|source| OpenError::Io { path: committed.clone(), source })?;
    if noted.is_some() {
        found.push(committed.display().to_string());
    }
    // Approvals of a host before schema version 6, and plugin files that ran.
    for (folder, ending) in [("approved", None), ("compiled", Some(OsStr::new("plugin")))] {
        let folder = database.with_file_name(folder);
        let is_trace = |path: PathBuf| ending.is_none() || path.extension() == ending;
        let mut files =
            fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
        if files.any(is_trace) && !has_another(database) {
            found.push(folder.display().to_string());
        }
    }
    Ok(found)
}

/// Whether another store is in the same folder, to which what does not bear its name may belong.
fn has_another(database: &Path) -> bool {
    let own = beside(database, "-lock");
    let Some(entries) = database.parent().and_then(|folder| fs::read_dir(folder).ok()) else {
        return false;
    };
    entries.flatten().map(|entry| entry.path()).filter(|path| *path != own).any(|path| {
        let other = path.to_str().and_then(|path| path.strip_suffix("-lock"));
        other.is_some_and(|other| fs::metadata(other).is_ok_and(|other| other.len() > 0))
    })
}

/// How far the database has come, in any version of the schema. Events leave it only when
/// `dedupe_up_to` has passed them.
pub(super) fn last(connection: &Connection) -> Result<Last, rusqlite::Error> {
    let sql = "SELECT max(coalesce((SELECT max(id) FROM events), 0), dedupe_up_to),
                      coalesce((SELECT n FROM counts WHERE plugin = '' AND what = 0), 0) FROM swept";
    connection.query_row(sql, [], |row| {
        Ok(Last { event: EventId::from_row(row.get(0)?), events: row.get(1)? })
    })
}
