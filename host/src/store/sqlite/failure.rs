//! The meaning of SQLite errors: whether they pass, and the advice for operators.
//!
//! A write that is refused leaves nothing behind: the transaction is undone and tried again, as on
//! a full disk. Whether the reason is a file system that became read-only, a used-up quota or a
//! limit, SQLite does not tell. A sync that fails is another matter: nothing is known of what is on
//! disk.

use std::io;
use std::path::Path;

use rusqlite::{Connection, Error, ErrorCode, ffi};

use crate::fail::Fault;
use crate::store::StoreError;

/// How a batch failed.
pub(super) enum Failed {
    /// The disk refuses; it may pass.
    Passing(StoreError),
    /// Nothing can be trusted any more.
    Fatal(StoreError),
}

/// Undoes the transaction and says what the error means.
pub(super) fn undo(connection: &Connection, error: &Error) -> Failed {
    let path = connection.path().map(Path::new).unwrap_or(Path::new(""));
    if !connection.is_autocommit()
        && let Err(error) = connection.execute_batch("ROLLBACK")
    {
        return Failed::Fatal(StoreError::Stopped(explain(&error, path)));
    }
    if passes(error) {
        Failed::Passing(StoreError::Unavailable(explain(error, path)))
    } else {
        Failed::Fatal(StoreError::Stopped(explain(error, path)))
    }
}

fn passes(error: &Error) -> bool {
    use ErrorCode::{DatabaseBusy, DatabaseLocked, DiskFull, ReadOnly};
    matches!(error.sqlite_error_code(), Some(DiskFull | ReadOnly | DatabaseBusy | DatabaseLocked))
        || is_refused_write(error)
}

/// Whether a write itself was refused, not a sync. The index of the WAL is a file that grows by
/// writes as well.
fn is_refused_write(error: &Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    matches!(code, Some(ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_SHMSIZE))
}

/// An error in words, with what to do about it.
pub(super) fn explain(error: &Error, path: &Path) -> String {
    let path = path.display();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt) => format!(
            "{error}: `{path}` is damaged. With no host running, copy the folder, then restore a backup, or save what can \
             be read with `sqlite3 {path} .recover | sqlite3 recovered.db` and put `recovered.db` in its place, without \
             the old `-wal`; start it once with --accept-loss"
        ),
        Some(ErrorCode::NotADatabase) => format!(
            "{error}: `{path}` is no SQLite database, or its first page is damaged. Look at `store.url`, or restore a backup"
        ),
        Some(ErrorCode::DiskFull) => format!("{error}: make room"),
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen) => {
            format!("{error}: the file, its folder or its file system may be read-only")
        }
        _ if is_refused_write(error) => format!(
            "{error}: a write was refused; the disk may be full, the file system may have become read-only, or a quota or a \
             limit may be used up"
        ),
        _ => error.to_string(),
    }
}

/// The advice about an error of the file system, to stand behind it.
pub(super) fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => ": the host has to write there, so mount it writable",
        io::ErrorKind::PermissionDenied => {
            ": the user that runs hookbox has to be able to write the folder and the files of the store in it"
        }
        io::ErrorKind::StorageFull => ": the disk is full, so make room",
        io::ErrorKind::QuotaExceeded => ": a quota is used up, so make room or raise it",
        _ => "",
    }
}

/// An error that a test asked for.
pub(super) fn injected(fault: Fault) -> Error {
    let code = match fault {
        Fault::Io => ffi::SQLITE_IOERR_FSYNC,
        Fault::Full => ffi::SQLITE_FULL,
        Fault::Write => ffi::SQLITE_IOERR_WRITE,
    };
    Error::SqliteFailure(ffi::Error::new(code), Some("injected".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: i32) -> Error {
        Error::SqliteFailure(ffi::Error::new(code), None)
    }

    #[test]
    fn a_refused_write_passes_and_a_failed_sync_or_read_does_not() {
        for code in [
            ffi::SQLITE_FULL,
            ffi::SQLITE_READONLY,
            ffi::SQLITE_IOERR_WRITE,
            ffi::SQLITE_IOERR_SHMSIZE,
        ] {
            assert!(passes(&of(code)), "{code}");
        }
        for code in [
            ffi::SQLITE_IOERR_FSYNC,
            ffi::SQLITE_IOERR_READ,
            ffi::SQLITE_IOERR,
            ffi::SQLITE_CORRUPT,
        ] {
            assert!(!passes(&of(code)), "{code}");
        }
    }

    #[test]
    fn damage_is_explained_with_the_file_and_the_way_out() {
        let text = explain(&of(ffi::SQLITE_CORRUPT), Path::new("data/hookbox.db"));
        for part in [
            "malformed",
            "`data/hookbox.db` is damaged",
            ".recover",
            "restore a backup",
            "--accept-loss",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_file_system_that_refuses_is_explained() {
        for (kind, part) in [
            (io::ErrorKind::ReadOnlyFilesystem, "mount it writable"),
            (io::ErrorKind::PermissionDenied, "the user that runs hookbox"),
            (io::ErrorKind::StorageFull, "make room"),
            (io::ErrorKind::QuotaExceeded, "quota"),
        ] {
            assert!(hint(&kind.into()).contains(part), "{kind}");
        }
    }
}
