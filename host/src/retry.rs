//! Verdict → settlement: what becomes of a delivery after an attempt, as a pure function.
//!
//! Invariant: a delivery that is not done gets either a time at which it is due again or a place among the dead
//! letters; there is no third way.

use serde::{Deserialize, Serialize};

use crate::event::Outcome;

/// The longest time a retry may be put off, by backoff or by a plugin's own wish: 7 days.
pub const MAX_DELAY_MS: u64 = 7 * 24 * 3600 * 1000;

/// The longest time a host waits for itself (no capacity, a conflict of key-value writes) before it tries again.
pub const GIVE_BACK_DELAY_MS: u64 = 50;

/// When and how often a failed delivery is tried again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Attempts in all, the first included; at least 1.
    pub max_attempts: u32,
    /// Backoff before the second attempt, in milliseconds.
    pub initial_ms: u64,
    /// Backoff grows by this factor from attempt to attempt; at least 1.
    pub factor: f64,
    /// Backoff never exceeds this, in milliseconds.
    pub max_ms: u64,
    /// How the backoff is spread.
    pub jitter: Jitter,
}

/// How a computed backoff is spread, so that failures that came together do not come back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Jitter {
    /// Anywhere between zero and the backoff.
    Full,
    /// Between half of the backoff and the whole.
    Equal,
    /// The backoff itself.
    None,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { max_attempts: 8, initial_ms: 1_000, factor: 2.0, max_ms: 3_600_000, jitter: Jitter::Full }
    }
}

impl RetryPolicy {
    /// The backoff after attempt number `attempt` (from 1), before jitter, in milliseconds.
    pub fn backoff_ms(&self, attempt: u32) -> u64 {
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let grown = self.initial_ms as f64 * self.factor.max(1.0).powi(exponent);
        // `as` saturates: an overflow to infinity ends at the cap.
        (grown as u64).min(self.max_ms).min(MAX_DELAY_MS)
    }

    /// The delay after attempt number `attempt`, `random` being drawn evenly from [0, 1).
    pub fn delay_ms(&self, attempt: u32, random: f64) -> u64 {
        let backoff = self.backoff_ms(attempt);
        match self.jitter {
            Jitter::Full => (backoff as f64 * random) as u64,
            Jitter::Equal => backoff / 2 + (backoff as f64 / 2.0 * random) as u64,
            Jitter::None => backoff,
        }
    }
}

/// What happens next to a delivery whose attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterFailure {
    /// Tried again this many milliseconds from now.
    RetryInMs(u64),
    /// Among the dead letters.
    Dead,
}

/// Decides what follows a failed attempt.
///
/// `after_ms` is the plugin's own wish and stands above the backoff; `random` is drawn evenly from [0, 1). A reject is
/// final; a crash is decided by the store, which counts them.
pub fn after_failure(
    outcome: Outcome,
    attempt: u32,
    after_ms: Option<u64>,
    policy: &RetryPolicy,
    random: f64,
) -> AfterFailure {
    if outcome == Outcome::Reject || attempt >= policy.max_attempts {
        return AfterFailure::Dead;
    }
    AfterFailure::RetryInMs(after_ms.map_or_else(|| policy.delay_ms(attempt, random), |wish| wish.min(MAX_DELAY_MS)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn backoff_doubles_and_stops_at_its_cap() {
        let policy = RetryPolicy { jitter: Jitter::None, max_ms: 5_000, ..RetryPolicy::default() };
        let delays: Vec<u64> = (1..=5).map(|attempt| policy.delay_ms(attempt, 0.5)).collect();
        assert_eq!(delays, [1_000, 2_000, 4_000, 5_000, 5_000]);
    }

    #[test]
    fn a_reject_is_dead_at_once() {
        assert_eq!(after_failure(Outcome::Reject, 1, Some(5), &RetryPolicy::default(), 0.5), AfterFailure::Dead);
    }

    #[test]
    fn the_last_attempt_is_followed_by_the_dead_letters() {
        let policy = RetryPolicy { max_attempts: 3, ..RetryPolicy::default() };
        assert!(matches!(after_failure(Outcome::Trap, 2, None, &policy, 0.5), AfterFailure::RetryInMs(_)));
        assert_eq!(after_failure(Outcome::Trap, 3, None, &policy, 0.5), AfterFailure::Dead);
    }

    #[test]
    fn a_plugins_wish_for_a_delay_is_honoured() {
        let policy = RetryPolicy::default();
        assert_eq!(after_failure(Outcome::Retry, 1, Some(90_000), &policy, 0.1), AfterFailure::RetryInMs(90_000));
        assert_eq!(
            after_failure(Outcome::Retry, 1, Some(u64::MAX), &policy, 0.1),
            AfterFailure::RetryInMs(MAX_DELAY_MS)
        );
    }

    proptest! {
        #[test]
        fn a_delay_never_exceeds_the_backoff(
            attempt in 0u32..u32::MAX,
            initial_ms in 0u64..u64::MAX,
            factor in 0.0f64..1e300,
            max_ms in 0u64..u64::MAX,
            random in 0.0f64..1.0,
        ) {
            for jitter in [Jitter::Full, Jitter::Equal, Jitter::None] {
                let policy = RetryPolicy { max_attempts: 1, initial_ms, factor, max_ms, jitter };
                let backoff = policy.backoff_ms(attempt);
                prop_assert!(backoff <= max_ms && backoff <= MAX_DELAY_MS);
                prop_assert!(policy.delay_ms(attempt, random) <= backoff);
            }
        }
    }
}
