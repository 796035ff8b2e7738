//! Bounds the log lines that one plugin causes: a window of time has a budget, and counts the rest.
//!
//! A pure state machine; times are milliseconds of the monotonic clock. Its owner looks again when
//! a window has ended, so that the count is logged even if no further line comes.

/// The length of a window, in milliseconds. It begins with its first line.
pub(super) const WINDOW_MS: u64 = 10_000;

/// The lines that one window may log.
pub(super) trait WindowBudget: Default {
    /// A line that asks to be logged.
    type Line;
    /// The lines that were omitted.
    type Omitted;

    /// Takes a line out of the budget, or counts it as omitted. Returns whether it is logged.
    fn take(&mut self, line: Self::Line) -> bool;

    /// How many lines were omitted.
    fn omitted_lines(&self) -> u64;

    /// The omitted lines.
    fn into_omitted(self) -> Self::Omitted;
}

/// The current window of one plugin.
#[derive(Debug)]
pub(super) struct LogWindow<B> {
    current: Option<(u64, B)>,
}

/// The decision about a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LineDecision<O> {
    /// Whether to log it.
    pub(super) write: bool,
    /// Whether it is the first omitted line, so that the end of the window has to be awaited.
    pub(super) first_omitted: bool,
    /// The lines that the previous window omitted, to be logged first.
    pub(super) previous: Option<O>,
}

impl<B> Default for LogWindow<B> {
    fn default() -> Self {
        Self { current: None }
    }
}

impl<B: WindowBudget> LogWindow<B> {
    /// Decides about a line.
    pub(super) fn decide(&mut self, line: B::Line, now_ms: u64) -> LineDecision<B::Omitted> {
        let previous = self.end_expired(now_ms);
        let (_, budget) = self.current.get_or_insert_with(|| (now_ms, B::default()));
        let write = budget.take(line);
        LineDecision { write, first_omitted: !write && budget.omitted_lines() == 1, previous }
    }

    /// Ends the window if it has expired. Returns what it omitted, if anything.
    pub(super) fn end_expired(&mut self, now_ms: u64) -> Option<B::Omitted> {
        let expired =
            self.current.take_if(|(start_ms, _)| now_ms.saturating_sub(*start_ms) >= WINDOW_MS);
        expired.and_then(omitted)
    }

    /// Ends the window. Returns what it omitted, if anything.
    pub(super) fn end(&mut self) -> Option<B::Omitted> {
        self.current.take().and_then(omitted)
    }

    /// Whether omitted lines have not been logged yet.
    pub(super) fn has_omitted(&self) -> bool {
        self.current.as_ref().is_some_and(|(_, budget)| budget.omitted_lines() > 0)
    }
}

fn omitted<B: WindowBudget>((_, budget): (u64, B)) -> Option<B::Omitted> {
    (budget.omitted_lines() > 0).then(|| budget.into_omitted())
}
