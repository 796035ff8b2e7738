//! The last minute in numbers.

use crate::admin::page::parts::measure::{duration, percent, three_digits};
use crate::admin::state::Admin;
use crate::event::{Outcome, State};
use crate::series::{Meter, OwnerKind, Point, SeriesOwner};
use crate::store::Stats;
use crate::text::grouped;

/// Samples of ten seconds in the last minute.
const STEPS: usize = 6;

/// The last minute of a source or a plugin, or of all of them.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct RecentActs {
    counts: [u64; crate::series::COUNTS],
    p95_us: u32,
}

impl RecentActs {
    /// The last `steps` samples, after leaving out the newest `skip`.
    pub(super) fn of(admin: &Admin, owner: &SeriesOwner, skip: usize, steps: usize) -> Self {
        let mut recent = Self::default();
        for sampled in admin.series.window(owner).iter().rev().skip(skip).take(steps) {
            let Point { counts, p95_us, .. } = sampled.point;
            for (sum, n) in recent.counts.iter_mut().zip(counts) {
                *sum += u64::from(n);
            }
            recent.p95_us = recent.p95_us.max(p95_us);
        }
        recent
    }

    pub(super) fn count(&self, kind: usize) -> u64 {
        self.counts[kind]
    }

    /// Attempts that succeeded, and those that did not.
    pub(super) fn attempts(&self) -> (u64, u64) {
        let of = |outcome: Outcome| self.counts[usize::from(outcome.code())];
        let good = of(Outcome::Ok) + of(Outcome::Again);
        let all: u64 = Outcome::ALL.map(of).iter().sum();
        (good, all - good)
    }

    pub(super) fn p95(&self) -> Option<String> {
        (self.p95_us > 0).then(|| duration(f64::from(self.p95_us) / 1e3))
    }
}

/// The last minute of a plugin.
pub(super) fn of_plugin(admin: &Admin, name: &str) -> RecentActs {
    let owner = SeriesOwner { kind: OwnerKind::Plugin, name: Some(name.into()) };
    RecentActs::of(admin, &owner, 0, STEPS)
}

/// A number a second, of a minute.
pub(super) fn per_second(n: u64) -> String {
    three_digits(n as f64 / 60.0)
}

/// The numbers of the whole host.
#[derive(Debug)]
pub(super) struct LastMinute {
    /// Attempts that succeeded.
    pub(super) handled: String,
    /// Label, value and class of each tile.
    pub(super) tiles: Vec<(&'static str, String, &'static str)>,
}

impl LastMinute {
    pub(super) fn of(admin: &Admin, stats: &Stats) -> Self {
        let all = |kind| RecentActs::of(admin, &SeriesOwner { kind, name: None }, 0, STEPS);
        let (came, ran) = (all(OwnerKind::Source), all(OwnerKind::Plugin));
        let (good, bad) = ran.attempts();
        let (accepted, twice) = (came.count(Meter::ACCEPTED), came.count(Meter::DUPLICATE));
        let refused = came.count(Meter::REFUSED);
        let state = |state| grouped(stats.deliveries(state));
        let alarm = |n: u64| if n > 0 { "bad" } else { "" };
        let dead = stats.deliveries(State::Dead);
        let tiles = vec![
            ("accepted/s", per_second(accepted), ""),
            ("handled/s", per_second(good), ""),
            ("failed/s", per_second(bad), alarm(bad)),
            ("duplicates", percent(twice, accepted + twice), ""),
            ("refused/s", per_second(refused), alarm(refused)),
            ("ready", state(State::Ready), ""),
            ("running", state(State::Leased), ""),
            ("waiting", state(State::Waiting), ""),
            ("dead", state(State::Dead), alarm(dead)),
            ("events stored", grouped(stats.events), ""),
        ];
        Self { handled: grouped(good), tiles }
    }
}
