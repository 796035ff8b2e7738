//! When something went wrong: from its beginning to the last time that it was seen.

/// Trouble that comes again after this long is another one, in milliseconds. So long it counts as
/// trouble of now.
pub const QUIET_MS: i64 = 300_000;

/// A time in which something went wrong again and again, without a longer pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Burst {
    /// When it was seen first, Unix ms of the wall clock.
    pub from_ms: i64,
    /// When it was seen last, Unix ms of the wall clock.
    pub to_ms: i64,
}

impl Burst {
    /// The burst after a sighting between two samples, neither of which is before the known burst.
    #[must_use]
    pub fn seen(known: Option<Self>, from_ms: i64, to_ms: i64) -> Self {
        let goes_on = known.filter(|known| from_ms - known.to_ms <= QUIET_MS);
        Self { from_ms: goes_on.map_or(from_ms, |known| known.from_ms), to_ms }
    }

    /// The newest of the times in which something went wrong here or there.
    #[must_use]
    pub fn newest(here: Option<Self>, there: Option<Self>) -> Option<Self> {
        let (Some(a), Some(b)) = (here, there) else { return here.or(there) };
        let (early, late) = if a.to_ms <= b.to_ms { (a, b) } else { (b, a) };
        let goes_on = late.from_ms - early.to_ms <= QUIET_MS;
        let from_ms = if goes_on { late.from_ms.min(early.from_ms) } else { late.from_ms };
        Some(Self { from_ms, ..late })
    }

    /// Whether it was seen in the last minutes before `now_ms`.
    #[must_use]
    pub fn is_on(self, now_ms: i64) -> bool {
        now_ms - self.to_ms < QUIET_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_MS: i64 = 60_000;

    fn burst(from_ms: i64, to_ms: i64) -> Option<Burst> {
        Some(Burst { from_ms, to_ms })
    }

    #[test]
    fn a_burst_goes_on_until_it_was_quiet_for_long() {
        let seen = |known, minute: i64| {
            Some(Burst::seen(known, (minute - 1) * MINUTE_MS, minute * MINUTE_MS))
        };
        let known = [1, 4, 10].into_iter().fold(None, seen);
        assert_eq!(known, burst(0, 10 * MINUTE_MS));
        let again = seen(known, 17).unwrap();
        assert_eq!(Some(again), burst(16 * MINUTE_MS, 17 * MINUTE_MS));
        assert!(again.is_on(21 * MINUTE_MS) && !again.is_on(22 * MINUTE_MS));
    }

    #[test]
    fn of_two_bursts_the_newest_counts_and_those_that_meet_are_one() {
        let early = burst(0, 10 * MINUTE_MS);
        for (there, expected) in [
            (None, early),
            (burst(12 * MINUTE_MS, 20 * MINUTE_MS), burst(0, 20 * MINUTE_MS)),
            (burst(2 * MINUTE_MS, 3 * MINUTE_MS), early),
            (burst(30 * MINUTE_MS, 40 * MINUTE_MS), burst(30 * MINUTE_MS, 40 * MINUTE_MS)),
        ] {
            assert_eq!(Burst::newest(early, there), expected);
            assert_eq!(Burst::newest(there, early), expected);
        }
    }
}
