//! Log lines about the failures of one plugin: in each window a few of every kind are logged, and
//! one line counts the rest.

use std::fmt;

use super::window::{LogWindow, WindowBudget};
use crate::event::Outcome;
use crate::text;

/// Lines of one kind in a window.
const MAX_LINES: u32 = 3;

/// The log of one plugin's failures.
pub(super) type FailureLog = LogWindow<FailureBudget>;

/// The subject of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dispatch) enum LogSubject {
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

/// Kinds of [`LogSubject`].
const KINDS: usize = 5;

impl LogSubject {
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

/// The lines of one window.
#[derive(Debug, Default)]
pub(super) struct FailureBudget {
    written: [u32; KINDS],
    omitted: OmittedFailures,
}

impl WindowBudget for FailureBudget {
    type Line = LogSubject;
    type Omitted = OmittedFailures;

    fn take(&mut self, line: LogSubject) -> bool {
        let written = &mut self.written[line.kind()];
        if *written < MAX_LINES {
            *written += 1;
            return true;
        }
        match line {
            LogSubject::Attempt(outcome) => self.omitted.attempts[usize::from(outcome.code())] += 1,
            other => self.omitted.others[other.kind()] += 1,
        }
        false
    }

    fn omitted_lines(&self) -> u64 {
        self.omitted.total()
    }

    fn into_omitted(self) -> OmittedFailures {
        self.omitted
    }
}

/// The lines that a window omitted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct OmittedFailures {
    attempts: [u64; Outcome::ALL.len()],
    others: [u64; KINDS],
}

impl OmittedFailures {
    /// The number of lines.
    pub(super) fn total(&self) -> u64 {
        self.attempts.iter().chain(&self.others).sum()
    }

    /// The number of lines of a kind other than attempts; `None` if there is none.
    pub(super) fn of(&self, subject: LogSubject) -> Option<u64> {
        let count = self.others[subject.kind()];
        (count > 0).then_some(count)
    }

    /// The attempts by their outcome; `None` if there is none.
    pub(super) fn attempts(&self) -> Option<ByOutcome<'_>> {
        self.attempts.iter().any(|count| *count > 0).then_some(ByOutcome(self))
    }
}

/// Shows attempts by their outcome: `retry 6,590, trap 10`.
#[derive(Debug)]
pub(super) struct ByOutcome<'a>(&'a OmittedFailures);

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

#[cfg(test)]
mod tests {
    use super::super::window::{LineDecision, WINDOW_MS};
    use super::*;

    const FAILED: LogSubject = LogSubject::Attempt(Outcome::Retry);

    #[test]
    fn a_flood_of_failures_writes_a_few_lines_and_counts_the_rest() {
        let mut log = FailureLog::default();
        let decisions: Vec<LineDecision<OmittedFailures>> =
            (0..6_603).map(|at_ms| log.decide(FAILED, at_ms)).collect();
        assert_eq!(decisions.iter().filter(|decision| decision.write).count(), MAX_LINES as usize);
        assert_eq!(decisions.iter().filter(|decision| decision.first_omitted).count(), 1);
        assert!(
            log.decide(LogSubject::DeadLetter, 9_000).write,
            "dead letters are seen beside them"
        );
        assert_eq!(log.end_expired(WINDOW_MS - 1), None);
        let omitted = log.end_expired(WINDOW_MS).expect("the window is over");
        assert_eq!((omitted.total(), omitted.of(LogSubject::DeadLetter)), (6_600, None));
        assert_eq!(omitted.attempts().unwrap().to_string(), "retry 6,600");
        assert!(
            !log.has_omitted() && log.decide(FAILED, WINDOW_MS).write,
            "the next window is a new one"
        );
    }

    #[test]
    fn the_next_failure_ends_a_window_that_is_over() {
        let mut log = FailureLog::default();
        for outcome in [Outcome::Trap, Outcome::Trap, Outcome::Trap, Outcome::Trap, Outcome::Memory]
        {
            log.decide(LogSubject::Attempt(outcome), 5);
        }
        let decision = log.decide(LogSubject::Lost, 5 + WINDOW_MS);
        assert!(decision.write);
        assert_eq!(decision.previous.unwrap().attempts().unwrap().to_string(), "trap 1, memory 1");
        assert_eq!(log.end(), None, "nothing is owed for what was written");
    }

    #[test]
    fn every_line_is_written_or_counted_once() {
        let kinds = [
            FAILED,
            LogSubject::DeadLetter,
            LogSubject::Lost,
            LogSubject::HostFault,
            LogSubject::Breaker,
        ];
        let mut log = FailureLog::default();
        let (mut written, mut counted) = (0u64, 0);
        for at in 0..10_000u64 {
            let decision = log.decide(kinds[at as usize % KINDS], at * 7);
            written += u64::from(decision.write);
            counted += decision.previous.map_or(0, |omitted| omitted.total());
        }
        counted += log.end().map_or(0, |omitted| omitted.total());
        assert_eq!(written + counted, 10_000);
        let windows = 10_000 * 7 / WINDOW_MS + 1;
        assert!(written <= windows * u64::from(MAX_LINES) * KINDS as u64, "{written} lines");
    }
}
