//! When a delivery is tried again after an attempt that failed, as a pure function.
//!
//! Invariant: a delivery that is not done is either due again after a delay, or a dead letter.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::Outcome;

/// The longest delay of a retry, by backoff or by a plugin's own wish: 7 days.
pub const MAX_DELAY_MS: u64 = 7 * 24 * 3600 * 1000;

/// The longest delay after which the host itself tries again: without capacity, or after a conflict
/// of key-value writes.
pub const GIVE_BACK_DELAY_MS: u64 = 50;

/// When and how often a failed delivery is tried again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Attempts in all, including the first; at least 1.
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

/// How a backoff is spread, so that deliveries that failed together are not retried together.
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
        Self {
            max_attempts: 8,
            initial_ms: 1_000,
            factor: 2.0,
            max_ms: 3_600_000,
            jitter: Jitter::Full,
        }
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

/// The delay after a failed attempt; `None` for a dead letter.
///
/// `after_ms` is the plugin's own wish, which replaces the backoff; `random` is drawn evenly from
/// [0, 1). A rejection is final. The store decides about crashes, because it counts them.
pub fn delay_after_failure(
    outcome: Outcome,
    attempt: u32,
    after_ms: Option<u64>,
    policy: &RetryPolicy,
    random: f64,
) -> Option<Duration> {
    if outcome == Outcome::Reject || attempt >= policy.max_attempts {
        return None;
    }
    let wish_ms = after_ms.map(|wish_ms| wish_ms.min(MAX_DELAY_MS));
    Some(Duration::from_millis(wish_ms.unwrap_or_else(|| policy.delay_ms(attempt, random))))
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
        assert_eq!(
            delay_after_failure(Outcome::Reject, 1, Some(5), &RetryPolicy::default(), 0.5),
            None
        );
    }

    #[test]
    fn the_last_attempt_is_followed_by_the_dead_letters() {
        let policy = RetryPolicy { max_attempts: 3, ..RetryPolicy::default() };
        assert!(delay_after_failure(Outcome::Trap, 2, None, &policy, 0.5).is_some());
        assert_eq!(delay_after_failure(Outcome::Trap, 3, None, &policy, 0.5), None);
    }

    #[test]
    fn a_plugins_wish_for_a_delay_is_honoured() {
        let policy = RetryPolicy::default();
        let delay_ms = |wish_ms| {
            let delay = delay_after_failure(Outcome::Retry, 1, Some(wish_ms), &policy, 0.1);
            delay.map(|delay| delay.as_millis())
        };
        assert_eq!(delay_ms(90_000), Some(90_000));
        assert_eq!(delay_ms(u64::MAX), Some(MAX_DELAY_MS.into()));
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
