//! Actions of operators on deliveries, the deliveries they are for, and their progress.
//!
//! ```text
//!  ready, waiting ──cancel──► cancelled ──retry──► ready
//!          leased ──cancel──► leased, and cancelled once it is settled
//!            dead ──discard─► discarded ──retry──► ready
//!       discarded ──undiscard──► dead
//!            dead ──retry───► ready
//!         waiting ──retry───► ready (due at once)
//!  ready, waiting ──move────► the same, for another plugin
//! ```

use serde::{Deserialize, Serialize};

use super::views::{DeliveryFilter, DeliveryView};
use crate::event::{DeliveryId, EventId, PluginName, State};

/// An action of an operator on a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Makes a delivery due at once. A settled one begins anew, its attempts counted from 0; a
    /// waiting one keeps its count. Its recorded steps stay, so that it goes on where it failed.
    Retry,
    /// The same, and drops what it has recorded: it begins from the first step.
    RetryFresh,
    /// Ends an open delivery. Of a running attempt only the record is stored.
    Cancel,
    /// Puts a dead letter away.
    Discard,
    /// Makes a dead letter of what was put away.
    Undiscard,
    /// Gives a ready or waiting delivery to this plugin. Its due time stays, and its attempts are
    /// counted from 0. A plugin gets an event once, so a delivery of an event that this plugin has
    /// already is not moved, unless an operator has ended the plugin's own delivery.
    Move(PluginName),
}

impl Action {
    /// The verb that people see.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Retry | Self::RetryFresh => "retry",
            Self::Cancel => "cancel",
            Self::Discard => "discard",
            Self::Undiscard => "undiscard",
            Self::Move(_) => "move",
        }
    }

    /// The participle of the verb.
    pub fn done(&self) -> &'static str {
        match self {
            Self::Retry | Self::RetryFresh => "retried",
            Self::Cancel => "cancelled",
            Self::Discard => "discarded",
            Self::Undiscard => "restored",
            Self::Move(_) => "moved",
        }
    }

    /// Whether it makes deliveries due.
    pub fn is_retry(&self) -> bool {
        matches!(self, Self::Retry | Self::RetryFresh)
    }

    /// The states that it takes deliveries from. A retry does not take `ready`: such a delivery is
    /// due. If the clock was ahead when it became ready, it counts as waiting.
    pub fn takes(&self) -> &'static [State] {
        match self {
            Self::Retry | Self::RetryFresh => {
                &[State::Dead, State::Waiting, State::Cancelled, State::Discarded]
            }
            Self::Cancel => &[State::Ready, State::Leased, State::Waiting],
            Self::Discard => &[State::Dead],
            Self::Undiscard => &[State::Discarded],
            Self::Move(_) => &[State::Ready, State::Waiting],
        }
    }

    /// The states of a filter that names none. A retry then takes only dead deliveries: a waiting
    /// one may be an event that a plugin has delayed, and one that an operator has ended stays so
    /// until an operator asks for it.
    pub fn takes_unasked(&self) -> &'static [State] {
        match self {
            Self::Retry | Self::RetryFresh | Self::Discard => &[State::Dead],
            Self::Cancel | Self::Undiscard | Self::Move(_) => self.takes(),
        }
    }
}

impl Action {
    /// The states of the deliveries that are meant by a filter for `state`, or for none.
    pub(in crate::store) fn meant(&self, state: Option<State>) -> Vec<State> {
        match state {
            Some(state) => self.takes().iter().copied().filter(|taken| *taken == state).collect(),
            None => self.takes_unasked().to_vec(),
        }
    }

    /// Whether it takes a delivery in this state, if that is one of `states`. A leased delivery
    /// that is `cancelled` already ends with its attempt, and is not cancelled again.
    pub(in crate::store) fn takes_from(
        &self,
        state: State,
        cancelled: bool,
        states: &[State],
    ) -> bool {
        let again = *self == Self::Cancel && state == State::Leased && cancelled;
        states.contains(&state) && !again
    }

