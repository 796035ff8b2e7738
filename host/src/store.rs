//! The durable half-way point of the road: what was accepted, who is to handle it, and how that went.
//!
//! ```text
//!                 append                                    settle
//!                   │                     ┌────────────────────────────────────► done
//!                   │ no place free       │
//!                   ├──────────────► ready ──lease──► leased ──┬──────────────► dead
//!                   │                  ▲  ▲             ▲      │                  │
//!                   │ place free       │  │ give back,  │      │ retry            │ operator retries
//!                   └──────────────────┼──┼─ host died ─┼──────┤                  │
//!                     (born leased)    │  └─────────────┼──────┘                  │
//!                                      │                │                         │
//!                   delayed event ► waiting ────────────┘ when due                │
//!                                      └──────────────────────────────────────────┘ (to ready)
//! ```
//!
//! Operators also cancel what is open and discard what is dead: see [`Action`].
//!
//! Laws, each with a test of the same words in `store/conformance.rs`:
//! - what was appended is there after a crash, and what was not acknowledged may or may not be;
//! - a repeated dedupe key creates nothing, names the first event and is counted on it;
//! - a lease is settled at most once: the settlement names the attempt, and a late one is lost;
//! - a crash is held against the deliveries that were running, and against no other;
//! - a settlement's outcome, emitted events and key-value writes commit together or not at all;
//! - what an operator cancels leaves no event, no value and no further attempt, whatever crashes;
//! - retention deletes only what is settled, and nothing because the clock was set;
//! - what is ready has no time to wait for, whatever the clock does;
//! - an I/O error acknowledges nothing and ends the store.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use crate::event::{AttemptRecord, DeliveryId, Event, EventId, NewEvent, PluginName};

mod change;
#[cfg(test)]
mod conformance;
mod query;
mod running;
mod side_file;
mod sqlite;

pub use change::{Action, Changed, Preview, Progress, Which};
pub use query::{
    AttemptView, Cursor, DeliveryFilter, DeliveryView, EventFilter, EventState, EventSummary, EventView, MAX_CHILDREN,
    MAX_PAGE, Page, PluginCounts, Stats,
};
pub use running::Running;
pub use sqlite::{OnLoss, OpenError, Recovered, Sqlite, SqliteOptions};

/// What a store call returns: boxed, because the store is used as `dyn`.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Why a store call did not succeed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Too many requests wait for the disk; try again.
    #[error("the writer is saturated: {waiting} requests wait for the disk")]
    Saturated {
        /// How many.
        waiting: usize,
    },
    /// The disk is full or read-only; nothing was written, and it may pass.
    #[error("the disk refuses to store: {0}")]
    Unavailable(String),
    /// The store's files were moved, removed or exchanged while it ran; nothing was written, and it may pass.
    #[error("the store's files are not where they were: {0}")]
    Lost(String),
    /// The store takes as much of the disk as it may; what was accepted is still handled.
    #[error("the store is full: {0}")]
    Full(String),
    /// The store cannot be trusted any more and has stopped; the host must exit.
    #[error("the store has stopped: {0}")]
    Stopped(String),
    /// A single read failed.
    #[error("a query failed: {0}")]
    Query(String),
    /// No such event or delivery.
    #[error("there is no {0}")]
    NotFound(String),
    /// The state does not allow it.
    #[error("{0}")]
    Conflict(String),
}

/// What became of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The event's id; of the first one, for a duplicate.
    pub id: EventId,
    /// Whether a dedupe key was known already, and nothing was created.
    pub duplicate: bool,
}

/// A place in the dispatcher's bounded hand: a delivery is only leased into one, and it is free again when the
/// delivery's settlement is durable.
#[derive(Debug)]
pub struct Place {
    /// One of the plugin's places.
    pub hand: OwnedSemaphorePermit,
    /// Room for the event's body; `None` if nobody counts.
    pub room: Option<Room>,
}

/// Room in memory for a body: of what its plugin may hold, and of what all may.
#[derive(Debug)]
pub struct Room {
    /// The plugin's share.
    pub share: OwnedSemaphorePermit,
    /// Of all together.
    pub all: OwnedSemaphorePermit,
}

/// The exclusive right to run one attempt of one delivery. Only a store makes one; settling consumes it.
#[derive(Debug)]
pub struct Lease {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Who is to handle it.
    pub plugin: PluginName,
    /// The number of this attempt, from 1: the fence. Used again only after its holder has given it back.
    pub attempt: u32,
    /// Attempts that do not count against the retry policy: those before an operator's retry, and crashes of the host.
    pub pardoned: u32,
    /// What is to be handled.
    pub event: Arc<Event>,
    /// Dropped when the settlement is durable.
    _place: Place,
}

impl Lease {
    /// The number of this attempt as the retry policy and the plugin see it, from 1.
    pub fn counted_attempt(&self) -> u32 {
        self.attempt - self.pardoned
    }
}

/// Which deliveries a dispatcher asks for.
#[derive(Debug)]
pub enum Lane {
    /// Those of one plugin that no crash is held against.
    Plugin(PluginName),
    /// Those of the named plugins that a host held when it died.
    Suspects(Vec<PluginName>),
}

/// What a lease call found.
#[derive(Debug)]
pub struct Leased {
    /// At most as many as places were given, and as there is room for in memory.
    pub leases: Vec<Lease>,
    /// When the next delivery of this lane is due (host time, Unix ms); now or earlier if there are more at once.
    pub next_due_ms: Option<i64>,
}

