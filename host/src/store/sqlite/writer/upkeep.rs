//! What the writer does beside its batches: it looks after the store's files, and moves a long log.

use std::sync::mpsc::RecvTimeoutError;

use super::Writer;
use crate::store::StoreError;
use crate::store::sqlite::command::Command;
use crate::store::sqlite::failure::{self, Failed};
use crate::store::sqlite::schema;
use crate::store::sqlite::vigil::LOOK_EVERY;

impl Writer {
    /// Waits for a command; for nothing if there is something to do without one.
    pub(super) fn next_command(&mut self) -> Result<Option<Command>, RecvTimeoutError> {
        loop {
            match self.commands.recv_timeout(LOOK_EVERY) {
                // While nothing is appended nobody else notices that there is room again.
                Err(RecvTimeoutError::Timeout) if self.space.full().is_some() => return Ok(None),
                // Nor that a file is gone. An error is met again by the commit that follows.
                Err(RecvTimeoutError::Timeout) => match self.vigil.look_now(&self.connection) {
                    Ok(None) => {}
                    Ok(Some(_)) | Err(_) => return Ok(None),
                },
                received => return received.map(Some),
            }
        }
    }

    /// Fails while the store's files are not where they were.
    pub(super) fn look_after_files(&mut self, now: bool) -> Result<(), Failed> {
        let connection = &self.connection;
        let looked = if now { self.vigil.look_now(connection) } else { self.vigil.look(connection) };
        match looked {
            Ok(None) => Ok(()),
            Ok(Some(lost)) => Err(Failed::Passing(StoreError::Lost(lost.to_owned()))),
            Err(error) => Err(failure::undo(connection, &error)),
        }
    }

    /// Moves a long log into the database, whatever of it was committed before. A disk that is full refuses the next commits
    /// as well; any other failure leaves it unknown what of the database is on disk, and nothing is to follow.
    pub(super) fn move_log(&mut self) -> Result<(), Failed> {
        let failed = |error| failure::undo(&self.connection, &error);
        if !schema::log_is_long(&self.connection).map_err(failed)? {
            return Ok(());
        }
        // Nothing of a log that was cut may get into the database.
        let looked = self.look_after_files(true);
        let moved = looked
            .and_then(|()| schema::move_log(&self.connection).map_err(|error| failure::undo(&self.connection, &error)));
        match moved {
            Err(Failed::Passing(error)) => {
                tracing::debug!(error = %error, "the log cannot be moved into the database for now");
                Ok(())
            }
            moved => moved,
        }
    }
}
