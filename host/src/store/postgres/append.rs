//! Events and their deliveries on the way into the database, as arrays.

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use super::client::{SqlClient as Client, SqlStatement as Statement};
use super::created::{AppendedAs, CreatedDeliveries};
use super::ids::HostIds;
use super::keys::{LockedKeys, NamedPlugins};
use super::shared::PostgresShared;
use super::terms::{TermRows, has_terms};
use crate::event::{DeliveryId, Event, EventId, NewEvent, PluginName};
use crate::store::model::LeaseTerms;
use crate::store::{DispatchHandle, Lease, LeasePermit};

/// Calls `append_v1`.
pub(super) const APPEND: &str = "SELECT status, first FROM hookbox.append_v1($1, $2, $3, $4, $5, $6, \
     $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, \
     $26, $27, $28, $29)";

/// The part of a batch that has to do with keys and tags.
#[derive(Default)]
pub(super) struct KeyedRows<'c> {
    pub(super) terms: TermRows<'c>,
    pub(super) locked: LockedKeys,
    pub(super) plugins: NamedPlugins,
}

/// The events of a batch.
#[derive(Default)]
pub(super) struct NewRows<'c> {
    origins: Vec<(&'c NewEvent, Option<EventId>)>,
    requires: Vec<i32>,
    ids: Vec<i64>,
    sources: Vec<&'c str>,
    types: Vec<&'c str>,
    subjects: Vec<Option<&'c str>>,
    content_types: Vec<Option<&'c str>>,
    times: Vec<i64>,
    provider_ids: Vec<Option<&'c str>>,
    notes: Vec<Option<&'c str>>,
    headers: Vec<Option<String>>,
    parents: Vec<Option<i64>>,
    roots: Vec<Option<i64>>,
    hops: Vec<i32>,
    traces: Vec<Option<Vec<u8>>>,
    edited_from: Vec<Option<i64>>,
    edited_by: Vec<Option<&'c str>>,
    signed_by: Vec<Option<i32>>,
    bodies: Vec<&'c [u8]>,
    /// The request of each event, if it has one; empty if there are none.
    groups: Vec<i32>,
    deliveries: NewDeliveryRows<'c>,
    keys: NewKeyRows<'c>,
}

#[derive(Default)]
struct NewDeliveryRows<'c> {
    events: Vec<i32>,
    ordinals: Vec<i32>,
    plugins: Vec<&'c str>,
    delays: Vec<i64>,
    leased: Vec<bool>,
    names: Vec<&'c PluginName>,
    permits: Vec<Option<LeasePermit>>,
}

#[derive(Default)]
struct NewKeyRows<'c> {
    events: Vec<i32>,
    sources: Vec<&'c str>,
    keys: Vec<&'c [u8]>,
}

