//! What a plugin logs, in the host's own log as well: `log = "forward"` under `[plugins.NAME]`.
//!
//! A plugin must not flood the disk, so its lines and their bytes are bounded in each window; one line counts the rest.
//! The target of these lines is `plugin`, whatever module writes them.

use tracing::Level;

use super::failure_log::WINDOW_MS;
use super::health::Health;
use crate::event::LogLine;
use crate::store::Lease;

/// Lines of one plugin in a window.
const MAX_LINES: u32 = 200;

/// Bytes of their messages.
const MAX_BYTES: usize = 64 << 10;

/// How much one plugin has forwarded. A pure state machine, with time in milliseconds by a clock that nobody can set.
#[derive(Debug, Default)]
pub(super) struct ForwardLog {
    window: Option<Window>,
}

#[derive(Debug)]
struct Window {
    start_ms: u64,
    lines: u32,
    bytes: usize,
    left_out: u64,
}

/// What is to be done with a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ruling {
    /// Whether it is written.
    pub(super) write: bool,
    /// Whether it is the first one that is left out, so that the window has to be looked at when it is over.
    pub(super) look_later: bool,
    /// How many lines the window before left out, to be written first.
    pub(super) before: Option<u64>,
}

impl ForwardLog {
    /// Whether a line with a message of so many bytes is written.
    pub(super) fn rule(&mut self, bytes: usize, now_ms: u64) -> Ruling {
        let before = self.look(now_ms);
        let window = self.window.get_or_insert(Window { start_ms: now_ms, lines: 0, bytes: 0, left_out: 0 });
        let write = window.lines < MAX_LINES && bytes <= MAX_BYTES - window.bytes;
        if write {
            window.lines += 1;
            window.bytes += bytes;
        } else {
            window.left_out += 1;
        }
        Ruling { write, look_later: window.left_out == 1 && !write, before }
    }

    /// Ends a window that is over; how many lines it left out, if any.
    pub(super) fn look(&mut self, now_ms: u64) -> Option<u64> {
        let over = |window: &mut Window| now_ms.saturating_sub(window.start_ms) >= WINDOW_MS;
        self.window.take_if(over).map(|window| window.left_out).filter(|lines| *lines > 0)
    }

    /// Ends the window whenever it began.
    pub(super) fn end(&mut self) -> Option<u64> {
        self.window.take().map(|window| window.left_out).filter(|lines| *lines > 0)
    }

    /// Whether something was left out that has not been counted in the log yet.
    pub(super) fn owes(&self) -> bool {
        self.window.as_ref().is_some_and(|window| window.left_out > 0)
    }
}

/// Writes the lines of one attempt. Their control characters are escaped already.
pub(super) fn write(health: &Health, lease: &Lease, lines: &[LogLine]) {
    macro_rules! line {
        ($level:ident, $line:expr) => {
            // A line that nobody asked for takes no room.
            if tracing::enabled!(target: "plugin", Level::$level) && health.forwards($line.message.len()) {
                tracing::event!(
                    target: "plugin", Level::$level,
                    plugin.name = %lease.plugin, event.id = %lease.event.id, delivery.id = %lease.delivery,
                    delivery.attempt = lease.attempt, "{}", $line.message
                );
            }
        };
    }
    for line in lines {
        match line.level.as_str() {
            "error" => line!(ERROR, line),
            "warn" => line!(WARN, line),
            "debug" => line!(DEBUG, line),
            "trace" => line!(TRACE, line),
            _ => line!(INFO, line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_that_logs_without_end_forwards_so_many_lines_and_the_rest_is_counted() {
        let mut log = ForwardLog::default();
        let rulings: Vec<Ruling> = (0..1_000).map(|at_ms| log.rule(10, at_ms)).collect();
        assert_eq!(rulings.iter().filter(|ruling| ruling.write).count(), MAX_LINES as usize);
        assert_eq!(rulings.iter().filter(|ruling| ruling.look_later).count(), 1);
        assert!(log.owes());
        assert_eq!((log.look(WINDOW_MS - 1), log.look(WINDOW_MS)), (None, Some(800)));
        assert_eq!(log.rule(10, WINDOW_MS + 1), Ruling { write: true, look_later: false, before: None });
    }

    #[test]
    fn long_lines_are_bounded_by_their_bytes_and_short_ones_still_fit() {
        let mut log = ForwardLog::default();
        let written = (0..100).filter(|_| log.rule(4_000, 0).write).count();
        assert_eq!(written, MAX_BYTES / 4_000);
        assert!(log.rule(MAX_BYTES % 4_000, 0).write);
        let next = log.rule(1, WINDOW_MS);
        assert_eq!((next.write, next.before), (true, Some(100 - written as u64)));
        assert_eq!(log.end(), None, "nothing is owed for what was written");
    }
}
