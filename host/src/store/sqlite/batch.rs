//! One transaction of the writer, and the verbs that write within it.
//!
//! Nothing here commits. Leases, due times, counts and dedupe keys are gathered, and the writer
//! hands them out after the commit, when the batch is durable.

use std::sync::Arc;

use rusqlite::{Connection, params};

use super::counts::Delta;
use super::eras::{Eras, NO_ERAS};
use super::recent::{KeyChanges, Recent};
use super::sum;
use crate::clock::Clock;
use crate::event::{DeliveryId, Event, EventId, NewEvent, PluginName, State, Target};
use crate::store::{Appended, DispatchHandle, Lease, LeasePermit, TreeBudget};

/// `due_ms` of a leased delivery: never due, because the lock on the file proves that the holder is
/// this process.
pub(super) const NEVER_MS: i64 = i64::MAX;

/// A time at which something is due: never [`NEVER_MS`], by which a leased delivery is known.
pub(super) fn due(unix_ms: i64) -> i64 {
    unix_ms.min(NEVER_MS - 1)
}

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
    /// Whether the store is full, and attempts leave no logs.
    pub(super) cut_logs: bool,
    /// The weight of the writes so far.
    pub(super) written: u64,
    pub(super) delta: Delta,
    pub(super) keys: KeyChanges,
    /// Deliveries that were leased on insert.
    pub(super) leased: Vec<Lease>,
    /// Deliveries that are not leased, and the host time at which each is due.
    pub(super) waiting: Vec<(PluginName, i64)>,
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
            cut_logs: false,
            written: 0,
            delta: Delta::default(),
            keys: KeyChanges::default(),
            leased: Vec::new(),
            waiting: Vec::new(),
            eras_changed: false,
            noted: false,
        }
    }

    /// An integer greater than any given out before: an event's id or a key's version.
    pub(super) fn next_id(&mut self) -> EventId {
        self.last_id = self.last_id.next(self.now_ms);
        self.last_id
    }

    /// Stores an event from outside with its deliveries, unless a dedupe key is known.
    pub(super) fn append(&mut self, new: &NewEvent) -> Result<Appended, rusqlite::Error> {
        self.append_to(None, new)
    }

    /// The same for an event that belongs to the tree of `root`, if there is one.
    pub(super) fn append_to(
        &mut self,
        root: Option<EventId>,
        new: &NewEvent,
    ) -> Result<Appended, rusqlite::Error> {
        let id = self.last_id.next(self.now_ms);
        if let Some(first) = self.take_keys(id, new)? {
            self.delta.duplicates += 1;
            self.count_duplicate(first, new.attributes.time_ms)?;
            return Ok(Appended { id: first, duplicate: true });
        }
        self.last_id = id;
        self.last_event = Some(id);
        if self.era_ends {
            self.begin_era(id)?;
        }
        self.insert_event(id, new, root)?;
        self.delta.events += 1;
        if !new.targets.is_empty() {
            let (attributes, parent, hops) = (new.attributes.clone(), new.parent, new.hops);
            let event = Arc::new(Event { id, attributes, parent, root, hops });
            for (ordinal, target) in (0..).zip(&new.targets) {
                self.create_delivery(&event, ordinal, target, new.delay_ms, false)?;
            }
        }
        Ok(Appended { id, duplicate: false })
    }

    /// Notes that an event was repeated, at this time (Unix ms).
    fn count_duplicate(&self, first: EventId, now_ms: i64) -> Result<(), rusqlite::Error> {
        self.connection
            .prepare_cached(
                "INSERT INTO duplicates (event, n, last_ms) VALUES (?1, 1, ?2)
                 ON CONFLICT (event) DO UPDATE SET n = n + 1, last_ms = excluded.last_ms",
            )?
            .execute(params![first.row(), now_ms])?;
        Ok(())
    }

    fn insert_event(
        &self,
        id: EventId,
        new: &NewEvent,
        root: Option<EventId>,
    ) -> Result<(), rusqlite::Error> {
        let attributes = &new.attributes;
        let headers = (!new.headers.is_empty()).then(|| {
            serde_json::to_string(&new.headers).expect("pairs of strings are always JSON")
        });
        let keys = (!new.dedupe.is_empty()).then(|| new.dedupe.concat());
        self.connection
            .prepare_cached(
                "INSERT INTO events (id, source, type, subject, content_type, time_ms, provider_id, note, headers, \
                 parent, hops, dedupe, body, root, sum) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
            )?
            .execute(params![
                id.row(),
                attributes.source,
                attributes.kind,
                attributes.subject,
                attributes.content_type,
                attributes.time_ms,
                new.provider_id,
                new.note,
                headers,
                new.parent.map(EventId::row),
                new.hops,
                keys,
                attributes.body.as_ref(),
                root.map(EventId::row),
                sum::of(attributes),
            ])?;
        Ok(())
    }

    /// Creates a delivery: leased on insert if it is due and the dispatcher has a permit for it.
    pub(super) fn create_delivery(
        &mut self,
        event: &Arc<Event>,
        ordinal: u32,
        target: &Target,
        delay_ms: u64,
        replay: bool,
    ) -> Result<(), rusqlite::Error> {
        let plugin = &target.plugin;
        let due_ms = due(self.now_ms.saturating_add_unsigned(delay_ms));
        let permit =
            if delay_ms == 0 { self.permit(plugin, event.attributes.body.len()) } else { None };
        let state = match (&permit, delay_ms) {
            (Some(_), _) => State::Leased,
            (None, 0) => State::Ready,
            (None, _) => State::Waiting,
        };
        let attempt = u32::from(permit.is_some());
        self.connection
            .prepare_cached(
                "INSERT INTO deliveries (event, ordinal, plugin, state, attempt, pardoned, crashes, replay, due_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, 0, 0, ?6, ?7)",
            )?
            .execute(params![
                event.id.row(),
                ordinal,
                plugin,
                state.code(),
                attempt,
                replay,
                if permit.is_some() { NEVER_MS } else { due_ms },
            ])?;
        self.delta.moved(plugin, None, Some(state));
        match permit {
            Some(permit) => self.leased.push(Lease {
                delivery: DeliveryId { event: event.id, ordinal },
                plugin: plugin.clone(),
                attempt,
                uncounted: 0,
                event: event.clone(),
                _permit: permit,
            }),
            None => self.waiting.push((plugin.clone(), due_ms)),
        }
        Ok(())
    }

    fn permit(&self, plugin: &str, body_bytes: usize) -> Option<LeasePermit> {
        self.dispatch.and_then(|dispatch| dispatch.permit(plugin, body_bytes))
    }
}
