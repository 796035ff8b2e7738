//! Appending an event, and creating its deliveries.

use std::sync::Arc;

use rusqlite::{ToSql, params, params_from_iter};

use super::batch::{BEHIND_MS, NEVER_MS, WriteBatch, due};
use super::deaths::Ending;
use super::keys::{KeyPlace, too_many};
use super::sum;
use crate::event::{
    DeliveryId, Event, EventId, NewDelivery, NewEvent, PluginName, State, TargetOptions,
};
use crate::store::model::LeaseTerms;
use crate::store::{Appended, Lease};

const INSERT_EVENT: &str = "INSERT INTO events (id, source, type, subject, content_type, time_ms, provider_id, headers, hops, dedupe, body, sum, \
     signed_by, note, parent, root, trace) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";

/// Of an event from outside without a note and a trace.
const INSERT_PLAIN_EVENT: &str = "INSERT INTO events (id, source, type, subject, content_type, time_ms, provider_id, headers, hops, dedupe, body, sum, \
     signed_by) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";

const INSERT_PLAIN: &str =
    "INSERT INTO deliveries (event, ordinal, plugin, state, attempt, pardoned, crashes, replay, due_ms)
     VALUES (?1, ?2, ?3, ?4, ?5, 0, 0, ?6, ?7)";

const INSERT_WITH_TERMS: &str = "INSERT INTO deliveries (event, ordinal, plugin, state, attempt, pardoned, crashes, replay, due_ms, key, entered, \
     cancel_tag) VALUES (?1, ?2, ?3, ?4, ?5, 0, 0, ?6, ?7, ?8, ?9, ?10)";

/// A delivery that is being created.
pub(super) struct Creation<'c> {
    pub(super) ordinal: u32,
    pub(super) plugin: &'c PluginName,
    pub(super) options: &'c TargetOptions,
    pub(super) key: Option<Arc<str>>,
    pub(super) delay_ms: u64,
    pub(super) replay: bool,
}

