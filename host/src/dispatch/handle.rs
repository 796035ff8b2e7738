//! The dispatcher as the store sees it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::attempt;
use super::queue::{PluginQueue, QUARANTINE_DELAY};
use super::shared::Shared;
use crate::event::PluginName;
use crate::store::{DispatchHandle, Lease, LeasePermit, MemoryReservation};

/// The store's handle. It is weak, because the dispatcher holds the store.
#[derive(Debug)]
pub(super) struct WeakHandle(pub(super) Weak<Shared>);

impl DispatchHandle for WeakHandle {
    fn permit(&self, plugin: &str, body_bytes: usize) -> Option<LeasePermit> {
        let shared = self.0.upgrade().filter(|shared| !shared.stopping.is_cancelled())?;
        let queues = shared.queues.load();
        let queue = &queues.get(plugin)?.regular;
        let budget = queue.permit_on_insert()?;
        Some(LeasePermit { budget, memory: Some(shared.reserve_memory(queue, body_bytes)?) })
    }

    fn memory(&self, plugin: &str, body_bytes: usize) -> Option<MemoryReservation> {
        let shared = self.0.upgrade()?;
        let queues = shared.queues.load();
        shared.reserve_memory(&queues.get(plugin)?.regular, body_bytes)
    }

    fn deliver(&self, leases: Vec<Lease>) {
        let Some(shared) = self.0.upgrade() else { return };
        let queues = shared.queues.load();
        for lease in leases {
            // A plugin that is gone since its permit was taken has no queue: its lease is given
            // back.
            let queue = queues.get(&lease.plugin).map(|queues| queues.regular.clone());
            let queue = queue
                .unwrap_or_else(|| Arc::new(PluginQueue::closed(shared.new_health(&lease.plugin))));
            attempt::start(&shared, queue, lease, None);
        }
    }

    fn notify(&self, plugin: &PluginName, due_in: Duration) {
        let Some(shared) = self.0.upgrade() else { return };
        if let Some(queues) = shared.queues.load().get(plugin) {
            queues.regular.notify(due_in, shared.deps.clock.host_ms());
        }
    }

    fn notify_quarantine(&self, plugin: &PluginName) {
        let Some(shared) = self.0.upgrade() else { return };
        if let Some(queues) = shared.queues.load().get(plugin) {
            queues.quarantine.notify(QUARANTINE_DELAY, shared.deps.clock.host_ms());
        }
    }

    fn give_back_all(&self) {
        if let Some(shared) = self.0.upgrade() {
            shared.abort_present();
        }
    }
}
