//! Counts by pairs: events by source and type, attempts by type and plugin, and emitted events by
//! plugin and type. The map of operators shows them.
//!
//! Counting looks two names up and adds to an atomic. Of each pair there are the last 60 minutes
//! and the last 24 hours; a pair of which nothing came for a day is forgotten.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::{Burst, OTHER};

/// Pairs that are counted by themselves. Later pairs are counted as `other`.
pub(super) const MAX_PAIRS: usize = 900;

const MINUTE_MS: i64 = 60_000;
const MINUTES: usize = 60;
const HOUR_MS: i64 = 3_600_000;
const HOURS: usize = 24;

/// The two ends of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PairKind {
    /// A source, a schedule or the API, and the type of an event that came from it.
    Received,
    /// The type of an event, and the plugin that an attempt gave it to.
    Handled,
    /// A plugin, a join or a batch, and the type of an event that it emitted.
    Emitted,
}

impl PairKind {
    const ALL: [Self; 3] = [Self::Received, Self::Handled, Self::Emitted];
}

/// The time that is looked back on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairWindow {
    /// The last 60 minutes.
    Hour,
    /// The last 24 hours.
    Day,
}

impl PairWindow {
    /// Its length, in seconds.
    pub fn seconds(self) -> u32 {
        match self {
            Self::Hour => 3_600,
            Self::Day => 86_400,
        }
    }
}

/// The counts of a pair in a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairTotal {
    /// The kind of both ends.
    pub kind: PairKind,
    /// Where it comes from.
    pub from: Arc<str>,
    /// Where it goes to.
    pub to: Arc<str>,
    /// How often.
    pub count: u64,
    /// How often it failed, of attempts.
    pub failed: u64,
    /// The beginning of the first minute of the last hour in which it did, Unix ms of the wall
    /// clock.
    pub first_ms: Option<i64>,
    /// About when it last did, Unix ms of the wall clock.
    pub last_ms: Option<i64>,
    /// About when attempts failed last, without the failures before that.
    pub failing: Option<Burst>,
}

/// Both ends of pairs of one kind, and their counts.
type PairMap = HashMap<Arc<str>, HashMap<Arc<str>, Arc<Pair>>>;

/// All pairs.
#[derive(Debug, Default)]
pub struct PairCounts {
    kinds: [RwLock<PairMap>; 3],
    known: AtomicUsize,
}

/// The counts of one pair.
#[derive(Debug, Default)]
pub struct Pair {
    /// Since the last sample.
    count: AtomicU32,
    failed: AtomicU32,
    past: Mutex<PairPast>,
}

/// Counts and failures of some time.
type Bucket = (u32, u32);

/// Counts by the time of the samples that took them.
#[derive(Debug)]
pub(super) struct PairPast {
    minutes: [Bucket; MINUTES],
    hours: [Bucket; HOURS],
    /// The times of the first and of the last sample.
    first_ms: Option<i64>,
    at_ms: i64,
    last_ms: Option<i64>,
    failing: Option<Burst>,
}

impl Default for PairPast {
    fn default() -> Self {
        let (minutes, hours) = ([(0, 0); MINUTES], [(0, 0); HOURS]);
        Self { minutes, hours, first_ms: None, at_ms: 0, last_ms: None, failing: None }
    }
}

