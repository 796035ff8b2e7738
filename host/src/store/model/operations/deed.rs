//! The action of an operation, and the facts that it remembers of its way.

use serde::{Deserialize, Serialize};

use super::OperationState;
use crate::event::{DeliveryId, PluginName};
use crate::store::model::actions::Action;

/// The action of an operation on each delivery or event that it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationDeed {
    /// An action on each delivery.
    Change(Action),
    /// Each event goes once more to these plugins, as new deliveries; to what is routed at that
    /// moment, if none is named.
    Replay(Vec<PluginName>),
}

impl From<Action> for OperationDeed {
    fn from(action: Action) -> Self {
        Self::Change(action)
    }
}

impl OperationDeed {
    /// The verb that people see.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Change(action) => action.name(),
            Self::Replay(_) => "replay",
        }
    }

    /// Whether it makes deliveries due, so that its result is known later.
    pub fn has_result(&self) -> bool {
        match self {
            Self::Change(action) => action.is_retry(),
            Self::Replay(_) => true,
        }
    }

    /// Whether it replays events.
    pub fn is_replay(&self) -> bool {
        matches!(self, Self::Replay(_))
    }

    /// The action on deliveries, if it is one.
    pub fn action(&self) -> Option<&Action> {
        match self {
            Self::Change(action) => Some(action),
            Self::Replay(_) => None,
        }
    }

    /// Its stored form: a word, and behind `replay` the names of the plugins.
    pub(in crate::store) fn text(&self) -> String {
        match self {
            Self::Change(Action::RetryFresh) => "retry_fresh".to_owned(),
            Self::Change(action) => action.name().to_owned(),
            Self::Replay(to) => {
                let names = to.iter().map(|name| format!(" {name}"));
                std::iter::once("replay".to_owned()).chain(names).collect()
            }
        }
    }

    /// Reads the stored form.
    pub(in crate::store) fn read(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let action = match words.next()? {
            "replay" => return Some(Self::Replay(words.map(PluginName::from).collect())),
            "retry_fresh" => Action::RetryFresh,
            "retry" => Action::Retry,
            "cancel" => Action::Cancel,
            "discard" => Action::Discard,
            "undiscard" => Action::Undiscard,
            _ => return None,
        };
        words.next().is_none().then_some(Self::Change(action))
    }
}

/// The one that an operation has tried before the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TriedItem {
    /// The delivery; of a replay the first one that was made.
    pub id: DeliveryId,
    /// The number of attempts that it had before; of a replay the number of deliveries from the
    /// first to the last one that were made.
    pub number: u32,
}

/// The facts that an operation remembers of its way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OperationMarks {
    /// How long it has rested, paused or stopped, up to the last time that it went on, in
    /// milliseconds.
    pub rested_ms: i64,
    /// Since when it rests, Unix ms of the wall clock.
    pub rests_since_ms: Option<i64>,
    /// The one that was tried first.
    pub tried: Option<TriedItem>,
}

impl OperationMarks {
    /// The same for an operation that comes to a state at this time.
    pub(in crate::store) fn at(self, state: OperationState, now_ms: i64) -> Self {
        match state {
            OperationState::Paused | OperationState::Stopped => {
                Self { rests_since_ms: self.rests_since_ms.or(Some(now_ms)), ..self }
            }
            OperationState::Running => {
                let rest_ms = self.rests_since_ms.map_or(0, |since_ms| (now_ms - since_ms).max(0));
                Self { rested_ms: self.rested_ms + rest_ms, rests_since_ms: None, ..self }
            }
            OperationState::Planned | OperationState::Done | OperationState::Cancelled => self,
        }
    }
}

/// The stored form of marks, beside the scope.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct MarksText {
    #[serde(skip_serializing_if = "is_zero")]
    rested_ms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rests_since_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tried: Option<(String, u32)>,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl From<OperationMarks> for MarksText {
    fn from(marks: OperationMarks) -> Self {
        Self {
            rested_ms: marks.rested_ms,
            rests_since_ms: marks.rests_since_ms,
            tried: marks.tried.map(|tried| (tried.id.to_string(), tried.number)),
        }
    }
}

impl MarksText {
    /// The marks; what cannot be read is not there.
    pub(super) fn marks(self) -> OperationMarks {
        let tried =
            self.tried.and_then(|(id, number)| Some(TriedItem { id: id.parse().ok()?, number }));
        OperationMarks { rested_ms: self.rested_ms, rests_since_ms: self.rests_since_ms, tried }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deed_is_read_as_it_was_written() {
        for deed in [
            Action::Retry.into(),
            Action::RetryFresh.into(),
            Action::Undiscard.into(),
            OperationDeed::Replay(Vec::new()),
            OperationDeed::Replay(vec!["audit".into(), "orders".into()]),
        ] {
            assert_eq!(OperationDeed::read(&deed.text()), Some(deed));
        }
        for odd in ["", "retry audit", "move", "replayed"] {
            assert_eq!(OperationDeed::read(odd), None, "{odd}");
        }
    }

    #[test]
    fn rests_are_added_up_once_it_goes_on() {
        let paused = OperationMarks::default().at(OperationState::Paused, 10);
        assert_eq!(paused.rests_since_ms, Some(10));
        let runs = paused.at(OperationState::Running, 25).at(OperationState::Stopped, 30);
        assert_eq!((runs.rested_ms, runs.rests_since_ms), (15, Some(30)));
        let runs = runs.at(OperationState::Running, 40);
        assert_eq!((runs.rested_ms, runs.rests_since_ms), (25, None));
        assert_eq!(runs.at(OperationState::Done, 99), runs);
    }
}
