//! Run slots, which CPU-bound guests hold while they poll.
//!
//! A plugin that computes alone may use every core. Several that compute share all cores but one,
//! so that whatever else the host does finds a core. There is always one slot.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::task::ready;
use std::thread;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::GuestMeter;

/// The slots of all plugins.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct RunSlots(Arc<SlotPool>);

#[derive(Debug)]
struct SlotPool {
    cores: usize,
    /// One for each core but one.
    usual: Semaphore,
    /// One for the last core, which a plugin takes while no other one wants any.
    spare: Semaphore,
    /// Plugins that want a slot or hold one.
    wanting: AtomicUsize,
}

/// The slots as one plugin sees them.
#[derive(Debug)]
pub(in crate::sandbox) struct PluginSlots {
    shared: Arc<SlotPool>,
    /// One for each core: the guests of a plugin that wait for more do so here, and keep no other
    /// plugin waiting.
    own: Semaphore,
    /// Guests that want a slot or hold one.
    wanting: AtomicUsize,
    /// Whether the last guest that ended was CPU-bound: the next one needs a slot from its start.
    last_was_cpu_bound: AtomicBool,
}

/// A slot that is held.
type HeldSlot<'a> = (SemaphorePermit<'a>, SemaphorePermit<'a>, WantedSlot<'a>);

impl RunSlots {
    pub(in crate::sandbox) fn new(cores: usize) -> Self {
        let cores = cores.max(1);
        let usual = Semaphore::new((cores - 1).max(1));
        let spare = Semaphore::new(usize::from(cores > 1));
        Self(Arc::new(SlotPool { cores, usual, spare, wanting: AtomicUsize::new(0) }))
    }

    /// The slots for one more plugin.
    pub(in crate::sandbox) fn plugin(&self) -> PluginSlots {
        PluginSlots {
            shared: Arc::clone(&self.0),
            own: Semaphore::new(self.0.cores),
            wanting: AtomicUsize::new(0),
            last_was_cpu_bound: AtomicBool::new(false),
        }
    }
}

impl PluginSlots {
    /// Runs a guest: once it is CPU-bound, or if the plugin's last one was, it polls only in a
    /// slot. It holds none while it waits for the host.
    pub(in crate::sandbox) async fn run<F: Future>(
        &self,
        guest: F,
        meter: &GuestMeter,
    ) -> F::Output {
        let begins_in_slot = self.last_was_cpu_bound.load(Relaxed);
        let (mut guest, mut slot) = (pin!(guest), None);
        let ended = poll_fn(|cx| {
            if !begins_in_slot && !meter.is_cpu_bound() {
                // Most guests end within their grace, and never meet a semaphore.
                return meter.poll(guest.as_mut(), cx);
            }
            let waiting = slot.get_or_insert_with(|| Box::pin(self.slot()));
            let held = ready!(waiting.as_mut().poll(cx));
            let polled = meter.poll_cpu_bound(guest.as_mut(), cx);
            // Each poll asks for a slot anew, so that guests take turns.
            drop(held);
            slot = None;
            if polled.is_pending() {
                // The kernel lets a thread keep its core for milliseconds before one that woke up
                // meanwhile gets it.
                thread::yield_now();
            }
            polled
        });
        let ended = ended.await;
        self.last_was_cpu_bound.store(meter.is_cpu_bound(), Relaxed);
        ended
    }

    async fn slot(&self) -> HeldSlot<'_> {
        const OPEN: &str = "the semaphores are never closed";
        let wanted = WantedSlot::new(self);
        let own = self.own.acquire().await.expect(OPEN);
        let mut usual = pin!(self.shared.usual.acquire());
        let spare = tokio::select! {
            // The last core is only for a plugin that finds no usual slot.
            biased;
            usual = usual.as_mut() => return (own, usual.expect(OPEN), wanted),
            spare = self.shared.spare.acquire() => spare.expect(OPEN),
        };
        // Only this plugin wants slots, so no other one misses the last core.
        if self.shared.wanting.load(SeqCst) == 1 {
            return (own, spare, wanted);
        }
        drop(spare);
        // The same future as above, which has kept its place in the queue.
        (own, usual.await.expect(OPEN), wanted)
    }
}

/// Counts a guest that wants a slot or holds one.
#[derive(Debug)]
struct WantedSlot<'a>(&'a PluginSlots);

impl<'a> WantedSlot<'a> {
    fn new(slots: &'a PluginSlots) -> Self {
        if slots.wanting.fetch_add(1, SeqCst) == 0 {
            slots.shared.wanting.fetch_add(1, SeqCst);
        }
        Self(slots)
    }
}

impl Drop for WantedSlot<'_> {
    fn drop(&mut self) {
        if self.0.wanting.fetch_sub(1, SeqCst) == 1 {
            self.0.shared.wanting.fetch_sub(1, SeqCst);
        }
    }
}

#[cfg(test)]
mod tests;
