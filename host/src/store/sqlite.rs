//! SQLite behind the [`Store`]: one file, one host, one writing thread.
//!
//! `batch`, `lease`, `settle` and `operator` hold the writing verbs, `dedupe` the keys that appends are recognised by,
//! `writer` the thread that groups all this into commits, `read` and `pages` the questions and `readers` their connections, `schema` the file. A call becomes a command to the writer and waits for its answer;
//! the queue is bounded because appends take a permit, leases and settlements need places, and operators are few.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use self::asked::Asked;
use self::command::{Command, Reply};
use self::counts::Counts;
use self::dedupe::{ROUND_EVENTS, Recent};
pub use self::loss::OnLoss;
use self::mark::Mark;
use self::queue::Queues;
use self::readers::{KV_READERS, READERS, Readers};
pub use self::schema::OpenError;
use self::shared::{DeskSlot, Shared};
use self::space::Space;
use self::vigil::Vigil;
use self::waiting::Waiting;
use self::writer::Writer;
use super::running::Notes;
use super::{
    Action, Appended, Changed, Cursor, DeliveryFilter, DeliveryView, Desk, EventFilter, EventSummary, EventView, Keep,
    KvValue, Lane, Lease, Leased, Page, Pending, Preview, Progress, Running, Settled, Settlement, Stats, Store,
    StoreError, TreeBudget, Which,
};
use crate::clock::{Clock, News};
use crate::event::{DeliveryId, EventId, NewEvent, PluginName};
use crate::tasks;

mod asked;
mod batch;
mod bulk;
mod change;
mod command;
mod counts;
mod dedupe;
mod failure;
mod files;
#[cfg(test)]
mod laws;
mod lease;
mod loss;
mod mark;
mod operator;
mod pages;
#[cfg(test)]
mod plans;
mod queue;
mod read;
mod readers;
mod schema;
mod search;
mod settle;
mod shared;
mod space;
mod start;
mod sum;
mod time;
mod tree;
mod vigil;
mod waiting;
mod writer;

/// Appends that wait for the disk at once, of all sources; one source alone may have half of them.
const MAX_WAITING_APPENDS: usize = 8_192;

/// The usual time for which a commit takes up settlements and leases.
const LONGEST_WORK: Duration = Duration::from_millis(4);

/// How the store is opened.
#[derive(Debug)]
pub struct SqliteOptions {
    /// The database file; its folder is made if it is not there.
    pub path: PathBuf,
    /// The most appends that wait for the disk, of all sources; one beyond its source's share is refused with
    /// [`StoreError::Saturated`].
    pub max_waiting_appends: usize,
    /// What one event from outside may lead to.
    pub tree: TreeBudget,
    /// The most the database and its log may take, in bytes, before new events are refused; without it a tenth of the
    /// disk, or a GiB, is left free.
    pub max_bytes: Option<u64>,
    /// How long a commit that appends little takes up settlements and leases: an append that comes meanwhile waits for it.
    pub longest_work: Duration,
    /// What is done about a store that has lost something since it was open last.
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

/// What a killed host had left when the store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Deliveries that it held.
    pub held: usize,
    /// Those of them that it was running.
    pub running: usize,
}

