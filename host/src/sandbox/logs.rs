//! What a guest logs, through `hookbox:plugin/log` or its standard output and error: kept within a budget, and dropped
//! at no cost beyond it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::text;
use crate::event::LogLine;

/// Lines that are kept of one attempt.
const MAX_LINES: usize = 256;
/// Bytes that are kept of one attempt.
const MAX_BYTES: usize = 64 << 10;
/// Bytes that are kept of one line.
const MAX_LINE_BYTES: usize = 4 << 10;

/// The lines of one attempt. Clones write to the same book.
#[derive(Debug, Clone, Default)]
pub(super) struct LogBook(Arc<Mutex<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    kept: Vec<LogLine>,
    bytes: usize,
    full: bool,
    /// Lines without an end yet, of each [`Stream`].
    open: [Vec<u8>; STREAMS.len()],
    /// The last line of [`Stream::CommandErr`], also when it was not kept.
    last_words: String,
}

/// A standard stream of the guest.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stream {
    Out,
    Err,
    /// Standard error of a command, which is all the log it has.
    CommandErr,
}

const STREAMS: [Stream; 3] = [Stream::Out, Stream::Err, Stream::CommandErr];

impl Stream {
    fn level(self) -> &'static str {
        match self {
            Self::Out | Self::CommandErr => "info",
            Self::Err => "warn",
        }
    }
}

impl LogBook {
    /// Keeps one line.
    pub(super) fn line(&self, level: &str, message: &str) {
        self.lines().push(level, message);
    }

    /// Keeps what a guest writes to a stream, line by line.
    pub(super) fn write(&self, stream: Stream, bytes: &[u8]) {
        self.lines().write(stream, bytes);
    }

    /// Every line that was kept, unfinished ones included. Leaves the book empty.
    pub(super) fn take(&self) -> Vec<LogLine> {
        let mut lines = self.lines();
        lines.end_all();
        std::mem::take(&mut *lines).kept
    }

    /// The last line that a command wrote to standard error, unless it is empty.
    pub(super) fn last_words(&self) -> Option<String> {
        let mut lines = self.lines();
        lines.end_all();
        Some(lines.last_words.clone()).filter(|line| !line.is_empty())
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        // A panic while it was held can at worst have lost a line.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn push(&mut self, level: &str, message: &str) {
        if self.full {
            return;
        }
        let message = text::plain(message, MAX_LINE_BYTES);
        if self.kept.len() == MAX_LINES || self.bytes + message.len() > MAX_BYTES {
            self.full = true;
            self.open = Default::default();
            self.kept.push(LogLine {
                level: "warn".to_owned(),
                message: format!(
                    "the rest of the log was dropped: an attempt keeps {MAX_LINES} lines and {MAX_BYTES} bytes"
                ),
            });
            return;
        }
        self.bytes += message.len();
        self.kept.push(LogLine { level: level.to_owned(), message });
    }

    fn write(&mut self, stream: Stream, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.full && !matches!(stream, Stream::CommandErr) {
                return;
            }
            let (text, ends) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
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

    fn end(&mut self, stream: Stream) {
        let line = std::mem::take(&mut self.open[stream as usize]);
        let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line));
        if matches!(stream, Stream::CommandErr) {
            self.last_words = text::error(&line);
        }
        self.push(stream.level(), &line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(book: &LogBook) -> Vec<String> {
        book.take().into_iter().map(|line| format!("{}: {}", line.level, line.message)).collect()
    }

    #[test]
    fn streams_become_lines() {
        let book = LogBook::default();
        book.write(Stream::Out, b"one\ntw");
        book.write(Stream::Err, b"panicked\r\n");
        book.write(Stream::Out, b"o\n\nend");
        assert_eq!(messages(&book), ["info: one", "warn: panicked", "info: two", "info: ", "info: end"]);
    }

    #[test]
    fn lines_beyond_the_budget_are_dropped_and_a_last_line_says_so() {
        let book = LogBook::default();
        (0..10_000).for_each(|n| book.line("info", &n.to_string()));
        let lines = messages(&book);
        assert_eq!(lines.len(), MAX_LINES + 1);
        assert_eq!(lines[MAX_LINES - 1], "info: 255");
        assert!(lines[MAX_LINES].starts_with("warn: the rest of the log was dropped"), "{}", lines[MAX_LINES]);
    }

    #[test]
    fn bytes_beyond_the_budget_are_dropped() {
        let book = LogBook::default();
        (0..100).for_each(|_| book.line("info", &"x".repeat(1 << 20)));
        (0..100).for_each(|_| book.write(Stream::Err, &vec![b'y'; 1 << 20]));
        let lines = book.take();
        assert!(lines.iter().all(|line| line.message.len() <= MAX_LINE_BYTES));
        assert_eq!(lines.len(), MAX_BYTES / MAX_LINE_BYTES + 1);
    }

    #[test]
    fn a_line_cannot_forge_another() {
        let book = LogBook::default();
        book.line("info", "a\n2026-01-01 ERROR b\u{1b}[2J");
        assert_eq!(messages(&book), ["info: a\\n2026-01-01 ERROR b\\u{1b}[2J"]);
    }
}
