//! The time that an attack has: the attacker says when it has begun and whether it was over early,
//! the other side when it is to end.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::process::thread_cpu;
use hookbox_tools::Result;

/// How long an attacker may take to begin.
const BEGINNING: Duration = Duration::from_secs(30);

/// A look at whether it is over.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// One attack's time.
#[derive(Debug, Default)]
pub(super) struct Turn {
    begun: AtomicBool,
    over: AtomicBool,
    started: OnceLock<Instant>,
    early: OnceLock<Instant>,
    /// CPU time of the attacker's thread when it had begun, and at its end.
    cost: [OnceLock<Duration>; 2],
}

impl Turn {
    /// Runs the attacker on its own thread.
    pub(super) fn run(&self, attack: impl FnOnce() -> Result) -> Result {
        let attacked = attack();
        self.begin();
        let _ = self.cost[1].set(thread_cpu()?);
        attacked
    }

    /// The attacker has begun.
    pub(super) fn begin(&self) {
        let _ = self.cost[0].set(thread_cpu().unwrap_or_default());
        self.begun.store(true, Ordering::Relaxed);
    }

    /// The attacker has nothing left to do.
    pub(super) fn note_early_end(&self) {
        let _ = self.early.set(Instant::now());
    }

    /// Waits until the attacker has begun.
    pub(super) fn until_begun(&self) -> Result {
        let waiting = Instant::now();
        while !self.begun.load(Ordering::Relaxed) {
            if waiting.elapsed() > BEGINNING {
                self.end();
                return Err(format!("an attack did not begin within {BEGINNING:?}"));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// The good client starts now.
    pub(super) fn start(&self) {
        let _ = self.started.set(Instant::now());
    }

    /// It is over.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// The same, for who sends until then.
    pub(super) fn over(&self) -> &AtomicBool {
        &self.over
    }

    /// Looks every now and then until it is over.
    pub(super) fn until_over(&self, every: Duration, mut look: impl FnMut() -> Result) -> Result {
        while !self.is_over() {
            look()?;
            std::thread::sleep(every);
        }
        Ok(())
    }

    /// How long after the good client's start the attacker had nothing left to do, if it had.
    pub(super) fn over_early(&self) -> Option<Duration> {
        let (early, started) = (self.early.get()?, self.started.get()?);
        Some(early.saturating_duration_since(*started))
    }

    /// CPU time that the attacker took from when it had begun.
    pub(super) fn cost(&self) -> Duration {
        let [before, after] =
            self.cost.each_ref().map(|cost| cost.get().copied().unwrap_or_default());
        after.saturating_sub(before)
    }
}
