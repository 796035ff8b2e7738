//! The types of the store's calls. Those of operators are in `actions` and `views`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::held_leases::HeldLease;
use crate::clock::after_ms;
use crate::event::{
    AttemptRecord, DeliveryId, Event, EventId, FailureId, KeyPolicy, NewEvent, PluginName, State,
};

mod actions;
mod approvals;
mod audit;
mod copied;
mod erase;
mod failures;
mod gatherings;
mod history;
mod hosts;
mod key_change;
mod kv;
mod operations;
mod pauses;
mod schedules;
mod steps;
mod stored_lists;
mod tree;
mod views;
mod waits;

pub(super) use actions::Position;
pub use actions::{Action, Changed, Preview, Progress, Which};
pub use approvals::{Approval, ApprovalChange, StoredApproval};
pub(super) use audit::AuditResult;
pub use audit::{Actor, AuditEntry, AuditFilter, AuditNote, KEY_KNOWN_FOR_MS, Via};
pub(super) use copied::{CopyCell, CopyMarks, CopyRow};
pub use erase::{Emptied, Erased, Erasure};
pub(super) use erase::{refusal_of_emptied, without_paths};
pub(super) use failures::MAX_FAILURE_GROUPS;
pub use failures::{FailureCursor, FailureFilter, FailureView, FileCounts, TREND_HOURS, Trend};
pub use gatherings::{GatheringCursor, GatheringFilter, GatheringState};
pub use history::{MAX_SAMPLES, StoredSample};
pub use hosts::{HostView, SealedSecret, SecretMark};
pub use key_change::{KeyChange, KeyExpected};
pub(super) use kv::number;
pub use kv::{KvEntry, KvKey, KvRange, KvTransaction, KvValue, ListedKeys};
pub use operations::{
    FoundOperation, ItemResult, MAX_OPERATION_IDS, NewOperation, NotAnOperation,
    OPERATION_KEPT_FOR_MS, OPERATION_PLANNED_FOR_MS, Operation, OperationDeed, OperationId,
    OperationMarks, OperationOptions, OperationScope, OperationState, Steer, TriedItem,
    UnreadableOperation,
};
pub(in crate::store) use operations::{MAX_EVENTS_FOUND, MAX_RUNNING, looked_until, read_walk};
pub use pauses::{Pausable, Pause, PauseChange, Pauses};
pub use schedules::{
    MAX_SKIP_RECORDS, ScheduleChange, ScheduleMark, SkipReason, SkippedTicks, StoredSchedule, Tick,
    TickStep, Ticked,
};
pub use steps::{AgainSoFar, LeaseHolder, NewStep, Recorded, StepView};
pub(super) use stored_lists::StoredLists;
pub use tree::TreeBudget;
pub(super) use tree::{TreeSize, tree_mark};
pub(in crate::store) use views::MAX_SCANNED_ROWS;
pub use views::{
    AttemptView, Cursor, DeliveryFilter, DeliveryView, DueTimes, EventFilter, EventState,
    EventSummary, EventView, FoundFacts, GatheringView, MAX_CHILDREN, MAX_LOOKED_AT,
    MAX_LOOKED_AT_BODIES, MAX_PAGE, MemberView, Page, PluginCounts, Stats, StoredFacts,
};
pub use waits::{
    MAX_MEMBERSHIPS, MAX_TREE_ATTEMPTS, MAX_TREE_CALLS, MAX_TREE_MEMBERS, Membership, TreeDelivery,
    TreeEvent, TreeMember, TreeView, Waits,
};

/// The result of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The event's id; for a duplicate, the id of the first event.
    pub id: EventId,
    /// Whether a dedupe key was known already, and nothing was created.
    pub duplicate: bool,
}

/// A permit of the dispatcher's lease budget. A delivery is leased only with one; the permit is
/// free again when the delivery's settlement is durable.
#[derive(Debug)]
pub struct LeasePermit {
    /// The permit of the plugin's lease budget.
    pub budget: OwnedSemaphorePermit,
    /// Memory for the event's body; `None` if it is not counted.
    pub memory: Option<MemoryReservation>,
}

