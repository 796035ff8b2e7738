//! `breaker` of `[plugins.NAME]`: when a plugin that only fails is slowed down, and how far.

use std::ops::RangeInclusive;

use toml::de::DeValue;

use super::raw::{Item, kind};
use super::units::{DAY_MS, show_ms};

const FAILURES_BOUNDS: RangeInclusive<u32> = 1..=10_000;
const PAUSE_BOUNDS_MS: RangeInclusive<u64> = 100..=DAY_MS;
const EXAMPLE: &str = "{ failures = 20, pause = \"30s\" }";

/// The limits of a plugin's circuit breaker: the failures that open it, and the pause between
/// attempts while it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// Attempts in a row that failed; at least 1.
    pub failures: u32,
    /// The time between the beginnings of two attempts while it is open, in milliseconds.
    pub pause_ms: u64,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self { failures: 20, pause_ms: 30_000 }
    }
}

impl BreakerPolicy {
    /// The pause as the configuration writes it.
    pub fn pause(&self) -> String {
        show_ms(self.pause_ms)
    }
}

/// Reads the value of `breaker`; `None` turns the breaker off.
pub(super) fn read(item: &Item<'_>) -> Option<BreakerPolicy> {
    let mut policy = BreakerPolicy::default();
    match item.value {
        DeValue::Boolean(false) => return None,
        DeValue::Table(_) => {}
        DeValue::Boolean(true) => {
            item.refuse(
                "is true, but must be false or a table",
                format!("take it out: the default is {EXAMPLE}"),
            );
            return Some(policy);
        }
        other => {
            let help = format!(
                "write for example `breaker = {EXAMPLE}`, or `breaker = false` to turn it off"
            );
            item.refuse(format_args!("is {}, but must be false or a table", kind(other)), help);
            return Some(policy);
        }
    }
    let mut section = item.section(EXAMPLE)?;
    if let Some(failures) = section.take("failures").and_then(|item| item.whole(FAILURES_BOUNDS)) {
        policy.failures = failures;
    }
    if let Some(pause_ms) = section.take("pause").and_then(|item| item.duration_ms(PAUSE_BOUNDS_MS))
    {
        policy.pause_ms = pause_ms;
    }
    section.finish();
    Some(policy)
}
