//! The one thread that writes: it drains whatever queued during the last fsync into one transaction, and answers after
//! the commit.
//!
//! Invariants: no caller hears of success before the batch that holds it is durable; a batch that fails on a full disk
//! leaves nothing behind but its settlements, which are tried again before anything else; any other failure ends the
//! thread, and with it the store; a lease whose caller has gone is given back.

use std::fs::File;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use super::batch::Batch;
use super::counts::{Counts, Delta};
use super::dedupe::Recent;
use super::schema;
use crate::clock::Clock;
use crate::event::{DeliveryId, EventId, NewEvent, PluginName};
use crate::fail::{self, Fault};
use crate::store::{Appended, Desk, Keep, Lane, Lease, Leased, Next, Settled, Settlement, StoreError};

/// The most commands in one transaction.
const MAX_BATCH: usize = 1_024;

/// The most bytes of bodies and values in one transaction (and at least one command), so that none keeps the others
/// waiting for long.
const MAX_BATCH_BYTES: usize = 16 << 20;

/// How long settlements wait for the disk to take writes again before they are tried once more.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// How a caller is answered; it may have gone.
pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the writer is asked to do.
pub(super) enum Command {
    Append { event: Box<NewEvent>, reply: Reply<Appended>, waiting: OwnedSemaphorePermit },
    Lease { lane: Lane, places: Option<OwnedSemaphorePermit>, reply: Reply<Leased> },
    Settle { lease: Box<Lease>, settlement: Box<Settlement>, reply: Reply<Settled> },
    Retry { delivery: DeliveryId, reply: Reply<u64> },
    RetryAll { found: Vec<DeliveryId>, reply: Reply<u64> },
    Replay { event: EventId, plugins: Vec<PluginName>, reply: Reply<Vec<DeliveryId>> },
    Sweep { keep: Keep, reply: Reply<bool> },
    Close { reply: Reply<()> },
}

/// What a command came to, held back until the commit.
enum Answer {
    Appended(Appended),
    Leased(Leased),
    Settled(Settled),
    Retried(Result<u64, StoreError>),
    Replayed(Result<Vec<DeliveryId>, StoreError>),
    Swept(bool),
    Closed,
}

/// What the writer shares with everybody else.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) counts: Mutex<Counts>,
    pub(super) desk: OnceLock<DeskSlot>,
    /// Set while the disk refuses, and for good once the store has stopped.
    pub(super) trouble: watch::Sender<Option<StoreError>>,
    /// What the disk is told to do in tests.
    #[cfg(test)]
    pub(super) disk: Mutex<crate::store::conformance::Disk>,
}

/// The dispatcher, once attached.
pub(super) struct DeskSlot(pub(super) Arc<dyn Desk>);

impl std::fmt::Debug for DeskSlot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DeskSlot")
    }
}

/// The state of the writer's thread.
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) commands: Receiver<Command>,
    pub(super) shared: Arc<Shared>,
    pub(super) clock: Clock,
    pub(super) last_id: EventId,
    pub(super) recent: Recent,
    /// Settlements that a full disk refused, and leases to give back.
    pub(super) held: Vec<Command>,
    /// Given up after the connection, also when nobody closes the store: no other host begins before this one ends.
    pub(super) _lock: File,
}

/// How a batch failed.
enum Failed {
    /// The disk refuses; it may pass.
    Passing(StoreError),
    /// Nothing can be trusted any more.
    Fatal(StoreError),
}

