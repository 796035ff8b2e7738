//! A lane: when to lease for one plugin, and how many leases and running attempts it may have.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use metrics::{Counter, Histogram, counter, histogram};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::Hub;
use super::bodies::SHARE_KIB;
use super::health::{Health, Probe};
use crate::clock::after_ms;
use crate::event::{Outcome, PluginName};
use crate::store::{LeaseQueue, StoreError};

/// The most leases of one plugin that are held at once: running, waiting to run, or waiting for the disk. What finds no
/// place costs a lease of its own later on, so that a hand that is too small makes a backlog that does not end.
const HAND: usize = 2_048;

/// The most deliveries one lease call asks for.
const MAX_ASKED: usize = 512;

/// How long a lane waits after the store could not lease, or had no room to.
const PAUSE: Duration = Duration::from_millis(250);

/// For so many settlements after a conflict over a key, the attempts of a plugin take turns.
const TURNS_AFTER_CONFLICT: u32 = 256;

/// One plugin's share of the dispatcher.
#[derive(Debug)]
pub(super) struct Lane {
    plugin: PluginName,
    /// Whether it runs what a host held when it died.
    suspects: bool,
    hand: Arc<Semaphore>,
    /// [`SHARE_KIB`], less what is held.
    share: Arc<Semaphore>,
    running: ArcSwap<Running>,
    /// When the next delivery is due that nobody holds, host time in Unix ms; the greatest integer if none is known.
    next_due_ms: AtomicI64,
    /// Deliveries wait in the store, and newborn ones queue up behind them.
    backlog: AtomicBool,
    woken: Notify,
    closed: CancellationToken,
    turns: Arc<Turns>,
    /// Of both lanes of the plugin.
    pub(super) health: Arc<Health>,
    /// Metrics of every attempt, found once: to look one up by its labels costs several times what counting does.
    pub(super) succeeded: Counter,
    pub(super) seconds: Histogram,
}

/// Both lanes of a plugin share its turns, as they share its keys.
#[derive(Debug)]
struct Turns {
    /// How many more settlements take turns; attempts that read and write the same keys at once would only run again.
    left: AtomicU32,
    turn: Arc<Semaphore>,
}

impl Turns {
    fn new() -> Arc<Self> {
        Arc::new(Self { left: AtomicU32::new(0), turn: Arc::new(Semaphore::new(1)) })
    }
}

/// How many attempts run at once.
#[derive(Debug)]
struct Running {
    concurrency: usize,
    permits: Arc<Semaphore>,
}

impl Running {
    fn new(concurrency: usize) -> Arc<Self> {
        Arc::new(Self { concurrency, permits: Arc::new(Semaphore::new(concurrency)) })
    }
}

impl Lane {
    /// The lane of a loaded plugin. It begins by asking the store.
    pub(super) fn usual(plugin: PluginName, concurrency: usize, health: Arc<Health>) -> Self {
        Self::new(plugin, false, HAND, concurrency, Turns::new(), health)
    }

    /// The lane of those that a host held when it died: one at a time, and not before `due_ms`.
    pub(super) fn suspects(usual: &Self, due_ms: i64) -> Self {
        let mut lane = Self::new(usual.plugin.clone(), true, 1, 1, usual.turns.clone(), usual.health.clone());
        lane.next_due_ms = AtomicI64::new(due_ms);
        lane
    }

    /// The lane of a plugin that is gone: whatever comes here is given back.
    pub(super) fn closed(plugin: PluginName, health: Arc<Health>) -> Self {
        let lane = Self::new(plugin, false, 0, 0, Turns::new(), health);
        lane.close();
        lane
    }

