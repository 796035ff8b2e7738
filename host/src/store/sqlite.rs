//! SQLite behind the [`Store`]: one file, one host, one writing thread.
//!
//! `batch`, `lease`, `settle`, `change` and `operator` hold the writing verbs, `dedupe` and
//! `recent` the keys by which appends are recognised, `writer` the thread that groups all this into
//! commits. `read` and `pages` hold the questions and `readers` their connections, `schema` the
//! file, `open` how it is opened. A call becomes a command to the writer and waits for its answer.
//! The queue is bounded because appends take a permit, leases and settlements need permits of the
//! lease budget, and operators are few.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

pub use self::approvals::peek as peek_approvals;
pub use self::backup::{BackedUp, backup};
use self::command::{ReplyTo, WriteCommand};
use self::commit_mark::CommitMark;
pub(in crate::store) use self::copy::{CopySource, undamaged};
use self::counts::LiveCounts;
pub use self::error::OpenError;
use self::lease_answer::LeaseAnswer;
use self::limits::LimitWork;
pub use self::loss::OnLoss;
pub use self::open::SqliteOptions;
use self::operator::Expired;
use self::published::Published;
use self::readers::Readers;
pub use self::recover::Recovered;
use super::append_limit::AppendLimit;
use super::journal::InFlightJournal;
use super::operations::UnreadableLog;
use super::{
    Action, Appended, ApprovalChange, AuditNote, Changed, DeliveryFilter, DispatchHandle, Erased,
    Erasure, Health, InFlight, Keep, KeyChange, Lease, LeaseHolder, LeaseQueue, Leased, MaybeReady,
    NewStep, Operate, PauseChange, Pending, Preview, Progress, Queue, Recorded, Settled,
    Settlement, StoreError, StoreSpace, Which,
};
use crate::clock::{Clock, ClockChange};
use crate::event::{DeliveryId, EventId, NewEvent, PluginName, Target};
use crate::tasks;

mod append;
mod approvals;
mod audit;
mod backup;
mod batch;
mod bulk;
mod cancel;
mod change;
mod command;
mod commit_mark;
mod copy;
mod counts;
mod deaths;
mod dedupe;
mod due;
mod edits;
mod eras;
mod erase;
mod error;
mod failure;
mod failures;
mod file_watch;
mod files;
mod gather;
mod gathered;
mod groups;
mod history;
mod in_tree;
mod keys;
mod kv;
#[cfg(test)]
mod laws;
mod lease;
mod lease_answer;
mod limits;
mod loss;
mod open;
mod operation_work;
mod operations;
mod operator;
mod pages;
mod pauses;
mod payloads;
mod peek;
#[cfg(test)]
mod plans;
mod positions;
mod published;
mod queue;
mod read;
mod readers;
mod reading;
mod recent;
mod recover;
mod rows;
mod schedules;
mod schema;
mod search;
mod settle;
mod space;
mod start;
mod steps;
mod sum;
mod tables;
mod time;
mod tree;
mod tree_view;
mod writer;

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
    unreadable: UnreadableLog,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Sqlite {
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
    fn ask<T: Send + 'static>(
        &self,
        command: impl FnOnce(ReplyTo<T>) -> WriteCommand,
    ) -> Pending<'_, T> {
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
        let permit = match self.waiting.take(&event.attributes.source, 1) {
            Ok(permit) => permit,
            Err(waiting) => return Box::pin(async move { Err(StoreError::Saturated { waiting }) }),
        };
        let event = Box::new(event);
        self.ask(|reply| WriteCommand::Append { event, reply, permit })
    }

    fn append_all(&self, events: Vec<NewEvent>) -> Pending<'_, Vec<Appended>> {
        let Some(first) = events.first() else { return Box::pin(async { Ok(Vec::new()) }) };
        if let Some(reason) = &*self.published.full.load() {
            let full = StoreError::Full(reason.to_string());
            return Box::pin(async move { Err(full) });
        }
        let permit = match self.waiting.take(&first.attributes.source, events.len()) {
            Ok(permit) => permit,
            Err(waiting) => return Box::pin(async move { Err(StoreError::Saturated { waiting }) }),
        };
        self.ask(|reply| WriteCommand::AppendAll { events, reply, permit })
    }

    fn has_legacy_keys(&self) -> bool {
        self.legacy_keys.load(Ordering::Relaxed)
    }

    fn lease(&self, queue: LeaseQueue, permits: OwnedSemaphorePermit) -> Pending<'_, Leased> {
        let (reply, answer) = oneshot::channel();
        let answer = LeaseAnswer { store: self, answer };
        self.send(WriteCommand::Lease {
            queue,
            permits: Some(permits),
            asked_ms: self.clock.host_ms(),
            reply,
        });
        Box::pin(answer.leased())
    }

    fn begin(&self, lease: &Lease) -> MaybeReady<'_, InFlight> {
        let noted = self.journal.note(lease.delivery, lease.attempt);
        MaybeReady::ready(noted.map_err(|error| {
            StoreError::Unavailable(format!("the attempt cannot be noted as running: {error}"))
        }))
    }

    fn record(&self, holder: &LeaseHolder, step: NewStep) -> Pending<'_, Recorded> {
        let work = Box::new((holder.clone(), step));
        self.ask(|reply| WriteCommand::Record { work, reply })
    }

    fn settle(&self, lease: Lease, settlement: Settlement) -> Pending<'_, Settled> {
        let (lease, settlement) = (Box::new(lease), Box::new(settlement));
        self.ask(|reply| WriteCommand::Settle { lease, settlement, reply })
    }

    fn set_time_limits(&self, limits: Vec<(PluginName, Duration)>) -> Pending<'_, u64> {
        Box::pin(async move {
            let step = |work| self.ask(|reply| WriteCommand::Limit { work, reply });
            let mut moved = 0;
            for mut walk in step(LimitWork::Set(limits)).await? {
                while !walk.is_over()
                    && let Some(next) = step(LimitWork::Move(walk.clone())).await?.pop()
                {
                    walk = next;
                }
                moved += walk.moved();
            }
            Ok(moved)
        })
    }
}

