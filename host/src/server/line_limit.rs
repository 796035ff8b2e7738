//! Log lines at a bounded rate: a flood of bad requests must not become a flood of lines.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Admits a number of lines in each period and counts the others.
#[derive(Debug)]
pub struct LineLimit {
    max_lines: u32,
    period: Duration,
    current: Mutex<Period>,
}

/// The lines written since `start`.
#[derive(Debug)]
struct Period {
    start: Instant,
    lines: u32,
    suppressed: u64,
}

impl LineLimit {
    /// At most `max_lines` in each `period`.
    pub fn new(max_lines: u32, period: Duration) -> Self {
        let current = Period { start: Instant::now(), lines: 0, suppressed: 0 };
        Self { max_lines, period, current: Mutex::new(current) }
    }

    /// `Some` if a line may be written at `now`, with the number of lines suppressed before it.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(current.start) >= self.period {
            // A period begins with its first line, so that none has to be ended by a timer.
            current.start = now;
            current.lines = 0;
        }
        if current.lines == self.max_lines {
            current.suppressed += 1;
            return None;
        }
        current.lines += 1;
        Some(std::mem::take(&mut current.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_writes_ten_lines_a_second_and_counts_the_rest() {
        let limit = LineLimit::new(10, Duration::from_secs(1));
        let start = Instant::now() + Duration::from_secs(5);
        let lines = (0..1_000).filter(|_| limit.admit(start).is_some()).count();
        assert_eq!(lines, 10);
        assert_eq!(limit.admit(start + Duration::from_secs(1)), Some(990));
        assert_eq!(limit.admit(start + Duration::from_secs(1)), Some(0));
    }
}