    /// The reason why it does not take a delivery in this state; for people.
    pub(in crate::store) fn refusal(&self, state: State, delivery: DeliveryId) -> String {
        let why = match (self, state) {
            (Self::Cancel, State::Leased) => ", and cancelled already: it ends with its attempt",
            (Self::Cancel, State::Cancelled) | (Self::Discard, State::Discarded) => " already",
            (Self::Cancel, _) => "; only an open one (ready, leased or waiting) can be cancelled",
            (Self::Discard, State::Ready | State::Leased | State::Waiting) => {
                "; only a dead one can be discarded, and an open one cancelled"
            }
            (Self::Discard, _) => "; only a dead one can be discarded",
            (Self::Undiscard, _) => "; only a discarded one can be dead again",
            (Self::Retry | Self::RetryFresh, State::Ready) => "; it is due already",
            (Self::Retry | Self::RetryFresh, _) => {
                "; only a dead, waiting, cancelled or discarded one can be retried"
            }
            (Self::Move(_), State::Leased) => {
                "; it can be moved when its attempt has ended, if it is not settled then"
            }
            (Self::Move(_), _) => "; only one that is ready or waits can be moved",
        };
        format!("delivery `{delivery}` is {}{why}", state.name())
    }
}

/// The deliveries that an action is for.
#[derive(Debug, Clone)]
pub enum Which {
    /// This one; it must be in a state that the action takes.
    One(DeliveryId),
    /// Those of all events of the tree that this event belongs to, in the states of
    /// [`Action::takes_unasked`], a bounded number at a time.
    Tree {
        /// An event of the tree.
        event: EventId,
        /// The place where the last call stopped; absent for the first one.
        from: Option<Progress>,
    },
    /// Those that match, a bounded number at a time. A filter without a state means
    /// [`Action::takes_unasked`]; one with a state that the action does not take matches none.
    Matching {
        /// The filter.
        filter: DeliveryFilter,
        /// The place where the last call stopped; absent for the first one.
        from: Option<Progress>,
    },
}

/// The result of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The number of deliveries that it changed.
    pub deliveries: u64,
    /// The place to go on from; absent when there are no more.
    pub next: Option<Progress>,
}

/// The deliveries that an action would change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// Their number among the deliveries that this call has seen.
    pub deliveries: u64,
    /// The first few of them, if it is the first call.
    pub first: Vec<DeliveryView>,
    /// The place to go on from; absent when all were seen.
    pub next: Option<Progress>,
}

/// The progress of an action on many deliveries. Opaque to clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Events from this row on came after the first call, and do not count.
    pub(in crate::store) before: i64,
    /// The place where the search goes on; absent where a pass begins.
    pub(in crate::store) at: Option<Position>,
    /// Whether this pass has changed anything.
    pub(in crate::store) changed: bool,
}

impl Progress {
    /// The place of a search of events that goes on at this row.
    pub(in crate::store) fn at_event(event: i64) -> Self {
        Self { before: i64::MAX, at: Some(Position::Event(event, 0)), changed: false }
    }

    /// The row of an event where the search goes on.
    pub(in crate::store) fn event(&self) -> Option<i64> {
        match self.at {
            Some(Position::Event(event, _)) => Some(event),
            _ => None,
        }
    }
}

/// A place among deliveries, in one of the two orders in which they are walked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::store) enum Position {
    /// By event, oldest first: from this delivery on.
    Event(i64, u32),
    /// Among the open ones, by crashes, plugin and due time, the last one first: what is before
    /// this one.
    Open {
        /// Crashes that count against it.
        crashes: u32,
        /// The plugin that handles it.
        plugin: String,
        /// The due time, Unix ms.
        due_ms: i64,
        /// Its event.
        event: i64,
        /// Its ordinal.
        ordinal: u32,
    },
}
