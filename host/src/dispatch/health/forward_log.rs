//! Lines that a plugin logs, forwarded to the host's log (`log = "forward"` under
//! `[plugins.NAME]`). Lines and bytes are bounded in each window, so that a plugin cannot fill the
//! disk.

use super::window::{LogWindow, WindowBudget};

/// Lines of one plugin in a window.
const MAX_LINES: u32 = 200;

/// Bytes of their messages.
const MAX_BYTES: usize = 64 << 10;

/// The forwarded lines of one plugin.
pub(super) type ForwardLog = LogWindow<ForwardBudget>;

/// The lines of one window.
#[derive(Debug, Default)]
pub(super) struct ForwardBudget {
    lines: u32,
    bytes: usize,
    omitted: u64,
}

impl WindowBudget for ForwardBudget {
    /// The bytes of a line's message.
    type Line = usize;
    /// The number of lines.
    type Omitted = u64;

    fn take(&mut self, bytes: usize) -> bool {
        let fits = self.lines < MAX_LINES && bytes <= MAX_BYTES - self.bytes;
        if fits {
            self.lines += 1;
            self.bytes += bytes;
        } else {
            self.omitted += 1;
        }
        fits
    }

    fn omitted_lines(&self) -> u64 {
        self.omitted
    }

    fn into_omitted(self) -> u64 {
        self.omitted
    }
}

#[cfg(test)]
mod tests {
    use super::super::window::{LineDecision, WINDOW_MS};
    use super::*;

    #[test]
    fn a_plugin_that_logs_without_end_forwards_so_many_lines_and_the_rest_is_counted() {
        let mut log = ForwardLog::default();
        let decisions: Vec<LineDecision<u64>> =
            (0..1_000).map(|at_ms| log.decide(10, at_ms)).collect();
        assert_eq!(decisions.iter().filter(|decision| decision.write).count(), MAX_LINES as usize);
        assert_eq!(decisions.iter().filter(|decision| decision.first_omitted).count(), 1);
        assert!(log.has_omitted());
        assert_eq!((log.end_expired(WINDOW_MS - 1), log.end_expired(WINDOW_MS)), (None, Some(800)));
        assert_eq!(
            log.decide(10, WINDOW_MS + 1),
            LineDecision { write: true, first_omitted: false, previous: None }
        );
    }

    #[test]
    fn long_lines_are_bounded_by_their_bytes_and_short_ones_still_fit() {
        let mut log = ForwardLog::default();
        let written = (0..100).filter(|_| log.decide(4_000, 0).write).count();
        assert_eq!(written, MAX_BYTES / 4_000);
        assert!(log.decide(MAX_BYTES % 4_000, 0).write);
        let next = log.decide(1, WINDOW_MS);
        assert_eq!((next.write, next.previous), (true, Some(100 - written as u64)));
        assert_eq!(log.end(), None, "nothing is owed for what was written");
    }
}
