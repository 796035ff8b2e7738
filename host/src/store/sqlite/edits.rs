//! Events that operators have made of others: which of which, and by whom.

use rusqlite::{Connection, OptionalExtension, params};

use super::batch::WriteBatch;
use super::erase;
use crate::event::{EditedFrom, EventId, NewEvent};
use crate::store::{Appended, MAX_CHILDREN, StoreError};

/// Since version 8: of which event an edited one was made. A table of its own, so that the usual
/// event pays nothing.
pub(super) const SCHEMA: &str = "
    CREATE TABLE edits (
        event     INTEGER PRIMARY KEY,
        replay_of INTEGER NOT NULL,
        edited_by TEXT NOT NULL
    ) STRICT;
    CREATE INDEX edits_of ON edits (replay_of, event);
";

impl WriteBatch<'_> {
    /// Stores an event that an operator makes. Nothing is made of an event that is gone or erased.
    pub(super) fn make(
        &mut self,
        new: &NewEvent,
    ) -> Result<Result<Appended, StoreError>, rusqlite::Error> {
        let Some(EditedFrom { event, by }) = &new.edited else { return Ok(Ok(self.append(new)?)) };
        let is_there = self
            .connection
            .prepare_cached("SELECT 1 FROM events WHERE id = ?1")?
            .exists([event.row()])?;
        if !is_there {
            return Ok(Err(StoreError::NotFound(format!("event `{event}`"))));
        }
        if let Some(emptied) = erase::emptied(self.connection, *event)? {
            return Ok(Err(erase::refusal(*event, emptied)));
        }
        let appended = self.append(new)?;
        self.connection
            .prepare_cached("INSERT INTO edits (event, replay_of, edited_by) VALUES (?1, ?2, ?3)")?
            .execute(params![appended.id.row(), event.row(), by])?;
        Ok(Ok(appended))
    }
}

/// The origin of an event that was edited.
pub(super) fn origin(
    connection: &Connection,
    event: EventId,
) -> Result<Option<EditedFrom>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT replay_of, edited_by FROM edits WHERE event = ?1")?
        .query_row([event.row()], |row| {
            Ok(EditedFrom { event: EventId::from_row(row.get(0)?), by: row.get(1)? })
        })
        .optional()
}

/// The events that were made of one, oldest first, at most [`MAX_CHILDREN`].
pub(super) fn made_of(
    connection: &Connection,
    event: EventId,
) -> Result<Vec<EventId>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT event FROM edits WHERE replay_of = ?1 ORDER BY event LIMIT ?2")?
        .query_map(params![event.row(), MAX_CHILDREN], |row| row.get(0).map(EventId::from_row))?
        .collect()
}