impl Pair {
    /// Counts once.
    pub fn count(&self, has_failed: bool) {
        self.count.fetch_add(1, Ordering::Relaxed);
        if has_failed {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes what came since the last sample into the time `at_ms`.
    fn sample(&self, at_ms: i64) -> MutexGuard<'_, PairPast> {
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        // A new pair did nothing before its first sample.
        let begun_ms = past.first_ms.map(|_| past.at_ms);
        past.move_to(at_ms);
        let (count, failed) =
            (self.count.swap(0, Ordering::Relaxed), self.failed.swap(0, Ordering::Relaxed));
        if count > 0 || failed > 0 {
            past.add((count, failed));
        }
        if failed > 0 {
            let to_ms = past.at_ms;
            past.failing = Some(Burst::seen(past.failing, begun_ms.unwrap_or(to_ms), to_ms));
        }
        past
    }
}

impl PairPast {
    /// Empties the buckets of the time between the last sample and `at_ms`. A clock that goes back
    /// stands still here.
    fn move_to(&mut self, at_ms: i64) {
        let at_ms = at_ms.max(self.at_ms);
        clear(&mut self.minutes, self.at_ms.div_euclid(MINUTE_MS), at_ms.div_euclid(MINUTE_MS));
        clear(&mut self.hours, self.at_ms.div_euclid(HOUR_MS), at_ms.div_euclid(HOUR_MS));
        self.at_ms = at_ms;
        self.first_ms.get_or_insert(at_ms);
    }

    /// Whether it was made lately, or did something within a day.
    fn is_used(&self) -> bool {
        let is_new = self.first_ms.is_none_or(|first_ms| self.at_ms - first_ms < HOUR_MS);
        is_new || self.total(PairWindow::Day).0 > 0
    }

    fn add(&mut self, (count, failed): Bucket) {
        let (minute, hour) = (self.at_ms.div_euclid(MINUTE_MS), self.at_ms.div_euclid(HOUR_MS));
        let buckets = [
            &mut self.minutes[minute.rem_euclid(MINUTES as i64) as usize],
            &mut self.hours[hour.rem_euclid(HOURS as i64) as usize],
        ];
        for bucket in buckets {
            bucket.0 = bucket.0.saturating_add(count);
            bucket.1 = bucket.1.saturating_add(failed);
        }
        self.last_ms = Some(self.at_ms);
    }

    fn total(&self, window: PairWindow) -> (u64, u64) {
        let buckets = match window {
            PairWindow::Hour => &self.minutes[..],
            PairWindow::Day => &self.hours[..],
        };
        let sum = |of: fn(&Bucket) -> u32| buckets.iter().map(of).map(u64::from).sum();
        (sum(|bucket| bucket.0), sum(|bucket| bucket.1))
    }

    /// The beginning of the first minute of the last hour that has counts.
    fn first_minute_ms(&self) -> Option<i64> {
        let last = self.at_ms.div_euclid(MINUTE_MS);
        let bucket = |minute: &i64| self.minutes[minute.rem_euclid(MINUTES as i64) as usize];
        let first = (last - MINUTES as i64 + 1..=last).find(|minute| bucket(minute).0 > 0);
        first.map(|minute| minute * MINUTE_MS)
    }
}

/// Empties the buckets after `from` up to `to`.
fn clear(buckets: &mut [Bucket], from: i64, to: i64) {
    let all = buckets.len() as i64;
    for at in (from + 1).max(to - all + 1)..=to {
        buckets[at.rem_euclid(all) as usize] = (0, 0);
    }
}

impl PairCounts {
    /// The counts of a pair.
    pub fn of(&self, kind: PairKind, from: &str, to: &str) -> Arc<Pair> {
        let find = |pairs: &PairMap, from, to| pairs.get(from)?.get(to).map(Arc::clone);
        let pairs = &self.kinds[kind as usize];
        let known = pairs.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(pair) = find(&known, from, to) {
            return pair;
        }
        drop(known);
        let mut known = pairs.write().unwrap_or_else(PoisonError::into_inner);
        let is_room = self.known.load(Ordering::Relaxed) < MAX_PAIRS;
        let (from, to) = if is_room { (from, to) } else { (OTHER, OTHER) };
        // Another thread may have made it, or it is the pair that stands for the others.
        if let Some(pair) = find(&known, from, to) {
            return pair;
        }
        self.known.fetch_add(1, Ordering::Relaxed);
        let pair = Arc::<Pair>::default();
        known.entry(from.into()).or_default().insert(to.into(), Arc::clone(&pair));
        pair
    }

