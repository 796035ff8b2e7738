//! The state that the store's tasks share.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::ids::HostIds;
use super::lease_floors::LeaseFloors;
use super::loss::LossLog;
use super::options::PostgresOptions;
use super::own_limits::OwnLimits;
use super::reachability::Reachability;
use super::server::KnownServer;
use super::size::DatabaseSize;
use super::tail::AckedTail;
use super::wake::WakesToSend;
use crate::clock::Clock;
use crate::store::changes::Announcer;
use crate::store::held_leases::HeldLeases;
use crate::store::journal::InFlightJournal;
use crate::store::operations::UnreadableLog;
use crate::store::{DispatchHandle, Pauses, PluginPolicies, StoreError, TreeBudget};

/// The time that a store which is to close waits for another run.
const CLOSES_WITHIN: Duration = Duration::from_secs(5);

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
    run: watch::Sender<HostRun>,
    /// Notified when the run was found to be over.
    pub(super) over: Notify,
    /// The leases that this host holds.
    pub(super) held: Arc<HeldLeases>,
    pub(super) floors: LeaseFloors,
    /// The plugins that other hosts are to be told of.
    pub(super) wakes: WakesToSend,
    /// The time limits of joins and batches that this host has set.
    pub(super) limits: OwnLimits,
    /// The files of plugins that run here, as the list of hosts shows them.
    plugins: Mutex<String>,
    /// Whether events lie in the partition of the days that have none.
    pub(super) has_astray_days: AtomicBool,
    /// The oldest snapshot of the server, if it is held for too long: for operators.
    horizon: Mutex<Option<String>>,
    pub(super) dispatch: OnceLock<Arc<dyn DispatchHandle>>,
    /// Whether the primary is reachable, and the store goes on.
    pub(super) reach: Reachability,
    /// Whether the store was asked to close.
    pub(super) closing: AtomicBool,
    /// Whether this host takes its row away, because it closes.
    pub(super) leaving: AtomicBool,
    /// Whether the writers have ended.
    pub(super) ended: watch::Sender<bool>,
    pub(super) journal: Arc<InFlightJournal>,
    pub(super) changes: Announcer,
    pub(super) pauses: watch::Sender<Arc<Pauses>>,
    /// Held from a read of what is paused until it is told.
    pub(super) pauses_turn: tokio::sync::Mutex<()>,
    pub(super) policies: Arc<dyn PluginPolicies>,
    pub(super) host_timeout: Duration,
    /// The most that may descend from one webhook's event.
    pub(super) tree: TreeBudget,
    ids: Mutex<HostIds>,
    clock: Clock,
    /// The database's time less this host's, in milliseconds.
    offset_ms: AtomicI64,
    /// The last batch of each writer that was answered.
    acked: Mutex<(i64, [i64; 2])>,
    /// The last batches of both.
    pub(super) tail: AckedTail,
    pub(super) loss: LossLog,
    pub(super) known: Arc<KnownServer>,
    pub(super) unreadable: UnreadableLog,
    pub(super) size: DatabaseSize,
    duplicates: AtomicU64,
}

impl PostgresShared {
    pub(super) fn new(
        (run, last_id): (HostRun, Option<i64>),
        known: &Arc<KnownServer>,
        options: &PostgresOptions,
        journal: InFlightJournal,
    ) -> Self {
        Self {
            run: watch::Sender::new(run),
            over: Notify::new(),
            held: Arc::default(),
            floors: LeaseFloors::default(),
            wakes: WakesToSend::default(),
            limits: OwnLimits::default(),
            plugins: Mutex::new("{}".to_owned()),
            has_astray_days: AtomicBool::new(false),
            horizon: Mutex::default(),
            dispatch: OnceLock::new(),
            reach: Reachability::default(),
            closing: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            ended: watch::Sender::new(false),
            journal: Arc::new(journal),
            changes: Announcer::default(),
            pauses: watch::Sender::default(),
            pauses_turn: tokio::sync::Mutex::default(),
            policies: Arc::clone(&options.policies),
            host_timeout: options.host_timeout,
            tree: options.tree,
            ids: Mutex::new(HostIds::new(run.slot, last_id)),
            clock: options.clock.clone(),
            offset_ms: AtomicI64::new(0),
            acked: Mutex::new((run.incarnation, [0; 2])),
            tail: AckedTail::new(options.tail_bytes),
            loss: LossLog::default(),
            known: Arc::clone(known),
            unreadable: UnreadableLog::default(),
            size: DatabaseSize::default(),
            duplicates: AtomicU64::new(0),
        }
    }

