//! The second half of the road: permit → lease → invoke → verdict → settle.
//!
//! Each loaded plugin has a *queue*: a lease budget, and a smaller number of concurrent attempts. A
//! delivery whose batch finds a permit is leased on insert and comes here in memory. Everything
//! else is leased when it is due. Deliveries that ran when a host died go through the plugin's
//! *quarantine queue*, one at a time, so that a second crash leaves few that can have caused it.
//! The decisions are in `docs/design/dispatch.md`.
//!
//! ```text
//! handle (from the store) ─┐
//! leasing (loop) ──────────┴─► attempt ──► outcome (pure) ──► settle
//!              queue · rate · conflicts · body_memory · result_size · health · spans
//! ```
//!
//! Invariant: every lease is settled, on every path. It is given back, and its attempt is not
//! spent, when the plugin is gone, there is no instance, or the host stops.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use self::built_in::BuiltIn;
use self::handle::WeakHandle;
use self::queue::PluginQueues;
use self::shared::Shared;
use crate::event::{DeliveryId, PluginName};
use crate::store::Pauses;
use crate::tasks;

mod attempt;
mod body_memory;
mod bucket_reader;
mod built_in;
mod conflicts;
mod dead_letter;
mod gathered;
mod handle;
mod health;
mod leased_steps;
mod leasing;
mod metrics;
mod outcome;
mod queue;
mod rate;
mod result_size;
mod settle;
mod shared;
mod spans;
mod trial;

pub use health::{BreakerView, OpenView, RECORD_BYTES_PER_SECOND};
pub use outcome::{MAX_HOPS, MAX_KV_BYTES};
pub use queue::QueueView;
pub use shared::{Deps, MAX_RUNNING};
pub use trial::{MAX_TRIAL_MS, NotTried, Trial, Trials};

/// How long running attempts may go on after the host was told to stop, before they are given back.
const DRAIN: Duration = Duration::from_secs(10);

/// How long giving back may take, so that a disk that refuses writes does not keep the host
/// running.
const GIVE_BACK: Duration = Duration::from_secs(5);

/// How often expired windows of omitted log lines are looked for.
const LOG_OMITTED_EVERY: Duration = Duration::from_secs(1);

/// Runs deliveries until it is drained.
#[derive(Debug)]
pub struct Dispatcher {
    shared: Arc<Shared>,
}

/// The circuit breakers of the loaded plugins, for those who show them. The default has none.
#[derive(Debug, Clone, Default)]
pub struct Breakers(Weak<Shared>);

impl Breakers {
    /// The breaker of a plugin, if it is loaded.
    pub fn of(&self, plugin: &str) -> Option<BreakerView> {
        let shared = self.0.upgrade()?;
        let queues = shared.queues.load();
        Some(queues.get(plugin)?.regular.health.breaker())
    }
}

/// The queues of the loaded plugins, for those who show them. The default has none.
#[derive(Debug, Clone, Default)]
pub struct QueueViews(Weak<Shared>);

impl QueueViews {
    /// How full the queue of a plugin is, if it has one.
    pub fn of(&self, plugin: &str) -> Option<QueueView> {
        let shared = self.0.upgrade()?;
        let queues = shared.queues.load();
        Some(queues.get(plugin)?.regular.view())
    }

    /// How many attempts of a plugin run, or wait for memory for their verdict.
    pub fn attempts_running(&self, plugin: &PluginName) -> u32 {
        self.0.upgrade().map_or(0, |shared| shared.running.held_by(plugin))
    }

    /// Whether a delivery of a plugin is leased and waits until it may start by the plugin's rate.
    pub fn waits_for_rate(&self, plugin: &str, delivery: DeliveryId) -> bool {
        let Some(shared) = self.0.upgrade() else { return false };
        let queues = shared.queues.load();
        queues.get(plugin).is_some_and(|queues| queues.regular.waits_for_rate(delivery))
    }
}

impl Dispatcher {
    /// Attaches to the store and starts the queues of every loaded plugin.
    pub fn start(deps: Deps) -> Self {
        let (lines_omitted, ended) = (Arc::<Notify>::default(), CancellationToken::new());
        let shared = Arc::new(Shared::new(deps, lines_omitted.clone(), ended.clone().drop_guard()));
        let pauses = shared.pauses.clone();
        let reserve_again = reserve_again(Arc::downgrade(&shared), pauses, ended.clone());
        tasks::spawn_on(&shared.deps.runtime, reserve_again);
        let log_omitted = log_omitted(Arc::downgrade(&shared), lines_omitted, ended);
        tasks::spawn_on(&shared.deps.runtime, log_omitted);
        // Before the first queue leases, or notifications would be missed.
        shared.deps.store.attach(Arc::new(WeakHandle(Arc::downgrade(&shared))));
        let dispatcher = Self { shared };
        dispatcher.refresh();
        dispatcher
    }