    /// Takes what came since the last sample into the time `at_ms`, and forgets pairs of which
    /// nothing came for a day.
    pub(super) fn sample(&self, at_ms: i64) {
        for pairs in &self.kinds {
            let known = pairs.read().unwrap_or_else(PoisonError::into_inner);
            let all = known.values().flat_map(HashMap::values);
            let is_over = |pair: &Arc<Pair>| !pair.sample(at_ms).is_used();
            let over = all.filter(|pair| is_over(pair)).count();
            drop(known);
            if over > 0 {
                self.forget(pairs);
            }
        }
    }

    fn forget(&self, pairs: &RwLock<PairMap>) {
        let mut known = pairs.write().unwrap_or_else(PoisonError::into_inner);
        let is_used = |pair: &Pair| {
            let past = pair.past.lock().unwrap_or_else(PoisonError::into_inner);
            // It may have counted since it was sampled.
            pair.count.load(Ordering::Relaxed) > 0 || past.is_used()
        };
        for to in known.values_mut() {
            let before = to.len();
            to.retain(|_, pair| is_used(pair));
            self.known.fetch_sub(before - to.len(), Ordering::Relaxed);
        }
        known.retain(|_, to| !to.is_empty());
    }

    /// The counts of every pair in a window that ends at `at_ms`, by kind and names; pairs that did
    /// nothing are left out.
    pub fn totals(&self, window: PairWindow, at_ms: i64) -> Vec<PairTotal> {
        let mut totals = Vec::new();
        for kind in PairKind::ALL {
            let known = self.kinds[kind as usize].read().unwrap_or_else(PoisonError::into_inner);
            for (from, all) in known.iter() {
                for (to, pair) in all {
                    let past = pair.sample(at_ms);
                    let (count, failed) = past.total(window);
                    let first_ms = past.first_minute_ms();
                    // A clock that was set back has not come to the last sample again.
                    let last_ms = past.last_ms.map(|last_ms| last_ms.min(at_ms));
                    // Failures before this window are not part of it.
                    let failing = if failed > 0 { past.failing } else { None };
                    if count > 0 {
                        let (from, to) = (Arc::clone(from), Arc::clone(to));
                        totals.push(PairTotal {
                            kind,
                            from,
                            to,
                            count,
                            failed,
                            first_ms,
                            last_ms,
                            failing,
                        });
                    }
                }
            }
        }
        totals.sort_by(|a, b| (a.kind, &a.from, &a.to).cmp(&(b.kind, &b.from, &b.to)));
        totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A moment within an hour.
    const NOW_MS: i64 = 500_000 * HOUR_MS + 30 * MINUTE_MS;

    fn counts(pairs: &PairCounts, window: PairWindow, at_ms: i64) -> Vec<(u64, u64)> {
        let totals = pairs.totals(window, at_ms);
        totals.iter().map(|total| (total.count, total.failed)).collect()
    }

    #[test]
    fn a_pair_is_counted_for_an_hour_and_for_a_day() {
        let pairs = PairCounts::default();
        let pair = pairs.of(PairKind::Handled, "a.b", "audit");
        pair.count(false);
        pair.count(true);
        assert_eq!(counts(&pairs, PairWindow::Hour, NOW_MS), [(2, 1)]);
        pairs.of(PairKind::Handled, "a.b", "audit").count(false);
        let later = NOW_MS + 59 * MINUTE_MS;
        assert_eq!(counts(&pairs, PairWindow::Hour, later), [(3, 1)]);
        assert_eq!(pairs.totals(PairWindow::Hour, later)[0].first_ms, Some(NOW_MS));
        assert_eq!(counts(&pairs, PairWindow::Hour, NOW_MS + 60 * MINUTE_MS), [(1, 0)]);
        assert_eq!(counts(&pairs, PairWindow::Hour, NOW_MS + 3 * HOUR_MS), []);
        assert_eq!(counts(&pairs, PairWindow::Day, NOW_MS + 3 * HOUR_MS), [(3, 1)]);
        let total = &pairs.totals(PairWindow::Day, NOW_MS + 3 * HOUR_MS)[0];
        assert_eq!((&*total.from, &*total.to, total.last_ms), ("a.b", "audit", Some(later)));
        let first = |at_ms| pairs.totals(PairWindow::Day, at_ms)[0].first_ms;
        assert_eq!(first(NOW_MS + 3 * HOUR_MS), None, "nothing came in that hour");
    }

    #[test]
    fn the_newest_failures_have_their_time_as_long_as_they_are_in_the_window() {
        let pairs = PairCounts::default();
        let pair = pairs.of(PairKind::Handled, "a.b", "audit");
        let failing = |window, at_ms| pairs.totals(window, at_ms)[0].failing;
        for (minute, has_failed) in [(0, true), (9, false), (10, true), (13, true), (20, false)] {
            pair.count(has_failed);
            pairs.sample(NOW_MS + minute * MINUTE_MS);
        }
        let newest = Burst { from_ms: NOW_MS + 9 * MINUTE_MS, to_ms: NOW_MS + 13 * MINUTE_MS };
        assert_eq!(failing(PairWindow::Hour, NOW_MS + 21 * MINUTE_MS), Some(newest));
        assert_eq!(failing(PairWindow::Hour, NOW_MS + 75 * MINUTE_MS), None);
        assert_eq!(failing(PairWindow::Day, NOW_MS + 75 * MINUTE_MS), Some(newest));
    }

    #[test]
    fn a_pair_of_which_nothing_came_for_a_day_is_forgotten() {
        let pairs = PairCounts::default();
        pairs.of(PairKind::Received, "acme", "a").count(false);
        pairs.of(PairKind::Received, "acme", "b");
        let known = || pairs.known.load(Ordering::Relaxed);
        pairs.sample(NOW_MS);
        assert_eq!(known(), 2, "what is new may be counted soon");
        pairs.sample(NOW_MS + HOUR_MS);
        assert_eq!(known(), 1);
        pairs.sample(NOW_MS + 25 * HOUR_MS);
        assert_eq!(known(), 0);
        pairs.of(PairKind::Received, "acme", "a").count(false);
        assert_eq!(counts(&pairs, PairWindow::Day, NOW_MS + 25 * HOUR_MS), [(1, 0)]);
    }

    #[test]
    fn a_clock_that_goes_back_loses_nothing() {
        let pairs = PairCounts::default();
        pairs.of(PairKind::Emitted, "audit", "a").count(false);
        pairs.sample(NOW_MS);
        pairs.of(PairKind::Emitted, "audit", "a").count(false);
        assert_eq!(counts(&pairs, PairWindow::Hour, NOW_MS - HOUR_MS), [(2, 0)]);
    }

    #[test]
    fn no_edge_was_last_used_later_than_now() {
        let pairs = PairCounts::default();
        pairs.of(PairKind::Emitted, "audit", "a").count(false);
        pairs.sample(NOW_MS);
        let last_ms = |at_ms| pairs.totals(PairWindow::Hour, at_ms)[0].last_ms;
        assert_eq!(last_ms(NOW_MS - MINUTE_MS), Some(NOW_MS - MINUTE_MS));
        assert_eq!(last_ms(NOW_MS + MINUTE_MS), Some(NOW_MS));
    }

    #[test]
    fn pairs_beyond_the_bound_are_one() {
        let pairs = PairCounts::default();
        for n in 0..2 * MAX_PAIRS {
            pairs.of(PairKind::Received, "acme", &format!("t{n}")).count(false);
        }
        let totals = pairs.totals(PairWindow::Hour, NOW_MS);
        assert_eq!(totals.len(), MAX_PAIRS + 1);
        let other = totals.iter().find(|total| &*total.to == OTHER).unwrap();
        assert_eq!((&*other.from, other.count), (OTHER, MAX_PAIRS as u64));
    }

    #[test]
    fn all_pairs_stay_below_a_mebibyte_and_a_half() {
        const NAMES: usize = crate::event::MAX_NAME_BYTES + 128;
        let bytes = MAX_PAIRS * (size_of::<Pair>() + NAMES);
        assert!(bytes < 3 << 19, "{bytes}");
    }
}
