//! Increments the engine's epoch while attempts run, which interrupts guests that compute. The
//! thread sleeps without a wake-up while none runs.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wasmtime::Engine;

use crate::tasks;

/// How often a guest that computes is interrupted.
const TICK: Duration = Duration::from_millis(1);

/// Ticks without any attempt before the thread goes to sleep: attempts that follow one another do
/// not wake it each time.
const IDLE_TICKS: u32 = 100;

/// The thread, stopped and joined on drop.
#[derive(Debug)]
pub(in crate::sandbox) struct Epoch {
    shared: Arc<EpochState>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct EpochState {
    running: AtomicUsize,
    asleep: AtomicBool,
    stop: AtomicBool,
}

/// Keeps the epoch going.
#[derive(Debug)]
pub(in crate::sandbox) struct Ticking<'a>(&'a EpochState);

impl Epoch {
    pub(in crate::sandbox) fn start(engine: Engine) -> io::Result<Self> {
        let shared = Arc::new(EpochState::default());
        let thread = tasks::thread("epoch", {
            let shared = Arc::clone(&shared);
            move || shared.tick(&engine)
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Ticks until the guard is dropped.
    pub(in crate::sandbox) fn hold(&self) -> Ticking<'_> {
        // Counted before `asleep` is read: see `Shared::sleep`.
        self.shared.running.fetch_add(1, SeqCst);
        if self.shared.asleep.swap(false, SeqCst) {
            self.wake();
        }
        Ticking(&self.shared)
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, SeqCst);
    }
}

impl EpochState {
    fn tick(&self, engine: &Engine) {
        let mut idle_ticks = 0;
        while !self.stop.load(SeqCst) {
            if self.running.load(SeqCst) > 0 {
                idle_ticks = 0;
            } else if idle_ticks < IDLE_TICKS {
                idle_ticks += 1;
            } else {
                self.sleep();
                idle_ticks = 0;
                continue;
            }
            // Parked and not asleep, so that a stop ends it at once.
            thread::park_timeout(TICK);
            engine.increment_epoch();
        }
    }

    /// A poll that begins is either seen here after `asleep` is set, or sees `asleep` and wakes us.
    fn sleep(&self) {
        self.asleep.store(true, SeqCst);
        while self.asleep.load(SeqCst) && self.running.load(SeqCst) == 0 && !self.stop.load(SeqCst)
        {
            thread::park();
        }
        self.asleep.store(false, SeqCst);
    }
}

impl Drop for Epoch {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        self.wake();
        if let Some(thread) = self.thread.take() {
            // It has nothing to report, not even a panic.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