/// How an attempt is settled.
#[derive(Debug)]
pub struct Settlement {
    /// What becomes of the delivery.
    pub next: Next,
    /// The record of the attempt: nothing for a lease that is given back. One that is spent without a record is counted.
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
    /// Tried again at this host time, Unix ms.
    RetryAt(i64),
    /// A dead letter.
    Dead,
    /// Due again at this host time, Unix ms, without having spent the attempt: shutdown, plugin gone, no capacity.
    GiveBack(i64),
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
    /// A key that the attempt read was changed meanwhile: nothing was changed but that the delivery is due again, the
    /// attempt not spent.
    Conflict,
    /// An operator cancelled the delivery while it ran: the attempt is recorded, and nothing else of it is stored.
    Cancelled,
    /// Its event's tree has reached the budget: the attempt is recorded as an `error`, the delivery is dead, and nothing
    /// of what it emitted and wrote is stored.
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

/// What may descend from one event that came from outside, over all that its handling emits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeBudget {
    /// Events, the root not among them.
    pub events: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
}

impl Default for TreeBudget {
    fn default() -> Self {
        Self { events: 10_000, bytes: 64 << 20 }
    }
}

/// The dispatcher's side of the store: places for deliveries that are born leased, and word of what is due.
///
/// All are called on the store's writer and must not block.
pub trait Desk: Send + Sync {
    /// A place for one more delivery of `plugin`, if it is loaded, nothing older waits and its hand is not full.
    fn reserve(&self, plugin: &str, body_bytes: usize) -> Option<Place>;
    /// Room in memory for the body of a delivery of `plugin` that is being leased.
    fn room(&self, plugin: &str, body_bytes: usize) -> Option<Room>;
    /// Deliveries that were born leased; their batch is durable.
    fn deliver(&self, leases: Vec<Lease>);
    /// A delivery of `plugin` that nobody holds is due at the host time `due_ms`; its batch is durable.
    fn posted(&self, plugin: &PluginName, due_ms: i64);
}

/// The durable store. Cheap to share; every call may be made from any task.
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Hands the store its dispatcher. Until then nothing is born leased.
    fn attach(&self, desk: Arc<dyn Desk>);

    /// Stores an event and its deliveries. `Ok` means committed and fsynced.
    fn append(&self, event: NewEvent) -> Pending<'_, Appended>;

    /// Leases due deliveries, at most one for each permit in `places`; what is not needed is given back, and so is all
    /// of it when the call is dropped before it has answered.
    fn lease(&self, lane: Lane, places: OwnedSemaphorePermit) -> Pending<'_, Leased>;

    /// Notes that the attempt of `lease` is about to run, until what is returned is dropped: if the host dies before,
    /// its death is held against the delivery. An attempt that cannot be noted must not run.
    fn running(&self, lease: &Lease) -> Result<Running, StoreError>;

    /// Settles a lease. A full disk delays it; only a stopped store fails it.
    fn settle(&self, lease: Lease, settlement: Settlement) -> Pending<'_, Settled>;

    /// Does what an operator wants to the deliveries he means. Of many, a bounded number at a time, so that nobody waits
    /// long for it: ask again until there are none. One that is in no state for it is a [`StoreError::Conflict`].
    fn change(&self, action: Action, which: Which) -> Pending<'_, Changed>;

    /// Counts what [`Store::change`] would change, a bounded number at a time, and changes nothing.
    fn preview(&self, action: Action, filter: DeliveryFilter, from: Option<Progress>) -> Pending<'_, Preview>;

    /// Creates new deliveries of an old event to `plugins`, and names them.
    fn replay(&self, event: EventId, plugins: Vec<PluginName>) -> Pending<'_, Vec<DeliveryId>>;

    /// Deletes settled events older than the retention and dedupe keys older than their window, a bounded number at a
    /// time; says whether there may be more.
    fn sweep(&self, keep: Keep) -> Pending<'_, bool>;

    /// Notes what the clock believes, so that the next start goes on from there. The store does so by itself now and
    /// then while it writes, and when it is closed.
    fn note_time(&self) -> Pending<'_, ()>;

    /// Reads a key of a plugin.
    fn kv_get(&self, plugin: PluginName, key: String) -> Pending<'_, Option<KvValue>>;

    /// One event with its deliveries and attempts.
    fn event(&self, id: EventId) -> Pending<'_, EventView>;

    /// A page of events, newest first.
    fn events(&self, filter: EventFilter, page: Page) -> Pending<'_, (Vec<EventSummary>, Option<Cursor>)>;

    /// A page of deliveries, newest first.
    fn deliveries(&self, filter: DeliveryFilter, page: Page) -> Pending<'_, (Vec<DeliveryView>, Option<Cursor>)>;

    /// Whether an event still has dedupe keys as hosts before schema version 5 made them: until they have all expired, an
    /// append is to bring [`NewEvent::legacy_key`].
    fn has_legacy_keys(&self) -> bool;

    /// Bytes of keys and values a plugin keeps.
    fn kv_bytes(&self, plugin: &str) -> u64;

    /// Counts, kept up to date with every batch: as cheap with a million rows as with one.
    fn stats(&self) -> Stats;

    /// Why the store does not take appends at the moment, if so.
    fn trouble(&self) -> Option<StoreError>;

    /// What wants an operator's attention although the store takes appends.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns once the store has stopped after an error it cannot survive.
    fn stopped(&self) -> Pending<'_, ()>;

    /// Commits what is queued and closes. Calls after it fail with [`StoreError::Stopped`].
    fn close(&self) -> Pending<'_, ()>;
}

/// How long things are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Settled events received before this time are deleted, Unix ms by the wall clock. None is deleted that is younger by
    /// host time.
    pub events_since_ms: i64,
    /// Dedupe keys of events received before this time are deleted, in the same way.
    pub dedupe_since_ms: i64,
}
