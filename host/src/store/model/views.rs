//! The types of queries: filters, pages, and rows for people.

use std::collections::BTreeMap;

use super::{Emptied, GatheringState, StepView};
use crate::config::routes::TypePattern;
use crate::event::{
    AttemptRecord, Attributes, DeliveryId, EditedFrom, Event, EventId, FailureId, Outcome,
    PluginName, State, Why,
};

/// The filter of a list of events; absent fields do not filter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Exactly this type.
    pub kind: Option<String>,
    /// A type that this pattern matches.
    pub pattern: Option<TypePattern>,
    /// Exactly this source.
    pub source: Option<String>,
    /// Emitted by a plugin, or not.
    pub emitted: Option<bool>,
    /// Exactly this subject.
    pub subject: Option<String>,
    /// With at least one delivery in this state; of `plugin`, and with `min_attempts`, if they are
    /// given too.
    pub state: Option<EventState>,
    /// With at least one delivery of this plugin.
    pub plugin: Option<String>,
    /// With at least one delivery of which so many attempts were begun.
    pub min_attempts: Option<u32>,
    /// Stored after this one.
    pub after: Option<EventId>,
    /// Events in which this text occurs: in the id, type, subject, provider id or body.
    pub text: Option<String>,
    /// Received at or after, by the event's own time, Unix ms.
    pub since_ms: Option<i64>,
    /// Received before, by the event's own time, Unix ms.
    pub until_ms: Option<i64>,
}

/// The values of a filter for the state of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventState {
    /// At least one of its deliveries is in this state.
    Has(State),
    /// No route matched it: it has no delivery.
    Unrouted,
    /// At least one of its deliveries is dead, or is open after an attempt that failed.
    Failing,
}

/// The filter of a list of deliveries; absent fields do not filter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// In this state.
    pub state: Option<State>,
    /// Of this plugin.
    pub plugin: Option<String>,
    /// Of events of exactly this type.
    pub kind: Option<String>,
    /// Of events of exactly this source.
    pub source: Option<String>,
    /// Of events with exactly this subject.
    pub subject: Option<String>,
    /// Whose last attempt failed in this group.
    pub failure: Option<FailureId>,
    /// Whose last attempt had this outcome.
    pub outcome: Option<Outcome>,
    /// With at least so many attempts.
    pub min_attempts: Option<u32>,
    /// Of events received at or after, Unix ms.
    pub since_ms: Option<i64>,
    /// Of events received before, Unix ms.
    pub until_ms: Option<i64>,
}

/// The last row of a page, after which the next one starts. Opaque to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(pub DeliveryId);

/// A part of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// The most rows, from 1 to [`MAX_PAGE`]. A page searches a bounded number of rows, so it may
    /// hold fewer, or none, and still have a cursor: ask on.
    pub limit: usize,
    /// The end of the page before.
    pub after: Option<Cursor>,
}

impl Page {
    /// The bounded number of rows: at least one, or a listing would never end.
    pub(in crate::store) fn rows(&self) -> usize {
        self.limit.clamp(1, MAX_PAGE)
    }
}

/// The most rows that a filtered page of events looks at.
pub const MAX_LOOKED_AT: u32 = 20_000;

/// The same where every body has to be read.
pub const MAX_LOOKED_AT_BODIES: u32 = 2_000;

/// The most rows that a filtered page visits before it answers with the rows found. It is more than
/// the deliveries of an event, so that every page makes progress. Tests have few, for several
/// pages.
pub(in crate::store) const MAX_SCANNED_ROWS: i64 =
    if cfg!(test) { 6 } else { MAX_LOOKED_AT as i64 };

/// The same where every body has to be read.
const MAX_SCANNED_BODIES: i64 = if cfg!(test) { 6 } else { MAX_LOOKED_AT_BODIES as i64 };

impl EventFilter {
    /// The most rows that a page of events with this filter visits.
    pub(in crate::store) fn scan_limit(&self, page: Page) -> i64 {
        match self {
            Self { text: Some(_), .. } => MAX_SCANNED_BODIES,
            // Every row matches: a page visits no more rows than it shows.
            Self {
                kind: None,
                pattern: None,
                source: None,
                subject: None,
                state: None,
                plugin: None,
                min_attempts: None,
                emitted: None,
                ..
            } => page.limit as i64,
            _ => MAX_SCANNED_ROWS,
        }
    }
}

/// The most rows of one page.
pub const MAX_PAGE: usize = 1_000;

/// An event in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSummary {
    /// Id and attributes; the body is empty here.
    pub event: Event,
    /// The provider's own id.
    pub provider_id: Option<String>,
    /// A remark for operators.
    pub note: Option<String>,
    /// When and why its data was deleted.
    pub emptied: Option<Emptied>,
    /// Body length in bytes.
    pub body_bytes: u64,
    /// Plugin and state of each delivery.
    pub deliveries: Vec<(PluginName, State)>,
}

/// The parts of an event that routes look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFacts {
    /// Its attributes and body.
    pub attributes: Attributes,
    /// Kept request headers.
    pub headers: Vec<(String, String)>,
    /// Number of plugins it has passed.
    pub hops: u32,
}

/// The facts of an event that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundFacts {
    /// All of them.
    Whole(StoredFacts),
    /// This column is damaged. However often it is read, it stays so.
    Unreadable {
        /// Its name.
        column: String,
    },
}

