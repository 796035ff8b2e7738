//! The nouns of the road through the store. What operators do and see is in `actions` and `views`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use crate::clock::after_ms;
use crate::event::{AttemptRecord, DeliveryId, Event, EventId, NewEvent, PluginName, State};

mod actions;
mod approvals;
mod tree;
mod views;

pub(super) use actions::Position;
pub use actions::{Action, Changed, Preview, Progress, Which};
pub use approvals::{Approval, ApprovalChange, StoredApproval};
pub use tree::TreeBudget;
pub(super) use tree::TreeSize;
pub use views::{
    AttemptView, Cursor, DeliveryFilter, DeliveryView, EventFilter, EventState, EventSummary, EventView, MAX_CHILDREN,
    MAX_PAGE, Page, PluginCounts, Stats,
};

/// What became of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The event's id; of the first one, for a duplicate.
    pub id: EventId,
    /// Whether a dedupe key was known already, and nothing was created.
    pub duplicate: bool,
}

/// A permit of the dispatcher's lease budget: a delivery is leased only with one, which is free
/// again when the delivery's settlement is durable.
#[derive(Debug)]
pub struct LeasePermit {
    /// Of the plugin's lease budget.
    pub budget: OwnedSemaphorePermit,
    /// Memory for the event's body; `None` if nobody counts.
    pub memory: Option<MemoryReservation>,
}

/// Memory for one body: of what its plugin may hold, and of what all plugins may.
#[derive(Debug)]
pub struct MemoryReservation {
    /// Of what the plugin may hold.
    pub plugin: OwnedSemaphorePermit,
    /// Of what all plugins together may hold.
    pub total: OwnedSemaphorePermit,
}

/// The exclusive right to run one attempt of one delivery. Only a store makes one; settling
/// consumes it.
#[derive(Debug)]
pub struct Lease {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Who is to handle it.
    pub plugin: PluginName,
    /// The number of this attempt, from 1: the fence. Used again only after its holder has given it
    /// back.
    pub attempt: u32,
    /// Attempts that the retry policy does not count: those before an operator's retry, and crashes
    /// of the host.
    pub uncounted: u32,
    /// What is to be handled.
    pub event: Arc<Event>,
    /// Dropped when the settlement is durable.
    pub(super) _permit: LeasePermit,
}

impl Lease {
    /// The number of this attempt as the retry policy and the plugin see it, from 1.
    pub fn counted_attempt(&self) -> u32 {
        self.attempt - self.uncounted
    }
}

/// Which deliveries a dispatcher asks for.
#[derive(Debug)]
pub enum LeaseQueue {
    /// Those of one plugin that no crash is held against.
    Plugin(PluginName),
    /// Those of the named plugins that were running when a host died.
    Quarantine(Vec<PluginName>),
}

/// What a lease call found.
#[derive(Debug)]
pub struct Leased {
    /// At most as many as permits were given, and as there is memory for.
    pub leases: Vec<Lease>,
    /// In how long the next delivery of this queue is due, counted from the call: zero if there are
    /// more at once, `None` if no other is open.
    pub next_due_in: Option<Duration>,
}

/// How an attempt is settled.
#[derive(Debug)]
pub struct Settlement {
    /// What becomes of the delivery.
    pub next: Next,
    /// The record of the attempt: nothing for a lease that is given back. One that is spent without
    /// a record is counted.
    pub record: Option<AttemptRecord>,
}

/// What becomes of a delivery.
#[derive(Debug)]
pub enum Next {
    /// Succeeded: with what it emitted and what it wrote, in one transaction.
    Done {
        /// Appended and routed on.
        emitted: Vec<NewEvent>,
        /// Key-value operations of the attempt.
        kv: KvTransaction,
    },
    /// Tried again after this time.
    RetryIn(Duration),
    /// A dead letter.
    Dead,
    /// Due again after this time without having spent the attempt: shutdown, plugin gone, no
    /// capacity.
    GiveBack(Duration),
}

impl Next {
    /// Where the delivery stands then, if nothing comes between.
    pub(super) fn state(&self) -> State {
        match self {
            Self::Done { .. } => State::Done,
            Self::Dead => State::Dead,
            Self::GiveBack(time) if time.is_zero() => State::Ready,
            Self::RetryIn(_) | Self::GiveBack(_) => State::Waiting,
        }
    }

    /// When it is due then, Unix ms; `None` if it is settled. Never the end of all time, which
    /// means that it is leased.
    pub(super) fn due_ms(&self, now_ms: i64) -> Option<i64> {
        match self {
            Self::Done { .. } | Self::Dead => None,
            Self::RetryIn(time) | Self::GiveBack(time) => Some(after_ms(now_ms, *time).min(i64::MAX - 1)),
        }
    }
}

/// How often a host may die while it runs a delivery before the delivery is a dead letter.
pub const MAX_CRASHES: u32 = 2;

/// What a settlement came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is durable.
    Kept,
    /// Another lease has taken the delivery over, or it is settled already: nothing was changed.
    Lost,
    /// A key that the attempt read was changed meanwhile: nothing was changed but that the delivery
    /// is due again, the attempt not spent.
    Conflict,
    /// An operator cancelled the delivery while it ran: the attempt is recorded, and nothing else
    /// of it is stored.
    Cancelled,
    /// Its event's tree has reached the budget: the attempt is recorded as an `error`, the delivery
    /// is dead, and nothing of what it emitted and wrote is stored.
    OverBudget,
}

/// A stored value and the version that a settlement checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvValue {
    /// The bytes.
    pub value: Vec<u8>,
    /// Changes with every write.
    pub version: i64,
}

/// The key-value operations of one attempt, in the plugin's own name space.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KvTransaction {
    /// Keys read, with the version seen; `None` where there was no value.
    pub reads: Vec<(String, Option<i64>)>,
    /// Keys written; `None` deletes.
    pub writes: Vec<(String, Option<Vec<u8>>)>,
}

/// For how long things are kept, by what the store knows of the time. Nothing is deleted because
/// the clock was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Settled events received longer ago are deleted.
    pub events: Duration,
    /// Dedupe keys of events received longer ago are deleted.
    pub dedupe_keys: Duration,
}