impl Writer {
    /// Works until the store is closed or fails.
    pub(super) fn run(mut self) {
        while let Some(mut batch) = self.take_batch() {
            let _ = fail::point("store.batch_taken");
            let closing = batch.iter().any(|command| matches!(command, Command::Close { .. }));
            let started = Instant::now();
            match self.commit(&mut batch, closing) {
                Ok(()) if closing => return self.stop(StoreError::Stopped("it was closed".to_owned()), batch),
                Ok(()) => {
                    metrics::histogram!("hookbox_store_commit_seconds").record(started.elapsed().as_secs_f64());
                }
                Err(Failed::Passing(error)) if closing => {
                    batch.drain(..).for_each(|command| command.refuse(&error));
                    return self.stop(StoreError::Stopped(format!("it was closed, and {error}")), batch);
                }
                Err(Failed::Passing(error)) => self.hold(error, batch),
                Err(Failed::Fatal(error)) => {
                    tracing::error!(error = %error, "the store failed and has stopped");
                    // A file that has just failed is left as it is: the next start recovers what was committed.
                    let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
                    return self.stop(error, batch);
                }
            }
        }
        self.stop(StoreError::Stopped("every user of it is gone".to_owned()), Vec::new());
    }

    /// Waits for work and takes all there is, up to a bound. `None` when nobody can ask any more.
    fn take_batch(&mut self) -> Option<Vec<Command>> {
        let mut batch = std::mem::take(&mut self.held);
        let trouble = self.shared.trouble.borrow().clone();
        // While settlements wait for the disk, no append gets in their way.
        let refused = trouble.clone().filter(|_| !batch.is_empty());
        let mut next = if trouble.is_some() {
            // Also an empty batch is tried: it tells whether the disk takes writes again.
            match self.commands.recv_timeout(RETRY_AFTER) {
                Ok(command) => Some(command),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        } else if batch.is_empty() {
            Some(self.commands.recv().ok()?)
        } else {
            self.commands.try_recv().ok()
        };
        let mut bytes = 0;
        while let Some(command) = next {
            bytes += command.bytes();
            match (&refused, &command) {
                (Some(error), Command::Append { .. }) => command.refuse(error),
                _ => batch.push(command),
            }
            // Nothing is taken up behind a close: it gives back what is leased.
            let closing = matches!(batch.last(), Some(Command::Close { .. }));
            let full = closing || batch.len() >= MAX_BATCH || bytes >= MAX_BATCH_BYTES;
            next = if full { None } else { self.commands.try_recv().ok() };
        }
        Some(batch)
    }

    /// Runs the commands in one transaction, commits it, moves a long log and answers. Commands stay in `batch` only if
    /// nothing was committed.
    fn commit(&mut self, batch: &mut Vec<Command>, closing: bool) -> Result<(), Failed> {
        let desk = self.shared.desk.get().map(|slot| slot.0.clone());
        let now_ms = self.clock.now_ms();
        let mut work = Batch::new(&self.connection, now_ms, self.last_id, &self.recent, desk.as_deref());
        #[cfg(test)]
        let fault = self.rehearse();
        #[cfg(not(test))]
        let fault = None;
        let answers = match transact(&mut work, batch, fault) {
            Ok(answers) => answers,
            Err(error) => {
                drop(work);
                return Err(self.failed(&error));
            }
        };
        let Batch { last_id, delta, keys, born, posted, .. } = work;
        self.last_id = last_id;
        self.recent.apply(keys, last_id);
        self.publish(&delta);
        let _ = fail::point("store.after_commit");
        // Closing the connection moves the whole log.
        let moved = if closing { Ok(()) } else { self.move_log() };
        let settles = answers.iter().any(|answer| matches!(answer, Answer::Settled(_)));
        for (command, answer) in batch.drain(..).zip(answers) {
            let stranded = command.answer(answer);
            self.held.extend(stranded.into_iter().map(|lease| give_back(lease, self.clock.now_ms())));
        }
        if settles {
            let _ = fail::point("store.settled");
        }
        if let Some(desk) = desk {
            if !born.is_empty() {
                desk.deliver(born);
            }
            for (plugin, due_ms) in posted {
                desk.posted(&plugin, due_ms);
            }
        }
        moved
    }

    /// Moves a long log into the database, whatever of it was committed before. A disk that is full refuses the next commits
    /// as well; any other failure leaves it unknown what of the database is on disk, and nothing is to follow.
    fn move_log(&self) -> Result<(), Failed> {
        match schema::move_log(&self.connection).map_err(|error| self.failed(&error)) {
            Err(Failed::Passing(error)) => {
                tracing::debug!(error = %error, "the log cannot be moved into the database for now");
                Ok(())
            }
            moved => moved,
        }
    }

    /// Does what the test's disk is told to do.
    #[cfg(test)]
    fn rehearse(&self) -> Option<Fault> {
        use crate::store::conformance::Disk;
        let disk = *self.shared.disk.lock().unwrap_or_else(PoisonError::into_inner);
        // SQLite takes the present size as the least maximum: at 1 the file is full.
        let most: i64 = if disk == Disk::Full { 1 } else { i64::from(u32::MAX) - 1 };
        self.connection.pragma_update_and_check(None, "max_page_count", most, |_| Ok(())).expect("a pragma is taken");
        (disk == Disk::Broken).then_some(Fault::Io)
    }

    fn publish(&self, delta: &Delta) {
        self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner).add(delta);
        self.shared.trouble.send_if_modified(|trouble| {
            let passed = trouble.take().is_some();
            if passed {
                tracing::info!("the disk takes writes again");
            }
            passed
        });
    }

