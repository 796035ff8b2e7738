//! The last hour in steps of ten seconds.

use std::collections::{HashMap, VecDeque};

use super::durations::middle_us;
use super::meter::COUNTS;
use super::{Increment, OTHER, OwnerKind, SeriesOwner, Spread};

/// Steps that are kept: an hour.
const STEPS: usize = 360;

/// Owners of a step that are kept by themselves, besides all of a kind and `other`.
const MAX_OWNERS: usize = 128;

/// The acts of one owner in one step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Point {
    /// How often what happened.
    pub counts: [u32; COUNTS],
    /// The number of durations.
    pub timed: u32,
    /// Their median, in microseconds.
    pub p50_us: u32,
    /// The duration that 95 of a hundred do not exceed.
    pub p95_us: u32,
    /// The duration that 99 of a hundred do not exceed.
    pub p99_us: u32,
}

impl Point {
    /// The point that is shown for these counts and durations.
    pub fn of(counts: [u32; COUNTS], durations: &Spread) -> Self {
        KeptPoint::of(0, counts, durations).shown()
    }
}

/// A point as it is kept: percentiles are the numbers of their buckets.
#[derive(Debug, Clone, Copy)]
struct KeptPoint {
    counts: [u32; COUNTS],
    timed: u32,
    owner: u16,
    percentiles: [u8; 3],
}

impl KeptPoint {
    fn of(owner: u16, counts: [u32; COUNTS], durations: &Spread) -> Self {
        let timed = u32::try_from(durations.count()).unwrap_or(u32::MAX);
        let percentiles = [0.5, 0.95, 0.99].map(|part| durations.percentile_bucket(part));
        Self { counts, timed, owner, percentiles }
    }

    fn shown(self) -> Point {
        let us = |bucket| u32::try_from(middle_us(bucket)).unwrap_or(u32::MAX);
        let [p50_us, p95_us, p99_us] = self.percentiles.map(us);
        Point { counts: self.counts, timed: self.timed, p50_us, p95_us, p99_us }
    }
}

/// A point with its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampled {
    /// The end of the step, Unix ms of the wall clock.
    pub at_ms: i64,
    /// The acts in this step.
    pub point: Point,
}

/// Steps, the oldest first. Owners that did nothing in a step are not in it.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// The number by which each owner is known here.
    numbers: HashMap<SeriesOwner, u16>,
    steps: VecDeque<Step>,
}

#[derive(Debug)]
struct Step {
    at_ms: i64,
    /// By the numbers of the owners.
    points: Vec<KeptPoint>,
}

impl Window {
    /// Adds a step, and drops the oldest one if there are enough.
    pub(super) fn push(&mut self, at_ms: i64, increments: Vec<Increment>) {
        if self.steps.len() >= STEPS {
            self.steps.pop_front();
        }
        let increments = fold(increments);
        let mut points = Vec::with_capacity(increments.len());
        for Increment { owner, counts, durations } in increments {
            // There are fewer owners than meters can have.
            let next = self.numbers.len() as u16;
            let number = *self.numbers.entry(owner).or_insert(next);
            points.push(KeptPoint::of(number, counts, &durations));
        }
        points.sort_by_key(|point| point.owner);
        self.steps.push_back(Step { at_ms, points });
    }

    /// The most bytes that it takes, but for the names of its owners.
    #[cfg(test)]
    pub(super) const fn max_bytes() -> usize {
        let owners = MAX_OWNERS + 2 * OwnerKind::METERED.len();
        STEPS * (size_of::<Step>() + owners * size_of::<KeptPoint>())
    }

    /// The acts of an owner in each step.
    pub(super) fn of(&self, owner: &SeriesOwner) -> Vec<Sampled> {
        let number = self.numbers.get(owner);
        let point = |step: &Step| {
            let at = step.points.binary_search_by_key(number?, |point| point.owner).ok()?;
            Some(step.points[at].shown())
        };
        let sampled =
            |step: &Step| Sampled { at_ms: step.at_ms, point: point(step).unwrap_or_default() };
        self.steps.iter().map(sampled).collect()
    }
}

/// Makes one owner of each kind of those that did least, if there are many.
fn fold(mut increments: Vec<Increment>) -> Vec<Increment> {
    let activity =
        |increment: &Increment| increment.counts.iter().map(|count| u64::from(*count)).sum::<u64>();
    let is_whole = |increment: &Increment| increment.owner.name.is_none();
    increments
        .sort_by_key(|increment| (!is_whole(increment), std::cmp::Reverse(activity(increment))));
    let wholes = increments.iter().filter(|increment| is_whole(increment)).count();
    if increments.len() <= wholes + MAX_OWNERS {
        return increments;
    }
    let folded = increments.split_off(wholes + MAX_OWNERS);
    for kind in OwnerKind::METERED {
        let owner = SeriesOwner { kind, name: Some(OTHER.into()) };
        let mut of_kind = folded.iter().filter(|increment| increment.owner.kind == kind);
        let Some(first) = of_kind.next() else { continue };
        let mut other = Increment { owner: owner.clone(), ..first.clone() };
        of_kind.for_each(|increment| other.add(increment));
        match increments.iter_mut().find(|increment| increment.owner == owner) {
            Some(known) => known.add(&other),
            None => increments.push(other),
        }
    }
    increments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_kept() {
        let mut window = Window::default();
        let owner = SeriesOwner { kind: OwnerKind::Source, name: None };
        for step in 0..=STEPS as i64 {
            window.push(step, Vec::new());
        }
        let found = window.of(&owner);
        assert_eq!(found.len(), STEPS);
        assert_eq!(found[0].at_ms, 1);
    }
}