    /// Adapts to a changed registry or configuration: opens queues for new plugins, closes those of
    /// plugins that are gone, and sets the limits.
    pub fn refresh(&self) {
        let shared = &self.shared;
        let (registry, config) = (shared.deps.registry.load(), shared.deps.config.load());
        let old = shared.queues.load();
        let (mut queues, mut opened) = (HashMap::new(), Vec::new());
        for (name, entry) in registry.entries() {
            let Some(loaded) = &entry.loaded else { continue };
            let settings = config.plugin(name);
            // A plugin that stays keeps its queues, and with them its permits and its breaker.
            let of_plugin = old.get(name).cloned().unwrap_or_else(|| {
                let health = shared.new_health(name);
                let now_ms = shared.deps.clock.host_ms();
                let new = PluginQueues::new(settings.concurrency, health, &shared.pauses, now_ms);
                opened.extend([new.regular.clone(), new.quarantine.clone()]);
                new
            });
            of_plugin.regular.set_concurrency(settings.concurrency);
            of_plugin.regular.set_rate(settings.rate);
            of_plugin.regular.health.adapt(loaded.digest, settings.breaker);
            queues.insert(name.clone(), of_plugin);
        }
        for name in BuiltIn::all(&config) {
            let of_plugin = old.get(&name).cloned().unwrap_or_else(|| {
                let (health, now_ms) = (shared.new_health(&name), shared.deps.clock.host_ms());
                let new = PluginQueues::new(built_in::CONCURRENCY, health, &shared.pauses, now_ms);
                opened.extend([new.regular.clone(), new.quarantine.clone()]);
                new
            });
            queues.insert(name, of_plugin);
        }
        old.iter()
            .filter(|(name, _)| !queues.contains_key(*name))
            .for_each(|(_, gone)| gone.close());
        drop(old);
        shared.queues.store(Arc::new(queues));
        shared.reserve();
        // Only now: a queue that leases before the store's handle finds it here misses
        // notifications.
        for queue in opened {
            shared.spawn(leasing::run(shared.clone(), queue));
        }
    }

    /// The circuit breakers of the plugins.
    pub fn breakers(&self) -> Breakers {
        Breakers(Arc::downgrade(&self.shared))
    }

    /// Runs events without effects.
    pub fn trials(&self) -> Trials {
        Trials::of(&self.shared)
    }

    /// The queues of the plugins.
    pub fn queues(&self) -> QueueViews {
        QueueViews(Arc::downgrade(&self.shared))
    }

    /// Stops leasing, lets running attempts finish for a while, and gives back the rest. Afterwards
    /// no lease is held.
    pub async fn drain(&self) {
        let shared = &self.shared;
        shared.stopping.cancel();
        // Waiting for the tracker ends only once it is closed.
        shared.tasks.close();
        if tokio::time::timeout(DRAIN, shared.tasks.wait()).await.is_err() {
            shared.aborting.cancel();
            if tokio::time::timeout(GIVE_BACK, shared.tasks.wait()).await.is_err() {
                tracing::warn!("some leases could not be given back; the next start takes them up");
            }
        }
        // Otherwise the counts of omitted lines would be lost with the host.
        shared.queues.load().values().for_each(|queues| queues.regular.health.log_all());
    }
}

/// Reserves instances anew whenever a plugin is paused or goes on.
async fn reserve_again(
    shared: Weak<Shared>,
    mut pauses: watch::Receiver<Arc<Pauses>>,
    ended: CancellationToken,
) {
    loop {
        tokio::select! {
            () = ended.cancelled() => return,
            changed = pauses.changed() => if changed.is_err() { return },
        }
        let Some(shared) = shared.upgrade() else { return };
        shared.reserve();
    }
}

/// Logs how many lines were omitted, also when no further line comes.
async fn log_omitted(shared: Weak<Shared>, lines_omitted: Arc<Notify>, ended: CancellationToken) {
    loop {
        tokio::select! {
            () = ended.cancelled() => return,
            () = lines_omitted.notified() => {}
        }
        let mut more = true;
        while more {
            tokio::select! {
                () = ended.cancelled() => return,
                () = tokio::time::sleep(LOG_OMITTED_EVERY) => {}
            }
            let Some(shared) = shared.upgrade() else { return };
            more = false;
            for queues in shared.queues.load().values() {
                more |= queues.regular.health.log_expired();
            }
        }
    }
}

#[cfg(test)]
mod tests;
