//! How many deliveries were open in the last hour.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::durations::Spread;
use super::meter::COUNTS;
use super::window::{Point, Sampled};
use super::{Increment, OwnerKind, STEP_MS, SeriesOwner};

/// The time that a change is told of, in milliseconds.
pub const BACKLOG_MS: i64 = 900_000;

/// The most counts of that time.
const BACKLOG_COUNTS: usize = (BACKLOG_MS / STEP_MS) as usize + 1;

/// The most counts that are kept: an hour.
const MAX_COUNTS: usize = (3_600_000 / STEP_MS) as usize;

/// Open deliveries at a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpenCount {
    /// When, Unix ms of the wall clock.
    pub at_ms: i64,
    /// How many.
    pub open: u64,
    /// How many of them were due, and not leased.
    pub ready: u64,
    /// How many of them were due later.
    pub waiting: u64,
}

impl OpenCount {
    /// The number of ready ones, among the counts of [`OwnerKind::Backlog`].
    pub const READY: usize = 0;
    /// The number of waiting ones.
    pub const WAITING: usize = 1;

    /// The counts of [`OwnerKind::Backlog`].
    fn counts(self) -> [u32; COUNTS] {
        let mut counts = [0; COUNTS];
        for (at, n) in [(Self::READY, self.ready), (Self::WAITING, self.waiting)] {
            counts[at] = u32::try_from(n).unwrap_or(u32::MAX);
        }
        counts
    }
}

/// Counts of open deliveries.
#[derive(Debug, Default)]
pub(super) struct OpenCounts(Mutex<KeptCounts>);

#[derive(Debug, Default)]
struct KeptCounts {
    /// The oldest is first.
    counts: VecDeque<OpenCount>,
    /// The largest of each kind since it was stored last.
    most: Option<[u32; COUNTS]>,
}

impl OpenCounts {
    pub(super) fn push(&self, count: OpenCount) {
        let mut kept = self.kept();
        if kept.counts.len() >= MAX_COUNTS {
            kept.counts.pop_front();
        }
        kept.counts.push_back(count);
        let most = kept.most.get_or_insert_default();
        for (most, n) in most.iter_mut().zip(count.counts()) {
            *most = n.max(*most);
        }
    }

    /// The oldest count that is at most a quarter of an hour old.
    pub(super) fn oldest(&self, now_ms: i64) -> Option<OpenCount> {
        // A sample is taken a little late.
        let from_ms = now_ms - BACKLOG_MS - STEP_MS;
        let kept = self.kept();
        let older = kept.counts.len().saturating_sub(BACKLOG_COUNTS);
        kept.counts.iter().skip(older).find(|count| count.at_ms >= from_ms).copied()
    }

    /// Every count, as a step.
    pub(super) fn sampled(&self) -> Vec<Sampled> {
        let sampled = |count: &OpenCount| {
            let point = Point { counts: count.counts(), ..Point::default() };
            Sampled { at_ms: count.at_ms, point }
        };
        self.kept().counts.iter().map(sampled).collect()
    }

    /// The most that there were since the last call, if any was noted.
    pub(super) fn increment(&self) -> Option<Increment> {
        let counts = self.kept().most.take()?;
        let owner = SeriesOwner { kind: OwnerKind::Backlog, name: None };
        Some(Increment { owner, counts, durations: Spread::default() })
    }

    fn kept(&self) -> MutexGuard<'_, KeptCounts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_count_is_of_a_quarter_of_an_hour_ago_or_of_the_start() {
        let counts = OpenCounts::default();
        assert_eq!(counts.oldest(0), None);
        let at = |n: i64| OpenCount { at_ms: n * STEP_MS, open: n as u64, ..OpenCount::default() };
        (0..5).for_each(|n| counts.push(at(n)));
        assert_eq!(counts.oldest(5 * STEP_MS), Some(at(0)));
        (5..500).for_each(|n| counts.push(at(n)));
        assert_eq!(counts.oldest(499 * STEP_MS), Some(at(409)));
        assert_eq!(counts.oldest(499 * STEP_MS + 2 * BACKLOG_MS), None, "a clock that went on");
        assert_eq!(counts.sampled().len(), MAX_COUNTS, "an hour");
    }

    #[test]
    fn an_increment_has_the_most_of_its_time() {
        let counts = OpenCounts::default();
        assert!(counts.increment().is_none(), "nothing was noted");
        for (ready, waiting) in [(3, 9), (7, 0), (1, 1)] {
            counts.push(OpenCount { ready, waiting, ..OpenCount::default() });
        }
        let increment = counts.increment().unwrap();
        assert_eq!(increment.counts[OpenCount::READY..=OpenCount::WAITING], [7, 9]);
        assert!(counts.increment().is_none());
        let last = counts.sampled().pop().unwrap().point.counts;
        assert_eq!(last[OpenCount::READY..=OpenCount::WAITING], [1, 1]);
    }
}