    fn new(
        plugin: PluginName,
        suspects: bool,
        hand: usize,
        concurrency: usize,
        turns: Arc<Turns>,
        health: Arc<Health>,
    ) -> Self {
        Self {
            succeeded: counter!("hookbox_attempts_total", "plugin" => plugin.clone(), "outcome" => Outcome::Ok.name()),
            seconds: histogram!("hookbox_attempt_seconds", "plugin" => plugin.clone()),
            plugin,
            suspects,
            hand: Arc::new(Semaphore::new(hand)),
            share: Arc::new(Semaphore::new(SHARE_KIB as usize)),
            running: ArcSwap::new(Running::new(concurrency)),
            next_due_ms: AtomicI64::new(i64::MIN),
            backlog: AtomicBool::new(true),
            woken: Notify::new(),
            closed: CancellationToken::new(),
            turns,
            health,
        }
    }

    /// Attempts that are running keep their permits; new ones count against the new number.
    pub(super) fn set_concurrency(&self, concurrency: usize) {
        if self.running.load().concurrency != concurrency {
            self.running.store(Running::new(concurrency));
        }
    }

    /// Ends the lane: its plugin is gone.
    pub(super) fn close(&self) {
        self.closed.cancel();
    }

    /// Waits for leave to run an attempt; `None` if the plugin goes away meanwhile.
    pub(super) async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        if self.closed.is_cancelled() {
            return None;
        }
        let permits = self.running.load().permits.clone();
        tokio::select! {
            biased;
            permit = permits.acquire_owned() => permit.ok(),
            () = self.closed.cancelled() => None,
        }
    }

    /// Waits for its turn, if the attempts of this plugin take turns at the moment. To be kept until the settlement.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        if self.turns.left.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.turns.turn.clone().acquire_owned().await.ok()
    }

    /// An attempt was settled; `conflict` says that it was not, for a key that another one changed.
    pub(super) fn settled(&self, conflict: bool) {
        let left = self.turns.left.load(Ordering::Relaxed);
        if conflict {
            self.turns.left.store(TURNS_AFTER_CONFLICT, Ordering::Relaxed);
        } else if left > 0 {
            // Two at once may take off one instead of two: the number is a rough one.
            self.turns.left.store(left - 1, Ordering::Relaxed);
        }
    }

    /// A place for a delivery that is just being created, unless older ones wait or the plugin only fails.
    pub(super) fn place_for_newborn(&self) -> Option<OwnedSemaphorePermit> {
        if self.backlog.load(Ordering::Relaxed) || self.health.is_open() || self.closed.is_cancelled() {
            return None;
        }
        self.hand.clone().try_acquire_owned().ok()
    }

    /// The plugin's share of the memory for bodies; a body that is larger than it takes all of it.
    pub(super) fn share(&self, body_kib: u32) -> Option<OwnedSemaphorePermit> {
        self.share.clone().try_acquire_many_owned(body_kib.min(SHARE_KIB)).ok()
    }

    /// What the plugin holds of the memory for bodies, in KiB; at most its share.
    pub(super) fn held_kib(&self) -> usize {
        (SHARE_KIB as usize).saturating_sub(self.share.available_permits())
    }

    /// The store has a delivery that nobody holds.
    pub(super) fn posted(&self, due_in: Duration, now_ms: i64) {
        if due_in.is_zero() {
            self.backlog.store(true, Ordering::Relaxed);
        }
        self.wake(after_ms(now_ms, due_in));
    }

    /// Makes the lane ask the store at `due_ms`.
    pub(super) fn wake(&self, due_ms: i64) {
        if self.next_due_ms.fetch_min(due_ms, Ordering::AcqRel) > due_ms {
            self.woken.notify_one();
        }
    }

    /// Places for as many leases as are free, at least one, at most `most`.
    async fn places(&self, most: usize) -> OwnedSemaphorePermit {
        let mut places = self.hand.clone().acquire_owned().await.expect("the semaphore is never closed");
        let more = self.hand.available_permits().min(most - 1);
        if let Ok(more) = self.hand.clone().try_acquire_many_owned(u32::try_from(more).unwrap_or(0)) {
            places.merge(more);
        }
        places
    }
}