/// Memory for one body: a part of its plugin's bound and of the bound of all plugins.
#[derive(Debug)]
pub struct MemoryReservation {
    /// The part of the plugin's bound.
    pub plugin: OwnedSemaphorePermit,
    /// The part of the bound of all plugins.
    pub total: OwnedSemaphorePermit,
}

/// The exclusive right to run one attempt of one delivery. Only a store makes one; settling
/// consumes it.
#[derive(Debug)]
pub struct Lease {
    /// The delivery.
    pub delivery: DeliveryId,
    /// The plugin that handles it.
    pub plugin: PluginName,
    /// The number of this attempt, from 1: the fence. It is used again only after its holder has
    /// given it back.
    pub attempt: u32,
    /// Attempts that the retry policy does not count: those before an operator's retry, and crashes
    /// of the host.
    pub uncounted: u32,
    /// How often the delivery has been a dead letter.
    pub deaths: u32,
    /// When it was due, in host time (Unix ms).
    pub due_ms: i64,
    /// The event to handle.
    pub event: Arc<Event>,
    pub(super) terms: LeaseTerms,
    /// Dropped when the settlement is durable.
    pub(super) permit: LeasePermit,
    /// Tells a shared store that this host still has it.
    pub(super) held: Option<Box<HeldLease>>,
}

/// The terms of a leased delivery that count when it ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LeaseTerms {
    /// Its key, if it is ordered by one.
    pub(super) key: Option<Arc<str>>,
    /// See [`TargetOptions`](crate::event::TargetOptions).
    pub(super) cancel_tag: Option<i64>,
    /// Whether it may have recorded steps.
    pub(super) has_steps: bool,
    /// How often its handler has asked to be called again.
    pub(super) again: AgainSoFar,
    /// The group of the failure of the attempt before, if that failed.
    pub(super) failure: Option<FailureId>,
}

impl LeaseTerms {
    /// Those of a first attempt.
    pub(super) fn first(key: Option<Arc<str>>, cancel_tag: Option<i64>) -> Self {
        Self { key, cancel_tag, ..Self::default() }
    }

    /// Whether nothing beside its own row changes when it ends in another state than dead.
    pub(super) fn are_plain(&self) -> bool {
        self.key.is_none() && self.cancel_tag.is_none()
    }
}

impl Lease {
    /// Gives the permit of the lease budget back now, for a budget that bounds only what has not
    /// begun.
    pub fn release_budget(&mut self) {
        drop(self.permit.budget.split(1));
    }

    /// The number of this attempt as the retry policy and the plugin see it, from 1.
    pub fn counted_attempt(&self) -> u32 {
        self.attempt - self.uncounted
    }
}

/// The deliveries that a dispatcher asks for.
#[derive(Debug)]
pub enum LeaseQueue {
    /// Those of one plugin against which no crash counts.
    Plugin(PluginName),
    /// Those of the named plugins that ran when a host died.
    Quarantine(Vec<PluginName>),
}

/// The result of a lease call.
#[derive(Debug)]
pub struct Leased {
    /// The leases: at most as many as permits were given, and as there is memory for.
    pub leases: Vec<Lease>,
    /// The time until the next delivery of this queue is due, counted from the call. Zero if there
    /// are more at once, `None` if no other is open.
    pub next_due_in: Option<Duration>,
    /// Whether a due delivery was not leased because there is no memory for its body.
    pub memory_is_full: bool,
}

/// The settlement of an attempt.
#[derive(Debug)]
pub struct Settlement {
    /// The next state of the delivery.
    pub next: Next,
    /// The record of the attempt; none for a lease that is given back. An attempt that is spent
    /// without a record is counted.
    pub record: Option<AttemptRecord>,
}

