//! The queue of one plugin: how many leases and running attempts it may have, and when it leases
//! next.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::body_memory::MAX_PLUGIN_KIB;
use super::conflicts::ConflictSerializer;
use super::health::PluginHealth;
use super::metrics::PluginMetrics;
use super::rate::{Pace, StartTurn};
use crate::clock::after_ms;
use crate::config::Rate;
use crate::event::{DeliveryId, PluginName};
use crate::store::{Pausable, Pauses};

/// The most leases of one plugin: running, waiting to run, or waiting for the disk. A delivery that
/// finds no permit costs a lease call of its own later, so a small budget grows a backlog that
/// lasts.
const LEASE_BUDGET: usize = 2_048;

/// How long a started host leaves its quarantine queues alone. It serves before it may die again,
/// and a host that is killed repeatedly by something else condemns no delivery.
pub(super) const QUARANTINE_DELAY: Duration = Duration::from_secs(1);

/// How full the queue of a plugin is at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueView {
    /// Attempts that may run at once.
    pub concurrency: usize,
    /// Attempts that run, or hold a place and wait for an instance.
    pub running: usize,
    /// Whether as many deliveries as may wait for the plugin's rate do, so that the next one waits
    /// in the store.
    pub is_full_of_paced: bool,
}

impl QueueView {
    /// Whether a further attempt has to wait.
    pub fn is_full(&self) -> bool {
        self.running >= self.concurrency
    }
}

/// The two queues of a plugin.
#[derive(Debug, Clone)]
pub(super) struct PluginQueues {
    /// For deliveries that no crash is held against.
    pub(super) regular: Arc<PluginQueue>,
    /// For deliveries that ran when a host died: one at a time.
    pub(super) quarantine: Arc<PluginQueue>,
}

impl PluginQueues {
    pub(super) fn new(
        concurrency: usize,
        health: Arc<PluginHealth>,
        pauses: &watch::Receiver<Arc<Pauses>>,
        now_ms: i64,
    ) -> Self {
        let conflicts = ConflictSerializer::new();
        let limits = QueueLimits { budget: LEASE_BUDGET, concurrency };
        let regular = PluginQueue::new(limits, conflicts, Arc::clone(&health), pauses.clone());
        let limits = QueueLimits { budget: 1, concurrency: 1 };
        let mut quarantine =
            PluginQueue::new(limits, Arc::clone(&regular.conflicts), health, pauses.clone());
        quarantine.pace = Arc::clone(&regular.pace);
        quarantine.is_quarantine = true;
        quarantine.next_due_ms = AtomicI64::new(after_ms(now_ms, QUARANTINE_DELAY));
        Self { regular: Arc::new(regular), quarantine: Arc::new(quarantine) }
    }

    /// Closes both queues: the plugin is gone.
    pub(super) fn close(&self) {
        self.regular.closed.cancel();
        self.quarantine.closed.cancel();
        self.regular.health.close();
    }
}

/// One queue of a plugin. The deliveries themselves wait in the store.
#[derive(Debug)]
pub(super) struct PluginQueue {
    pub(super) is_quarantine: bool,
    lease_budget: ArcSwap<PermitLimit>,
    /// [`MAX_PLUGIN_KIB`], less what is reserved.
    body_memory: Arc<Semaphore>,
    concurrency: ArcSwap<PermitLimit>,
    /// When the next delivery that nobody holds is due, in host time (Unix ms); `i64::MAX` if none
    /// is known.
    next_due_ms: AtomicI64,
    /// Whether due deliveries wait in the store. New ones then wait behind them.
    backlog: AtomicBool,
    woken: Notify,
    closed: CancellationToken,
    /// Shared by both queues of the plugin, like `pace` and `health`.
    pub(super) conflicts: Arc<ConflictSerializer>,
    pace: Arc<Pace>,
    pauses: watch::Receiver<Arc<Pauses>>,
    pub(super) health: Arc<PluginHealth>,
    pub(super) metrics: PluginMetrics,
}

struct QueueLimits {
    budget: usize,
    concurrency: usize,
}

/// Permits whose number can be changed. Permits that are held stay valid.
#[derive(Debug)]
struct PermitLimit {
    most: usize,
    permits: Arc<Semaphore>,
}

impl PermitLimit {
    fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, permits: Arc::new(Semaphore::new(most)) })
    }

    fn change(limit: &ArcSwap<Self>, most: usize) {
        if limit.load().most != most {
            // Permits that are held return to the old semaphore, and end with it.
            limit.store(Self::new(most));
        }
    }
}

