//! The state that the queues, the attempts and the store's handle share.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::health::PluginHealth;
use super::queue::{PluginQueue, PluginQueues};
use super::{body_memory, result_size};
use crate::clock::Clock;
use crate::config::Config;
use crate::event::PluginName;
use crate::fair::FairPool;
use crate::names::is_built_in;
use crate::plugins::Registry;
use crate::series::Series;
use crate::store::{MemoryReservation, Pausable, Pauses, Queue, Read};
use crate::tasks;
use crate::trace::Tracer;

/// Attempts of all plugins that run at once; each takes an instance from the sandbox's pool.
/// Plugins share them max-min, and one is kept for every loaded plugin that runs none.
pub const MAX_RUNNING: u32 = 256;

/// The parts of the host that the dispatcher works with.
#[derive(Debug, Clone)]
pub struct Deps {
    /// Where leases come from and settlements go.
    pub store: Arc<dyn Queue>,
    /// Answers plugins that read their keys.
    pub reads: Arc<dyn Read>,
    /// Routes for emitted events, and settings of plugins.
    pub config: Arc<ArcSwap<Config>>,
    /// The loaded plugins.
    pub registry: Arc<ArcSwap<Registry>>,
    /// Where attempts are counted by type and plugin.
    pub series: Arc<Series>,
    /// Begins the spans of attempts.
    pub tracer: Tracer,
    /// Tells when something is due.
    pub clock: Clock,
    /// Runs the attempts, apart from the runtime that takes requests in.
    pub runtime: Handle,
}

/// The parts of the host, and the pools that all plugins share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) deps: Deps,
    /// The queues of every loaded plugin.
    pub(super) queues: ArcSwap<HashMap<PluginName, PluginQueues>>,
    /// The plugins that operators have paused.
    pub(super) pauses: watch::Receiver<Arc<Pauses>>,
    body_memory: Arc<Semaphore>,
    /// Running attempts.
    pub(super) running: FairPool,
    /// Memory, in KiB, of settlements that are not durable yet.
    pub(super) pending_results: FairPool,
    /// The turn of the one trial that may run.
    pub(super) trials: Arc<Semaphore>,
    pub(super) tasks: TaskTracker,
    /// Cancelled when no more deliveries are to be leased.
    pub(super) stopping: CancellationToken,
    /// Cancelled when running attempts are to be given back.
    pub(super) aborting: CancellationToken,
    /// Cancelled and replaced when those that there are now are to be given back. It ends with
    /// `aborting`.
    present: ArcSwap<CancellationToken>,
    /// Notified when log lines were omitted.
    pub(super) lines_omitted: Arc<Notify>,
    /// Ends the task that logs their counts.
    _ended: DropGuard,
}

impl Shared {
    pub(super) fn new(deps: Deps, lines_omitted: Arc<Notify>, ended: DropGuard) -> Self {
        let pending = metrics::gauge!("hookbox_verdicts_waiting_bytes");
        let pauses = deps.reads.pauses();
        let aborting = CancellationToken::new();
        Self {
            deps,
            pauses,
            queues: ArcSwap::default(),
            body_memory: Arc::new(Semaphore::new(body_memory::MAX_KIB as usize)),
            running: FairPool::new(MAX_RUNNING),
            pending_results: FairPool::measured(result_size::MAX_PENDING_KIB, pending, 1024.0),
            trials: Arc::new(Semaphore::new(1)),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            present: ArcSwap::from_pointee(aborting.child_token()),
            aborting,
            lines_omitted,
            _ended: ended,
        }
    }

    /// Starts a task that [`super::Dispatcher::drain`] waits for.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        tasks::spawn_on(&self.deps.runtime, self.tasks.track_future(work));
    }

    /// Cancelled when an attempt that begins now is to be given back.
    pub(super) fn present(&self) -> Arc<CancellationToken> {
        self.present.load_full()
    }

    /// Gives back the attempts that there are now.
    pub(super) fn abort_present(&self) {
        let next = Arc::new(self.aborting.child_token());
        // Attempts that begin from here on have the new token, and go on.
        self.present.swap(next).cancel();
    }

    /// Reserves memory for the body of a delivery in this queue.
    pub(super) fn reserve_memory(
        &self,
        queue: &PluginQueue,
        body_bytes: usize,
    ) -> Option<MemoryReservation> {
        let kib = u32::try_from(body_bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let free_kib = self.body_memory.available_permits();
        if !body_memory::may_reserve(queue.reserved_kib(), kib as usize, free_kib) {
            return None;
        }
        let plugin = queue.reserve_memory(kib)?;
        // This decides, since others may have reserved memory after the check above.
        let total = self.body_memory.clone().try_acquire_many_owned(kib).ok()?;
        Some(MemoryReservation { plugin, total })
    }

    /// Reserves an instance for every loaded plugin that may run. The plugins of the host itself
    /// need none.
    pub(super) fn reserve(&self) {
        let (queues, pauses) = (self.queues.load(), self.pauses.borrow().clone());
        let may_run =
            |name: &&PluginName| !is_built_in(name) && pauses.of(Pausable::Plugin, name).is_none();
        self.running.reserve_for(queues.keys().filter(may_run).cloned().collect());
    }

    /// The health of a plugin that has not run yet.
    pub(super) fn new_health(&self, plugin: &PluginName) -> Arc<PluginHealth> {
        PluginHealth::new(plugin.clone(), self.deps.clock.clone(), self.lines_omitted.clone())
    }
}
