//! A lane: when to lease for one plugin, and how many leases and running attempts it may have.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::Hub;
use crate::event::PluginName;
use crate::store::{self, StoreError};

/// The most leases of one plugin that are held at once: running, waiting to run, or waiting for the disk.
const HAND: usize = 512;

/// The most deliveries one lease call asks for.
const MAX_ASKED: usize = 128;

/// How long a lane waits after the store could not lease.
const PAUSE: Duration = Duration::from_millis(250);

/// One plugin's share of the dispatcher.
#[derive(Debug)]
pub(super) struct Lane {
    /// `None` is the lane of suspects.
    plugin: Option<PluginName>,
    hand: Arc<Semaphore>,
    running: ArcSwap<Running>,
    /// When the next delivery is due that nobody holds, Unix ms; the greatest integer if none is known.
    next_due_ms: AtomicI64,
    /// Deliveries wait in the store, and newborn ones queue up behind them.
    backlog: AtomicBool,
    woken: Notify,
    closed: CancellationToken,
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
    pub(super) fn of(plugin: PluginName, concurrency: usize) -> Self {
        Self::new(Some(plugin), HAND, concurrency)
    }

    /// The lane of those that were running when a host died: one at a time.
    pub(super) fn suspects() -> Self {
        Self::new(None, 1, 1)
    }

    fn new(plugin: Option<PluginName>, hand: usize, concurrency: usize) -> Self {
        Self {
            plugin,
            hand: Arc::new(Semaphore::new(hand)),
            running: ArcSwap::new(Running::new(concurrency)),
            next_due_ms: AtomicI64::new(i64::MIN),
            backlog: AtomicBool::new(true),
            woken: Notify::new(),
            closed: CancellationToken::new(),
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

    /// Waits for leave to run an attempt.
    pub(super) async fn permit(&self) -> OwnedSemaphorePermit {
        let permits = self.running.load().permits.clone();
        permits.acquire_owned().await.expect("the semaphore is never closed")
    }

    /// A place for a delivery that is just being created, unless older ones wait.
    pub(super) fn place_for_newborn(&self) -> Option<OwnedSemaphorePermit> {
        if self.backlog.load(Ordering::Relaxed) || self.closed.is_cancelled() {
            return None;
        }
        self.hand.clone().try_acquire_owned().ok()
    }

    /// The store has a delivery that nobody holds.
    pub(super) fn posted(&self, due_ms: i64, now_ms: i64) {
        if due_ms <= now_ms {
            self.backlog.store(true, Ordering::Relaxed);
        }
        self.wake(due_ms);
    }

    /// Makes the lane ask the store at `due_ms`.
    pub(super) fn wake(&self, due_ms: i64) {
        if self.next_due_ms.fetch_min(due_ms, Ordering::AcqRel) > due_ms {
            self.woken.notify_one();
        }
    }

    /// Places for as many leases as are free, at least one, at most [`MAX_ASKED`].
    async fn places(&self) -> OwnedSemaphorePermit {
        let mut places = self.hand.clone().acquire_owned().await.expect("the semaphore is never closed");
        let more = self.hand.available_permits().min(MAX_ASKED - 1);
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
        let places = tokio::select! {
            biased;
            () = hub.stopping.cancelled() => return,
            () = lane.closed.cancelled() => return,
            places = lane.places() => places,
        };
        if let Err(error) = lease(&hub, &lane, places).await {
            if matches!(error, StoreError::Stopped(_)) {
                return;
            }
            lane.wake(i64::MIN);
            let again_ms = hub.parts.clock.now_ms().saturating_add(PAUSE.as_millis() as i64);
            tokio::select! {
                () = hub.stopping.cancelled() => return,
                () = hub.parts.clock.sleep_until(again_ms) => {}
            }
        }
    }
}

/// Returns when something is due.
async fn due(hub: &Hub, lane: &Lane) {
    loop {
        let due_ms = lane.next_due_ms.load(Ordering::Acquire);
        if due_ms <= hub.parts.clock.now_ms() {
            return;
        }
        tokio::select! {
            () = lane.woken.notified() => {}
            () = hub.parts.clock.sleep_until(due_ms), if due_ms < i64::MAX => {}
        }
    }
}

async fn lease(hub: &Arc<Hub>, lane: &Arc<Lane>, places: OwnedSemaphorePermit) -> Result<(), StoreError> {
    // Forgotten before the store is asked: what is posted from here on is remembered.
    lane.next_due_ms.store(i64::MAX, Ordering::Release);
    lane.backlog.store(false, Ordering::Relaxed);
    let which = match &lane.plugin {
        Some(plugin) => store::Lane::Plugin(plugin.clone()),
        None => store::Lane::Suspects(hub.lanes.load().keys().cloned().collect()),
    };
    let leased = hub.parts.store.lease(which, places).await?;
    let suspected = lane.plugin.is_none() && !leased.leases.is_empty();
    // A suspect that is given back is not posted, so this lane asks again until there are none.
    let next_due_ms = if suspected { Some(i64::MIN) } else { leased.next_due_ms };
    if let Some(due_ms) = next_due_ms {
        lane.posted(due_ms, hub.parts.clock.now_ms());
    }
    for lease in leased.leases {
        hub.start(lane.clone(), lease);
    }
    Ok(())
}
