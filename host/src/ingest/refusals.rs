//! The log of refused requests, at a bounded rate: a flood of bad signatures must not become a flood of lines.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::reply::Refused;

/// Lines a second, for all sources and reasons together.
const MAX_LINES_PER_SECOND: u32 = 10;

/// Writes down why requests were refused.
#[derive(Debug)]
pub(super) struct Refusals(Mutex<Second>);

/// What was written since `start`.
#[derive(Debug)]
struct Second {
    start: Instant,
    lines: u32,
    suppressed: u64,
}

impl Refusals {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Second { start: Instant::now(), lines: 0, suppressed: 0 }))
    }

    /// One line with the reason, unless there were too many; the next line then says how many were left out.
    pub(super) fn note(&self, source: &str, peer: SocketAddr, refused: &Refused) {
        let Some(suppressed) = self.admit(Instant::now()) else { return };
        tracing::warn!(
            source.name = source,
            client.address = %peer,
            reason = %refused,
            suppressed,
            "webhook refused"
        );
    }

    /// Whether a line may be written, and how many were suppressed before it.
    fn admit(&self, now: Instant) -> Option<u64> {
        let mut second = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if now.saturating_duration_since(second.start) >= Duration::from_secs(1) {
            second.start = now;
            second.lines = 0;
        }
        if second.lines == MAX_LINES_PER_SECOND {
            second.suppressed += 1;
            return None;
        }
        second.lines += 1;
        Some(std::mem::take(&mut second.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refusals_writes_ten_lines_a_second_and_counts_the_rest() {
        let refusals = Refusals::new();
        let start = Instant::now() + Duration::from_secs(5);
        let lines = (0..1_000).filter(|_| refusals.admit(start).is_some()).count();
        assert_eq!(lines, 10);
        assert_eq!(refusals.admit(start + Duration::from_secs(1)), Some(990));
        assert_eq!(refusals.admit(start + Duration::from_secs(1)), Some(0));
    }
}