/// One whole event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventView {
    /// Id, attributes and body.
    pub event: Event,
    /// The provider's own id.
    pub provider_id: Option<String>,
    /// A remark for operators.
    pub note: Option<String>,
    /// The position of the key of its source that signed it.
    pub signed_by: Option<u32>,
    /// When and why its data was deleted.
    pub emptied: Option<Emptied>,
    /// Kept request headers.
    pub headers: Vec<(String, String)>,
    /// Requests that were acknowledged as duplicates of it.
    pub duplicates: u64,
    /// The time of the last duplicate, Unix ms.
    pub last_duplicate_ms: Option<i64>,
    /// Its deliveries, each with its attempts.
    pub deliveries: Vec<DeliveryView>,
    /// Events that its handling emitted, at most [`MAX_CHILDREN`].
    pub children: Vec<EventId>,
    /// The event that it was made of, if an operator has edited one.
    pub edited: Option<EditedFrom>,
    /// Events that operators have made of it, at most [`MAX_CHILDREN`].
    pub replays: Vec<EventId>,
}

/// The most children an [`EventView`] names.
pub const MAX_CHILDREN: usize = 1_000;

/// One delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryView {
    /// Its id.
    pub id: DeliveryId,
    /// The plugin that handles it.
    pub plugin: PluginName,
    /// Type of its event.
    pub kind: String,
    /// Source of its event.
    pub source: String,
    /// Subject of its event.
    pub subject: Option<String>,
    /// Its state.
    pub state: State,
    /// The number of attempts that were begun.
    pub attempt: u32,
    /// The due time by the wall clock, Unix ms; for `ready` and `waiting`, unless it waits behind
    /// its key.
    pub due_ms: Option<i64>,
    /// Its key, if its plugin's deliveries are ordered by one.
    pub key: Option<String>,
    /// The delivery of the same key that it waits behind: an open one, or a dead letter that holds
    /// the key.
    pub behind: Option<DeliveryId>,
    /// Whether that is a dead letter, which holds the key until an operator retries or discards it.
    pub held: bool,
    /// Its gathering, if it is to end one.
    pub gathering: Option<Box<GatheringState>>,
    /// Whether it ran when a host died, and so runs one at a time with others of its kind.
    pub quarantined: bool,
    /// Whether an operator's replay created it.
    pub replay: bool,
    /// Whether an operator has cancelled it while it is leased: it ends with the running attempt.
    pub cancelling: bool,
    /// Whether an attempt ran when it was cancelled, so that nothing of that but its record was
    /// stored. See [`DeliveryView::attempt_cut_off`].
    pub cut_off: bool,
    /// The number of spent attempts without a record.
    pub unrecorded: u32,
    /// The group of its last attempt, if that failed.
    pub failure: Option<FailureId>,
    /// How often its handler has asked to be called again since it began or was last retried.
    pub again: u32,
    /// The attempts before somebody retried the dead letter that it was; absent if nobody has.
    pub retried_after: Option<u32>,
    /// The steps that it has recorded, by name; not in listings.
    pub steps: Vec<StepView>,
    /// Its attempts, oldest first; in listings only the last one.
    pub attempts: Vec<AttemptView>,
}

/// A gathering with its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatheringView {
    /// The host's plugin that ends it: `joins/NAME` or `batches/NAME`.
    pub plugin: PluginName,
    /// Its key.
    pub key: String,
    /// Members that are counted.
    pub count: u32,
    /// How many complete it, if a member said so.
    pub need: Option<u32>,
    /// Why it ends, or would if it ended now.
    pub why: Why,
    /// Whether it is complete, and has not merely run out of time.
    pub complete: bool,
    /// Its members, in the order in which they came.
    pub members: Vec<MemberView>,
}

/// A member of a gathering.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberView {
    /// Its id.
    pub id: EventId,
    /// The event; absent if it is deleted, or beyond the bounds of what is read at once.
    pub event: Option<Event>,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptView {
    /// The number, from 1; an operator's retry goes on counting.
    pub number: u32,
    /// The record.
    pub record: AttemptRecord,
}

/// Counts of events and deliveries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Events stored.
    pub events: u64,
    /// Requests recognised as duplicates since the start of the process.
    pub duplicates: u64,
    /// Deliveries per plugin.
    pub plugins: BTreeMap<PluginName, PluginCounts>,
}

/// Deliveries of one plugin by state, in the order of [`State::ALL`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PluginCounts(pub [u64; State::ALL.len()]);

impl PluginCounts {
    /// Deliveries that are not settled.
    pub fn open(&self) -> u64 {
        [State::Ready, State::Leased, State::Waiting]
            .map(|state| self.0[usize::from(state.code())])
            .iter()
            .sum()
    }

    /// Deliveries that are not settled, and dead letters.
    pub fn unfinished(&self) -> u64 {
        self.open() + self.0[usize::from(State::Dead.code())]
    }
}

/// When the deliveries of a plugin that nobody holds are due, by the wall clock, Unix ms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DueTimes {
    /// When the one was due that has been due for longest; absent if none is.
    pub oldest_ready_ms: Option<i64>,
    /// When the next one will be due; absent if none will.
    pub next_due_ms: Option<i64>,
}

impl Stats {
    /// The plugins with deliveries that are due, or will be.
    pub fn waiting(&self) -> Vec<PluginName> {
        let waits = |counts: &PluginCounts| {
            [State::Ready, State::Waiting].iter().any(|it| counts.0[usize::from(it.code())] > 0)
        };
        let found = self.plugins.iter().filter(|(_, counts)| waits(counts));
        found.map(|(name, _)| name.clone()).collect()
    }

    /// Deliveries in a state, over all plugins.
    pub fn deliveries(&self, state: State) -> u64 {
        self.plugins.values().map(|counts| counts.0[usize::from(state.code())]).sum()
    }
}