impl PluginQueue {
    /// The queue of a plugin that is gone: all its leases are given back.
    pub(super) fn closed(health: Arc<PluginHealth>) -> Self {
        let limits = QueueLimits { budget: 0, concurrency: 0 };
        let pauses = watch::channel(Arc::default()).1;
        let queue = Self::new(limits, ConflictSerializer::new(), health, pauses);
        queue.closed.cancel();
        queue
    }

    /// A queue that asks the store at once.
    fn new(
        limits: QueueLimits,
        conflicts: Arc<ConflictSerializer>,
        health: Arc<PluginHealth>,
        pauses: watch::Receiver<Arc<Pauses>>,
    ) -> Self {
        let metrics = PluginMetrics::new(health.plugin());
        Self {
            is_quarantine: false,
            lease_budget: ArcSwap::new(PermitLimit::new(limits.budget)),
            body_memory: Arc::new(Semaphore::new(MAX_PLUGIN_KIB as usize)),
            concurrency: ArcSwap::new(PermitLimit::new(limits.concurrency)),
            next_due_ms: AtomicI64::new(i64::MIN),
            // Until the store was asked, older deliveries may wait in it.
            backlog: AtomicBool::new(true),
            woken: Notify::new(),
            closed: CancellationToken::new(),
            conflicts,
            pace: Pace::new(health.clock().clone()),
            pauses,
            health,
            metrics,
        }
    }

    pub(super) fn plugin(&self) -> &PluginName {
        self.health.plugin()
    }

    /// Sets the number of concurrent attempts. Running attempts keep their permits.
    pub(super) fn set_concurrency(&self, attempts: usize) {
        PermitLimit::change(&self.concurrency, attempts);
    }

    /// Sets how many attempts of the plugin may start in a time. With a rate, the lease budget
    /// bounds what waits for it: one second's worth.
    pub(super) fn set_rate(&self, rate: Option<Rate>) {
        let interval = rate.map_or(Duration::ZERO, |rate| rate.interval());
        let budget = match interval.as_micros() {
            0 => LEASE_BUDGET,
            us => usize::try_from(1_000_000 / us).unwrap_or(LEASE_BUDGET).clamp(1, LEASE_BUDGET),
        };
        PermitLimit::change(&self.lease_budget, budget);
        self.pace.set_interval(interval);
    }

    /// Whether the starts of the plugin's attempts are limited.
    pub(super) fn is_paced(&self) -> bool {
        self.pace.is_limited()
    }

    /// Whether a delivery waits until it may start by the plugin's rate, in either queue.
    pub(super) fn waits_for_rate(&self, delivery: DeliveryId) -> bool {
        self.pace.is_waiting(delivery)
    }

    /// Waits until the attempt of a delivery may start by the plugin's rate; `None` if the plugin
    /// is gone.
    pub(super) async fn start_turn(&self, delivery: DeliveryId) -> Option<StartTurn> {
        let _waits = self.pace.waits(delivery);
        tokio::select! {
            biased;
            () = self.closed.cancelled() => None,
            turn = self.pace.turn() => Some(turn),
        }
    }

    /// Whether an operator has paused the plugin.
    pub(super) fn is_paused(&self) -> bool {
        self.pauses.borrow().of(Pausable::Plugin, self.plugin()).is_some()
    }

    /// Returns once the plugin is paused, or is not.
    pub(super) async fn until_paused(&self, is_paused: bool) {
        let mut pauses = self.pauses.clone();
        let is_so =
            |now: &Arc<Pauses>| now.of(Pausable::Plugin, self.plugin()).is_some() == is_paused;
        if pauses.wait_for(is_so).await.is_err() {
            // The store is gone, and nothing changes any more.
            std::future::pending::<()>().await;
        }
    }

    /// Returns once the plugin is gone.
    pub(super) async fn gone(&self) {
        self.closed.cancelled().await;
    }

    /// Waits for the permission to run an attempt; `None` if the plugin is gone.
    pub(super) async fn run_permit(&self) -> Option<OwnedSemaphorePermit> {
        // A closed queue may have free permits, which the select below would take.
        if self.closed.is_cancelled() {
            return None;
        }
        let permits = self.concurrency.load().permits.clone();
        tokio::select! {
            biased;
            permit = permits.acquire_owned() => permit.ok(),
            () = self.closed.cancelled() => None,
        }
    }