impl<'c> NewRows<'c> {
    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Adds an event and returns its place. With `required` it is stored only if the settlement at
    /// that place, counted from 1, is kept.
    pub(super) fn add(
        &mut self,
        new: &'c NewEvent,
        (root, required): (Option<EventId>, i32),
        (ids, now_ms, dispatch): (&mut HostIds, i64, Option<&Arc<dyn DispatchHandle>>),
        keyed: &mut KeyedRows<'c>,
    ) -> usize {
        let attributes = &new.attributes;
        self.origins.push((new, root));
        self.requires.push(required);
        let id = ids.next(now_ms);
        self.ids.push(id.row());
        self.sources.push(&attributes.source);
        self.types.push(&attributes.kind);
        self.subjects.push(attributes.subject.as_deref());
        self.content_types.push(attributes.content_type.as_deref());
        self.times.push(attributes.time_ms);
        self.provider_ids.push(new.provider_id.as_deref());
        self.notes.push(new.note.as_deref());
        self.headers.push(
            (!new.headers.is_empty()).then(|| {
                serde_json::to_string(&new.headers).expect("pairs of texts are always JSON")
            }),
        );
        self.parents.push(new.parent.map(EventId::row));
        self.roots.push(root.map(EventId::row));
        self.hops.push(i32::try_from(new.hops).unwrap_or(i32::MAX));
        self.traces.push(new.trace.as_ref().map(|trace| trace.context().to_bytes().to_vec()));
        self.edited_from.push(new.edited.as_ref().map(|edited| edited.event.row()));
        self.edited_by.push(new.edited.as_ref().map(|edited| edited.by.as_str()));
        self.signed_by.push(new.signed_by.map(|key| i32::try_from(key).unwrap_or(i32::MAX)));
        self.bodies.push(&attributes.body);
        let number = i32::try_from(self.ids.len()).expect("a batch is bounded");
        self.keys.add(number, new);
        if !new.cancels.is_empty() || new.deliveries.iter().any(has_terms) {
            keyed.terms.add_event(self.ids.len() - 1, id, new);
            keyed.locked.add_cancels(new);
        }
        for (ordinal, delivery) in (0..).zip(&new.deliveries) {
            let delay_ms = new.delay_ms.max(delivery.target.options.delay_ms);
            let plugin = &delivery.target.plugin;
            let asked = if delay_ms == 0 { dispatch } else { None };
            let permit = asked.and_then(|it| it.permit(plugin, attributes.body.len()));
            keyed.plugins.add(plugin);
            if !has_terms(delivery) {
                self.deliveries.add(number, ordinal, plugin, (delay_ms, permit));
                continue;
            }
            let key = delivery.key.as_ref().map(|key| key.text(root.unwrap_or(id)));
            if let Some(key) = &key
                && delay_ms == 0
            {
                keyed.locked.add(plugin, key);
            }
            keyed.terms.add_delivery(ordinal, delivery, key, (delay_ms, permit));
        }
        self.ids.len() - 1
    }

    /// Says that the events from this place on are of one request.
    pub(super) fn group_from(&mut self, first: usize) {
        self.groups.resize(first, 0);
        let number = i32::try_from(first + 1).expect("a batch is bounded");
        self.groups.resize(self.ids.len(), number);
    }

    /// The event at a place, as it is stored under this id.
    pub(super) fn event(&self, place: usize, id: EventId) -> Arc<Event> {
        Arc::new(stored(id, self.origins[place]))
    }

    /// The id of the event at a place.
    pub(super) fn id(&self, place: usize) -> EventId {
        EventId::from_row(self.ids[place])
    }

    /// The ids of the events, by their places.
    pub(super) fn ids(&self) -> &[i64] {
        &self.ids
    }

    /// Calls the function.
    pub(super) async fn call(
        &self,
        client: &Client,
        statement: &Statement,
        shared: &PostgresShared,
    ) -> Result<Vec<Row>, Error> {
        let (d, k) = (&self.deliveries, &self.keys);
        let (at, me) = (shared.at(), shared.run().incarnation);
        let parameters: [&(dyn ToSql + Sync); 29] = [
            &at,
            &me,
            &self.requires,
            &self.ids,
            &self.sources,
            &self.types,
            &self.subjects,
            &self.content_types,
            &self.times,
            &self.provider_ids,
            &self.notes,
            &self.headers,
            &self.parents,
            &self.roots,
            &self.hops,
            &self.traces,
            &self.edited_from,
            &self.edited_by,
            &self.signed_by,
            &self.bodies,
            &d.events,
            &d.ordinals,
            &d.plugins,
            &d.delays,
            &d.leased,
            &k.events,
            &k.sources,
            &k.keys,
            &self.groups,
        ];
        client.query(statement, &parameters).await
    }