    /// Undoes the transaction and says what the error means.
    fn failed(&self, error: &rusqlite::Error) -> Failed {
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            return Failed::Fatal(StoreError::Stopped(error.to_string()));
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull | ErrorCode::ReadOnly | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Failed::Passing(StoreError::Unavailable(error.to_string()))
            }
            _ => Failed::Fatal(StoreError::Stopped(error.to_string())),
        }
    }

    /// Refuses everything but the settlements: those are tried again.
    fn hold(&mut self, error: StoreError, batch: Vec<Command>) {
        let known = self.shared.trouble.send_replace(Some(error.clone())).is_some();
        if !known {
            tracing::error!(error = %error, "nothing is acknowledged until the disk takes writes again");
        }
        for command in batch {
            match command {
                Command::Settle { .. } => self.held.push(command),
                other => other.refuse(&error),
            }
        }
    }

    /// Refuses what is left, now and later.
    fn stop(mut self, error: StoreError, batch: Vec<Command>) {
        self.shared.trouble.send_replace(Some(error.clone()));
        for command in batch.into_iter().chain(self.held.drain(..)).chain(self.commands.try_iter()) {
            command.refuse(&error);
        }
    }
}

impl Drop for Writer {
    /// However the thread ends, also by a panic, the host hears that the store has stopped.
    fn drop(&mut self) {
        self.shared.trouble.send_if_modified(|trouble| {
            let silent = !matches!(trouble, Some(StoreError::Stopped(_)));
            if silent {
                *trouble = Some(StoreError::Stopped("the writer's thread has ended".to_owned()));
            }
            silent
        });
    }
}

fn transact(work: &mut Batch<'_>, batch: &mut [Command], fault: Option<Fault>) -> Result<Vec<Answer>, rusqlite::Error> {
    work.connection.execute_batch("BEGIN IMMEDIATE")?;
    if batch.is_empty() {
        work.connection.execute_batch("UPDATE swept SET dedupe_up_to = dedupe_up_to")?;
    }
    let mut answers = Vec::with_capacity(batch.len());
    for command in batch.iter_mut() {
        answers.push(command.run(work)?);
    }
    work.move_keys()?;
    work.delta.write(work.connection)?;
    match fault.or_else(|| fail::point("store.before_commit")) {
        Some(Fault::Io) => return Err(injected(rusqlite::ffi::SQLITE_IOERR_FSYNC)),
        Some(Fault::Full) => return Err(injected(rusqlite::ffi::SQLITE_FULL)),
        None => {}
    }
    work.connection.execute_batch("COMMIT")?;
    Ok(answers)
}

/// An error that a test asked for.
pub(super) fn injected(code: i32) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), Some("injected".to_owned()))
}

