//! The one thread that writes. It takes the commands that queued during the last fsync into one
//! transaction, appends first, and answers after the commit. A transaction is bounded by rows,
//! bytes and time, so that no append waits long for one to end.
//!
//! Invariants:
//! - A caller is told of success only when its batch is durable.
//! - A batch that fails on a full disk leaves only its settlements behind, which are tried again
//!   before anything else.
//! - Any other failure ends the thread, and with it the store.
//! - A lease whose caller has gone is given back.

use std::fs::File;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use self::transaction::Transaction;
use super::batch::WriteBatch;
use super::command::{CommandAnswer, WriteCommand, give_back};
use super::commit_mark::{CommitMark, Last};
use super::counts::Delta;
use super::eras::Eras;
use super::failure::{self, Failed};
use super::file_watch::FileWatch;
use super::pauses;
use super::published::Published;
use super::queue::Queues;
use super::recent::Recent;
use super::space::Space;
use super::time::NOTE_EVERY_MS;
use crate::clock::{Clock, until};
use crate::event::{EventId, PluginName};
use crate::fail;
#[cfg(test)]
use crate::fail::Fault;
use crate::store::{DispatchHandle, Lease, PluginPolicies, StoreError, TreeBudget};

mod transaction;
mod upkeep;

/// How long settlements wait for the disk to take writes again before they are tried once more.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// The state of the writer's thread.
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) commands: Receiver<WriteCommand>,
    pub(super) published: Arc<Published>,
    pub(super) clock: Clock,
    /// Host time when it was last noted.
    pub(super) noted_ms: i64,
    pub(super) last_id: EventId,
    pub(super) last_event: EventId,
    pub(super) recent: Recent,
    pub(super) tree: TreeBudget,
    pub(super) policies: Arc<dyn PluginPolicies>,
    pub(super) space: Space,
    pub(super) watch: FileWatch,
    pub(super) mark: Arc<CommitMark>,
    /// Commands that are not begun, settlements that a full disk refused, and leases to give back.
    pub(super) queues: Queues,
    /// Whether the last batch left a command to the next one that was too large for it.
    pub(super) postponed: bool,
    /// See [`SqliteOptions`](super::SqliteOptions).
    pub(super) longest_work: Duration,
    /// Released after the connection, even if the store is not closed: no other host begins before
    /// this one ends.
    pub(super) _lock: File,
}

impl Writer {
    /// Works until the store is closed or fails.
    pub(super) fn run(mut self) {
        while self.wait() {
            let _ = fail::point("store.batch_taken");
            let started = Instant::now();
            let mut batch = Vec::new();
            let committed = self.commit(&mut batch);
            let closing = batch.iter().any(|command| matches!(command, WriteCommand::Close { .. }));
            match committed {
                Ok(true) => {
                    return self.stop(StoreError::Stopped("it was closed".to_owned()), batch);
                }
                Ok(false) => {
                    metrics::histogram!("hookbox_store_commit_duration_seconds")
                        .record(started.elapsed().as_secs_f64());
                }
                Err(Failed::Passing(error)) if closing || self.queues.is_closing() => {
                    batch
                        .drain(..)
                        .chain(self.queues.drain())
                        .for_each(|command| command.refuse(&error));
                    return self
                        .stop(StoreError::Stopped(format!("it was closed, and {error}")), batch);
                }
                Err(Failed::Passing(error)) => self.hold(error, batch),
                Err(Failed::Fatal(error)) => {
                    tracing::error!(error = %error, "the store failed and has stopped");
                    // A file that has just failed is left as it is: the next start recovers what
                    // was committed.
                    let _ = self
                        .connection
                        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
                    return self.stop(error, batch);
                }
            }
        }
        self.stop(StoreError::Stopped("every user of it is gone".to_owned()), Vec::new());
    }

