//! The second half of the road: permit → lease → invoke → verdict → settle.
//!
//! Each loaded plugin has a *lane*: a bounded hand of leases, and a smaller number of attempts that run at once. A
//! delivery whose batch finds a free permit is leased on insert and comes here in memory; everything else is leased when it
//! is due. What a host held when it died goes through a second lane of the plugin, one at a time, so that a second
//! crash leaves few that it can have been.
//!
//! Invariant: whoever holds a lease settles it, on every way out; a lease is given back, its attempt unspent, when the
//! plugin is gone, the pool has no room or the host stops.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::health::{Health, Probe};
use self::lane::Lane;
use crate::clock::Clock;
use crate::config::Config;
use crate::event::PluginName;
use crate::fair::FairPool;
use crate::plugins::Registry;
use crate::store::{DispatchHandle, Lease, LeasePermit, MemoryReservation, Queue, Read};
use crate::tasks;

mod attempt;
mod bodies;
mod breaker;
mod failure_log;
mod forward;
mod health;
mod lane;
mod record_budget;
mod verdict;
mod weight;

pub use health::{BreakerView, OpenView};
pub use record_budget::RECORD_BYTES_PER_SECOND;
pub use verdict::{MAX_HOPS, MAX_KV_BYTES};

/// Attempts that run at once, over all plugins: each takes an instance from the sandbox's pool. Plugins share them
/// max-min, and one is kept for every loaded plugin that runs none.
pub const MAX_RUNNING: u32 = 256;

/// How long a started host leaves suspects alone: it serves before it may die of one, and a host that is killed again and
/// again by something else condemns none.
const SUSPECTS_WAIT_MS: i64 = 1_000;

/// How long running attempts may go on after the host was told to stop, before they are given back.
const DRAIN: Duration = Duration::from_secs(10);

/// How long giving back may take: a disk that refuses does not keep the host from ending.
const GIVE_BACK: Duration = Duration::from_secs(5);

/// How often somebody looks whether lines that were left out of the log are to be counted there.
const COUNT_LINES: Duration = Duration::from_secs(1);

/// What the dispatcher works with.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Where leases come from and settlements go.
    pub store: Arc<dyn Queue>,
    /// Answers what plugins ask of their keys.
    pub reads: Arc<dyn Read>,
    /// Routes for emitted events, settings of plugins.
    pub config: Arc<ArcSwap<Config>>,
    /// What can be invoked.
    pub shelf: Arc<ArcSwap<Registry>>,
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

/// The two lanes of a plugin.
#[derive(Debug, Clone)]
struct Lanes {
    usual: Arc<Lane>,
    suspects: Arc<Lane>,
}

impl Lanes {
    fn of(plugin: &PluginName, concurrency: usize, health: Arc<Health>, now_ms: i64) -> Self {
        let usual = Lane::usual(plugin.clone(), concurrency, health);
        let suspects = Lane::suspects(&usual, now_ms.saturating_add(SUSPECTS_WAIT_MS));
        Self { usual: Arc::new(usual), suspects: Arc::new(suspects) }
    }
}

/// What lanes and attempts share.
#[derive(Debug)]
struct Hub {
    parts: Parts,
    lanes: ArcSwap<HashMap<PluginName, Lanes>>,
    held_kib: Arc<Semaphore>,
    running: FairPool,
    /// Memory, in KiB, that verdicts hold until they are durable.
    verdicts: FairPool,
    tasks: TaskTracker,
    /// No new leases.
    stopping: CancellationToken,
    /// Running attempts are given back.
    aborting: CancellationToken,
    /// Lines were left out of the log.
    owing: Arc<Notify>,
    /// Ends who counts them.
    _ended: DropGuard,
}

/// The circuit breakers of the loaded plugins, for those who show them. The default knows of none.
#[derive(Debug, Clone, Default)]
pub struct Breakers(Weak<Hub>);

impl Breakers {
    /// That of one plugin, if it is loaded.
    pub fn of(&self, plugin: &str) -> Option<BreakerView> {
        let hub = self.0.upgrade()?;
        let lanes = hub.lanes.load();
        Some(lanes.get(plugin)?.usual.health.breaker())
    }
}

impl Dispatcher {
    /// Attaches to the store and starts a lane for every loaded plugin.
    pub fn start(parts: Parts) -> Self {
        let (owing, ended) = (Arc::<Notify>::default(), CancellationToken::new());
        let hub = Arc::new(Hub {
            lanes: ArcSwap::default(),
            held_kib: Arc::new(Semaphore::new(bodies::MAX_HELD_KIB as usize)),
            running: FairPool::measured(MAX_RUNNING, metrics::gauge!("hookbox_attempts_running"), 1.0),
            verdicts: FairPool::measured(
                weight::MAX_WAITING_KIB,
                metrics::gauge!("hookbox_verdicts_waiting_bytes"),
                1024.0,
            ),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            aborting: CancellationToken::new(),
            owing: owing.clone(),
            _ended: ended.clone().drop_guard(),
            parts,
        });
        let dispatcher = Self { hub: hub.clone() };
        tasks::spawn_on(&hub.parts.runtime, count_lines(Arc::downgrade(&hub), owing, ended));
        hub.parts.store.attach(Arc::new(Front(Arc::downgrade(&hub))));
        dispatcher.refresh();
        dispatcher
    }

