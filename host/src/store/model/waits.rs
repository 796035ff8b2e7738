//! The thing that an open delivery waits for, as far as the store knows it.

use super::DeliveryView;
use super::gatherings::GatheringState;
use crate::event::{DeliveryId, EventId, PluginName, State};

/// The thing that an open delivery waits for, as far as the store knows it. The host knows why a
/// due delivery does not run: its plugin, the circuit breaker, its permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits<'d> {
    /// This time by the wall clock, Unix ms.
    Until(i64),
    /// The end of this delivery of the same key.
    Behind(DeliveryId),
    /// An operator: this dead letter of the same key holds it.
    Held(DeliveryId),
    /// Members of its gathering.
    Members(&'d GatheringState),
    /// Nothing: it is due, and nobody has leased it.
    Due,
    /// The end of the attempt that it is leased for.
    Leased,
}

/// A page of the tree of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeView {
    /// The event that all others descend from. It may be deleted.
    pub root: EventId,
    /// The time of the root, Unix ms; if it is deleted, that of its id.
    pub started_ms: i64,
    /// Its events, oldest first.
    pub events: Vec<TreeEvent>,
    /// The event after which the next page begins; absent on the last one.
    pub next: Option<EventId>,
}

/// An event in its tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEvent {
    /// The event, without its body.
    pub summary: super::EventSummary,
    /// Its deliveries, each with its last attempts, without their logs and requests.
    pub deliveries: Vec<TreeDelivery>,
    /// The gatherings of other events that it is a member of, at most [`MAX_MEMBERSHIPS`].
    pub member_of: Vec<Membership>,
}

/// A delivery in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeDelivery {
    /// The delivery.
    pub view: DeliveryView,
    /// The members of its gathering, in the order in which they came, at most
    /// [`MAX_TREE_MEMBERS`].
    pub members: Vec<TreeMember>,
    /// Whether it has more members.
    pub more_members: bool,
}

/// A member of a gathering, in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeMember {
    /// The event.
    pub id: EventId,
    /// Its type; absent if it is deleted.
    pub kind: Option<String>,
    /// The root of its own tree.
    pub tree: EventId,
}

/// A gathering that an event is a member of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The delivery of the gathering.
    pub delivery: DeliveryId,
    /// The host's plugin that ends it.
    pub plugin: PluginName,
    /// The root of the tree that the delivery is in.
    pub tree: EventId,
}

/// The most members of a gathering that a tree names.
pub const MAX_TREE_MEMBERS: usize = 256;

/// The most gatherings of other events that a tree names of one event.
pub const MAX_MEMBERSHIPS: usize = 32;

/// The most attempts of a delivery that a tree shows.
pub const MAX_TREE_ATTEMPTS: usize = 16;

/// Requests of an attempt that are shown in a tree. One more says that there are more.
pub const MAX_TREE_CALLS: usize = 16;

impl DeliveryView {
    /// Returns what it waits for at this time of the wall clock (Unix ms); nothing if it is
    /// settled.
    pub fn waits(&self, now_ms: i64) -> Option<Waits<'_>> {
        match self.state {
            State::Leased => Some(Waits::Leased),
            State::Ready => Some(Waits::Due),
            State::Waiting => match (self.due_ms, self.behind) {
                (Some(due_ms), _) if due_ms <= now_ms => Some(Waits::Due),
                (Some(due_ms), _) => Some(match &self.gathering {
                    Some(gathering) if !gathering.frozen && gathering.why.is_none() => {
                        Waits::Members(gathering)
                    }
                    _ => Waits::Until(due_ms),
                }),
                (None, Some(behind)) if self.held => Some(Waits::Held(behind)),
                (None, Some(behind)) => Some(Waits::Behind(behind)),
                (None, None) => None,
            },
            State::Done | State::Dead | State::Cancelled | State::Discarded => None,
        }
    }

    /// The attempts before somebody retried it: those that do not count, if it has died before.
    /// Deaths are counted since schema version 7.
    pub(in crate::store) fn before_retry(state: State, deaths: u32, uncounted: u32) -> Option<u32> {
        let is_dead = matches!(state, State::Dead | State::Discarded);
        (deaths > u32::from(is_dead)).then_some(uncounted)
    }

    /// The number of the attempt that ran when the delivery was cancelled: nothing but its record
    /// was stored.
    pub fn attempt_cut_off(&self) -> Option<u32> {
        self.cut_off.then_some(self.attempt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_770_000_000_000;

    fn delivery(state: State, due_ms: Option<i64>) -> DeliveryView {
        DeliveryView {
            id: DeliveryId { event: EventId::first_at(NOW_MS), ordinal: 0 },
            plugin: "audit".into(),
            kind: "order.paid".to_owned(),
            source: "acme".to_owned(),
            subject: None,
            state,
            attempt: 0,
            due_ms,
            key: None,
            behind: None,
            held: false,
            gathering: None,
            quarantined: false,
            replay: false,
            cancelling: false,
            cut_off: false,
            unrecorded: 0,
            failure: None,
            again: 0,
            retried_after: None,
            steps: Vec::new(),
            attempts: Vec::new(),
        }
    }

    #[test]
    fn a_settled_delivery_waits_for_nothing() {
        for state in State::ALL.into_iter().filter(|state| state.is_settled()) {
            assert_eq!(delivery(state, None).waits(NOW_MS), None, "{state:?}");
        }
    }

    #[test]
    fn what_waits_for_a_time_is_due_when_that_has_come() {
        let waiting = delivery(State::Waiting, Some(NOW_MS + 1));
        assert_eq!(waiting.waits(NOW_MS), Some(Waits::Until(NOW_MS + 1)));
        assert_eq!(waiting.waits(NOW_MS + 1), Some(Waits::Due));
        assert_eq!(delivery(State::Leased, None).waits(NOW_MS), Some(Waits::Leased));
    }
}