/// The store of a single host.
#[derive(Debug)]
pub struct Sqlite {
    commands: Mutex<Sender<Command>>,
    shared: Arc<Shared>,
    readers: Readers,
    listings: Readers,
    kv_readers: Readers,
    clock: Clock,
    waiting: Arc<Waiting>,
    recovered: Recovered,
    news: Vec<News>,
    /// See [`Store::has_legacy_keys`].
    legacy_keys: Arc<AtomicBool>,
    notes: Arc<Notes>,
    mark: Arc<Mark>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Sqlite {
    /// Opens the file, takes up what a killed host left, and starts the writer.
    pub fn open(options: SqliteOptions) -> Result<Self, OpenError> {
        Self::open_with_round(options, ROUND_EVENTS)
    }

    fn open_with_round(options: SqliteOptions, round_events: u64) -> Result<Self, OpenError> {
        let SqliteOptions { path, max_waiting_appends, tree, max_bytes, longest_work, on_loss, clock } = options;
        let (lock, path) = files::lock(&path)?;
        let failed = |source| OpenError::Sqlite { path: path.clone(), source };
        let (connection, before) = loss::open(&path, on_loss)?;
        // Through a connection of its own, with a small cache: what is read here is not wanted again.
        let recent = Recent::load(&schema::open_reader(&path).map_err(failed)?, round_events).map_err(failed)?;
        let last_id = start::last_id(&connection, &recent).map_err(failed)?;
        // An id is given out once, also if its event was lost.
        let last_id = last_id.max(before.map_or(last_id, |before| before.event));
        let mut counts = Counts::read(&connection).map_err(failed)?;
        let notes_path = files::beside(&path, "-running");
        let failed_io = |source| OpenError::Io { path: notes_path.clone(), source };
        let (notes, left) = Notes::open(&notes_path).map_err(failed_io)?;
        let (eras, news) = time::begin(&connection, &clock, last_id).map_err(failed)?;
        let (recovered, delta) = start::recover(&connection, &clock, last_id, &recent, &left).map_err(failed)?;
        counts.add(&delta);
        // Only now: until here a killed start leaves the next one as much as it found.
        notes.begin().map_err(failed_io)?;
        let mark_path = files::beside(&path, "-committed");
        let last = loss::last(&connection).map_err(failed)?;
        let mark = Mark::begin(&mark_path, last).map_err(|source| OpenError::Io { path: mark_path, source })?;
        let mark = Arc::new(mark);
        let vigil = Vigil::begin(&path, &lock).map_err(|source| OpenError::Io { path: path.clone(), source })?;
        let eras = ArcSwap::from_pointee(eras);
        let shared = Arc::new(Shared { counts: Mutex::new(counts), eras, ..Shared::default() });
        let legacy_keys = recent.has_legacy();
        let (commands, receiver) = channel();
        let writer = Writer {
            connection,
            commands: receiver,
            shared: shared.clone(),
            noted_ms: clock.host_ms(),
            clock: clock.clone(),
            last_id,
            last_event: last.event,
            recent,
            queues: Queues::default(),
            postponed: false,
            longest_work,
            tree,
            space: Space::new(&path, max_bytes),
            vigil,
            mark: mark.clone(),
            _lock: lock,
        };
        let thread = tasks::thread("hookbox-store", move || writer.run())
            .map_err(|source| OpenError::Io { path: path.clone(), source })?;
        Ok(Self {
            commands: Mutex::new(commands),
            readers: Readers::new(path.clone(), shared.clone(), READERS),
            listings: Readers::paced(path.clone(), shared.clone()),
            kv_readers: Readers::new(path, shared.clone(), KV_READERS),
            shared,
            clock,
            waiting: Waiting::new(max_waiting_appends),
            recovered,
            news,
            legacy_keys,
            notes: Arc::new(notes),
            mark,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// What a killed host had left when this store was opened.
    pub fn recovered(&self) -> Recovered {
        self.recovered
    }

    /// What was noticed of the clock when this store was opened.
    pub fn clock_news(&self) -> &[News] {
        &self.news
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a command now, and returns what waits for its answer.
    fn ask<T: Send + 'static>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Pending<'_, T> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply));
        Box::pin(async move { answer.await.unwrap_or_else(|_| Err(self.gone())) })
    }

    /// A writer that is gone drops the command, and with it the reply.
    fn send(&self, command: Command) {
        let _ = self.commands.lock().unwrap_or_else(PoisonError::into_inner).send(command);
    }

    fn gone(&self) -> StoreError {
        let trouble = self.shared.trouble.borrow().clone();
        trouble.unwrap_or_else(|| StoreError::Stopped("the writer is gone".to_owned()))
    }
}

impl Store for Sqlite {
    fn attach(&self, desk: Arc<dyn Desk>) {
        // A second dispatcher would be a second owner of the same leases.
        assert!(self.shared.desk.set(DeskSlot(desk)).is_ok(), "a dispatcher is attached once");
    }

    fn append(&self, event: NewEvent) -> Pending<'_, Appended> {
        if let Some(reason) = &*self.shared.full.load() {
            let full = StoreError::Full(reason.to_string());
            return Box::pin(async move { Err(full) });
        }
        let place = match self.waiting.take(&event.attributes.source) {
            Ok(place) => place,
            Err(waiting) => return Box::pin(async move { Err(StoreError::Saturated { waiting }) }),
        };
        let event = Box::new(event);
        self.ask(|reply| Command::Append { event, reply, place })
    }

    fn lease(&self, lane: Lane, places: OwnedSemaphorePermit) -> Pending<'_, Leased> {
        let (reply, answer) = oneshot::channel();
        let asked = Asked { store: self, answer };
        self.send(Command::Lease { lane, places: Some(places), reply });
        Box::pin(asked.leased())
    }

