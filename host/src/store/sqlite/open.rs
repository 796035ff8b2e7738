//! How the store is opened, and its writer started.

use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::batch::NoPolicies;
use super::command::WriteCommand;
use super::commit_mark::CommitMark;
use super::error::OpenError;
use super::file_watch::FileWatch;
use super::loss::{self, OnLoss};
use super::published::Published;
use super::queue::Queues;
use super::readers::{KV_READERS, READERS, Readers};
use super::recent::{FLUSH_EVENTS, Recent};
use super::recover::Recovered;
use super::space::Space;
use super::start::{self, Resumed};
use super::writer::Writer;
use super::{Sqlite, files, pauses, schema};
use crate::clock::{Clock, ClockChange};
use crate::store::append_limit::AppendLimit;
use crate::store::journal::InFlightJournal;
use crate::store::operations::UnreadableLog;
use crate::store::{PluginPolicies, TreeBudget};
use crate::tasks;

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
    /// refused with [`StoreError::Saturated`](crate::store::StoreError::Saturated).
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
    /// The policies of plugins.
    pub policies: Arc<dyn PluginPolicies>,
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
            policies: Arc::new(NoPolicies),
            clock,
        }
    }
}

impl Sqlite {
    /// Opens the file, recovers the leases of a killed host, and starts the writer.
    pub fn open(options: SqliteOptions) -> Result<Self, OpenError> {
        Self::open_with_flushes(options, FLUSH_EVENTS)
    }

    pub(in crate::store) fn open_with_flushes(
        options: SqliteOptions,
        flush_events: u64,
    ) -> Result<Self, OpenError> {
        let SqliteOptions {
            path,
            max_waiting_appends,
            tree,
            max_bytes,
            longest_work,
            on_loss,
            policies,
            clock,
        } = options;
        let (lock, path) = files::lock(&path)?;
        let failed = |source| OpenError::Sqlite { path: path.clone(), source };
        let (connection, before) = loss::open(&path, on_loss)?;
        // Through a connection of its own, with a small cache: what is read here is not wanted
        // again.
        let recent = Recent::load(&schema::open_reader(&path).map_err(failed)?, flush_events)
            .map_err(failed)?;
        let last_id = start::last_id(&connection, &recent).map_err(failed)?;
        // An id is given out once, also if its event was lost.
        let last_id = last_id.max(before.map_or(last_id, |before| before.event));
        let Resumed { journal, counts, eras, clock_changes, recovered } =
            start::resume(&connection, &path, &clock, last_id, &recent, &*policies)?;
        let mark_path = files::beside(&path, "-committed");
        let last = loss::last(&connection).map_err(failed)?;
        let mark = CommitMark::begin(&mark_path, last)
            .map_err(|source| OpenError::Io { path: mark_path, source })?;
        let mark = Arc::new(mark);
        let watch = FileWatch::begin(&path, &lock)
            .map_err(|source| OpenError::Io { path: path.clone(), source })?;
        let eras = ArcSwap::from_pointee(eras);
        let pauses = watch::Sender::new(Arc::new(pauses::read(&connection).map_err(failed)?));
        let counts = Mutex::new(counts);
        let published = Arc::new(Published { counts, eras, pauses, ..Published::default() });
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
            policies,
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
        let (published, clock, mark) =
            (writer.published.clone(), writer.clock.clone(), writer.mark.clone());
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
            unreadable: UnreadableLog::default(),
            thread: Mutex::new(Some(thread)),
        })
    }
}