    /// Waits for commands and queues them. False when no caller is left.
    fn wait(&mut self) -> bool {
        let trouble = self.published.trouble.borrow().clone();
        if trouble.is_some() {
            // Also an empty batch is tried: it tells whether the disk takes writes again.
            match self.commands.recv_timeout(RETRY_AFTER) {
                Ok(command) => self.queues.push(command),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        } else if self.queues.is_empty() {
            match self.next_command() {
                Ok(command) => self.queues.extend(command),
                Err(_) => return false,
            }
        }
        self.receive();
        // While settlements wait for the disk, no append gets in their way.
        if let Some(error) = trouble
            && self.queues.has_settlements()
        {
            self.queues.drain_appends().into_iter().for_each(|append| append.refuse(&error));
        }
        true
    }

    /// Queues all that has come; nothing behind a close, which gives back what is leased.
    fn receive(&mut self) {
        while !self.queues.is_closing()
            && let Ok(command) = self.commands.try_recv()
        {
            self.queues.push(command);
        }
    }

    /// Runs what is next in one transaction, commits it, answers and checkpoints a long WAL; says
    /// whether that was a close. Commands stay in `batch` only if nothing was committed.
    fn commit(&mut self, batch: &mut Vec<WriteCommand>) -> Result<bool, Failed> {
        #[cfg(test)]
        let fault = self.rehearse();
        #[cfg(not(test))]
        let fault = None;
        self.look_around(batch)?;
        let dispatch = self.published.dispatch.get().cloned();
        let (now_ms, wall_ms) = (self.clock.host_ms(), self.clock.now_ms());
        let eras = self.published.eras.load_full();
        let mut work = WriteBatch {
            dispatch: dispatch.as_deref(),
            tree: self.tree,
            policies: &*self.policies,
            cut_logs: self.space.is_tight(),
            wall_ms,
            clock: Some(&self.clock),
            eras: &eras,
            era_ends: eras.ends_with(now_ms - wall_ms),
            ..WriteBatch::new(&self.connection, now_ms, self.last_id, &self.recent)
        };
        let note = now_ms.saturating_sub(self.noted_ms) >= NOTE_EVERY_MS;
        let prove = self.published.trouble.borrow().is_some();
        let transaction = Transaction::new(&mut work, &mut self.queues, batch);
        let done = transaction.run(&mut self.postponed, self.longest_work, (note, prove), fault);
        let answers = done.map_err(|error| failure::undo(&self.connection, &error))?;
        let WriteBatch {
            last_id,
            last_event,
            written,
            delta,
            keys,
            leased,
            waiting,
            pauses_changed,
            eras_changed,
            noted,
            ..
        } = work;
        if noted {
            self.noted_ms = now_ms;
        }
        self.reload(eras_changed, pauses_changed)?;
        self.space.wrote(written);
        self.last_id = last_id;
        self.recent.apply(keys, last_id);
        self.last_event = last_event.unwrap_or(self.last_event);
        self.publish(&delta);
        let _ = fail::point("store.after_commit");
        let closing = matches!(answers.last(), Some(CommandAnswer::Closed));
        self.answer(batch, answers);
        if let Some(dispatch) = dispatch {
            self.hand_over(&*dispatch, leased, waiting);
        }
        // Last: what was committed is durable without it. Closing the connection checkpoints the
        // whole WAL.
        if closing { Ok(true) } else { self.checkpoint().map(|()| false) }
    }

    /// Reads what has changed in the database again, and publishes it before the change is
    /// answered: what follows rests on it.
    fn reload(&self, eras_changed: bool, pauses_changed: bool) -> Result<(), Failed> {
        let fatal = |error: rusqlite::Error| Failed::Fatal(StoreError::Stopped(error.to_string()));
        if eras_changed {
            let eras = Eras::load(&self.connection).map_err(fatal)?;
            self.published.eras.store(Arc::new(eras));
        }
        if pauses_changed {
            let pauses = pauses::read(&self.connection).map_err(fatal)?;
            self.published.pauses.send_replace(Arc::new(pauses));
        }
        Ok(())
    }

    /// Tells the dispatcher what a durable batch has leased, and what is due when.
    fn hand_over(
        &self,
        dispatch: &dyn DispatchHandle,
        leased: Vec<Lease>,
        waiting: Vec<(PluginName, i64)>,
    ) {
        if !leased.is_empty() {
            dispatch.deliver(leased);
        }
        for (plugin, due_ms) in waiting {
            dispatch.notify(&plugin, until(self.clock.host_ms(), due_ms));
        }
    }

    /// Answers the commands of a batch that is durable.
    fn answer(&mut self, batch: &mut Vec<WriteCommand>, answers: Vec<CommandAnswer>) {
        let settles = answers.iter().any(|answer| matches!(answer, CommandAnswer::Settled(_)));
        for (command, answer) in batch.drain(..).zip(answers) {
            let stranded = command.answer(answer);
            stranded.into_iter().for_each(|lease| self.queues.push(give_back(lease)));
        }
        if settles {
            let _ = fail::point("store.settled");
        }
    }

    /// Does what the test's disk is told to do.
    #[cfg(test)]
    fn rehearse(&self) -> Option<Fault> {
        use crate::store::conformance::Disk;
        let disk = *self.published.disk.lock().unwrap_or_else(PoisonError::into_inner);
        // SQLite takes the present size as the least maximum: at 1 the file is full.
        let most: i64 = if disk == Disk::Full { 1 } else { i64::from(u32::MAX) - 1 };
        self.connection
            .pragma_update_and_check(None, "max_page_count", most, |_| Ok(()))
            .expect("a pragma is taken");
        match disk {
            Disk::Broken => Some(Fault::Io),
            Disk::Refusing => Some(Fault::Write),
            Disk::Sound | Disk::Full => None,
        }
    }

    /// Publishes a commit. The file that a start compares the database with is first, before any
    /// caller knows of the commit.
    fn publish(&self, delta: &Delta) {
        let events = {
            let mut counts = self.published.counts.lock().unwrap_or_else(PoisonError::into_inner);
            counts.add(delta);
            counts.stats.events
        };
        self.mark.note(Last { event: self.last_event, events });
        self.published.changes.committed(|| delta.hint());
        self.published.trouble.send_if_modified(|trouble| {
            let passed = trouble.take().is_some();
            if passed {
                tracing::info!("the store takes writes again");
            }
            passed
        });
    }

    /// Refuses everything but the settlements: those are tried again.
    fn hold(&mut self, error: StoreError, batch: Vec<WriteCommand>) {
        let before = self.published.trouble.send_replace(Some(error.clone()));
        let known = matches!(before, Some(StoreError::Unavailable(_)));
        // The log has the problem of the files already, with more words.
        if !known && !matches!(error, StoreError::Lost(_)) {
            tracing::error!(error = %error, "nothing is acknowledged until the disk takes writes again");
        }
        let (settlements, others): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|command| matches!(command, WriteCommand::Settle { .. }));
        self.queues.put_back(settlements);
        others.into_iter().for_each(|command| command.refuse(&error));
    }

    /// Refuses what is left, now and later.
    fn stop(mut self, error: StoreError, batch: Vec<WriteCommand>) {
        self.published.trouble.send_replace(Some(error.clone()));
        for command in batch.into_iter().chain(self.queues.drain()).chain(self.commands.try_iter())
        {
            command.refuse(&error);
        }
    }
}

impl Drop for Writer {
    /// However the thread ends, also by a panic, the host hears that the store has stopped.
    fn drop(&mut self) {
        self.published.trouble.send_if_modified(|trouble| {
            let silent = !matches!(trouble, Some(StoreError::Stopped(_)));
            if silent {
                *trouble = Some(StoreError::Stopped("the writer's thread has ended".to_owned()));
            }
            silent
        });
    }
}
