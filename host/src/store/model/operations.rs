//! Operations: actions of an operator on many deliveries or events, done step by step.
//!
//! ```text
//!  planned ──start──► running ──pause──► paused ──resume──► running ──► done
//!                        │                                     ▲
//!                        └──a failure that it heeds──► stopped ─┘ resume
//!  planned, running, paused, stopped ──cancel──► cancelled
//! ```

use std::fmt;
use std::str::FromStr;

use super::actions::Action;
use super::audit::{Actor, AuditResult};
use crate::event::{Outcome, State};

mod deed;
mod found;
mod scope;

pub use deed::{OperationDeed, OperationMarks, TriedItem};
pub(in crate::store) use found::read_walk;
pub use found::{FoundOperation, UnreadableOperation};
pub use scope::OperationScope;

/// How long a planned operation can be started, in milliseconds.
pub const OPERATION_PLANNED_FOR_MS: i64 = 60 * 60 * 1000;

/// How long an operation is kept after its end, in milliseconds.
pub const OPERATION_KEPT_FOR_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// The most deliveries or events that an operation may name by their ids.
pub const MAX_OPERATION_IDS: usize = 500;

/// The id of an operation: `op_` and a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OperationId(pub(in crate::store) i64);

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "op_{}", self.0)
    }
}

/// A text is not the id of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an operation's id is `op_` and a number")]
pub struct NotAnOperation;

impl FromStr for OperationId {
    type Err = NotAnOperation;

    fn from_str(text: &str) -> Result<Self, NotAnOperation> {
        let digits = text.strip_prefix("op_").filter(|digits| !digits.starts_with(['+', '0', '-']));
        digits.and_then(|digits| digits.parse().ok()).map(Self).ok_or(NotAnOperation)
    }
}

impl AuditResult for OperationId {
    fn text(&self) -> String {
        serde_json::Value::from(self.to_string()).to_string()
    }

    fn read(text: &str) -> Option<Self> {
        serde_json::from_str::<String>(text).ok()?.parse().ok()
    }
}

/// The way in which an operation goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OperationOptions {
    /// One delivery is tried first; the others follow if that succeeds.
    pub first: bool,
    /// The most deliveries a second.
    pub pace: Option<u32>,
    /// It stops after so many that failed again.
    pub stop_after: Option<u32>,
}

/// An operation that is not there yet.
#[derive(Debug, Clone)]
pub struct NewOperation {
    /// A retry, a discard, a cancellation or a replay.
    pub action: OperationDeed,
    /// The deliveries or events.
    pub scope: OperationScope,
    /// The number of them that were counted.
    pub total: u64,
    /// Whether all were counted.
    pub exact: bool,
    /// Deliveries whose last attempt ended later are not touched, and events that came later are
    /// not replayed, Unix ms of the wall clock: now, unless it was counted before.
    pub as_of_ms: Option<i64>,
    /// The client that plans it.
    pub actor: Actor,
}

/// The most events that one look for events to replay finds.
pub(in crate::store) const MAX_EVENTS_FOUND: usize = if cfg!(test) { 4 } else { 500 };

/// One look for running operations finds at least so many that can be read, if there are, however
/// many are between them that cannot. Of those that can it finds fewer than twice as many.
pub(in crate::store) const MAX_RUNNING: usize = if cfg!(test) { 3 } else { 100 };

/// The end of what an operation looks at, of a filter with an end: what came after the preview is
/// not meant.
pub(in crate::store) fn looked_until(as_of_ms: i64, until_ms: Option<i64>) -> i64 {
    until_ms.unwrap_or(i64::MAX).min(as_of_ms.saturating_add(1))
}

/// The state of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationState {
    /// Counted, and nothing is changed.
    Planned,
    /// It goes on.
    Running,
    /// An operator has paused it.
    Paused,
    /// It has paused itself: see its reason.
    Stopped,
    /// Its end.
    Done,
    /// An operator has ended it. Its changes stay.
    Cancelled,
}

impl OperationState {
    /// Every state, in the order of the codes.
    pub const ALL: [Self; 6] =
        [Self::Planned, Self::Running, Self::Paused, Self::Stopped, Self::Done, Self::Cancelled];

