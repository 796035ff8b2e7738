//! Events that are gathered, on the way into the database, as arrays; and what is leased of it.

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use super::client::{SqlClient as Client, SqlStatement as Statement};
use super::created::CreatedDeliveries;
use super::rows::{millis, read_event};
use super::shared::PostgresShared;
use super::stripes::Stripes;
use crate::event::{
    Counted, DeliveryId, EventId, GatheringKind, MAX_MEMBERS, NewEvent, NewMember, PluginName,
};
use crate::names::is_built_in;
use crate::store::model::LeaseTerms;
use crate::store::{DispatchHandle, Lease, LeasePermit, LeaseQueue};

/// Calls `gather_v1`. The columns from `id` on are those of [`read_event`].
pub(super) const GATHER: &str = "SELECT event AS id, source, type, subject, content_type, time_ms, \
     parent, root, hops, trace, body, ordinal, plugin, attempt, uncounted, deaths, due, next_in, \
     place FROM hookbox.gather_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, \
     $15, $16, $17, $18, $19)";

/// Calls `freeze_v1`.
pub(super) const FREEZE: &str = "SELECT hookbox.freeze_v1($1, $2)";

/// The members of a batch.
#[derive(Default)]
pub(super) struct GatherRows<'c> {
    ids: Vec<i64>,
    numbers: Vec<i32>,
    bases: Vec<i32>,
    plugins: Vec<&'c str>,
    keys: Vec<Vec<u8>>,
    joins: Vec<bool>,
    withins: Vec<i64>,
    quiets: Vec<Option<i64>>,
    wants: Vec<Option<i64>>,
    types: Vec<i64>,
    counts: Vec<i16>,
    texts: Vec<Option<&'c [u8]>>,
    needs: Vec<Option<i64>>,
    seens: Vec<i64>,
    closes: Vec<bool>,
    lends: Vec<bool>,
    permits: Vec<Option<LeasePermit>>,
    events: i32,
}

impl<'c> GatherRows<'c> {
    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Adds what an event is to be a member of. Each may complete what it is gathered into, and
    /// needs a permit then.
    pub(super) fn add(
        &mut self,
        new: &'c NewEvent,
        (id, root): (EventId, Option<EventId>),
        stripes: &mut Stripes,
        dispatch: Option<&Arc<dyn DispatchHandle>>,
    ) {
        if new.members.is_empty() {
            return;
        }
        self.events += 1;
        let base = i32::try_from(new.deliveries.len()).unwrap_or(i32::MAX);
        for member in &new.members {
            let key = member.key.text(root.unwrap_or(id));
            stripes.add_gathering(&member.terms.plugin, &key);
            self.ids.push(id.row());
            self.numbers.push(self.events);
            self.bases.push(base);
            self.keys.push(key.as_bytes().to_vec());
            self.add_member(member);
            // The body is that of the first member, which is not known here.
            let permit = dispatch.and_then(|it| it.permit(&member.terms.plugin, 0));
            self.lends.push(permit.is_some());
            self.permits.push(permit);
        }
    }

    fn add_member(&mut self, member: &'c NewMember) {
        let terms = &member.terms;
        self.plugins.push(&terms.plugin);
        self.joins.push(terms.kind == GatheringKind::Join);
        self.withins.push(millis(terms.within));
        self.quiets.push(terms.quiet.map(millis));
        self.wants.push(terms.need.map(i64::from));
        self.types.push(terms.types.cast_signed());
        let (counts, text) = match &member.counted {
            Counted::Not => (0, None),
            Counted::Event => (1, None),
            Counted::Text(text) => (2, Some(text.as_bytes())),
        };
        self.counts.push(counts);
        self.texts.push(text);
        self.needs.push(member.need.map(i64::from));
        self.seens.push(member.seen.cast_signed());
        self.closes.push(member.closes);
    }

    /// Calls the function, after that of the events.
    pub(super) async fn call(
        &self,
        client: &Client,
        statement: &Statement,
        shared: &PostgresShared,
    ) -> Result<Vec<Row>, Error> {
        let (at, me, most) = (shared.at(), shared.run().incarnation, i64::from(MAX_MEMBERS));
        let parameters: [&(dyn ToSql + Sync); 19] = [
            &at,
            &me,
            &most,
            &self.ids,
            &self.numbers,
            &self.bases,
            &self.plugins,
            &self.keys,
            &self.joins,
            &self.withins,
            &self.quiets,
            &self.wants,
            &self.types,
            &self.counts,
            &self.texts,
            &self.needs,
            &self.seens,
            &self.closes,
            &self.lends,
        ];
        client.query(statement, &parameters).await
    }

    /// Adds to `created` what is due at another time now, and leases of what is complete. Those for
    /// which there is no memory are returned, to be given back.
    pub(super) fn created(
        mut self,
        rows: &[Row],
        dispatch: Option<&Arc<dyn DispatchHandle>>,
        created: &mut CreatedDeliveries,
    ) -> Vec<Lease> {
        let mut refused = Vec::new();
        for row in rows {
            let plugin = PluginName::from(row.get::<_, String>("plugin"));
            if let Some(next_in) = row.get::<_, Option<i64>>("next_in") {
                let due_in = Duration::from_millis(u64::try_from(next_in).unwrap_or(0));
                created.waiting.push((plugin, due_in));
                continue;
            }
            let place = usize::try_from(row.get::<_, i64>("place") - 1).expect("they begin at 1");
            let permit = self.permits[place].take().expect("only what has a permit is leased");
            let event = Arc::new(read_event(row));
            let memory = dispatch.map(|it| it.memory(&plugin, event.attributes.body.len()));
            let is_full = matches!(memory, Some(None));
            let ordinal: i32 = row.get("ordinal");
            let lease = Lease {
                delivery: DeliveryId { event: event.id, ordinal: ordinal.unsigned_abs() },
                plugin,
                attempt: row.get::<_, i32>("attempt").unsigned_abs(),
                uncounted: row.get::<_, i32>("uncounted").unsigned_abs(),
                deaths: row.get::<_, i32>("deaths").unsigned_abs(),
                due_ms: row.get("due"),
                event,
                terms: LeaseTerms::default(),
                permit: LeasePermit { budget: permit.budget, memory: memory.flatten() },
                held: None,
            };
            if is_full { refused.push(lease) } else { created.leases.push(lease) }
        }
        refused
    }
}

/// The host's own plugins that a batch leases from: what it has leased of joins and batches takes
/// no more members.
#[derive(Default)]
pub(super) struct FrozenPlugins<'c>(Vec<&'c str>);

impl<'c> FrozenPlugins<'c> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, queue: &'c LeaseQueue) {
        let plugins = match queue {
            LeaseQueue::Plugin(name) => std::slice::from_ref(name),
            LeaseQueue::Quarantine(names) => names.as_slice(),
        };
        self.0.extend(plugins.iter().map(|name| &**name).filter(|name| is_built_in(name)));
    }

    /// Calls the function, after the leases.
    pub(super) async fn call(
        &self,
        client: &Client,
        statement: &Statement,
        shared: &PostgresShared,
    ) -> Result<Vec<Row>, Error> {
        client.query(statement, &[&shared.run().incarnation, &self.0]).await
    }
}
