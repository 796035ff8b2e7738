//! Threads for CPU-bound attempts, and the run slots that plugins share there.
//!
//! There are as many threads as cores, and a plugin may use all of them while no other plugin wants one. Otherwise it leaves
//! one, so that the other's guests run without waiting for all of its own.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::task::{Poll, ready};
use std::thread;

use tokio::runtime::{Handle, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::Meter;
use crate::tasks;

const NAME: &str = "hookbox-cpu";

/// The threads.
#[derive(Debug)]
pub(in crate::sandbox) struct Pool {
    runtime: Option<Runtime>,
    tasks: TaskTracker,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    threads: usize,
    /// The slot that a plugin may use beside its own while no other plugin wants any.
    spare: Arc<Semaphore>,
    /// Plugins that want a slot or hold one.
    wanting: AtomicUsize,
}

/// The run slots of one plugin.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Slots(Arc<PluginSlots>);

#[derive(Debug)]
struct PluginSlots {
    shared: Arc<Shared>,
    own: Arc<Semaphore>,
    /// Guests that want a slot or hold one.
    wanting: AtomicUsize,
    /// Whether the last guest that ended was CPU-bound: the next one begins in the pool.
    last_was_cpu_bound: AtomicBool,
}

/// A slot, wanted or held.
struct Wanted<'a>(&'a PluginSlots);

impl Pool {
    pub(in crate::sandbox) fn new(threads: usize) -> io::Result<Self> {
        let threads = threads.max(1);
        let runtime = Some(tasks::yielding_runtime(NAME, threads)?);
        let shared = Shared { threads, spare: Arc::new(Semaphore::new(1)), wanting: AtomicUsize::new(0) };
        Ok(Self { runtime, tasks: TaskTracker::new(), shared: Arc::new(shared) })
    }

    /// Slots for one plugin.
    pub(in crate::sandbox) fn slots(&self) -> Slots {
        let own = Arc::new(Semaphore::new(self.shared.threads.saturating_sub(1).max(1)));
        let (wanting, last_was_cpu_bound) = (AtomicUsize::new(0), AtomicBool::new(false));
        Slots(Arc::new(PluginSlots { shared: Arc::clone(&self.shared), own, wanting, last_was_cpu_bound }))
    }

    /// Runs an attempt where it is called, and moves it to the pool when `moves` says so. Tasks that it starts run on the
    /// runtime that it came from, because others wait for the same readers and use the same connections after it.
    pub(in crate::sandbox) async fn run<F>(&self, mut attempt: Pin<Box<F>>, moves: impl Fn() -> bool) -> F::Output
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        let ended = poll_fn(|cx| if moves() { Poll::Ready(None) } else { attempt.as_mut().poll(cx).map(Some) }).await;
        if let Some(ended) = ended {
            return ended;
        }
        let home = Handle::current();
        let moved = poll_fn(move |cx| {
            let _current = home.enter();
            attempt.as_mut().poll(cx)
        });
        let runtime = self.runtime.as_ref().expect("it is there until it is dropped");
        let task = tasks::spawn_on(runtime.handle(), self.tasks.track_future(moved));
        match AbortOnDropHandle::new(task).await {
            Ok(ended) => ended,
            Err(failed) => std::panic::resume_unwind(failed.into_panic()),
        }
    }

    /// Waits until nothing is left of attempts that nobody waits for any more.
    pub(in crate::sandbox) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // It may be dropped by one of its own threads, which cannot wait for itself.
            runtime.shutdown_background();
        }
    }
}

impl Slots {
    /// Whether a guest that begins now begins in the pool.
    pub(in crate::sandbox) fn begins_in_pool(&self) -> bool {
        self.0.last_was_cpu_bound.load(Relaxed)
    }

    /// Runs a guest: once it is CPU-bound, or if its attempt begins in the pool, it polls in a slot only. It holds none
    /// while it waits for the host.
    pub(in crate::sandbox) async fn run<F: Future>(&self, guest: F, meter: &Meter, begins_in_pool: bool) -> F::Output {
        let (mut guest, mut slot) = (pin!(guest), None);
        let ended = poll_fn(|cx| {
            if !begins_in_pool && !meter.is_cpu_bound() {
                return meter.poll(guest.as_mut(), cx);
            }
            let waiting = slot.get_or_insert_with(|| Box::pin(self.0.slot()));
            let held = ready!(waiting.as_mut().poll(cx));
            let polled = meter.poll_cpu_bound(guest.as_mut(), cx);
            drop(held);
            slot = None;
            if polled.is_pending() {
                // The kernel lets a thread keep its core for milliseconds, whatever its priority is, before one that
                // woke up meanwhile gets it.
                thread::yield_now();
            }
            polled
        });
        let ended = ended.await;
        self.0.last_was_cpu_bound.store(meter.is_cpu_bound(), Relaxed);
        ended
    }
}

impl PluginSlots {
    /// Waits for one of the plugin's own slots, or for the spare one.
    async fn slot(&self) -> (OwnedSemaphorePermit, Wanted<'_>) {
        const OPEN: &str = "the semaphores are never closed";
        let wanted = Wanted::new(self);
        let mut own = pin!(Arc::clone(&self.own).acquire_owned());
        if self.shared.threads > 1 {
            let spare = tokio::select! {
                biased;
                own = own.as_mut() => return (own.expect(OPEN), wanted),
                spare = Arc::clone(&self.shared.spare).acquire_owned() => spare.expect(OPEN),
            };
            if self.shared.wanting.load(SeqCst) == 1 {
                return (spare, wanted);
            }
        }
        (own.await.expect(OPEN), wanted)
    }
}

impl<'a> Wanted<'a> {
    fn new(slots: &'a PluginSlots) -> Self {
        if slots.wanting.fetch_add(1, SeqCst) == 0 {
            slots.shared.wanting.fetch_add(1, SeqCst);
        }
        Self(slots)
    }
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        if self.0.wanting.fetch_sub(1, SeqCst) == 1 {
            self.0.shared.wanting.fetch_sub(1, SeqCst);
        }
    }
}

#[cfg(test)]
mod tests;
