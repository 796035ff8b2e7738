//! A pool of units that plugins share fairly (max-min): a freed unit goes to the waiting plugin
//! that holds least.
//!
//! The dispatcher shares running attempts and memory for results by it, and the store its readers
//! of keys. Units are never taken from their holder, so a pool can keep some for plugins that hold
//! none ([`FairPool::reserve_for`]).
//!
//! Invariant: a waiter that is dropped leaves the queue, and units granted to it return to the
//! pool.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::Gauge;
use tokio::sync::oneshot;

use self::queue::{FairQueue, GrantedRequest};
use crate::event::PluginName;

mod queue;
#[cfg(test)]
mod tests;

/// The pool. Clones are the same pool.
#[derive(Debug, Clone)]
pub struct FairPool(Arc<PoolState>);

#[derive(Debug)]
struct PoolState {
    capacity: u32,
    queue: Mutex<FairQueue<oneshot::Sender<FairPermit>>>,
    /// Shows the held units.
    gauge: Gauge,
    /// The value of one unit in the gauge.
    unit: f64,
}

/// Units of a pool. Dropping it returns them.
#[derive(Debug)]
pub struct FairPermit {
    pool: FairPool,
    plugin: PluginName,
    units: u32,
}

impl FairPool {
    /// Makes a pool of `capacity` units.
    pub fn new(capacity: u32) -> Self {
        Self::measured(capacity, Gauge::noop(), 1.0)
    }

    /// The same, with a gauge that shows the held units, each as `unit`.
    pub fn measured(capacity: u32, gauge: Gauge, unit: f64) -> Self {
        Self(Arc::new(PoolState {
            capacity,
            queue: Mutex::new(FairQueue::new(capacity)),
            gauge,
            unit,
        }))
    }

    /// Waits for `units`, or for the whole pool if it has fewer.
    ///
    /// The requests of one plugin are granted in order. So a request for 0 units waits until no
    /// other request of its plugin waits, and for nothing else.
    pub async fn acquire(&self, plugin: &PluginName, units: u32) -> FairPermit {
        let units = units.min(self.0.capacity);
        let mut waiting = {
            let mut queue = self.lock();
            if queue.try_take(plugin, units) {
                return self.permit(plugin.clone(), units);
            }
            let (grant, granted) = oneshot::channel();
            let ticket = queue.wait(plugin, units, grant);
            WaitingRequest { pool: self, plugin, ticket: Some(ticket), granted }
        };
        // Units that are kept from others may be granted to this request.
        self.grant();
        let permit = (&mut waiting.granted).await.expect("only a waiter removes its own request");
        waiting.ticket = None;
        permit
    }

    /// Keeps one unit for each of these plugins that holds none, up to half of the capacity. No
    /// plugin's second unit is granted from it. If there are more such plugins, they share what is
    /// kept.
    pub fn reserve_for(&self, plugins: HashSet<PluginName>) {
        self.lock().reserve_for(plugins);
        self.grant();
    }

    /// The units that a plugin holds.
    pub fn held_by(&self, plugin: &PluginName) -> u32 {
        self.lock().held(plugin)
    }

    /// The number of held units.
    #[cfg(test)]
    pub(crate) fn held(&self) -> u32 {
        self.0.capacity - self.lock().free()
    }

    /// The units of each waiting request, the oldest first.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> Vec<u32> {
        self.lock().requests()
    }

    /// Grants the next requests for as long as units are free.
    fn grant(&self) {
        loop {
            let Some(GrantedRequest { plugin, units, waiter }) = self.lock().next() else { return };
            if let Err(unwanted) = waiter.send(self.permit(plugin, units)) {
                // The waiter was just dropped. Dropping the permit would call this function
                // recursively.
                unwanted.give_back_quietly();
            }
        }
    }

    fn permit(&self, plugin: PluginName, units: u32) -> FairPermit {
        self.0.gauge.increment(f64::from(units) * self.0.unit);
        FairPermit { pool: self.clone(), plugin, units }
    }

    fn lock(&self) -> MutexGuard<'_, FairQueue<oneshot::Sender<FairPermit>>> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FairPermit {
    /// Returns the units without granting them to others.
    fn give_back_quietly(mut self) {
        self.release();
    }

    /// Returns the units, and says whether there were any.
    fn release(&mut self) -> bool {
        let units = std::mem::take(&mut self.units);
        if units > 0 {
            self.pool.lock().give_back(&self.plugin, units);
            self.pool.0.gauge.decrement(f64::from(units) * self.pool.0.unit);
        }
        units > 0
    }
}

impl Drop for FairPermit {
    fn drop(&mut self) {
        if self.release() {
            self.pool.grant();
        }
    }
}

/// A request that waits. Dropping it withdraws the request.
struct WaitingRequest<'a> {
    pool: &'a FairPool,
    plugin: &'a PluginName,
    /// Its number in the queue, until it is granted.
    ticket: Option<u64>,
    granted: oneshot::Receiver<FairPermit>,
}

impl Drop for WaitingRequest<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.pool.lock().withdraw(self.plugin, ticket);
            // Others may have waited behind it. A permit that was granted too late returns with the
            // channel.
            self.pool.grant();
        }
    }
}