impl Command {
    fn run(&mut self, work: &mut Batch<'_>) -> Result<Answer, rusqlite::Error> {
        Ok(match self {
            Self::Append { event, .. } => Answer::Appended(work.append(event)?),
            Self::Lease { lane, places, reply } => Answer::Leased(match places.take().filter(|_| !reply.is_closed()) {
                Some(places) => work.lease(lane, places)?,
                None => Leased { leases: Vec::new(), next_due_ms: None },
            }),
            Self::Settle { lease, settlement, .. } => Answer::Settled(work.settle(lease, settlement)?),
            Self::Retry { delivery, .. } => Answer::Retried(work.retry(*delivery)?),
            Self::RetryAll { found, .. } => Answer::Retried(Ok(work.retry_all(found)?)),
            Self::Replay { event, plugins, .. } => Answer::Replayed(work.replay(*event, plugins)?),
            Self::Sweep { keep, .. } => Answer::Swept(work.sweep(keep)?),
            Self::Close { .. } => {
                work.release()?;
                Answer::Closed
            }
        })
    }

    /// Bytes of bodies and values, which is what a batch is bounded by.
    fn bytes(&self) -> usize {
        match self {
            Self::Append { event, .. } => event.attributes.body.len(),
            Self::Settle { settlement, .. } => match &settlement.next {
                Next::Done { emitted, kv } => {
                    let bodies = emitted.iter().map(|event| event.attributes.body.len());
                    let values = kv.writes.iter().filter_map(|(_, value)| value.as_ref().map(Vec::len));
                    bodies.chain(values).sum()
                }
                _ => 0,
            },
            _ => 0,
        }
    }

    /// Answers a durable command. A caller that has gone is nobody's loss, but the leases it asked for are handed back.
    fn answer(self, answer: Answer) -> Vec<Lease> {
        match (self, answer) {
            (Self::Append { reply, waiting, .. }, Answer::Appended(value)) => {
                drop(waiting);
                let _ = reply.send(Ok(value));
            }
            (Self::Lease { reply, .. }, Answer::Leased(value)) => {
                if let Err(Ok(stranded)) = reply.send(Ok(value)) {
                    return stranded.leases;
                }
            }
            (Self::Settle { reply, .. }, Answer::Settled(value)) => drop(reply.send(Ok(value))),
            (Self::Retry { reply, .. } | Self::RetryAll { reply, .. }, Answer::Retried(value)) => {
                drop(reply.send(value));
            }
            (Self::Replay { reply, .. }, Answer::Replayed(value)) => drop(reply.send(value)),
            (Self::Sweep { reply, .. }, Answer::Swept(value)) => drop(reply.send(Ok(value))),
            (Self::Close { reply }, Answer::Closed) => drop(reply.send(Ok(()))),
            _ => unreachable!("a command is answered in kind"),
        }
        Vec::new()
    }

    fn refuse(self, error: &StoreError) {
        let error = error.clone();
        match self {
            Self::Append { reply, waiting, .. } => {
                drop(waiting);
                drop(reply.send(Err(error)));
            }
            Self::Lease { reply, .. } => drop(reply.send(Err(error))),
            Self::Settle { reply, .. } => drop(reply.send(Err(error))),
            Self::Retry { reply, .. } | Self::RetryAll { reply, .. } => drop(reply.send(Err(error))),
            Self::Replay { reply, .. } => drop(reply.send(Err(error))),
            Self::Sweep { reply, .. } => drop(reply.send(Err(error))),
            Self::Close { reply } => drop(reply.send(Err(error))),
        }
    }
}

/// Gives a lease back that nobody took.
pub(super) fn give_back(lease: Lease, now_ms: i64) -> Command {
    let settlement = Box::new(Settlement { next: Next::GiveBack(now_ms), record: None });
    Command::Settle { lease: Box::new(lease), settlement, reply: oneshot::channel().0 }
}