    /// Takes up a changed shelf or configuration: lanes for new plugins, none for those that are gone, new limits.
    pub fn refresh(&self) {
        let hub = &self.hub;
        let (shelf, config) = (hub.parts.shelf.load(), hub.parts.config.load());
        let old = hub.lanes.load();
        let (mut lanes, mut opened) = (HashMap::new(), Vec::new());
        for (name, slot) in shelf.entries() {
            let Some(loaded) = &slot.loaded else { continue };
            let settings = config.plugin(name);
            let concurrency = settings.concurrency;
            let both = old.get(name).cloned().unwrap_or_else(|| {
                let both = Lanes::of(name, concurrency, hub.health(name), hub.parts.clock.host_ms());
                opened.extend([both.usual.clone(), both.suspects.clone()]);
                both
            });
            both.usual.set_concurrency(concurrency);
            both.usual.health.take_up(loaded.digest, settings.breaker);
            lanes.insert(name.clone(), both);
        }
        for (_, both) in old.iter().filter(|(name, _)| !lanes.contains_key(*name)) {
            both.usual.close();
            both.suspects.close();
            both.usual.health.close();
        }
        drop(old);
        hub.running.reserve_for(lanes.keys().cloned().collect());
        hub.lanes.store(Arc::new(lanes));
        // Only now: a lane that asks before it is known here would miss what is posted to it meanwhile.
        for lane in opened {
            hub.spawn(lane::run(hub.clone(), lane));
        }
    }

    /// The circuit breakers of its plugins.
    pub fn breakers(&self) -> Breakers {
        Breakers(Arc::downgrade(&self.hub))
    }

    /// Stops leasing, lets running attempts finish for a while, gives back the rest. Afterwards nothing is held.
    pub async fn drain(&self) {
        let hub = &self.hub;
        hub.stopping.cancel();
        hub.tasks.close();
        if tokio::time::timeout(DRAIN, hub.tasks.wait()).await.is_err() {
            hub.aborting.cancel();
            if tokio::time::timeout(GIVE_BACK, hub.tasks.wait()).await.is_err() {
                tracing::warn!("not everything could be given back; the next start takes it up");
            }
        }
        hub.lanes.load().values().for_each(|both| both.usual.health.write_up());
    }
}

/// Counts in the log what was left out of it, also when nothing fails any more.
async fn count_lines(hub: Weak<Hub>, owing: Arc<Notify>, ended: CancellationToken) {
    loop {
        tokio::select! {
            () = ended.cancelled() => return,
            () = owing.notified() => {}
        }
        let mut owes = true;
        while owes {
            tokio::select! {
                () = ended.cancelled() => return,
                () = tokio::time::sleep(COUNT_LINES) => {}
            }
            let Some(hub) = hub.upgrade() else { return };
            owes = false;
            for both in hub.lanes.load().values() {
                owes |= both.usual.health.look();
            }
        }
    }
}

impl Hub {
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        tasks::spawn_on(&self.parts.runtime, self.tasks.track_future(work));
    }

    /// Memory for a body in this lane.
    fn memory(&self, lane: &Lane, body_bytes: usize) -> Option<MemoryReservation> {
        let kib = u32::try_from(body_bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        if !bodies::may_take(lane.held_kib(), kib as usize, self.held_kib.available_permits()) {
            return None;
        }
        let plugin = lane.share(kib)?;
        Some(MemoryReservation { plugin, total: self.held_kib.clone().try_acquire_many_owned(kib).ok()? })
    }

    /// How a plugin fares that has just come.
    fn health(&self, plugin: &PluginName) -> Arc<Health> {
        Health::new(plugin.clone(), self.parts.clock.clone(), self.owing.clone())
    }

    /// Starts an attempt. The lease comes with its permit, so there are never more than the lease budgets allow.
    fn start(self: &Arc<Self>, lane: Arc<Lane>, lease: Lease, probe: Option<Probe>) {
        self.spawn(attempt::run(self.clone(), lane, lease, probe));
    }
}

/// What the store knows of the dispatcher. Weak, because the dispatcher holds the store.
#[derive(Debug)]
struct Front(Weak<Hub>);

impl DispatchHandle for Front {
    fn permit(&self, plugin: &str, body_bytes: usize) -> Option<LeasePermit> {
        let hub = self.0.upgrade().filter(|hub| !hub.stopping.is_cancelled())?;
        let lanes = hub.lanes.load();
        let lane = &lanes.get(plugin)?.usual;
        let budget = lane.place_for_newborn()?;
        Some(LeasePermit { budget, memory: Some(hub.memory(lane, body_bytes)?) })
    }

    fn memory(&self, plugin: &str, body_bytes: usize) -> Option<MemoryReservation> {
        let hub = self.0.upgrade()?;
        let lanes = hub.lanes.load();
        hub.memory(&lanes.get(plugin)?.usual, body_bytes)
    }

    fn deliver(&self, leases: Vec<Lease>) {
        let Some(hub) = self.0.upgrade() else { return };
        let lanes = hub.lanes.load();
        for lease in leases {
            // A plugin that went away since its permit was taken has no lane: its lease is given back.
            let lane = lanes.get(&lease.plugin).map(|both| both.usual.clone());
            let gone = || Arc::new(Lane::closed(lease.plugin.clone(), hub.health(&lease.plugin)));
            hub.start(lane.unwrap_or_else(gone), lease, None);
        }
    }

    fn notify(&self, plugin: &PluginName, due_in: Duration) {
        let Some(hub) = self.0.upgrade() else { return };
        if let Some(both) = hub.lanes.load().get(plugin) {
            both.usual.posted(due_in, hub.parts.clock.host_ms());
        }
    }
}

#[cfg(test)]
mod tests;