    /// The word that people see.
    pub fn name(self) -> &'static str {
        ["planned", "running", "paused", "stopped", "done", "cancelled"][self as usize]
    }

    /// Whether it is over.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Cancelled)
    }

    /// The stored form.
    pub(in crate::store) fn code(self) -> i64 {
        self as i64
    }

    /// Reads the stored form.
    pub(in crate::store) fn from_code(code: i64) -> Option<Self> {
        Self::ALL.get(usize::try_from(code).ok()?).copied()
    }
}

/// An operation.
#[derive(Debug, Clone)]
pub struct Operation {
    /// Its id.
    pub id: OperationId,
    /// The action on each delivery or event.
    pub action: OperationDeed,
    /// The deliveries or events.
    pub scope: OperationScope,
    /// Its rests, and what was tried first.
    pub marks: OperationMarks,
    /// Deliveries whose last attempt ended later are not touched, and events that came later are
    /// not replayed, Unix ms of the wall clock.
    pub as_of_ms: i64,
    /// When it was planned, Unix ms of the wall clock.
    pub planned_ms: i64,
    /// When it was started first.
    pub started_ms: Option<i64>,
    /// When it ended.
    pub ended_ms: Option<i64>,
    /// Its state.
    pub state: OperationState,
    /// Why it has stopped; for people.
    pub reason: Option<String>,
    /// How it goes on.
    pub options: OperationOptions,
    /// The number of deliveries, as counted when it was planned, and later as found.
    pub total: u64,
    /// Whether that is all of them.
    pub exact: bool,
    /// Deliveries that were found so far.
    pub found: u64,
    /// Those of which the result is not known yet.
    pub open: u64,
    /// Those that succeeded, or were changed by an action that has no further result.
    pub ok: u64,
    /// Those that failed again.
    pub failed: u64,
    /// Those that stood otherwise when their turn came, or were ended by somebody else.
    pub skipped: u64,
    /// Whether the search has come to its end.
    pub is_found: bool,
    /// The client that planned it.
    pub actor: String,
}

impl Operation {
    /// Deliveries that were found and not acted on yet.
    pub fn left(&self) -> u64 {
        self.found.saturating_sub(self.open + self.done())
    }

    /// Deliveries whose result is known.
    pub fn done(&self) -> u64 {
        self.ok + self.failed + self.skipped
    }

    /// Whether the search goes on: what it has found is acted on before it looks for more.
    pub fn searches(&self) -> bool {
        self.left() == 0 && !self.is_found
    }

    /// Whether there is nothing more to do.
    pub fn is_through(&self) -> bool {
        self.is_found && self.left() == 0 && self.open == 0
    }

    /// Whether it can be undone: what was discarded comes back.
    pub fn can_be_undone(&self) -> bool {
        let is_discard = self.action == OperationDeed::Change(Action::Discard);
        is_discard && self.ok > 0 && self.state != OperationState::Running
    }

    /// Whether the next one to be acted on is the one that is tried first.
    pub fn tries_first(&self) -> bool {
        self.options.first && self.ok == 0
    }

    /// Whether something may be acted on now. Another host may have begun the one that is tried
    /// first since this host looked.
    pub(in crate::store) fn may_act(&self) -> bool {
        let waits_for_first = self.tries_first() && self.open > 0;
        self.state == OperationState::Running && !waits_for_first
    }

    /// Whether the next one to be acted on is told from the others: it is tried first, or the only
    /// one.
    pub(in crate::store) fn notes_first(&self) -> bool {
        self.tries_first() || self.total == 1
    }

    /// How long it has run up to `now_ms` or to its end, without its rests, in milliseconds; absent
    /// if it was never started.
    pub fn worked_ms(&self, now_ms: i64) -> Option<i64> {
        let until_ms = self.ended_ms.unwrap_or(now_ms);
        let OperationMarks { rested_ms, rests_since_ms, .. } = self.marks;
        let rests_ms = rests_since_ms.map_or(0, |since_ms| (until_ms - since_ms).max(0));
        self.started_ms.map(|started_ms| (until_ms - started_ms - rested_ms - rests_ms).max(0))
    }
}

