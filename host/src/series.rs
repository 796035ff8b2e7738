//! Rates and durations over time: what the charts of operators show.
//!
//! Sources and plugins each have a [`Meter`], which only counts upwards. Every ten seconds
//! [`Series::sample`] takes the differences into a window of an hour, and every five minutes
//! [`Series::increments`] gives those that are to be stored. Memory is bounded: of each ten seconds
//! the most active owners are kept, and the others are one owner, `other`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

pub use backlog::{BACKLOG_MS, OpenCount};
pub use burst::{Burst, QUIET_MS};
pub use durations::{Durations, Spread};
pub use marks::{MAX_MARKS, Mark};
pub use meter::{COUNTS, Meter};
pub use pairs::{Pair, PairCounts, PairKind, PairTotal, PairWindow};
pub use window::{Point, Sampled};

use backlog::OpenCounts;
use marks::Marks;
use meter::Total;
use window::Window;

mod backlog;
mod burst;
mod durations;
mod marks;
mod meter;
mod pairs;
mod window;

/// The time between two samples, in milliseconds.
pub const STEP_MS: i64 = 10_000;

/// The time between two stored samples, in milliseconds.
pub const STORED_EACH_MS: i64 = 300_000;

/// Owners with a meter of their own; those that come later are counted as `other`.
const MAX_METERS: usize = 440;

/// The name of the owner that stands for those without one of their own.
pub const OTHER: &str = "other";

/// The owner of a meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OwnerKind {
    /// A source: requests, and the time until they were acknowledged.
    Source,
    /// A plugin: attempts, and the time they took.
    Plugin,
    /// The backlog of all plugins: how many deliveries were [ready](OpenCount::READY) and
    /// [waiting](OpenCount::WAITING) at most.
    Backlog,
}

impl OwnerKind {
    /// Every kind, in the order of their codes.
    pub const ALL: [Self; 3] = [Self::Source, Self::Plugin, Self::Backlog];

    /// The kinds with meters: their counts are added up.
    pub const METERED: [Self; 2] = [Self::Source, Self::Plugin];

    /// The stored form.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Reads the stored form.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

/// A source, a plugin or the backlog.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesOwner {
    /// Which of both.
    pub kind: OwnerKind,
    /// Its name; `None` for all of the kind together.
    pub name: Option<Arc<str>>,
}

/// The growth of an owner's counts in some time that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Increment {
    /// The owner.
    pub owner: SeriesOwner,
    /// How often what happened, by [`Count`](Meter).
    pub counts: [u32; COUNTS],
    /// How long it took.
    pub durations: Spread,
}

/// All meters, and what they have measured lately.
#[derive(Debug, Default)]
pub struct Series {
    meters: RwLock<HashMap<SeriesOwner, Arc<Meter>>>,
    state: Mutex<SeriesState>,
    marks: Marks,
    open: OpenCounts,
    pairs: PairCounts,
}

/// The totals that the last sample and the last stored one have seen.
#[derive(Debug, Default)]
struct SeriesState {
    window: Window,
    sampled: HashMap<SeriesOwner, Total>,
    stored: HashMap<SeriesOwner, Total>,
}

impl Series {
    /// The meter of a source or plugin.
    pub fn meter(&self, kind: OwnerKind, name: &str) -> Arc<Meter> {
        let owner = |name: &str| SeriesOwner { kind, name: Some(name.into()) };
        let (wanted, other) = (owner(name), owner(OTHER));
        let known = self.meters.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(meter) = known.get(&wanted) {
            return Arc::clone(meter);
        }
        drop(known);
        let mut meters = self.meters.write().unwrap_or_else(PoisonError::into_inner);
        let owner = if meters.len() < MAX_METERS { wanted } else { other };
        Arc::clone(meters.entry(owner).or_default())
    }

