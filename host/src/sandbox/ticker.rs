//! Moves the engine's epoch on while attempts run, so that a guest that computes looks up now and then. Sleeps without a
//! wake-up while none runs.
//!
//! The thread is woken on the cores that busy guests compute on (where there are two cores, on the one). Each time the kernel asks
//! anew who is to go on there, which helps whoever waits behind a guest that is in a step that nothing interrupts.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wasmtime::Engine;

use super::busy::Places;
use crate::tasks;

/// How often a guest that computes can look up, while none of them is busy.
const TICK: Duration = Duration::from_millis(1);

/// How often, while one is. Of two threads that want a core the kernel may let the one that computes go on until its own tick,
/// milliseconds later, unless a third one is woken there.
const BUSY_TICK: Duration = Duration::from_micros(250);

/// Ticks without any attempt before the thread goes to sleep: attempts that follow one another do not wake it each time.
const IDLE_TICKS: u32 = 100;

/// The thread, stopped and joined on drop.
#[derive(Debug)]
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    running: AtomicUsize,
    asleep: AtomicBool,
    stop: AtomicBool,
}

/// Keeps the ticker ticking.
#[derive(Debug)]
pub(super) struct Ticking<'a>(&'a Shared);

impl Ticker {
    pub(super) fn start(engine: Engine, places: Places) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let thread = tasks::thread("epoch", {
            let shared = Arc::clone(&shared);
            move || {
                tasks::leave_a_core();
                shared.tick(&engine, &places);
            }
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Ticks until the guard is dropped.
    pub(super) fn hold(&self) -> Ticking<'_> {
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

impl Shared {
    fn tick(&self, engine: &Engine, places: &Places) {
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
            thread::park_timeout(if places.any_taken() { BUSY_TICK } else { TICK });
            engine.increment_epoch();
        }
    }

    /// Whoever begins to run either is seen here after `asleep` is set, or sees `asleep` and wakes us.
    fn sleep(&self) {
        self.asleep.store(true, SeqCst);
        while self.asleep.load(SeqCst) && self.running.load(SeqCst) == 0 && !self.stop.load(SeqCst) {
            thread::park();
        }
        self.asleep.store(false, SeqCst);
    }
}

impl Drop for Ticker {
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
mod tests {
    use super::*;

    fn wait_until(state: impl Fn() -> bool) {
        while !state() {
            thread::yield_now();
        }
    }

    #[test]
    fn it_sleeps_while_nothing_runs_and_wakes_for_an_attempt() {
        let ticker = Ticker::start(Engine::default(), Places::new(1)).unwrap();
        for _ in 0..2 {
            wait_until(|| ticker.shared.asleep.load(SeqCst));
            let first = ticker.hold();
            let second = ticker.hold();
            assert!(!ticker.shared.asleep.load(SeqCst));
            drop(first);
            assert_eq!(ticker.shared.running.load(SeqCst), 1);
            drop(second);
        }
        let shared = Arc::clone(&ticker.shared);
        drop(ticker);
        assert_eq!(Arc::strong_count(&shared), 1, "its thread has ended");
    }
}