impl WriteBatch<'_> {
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
            if let Some(key) = new.spends {
                self.spend(first, (new.attributes.source.clone(), key))?;
            }
            return Ok(Appended { id: first, duplicate: true });
        }
        self.last_id = id;
        self.last_event = Some(id);
        if self.era_ends {
            self.begin_era(id)?;
        }
        self.insert_event(id, new, root)?;
        if let Some(trace) = &new.trace {
            trace.stored_as(id);
        }
        self.delta.events += 1;
        // First: what is committed after an event is not cancelled by it.
        self.cancel_tagged(new)?;
        if !new.deliveries.is_empty() || !new.members.is_empty() {
            let (attributes, parent, hops) = (new.attributes.clone(), new.parent, new.hops);
            let trace = new.trace.as_ref().map(|trace| trace.context());
            let event = Arc::new(Event { id, attributes, parent, root, hops, trace });
            self.create_deliveries(&event, new)?;
        }
        Ok(Appended { id, duplicate: false })
    }

    fn create_deliveries(
        &mut self,
        event: &Arc<Event>,
        new: &NewEvent,
    ) -> Result<(), rusqlite::Error> {
        let mut dead = Vec::new();
        for (ordinal, NewDelivery { target, key }) in (0..).zip(&new.deliveries) {
            let died = self.create_delivery(
                event,
                Creation {
                    ordinal,
                    plugin: &target.plugin,
                    options: &target.options,
                    key: key.as_ref().map(|key| key.text(event.tree())),
                    delay_ms: new.delay_ms.max(target.options.delay_ms),
                    replay: false,
                },
            )?;
            dead.extend(died.then_some((ordinal, &target.plugin)));
        }
        if !new.members.is_empty() {
            let next = u32::try_from(new.deliveries.len()).unwrap_or(u32::MAX);
            self.gather(event, &new.members, next)?;
        }
        // Only now, because a notice is the event's next delivery.
        for (ordinal, plugin) in dead {
            self.notice_death(DeliveryId { event: event.id, ordinal }, plugin)?;
        }
        Ok(())
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
        let (id, sum, body) = (id.row(), sum::of(attributes), attributes.body.as_ref());
        let plain: [&dyn ToSql; 13] = [
            &id,
            &attributes.source,
            &attributes.kind,
            &attributes.subject,
            &attributes.content_type,
            &attributes.time_ms,
            &new.provider_id,
            &headers,
            &new.hops,
            &keys,
            &body,
            &sum,
            &new.signed_by,
        ];
        let (parent, root) = (new.parent.map(EventId::row), root.map(EventId::row));
        if new.note.is_none() && parent.is_none() && root.is_none() && new.trace.is_none() {
            // Most events are such, and columns that are not named cost less.
            self.connection.prepare_cached(INSERT_PLAIN_EVENT)?.execute(plain.as_slice())?;
            return Ok(());
        }
        let trace = new.trace.as_ref().map(|trace| trace.context().to_bytes());
        let others: [&dyn ToSql; 4] = [&new.note, &parent, &root, &trace];
        let all = params_from_iter(plain.into_iter().chain(others));
        self.connection.prepare_cached(INSERT_EVENT)?.execute(all)?;
        Ok(())
    }

    /// Creates a delivery: leased on insert if it is due and the dispatcher has a permit for it.
    /// Returns whether it is a dead letter at once.
    pub(super) fn create_delivery(
        &mut self,
        event: &Arc<Event>,
        new: Creation<'_>,
    ) -> Result<bool, rusqlite::Error> {
        let Creation { ordinal, plugin, options, ref key, delay_ms, .. } = new;
        let id = DeliveryId { event: event.id, ordinal };
        let place = match key {
            Some(key) if delay_ms == 0 => Some(self.enter(plugin, key)?),
            _ => None,
        };
        let (entered, due_ms) = match place {
            None => (None, due(self.now_ms.saturating_add_unsigned(delay_ms))),
            Some(KeyPlace::Open { number, due_ms }) => (Some(number), due_ms),
            Some(KeyPlace::Behind { number } | KeyPlace::Full { number, .. }) => {
                (Some(number), BEHIND_MS)
            }
        };
        let is_due = due_ms <= self.now_ms;
        let permit = if is_due { self.permit(plugin, event.attributes.body.len()) } else { None };
        let state = match &permit {
            Some(_) => State::Leased,
            None if due_ms <= self.now_ms => State::Ready,
            None => State::Waiting,
        };
        self.insert_delivery(id, &new, state, entered, due_ms)?;
        if let Some(tag) = options.cancel_tag {
            self.make_cancellable(id, event.attributes.subject.as_deref(), tag)?;
        }
        if let (Some(KeyPlace::Full { waiting, .. }), Some(key)) = (place, key) {
            let ending = Ending {
                id,
                plugin,
                // It has no place within its key.
                key: None,
                cancel_tag: options.cancel_tag,
                subject: event.attributes.subject.as_deref(),
            };
            self.give_up(&ending, state, 1, &too_many(plugin, key, waiting))?;
            return Ok(true);
        }
        match permit {
            Some(permit) => self.leased.push(Lease {
                delivery: id,
                plugin: plugin.clone(),
                attempt: 1,
                uncounted: 0,
                deaths: 0,
                due_ms,
                event: event.clone(),
                terms: LeaseTerms::first(new.key, options.cancel_tag),
                permit,
                held: None,
            }),
            None if due_ms < BEHIND_MS => self.waiting.push((plugin.clone(), due_ms)),
            None => {}
        }
        Ok(false)
    }

    fn insert_delivery(
        &mut self,
        id: DeliveryId,
        new: &Creation<'_>,
        state: State,
        entered: Option<i64>,
        due_ms: i64,
    ) -> Result<(), rusqlite::Error> {
        let is_leased = state == State::Leased;
        let (event, attempt) = (id.event.row(), u32::from(is_leased));
        let due_ms = if is_leased { NEVER_MS } else { due_ms };
        // Most deliveries have no terms, and columns that are not named cost less.
        if new.key.is_none() && new.options.cancel_tag.is_none() {
            let (plugin, code) = (new.plugin, state.code());
            self.connection
                .prepare_cached(INSERT_PLAIN)?
                .execute(params![event, id.ordinal, plugin, code, attempt, new.replay, due_ms])?;
        } else {
            self.connection.prepare_cached(INSERT_WITH_TERMS)?.execute(params![
                event,
                id.ordinal,
                new.plugin,
                state.code(),
                attempt,
                new.replay,
                due_ms,
                new.key,
                entered,
                new.options.cancel_tag,
            ])?;
        }
        self.delta.moved(new.plugin, None, Some(state));
        Ok(())
    }
}