    /// Takes what happened since the last sample into the window, as of the time of the wall clock
    /// `at_ms`.
    pub fn sample(&self, at_ms: i64) {
        let totals = self.totals();
        let mut state = self.state();
        let increments = differences(&totals, &mut state.sampled);
        state.window.push(at_ms, increments);
        drop(state);
        self.pairs.sample(at_ms);
    }

    /// Events and attempts by where they come from and where they go to.
    pub fn pairs(&self) -> &PairCounts {
        &self.pairs
    }

    /// The acts of every owner since the last call; owners that did nothing are left out. A host
    /// that does nothing and has no backlog has nothing to keep.
    pub fn increments(&self) -> Vec<Increment> {
        let totals = self.totals();
        let mut increments = differences(&totals, &mut self.state().stored);
        let backlog = self.open.increment();
        let is_worth_it = |backlog: &Increment| !increments.is_empty() || !backlog.is_empty();
        if let Some(backlog) = backlog.filter(is_worth_it) {
            increments.push(backlog);
        }
        increments
    }

    /// The acts of an owner in each step of the window, the oldest first.
    pub fn window(&self, owner: &SeriesOwner) -> Vec<Sampled> {
        match owner.kind {
            OwnerKind::Backlog => self.open.sampled(),
            OwnerKind::Source | OwnerKind::Plugin => self.state().window.of(owner),
        }
    }

    /// Whether anything was ever counted of an owner.
    pub fn has(&self, owner: &SeriesOwner) -> bool {
        self.meters.read().unwrap_or_else(PoisonError::into_inner).contains_key(owner)
    }

    /// Notes that something was changed which may be the cause of what happens after it.
    pub fn mark(&self, mark: Mark) {
        self.marks.push(mark);
    }

    /// The marks since a time of the wall clock, the oldest first.
    pub fn marks(&self, since_ms: i64) -> Vec<Mark> {
        self.marks.since(since_ms)
    }

    /// Notes how many deliveries are open.
    pub fn note_open(&self, count: OpenCount) {
        self.open.push(count);
    }

    /// How many deliveries were open a quarter of an hour ago, or when that was noted first.
    pub fn open_before(&self, now_ms: i64) -> Option<OpenCount> {
        self.open.oldest(now_ms)
    }

    fn totals(&self) -> Vec<(SeriesOwner, Total)> {
        let meters = self.meters.read().unwrap_or_else(PoisonError::into_inner);
        meters.iter().map(|(owner, meter)| (owner.clone(), meter.total())).collect()
    }

    fn state(&self) -> MutexGuard<'_, SeriesState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The acts of each owner since `seen`, which is brought up to date; and of each kind all together.
fn differences(
    totals: &[(SeriesOwner, Total)],
    seen: &mut HashMap<SeriesOwner, Total>,
) -> Vec<Increment> {
    let mut increments = Vec::new();
    let mut all = OwnerKind::METERED.map(|kind| Increment {
        owner: SeriesOwner { kind, name: None },
        counts: [0; COUNTS],
        durations: Spread::default(),
    });
    for (owner, total) in totals {
        let before = seen.insert(owner.clone(), total.clone());
        let (counts, durations) = total.since(before.as_ref());
        if counts == [0; COUNTS] && durations.is_empty() {
            continue;
        }
        let increment = Increment { owner: owner.clone(), counts, durations };
        all[usize::from(owner.kind.code())].add(&increment);
        increments.push(increment);
    }
    increments.extend(all.into_iter().filter(|increment| !increment.is_empty()));
    increments
}

impl Increment {
    /// Adds what another owner, or the same one at another time, did.
    pub fn add(&mut self, other: &Self) {
        for (sum, n) in self.counts.iter_mut().zip(other.counts) {
            *sum = sum.saturating_add(n);
        }
        self.durations.add(&other.durations);
    }

