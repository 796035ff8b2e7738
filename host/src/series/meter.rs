//! Counts of one source or plugin.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::durations::{Durations, Spread};

/// Kinds of counts of one owner. The counts of a source are 0 accepted, 1 duplicate and 2 refused;
/// those of a plugin are the outcomes of attempts by their codes, and [`DEAD`](Meter::DEAD).
pub const COUNTS: usize = 10;

/// Counts what one source or plugin does. It only grows, and wraps around.
#[derive(Debug, Default)]
pub struct Meter {
    counts: [AtomicU32; COUNTS],
    durations: Durations,
}

impl Meter {
    /// The number of requests of a source that were stored.
    pub const ACCEPTED: usize = 0;
    /// The number of requests of a source that repeated an event.
    pub const DUPLICATE: usize = 1;
    /// The number of requests of a source that were refused.
    pub const REFUSED: usize = 2;
    /// The number of deliveries of a plugin that became dead letters.
    pub const DEAD: usize = 9;

    /// Counts `n` of a kind.
    pub fn count(&self, kind: usize, n: u64) {
        if let Some(count) = self.counts.get(kind) {
            count.fetch_add(n as u32, Ordering::Relaxed);
        }
    }

    /// Counts a duration.
    pub fn took(&self, duration: Duration) {
        self.durations.count(duration);
    }

    /// All counts so far.
    pub(super) fn total(&self) -> Total {
        let counts = self.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        Total { counts, durations: self.durations.total() }
    }
}

/// The counts of a meter at one moment.
#[derive(Debug, Clone)]
pub(super) struct Total {
    counts: [u32; COUNTS],
    durations: Vec<u32>,
}

impl Total {
    /// The bytes of its durations.
    #[cfg(test)]
    pub(super) fn durations_bytes(&self) -> usize {
        self.durations.capacity() * size_of::<u32>()
    }

    /// The counts and durations since an earlier moment; without one, since the beginning.
    pub(super) fn since(&self, before: Option<&Self>) -> ([u32; COUNTS], Spread) {
        let mut counts = self.counts;
        for (count, before) in counts.iter_mut().zip(before.map_or([0; COUNTS], |it| it.counts)) {
            *count = count.wrapping_sub(before);
        }
        let before = before.map(|before| before.durations.as_slice());
        (counts, Spread::between(&self.durations, before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_that_wrap_around_lose_nothing() {
        let meter = Meter::default();
        meter.count(Meter::REFUSED, u64::from(u32::MAX));
        let before = meter.total();
        meter.count(Meter::REFUSED, 5);
        assert_eq!(meter.total().since(Some(&before)).0[Meter::REFUSED], 5);
    }

    #[test]
    fn a_kind_that_there_is_not_is_not_counted() {
        let meter = Meter::default();
        meter.count(COUNTS, 1);
        assert_eq!(meter.total().since(None).0, [0; COUNTS]);
    }
}
