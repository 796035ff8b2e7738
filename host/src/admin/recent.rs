//! The recent acts of sources and plugins: the last minute, or as much of it as was measured.

use super::state::Admin;
use crate::event::Outcome;
use crate::series::{OwnerKind, Point, STEP_MS, SeriesOwner};
use crate::text::grouped;

/// Samples of ten seconds in the last minute.
const STEPS: usize = 6;

/// The time that rates are of.
#[derive(Debug, Clone, Copy)]
pub(in crate::admin) struct RateSpan {
    steps: usize,
}

impl RateSpan {
    /// The last minute, or the time since the start if that is less.
    pub(in crate::admin) fn of(admin: &Admin) -> Self {
        let all = SeriesOwner { kind: OwnerKind::Source, name: None };
        Self { steps: admin.series.window(&all).len().min(STEPS) }
    }

    /// A number of this time; `–` before anything was measured.
    pub(in crate::admin) fn count(self, n: u64) -> String {
        if self.steps == 0 { "–".to_owned() } else { grouped(n) }
    }

    /// The time in words, as in `in the last minute`.
    pub(in crate::admin) fn words(self) -> String {
        match self.steps {
            0 => format!("first {} s", STEP_MS / 1_000),
            STEPS => "last minute".to_owned(),
            steps => format!("last {} s", steps as i64 * STEP_MS / 1_000),
        }
    }

    /// The acts of an owner in this time.
    pub(in crate::admin) fn acts(self, admin: &Admin, owner: &SeriesOwner) -> RecentActs {
        RecentActs::of(admin, owner, 0, self.steps)
    }

    /// The acts of a plugin in this time.
    pub(in crate::admin) fn of_plugin(self, admin: &Admin, name: &str) -> RecentActs {
        self.acts(admin, &SeriesOwner { kind: OwnerKind::Plugin, name: Some(name.into()) })
    }
}

/// The acts of a source or a plugin, or of all of them, in some time.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::admin) struct RecentActs {
    counts: [u64; crate::series::COUNTS],
    p95_us: u32,
}

impl RecentActs {
    /// The last `steps` samples, after leaving out the newest `skip`.
    pub(in crate::admin) fn of(
        admin: &Admin,
        owner: &SeriesOwner,
        skip: usize,
        steps: usize,
    ) -> Self {
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

    pub(in crate::admin) fn count(&self, kind: usize) -> u64 {
        self.counts[kind]
    }

    /// Attempts that succeeded, and those that failed.
    pub(in crate::admin) fn attempts(&self) -> (u64, u64) {
        let of = |outcome: Outcome| self.counts[usize::from(outcome.code())];
        let good = of(Outcome::Ok) + of(Outcome::Again);
        let all: u64 = Outcome::ALL.map(of).iter().sum();
        (good, all - good)
    }

    /// The time that 95 of a hundred did not exceed, in milliseconds.
    pub(in crate::admin) fn p95_ms(&self) -> Option<f64> {
        (self.p95_us > 0).then(|| f64::from(self.p95_us) / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_of_the_time_that_was_measured() {
        let span = |steps| RateSpan { steps };
        assert_eq!((span(0).count(0), span(0).words()), ("–".to_owned(), "first 10 s".into()));
        assert_eq!((span(1).count(29), span(1).words()), ("29".into(), "last 10 s".into()));
        assert_eq!((span(6).count(1_204), span(6).words()), ("1,204".into(), "last minute".into()));
    }
}
