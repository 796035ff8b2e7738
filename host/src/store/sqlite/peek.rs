//! Opens a store's file to read it, whether or not a host has it open.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::files::beside;
use super::schema;

/// Opens a file to read it. Without a WAL no process has it open, and SQLite is told that it does
/// not change: otherwise it would make the WAL and its index.
pub(super) fn open_to_peek(database: &Path) -> Result<Connection, rusqlite::Error> {
    if beside(database, "-wal").exists() {
        return schema::open_reader(database);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(format!("file:{}?immutable=1", percent_encoded(database)), flags)
}

/// A path as SQLite reads it in a URI.
fn percent_encoded(path: &Path) -> String {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.');
    let encoded = |byte: &u8| {
        if plain(*byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") }
    };
    path.as_os_str().as_encoded_bytes().iter().map(encoded).collect()
}
