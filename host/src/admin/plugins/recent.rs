//! The attempts of a plugin in the last minute, from the series in memory.

use serde::Serialize;
use utoipa::ToSchema;

use crate::admin::state::Admin;
use crate::event::Outcome;
use crate::series::{OwnerKind, STEP_MS, Sampled, SeriesOwner};

/// Samples of ten seconds that are looked at.
const STEPS: usize = 6;

/// The attempts of a plugin in the last minute, or in the time since the start of the host if that
/// is less.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = RecentAttempts)]
pub(in crate::admin) struct RecentAttemptsJson {
    /// The time that was measured, in seconds: 60, or less after a start.
    pub(in crate::admin) span_s: u64,
    /// Attempts that ended.
    pub(in crate::admin) attempts: u64,
    /// Those of them that failed.
    pub(in crate::admin) failed: u64,
    /// Attempts a second; null before anything was measured.
    pub(in crate::admin) per_s: Option<f64>,
    /// The largest median of ten seconds, in milliseconds; null if nothing was timed.
    pub(in crate::admin) p50_ms: Option<f64>,
    /// The same of the duration that 95 of a hundred do not exceed.
    pub(in crate::admin) p95_ms: Option<f64>,
    /// The same of the duration that 99 of a hundred do not exceed.
    pub(in crate::admin) p99_ms: Option<f64>,
}

impl RecentAttemptsJson {
    pub(super) fn of(admin: &Admin, plugin: &str) -> Self {
        let owner = SeriesOwner { kind: OwnerKind::Plugin, name: Some(plugin.into()) };
        let sampled = admin.series.window(&owner);
        Self::sum(&sampled[sampled.len().saturating_sub(STEPS)..])
    }

    fn sum(sampled: &[Sampled]) -> Self {
        let mut sum = Self {
            span_s: (sampled.len() as i64 * STEP_MS / 1_000).unsigned_abs(),
            ..Self::default()
        };
        let mut largest = [None::<u32>; 3];
        for Sampled { point, .. } in sampled {
            for outcome in Outcome::ALL {
                let n = u64::from(point.counts[usize::from(outcome.code())]);
                sum.attempts += n;
                sum.failed += if outcome.is_failure() { n } else { 0 };
            }
            if point.timed > 0 {
                let parts = [point.p50_us, point.p95_us, point.p99_us];
                for (most, us) in largest.iter_mut().zip(parts) {
                    *most = (*most).max(Some(us));
                }
            }
        }
        sum.per_s = (sum.span_s > 0).then(|| sum.attempts as f64 / sum.span_s as f64);
        [sum.p50_ms, sum.p95_ms, sum.p99_ms] = largest.map(|us| us.map(|us| f64::from(us) / 1e3));
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::Point;

    #[test]
    fn a_minute_adds_up_and_has_the_slowest_of_its_parts() {
        let code = |outcome: Outcome| usize::from(outcome.code());
        let mut quick =
            Point { timed: 9, p50_us: 200, p95_us: 900, p99_us: 1_000, ..Point::default() };
        quick.counts[code(Outcome::Ok)] = 9;
        let mut slow =
            Point { timed: 3, p50_us: 500, p95_us: 600, p99_us: 7_000, ..Point::default() };
        slow.counts[code(Outcome::Ok)] = 2;
        slow.counts[code(Outcome::Trap)] = 1;
        let sampled = |at_ms, point| Sampled { at_ms, point };
        let sum = RecentAttemptsJson::sum(&[
            sampled(10_000, quick),
            sampled(20_000, slow),
            sampled(30_000, Point::default()),
        ]);
        assert_eq!((sum.span_s, sum.attempts, sum.failed, sum.per_s), (30, 12, 1, Some(0.4)));
        assert_eq!((sum.p50_ms, sum.p95_ms, sum.p99_ms), (Some(0.5), Some(0.9), Some(7.0)));
        let none = RecentAttemptsJson::sum(&[]);
        assert_eq!((none.span_s, none.per_s, none.p50_ms), (0, None, None));
    }
}
