//! Run slots, which CPU-bound guests hold while they poll.
//!
//! They may use every core as long as no short guest runs, one that ends or waits within its grace.
//! Otherwise they share all cores but one, so that whatever else the host does finds a core. There
//! is always one slot.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::ready;
use std::thread;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::{GuestMeter, meter};

/// How long the last core is left free after a short guest, in microseconds. The next request may
/// come at any time, and the kernel lets a CPU-bound guest run on for some milliseconds.
const LEFT_FREE_US: u64 = 1_000_000;

/// The slots of all plugins.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct RunSlots(Arc<SlotPool>);

#[derive(Debug)]
struct SlotPool {
    cores: usize,
    /// One for each core but one.
    usual: Semaphore,
    /// One for the last core, which is taken while no short guest runs.
    spare: Semaphore,
    /// When a short guest was last polled, as [`meter::now_us`] has it; 0 before that.
    short_us: AtomicU64,
}

/// The slots as one plugin sees them.
#[derive(Debug)]
pub(in crate::sandbox) struct PluginSlots {
    shared: Arc<SlotPool>,
    /// One for each core: the guests of a plugin that wait for more do so here, and keep no other
    /// plugin waiting.
    own: Semaphore,
    /// Whether the last guest that ended was CPU-bound: the next one needs a slot from its start.
    last_was_cpu_bound: AtomicBool,
}

/// A slot that is held.
type HeldSlot<'a> = (SemaphorePermit<'a>, SemaphorePermit<'a>);

impl RunSlots {
    pub(in crate::sandbox) fn new(cores: usize) -> Self {
        let cores = cores.max(1);
        let usual = Semaphore::new((cores - 1).max(1));
        let spare = Semaphore::new(usize::from(cores > 1));
        Self(Arc::new(SlotPool { cores, usual, spare, short_us: AtomicU64::new(0) }))
    }

    /// The slots for one more plugin.
    pub(in crate::sandbox) fn plugin(&self) -> PluginSlots {
        PluginSlots {
            shared: Arc::clone(&self.0),
            own: Semaphore::new(self.0.cores),
            last_was_cpu_bound: AtomicBool::new(false),
        }
    }
}

impl SlotPool {
    /// Whether no short guest has run for a while.
    fn is_last_core_free(&self, now_us: u64) -> bool {
        let short_us = self.short_us.load(Relaxed);
        short_us == 0 || now_us >= short_us + LEFT_FREE_US
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
                let polled = meter.poll(guest.as_mut(), cx);
                if !meter.is_cpu_bound() {
                    self.shared.short_us.store(meter::now_us(), Relaxed);
                }
                return polled;
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
        let own = self.own.acquire().await.expect(OPEN);
        let mut usual = pin!(self.shared.usual.acquire());
        let spare = tokio::select! {
            // The last core is only for a guest that finds no usual slot.
            biased;
            usual = usual.as_mut() => return (own, usual.expect(OPEN)),
            spare = self.shared.spare.acquire() => spare.expect(OPEN),
        };
        if self.shared.is_last_core_free(meter::now_us()) {
            return (own, spare);
        }
        drop(spare);
        // The same future as above, which has kept its place in the queue.
        (own, usual.await.expect(OPEN))
    }
}

#[cfg(test)]
mod tests;