/// The next state of a delivery.
#[derive(Debug)]
pub enum Next {
    /// Succeeded: its emitted events and its writes are stored in one transaction.
    Done {
        /// The emitted events, to be appended and routed.
        emitted: Vec<NewEvent>,
        /// Key-value operations of the attempt.
        kv: KvTransaction,
    },
    /// Succeeded, and asks to be called again after this time: the same is stored as if it were
    /// done, and its attempts are counted anew.
    Again {
        /// The emitted events, to be appended and routed.
        emitted: Vec<NewEvent>,
        /// Key-value operations of the attempt.
        kv: KvTransaction,
        /// The time until it is due.
        after: Duration,
    },
    /// To be tried again after this time.
    RetryIn(Duration),
    /// A dead letter. The event that tells of it, if a route takes it, is stored with it.
    Dead(Option<Box<NewEvent>>),
    /// Due again after this time, the attempt not spent: shutdown, plugin gone, no capacity.
    GiveBack(Duration),
}

impl Next {
    /// The state of the delivery then, unless the store decides otherwise.
    pub(super) fn state(&self) -> State {
        match self {
            Self::Done { .. } => State::Done,
            Self::Dead(_) => State::Dead,
            Self::GiveBack(time) | Self::Again { after: time, .. } if time.is_zero() => {
                State::Ready
            }
            Self::RetryIn(_) | Self::GiveBack(_) | Self::Again { .. } => State::Waiting,
        }
    }

    /// The events and the key-value operations that are stored with it, if it succeeded.
    pub fn results(&self) -> Option<(&[NewEvent], &KvTransaction)> {
        match self {
            Self::Done { emitted, kv } | Self::Again { emitted, kv, .. } => Some((emitted, kv)),
            Self::RetryIn(_) | Self::Dead(_) | Self::GiveBack(_) => None,
        }
    }

    /// The due time then, Unix ms; `None` if it is settled. Never one of the two
    /// greatest integers, which mean leased and waiting behind a key.
    pub(super) fn due_ms(&self, now_ms: i64) -> Option<i64> {
        match self {
            Self::Done { .. } | Self::Dead(_) => None,
            Self::RetryIn(time) | Self::GiveBack(time) | Self::Again { after: time, .. } => {
                Some(after_ms(now_ms, *time).min(i64::MAX - 2))
            }
        }
    }
}

/// The policies of plugins that the store has to know. They may change at any time, and hold for
/// calls from then on.
pub trait PluginPolicies: Send + Sync + std::fmt::Debug {
    /// The order of a plugin's deliveries by a key; absent if they are in no order.
    fn key(&self, plugin: &str) -> Option<KeyPolicy>;

    /// Whether a route takes the events that tell of the plugin's dead letters.
    fn tells_of_deaths(&self, plugin: &str) -> bool;
}

/// The number of hosts that may die while they run a delivery; then it is a dead letter.
pub const MAX_CRASHES: u32 = 2;

/// The result of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is durable.
    Kept,
    /// Another lease has taken the delivery over, or it is settled already. Nothing was changed.
    Lost,
    /// A key that the attempt read was changed meanwhile. The delivery is due again, the attempt is
    /// not spent, and nothing else was changed.
    Conflict,
    /// An operator cancelled the delivery while it ran. Only the record of the attempt is stored.
    Cancelled,
    /// Its event's tree has reached the budget. The attempt is recorded as an `error`, the delivery
    /// is dead, and none of its events and writes are stored.
    OverBudget,
    /// It adds to a value that is no number. The attempt is recorded as an `error`, the delivery is
    /// dead, and none of its events and writes are stored.
    NotANumber,
}

/// The times for which events and keys are kept, by the store's own knowledge of time. Setting the
/// clock deletes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Settled events received longer ago are deleted.
    pub events: Duration,
    /// Settled events received longer ago lose their data: body, headers, and what attempts left.
    pub payloads: Duration,
    /// Dedupe keys of events received longer ago are deleted.
    pub dedupe_keys: Duration,
    /// Entries of the audit log that are older are deleted.
    pub audit: Duration,
}
