//! A copy of a store's file, also while a host writes to it.

use std::fs::File;
use std::path::Path;

use rusqlite::Connection;
use rustix::fs::{AtFlags, linkat, unlinkat};

use super::failure::explain;
use super::peek::open_to_peek;
use super::schema;
use crate::files::{self, private};

/// A backup that is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackedUp {
    /// Events in it.
    pub events: u64,
    /// Its size in bytes.
    pub bytes: u64,
}

/// Copies the store in `database` into the new file `to`, as it is at one moment. A host that runs
/// is not kept waiting; its log grows meanwhile. The copy appears whole under its name, checked and
/// on disk, and only this user may read it.
///
/// # Errors
/// There is no store, something has the name already, or the copy cannot be made; for people.
pub fn backup(database: &Path, to: &Path) -> Result<BackedUp, String> {
    if !database.exists() {
        return Err(format!("there is no store: `{}` does not exist", database.display()));
    }
    let taken = || format!("`{}` exists already: name a new file", to.display());
    if to.symlink_metadata().is_ok() {
        return Err(taken());
    }
    let name = to.file_name().ok_or_else(|| format!("`{}` names no file", to.display()))?;
    let folder = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let failed = |error: &dyn std::fmt::Display| {
        format!("the backup cannot be written into {}: {error}", folder.display())
    };
    let opened = files::open_folder(folder).map_err(|error| failed(&error))?;
    let opened = opened.ok_or_else(|| format!("there is no folder {}", folder.display()))?;
    let temporary = private::unused_name().map_err(|error| failed(&error))?;
    private::create(&opened, &temporary).map_err(|error| failed(&error))?;
    let path = folder.join(&temporary);
    let copied = copy(database, &path).and_then(|events| {
        let file = File::open(&path).map_err(|error| failed(&error))?;
        file.sync_all().map_err(|error| failed(&error))?;
        let bytes = file.metadata().map_err(|error| failed(&error))?.len();
        Ok(BackedUp { events, bytes })
    });
    // A name that somebody took meanwhile stays theirs.
    let placed = copied.and_then(|copied| {
        match linkat(&opened, &temporary, &opened, name, AtFlags::empty()) {
            Ok(()) => Ok(copied),
            Err(rustix::io::Errno::EXIST) => Err(taken()),
            Err(error) => Err(failed(&error)),
        }
    });
    let _ = unlinkat(&opened, &temporary, AtFlags::empty());
    let placed = placed?;
    File::from(opened).sync_all().map_err(|error| failed(&error))?;
    Ok(placed)
}

/// Copies into an empty file, and looks through the copy; how many events it has.
fn copy(database: &Path, to: &Path) -> Result<u64, String> {
    let from = open_to_peek(database).and_then(|from| {
        let version: i64 = from.pragma_query_value(None, "user_version", |row| row.get(0))?;
        Ok((from, version))
    });
    let (from, version) = from.map_err(|error| explain(&error, database))?;
    if !(1..=schema::VERSION).contains(&version) {
        return Err(format!(
            "`{}` is no store of this hookbox: its schema has version {version}, and this one knows 1 to {}",
            database.display(),
            schema::VERSION
        ));
    }
    let name = to.to_str().ok_or_else(|| format!("`{}` is no UTF-8", to.display()))?;
    from.execute("VACUUM INTO ?1", [name])
        .map_err(|error| format!("the copy failed: {}", explain(&error, database)))?;
    let check = || -> Result<(String, u64), rusqlite::Error> {
        let copy = Connection::open(to)?;
        let found = copy.pragma_query_value(None, "quick_check", |row| row.get(0))?;
        Ok((found, copy.query_row("SELECT count(*) FROM events", [], |row| row.get(0))?))
    };
    let (found, events) = check().map_err(|error| format!("the copy cannot be read: {error}"))?;
    if found != "ok" {
        return Err(format!("the copy is damaged: {found}"));
    }
    Ok(events)
}
