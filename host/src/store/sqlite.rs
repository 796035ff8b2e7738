//! SQLite behind the [`Store`]: one file, one host, one writing thread.
//!
//! `batch`, `lease`, `settle`, `change` and `operator` hold the writing verbs, `dedupe` and
//! `recent` the keys by which appends are recognised, `writer` the thread that groups all this into
//! commits. `read` and `pages` hold the questions and `readers` their connections, `schema` the
//! file, `inflight` the journal of running attempts. A call becomes a command to the writer and
//! waits for its answer. The queue is bounded because appends take a permit, leases and settlements
//! need permits of the lease budget, and operators are few.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use self::append_limit::AppendLimit;
pub use self::approvals::peek as peek_approvals;
use self::command::{ReplyTo, WriteCommand};
use self::commit_mark::CommitMark;
use self::counts::LiveCounts;
pub use self::error::OpenError;
use self::file_watch::FileWatch;
use self::inflight::InFlightJournal;
use self::lease_answer::LeaseAnswer;
pub use self::loss::OnLoss;
use self::operator::Expired;
use self::published::Published;
use self::queue::Queues;
use self::readers::{KV_READERS, READERS, Readers};
use self::recent::{FLUSH_EVENTS, Recent};
pub use self::recover::Recovered;
use self::space::Space;
use self::writer::Writer;
use super::{
    Action, Appended, ApprovalChange, Changed, DeliveryFilter, DispatchHandle, Health, InFlight, Keep, Lease,
    LeaseQueue, Leased, MaybeReady, Operate, Pending, Preview, Progress, Queue, Settled, Settlement, StoreError,
    TreeBudget, Which,
};
use crate::clock::{Clock, ClockChange};
use crate::event::{DeliveryId, EventId, NewEvent, Target};
use crate::tasks;

mod append_limit;
mod approvals;
mod batch;
mod bulk;
mod change;
mod command;
mod commit_mark;
mod counts;
mod dedupe;
mod eras;
mod error;
mod failure;
mod file_watch;
mod files;
mod inflight;
#[cfg(test)]
mod laws;
mod lease;
mod lease_answer;
mod loss;
mod operator;
mod pages;
#[cfg(test)]
mod plans;
mod published;
mod queue;
mod read;
mod readers;
mod reading;
mod recent;
mod recover;
mod rows;
mod schema;
mod search;
mod settle;
mod side_file;
mod space;
mod start;
mod sum;
mod time;
mod tree;
mod writer;

/// Appends that wait for the disk at once, of all sources; one source alone may have half of them.
const MAX_WAITING_APPENDS: usize = 8_192;

/// The usual time in which a commit begins settlements and leases.
const LONGEST_WORK: Duration = Duration::from_millis(4);

/// How the store is opened.
#[derive(Debug)]
pub struct SqliteOptions {
    /// The database file; its folder is made if it is not there.
    pub path: PathBuf,
    /// The most appends that wait for the disk, of all sources; one beyond its source's share is
    /// refused with [`StoreError::Saturated`].
    pub max_waiting_appends: usize,
    /// The most that may descend from one webhook's event.
    pub tree: TreeBudget,
    /// The most the database and its log may take, in bytes, before new events are refused; without
    /// it a tenth of the disk, or a GiB, is left free.
    pub max_bytes: Option<u64>,
    /// The time in which a commit with few appends begins settlements and leases. An append that
    /// comes meanwhile waits for it.
    pub longest_work: Duration,
    /// The reaction to a store that has lost something since it was open last.
    pub on_loss: OnLoss,
    /// Tells the time.
    pub clock: Clock,
}

impl SqliteOptions {
    /// The usual bounds for the file at `path`.
    pub fn at(path: PathBuf, clock: Clock) -> Self {
        Self {
            path,
            max_waiting_appends: MAX_WAITING_APPENDS,
            tree: TreeBudget::default(),
            max_bytes: None,
            longest_work: LONGEST_WORK,
            on_loss: OnLoss::default(),
            clock,
        }
    }
}

