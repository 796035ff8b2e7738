//! The pace of a plugin: how many of its attempts start in a time.
//!
//! Starts are spread evenly. Attempts wait one behind the other, and the one in front waits until
//! it may start. Only a start takes its time: an attempt that is given back instead takes none.

use std::collections::HashSet;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard, watch};

use crate::clock::Clock;
use crate::event::DeliveryId;

/// How much earlier than evenly spread a start may be, so that timers that wake late do not make a
/// fast plugin slower than its rate.
const TOLERANCE_US: u64 = 10_000;

/// The time of the last start, in microseconds of monotonic time, as if all were spread evenly.
type LastStart = Option<u64>;

/// The pace of one plugin. Both of its queues share it.
#[derive(Debug)]
pub(super) struct Pace {
    clock: Clock,
    /// The time between two starts; zero without a limit.
    interval: watch::Sender<Duration>,
    last_start: Arc<Mutex<LastStart>>,
    waiting: StdMutex<HashSet<DeliveryId>>,
}

/// A delivery that waits for its turn, for as long as this lives.
#[derive(Debug)]
pub(super) struct WaitsForTurn<'p> {
    pace: &'p Pace,
    delivery: DeliveryId,
}

/// The turn of an attempt. Nobody else of its plugin starts while it is held.
#[derive(Debug)]
pub(super) struct StartTurn {
    last_start: OwnedMutexGuard<LastStart>,
    clock: Clock,
    interval: Duration,
}

impl Pace {
    /// Without a limit.
    pub(super) fn new(clock: Clock) -> Arc<Self> {
        let interval = watch::Sender::new(Duration::ZERO);
        Arc::new(Self { clock, interval, last_start: Arc::default(), waiting: StdMutex::default() })
    }

    /// Sets the time between two starts; zero for no limit. Waiting starts use it at once.
    pub(super) fn set_interval(&self, interval: Duration) {
        self.interval.send_if_modified(|known| std::mem::replace(known, interval) != interval);
    }

    /// Whether there is a limit.
    pub(super) fn is_limited(&self) -> bool {
        !self.interval.borrow().is_zero()
    }

    /// Takes note of a delivery that waits for its turn.
    pub(super) fn waits(&self, delivery: DeliveryId) -> WaitsForTurn<'_> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(delivery);
        WaitsForTurn { pace: self, delivery }
    }

    /// Whether a delivery waits for its turn.
    pub(super) fn is_waiting(&self, delivery: DeliveryId) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).contains(&delivery)
    }

    /// Waits until an attempt may start. Dropping the future takes nothing.
    pub(super) async fn turn(&self) -> StartTurn {
        // The lock is fair: it is the queue in which attempts wait.
        let last_start = Arc::clone(&self.last_start).lock_owned().await;
        let mut changes = self.interval.subscribe();
        loop {
            let interval = *changes.borrow_and_update();
            let due_us = last_start.map_or(0, |last| next_us(last, interval));
            let due_us = due_us.saturating_sub(TOLERANCE_US);
            if interval.is_zero() || due_us <= now_us(&self.clock) {
                return StartTurn { last_start, clock: self.clock.clone(), interval };
            }
            tokio::select! {
                () = self.clock.sleep_until_monotonic(due_us.div_ceil(1_000)) => {}
                // An error means the sender is gone, which `self` rules out.
                _ = changes.changed() => {}
            }
        }
    }
}

impl Drop for WaitsForTurn<'_> {
    fn drop(&mut self) {
        let waiting = &self.pace.waiting;
        waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.delivery);
    }
}

impl StartTurn {
    /// The attempt starts.
    pub(super) fn start(mut self) {
        let now_us = now_us(&self.clock);
        let even_us = self.last_start.map_or(now_us, |last| next_us(last, self.interval));
        // An early start counts as one in time, so that the tolerance does not add up. A late one
        // counts as it is, so that a pause is not made up for.
        *self.last_start = Some(even_us.max(now_us));
    }
}

fn next_us(last_us: u64, interval: Duration) -> u64 {
    last_us.saturating_add(micros(interval))
}

fn now_us(clock: &Clock) -> u64 {
    clock.monotonic_ms().saturating_mul(1_000)
}

fn micros(interval: Duration) -> u64 {
    u64::try_from(interval.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// Starts as many as may start now.
    fn started(pace: &Pace) -> usize {
        let mut starts = 0;
        while let Poll::Ready(turn) =
            pin!(pace.turn()).as_mut().poll(&mut Context::from_waker(Waker::noop()))
        {
            turn.start();
            starts += 1;
            if !pace.is_limited() {
                break;
            }
        }
        starts
    }

    #[test]
    fn starts_are_spread_evenly_and_a_pause_saves_nothing_up() {
        let clock = Clock::manual(1_000_000);
        let pace = Pace::new(clock.clone());
        assert!(!pace.is_limited() && started(&pace) == 1);
        pace.set_interval(Duration::from_millis(100));
        assert_eq!(started(&pace), 0, "one has just started");
        let step = |ms: i64| {
            clock.set(clock.now_ms() + ms);
            started(&pace)
        };
        assert_eq!([step(89), step(1), step(99), step(1)], [0, 1, 0, 1]);
        assert_eq!((step(60_000), step(99), step(1)), (1, 1, 0), "the first counts from now");
        let starts: usize = (0..1_000).map(|_| step(10)).sum();
        assert!((100..=101).contains(&starts), "{starts} in ten seconds");
    }

    #[test]
    fn a_fast_plugin_keeps_its_rate_with_timers_that_wake_late() {
        let clock = Clock::manual(1_000_000);
        let pace = Pace::new(clock.clone());
        pace.set_interval(Duration::from_millis(1));
        let mut starts = 0;
        for _ in 0..500 {
            clock.set(clock.now_ms() + 2);
            starts += started(&pace);
        }
        assert!((995..=1_012).contains(&starts), "{starts} in a second");
    }

    #[tokio::test]
    async fn a_turn_that_is_not_used_takes_nothing_and_a_changed_rate_counts_at_once() {
        let clock = Clock::manual(1_000_000);
        let pace = Pace::new(clock.clone());
        pace.set_interval(Duration::from_secs(3_600));
        drop(pace.turn().await);
        assert_eq!(started(&pace), 1);
        let mut waiting = pin!(pace.turn());
        let mut context = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        clock.set(clock.now_ms() + 2_000);
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        pace.set_interval(Duration::from_secs(2));
        waiting.await.start();
        pace.set_interval(Duration::ZERO);
        assert_eq!(started(&pace), 1);
    }
}
