//! The log of what is refused, at a bounded rate: a flood of bad signatures must not become a flood of lines.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::client::Client;
use super::reply::Refused;

mod shares;

pub(super) use shares::ShareNotices;

/// Lines a second, for all sources and reasons together.
const MAX_LINES_PER_SECOND: u32 = 10;

/// Writes down why requests were refused.
#[derive(Debug)]
pub(super) struct Refusals(LineLimit);

impl Refusals {
    pub(super) fn new() -> Self {
        Self(LineLimit::new(MAX_LINES_PER_SECOND, Duration::from_secs(1)))
    }

    /// One line with the reason, unless there were too many; the next line then says how many were left out.
    pub(super) fn note(&self, source: &str, client: &Client, refused: &Refused) {
        let Some(suppressed) = self.0.admit(Instant::now()) else { return };
        tracing::warn!(
            source.name = source,
            client.address = %client,
            reason = %refused,
            suppressed,
            "webhook refused"
        );
    }
}

/// So many lines in each period.
#[derive(Debug)]
pub(super) struct LineLimit {
    max_lines: u32,
    period: Duration,
    /// The period that goes on.
    written: Mutex<Written>,
}

/// What was written since `start`.
#[derive(Debug)]
struct Written {
    start: Instant,
    lines: u32,
    suppressed: u64,
}

impl LineLimit {
    pub(super) fn new(max_lines: u32, period: Duration) -> Self {
        let written = Written { start: Instant::now(), lines: 0, suppressed: 0 };
        Self { max_lines, period, written: Mutex::new(written) }
    }

    /// Whether a line may be written, and how many were suppressed before it.
    pub(super) fn admit(&self, now: Instant) -> Option<u64> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(written.start) >= self.period {
            written.start = now;
            written.lines = 0;
        }
        if written.lines == self.max_lines {
            written.suppressed += 1;
            return None;
        }
        written.lines += 1;
        Some(std::mem::take(&mut written.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refusals_writes_ten_lines_a_second_and_counts_the_rest() {
        let refusals = LineLimit::new(MAX_LINES_PER_SECOND, Duration::from_secs(1));
        let start = Instant::now() + Duration::from_secs(5);
        let lines = (0..1_000).filter(|_| refusals.admit(start).is_some()).count();
        assert_eq!(lines, 10);
        assert_eq!(refusals.admit(start + Duration::from_secs(1)), Some(990));
        assert_eq!(refusals.admit(start + Duration::from_secs(1)), Some(0));
    }
}
