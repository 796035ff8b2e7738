//! When a trouble began, whether it is over, and how often it happened.

use crate::series::{Point, QUIET_MS, STEP_MS, Sampled};

/// A trouble that has not been seen for this long is over, in milliseconds.
const OVER_MS: i64 = 60_000;

/// The parts of a trend, and the length of each in milliseconds.
const TREND_PARTS: usize = 12;
const TREND_STEP_MS: i64 = 300_000;

/// The time of a trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::admin) struct TroubleSpan {
    pub(in crate::admin) from_ms: i64,
    /// Whether it may have begun before, in a time that is not known any more.
    pub(in crate::admin) is_older: bool,
    /// When it was seen last, if it is over.
    pub(in crate::admin) to_ms: Option<i64>,
}

impl TroubleSpan {
    /// A trouble that goes on.
    pub(in crate::admin) fn since(from_ms: i64) -> Self {
        Self { from_ms, is_older: false, to_ms: None }
    }

    /// The newest trouble in samples, the oldest of which is first.
    pub(super) fn of(
        samples: &[Sampled],
        is_bad: impl Fn(&Point) -> bool,
        now_ms: i64,
    ) -> Option<Self> {
        let bad = samples.iter().enumerate().filter(|(_, sampled)| is_bad(&sampled.point));
        let mut newest_first = bad.rev();
        let (mut at, last) = newest_first.next()?;
        for (earlier, sampled) in newest_first {
            if samples[at].at_ms - sampled.at_ms > QUIET_MS {
                break;
            }
            at = earlier;
        }
        // A sample may be of more than its usual time.
        let begun_ms = match at.checked_sub(1) {
            Some(before) => samples[before].at_ms,
            None => samples[at].at_ms - STEP_MS,
        };
        let is_over = now_ms - last.at_ms >= OVER_MS;
        Some(Self {
            from_ms: begun_ms,
            is_older: begun_ms - samples[0].at_ms < QUIET_MS
                && samples[0].at_ms < now_ms - 10 * QUIET_MS,
            to_ms: is_over.then_some(last.at_ms),
        })
    }
}

/// How often something happened in each five minutes of the last hour; empty if it never did.
pub(super) fn trend(samples: &[Sampled], now_ms: i64, of: impl Fn(&Point) -> u32) -> Vec<u32> {
    let mut parts = vec![0_u32; TREND_PARTS];
    for Sampled { at_ms, point } in samples {
        // A sample is of the time before it.
        let back = (now_ms - at_ms).max(0) / TREND_STEP_MS;
        let part = usize::try_from(back).ok().and_then(|back| (TREND_PARTS - 1).checked_sub(back));
        if let Some(part) = part {
            parts[part] = parts[part].saturating_add(of(point));
        }
    }
    if parts.iter().all(|n| *n == 0) { Vec::new() } else { parts }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_770_000_000_000;

    /// An hour of samples, bad in these steps.
    fn samples(bad: impl Fn(i64) -> bool) -> Vec<Sampled> {
        let sampled = |step: i64| {
            let mut point = Point::default();
            point.counts[1] = u32::from(bad(step));
            Sampled { at_ms: NOW_MS - (359 - step) * STEP_MS, point }
        };
        (0..360).map(sampled).collect()
    }

    fn span(bad: impl Fn(i64) -> bool) -> Option<TroubleSpan> {
        TroubleSpan::of(&samples(bad), |point| point.counts[1] > 0, NOW_MS)
    }

    #[test]
    fn a_trouble_begins_after_a_quiet_time_and_is_over_when_it_is_not_seen_for_a_minute() {
        assert_eq!(span(|_| false), None);
        let now = span(|step| step == 20 || (300..).contains(&step)).unwrap();
        assert_eq!((now.from_ms, now.to_ms), (NOW_MS - 60 * STEP_MS, None));
        assert!(!now.is_older);
        let over = span(|step| (100..=200).contains(&step) && step % 3 == 1).unwrap();
        let at = |step: i64| NOW_MS - (359 - step) * STEP_MS;
        assert_eq!((over.from_ms, over.to_ms), (at(99), Some(at(199))));
        assert!(span(|_| true).unwrap().is_older, "it may have begun before the hour");
    }

    #[test]
    fn a_trend_has_the_counts_of_each_five_minutes_and_is_empty_without_any() {
        let of = |bad: fn(i64) -> bool| trend(&samples(bad), NOW_MS, |point| point.counts[1]);
        assert!(of(|_| false).is_empty());
        let found = of(|step| step == 0 || step >= 358);
        assert_eq!((found.len(), found[0], found[11], found[5]), (TREND_PARTS, 1, 2, 0));
    }
}