    /// Reads what became of each event of a batch that was committed: an event that is not there
    /// was a duplicate, or waits for another with its key, or its settlement was not kept.
    pub(super) async fn look_back(&self, client: &Client) -> Result<Vec<Row>, Error> {
        let sql = "SELECT (CASE WHEN EXISTS (SELECT FROM hookbox.events e WHERE e.id = u.id)
                THEN 0 WHEN u.required > 0 THEN 3 ELSE 2 END)::smallint, NULL::bigint
            FROM unnest($1::bigint[], $2::integer[]) WITH ORDINALITY AS u (id, required, n)
            ORDER BY u.n";
        client.query(sql, &[&self.ids, &self.requires]).await
    }

    /// Events and ordinals of the deliveries that are leased on insert.
    pub(super) fn leased(&self) -> (Vec<i64>, Vec<i32>) {
        let d = &self.deliveries;
        let leased = d.leased.iter().zip(d.events.iter().zip(&d.ordinals)).filter(|it| *it.0);
        let id = |number: i32| self.ids[usize::try_from(number - 1).unwrap_or(0)];
        leased.map(|(_, (number, ordinal))| (id(*number), *ordinal)).unzip()
    }

    /// Reads what became of each event.
    pub(super) fn outcomes(&self, rows: &[Row]) -> Vec<AppendedAs> {
        let outcome = |(row, id): (&Row, &i64)| match row.get::<_, i16>(0) {
            0 => AppendedAs::New(EventId::from_row(*id)),
            1 => AppendedAs::DuplicateOf(EventId::from_row(row.get(1))),
            2 => AppendedAs::Later,
            _ => AppendedAs::Dropped,
        };
        rows.iter().zip(&self.ids).map(outcome).collect()
    }

    /// Makes leases of what was leased on insert. Permits of what was not stored are given back.
    pub(super) fn created(
        self,
        outcomes: &[AppendedAs],
        now_ms: i64,
        created: &mut CreatedDeliveries,
    ) {
        for ((new, _), outcome) in self.origins.iter().zip(outcomes) {
            if let (Some(trace), AppendedAs::New(id)) = (&new.trace, outcome) {
                trace.stored_as(*id);
            }
        }
        let mut last: Option<(usize, Arc<Event>)> = None;
        let d = self.deliveries;
        let rows = d.events.iter().zip(&d.ordinals).zip(&d.delays).zip(d.names).zip(d.permits);
        for ((((number, ordinal), delay_ms), plugin), permit) in rows {
            let place = usize::try_from(number - 1).expect("numbers begin at 1");
            let AppendedAs::New(id) = outcomes[place] else { continue };
            let Some(permit) = permit else {
                let delay = Duration::from_millis(delay_ms.unsigned_abs());
                created.waiting.push((plugin.clone(), delay));
                continue;
            };
            let event = match &last {
                Some((at, event)) if *at == place => Arc::clone(event),
                _ => Arc::new(stored(id, self.origins[place])),
            };
            last = Some((place, Arc::clone(&event)));
            created.leases.push(Lease {
                delivery: DeliveryId { event: id, ordinal: ordinal.unsigned_abs() },
                plugin: plugin.clone(),
                attempt: 1,
                uncounted: 0,
                deaths: 0,
                due_ms: now_ms,
                event,
                terms: LeaseTerms::default(),
                permit,
                held: None,
            });
        }
    }
}

impl<'c> NewKeyRows<'c> {
    fn add(&mut self, number: i32, new: &'c NewEvent) {
        for key in &new.dedupe {
            self.events.push(number);
            self.sources.push(&new.attributes.source);
            self.keys.push(key);
        }
    }
}

impl<'c> NewDeliveryRows<'c> {
    fn add(
        &mut self,
        number: i32,
        ordinal: i32,
        plugin: &'c PluginName,
        (delay_ms, permit): (u64, Option<LeasePermit>),
    ) {
        self.events.push(number);
        self.ordinals.push(ordinal);
        self.plugins.push(plugin);
        self.delays.push(i64::try_from(delay_ms).unwrap_or(i64::MAX));
        self.leased.push(permit.is_some());
        self.names.push(plugin);
        self.permits.push(permit);
    }
}

/// The event as it is stored.
fn stored(id: EventId, (new, root): (&NewEvent, Option<EventId>)) -> Event {
    Event {
        id,
        attributes: new.attributes.clone(),
        parent: new.parent,
        root,
        hops: new.hops,
        trace: new.trace.as_ref().map(|trace| trace.context()),
    }
}
