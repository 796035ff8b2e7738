//! The lines of an attempt: what a guest logs or writes to its standard output and error, kept
//! within a limit and dropped beyond it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::Limits;
use crate::event::LogLine;
use crate::text;

/// Bytes that are kept of one line.
const MAX_LINE_BYTES: usize = 4 << 10;

/// The lines of one attempt. Clones write to the same lines.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct GuestLog(Arc<Mutex<BoundedLog>>);

#[derive(Debug, Default)]
struct BoundedLog {
    max_lines: usize,
    max_bytes: usize,
    kept: Vec<LogLine>,
    bytes: usize,
    full: bool,
    /// Lines without an end yet, of each [`StdStream`].
    open: [Vec<u8>; STREAMS.len()],
    /// The last line of [`StdStream::CommandErr`], also when it was not kept.
    last_words: String,
}

/// A standard stream of the guest.
#[derive(Debug, Clone, Copy)]
pub(in crate::sandbox) enum StdStream {
    Out,
    Err,
    /// Standard error of a command, which is all the log it has.
    CommandErr,
}

const STREAMS: [StdStream; 3] = [StdStream::Out, StdStream::Err, StdStream::CommandErr];

impl StdStream {
    fn level(self) -> &'static str {
        match self {
            Self::Out | Self::CommandErr => "info",
            Self::Err => "warn",
        }
    }
}

impl GuestLog {
    /// An empty log.
    pub(in crate::sandbox) fn new(limits: &Limits) -> Self {
        let (max_lines, max_bytes) = (limits.log_lines, limits.log_bytes);
        Self(Arc::new(Mutex::new(BoundedLog { max_lines, max_bytes, ..BoundedLog::default() })))
    }

    /// Sets the limits of another attempt.
    pub(super) fn set_limits(&self, limits: &Limits) {
        let mut lines = self.lines();
        (lines.max_lines, lines.max_bytes) = (limits.log_lines, limits.log_bytes);
    }

    /// Keeps one line.
    pub(in crate::sandbox) fn line(&self, level: &str, message: &str) {
        self.lines().push(level, message);
    }

    /// Keeps what a guest writes to a stream, line by line.
    pub(in crate::sandbox) fn write(&self, stream: StdStream, bytes: &[u8]) {
        self.lines().write(stream, bytes);
    }

    /// Every line that was kept, unfinished ones included. Leaves the log empty.
    pub(super) fn take(&self) -> Vec<LogLine> {
        let mut lines = self.lines();
        lines.end_all();
        let (max_lines, max_bytes) = (lines.max_lines, lines.max_bytes);
        std::mem::replace(&mut *lines, BoundedLog { max_lines, max_bytes, ..BoundedLog::default() })
            .kept
    }

    /// The last line that a command wrote to standard error, unless it is empty.
    pub(in crate::sandbox) fn last_words(&self) -> Option<String> {
        let mut lines = self.lines();
        lines.end_all();
        (!lines.last_words.is_empty()).then(|| lines.last_words.clone())
    }

    fn lines(&self) -> MutexGuard<'_, BoundedLog> {
        // A panic while the lock was held has lost a line at worst.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BoundedLog {
    fn push(&mut self, level: &str, message: &str) {
        if self.full {
            return;
        }
        let message = text::plain(message, MAX_LINE_BYTES);
        if self.kept.len() >= self.max_lines || self.bytes + message.len() > self.max_bytes {
            self.full = true;
            // Unfinished lines would be dropped too; the memory is given back now.
            self.open = Default::default();
            self.kept.push(LogLine {
                level: "warn".to_owned(),
                message: format!(
                    "the rest of the log was dropped: `limits.log_lines` ({}) and `limits.log_size` \
                     ({} bytes) under the plugin's section set how much is kept",
                    self.max_lines, self.max_bytes
                ),
            });
            return;
        }
        self.bytes += message.len();
        self.kept.push(LogLine { level: level.to_owned(), message });
    }

    fn write(&mut self, stream: StdStream, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            // The last line of a command is its reason, so its standard error is read on.
            if self.full && !matches!(stream, StdStream::CommandErr) {
                return;
            }
            let (text, ends) =
                piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            // One byte more than is kept, so that the cut shows.
            let open = &mut self.open[stream as usize];
            let room = (MAX_LINE_BYTES + 1).saturating_sub(open.len());
            open.extend_from_slice(&text[..text.len().min(room)]);
            if ends {
                self.end(stream);
            }
        }
    }

    fn end_all(&mut self) {
        for stream in STREAMS {
            if !self.open[stream as usize].is_empty() {
                self.end(stream);
            }
        }
    }

    fn end(&mut self, stream: StdStream) {
        let line = std::mem::take(&mut self.open[stream as usize]);
        let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line));
        if matches!(stream, StdStream::CommandErr) {
            self.last_words = text::error(&line);
        }
        self.push(stream.level(), &line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> GuestLog {
        GuestLog::new(&Limits::default())
    }

    fn messages(log: &GuestLog) -> Vec<String> {
        log.take().into_iter().map(|line| format!("{}: {}", line.level, line.message)).collect()
    }

    #[test]
    fn streams_become_lines() {
        let log = log();
        log.write(StdStream::Out, b"one\ntw");
        log.write(StdStream::Err, b"panicked\r\n");
        log.write(StdStream::Out, b"o\n\nend");
        assert_eq!(
            messages(&log),
            ["info: one", "warn: panicked", "info: two", "info: ", "info: end"]
        );
    }

    #[test]
    fn lines_beyond_the_budget_are_dropped_and_a_last_line_says_so() {
        let log = log();
        (0..10_000).for_each(|n| log.line("info", &n.to_string()));
        let lines = messages(&log);
        let limits = Limits::default();
        assert_eq!(lines.len(), limits.log_lines + 1);
        assert_eq!(lines[limits.log_lines - 1], "info: 255");
        assert!(
            lines[limits.log_lines].starts_with("warn: the rest of the log was dropped"),
            "{}",
            lines[limits.log_lines]
        );
    }

    #[test]
    fn bytes_beyond_the_budget_are_dropped() {
        let log = log();
        (0..100).for_each(|_| log.line("info", &"x".repeat(1 << 20)));
        (0..100).for_each(|_| log.write(StdStream::Err, &vec![b'y'; 1 << 20]));
        let lines = log.take();
        assert!(lines.iter().all(|line| line.message.len() <= MAX_LINE_BYTES));
        assert_eq!(lines.len(), Limits::default().log_bytes / MAX_LINE_BYTES + 1);
    }

    #[test]
    fn a_line_cannot_forge_another() {
        let log = log();
        log.line("info", "a\n2026-01-01 ERROR b\u{1b}[2J");
        assert_eq!(messages(&log), ["info: a\\n2026-01-01 ERROR b\\u{1b}[2J"]);
    }
}