impl Operate for Sqlite {
    fn change(
        &self,
        note: Option<AuditNote>,
        action: Action,
        which: Which,
    ) -> Pending<'_, Changed> {
        match which {
            Which::One(delivery) => {
                let change = |reply| WriteCommand::Change { action, delivery, reply };
                let changed = self.ask(|reply| noted(note, change(reply)));
                Box::pin(async move { Ok(Changed { deliveries: changed.await?, next: None }) })
            }
            Which::Matching { filter, from } => {
                Box::pin(self.change_some(note, action, filter, from))
            }
            Which::Tree { event, from } => Box::pin(self.change_tree(note, action, event, from)),
        }
    }

    fn preview(
        &self,
        action: Action,
        filter: DeliveryFilter,
        from: Option<Progress>,
    ) -> Pending<'_, Preview> {
        Box::pin(self.preview_some(action, filter, from))
    }

    fn replay(
        &self,
        note: Option<AuditNote>,
        event: EventId,
        targets: Vec<Arc<Target>>,
    ) -> Pending<'_, Vec<DeliveryId>> {
        self.ask(|reply| noted(note, WriteCommand::Replay { event, targets, reply }))
    }

    fn make(&self, note: Option<AuditNote>, event: NewEvent) -> Pending<'_, Appended> {
        if let Some(reason) = &*self.published.full.load() {
            let full = StoreError::Full(reason.to_string());
            return Box::pin(async move { Err(full) });
        }
        let event = Box::new(event);
        self.ask(|reply| noted(note, WriteCommand::Make { event, reply }))
    }

    fn change_key(&self, note: Option<AuditNote>, change: KeyChange) -> Pending<'_, Option<i64>> {
        let (change, sets) = (Box::new(change.clone()), change.value.is_some());
        let changed = self.ask(|reply| noted(note, WriteCommand::ChangeKey { change, reply }));
        Box::pin(async move {
            let version = changed.await?;
            Ok(if sets { i64::try_from(version).ok() } else { None })
        })
    }

    fn approve(&self, note: Option<AuditNote>, change: ApprovalChange) -> Pending<'_, ()> {
        self.ask(|reply| noted(note, WriteCommand::Approve { change, reply }))
    }

    fn pause(&self, note: Option<AuditNote>, change: PauseChange) -> Pending<'_, bool> {
        let changed = self.ask(|reply| noted(note, WriteCommand::Pause { change, reply }));
        Box::pin(async move { Ok(changed.await? > 0) })
    }

    fn erase(&self, note: Option<AuditNote>, erasure: Erasure, keys: bool) -> Pending<'_, Erased> {
        Box::pin(self.erase_some(note, erasure, keys))
    }

    fn sweep(&self, keep: Keep) -> Pending<'_, bool> {
        let before_ms = |time: Duration| {
            self.clock
                .deletion_ms()
                .saturating_sub(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
        };
        let expired = Expired {
            events_before_ms: before_ms(keep.events),
            payloads_before_ms: before_ms(keep.payloads),
            keys_before_ms: before_ms(keep.dedupe_keys),
            audit_before_ms: before_ms(keep.audit),
            now_ms: self.clock.host_ms().min(self.clock.deletion_ms()),
        };
        self.ask(|reply| WriteCommand::Sweep { expired, reply })
    }

    fn note_time(&self) -> Pending<'_, ()> {
        self.ask(|reply| WriteCommand::NoteTime { reply })
    }
}

/// The command, with an entry in the audit log if it has a note.
fn noted(note: Option<AuditNote>, command: WriteCommand) -> WriteCommand {
    match note {
        None => command,
        Some(note) => WriteCommand::Noted { note: Box::new(note), command: Box::new(command) },
    }
}

impl Health for Sqlite {
    fn trouble(&self) -> Option<StoreError> {
        let full = || {
            self.published.full.load().as_ref().map(|reason| StoreError::Full(reason.to_string()))
        };
        self.published.trouble.borrow().clone().or_else(full)
    }

    fn warnings(&self) -> Vec<String> {
        self.journal.trouble().into_iter().chain(self.mark.trouble()).collect()
    }

    fn space(&self) -> Pending<'_, Option<StoreSpace>> {
        let path = self.readers.path().to_owned();
        Box::pin(async move { Ok(tasks::blocking(move || space::taken(&path)).await) })
    }

    fn stopped(&self) -> Pending<'_, ()> {
        let mut trouble = self.published.trouble.subscribe();
        Box::pin(async move {
            // An error means the store itself is gone, and so it has stopped.
            let _ =
                trouble.wait_for(|trouble| matches!(trouble, Some(StoreError::Stopped(_)))).await;
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
