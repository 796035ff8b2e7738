//! Durations, counted in buckets whose widths grow with them: eight for each power of two, so that
//! a percentile is off by at most a sixteenth.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Buckets, from one microsecond to half an hour.
const BUCKETS: usize = 232;

/// Counts durations; it only grows, and wraps around.
#[derive(Debug)]
pub struct Durations([AtomicU32; BUCKETS]);

impl Default for Durations {
    fn default() -> Self {
        Self([const { AtomicU32::new(0) }; BUCKETS])
    }
}

impl Durations {
    /// Counts one.
    pub fn count(&self, took: Duration) {
        self.0[bucket(took)].fetch_add(1, Ordering::Relaxed);
    }

    /// All counts so far.
    pub(super) fn total(&self) -> Vec<u32> {
        self.0.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }
}

fn bucket(took: Duration) -> usize {
    let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    if us < 8 {
        return us as usize;
    }
    let power = us.ilog2() as usize;
    ((power - 2) * 8 + ((us >> (power - 3)) & 7) as usize).min(BUCKETS - 1)
}

/// The middle of a bucket, in microseconds.
pub(super) fn middle_us(bucket: u8) -> u64 {
    let bucket = usize::from(bucket);
    if bucket < 8 {
        return bucket as u64;
    }
    let (power, part) = (bucket / 8 + 2, bucket % 8);
    let width = 1_u64 << (power - 3);
    (1_u64 << power) + part as u64 * width + width / 2
}

/// How many durations fell into which bucket: only buckets that are not empty, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spread(Vec<(u8, u32)>);

impl Spread {
    /// The counts that have come since `before`.
    pub(super) fn between(total: &[u32], before: Option<&[u32]>) -> Self {
        let counts = total.iter().enumerate().map(|(bucket, count)| {
            let before = before.map_or(0, |before| before[bucket]);
            (bucket as u8, count.wrapping_sub(before))
        });
        Self(counts.filter(|(_, count)| *count > 0).collect())
    }

    /// Reads pairs of bucket and count, in order; `None` if they are not.
    pub fn from_pairs(pairs: Vec<(u8, u32)>) -> Option<Self> {
        let in_order = pairs.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let all_known = pairs.iter().all(|(bucket, _)| usize::from(*bucket) < BUCKETS);
        (in_order && all_known).then_some(Self(pairs))
    }

    /// Pairs of bucket and count.
    pub fn pairs(&self) -> &[(u8, u32)] {
        &self.0
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(_, count)| u64::from(*count)).sum()
    }

    /// Adds the counts of another.
    pub fn add(&mut self, other: &Self) {
        for (bucket, count) in &other.0 {
            match self.0.binary_search_by_key(bucket, |(bucket, _)| *bucket) {
                Ok(at) => self.0[at].1 = self.0[at].1.saturating_add(*count),
                Err(at) => self.0.insert(at, (*bucket, *count)),
            }
        }
    }

    /// The duration that `part` of all (0 to 1) do not exceed, in microseconds; 0 if there is none.
    pub fn percentile_us(&self, part: f64) -> u64 {
        middle_us(self.percentile_bucket(part))
    }

    /// The bucket of the duration that `part` of all (0 to 1) do not exceed; that of the shortest
    /// if there is none.
    pub(super) fn percentile_bucket(&self, part: f64) -> u8 {
        let rank = (self.count() as f64 * part).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in &self.0 {
            seen += u64::from(*count);
            if seen >= rank.max(1) {
                return *bucket;
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_percentile_is_off_by_at_most_a_sixteenth(us in 0_u64..1 << 30) {
            let durations = Durations::default();
            durations.count(Duration::from_micros(us));
            let found = Spread::between(&durations.total(), None).percentile_us(0.5);
            prop_assert!(found.abs_diff(us) <= us / 16 + 1, "{found} for {us}");
        }
    }

    #[test]
    fn percentiles_are_those_of_all_that_was_counted() {
        let durations = Durations::default();
        (1..=100).for_each(|ms| durations.count(Duration::from_millis(ms)));
        let mut spread = Spread::between(&durations.total(), None);
        let near = |found: u64, ms: u64| found.abs_diff(ms * 1000) <= ms * 1000 / 16 + 1;
        assert!(near(spread.percentile_us(0.5), 50));
        assert!(near(spread.percentile_us(0.99), 99));
        spread.add(&spread.clone());
        assert_eq!(spread.count(), 200);
        assert!(near(spread.percentile_us(0.5), 50));
        assert_eq!(Spread::default().percentile_us(0.5), 0);
    }

    #[test]
    fn a_day_is_counted_as_the_longest() {
        let durations = Durations::default();
        durations.count(Duration::from_secs(86_400));
        assert_eq!(Spread::between(&durations.total(), None).pairs(), [(BUCKETS as u8 - 1, 1)]);
    }

    #[test]
    fn only_pairs_in_order_are_read() {
        assert!(Spread::from_pairs(vec![(1, 2), (5, 1)]).is_some());
        assert!(Spread::from_pairs(vec![(5, 2), (1, 1)]).is_none());
        assert!(Spread::from_pairs(vec![(BUCKETS as u8, 1)]).is_none());
    }
}