    /// The run of now. Another one takes its place if this host was taken for dead.
    pub(super) fn run(&self) -> HostRun {
        *self.run.borrow()
    }

    /// Goes on as another run. The leases of now are others', so that the dispatcher gives them
    /// back.
    pub(super) fn go_on_as(&self, run: HostRun, last_id: Option<i64>) {
        // Before the run: a batch asks for its run before it asks for ids, so that none has ids of
        // a slot that is another host's.
        self.ids().go_on_in(run.slot, last_id);
        *self.acked.lock().unwrap_or_else(PoisonError::into_inner) = (run.incarnation, [0; 2]);
        self.loss.mended();
        self.run.send_replace(run);
        self.floors.forget();
        if let Some(dispatch) = self.dispatch.get() {
            dispatch.give_back_all();
        }
    }

    /// Returns once this run was followed by another one; false if the store ends before.
    pub(super) async fn after_run(&self, over: HostRun) -> bool {
        self.over.notify_one();
        let mut runs = self.run.subscribe();
        tokio::select! {
            // An error would mean that the sender is gone, which is a part of this.
            _ = runs.wait_for(|run| run.incarnation != over.incarnation) => true,
            () = self.reach.has_stopped() => false,
            () = self.closes_without_end() => false,
        }
    }

    /// Returns if the store is to close and cannot for a while.
    async fn closes_without_end(&self) {
        loop {
            let is_closing = self.closing.load(Ordering::Relaxed);
            tokio::time::sleep(CLOSES_WITHIN).await;
            if is_closing {
                return;
            }
        }
    }

    /// The files of plugins that run here, as the list of hosts shows them.
    pub(super) fn noted_plugins(&self) -> MutexGuard<'_, String> {
        self.plugins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whether the oldest snapshot is held for too long, for operators.
    pub(super) fn note_horizon(&self, held: Option<String>) {
        *self.horizon.lock().unwrap_or_else(PoisonError::into_inner) = held;
    }

    /// The matter for operators if a snapshot is held for too long.
    pub(super) fn held_horizon(&self) -> Option<String> {
        self.horizon.lock().unwrap_or_else(PoisonError::into_inner).clone()
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

    /// The database's time less this host's wall clock, in milliseconds.
    pub(super) fn ahead_of_wall_ms(&self) -> i64 {
        if self.at().is_some() { 0 } else { self.now_ms().saturating_sub(self.clock.now_ms()) }
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

    /// Notes that a batch of a run was acknowledged.
    pub(super) fn ack(&self, run: i64, writer: usize, seq: i64) {
        let mut acked = self.acked.lock().unwrap_or_else(PoisonError::into_inner);
        // Another run has numbers of its own.
        if acked.0 == run {
            acked.1[writer] = seq;
        }
    }

    /// The last batches of both writers that were acknowledged in this run; 0 if there is none.
    pub(super) fn acked(&self) -> [i64; 2] {
        self.acked.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    pub(super) fn count_duplicate(&self) {
        self.duplicates.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn duplicates(&self) -> u64 {
        self.duplicates.load(Ordering::Relaxed)
    }

    /// Whether the store has neither stopped nor was asked to close.
    pub(super) fn goes_on(&self) -> bool {
        !self.closing.load(Ordering::Relaxed) && self.answers().is_ok()
    }

    /// An error once the store has stopped.
    pub(super) fn answers(&self) -> Result<(), StoreError> {
        self.reach.answers()
    }
}
