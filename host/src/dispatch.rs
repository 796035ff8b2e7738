//! The second half of the road: permit → lease → invoke → verdict → settle.
//!
//! Each loaded plugin has a *lane*: a bounded hand of leases, and a smaller number of attempts that run at once. A
//! delivery whose batch finds a free place is born leased and comes here in memory; everything else is leased when it
//! is due. What was running when a host died goes through a lane of its own, one at a time, so that a second crash
//! tells which event it was.
//!
//! Invariant: whoever holds a lease settles it, on every way out; a lease is given back, its attempt unspent, when the
//! plugin is gone, the pool has no room or the host stops.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::lane::Lane;
use crate::clock::Clock;
use crate::config::Config;
use crate::event::PluginName;
use crate::plugins::Shelf;
use crate::store::{Desk, Lease, Place, Store};
use crate::tasks;

mod attempt;
mod lane;
mod verdict;

pub use verdict::{MAX_HOPS, MAX_KV_BYTES};

/// Bodies of born-leased events that are held in memory, in KiB; over it, deliveries wait in the store.
const MAX_HELD_KIB: u32 = 64 * 1024;

/// How long running attempts may go on after the host was told to stop, before they are given back.
const DRAIN: Duration = Duration::from_secs(10);

/// What the dispatcher works with.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Where leases come from and settlements go.
    pub store: Arc<dyn Store>,
    /// Routes for emitted events, settings of plugins.
    pub config: Arc<ArcSwap<Config>>,
    /// What can be invoked.
    pub shelf: Arc<ArcSwap<Shelf>>,
    /// Tells when something is due.
    pub clock: Clock,
    /// Runs the attempts, apart from the runtime that takes requests in.
    pub runtime: Handle,
}

/// Runs deliveries until it is drained.
#[derive(Debug)]
pub struct Dispatcher {
    hub: Arc<Hub>,
}

/// What lanes and attempts share.
#[derive(Debug)]
struct Hub {
    parts: Parts,
    lanes: ArcSwap<HashMap<PluginName, Arc<Lane>>>,
    suspects: Arc<Lane>,
    held_kib: Arc<Semaphore>,
    tasks: TaskTracker,
    /// No new leases.
    stopping: CancellationToken,
    /// Running attempts are given back.
    aborting: CancellationToken,
}

impl Dispatcher {
    /// Attaches to the store and starts a lane for every loaded plugin.
    pub fn start(parts: Parts) -> Self {
        let hub = Arc::new(Hub {
            lanes: ArcSwap::default(),
            suspects: Arc::new(Lane::suspects()),
            held_kib: Arc::new(Semaphore::new(MAX_HELD_KIB as usize)),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            aborting: CancellationToken::new(),
            parts,
        });
        let dispatcher = Self { hub: hub.clone() };
        dispatcher.refresh();
        hub.parts.store.attach(Arc::new(Front(Arc::downgrade(&hub))));
        let suspects = hub.suspects.clone();
        hub.spawn(lane::run(hub.clone(), suspects));
        dispatcher
    }

    /// Takes up a changed shelf or configuration: lanes for new plugins, none for those that are gone, new limits.
    pub fn refresh(&self) {
        let hub = &self.hub;
        let (shelf, config) = (hub.parts.shelf.load(), hub.parts.config.load());
        let old = hub.lanes.load();
        let mut lanes = HashMap::new();
        for (name, _) in shelf.slots().filter(|(_, slot)| slot.loaded.is_some()) {
            let concurrency = config.plugin(name).concurrency;
            let lane = match old.get(name) {
                Some(lane) => lane.clone(),
                None => {
                    let lane = Arc::new(Lane::of(name.clone(), concurrency));
                    hub.spawn(lane::run(hub.clone(), lane.clone()));
                    lane
                }
            };
            lane.set_concurrency(concurrency);
            lanes.insert(name.clone(), lane);
        }
        for (_, lane) in old.iter().filter(|(name, _)| !lanes.contains_key(*name)) {
            lane.close();
        }
        drop(old);
        hub.lanes.store(Arc::new(lanes));
        // Suspects of a plugin that was away may be able to run now.
        hub.suspects.wake(i64::MIN);
    }

    /// Stops leasing, lets running attempts finish for a while, gives back the rest. Afterwards nothing is held.
    pub async fn drain(&self) {
        let hub = &self.hub;
        hub.stopping.cancel();
        hub.tasks.close();
        if tokio::time::timeout(DRAIN, hub.tasks.wait()).await.is_err() {
            hub.aborting.cancel();
            hub.tasks.wait().await;
        }
    }
}

impl Hub {
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        tasks::spawn_on(&self.parts.runtime, self.tasks.track_future(work));
    }

    /// Starts an attempt. The lease comes with its place, so there are never more than the hands hold.
    fn start(self: &Arc<Self>, lane: Arc<Lane>, lease: Lease) {
        self.spawn(attempt::run(self.clone(), lane, lease));
    }
}

/// What the store knows of the dispatcher. Weak, because the dispatcher holds the store.
#[derive(Debug)]
struct Front(Weak<Hub>);

impl Desk for Front {
    fn reserve(&self, plugin: &str, body_bytes: usize) -> Option<Place> {
        let hub = self.0.upgrade().filter(|hub| !hub.stopping.is_cancelled())?;
        let hand = hub.lanes.load().get(plugin)?.place_for_newborn()?;
        let kib = u32::try_from(body_bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let bytes = hub.held_kib.clone().try_acquire_many_owned(kib).ok()?;
        Some(Place { hand, bytes: Some(bytes) })
    }

    fn deliver(&self, leases: Vec<Lease>) {
        let Some(hub) = self.0.upgrade() else { return };
        let lanes = hub.lanes.load();
        for lease in leases {
            // A plugin that went away since its place was reserved has no lane: its leases are given back.
            let lane = lanes.get(&lease.plugin).unwrap_or(&hub.suspects).clone();
            hub.start(lane, lease);
        }
    }

    fn posted(&self, plugin: &PluginName, due_ms: i64) {
        let Some(hub) = self.0.upgrade() else { return };
        if let Some(lane) = hub.lanes.load().get(plugin) {
            lane.posted(due_ms, hub.parts.clock.now_ms());
        }
    }
}
