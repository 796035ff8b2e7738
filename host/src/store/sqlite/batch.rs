//! One transaction of the writer, and the verbs that write within it.
//!
//! Nothing here commits. Leases, due times, counts and dedupe keys are gathered, and the writer
//! hands them out after the commit, when the batch is durable.

use std::cell::Cell;

use rusqlite::Connection;

use super::counts::Delta;
use super::eras::{Eras, NO_ERAS};
use super::groups::GroupChanges;
use super::recent::{KeyChanges, Recent};
use crate::clock::Clock;
use crate::event::{EventId, KeyPolicy, PluginName};
use crate::store::{DispatchHandle, Lease, LeasePermit, PluginPolicies, TreeBudget};

/// `due_ms` of a leased delivery: never due, because the lock on the file proves that the holder is
/// this process.
pub(super) const NEVER_MS: i64 = i64::MAX;

/// `due_ms` of a delivery that waits behind others of its key.
pub(super) const BEHIND_MS: i64 = NEVER_MS - 1;

/// A time at which something is due: never [`NEVER_MS`], by which a leased delivery is known, nor
/// [`BEHIND_MS`].
pub(super) fn due(unix_ms: i64) -> i64 {
    unix_ms.min(BEHIND_MS - 1)
}

/// Nothing is known of any plugin: what has a key is in strict order.
#[derive(Debug)]
pub(super) struct NoPolicies;

impl PluginPolicies for NoPolicies {
    fn key(&self, _plugin: &str) -> Option<KeyPolicy> {
        None
    }

    fn tells_of_deaths(&self, _plugin: &str) -> bool {
        false
    }
}

/// A key that goes on later: its plugin, its text, and the host time before which it does not.
pub(super) type HeldOpening = (PluginName, String, i64);

/// A transaction in the making.
pub(super) struct WriteBatch<'a> {
    pub(super) connection: &'a Connection,
    /// Host time: what is due, and ids.
    pub(super) now_ms: i64,
    /// The wall clock: times of attempts, and how far ids are ahead of it.
    pub(super) wall_ms: i64,
    /// Notes what the next start has to know of the time.
    pub(super) clock: Option<&'a Clock>,
    pub(super) eras: &'a Eras,
    /// Whether the next event begins an era.
    pub(super) era_ends: bool,
    pub(super) last_id: EventId,
    /// The last event that this batch stores.
    pub(super) last_event: Option<EventId>,
    pub(super) dispatch: Option<&'a dyn DispatchHandle>,
    pub(super) recent: &'a Recent,
    pub(super) tree: TreeBudget,
    pub(super) policies: &'a dyn PluginPolicies,
    /// Whether the store is full, and attempts leave no logs.
    pub(super) cut_logs: bool,
    /// The weight of the writes so far.
    pub(super) written: u64,
    pub(super) delta: Delta,
    pub(super) groups: GroupChanges,
    pub(super) keys: KeyChanges,
    /// Deliveries that were leased on insert.
    pub(super) leased: Vec<Lease>,
    /// Deliveries that are not leased, and the host time at which each is due.
    pub(super) waiting: Vec<(PluginName, i64)>,
    /// Keys whose next delivery is to be opened when several have been cancelled; `None` while each
    /// key goes on at once.
    pub(super) held_openings: Option<Vec<HeldOpening>>,
    /// Whether any key at all is held, once somebody has asked: mostly none is.
    pub(super) any_held: Cell<Option<bool>>,
    /// Whether what is paused is to be read again.
    pub(super) pauses_changed: bool,
    /// Whether the eras are to be read again.
    pub(super) eras_changed: bool,
    /// Whether the time was noted.
    pub(super) noted: bool,
}

impl<'a> WriteBatch<'a> {
    /// A transaction without a dispatcher and by a clock that is right, with the usual budget for
    /// trees.
    pub(super) fn new(
        connection: &'a Connection,
        now_ms: i64,
        last_id: EventId,
        recent: &'a Recent,
    ) -> Self {
        Self {
            connection,
            now_ms,
            wall_ms: now_ms,
            clock: None,
            eras: &NO_ERAS,
            era_ends: false,
            last_id,
            last_event: None,
            dispatch: None,
            recent,
            tree: TreeBudget::default(),
            policies: &NoPolicies,
            cut_logs: false,
            written: 0,
            delta: Delta::default(),
            groups: GroupChanges::default(),
            keys: KeyChanges::default(),
            leased: Vec::new(),
            waiting: Vec::new(),
            held_openings: None,
            any_held: Cell::new(None),
            pauses_changed: false,
            eras_changed: false,
            noted: false,
        }
    }

    /// An integer greater than any given out before: an event's id or a key's version.
    pub(super) fn next_id(&mut self) -> EventId {
        self.last_id = self.last_id.next(self.now_ms);
        self.last_id
    }

    pub(super) fn permit(&self, plugin: &str, body_bytes: usize) -> Option<LeasePermit> {
        self.dispatch.and_then(|dispatch| dispatch.permit(plugin, body_bytes))
    }
}
