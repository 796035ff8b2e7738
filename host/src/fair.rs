//! A pool of units that plugins share fairly (max-min): a freed unit goes to the waiting plugin that holds least.
//!
//! The dispatcher shares places for attempts and memory for verdicts by it, and the store its readers of keys. Units are
//! not taken back from their holder, so a pool can keep some for plugins that hold none ([`FairPool::reserve_for`]).
//!
//! Invariant: a waiter that goes away leaves nothing behind, and whatever it was given is given back.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::Gauge;
use tokio::sync::oneshot;

use self::queue::{FairQueue, Granted};
use crate::event::PluginName;

mod queue;
#[cfg(test)]
mod tests;

/// The pool. Clones are the same one.
#[derive(Debug, Clone)]
pub struct FairPool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    capacity: u32,
    queue: Mutex<FairQueue<oneshot::Sender<FairPermit>>>,
    /// Follows what is held.
    gauge: Gauge,
    /// What one unit counts for in the gauge.
    unit: f64,
}

/// Units of a pool; dropping it gives them back.
#[derive(Debug)]
pub struct FairPermit {
    pool: FairPool,
    plugin: PluginName,
    units: u32,
}

impl FairPool {
    /// A pool of `capacity` units.
    pub fn new(capacity: u32) -> Self {
        Self::measured(capacity, Gauge::noop(), 1.0)
    }

    /// The same, with a gauge that shows what is held; one unit counts for `unit`.
    pub fn measured(capacity: u32, gauge: Gauge, unit: f64) -> Self {
        Self(Arc::new(Shared { capacity, queue: Mutex::new(FairQueue::new(capacity)), gauge, unit }))
    }

    /// Waits for `units`; for all there are if the pool has fewer.
    ///
    /// The requests of one plugin are served in order. One for 0 units therefore waits until no other request of the
    /// same plugin does, and for nothing else.
    pub async fn acquire(&self, plugin: &PluginName, units: u32) -> FairPermit {
        let units = units.min(self.0.capacity);
        let mut waiting = {
            let mut queue = self.lock();
            if queue.try_take(plugin, units) {
                return self.permit(plugin.clone(), units);
            }
            let (grant, granted) = oneshot::channel();
            let ticket = queue.wait(plugin, units, grant);
            Waiting { pool: self, plugin, ticket: Some(ticket), granted }
        };
        // Units that the others may not have yet may be for this one.
        self.grant();
        let permit = (&mut waiting.granted).await.expect("a waiter is forgotten by nobody but itself");
        waiting.ticket = None;
        permit
    }

    /// Keeps one unit for each of these plugins that holds none, up to half of the capacity: nobody's second unit is
    /// taken from what is kept. Plugins beyond that share what is kept.
    pub fn reserve_for(&self, plugins: HashSet<PluginName>) {
        self.lock().reserve_for(plugins);
        self.grant();
    }

    /// Units that are held.
    #[cfg(test)]
    pub(crate) fn held(&self) -> u32 {
        self.0.capacity - self.lock().free()
    }

    /// The units of each request that waits, the oldest first.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> Vec<u32> {
        self.lock().requests()
    }

    /// Hands what is free to those who are next.
    fn grant(&self) {
        loop {
            let Some(Granted { plugin, units, waiter }) = self.lock().next() else { return };
            if let Err(unwanted) = waiter.send(self.permit(plugin, units)) {
                // The waiter has just gone away. Not by dropping, which would come back here once for each.
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
    /// Gives the units back, and leaves it to the caller to hand them on.
    fn give_back_quietly(mut self) {
        self.release();
    }

    /// Says whether there was anything to give back.
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

/// A request that waits.
struct Waiting<'a> {
    pool: &'a FairPool,
    plugin: &'a PluginName,
    /// Its number in the queue, until it has what it waits for.
    ticket: Option<u64>,
    granted: oneshot::Receiver<FairPermit>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.pool.lock().withdraw(self.plugin, ticket);
            // It may have been in the way of others. A permit that came too late is given back with the channel.
            self.pool.grant();
        }
    }
}