    fn running(&self, lease: &Lease) -> Result<Running, StoreError> {
        let noted = self.notes.note(lease.delivery, lease.attempt);
        noted.map_err(|error| StoreError::Unavailable(format!("the attempt cannot be noted as running: {error}")))
    }

    fn settle(&self, lease: Lease, settlement: Settlement) -> Pending<'_, Settled> {
        let (lease, settlement) = (Box::new(lease), Box::new(settlement));
        self.ask(|reply| Command::Settle { lease, settlement, reply })
    }

    fn change(&self, action: Action, which: Which) -> Pending<'_, Changed> {
        match which {
            Which::One(delivery) => {
                let changed = self.ask(|reply| Command::Change { action, delivery, reply });
                Box::pin(async move { Ok(Changed { deliveries: changed.await?, next: None }) })
            }
            Which::Matching { filter, from } => Box::pin(self.change_some(action, filter, from)),
        }
    }

    fn preview(&self, action: Action, filter: DeliveryFilter, from: Option<Progress>) -> Pending<'_, Preview> {
        Box::pin(self.preview_some(action, filter, from))
    }

    fn replay(&self, event: EventId, plugins: Vec<PluginName>) -> Pending<'_, Vec<DeliveryId>> {
        self.ask(|reply| Command::Replay { event, plugins, reply })
    }

    fn sweep(&self, keep: Keep) -> Pending<'_, bool> {
        self.ask(|reply| Command::Sweep { keep, reply })
    }

    fn note_time(&self) -> Pending<'_, ()> {
        self.ask(|reply| Command::NoteTime { reply })
    }

    fn kv_get(&self, plugin: PluginName, key: String) -> Pending<'_, Option<KvValue>> {
        Box::pin(async move {
            let asking = plugin.clone();
            self.kv_readers.ask_for(&asking, move |connection| read::kv_get(connection, &plugin, &key)).await
        })
    }

    fn event(&self, id: EventId) -> Pending<'_, EventView> {
        Box::pin(async move {
            let found = self.readers.ask(move |connection| read::event(connection, id)).await?;
            let mut found = found.ok_or_else(|| StoreError::NotFound(format!("event `{id}`")))?;
            self.by_wall_clock(&mut found.deliveries);
            Ok(found)
        })
    }

    fn events(&self, filter: EventFilter, page: Page) -> Pending<'_, (Vec<EventSummary>, Option<Cursor>)> {
        let span = self.span(filter.since_ms, filter.until_ms);
        Box::pin(self.listings.ask(move |connection| pages::events(connection, &filter, &span, page)))
    }

    fn deliveries(&self, filter: DeliveryFilter, page: Page) -> Pending<'_, (Vec<DeliveryView>, Option<Cursor>)> {
        let span = self.span(filter.since_ms, filter.until_ms);
        Box::pin(async move {
            let found = self.listings.ask(move |connection| pages::deliveries(connection, &filter, &span, page)).await;
            let (mut found, next) = found?;
            self.by_wall_clock(&mut found);
            Ok((found, next))
        })
    }

    fn has_legacy_keys(&self) -> bool {
        self.legacy_keys.load(Ordering::Relaxed)
    }

    fn kv_bytes(&self, plugin: &str) -> u64 {
        self.counts().kv_bytes(plugin)
    }

    fn stats(&self) -> Stats {
        self.counts().stats.clone()
    }

    fn trouble(&self) -> Option<StoreError> {
        let full = || self.shared.full.load().as_ref().map(|reason| StoreError::Full(reason.to_string()));
        self.shared.trouble.borrow().clone().or_else(full)
    }

    fn warnings(&self) -> Vec<String> {
        self.notes.trouble().into_iter().chain(self.mark.trouble()).collect()
    }

    fn stopped(&self) -> Pending<'_, ()> {
        let mut trouble = self.shared.trouble.subscribe();
        Box::pin(async move {
            // An error means the store itself is gone, and so it has stopped.
            let _ = trouble.wait_for(|trouble| matches!(trouble, Some(StoreError::Stopped(_)))).await;
            Ok(())
        })
    }

    fn close(&self) -> Pending<'_, ()> {
        // First, so that the writer closes last and leaves no log behind.
        self.readers.close();
        self.listings.close();
        self.kv_readers.close();
        let closed = self.ask(|reply| Command::Close { reply });
        Box::pin(async move {
            let closed = closed.await;
            let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(thread) = thread {
                // The thread has answered and only closes its connection; it never panics on purpose.
                let _ = tasks::blocking(move || thread.join()).await;
            }
            closed
        })
    }
}