/// An action of an operator on an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steer {
    /// Begins a planned one.
    Start(OperationOptions),
    /// Lets a running one rest.
    Pause,
    /// Lets a paused or stopped one go on. An operation that has stopped by itself heeds no failure
    /// any more.
    Resume,
    /// Ends it where it is.
    Cancel,
}

impl Steer {
    /// The verb that people see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start(_) => "start",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Cancel => "cancel",
        }
    }

    /// The state that it leads to.
    pub(in crate::store) fn to(self) -> OperationState {
        match self {
            Self::Start(_) | Self::Resume => OperationState::Running,
            Self::Pause => OperationState::Paused,
            Self::Cancel => OperationState::Cancelled,
        }
    }

    /// Whether it takes an operation in this state.
    pub(in crate::store) fn takes(self, state: OperationState) -> bool {
        use OperationState::{Paused, Planned, Running, Stopped};
        match self {
            Self::Start(_) => state == Planned,
            Self::Pause => state == Running,
            Self::Resume => matches!(state, Paused | Stopped),
            Self::Cancel => !state.is_over(),
        }
    }
}

/// The result of an operation for one delivery, or for one event that is replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemResult {
    /// Its turn has not come.
    Found,
    /// The action is done, and its result is not known yet.
    Open,
    /// It succeeded.
    Ok,
    /// It failed again.
    Failed,
    /// It was not touched, or somebody else has ended it.
    Skipped,
}

impl ItemResult {
    /// Every result, in the order of the codes.
    pub const ALL: [Self; 5] = [Self::Found, Self::Open, Self::Ok, Self::Failed, Self::Skipped];

    /// The word that people see.
    pub fn name(self) -> &'static str {
        ["found", "open", "ok", "failed", "skipped"][self as usize]
    }

    /// The stored form.
    pub(in crate::store) fn code(self) -> i64 {
        self as i64
    }

    /// The result of a delivery that was made due, if that is known; `tried`: an attempt of it has
    /// begun since.
    pub(in crate::store) fn of(
        state: State,
        tried: bool,
        outcome: Option<Outcome>,
    ) -> Option<Self> {
        match state {
            State::Done => Some(Self::Ok),
            State::Dead => Some(Self::Failed),
            // A plugin that asks to be called again has not failed.
            State::Waiting if tried && outcome != Some(Outcome::Again) => Some(Self::Failed),
            State::Ready | State::Leased | State::Waiting => None,
            State::Cancelled | State::Discarded => Some(Self::Skipped),
        }
    }

    /// The result of an event from those of the deliveries that were made of it, if it is known:
    /// one that failed is enough.
    pub(in crate::store) fn of_all(made: impl Iterator<Item = Option<Self>>) -> Option<Self> {
        let made: Vec<Option<Self>> = made.collect();
        if made.contains(&Some(Self::Failed)) {
            return Some(Self::Failed);
        }
        let all: Vec<Self> = made.into_iter().collect::<Option<_>>()?;
        Some(if all.contains(&Self::Ok) { Self::Ok } else { Self::Skipped })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_failed_with_one_of_its_deliveries_and_is_well_with_all_of_them() {
        use ItemResult::{Failed, Ok, Skipped};
        for (made, result) in [
            (vec![Some(Ok), None], None),
            (vec![None, Some(Failed)], Some(Failed)),
            (vec![Some(Ok), Some(Skipped)], Some(Ok)),
            (vec![Some(Skipped)], Some(Skipped)),
            (vec![], Some(Skipped)),
        ] {
            assert_eq!(ItemResult::of_all(made.into_iter()), result);
        }
    }

    #[test]
    fn an_id_is_op_and_a_number() {
        assert_eq!("op_12".parse(), Ok(OperationId(12)));
        assert_eq!(OperationId(12).to_string(), "op_12");
        for text in ["", "op_", "op_0", "op_+1", "op_-1", "f_12", "op_1x"] {
            assert_eq!(text.parse::<OperationId>(), Err(NotAnOperation), "{text}");
        }
    }
}