/// The store of a single host.
#[derive(Debug)]
pub struct Sqlite {
    commands: Mutex<Sender<WriteCommand>>,
    published: Arc<Published>,
    readers: Readers,
    listings: Readers,
    kv_readers: Readers,
    clock: Clock,
    waiting: Arc<AppendLimit>,
    recovered: Recovered,
    clock_changes: Vec<ClockChange>,
    /// See [`Queue::has_legacy_keys`].
    legacy_keys: Arc<AtomicBool>,
    journal: Arc<InFlightJournal>,
    mark: Arc<CommitMark>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Sqlite {
    /// Opens the file, recovers the leases of a killed host, and starts the writer.
    pub fn open(options: SqliteOptions) -> Result<Self, OpenError> {
        Self::open_with_flushes(options, FLUSH_EVENTS)
    }

    fn open_with_flushes(options: SqliteOptions, flush_events: u64) -> Result<Self, OpenError> {
        let SqliteOptions { path, max_waiting_appends, tree, max_bytes, longest_work, on_loss, clock } = options;
        let (lock, path) = files::lock(&path)?;
        let failed = |source| OpenError::Sqlite { path: path.clone(), source };
        let (connection, before) = loss::open(&path, on_loss)?;
        // Through a connection of its own, with a small cache: what is read here is not wanted
        // again.
        let recent = Recent::load(&schema::open_reader(&path).map_err(failed)?, flush_events).map_err(failed)?;
        let last_id = start::last_id(&connection, &recent).map_err(failed)?;
        // An id is given out once, also if its event was lost.
        let last_id = last_id.max(before.map_or(last_id, |before| before.event));
        let mut counts = LiveCounts::read(&connection).map_err(failed)?;
        let journal_path = files::beside(&path, "-running");
        let failed_io = |source| OpenError::Io { path: journal_path.clone(), source };
        let (journal, left) = InFlightJournal::open(&journal_path).map_err(failed_io)?;
        let (eras, clock_changes) = time::begin(&connection, &clock, last_id).map_err(failed)?;
        let (recovered, delta) = start::recover(&connection, &clock, last_id, &recent, &left).map_err(failed)?;
        counts.add(&delta);
        // Only now: until here a killed start leaves the next one as much as it found.
        journal.begin().map_err(failed_io)?;
        let mark_path = files::beside(&path, "-committed");
        let last = loss::last(&connection).map_err(failed)?;
        let mark = CommitMark::begin(&mark_path, last).map_err(|source| OpenError::Io { path: mark_path, source })?;
        let mark = Arc::new(mark);
        let watch = FileWatch::begin(&path, &lock).map_err(|source| OpenError::Io { path: path.clone(), source })?;
        let eras = ArcSwap::from_pointee(eras);
        let published = Arc::new(Published { counts: Mutex::new(counts), eras, ..Published::default() });
        let (commands, receiver) = channel();
        let writer = Writer {
            connection,
            commands: receiver,
            published,
            noted_ms: clock.host_ms(),
            clock,
            last_id,
            last_event: last.event,
            recent,
            queues: Queues::default(),
            postponed: false,
            longest_work,
            tree,
            space: Space::new(&path, max_bytes),
            watch,
            mark,
            _lock: lock,
        };
        let waiting = AppendLimit::new(max_waiting_appends);
        Self::run(writer, commands, path, waiting, Arc::new(journal), (recovered, clock_changes))
    }

    /// Starts the writer's thread.
    fn run(
        writer: Writer,
        commands: Sender<WriteCommand>,
        path: PathBuf,
        waiting: Arc<AppendLimit>,
        journal: Arc<InFlightJournal>,
        (recovered, clock_changes): (Recovered, Vec<ClockChange>),
    ) -> Result<Self, OpenError> {
        let (published, clock, mark) = (writer.published.clone(), writer.clock.clone(), writer.mark.clone());
        let legacy_keys = writer.recent.legacy_flag();
        let thread = tasks::thread("hookbox-store", move || writer.run())
            .map_err(|source| OpenError::Io { path: path.clone(), source })?;
        Ok(Self {
            commands: Mutex::new(commands),
            readers: Readers::new(path.clone(), published.clone(), READERS),
            listings: Readers::paced(path.clone(), published.clone()),
            kv_readers: Readers::new(path, published.clone(), KV_READERS),
            published,
            clock,
            waiting,
            recovered,
            clock_changes,
            legacy_keys,
            journal,
            mark,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// The leases that a killed host had left when this store was opened.
    pub fn recovered(&self) -> Recovered {
        self.recovered
    }

    /// The changes of the clock that were noticed when this store was opened.
    pub fn clock_changes(&self) -> &[ClockChange] {
        &self.clock_changes
    }

    fn counts(&self) -> MutexGuard<'_, LiveCounts> {
        self.published.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a command now, and returns what waits for its answer.
    fn ask<T: Send + 'static>(&self, command: impl FnOnce(ReplyTo<T>) -> WriteCommand) -> Pending<'_, T> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply));
        Box::pin(async move { answer.await.unwrap_or_else(|_| Err(self.gone())) })
    }

    /// A writer that is gone drops the command, and with it the reply.
    fn send(&self, command: WriteCommand) {
        let _ = self.commands.lock().unwrap_or_else(PoisonError::into_inner).send(command);
    }

    fn gone(&self) -> StoreError {
        let trouble = self.published.trouble.borrow().clone();
        trouble.unwrap_or_else(|| StoreError::Stopped("the writer is gone".to_owned()))
    }
}

impl Queue for Sqlite {
    fn attach(&self, dispatch: Arc<dyn DispatchHandle>) {
        // A second dispatcher would be a second owner of the same leases.
        assert!(self.published.dispatch.set(dispatch).is_ok(), "a dispatcher is attached once");
    }