    /// A lease permit for a delivery that is just being created. There is none while older
    /// deliveries wait, or while the plugin only fails.
    pub(super) fn permit_on_insert(&self) -> Option<OwnedSemaphorePermit> {
        if self.backlog.load(Ordering::Relaxed)
            || self.health.is_open()
            || self.is_paused()
            || self.closed.is_cancelled()
        {
            return None;
        }
        self.lease_budget.load().permits.clone().try_acquire_owned().ok()
    }

    /// Waits for a lease permit, and takes as many more as are free, up to `most`.
    pub(super) async fn lease_permits(&self, most: usize) -> OwnedSemaphorePermit {
        let budget = self.lease_budget.load().permits.clone();
        let first = budget.clone().acquire_owned().await;
        let mut permits = first.expect("the semaphore is never closed");
        let more = budget.available_permits().min(most - 1);
        // If others have taken them meanwhile, one is enough.
        if let Ok(more) = budget.try_acquire_many_owned(u32::try_from(more).unwrap_or(0)) {
            permits.merge(more);
        }
        permits
    }

    /// How full the queue is.
    pub(super) fn view(&self) -> QueueView {
        let limit = self.concurrency.load();
        QueueView {
            concurrency: limit.most,
            running: limit.most.saturating_sub(limit.permits.available_permits()),
            is_full_of_paced: self.is_paced()
                && self.lease_budget.load().permits.available_permits() == 0,
        }
    }

    /// Reserves the plugin's memory for a body. A body that is larger than all of it takes all.
    pub(super) fn reserve_memory(&self, body_kib: u32) -> Option<OwnedSemaphorePermit> {
        self.body_memory.clone().try_acquire_many_owned(body_kib.min(MAX_PLUGIN_KIB)).ok()
    }

    /// The plugin's memory that is reserved for bodies, in KiB.
    pub(super) fn reserved_kib(&self) -> usize {
        (MAX_PLUGIN_KIB as usize).saturating_sub(self.body_memory.available_permits())
    }

    /// Takes note of a delivery in the store that nobody holds.
    pub(super) fn notify(&self, due_in: Duration, now_ms: i64) {
        if due_in.is_zero() {
            self.backlog.store(true, Ordering::Relaxed);
        }
        self.lease_at(after_ms(now_ms, due_in));
    }

    /// Makes the queue lease at this host time, or earlier.
    pub(super) fn lease_at(&self, due_ms: i64) {
        if self.next_due_ms.fetch_min(due_ms, Ordering::AcqRel) > due_ms {
            self.woken.notify_one();
        }
    }

    /// When the queue leases next, in host time.
    pub(super) fn next_due_ms(&self) -> i64 {
        self.next_due_ms.load(Ordering::Acquire)
    }

    /// Returns when [`PluginQueue::next_due_ms`] may have become earlier.
    pub(super) async fn woken(&self) {
        self.woken.notified().await;
    }

    /// Forgets what is due, before the store is asked. Later notifications are remembered.
    pub(super) fn forget_due(&self) {
        self.next_due_ms.store(i64::MAX, Ordering::Release);
        self.backlog.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::dispatch::body_memory::MAX_KIB;

    impl PluginQueue {
        /// How many more attempts may run now.
        pub(in crate::dispatch) fn free_run_permits(&self) -> usize {
            self.concurrency.load().permits.available_permits()
        }
    }

    #[test]
    fn a_plugin_that_stands_still_leaves_memory_to_the_others() {
        let queue = |name: &str| {
            let health = PluginHealth::new(name.into(), Clock::manual(0), Arc::default());
            PluginQueues::new(16, health, &watch::channel(Arc::default()).1, 0).regular
        };
        let (still, other) = (queue("still"), queue("other"));
        let held: Vec<_> = std::iter::from_fn(|| still.reserve_memory(1_024)).collect();
        assert!(
            held.len() as u32 * 1_024 * 2 <= MAX_KIB,
            "{} bodies of a MiB are held",
            held.len()
        );
        assert!(still.reserve_memory(1).is_none() && other.reserve_memory(1_024).is_some());
        drop(held);
        let large = still.reserve_memory(2 * MAX_PLUGIN_KIB).expect("one body always fits");
        assert!(still.reserve_memory(1).is_none());
        drop(large);
        assert!(still.reserve_memory(1).is_some());
    }
}
