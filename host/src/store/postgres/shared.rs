//! The state that the store's tasks share.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::watch;

use super::ids::HostIds;
use super::options::PostgresOptions;
use crate::clock::Clock;
use crate::store::changes::Announcer;
use crate::store::journal::InFlightJournal;
use crate::store::{DispatchHandle, Pauses, PluginPolicies, StoreError, TreeBudget};

/// One run of this host, as the database knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct HostRun {
    /// The part of ids that is this host's.
    pub(super) slot: i16,
    /// The number of the run, which is never used again.
    pub(super) incarnation: i64,
}

/// The state that the store's tasks share.
#[derive(Debug)]
pub(super) struct PostgresShared {
    pub(super) run: HostRun,
    pub(super) dispatch: OnceLock<Arc<dyn DispatchHandle>>,
    /// Set for good once the store has stopped.
    pub(super) trouble: watch::Sender<Option<StoreError>>,
    /// Whether the writer has ended.
    pub(super) ended: watch::Sender<bool>,
    pub(super) journal: Arc<InFlightJournal>,
    pub(super) changes: Announcer,
    pub(super) pauses: watch::Sender<Arc<Pauses>>,
    /// Held from a read of what is paused until it is told.
    pub(super) pauses_turn: tokio::sync::Mutex<()>,
    pub(super) policies: Arc<dyn PluginPolicies>,
    /// The most that may descend from one webhook's event.
    pub(super) tree: TreeBudget,
    ids: Mutex<HostIds>,
    clock: Clock,
    /// The database's time less this host's, in milliseconds.
    offset_ms: AtomicI64,
    /// The last batch that was answered.
    acked: AtomicI64,
    duplicates: AtomicU64,
}

impl PostgresShared {
    pub(super) fn new(
        run: HostRun,
        last_id: Option<i64>,
        options: &PostgresOptions,
        journal: InFlightJournal,
    ) -> Self {
        Self {
            run,
            dispatch: OnceLock::new(),
            trouble: watch::Sender::new(None),
            ended: watch::Sender::new(false),
            journal: Arc::new(journal),
            changes: Announcer::default(),
            pauses: watch::Sender::default(),
            pauses_turn: tokio::sync::Mutex::default(),
            policies: Arc::clone(&options.policies),
            tree: options.tree,
            ids: Mutex::new(HostIds::new(run.slot, last_id)),
            clock: options.clock.clone(),
            offset_ms: AtomicI64::new(0),
            acked: AtomicI64::new(0),
            duplicates: AtomicU64::new(0),
        }
    }

    /// The ids that this host gives to events.
    pub(super) fn ids(&self) -> MutexGuard<'_, HostIds> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time that stands in the place of the database's, if there is one.
    pub(super) fn at(&self) -> Option<i64> {
        self.clock.by_hand_ms()
    }

    /// This host's time, to be compared with the database's.
    pub(super) fn host_ms(&self) -> i64 {
        self.clock.host_ms()
    }

    /// The database's time, as far as this host knows it.
    pub(super) fn now_ms(&self) -> i64 {
        self.clock.host_ms().saturating_add(self.offset_ms.load(Ordering::Relaxed))
    }

    /// Notes the database's time, which was asked for at `asked_ms` of this host's.
    pub(super) fn compare(&self, asked_ms: i64, database_ms: i64) {
        if self.at().is_some() {
            return;
        }
        let middle_ms = asked_ms + (self.clock.host_ms() - asked_ms) / 2;
        self.offset_ms.store(database_ms.saturating_sub(middle_ms), Ordering::Relaxed);
    }

    pub(super) fn ack(&self, seq: i64) {
        self.acked.store(seq, Ordering::Relaxed);
    }

    pub(super) fn acked(&self) -> i64 {
        self.acked.load(Ordering::Relaxed)
    }

    pub(super) fn count_duplicate(&self) {
        self.duplicates.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn duplicates(&self) -> u64 {
        self.duplicates.load(Ordering::Relaxed)
    }

    /// The reason why a command has no answer.
    pub(super) fn gone(&self) -> StoreError {
        let trouble = self.trouble.borrow().clone();
        trouble.unwrap_or_else(|| StoreError::Stopped("the writer is gone".to_owned()))
    }

    /// An error once the store has stopped.
    pub(super) fn answers(&self) -> Result<(), StoreError> {
        self.trouble.borrow().clone().map_or(Ok(()), Err)
    }

    /// Returns once the store has stopped.
    pub(super) async fn has_stopped(&self) {
        // An error would mean that the sender is gone, which is a part of this.
        let _ = self.trouble.subscribe().wait_for(Option::is_some).await;
    }

    /// Ends the store for good. The first reason stays.
    pub(super) fn stop(&self, reason: String) {
        self.trouble.send_if_modified(|trouble| {
            let first = trouble.is_none();
            if first {
                *trouble = Some(StoreError::Stopped(reason));
            }
            first
        });
    }
}
