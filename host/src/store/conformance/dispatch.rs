//! A dispatcher with counted permits, which tells what was delivered and notified.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::super::{DispatchHandle, Lease, LeasePermit, MemoryReservation, Queue};
use super::lease;
use crate::event::PluginName;

/// The dispatcher as the store sees it.
#[derive(Debug)]
struct Handle {
    budgets: HashMap<String, Arc<Semaphore>>,
    /// One permit a body byte.
    memory: Arc<Semaphore>,
    delivered: UnboundedSender<Lease>,
    notified: Mutex<Vec<(PluginName, Duration)>>,
}

impl DispatchHandle for Handle {
    fn permit(&self, plugin: &str, _body_bytes: usize) -> Option<LeasePermit> {
        let budget = self.budgets.get(plugin)?.clone().try_acquire_owned().ok()?;
        Some(LeasePermit { budget, memory: None })
    }

    fn memory(&self, _plugin: &str, body_bytes: usize) -> Option<MemoryReservation> {
        let bytes = u32::try_from(body_bytes).unwrap();
        let some = || self.memory.clone().try_acquire_many_owned(bytes).ok();
        Some(MemoryReservation { plugin: some()?, total: some()? })
    }

    fn deliver(&self, leases: Vec<Lease>) {
        for lease in leases {
            // The receiver is gone when the case is over.
            let _ = self.delivered.send(lease);
        }
    }

    fn notify(&self, plugin: &PluginName, due_in: Duration) {
        self.notified.lock().unwrap().push((plugin.clone(), due_in));
    }
}

/// The dispatcher as a case sees it.
pub(super) struct TestDispatch {
    handle: Arc<Handle>,
    delivered: UnboundedReceiver<Lease>,
}

impl TestDispatch {
    /// Attaches a dispatcher with so many permits for each plugin.
    pub(super) fn attach(store: &Arc<impl Queue + ?Sized>, budgets: &[(&str, usize)]) -> Self {
        let (sender, delivered) = unbounded_channel();
        let budget = |(plugin, permits): &(&str, usize)| {
            ((*plugin).to_owned(), Arc::new(Semaphore::new(*permits)))
        };
        let memory = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        let budgets = budgets.iter().map(budget).collect();
        let handle =
            Arc::new(Handle { budgets, memory, delivered: sender, notified: Mutex::default() });
        store.attach(handle.clone());
        Self { handle, delivered }
    }

    /// Deliveries that were leased on insert and not taken from here yet.
    pub(super) async fn delivered(&mut self, store: &Arc<impl Queue + ?Sized>) -> Vec<Lease> {
        settled_down(store).await;
        std::iter::from_fn(|| self.delivered.try_recv().ok()).collect()
    }

    /// Plugins that were notified since this was asked last, and in how long their deliveries are
    /// due.
    pub(super) async fn notified(
        &self,
        store: &Arc<impl Queue + ?Sized>,
    ) -> Vec<(String, Duration)> {
        settled_down(store).await;
        let notified = std::mem::take(&mut *self.handle.notified.lock().unwrap());
        notified.into_iter().map(|(plugin, due_in)| (plugin.to_string(), due_in)).collect()
    }

    /// Permits of `plugin` that are free.
    pub(super) fn free(&self, plugin: &str) -> usize {
        self.handle.budgets[plugin].available_permits()
    }
}

/// Returns when the dispatcher has heard of everything that was answered: the writer takes nothing
/// up before that.
async fn settled_down(store: &Arc<impl Queue + ?Sized>) {
    lease(store, "nobody", 0).await;
}
