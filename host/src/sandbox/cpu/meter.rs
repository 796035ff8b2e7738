//! The CPU time of one attempt's guest.

use std::future::Future;
use std::pin::Pin;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::GRACE;
use crate::clock;

/// Where polls are counted from.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Counts the time of a guest, seen from outside while it runs.
///
/// Up to [`GRACE`] it is the wall-clock time of its polls, because reading a thread's CPU clock is
/// a system call and most guests need far less. From then on the guest is CPU-bound and its CPU
/// time is counted.
#[derive(Debug, Default)]
pub(in crate::sandbox) struct GuestMeter {
    cpu_bound: AtomicBool,
    /// Up to the present poll, in microseconds.
    computed_us: AtomicU64,
    /// When the present poll began, in microseconds since [`START`].
    polled_at_us: AtomicU64,
}

impl GuestMeter {
    /// Whether the guest has computed for longer than [`GRACE`].
    pub(in crate::sandbox) fn is_cpu_bound(&self) -> bool {
        self.cpu_bound.load(Relaxed)
    }

    /// CPU time up to the present poll, in milliseconds.
    pub(in crate::sandbox) fn computed_ms(&self) -> u64 {
        self.computed_us() / 1_000
    }

    /// The same in microseconds.
    pub(in crate::sandbox) fn computed_us(&self) -> u64 {
        self.computed_us.load(Relaxed)
    }

    /// Whether a guest that computes now has to yield: at every tick in a run slot, and without one
    /// when its grace is over.
    pub(in crate::sandbox) fn has_to_yield(&self, now: Instant) -> bool {
        let polling_us = us(now.saturating_duration_since(*START))
            .saturating_sub(self.polled_at_us.load(Relaxed));
        self.is_cpu_bound() || self.computed_us.load(Relaxed) + polling_us >= us(GRACE)
    }

    /// Polls a guest that has no run slot.
    pub(super) fn poll<F: Future>(
        &self,
        guest: Pin<&mut F>,
        cx: &mut Context<'_>,
    ) -> Poll<F::Output> {
        let began = START.elapsed();
        // The callback of the epoch reads it from within the poll.
        self.polled_at_us.store(us(began), Relaxed);
        let polled = guest.poll(cx);
        self.add(START.elapsed().saturating_sub(began));
        polled
    }

    /// Polls a guest that holds a run slot.
    pub(super) fn poll_cpu_bound<F: Future>(
        &self,
        guest: Pin<&mut F>,
        cx: &mut Context<'_>,
    ) -> Poll<F::Output> {
        let began = clock::thread_cpu();
        self.polled_at_us.store(us(START.elapsed()), Relaxed);
        let polled = guest.poll(cx);
        self.add(clock::thread_cpu().saturating_sub(began));
        polled
    }

    fn add(&self, computed: Duration) {
        let before_us = self.computed_us.fetch_add(us(computed), Relaxed);
        if before_us + us(computed) >= us(GRACE) {
            self.cpu_bound.store(true, Relaxed);
        }
    }
}

/// Microseconds since [`START`].
pub(super) fn now_us() -> u64 {
    us(START.elapsed())
}

fn us(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
