//! How far the logs of providers have been read.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::Sqlite;
use super::batch::WriteBatch;
use super::command::WriteCommand;
use crate::store::{Hosts, LogPositions, Pending};

/// Since version 8: a text of each source whose provider's log is read.
pub(super) const SCHEMA: &str = "
    CREATE TABLE log_positions (source TEXT PRIMARY KEY, position TEXT NOT NULL) STRICT, WITHOUT ROWID;
";

impl Hosts for Sqlite {}

impl LogPositions for Sqlite {
    fn log_position(&self, source: Arc<str>) -> Pending<'_, Option<String>> {
        Box::pin(self.readers.ask(move |connection| read(connection, &source)))
    }

    fn keep_log_position(&self, source: Arc<str>, position: String) -> Pending<'_, ()> {
        self.ask(|reply| WriteCommand::KeepPosition { source, position, reply })
    }
}

/// The position of a source.
pub(super) fn read(
    connection: &Connection,
    source: &str,
) -> Result<Option<String>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT position FROM log_positions WHERE source = ?1")?
        .query_row([source], |row| row.get(0))
        .optional()
}

impl WriteBatch<'_> {
    /// Replaces the position of a source.
    pub(super) fn keep_position(
        &mut self,
        source: &str,
        position: &str,
    ) -> Result<(), rusqlite::Error> {
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO log_positions VALUES (?1, ?2)")?
            .execute(params![source, position])
            .map(drop)
    }
}