/// Leases what is due in `lane`, until the lane is closed or the host stops.
pub(super) async fn run(hub: Arc<Hub>, lane: Arc<Lane>) {
    loop {
        tokio::select! {
            biased;
            () = hub.stopping.cancelled() => return,
            () = lane.closed.cancelled() => return,
            () = due(&hub, &lane) => {}
        }
        let probe = tokio::select! {
            biased;
            () = hub.stopping.cancelled() => return,
            () = lane.closed.cancelled() => return,
            probe = lane.health.leave() => probe,
        };
        let most = if probe.is_some() { 1 } else { MAX_ASKED };
        let places = tokio::select! {
            biased;
            () = hub.stopping.cancelled() => return,
            () = lane.closed.cancelled() => return,
            places = lane.places(most) => places,
        };
        // It may have opened while there was no place.
        if probe.is_none() && lane.health.is_open() {
            continue;
        }
        if let Err(error) = lease(&hub, &lane, places, probe).await {
            if matches!(error, StoreError::Stopped(_)) {
                return;
            }
            lane.wake(i64::MIN);
            pause(&hub, &lane).await;
        }
    }
}

/// Lets a little time pass, by no clock that can be set.
async fn pause(hub: &Hub, lane: &Lane) {
    tokio::select! {
        () = hub.stopping.cancelled() => {}
        () = lane.closed.cancelled() => {}
        () = tokio::time::sleep(PAUSE) => {}
    }
}

/// Returns when something is due.
async fn due(hub: &Hub, lane: &Lane) {
    loop {
        let due_ms = lane.next_due_ms.load(Ordering::Acquire);
        if due_ms <= hub.parts.clock.host_ms() {
            return;
        }
        tokio::select! {
            () = lane.woken.notified() => {}
            () = hub.parts.clock.sleep_until_host(due_ms), if due_ms < i64::MAX => {}
        }
    }
}

async fn lease(
    hub: &Arc<Hub>,
    lane: &Arc<Lane>,
    places: OwnedSemaphorePermit,
    mut probe: Option<Probe>,
) -> Result<(), StoreError> {
    // Forgotten before the store is asked: what is posted from here on is remembered.
    lane.next_due_ms.store(i64::MAX, Ordering::Release);
    lane.backlog.store(false, Ordering::Relaxed);
    let plugin = lane.plugin.clone();
    let queue = if lane.suspects { LeaseQueue::Quarantine(vec![plugin]) } else { LeaseQueue::Plugin(plugin) };
    let asked_ms = hub.parts.clock.host_ms();
    let leased = hub.parts.store.lease(queue, places).await?;
    // A suspect that is given back is not posted, so its lane asks again until there are none.
    let again = lane.suspects && !leased.leases.is_empty();
    let next_due_in = if again { Some(Duration::ZERO) } else { leased.next_due_in };
    // Something is due and was not leased: there is no room in memory, and it will not be there at once.
    let full = leased.leases.is_empty() && next_due_in.is_some_and(|due_in| due_in.is_zero());
    if let Some(due_in) = next_due_in {
        lane.posted(due_in, asked_ms);
    }
    if full {
        pause(hub, lane).await;
    }
    for lease in leased.leases {
        hub.start(lane.clone(), lease, probe.take());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::dispatch::bodies::MAX_HELD_KIB;

    impl Lane {
        /// How many more attempts may run now.
        pub(in crate::dispatch) fn free_permits(&self) -> usize {
            self.running.load().permits.available_permits()
        }
    }

    #[test]
    fn a_plugin_that_stands_still_leaves_memory_to_the_others() {
        let lane = |name: &str| {
            let health = Health::new(name.into(), Clock::manual(0), Arc::default());
            Lane::usual(name.into(), 16, health)
        };
        let (still, other) = (lane("still"), lane("other"));
        let held: Vec<_> = std::iter::from_fn(|| still.share(1_024)).collect();
        assert!(held.len() as u32 * 1_024 * 2 <= MAX_HELD_KIB, "{} bodies of a MiB are held", held.len());
        assert!(still.share(1).is_none() && other.share(1_024).is_some());
        drop(held);
        let large = still.share(2 * SHARE_KIB).expect("one body always has room");
        assert!(still.share(1).is_none());
        drop(large);
        assert!(still.share(1).is_some());
    }
}
