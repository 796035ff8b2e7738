//! How many log lines the failures of one plugin may write: the first few of each kind, and one that counts the rest.
//!
//! A pure state machine, with time in milliseconds by a clock that nobody can set. Whoever keeps it looks again when a
//! window is over, so that the count is written also when nothing fails any more.

use std::fmt;

use crate::event::Outcome;
use crate::text;

/// Lines of one kind in a window.
pub(super) const MAX_LINES: u32 = 3;

/// How long a window is, in milliseconds; it begins with its first line.
pub(super) const WINDOW_MS: u64 = 10_000;

/// The subject of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// An attempt that failed.
    Attempt(Outcome),
    /// A delivery that became a dead letter.
    DeadLetter,
    /// A settlement that came too late.
    Lost,
    /// A panic of the host.
    HostFault,
    /// A change of the circuit breaker.
    Breaker,
}

/// Kinds of [`Line`].
const KINDS: usize = 5;

impl Line {
    fn kind(self) -> usize {
        match self {
            Self::Attempt(_) => 0,
            Self::DeadLetter => 1,
            Self::Lost => 2,
            Self::HostFault => 3,
            Self::Breaker => 4,
        }
    }
}

/// Lines that were left out in a window.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LeftOut {
    attempts: [u64; Outcome::ALL.len()],
    others: [u64; KINDS],
}

impl LeftOut {
    fn add(&mut self, line: Line) {
        match line {
            Line::Attempt(outcome) => self.attempts[usize::from(outcome.code())] += 1,
            other => self.others[other.kind()] += 1,
        }
    }

    /// All of them.
    pub(super) fn total(&self) -> u64 {
        self.attempts.iter().chain(&self.others).sum()
    }

    /// Those of one kind other than attempts; nothing if there is none.
    pub(super) fn of(&self, line: Line) -> Option<u64> {
        Some(self.others[line.kind()]).filter(|count| *count > 0)
    }

    /// Attempts by their outcome; nothing if there is none.
    pub(super) fn attempts(&self) -> Option<ByOutcome<'_>> {
        self.attempts.iter().any(|count| *count > 0).then_some(ByOutcome(self))
    }
}

/// Shows attempts by their outcome: `retry 6,590, trap 10`.
#[derive(Debug)]
pub(super) struct ByOutcome<'a>(&'a LeftOut);

impl fmt::Display for ByOutcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for outcome in Outcome::ALL {
            let count = self.0.attempts[usize::from(outcome.code())];
            if count > 0 {
                write!(f, "{separator}{} {}", outcome.name(), text::grouped(count))?;
                separator = ", ";
            }
        }
        Ok(())
    }
}

/// What is to be done with a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ruling {
    /// Whether it is written.
    pub(super) write: bool,
    /// Whether it is the first one that is left out, so that the window has to be looked at when it is over.
    pub(super) look_later: bool,
    /// What the window before left out, to be written first.
    pub(super) before: Option<LeftOut>,
}

/// The log of one plugin's failures.
#[derive(Debug, Default)]
pub(super) struct FailureLog {
    window: Option<Window>,
}

#[derive(Debug)]
struct Window {
    start_ms: u64,
    written: [u32; KINDS],
    left_out: LeftOut,
}

impl FailureLog {
    /// Whether a line is written.
    pub(super) fn rule(&mut self, line: Line, now_ms: u64) -> Ruling {
        let before = self.look(now_ms);
        let window = self.window.get_or_insert_with(|| Window {
            start_ms: now_ms,
            written: [0; KINDS],
            left_out: LeftOut::default(),
        });
        let written = &mut window.written[line.kind()];
        if *written < MAX_LINES {
            *written += 1;
            return Ruling { write: true, look_later: false, before };
        }
        window.left_out.add(line);
        Ruling { write: false, look_later: window.left_out.total() == 1, before }
    }

    /// Ends a window that is over; what it left out, if anything.
    pub(super) fn look(&mut self, now_ms: u64) -> Option<LeftOut> {
        let over = |window: &mut Window| now_ms.saturating_sub(window.start_ms) >= WINDOW_MS;
        self.window.take_if(over).map(|window| window.left_out).filter(|left_out| left_out.total() > 0)
    }

    /// Ends the window whenever it began.
    pub(super) fn end(&mut self) -> Option<LeftOut> {
        self.window.take().map(|window| window.left_out).filter(|left_out| left_out.total() > 0)
    }

    /// Whether something was left out that has not been written yet.
    pub(super) fn owes(&self) -> bool {
        self.window.as_ref().is_some_and(|window| window.left_out.total() > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: Line = Line::Attempt(Outcome::Retry);

    #[test]
    fn a_flood_of_failures_writes_a_few_lines_and_counts_the_rest() {
        let mut log = FailureLog::default();
        let rulings: Vec<Ruling> = (0..6_603).map(|at_ms| log.rule(FAILED, at_ms)).collect();
        assert_eq!(rulings.iter().filter(|ruling| ruling.write).count(), MAX_LINES as usize);
        assert_eq!(rulings.iter().filter(|ruling| ruling.look_later).count(), 1);
        assert!(log.rule(Line::DeadLetter, 9_000).write, "dead letters are seen beside them");
        assert_eq!(log.look(WINDOW_MS - 1), None);
        let left_out = log.look(WINDOW_MS).expect("the window is over");
        assert_eq!((left_out.total(), left_out.of(Line::DeadLetter)), (6_600, None));
        assert_eq!(left_out.attempts().unwrap().to_string(), "retry 6,600");
        assert!(!log.owes() && log.rule(FAILED, WINDOW_MS).write, "the next window is a new one");
    }

    #[test]
    fn the_next_failure_ends_a_window_that_is_over() {
        let mut log = FailureLog::default();
        for outcome in [Outcome::Trap, Outcome::Trap, Outcome::Trap, Outcome::Trap, Outcome::Memory] {
            log.rule(Line::Attempt(outcome), 5);
        }
        let ruling = log.rule(Line::Lost, 5 + WINDOW_MS);
        assert!(ruling.write);
        assert_eq!(ruling.before.unwrap().attempts().unwrap().to_string(), "trap 1, memory 1");
        assert_eq!(log.end(), None, "nothing is owed for what was written");
    }

    #[test]
    fn every_line_is_written_or_counted_once() {
        let kinds = [FAILED, Line::DeadLetter, Line::Lost, Line::HostFault, Line::Breaker];
        let mut log = FailureLog::default();
        let (mut written, mut counted) = (0u64, 0);
        for at in 0..10_000u64 {
            let ruling = log.rule(kinds[at as usize % KINDS], at * 7);
            written += u64::from(ruling.write);
            counted += ruling.before.map_or(0, |left_out| left_out.total());
        }
        counted += log.end().map_or(0, |left_out| left_out.total());
        assert_eq!(written + counted, 10_000);
        let windows = 10_000 * 7 / WINDOW_MS + 1;
        assert!(written <= windows * u64::from(MAX_LINES) * KINDS as u64, "{written} lines");
    }
}
