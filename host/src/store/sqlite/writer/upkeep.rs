//! The writer's work beside its batches: watches the store's files, and checkpoints a long WAL.

use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;

use super::Writer;
use crate::store::StoreError;
use crate::store::sqlite::command::WriteCommand;
use crate::store::sqlite::failure::{self, Failed};
use crate::store::sqlite::file_watch::CHECK_EVERY;
use crate::store::sqlite::schema;

impl Writer {
    /// Waits for a command; for nothing if there is something to do without one.
    pub(super) fn next_command(&mut self) -> Result<Option<WriteCommand>, RecvTimeoutError> {
        loop {
            match self.commands.recv_timeout(CHECK_EVERY) {
                // Without appends nothing else notices that there is space again.
                Err(RecvTimeoutError::Timeout) if self.space.full().is_some() => return Ok(None),
                // The same holds for a file that is gone. The next commit meets an error again.
                Err(RecvTimeoutError::Timeout) => match self.watch.check_now(&self.connection) {
                    Ok(None) => {}
                    Ok(Some(_)) | Err(_) => return Ok(None),
                },
                received => return received.map(Some),
            }
        }
    }

    /// Checks the files and the space before a batch. Lost files refuse it as if it had been tried.
    pub(super) fn look_around(&mut self, batch: &mut Vec<WriteCommand>) -> Result<(), Failed> {
        if let Err(lost) = self.look_after_files(false) {
            batch.extend(self.queues.drain());
            return Err(lost);
        }
        self.look_for_room()
    }

    /// Checks whether there is space for new events, unless that was a moment ago.
    fn look_for_room(&mut self) -> Result<(), Failed> {
        match self.space.check(&self.connection) {
            Ok(true) => self
                .published
                .full
                .store(self.space.full().map(|reason| Arc::new(reason.to_owned()))),
            Ok(false) => {}
            Err(error) => return Err(failure::undo(&self.connection, &error)),
        }
        Ok(())
    }

    /// Fails while the store's files are not where they were.
    fn look_after_files(&mut self, now: bool) -> Result<(), Failed> {
        let connection = &self.connection;
        let looked =
            if now { self.watch.check_now(connection) } else { self.watch.check(connection) };
        match looked {
            Ok(None) => Ok(()),
            Ok(Some(lost)) => Err(Failed::Passing(StoreError::Lost(lost.to_owned()))),
            Err(error) => Err(failure::undo(connection, &error)),
        }
    }

    /// Checkpoints a long WAL. A full disk refuses the next commits as well. After any other
    /// failure it is unknown which pages of the database are on disk, so no commit may follow.
    pub(super) fn checkpoint(&mut self) -> Result<(), Failed> {
        let failed = |error| failure::undo(&self.connection, &error);
        if !schema::wal_is_long(&self.connection).map_err(failed)? {
            return Ok(());
        }
        // Nothing of a WAL that was cut may get into the database.
        let looked = self.look_after_files(true);
        let done = looked.and_then(|()| {
            schema::checkpoint(&self.connection)
                .map_err(|error| failure::undo(&self.connection, &error))
        });
        match done {
            Err(Failed::Passing(error)) => {
                tracing::debug!(error = %error, "the WAL cannot be checkpointed for now");
                Ok(())
            }
            done => done,
        }
    }
}
