//! How many deliveries were open in the last quarter of an hour.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::STEP_MS;

/// The time that is looked back on, in milliseconds.
pub const BACKLOG_MS: i64 = 900_000;

/// The most counts that are kept.
const MAX_COUNTS: usize = (BACKLOG_MS / STEP_MS) as usize + 1;

/// Open deliveries at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenCount {
    /// When, Unix ms of the wall clock.
    pub at_ms: i64,
    /// How many.
    pub open: u64,
}

/// Counts of open deliveries, the oldest first.
#[derive(Debug, Default)]
pub(super) struct OpenCounts(Mutex<VecDeque<OpenCount>>);

impl OpenCounts {
    pub(super) fn push(&self, count: OpenCount) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= MAX_COUNTS {
            counts.pop_front();
        }
        counts.push_back(count);
    }

    /// The oldest count that is at most a quarter of an hour old.
    pub(super) fn oldest(&self, now_ms: i64) -> Option<OpenCount> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A sample is taken a little late.
        let from_ms = now_ms - BACKLOG_MS - STEP_MS;
        counts.iter().find(|count| count.at_ms >= from_ms).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_count_is_of_a_quarter_of_an_hour_ago_or_of_the_start() {
        let counts = OpenCounts::default();
        assert_eq!(counts.oldest(0), None);
        let at = |n: i64| OpenCount { at_ms: n * STEP_MS, open: n as u64 };
        (0..5).for_each(|n| counts.push(at(n)));
        assert_eq!(counts.oldest(5 * STEP_MS), Some(at(0)));
        (5..500).for_each(|n| counts.push(at(n)));
        assert_eq!(counts.oldest(499 * STEP_MS), Some(at(409)));
        assert_eq!(counts.oldest(499 * STEP_MS + 2 * BACKLOG_MS), None, "a clock that went on");
    }
}
