//! Deliveries with a key or a tag, and what events cancel, on the way into the database.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use super::client::{SqlClient as Client, SqlStatement as Statement};
use super::created::{AppendedAs, CreatedDeliveries};
use super::shared::PostgresShared;
use crate::event::{DeliveryId, Event, EventId, NewDelivery, NewEvent, PluginName};
use crate::server::LineLimit;
use crate::store::model::LeaseTerms;
use crate::store::{Lease, LeasePermit};

/// Calls `terms_v1`.
pub(super) const TERMS: &str = "SELECT n, what, plugin, due_in \
     FROM hookbox.terms_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";

/// Calls `enter_late_v1`.
pub(super) const ENTER_LATE: &str =
    "SELECT plugin, due_in FROM hookbox.enter_late_v1($1, $2, $3, $4)";

/// Bounds the lines about dead letters that the store makes by itself.
static LINES: LazyLock<LineLimit> = LazyLock::new(|| LineLimit::new(10, Duration::from_secs(1)));

/// The most delayed deliveries that one call gives their places within their keys.
const MAX_ENTERED: i32 = 512;

/// Whether a delivery is created by `terms_v1` and not by `append_v1`.
pub(super) fn has_terms(delivery: &NewDelivery) -> bool {
    delivery.key.is_some() || delivery.target.options.cancel_tag.is_some()
}

/// The part of a batch that goes to `terms_v1`.
#[derive(Default)]
pub(super) struct TermRows<'c> {
    /// The places of events in the batch.
    places: Vec<usize>,
    ids: Vec<i64>,
    subjects: Vec<Option<&'c str>>,
    nexts: Vec<i32>,
    deliveries: TermDeliveryRows<'c>,
    cancel_events: Vec<i32>,
    cancel_tags: Vec<i64>,
}

#[derive(Default)]
struct TermDeliveryRows<'c> {
    events: Vec<i32>,
    ordinals: Vec<i32>,
    plugins: Vec<&'c str>,
    keys: Vec<Option<Arc<str>>>,
    tags: Vec<Option<i64>>,
    delays: Vec<i64>,
    leased: Vec<bool>,
    names: Vec<&'c PluginName>,
    permits: Vec<Option<LeasePermit>>,
}

impl<'c> TermRows<'c> {
    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Adds an event with anything of this kind; its deliveries follow.
    pub(super) fn add_event(&mut self, place: usize, id: EventId, new: &'c NewEvent) {
        self.places.push(place);
        self.ids.push(id.row());
        self.subjects.push(new.attributes.subject.as_deref());
        let next = new.deliveries.len() + new.members.len();
        self.nexts.push(i32::try_from(next).unwrap_or(i32::MAX));
        if new.attributes.subject.is_some() {
            for tag in &new.cancels {
                self.cancel_events.push(self.number());
                self.cancel_tags.push(*tag);
            }
        }
    }

    /// Adds a delivery of the event that was added last.
    pub(super) fn add_delivery(
        &mut self,
        ordinal: i32,
        new: &'c NewDelivery,
        key: Option<Arc<str>>,
        (delay_ms, permit): (u64, Option<LeasePermit>),
    ) {
        let number = self.number();
        let rows = &mut self.deliveries;
        rows.events.push(number);
        rows.ordinals.push(ordinal);
        rows.plugins.push(&new.target.plugin);
        rows.keys.push(key);
        rows.tags.push(new.target.options.cancel_tag);
        rows.delays.push(i64::try_from(delay_ms).unwrap_or(i64::MAX));
        rows.leased.push(permit.is_some());
        rows.names.push(&new.target.plugin);
        rows.permits.push(permit);
    }

    fn number(&self) -> i32 {
        i32::try_from(self.ids.len()).expect("a batch is bounded")
    }

    /// Calls the function.
    pub(super) async fn call(
        &self,
        client: &Client,
        statement: &Statement,
        shared: &PostgresShared,
    ) -> Result<Vec<Row>, Error> {
        let d = &self.deliveries;
        let (at, me) = (shared.at(), shared.run().incarnation);
        let keys: Vec<Option<&[u8]>> =
            d.keys.iter().map(|key| key.as_ref().map(|key| key.as_bytes())).collect();
        let parameters: [&(dyn ToSql + Sync); 14] = [
            &at,
            &me,
            &self.ids,
            &self.subjects,
            &self.nexts,
            &d.events,
            &d.ordinals,
            &d.plugins,
            &keys,
            &d.tags,
            &d.delays,
            &d.leased,
            &self.cancel_events,
            &self.cancel_tags,
        ];
        client.query(statement, &parameters).await
    }

    /// Makes leases of what was leased on insert. Permits of what was not leased are given back.
    pub(super) fn created(
        mut self,
        rows: &[Row],
        (outcomes, now_ms): (&[AppendedAs], i64),
        event: impl Fn(usize, EventId) -> Arc<Event>,
        created: &mut CreatedDeliveries,
    ) {
        for row in rows {
            let plugin: String = row.get(2);
            let due_in: i64 = row.get(3);
            let due_in = Duration::from_millis(due_in.unsigned_abs());
            let what: i16 = row.get(1);
            let Some(n) = row.get::<_, Option<i32>>(0) else {
                created.waiting.push((plugin.into(), due_in));
                continue;
            };
            let at = n.unsigned_abs() as usize - 1;
            let place = self.places[self.deliveries.events[at].unsigned_abs() as usize - 1];
            let AppendedAs::New(id) = outcomes[place] else { continue };
            let name = self.deliveries.names[at];
            let ordinal = self.deliveries.ordinals[at].unsigned_abs();
            match what {
                0 => created.waiting.push((name.clone(), due_in)),
                1 => {
                    let permit = self.deliveries.permits[at].take();
                    let permit = permit.expect("it was leased with a permit");
                    let key = self.deliveries.keys[at].take();
                    created.leases.push(Lease {
                        delivery: DeliveryId { event: id, ordinal },
                        plugin: name.clone(),
                        attempt: 1,
                        uncounted: 0,
                        deaths: 0,
                        due_ms: now_ms,
                        event: event(place, id),
                        terms: LeaseTerms::first(key, self.deliveries.tags[at]),
                        permit,
                        held: None,
                    });
                }
                4 => say_dead(DeliveryId { event: id, ordinal }, name),
                _ => {}
            }
        }
    }
}

/// A dead letter that the store itself has made.
fn say_dead(delivery: DeliveryId, plugin: &PluginName) {
    if let Some(omitted) = LINES.admit(Instant::now()) {
        let reason = "as many deliveries wait behind its key as may";
        tracing::error!(
            delivery.id = %delivery, plugin.name = %plugin, delivery.attempt = 1, reason, omitted,
            "dead letter"
        );
    }
}

/// Gives delayed deliveries of these plugins, which are due, their places within their keys.
pub(super) async fn enter_late(
    client: &Client,
    statement: &Statement,
    shared: &PostgresShared,
    plugins: &[(PluginName, usize)],
) -> Result<Vec<Row>, Error> {
    let names: Vec<&str> = plugins.iter().map(|(name, _)| &**name).collect();
    let mosts: Vec<i32> =
        plugins.iter().map(|(_, most)| i32::try_from(*most).unwrap_or(i32::MAX / 2)).collect();
    client.query(statement, &[&shared.at(), &names, &mosts, &MAX_ENTERED]).await
}