    fn is_empty(&self) -> bool {
        self.counts == [0; COUNTS] && self.durations.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn plugin(name: &str) -> SeriesOwner {
        SeriesOwner { kind: OwnerKind::Plugin, name: Some(name.into()) }
    }

    const ALL_PLUGINS: SeriesOwner = SeriesOwner { kind: OwnerKind::Plugin, name: None };

    #[test]
    fn a_sample_has_what_came_since_the_last_one() {
        let series = Series::default();
        let meter = series.meter(OwnerKind::Plugin, "audit");
        meter.count(0, 3);
        meter.took(Duration::from_millis(10));
        series.sample(10_000);
        series.sample(20_000);
        meter.count(0, 2);
        series.sample(30_000);
        let found: Vec<_> = series
            .window(&plugin("audit"))
            .iter()
            .map(|sampled| (sampled.at_ms, sampled.point.counts[0]))
            .collect();
        assert_eq!(found, [(10_000, 3), (20_000, 0), (30_000, 2)]);
        assert_eq!(series.window(&ALL_PLUGINS)[0].point.counts[0], 3);
        assert_eq!(series.window(&plugin("none"))[2].point, Point::default());
    }

    #[test]
    fn samples_and_rests_count_the_same_by_themselves() {
        let series = Series::default();
        let meter = series.meter(OwnerKind::Source, "heygen");
        for step in 1..=3 {
            meter.count(0, 1);
            series.sample(step * STEP_MS);
        }
        let increments = series.increments();
        assert_eq!(increments.len(), 2, "the source and all sources");
        assert!(increments.iter().all(|increment| increment.counts[0] == 3), "{increments:?}");
        assert_eq!(series.increments(), []);
    }

    #[test]
    fn the_least_active_are_one_owner() {
        let series = Series::default();
        for n in 0..200_u32 {
            series.meter(OwnerKind::Plugin, &format!("p{n}")).count(0, u64::from(n) + 1);
        }
        series.sample(10_000);
        assert_eq!(series.window(&plugin("p199"))[0].point.counts[0], 200);
        assert_eq!(series.window(&plugin("p0"))[0].point.counts[0], 0);
        let other = series.window(&plugin(OTHER))[0].point.counts[0];
        let all = series.window(&ALL_PLUGINS)[0].point.counts[0];
        assert_eq!(all, (1..=200).sum::<u32>());
        assert!(other > 0 && other < all / 4, "{other} of {all}");
    }

    /// A hash table has a power of two places, an eighth of them free, and a byte more for each.
    fn table_bytes<T>(entries: usize) -> usize {
        (entries * 8).div_ceil(7).next_power_of_two() * (size_of::<T>() + 1)
    }

    #[test]
    fn the_time_series_of_all_owners_stay_below_four_mebibytes() {
        const ARC: usize = 2 * size_of::<usize>();
        let owners = MAX_METERS + OwnerKind::METERED.len();
        let name = ARC + "plugins/".len() + crate::names::MAX_NAME_BYTES;
        let meter = ARC + size_of::<Meter>();
        let totals = 2 * Meter::default().total().durations_bytes();
        let tables = table_bytes::<(SeriesOwner, Arc<Meter>)>(owners)
            + 2 * table_bytes::<(SeriesOwner, Total)>(owners)
            + table_bytes::<(SeriesOwner, u16)>(owners);
        let all = owners * (name + meter + totals) + tables + Window::max_bytes();
        assert!(all < 4 << 20, "{all} bytes");
    }

    #[test]
    fn owners_without_a_meter_of_their_own_are_counted_as_other() {
        let series = Series::default();
        for n in 0..2 * MAX_METERS {
            series.meter(OwnerKind::Source, &format!("s{n}")).count(0, 1);
        }
        assert!(series.meters.read().unwrap().len() <= MAX_METERS + 1);
        let increments = series.increments();
        let all = increments.iter().find(|increment| increment.owner.name.is_none()).unwrap();
        assert_eq!(all.counts[0] as usize, 2 * MAX_METERS);
    }
}
