//! What an operator does to deliveries: which action, to which of them, and how far it has come.
//!
//! ```text
//!  ready, waiting ──cancel──► cancelled ──retry──► ready        leased ──cancel──► leased, and cancelled once it is settled
//!            dead ──discard─► discarded ──retry──► ready          dead ──retry───► ready
//!         waiting ──retry───► ready (due at once)              ready, waiting ──move──► the same, for another plugin
//! ```

use serde::{Deserialize, Serialize};

use super::views::{DeliveryFilter, DeliveryView};
use crate::event::{DeliveryId, PluginName, State};

/// What an operator does to a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Due at once: a settled one begins anew, its attempts counted from 0; a waiting one keeps its
    /// count.
    Retry,
    /// Ends what is open. Of an attempt that is running nothing is stored but its record.
    Cancel,
    /// Puts a dead letter away.
    Discard,
    /// Gives what no attempt has yet, or what waits for the next one, to this plugin: at the same
    /// time, its attempts counted from 0. A plugin gets an event once, so one of an event that this
    /// plugin has a delivery of, but for those that an operator has ended, is not taken.
    Move(PluginName),
}

impl Action {
    /// The verb people see.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Cancel => "cancel",
            Self::Discard => "discard",
            Self::Move(_) => "move",
        }
    }

    /// What the verb makes of a delivery, in a word.
    pub fn done(&self) -> &'static str {
        match self {
            Self::Retry => "retried",
            Self::Cancel => "cancelled",
            Self::Discard => "discarded",
            Self::Move(_) => "moved",
        }
    }

    /// The states that it takes deliveries from. `ready` is not among those of a retry: such a
    /// delivery is due, unless the clock was ahead when it became so, and then it counts as
    /// waiting.
    pub fn takes(&self) -> &'static [State] {
        match self {
            Self::Retry => &[State::Dead, State::Waiting, State::Cancelled, State::Discarded],
            Self::Cancel => &[State::Ready, State::Leased, State::Waiting],
            Self::Discard => &[State::Dead],
            Self::Move(_) => &[State::Ready, State::Waiting],
        }
    }

    /// The states that are meant where a filter names none. Only the dead are retried then: what
    /// waits may be an event that a plugin wants to come later, and what an operator has ended
    /// stays so until he says otherwise.
    pub fn takes_unasked(&self) -> &'static [State] {
        match self {
            Self::Retry | Self::Discard => &[State::Dead],
            Self::Cancel | Self::Move(_) => self.takes(),
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
    pub(in crate::store) fn takes_from(&self, state: State, cancelled: bool, states: &[State]) -> bool {
        let again = *self == Self::Cancel && state == State::Leased && cancelled;
        states.contains(&state) && !again
    }

    /// Why it does not take a delivery in this state; for people.
    pub(in crate::store) fn refusal(&self, state: State, delivery: DeliveryId) -> String {
        let why = match (self, state) {
            (Self::Cancel, State::Leased) => ", and cancelled already: it ends with its attempt",
            (Self::Cancel, State::Cancelled) | (Self::Discard, State::Discarded) => " already",
            (Self::Cancel, _) => "; only an open one (ready, leased or waiting) can be cancelled",
            (Self::Discard, State::Ready | State::Leased | State::Waiting) => {
                "; only a dead one can be discarded, and an open one cancelled"
            }
            (Self::Discard, _) => "; only a dead one can be discarded",
            (Self::Retry, State::Ready) => "; it is due already",
            (Self::Retry, _) => "; only a dead, waiting, cancelled or discarded one can be retried",
            (Self::Move(_), State::Leased) => "; it can be moved when its attempt has ended, if it is not settled then",
            (Self::Move(_), _) => "; only one that is ready or waits can be moved",
        };
        format!("delivery `{delivery}` is {}{why}", state.name())
    }
}

/// Which deliveries an action is for.
#[derive(Debug, Clone)]
pub enum Which {
    /// This one; it must be in a state that the action takes.
    One(DeliveryId),
    /// Those that match, a bounded number at a time. Of a filter without a state those in
    /// [`Action::takes_unasked`]; of one with a state that the action does not take, none.
    Matching {
        /// What they have in common.
        filter: DeliveryFilter,
        /// Where the call before has stopped; absent for the first one.
        from: Option<Progress>,
    },
}

/// What one call has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Deliveries that it changed.
    pub deliveries: u64,
    /// Where to go on; absent when there are no more.
    pub next: Option<Progress>,
}

/// What an action would change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// How many of the deliveries that this call looked at.
    pub deliveries: u64,
    /// The first few of them, if it is the first call.
    pub first: Vec<DeliveryView>,
    /// Where to go on looking; absent when all were looked at.
    pub next: Option<Progress>,
}

/// How far an action on many deliveries has come. Opaque to clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Events from this row on came after the first call, and are not meant.
    pub(in crate::store) before: i64,
    /// Where the search goes on; absent where a pass begins.
    pub(in crate::store) at: Option<Position>,
    /// Whether this pass has changed anything.
    pub(in crate::store) changed: bool,
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
        /// Crashes held against it.
        crashes: u32,
        /// Who handles it.
        plugin: String,
        /// When it is due, Unix ms.
        due_ms: i64,
        /// Its event.
        event: i64,
        /// Its ordinal.
        ordinal: u32,
    },
}