    fn append(&self, event: NewEvent) -> Pending<'_, Appended> {
        if let Some(reason) = &*self.published.full.load() {
            let full = StoreError::Full(reason.to_string());
            return Box::pin(async move { Err(full) });
        }
        let permit = match self.waiting.take(&event.attributes.source) {
            Ok(permit) => permit,
            Err(waiting) => return Box::pin(async move { Err(StoreError::Saturated { waiting }) }),
        };
        let event = Box::new(event);
        self.ask(|reply| WriteCommand::Append { event, reply, permit })
    }

    fn has_legacy_keys(&self) -> bool {
        self.legacy_keys.load(Ordering::Relaxed)
    }

    fn lease(&self, queue: LeaseQueue, permits: OwnedSemaphorePermit) -> Pending<'_, Leased> {
        let (reply, answer) = oneshot::channel();
        let answer = LeaseAnswer { store: self, answer };
        self.send(WriteCommand::Lease { queue, permits: Some(permits), asked_ms: self.clock.host_ms(), reply });
        Box::pin(answer.leased())
    }

    fn begin(&self, lease: &Lease) -> MaybeReady<'_, InFlight> {
        let noted = self.journal.note(lease.delivery, lease.attempt);
        MaybeReady::ready(
            noted.map_err(|error| StoreError::Unavailable(format!("the attempt cannot be noted as running: {error}"))),
        )
    }

    fn settle(&self, lease: Lease, settlement: Settlement) -> Pending<'_, Settled> {
        let (lease, settlement) = (Box::new(lease), Box::new(settlement));
        self.ask(|reply| WriteCommand::Settle { lease, settlement, reply })
    }
}

impl Operate for Sqlite {
    fn change(&self, action: Action, which: Which) -> Pending<'_, Changed> {
        match which {
            Which::One(delivery) => {
                let changed = self.ask(|reply| WriteCommand::Change { action, delivery, reply });
                Box::pin(async move { Ok(Changed { deliveries: changed.await?, next: None }) })
            }
            Which::Matching { filter, from } => Box::pin(self.change_some(action, filter, from)),
        }
    }

    fn preview(&self, action: Action, filter: DeliveryFilter, from: Option<Progress>) -> Pending<'_, Preview> {
        Box::pin(self.preview_some(action, filter, from))
    }

    fn replay(&self, event: EventId, targets: Vec<Arc<Target>>) -> Pending<'_, Vec<DeliveryId>> {
        self.ask(|reply| WriteCommand::Replay { event, targets, reply })
    }

    fn approve(&self, change: ApprovalChange) -> Pending<'_, ()> {
        self.ask(|reply| WriteCommand::Approve { change, reply })
    }

    fn sweep(&self, keep: Keep) -> Pending<'_, bool> {
        let before_ms = |time: Duration| {
            self.clock.deletion_ms().saturating_sub(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
        };
        let expired = Expired { events_before_ms: before_ms(keep.events), keys_before_ms: before_ms(keep.dedupe_keys) };
        self.ask(|reply| WriteCommand::Sweep { expired, reply })
    }

    fn note_time(&self) -> Pending<'_, ()> {
        self.ask(|reply| WriteCommand::NoteTime { reply })
    }
}

impl Health for Sqlite {
    fn trouble(&self) -> Option<StoreError> {
        let full = || self.published.full.load().as_ref().map(|reason| StoreError::Full(reason.to_string()));
        self.published.trouble.borrow().clone().or_else(full)
    }

    fn warnings(&self) -> Vec<String> {
        self.journal.trouble().into_iter().chain(self.mark.trouble()).collect()
    }

    fn stopped(&self) -> Pending<'_, ()> {
        let mut trouble = self.published.trouble.subscribe();
        Box::pin(async move {
            // An error means the store itself is gone, and so it has stopped.
            let _ = trouble.wait_for(|trouble| matches!(trouble, Some(StoreError::Stopped(_)))).await;
            Ok(())
        })
    }

    fn close(&self) -> Pending<'_, ()> {
        // First, so that the writer closes last and leaves no WAL behind.
        self.readers.close();
        self.listings.close();
        self.kv_readers.close();
        let closed = self.ask(|reply| WriteCommand::Close { reply });
        Box::pin(async move {
            let closed = closed.await;
            let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(thread) = thread {
                // The thread has answered and only closes its connection; it never panics on
                // purpose.
                let _ = tasks::blocking(move || thread.join()).await;
            }
            closed
        })
    }
}
