//! One batch: a transaction that is sent in one flush.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::{Error, Row};

use super::append::{KeyedRows, NewRows};
use super::calls::{BatchCalls, Told, in_order, simple};
use super::client::{SqlClient as Client, WRITE};
use super::command::{CommandRef, PostgresCommand, left_by};
use super::created::{AppendedAs, CreatedDeliveries};
use super::failures::FailRows;
use super::gather::{FrozenPlugins, GatherRows};
use super::ids::HostIds;
use super::keys::{SettledKeyRows, apart};
use super::kv::KvRows;
use super::lease::lease;
use super::schedules::TickRows;
use super::settle::{SettleRows, due_again, record, recorded, settled};
use super::shared::PostgresShared;
use super::statements::BatchStatements;
use super::stripes::Stripes;
use super::tail::TailLeases;
use super::terms::enter_late;
use super::trees::TreeRows;
use crate::event::{EventId, NewEvent, PluginName};
use crate::store::{
    DispatchHandle, Lease, LeaseHolder, LeaseQueue, NewStep, Recorded, Settled, Settlement,
    TickStep, Ticked,
};

mod again;
mod locks;
mod within;

pub(super) use self::within::append_within;

/// The result of a command whose batch is durable.
pub(super) enum BatchResult {
    Appended(AppendedAs),
    AppendedAll(Vec<AppendedAs>),
    Settled(Settled),
    Recorded(Recorded),
    Ticked(Ticked),
    Leased(Vec<Row>),
}

/// The results of a durable batch.
pub(super) struct BatchResults {
    /// One for each command, in their order.
    pub(super) each: Vec<BatchResult>,
    pub(super) created: CreatedDeliveries,
    /// Leases for which there is no memory, to be given back.
    pub(super) refused: Vec<Lease>,
    /// The ids of the events, in the order of the commands.
    pub(super) ids: Vec<i64>,
}

/// Where the result of a command is.
enum ResultPlace {
    Event(usize),
    Events(Range<usize>),
    Settlement(usize),
    Step(usize),
    Tick(usize),
    Queue(usize),
}

/// The marker by which a batch is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchMarker {
    pub(super) incarnation: i64,
    pub(super) writer: i16,
    pub(super) seq: i64,
    /// The last batch of the writer that was acknowledged, which the server has to have; 0 if that
    /// is not asked.
    pub(super) after: i64,
}

/// The rows that a batch sends.
#[derive(Default)]
pub(super) struct BatchRows<'c> {
    pub(super) events: NewRows<'c>,
    keyed: KeyedRows<'c>,
    pub(super) settlements: SettleRows<'c>,
    settled_keys: SettledKeyRows<'c>,
    trees: TreeRows,
    stripes: Stripes,
    kv: KvRows<'c>,
    members: GatherRows<'c>,
    frozen: FrozenPlugins<'c>,
    failures: FailRows<'c>,
    pub(super) steps: Vec<&'c (LeaseHolder, NewStep)>,
    pub(super) ticks: TickRows<'c>,
    queues: Vec<(&'c LeaseQueue, usize)>,
    /// Plugins whose delayed deliveries are to enter their keys, and how many may be leased.
    late: Vec<(PluginName, usize)>,
    /// The policies that the database is told of plugins.
    policies: Option<String>,
    places: Vec<ResultPlace>,
    /// When deliveries are due again, by the places of their settlements.
    due_again: Vec<(usize, &'c PluginName, Option<Duration>)>,
    /// Gives permits, unless the batch was acknowledged before.
    dispatch: Option<Arc<dyn DispatchHandle>>,
    /// Leases of a batch that was acknowledged before.
    leased_again: Option<&'c TailLeases>,
}

impl<'c> BatchRows<'c> {
    /// No rows yet.
    fn new(shared: &PostgresShared) -> Self {
        Self { dispatch: shared.dispatch.get().cloned(), ..Self::default() }
    }

    /// The rows of these commands.
    pub(super) fn of(commands: &'c [PostgresCommand], shared: &PostgresShared) -> Self {
        let mut rows = Self::new(shared);
        let mut ids = shared.ids();
        for command in commands {
            rows.add(command.into(), &mut ids, shared);
        }
        rows
    }

    /// Runs all as one transaction, or nothing of it.
    pub(super) async fn run(
        &self,
        client: &Client,
        statements: &BatchStatements,
        shared: &PostgresShared,
        marker: BatchMarker,
    ) -> Result<Vec<Vec<Row>>, Error> {
        let answers = in_order(self.calls(client, statements, shared, marker).list).await;
        // The first error is the reason of those that follow, also of a commit that only rolls
        // back.
        answers.into_iter().collect()
    }

    fn add(&mut self, command: CommandRef<'c>, ids: &mut HostIds, shared: &PostgresShared) {
        let place = match command {
            CommandRef::Append(event) => {
                ResultPlace::Event(self.add_event(event, (None, 0), ids, shared))
            }
            CommandRef::AppendAll(events) => {
                let places = events.iter().map(|it| self.add_event(it, (None, 0), ids, shared));
                let places: Vec<_> = places.collect();
                self.events.group_from(places[0]);
                ResultPlace::Events(places[0]..places[0] + places.len())
            }
            CommandRef::Settle { lease, settlement, is_told } => {
                self.add_settlement((lease, settlement), is_told, ids, shared)
            }
            CommandRef::Record(work) => {
                self.steps.push(work);
                ResultPlace::Step(self.steps.len() - 1)
            }
            CommandRef::Tick(tick) => {
                let required = self.ticks.next_number();
                let event = match &tick.step {
                    TickStep::Emit { event, .. } => {
                        Some(self.add_event(event, (None, required), ids, shared))
                    }
                    TickStep::Missed { .. } => None,
                };
                ResultPlace::Tick(self.ticks.add(tick, event))
            }
            CommandRef::Lease { queue, most } => {
                self.queues.push((queue, most));
                if let LeaseQueue::Plugin(plugin) = queue {
                    self.keyed.plugins.add(plugin);
                    self.late.push((plugin.clone(), most));
                }
                self.frozen.add(queue);
                ResultPlace::Queue(self.queues.len() - 1)
            }
        };
        self.places.push(place);
    }

    fn add_settlement(
        &mut self,
        (lease, settlement): (&'c Lease, &'c Settlement),
        is_told: bool,
        ids: &mut HostIds,
        shared: &PostgresShared,
    ) -> ResultPlace {
        let required = self.settlements.add(lease, settlement);
        self.failures.add(required, lease, settlement);
        let root = Some(lease.event.tree());
        self.trees.add(required, lease, settlement);
        let apart = apart(&*shared.policies, lease, settlement);
        self.settled_keys.add(required, lease, apart, settlement, self.dispatch.as_ref());
        self.keyed.plugins.add(&lease.plugin);
        if let Some(key) = &lease.terms.key {
            self.keyed.locked.add(&lease.plugin, key);
        }
        for event in left_by(&settlement.next) {
            self.add_event(event, (root, required), ids, shared);
        }
        if let Some((_, kv)) = settlement.next.results() {
            self.kv.add(required, &lease.plugin, kv, &mut self.stripes);
        }
        let place = usize::try_from(required - 1).expect("places begin at 1");
        // Nobody is told of a lease that the store could not hand out.
        if is_told {
            let due_in = due_again(&settlement.next);
            let due_in = due_in.map(|due_in| due_in.max(apart));
            self.due_again.push((place, &lease.plugin, due_in));
        }
        ResultPlace::Settlement(place)
    }

    fn add_event(
        &mut self,
        event: &'c NewEvent,
        (root, required): (Option<EventId>, i32),
        ids: &mut HostIds,
        shared: &PostgresShared,
    ) -> usize {
        let means = (ids, shared.now_ms(), self.dispatch.as_ref());
        let place = self.events.add(event, (root, required), means, &mut self.keyed);
        let id = self.events.id(place);
        self.members.add(event, (id, root), &mut self.stripes, self.dispatch.as_ref());
        place
    }

    /// Gathers what the database is told of plugins.
    pub(super) async fn know_plugins(
        &mut self,
        client: &Client,
        shared: &PostgresShared,
    ) -> Result<(), Error> {
        self.keyed.locked.name_cancelled(client, &mut self.keyed.plugins).await?;
        self.policies = self.keyed.plugins.policies(&*shared.policies);
        Ok(())
    }

    /// The statements, in the order in which [`BatchRows::results`] reads their answers.
    pub(super) fn calls<'a>(
        &'a self,
        client: &'a Client,
        statements: &'a BatchStatements,
        shared: &'a PostgresShared,
        marker: BatchMarker,
    ) -> BatchCalls<'a> {
        let BatchMarker { incarnation, writer, seq, after } = marker;
        let mark = async move {
            client.query(&statements.mark, &[&incarnation, &writer, &seq, &after]).await
        };
        let mut calls = BatchCalls::default();
        calls.push(Box::pin(async move { client.begin(WRITE).await.map(|()| Vec::new()) }));
        calls.push(Box::pin(mark));
        self.locking_calls(&mut calls, client, statements, shared);
        if !self.settlements.is_empty() {
            let call = self.settlements.call(client, &statements.settle, shared);
            calls.tell(Told::Settled, Box::pin(call));
        }
        if self.opens_late() {
            let keys = &self.settled_keys;
            calls.push(Box::pin(keys.call(client, &statements.settled_keys, shared, false)));
        }
        for (place, step) in self.steps.iter().enumerate() {
            let call = record(client, &statements.record, shared, step);
            calls.tell(Told::Recorded(place), Box::pin(call));
        }
        for place in self.ticks.in_order() {
            let ids = self.events.ids();
            let call = self.ticks.call(place, client, &statements.tick, ids);
            calls.tell(Told::Ticked(place), Box::pin(call));
        }
        if !self.events.is_empty() {
            let call = self.events.call(client, &statements.append, shared);
            calls.tell(Told::Appended, Box::pin(call));
        }
        if !self.keyed.terms.is_empty() {
            calls.push(Box::pin(self.keyed.terms.call(client, &statements.terms, shared)));
        }
        if !self.settled_keys.is_empty() {
            let keys = &self.settled_keys;
            calls.push(Box::pin(keys.call(client, &statements.settled_keys, shared, true)));
        }
        if !self.members.is_empty() {
            calls.push(Box::pin(self.members.call(client, &statements.gather, shared)));
        }
        if !self.failures.is_empty() {
            calls.push(Box::pin(self.failures.call(client, &statements.fail, shared)));
        }
        self.leasing_calls(&mut calls, client, statements, shared);
        calls.push(simple(client, "COMMIT"));
        calls
    }

    /// Whether events of the batch may cancel what settlements of it would open, or enter keys that
    /// wait for them.
    fn opens_late(&self) -> bool {
        !self.settled_keys.is_empty() && !self.keyed.terms.is_empty()
    }

    /// Those that lease.
    fn leasing_calls<'a>(
        &'a self,
        calls: &mut BatchCalls<'a>,
        client: &'a Client,
        statements: &'a BatchStatements,
        shared: &'a PostgresShared,
    ) {
        if !self.late.is_empty() {
            calls.push(Box::pin(enter_late(client, &statements.enter_late, shared, &self.late)));
        }
        for (queue, most) in &self.queues {
            let call = lease(client, &statements.lease, shared, queue, *most);
            calls.tell(Told::Leased, Box::pin(call));
        }
        if !self.frozen.is_empty() {
            calls.push(Box::pin(self.frozen.call(client, &statements.freeze, shared)));
        }
        if let Some(leases) = self.leased_again.filter(|it| !it.is_empty()) {
            let me = shared.run().incarnation;
            calls.push(Box::pin(leases.call(client, &statements.lease_again, me)));
        }
    }

    /// The results of commands whose batch is durable.
    pub(super) fn results(
        mut self,
        answers: Vec<Vec<Row>>,
        shared: &PostgresShared,
    ) -> BatchResults {
        let mut answers = answers.into_iter().skip(2);
        let mut answer_if = |sent: bool| {
            if sent { answers.next().expect("each call has an answer") } else { Vec::new() }
        };
        let (now_ms, lender) = (shared.now_ms(), self.dispatch.take());
        let (dispatch, ids) = (lender.as_ref(), self.events.ids().to_vec());
        answer_if(self.policies.is_some());
        answer_if(!self.keyed.locked.is_empty());
        answer_if(!self.trees.is_empty());
        answer_if(!self.stripes.is_empty());
        answer_if(!self.kv.is_empty());
        let settled = settled(&answer_if(!self.settlements.is_empty()));
        answer_if(self.opens_late());
        let recorded: Vec<_> = self.steps.iter().map(|_| recorded(&answer_if(true))).collect();
        let order = self.ticks.in_order();
        let mut codes = vec![0; order.len()];
        for place in order {
            codes[place] = answer_if(true)[0].get(0);
        }
        let appended = self.events.outcomes(&answer_if(!self.events.is_empty()));
        let terms = answer_if(!self.keyed.terms.is_empty());
        let opened = answer_if(!self.settled_keys.is_empty());
        let gathered = answer_if(!self.members.is_empty());
        let ticked = self.ticks.results(&codes, &appended);
        answer_if(!self.failures.is_empty());
        let late = answer_if(!self.late.is_empty());
        let mut leased: Vec<_> = self.queues.iter().map(|_| answer_if(true)).collect();
        let mut created = CreatedDeliveries::default();
        self.settled_keys.opened(&opened, dispatch, &mut created);
        let event = |place, id| self.events.event(place, id);
        self.keyed.terms.created(&terms, (&appended, now_ms), event, &mut created);
        self.events.created(&appended, now_ms, &mut created);
        created.waiting.extend(late.iter().map(due_elsewhere));
        let mut refused = self.members.created(&gathered, dispatch, &mut created);
        refused.append(&mut created.refused);
        for (at, plugin, due_in) in self.due_again {
            let due_in = match settled[at] {
                Settled::Kept => due_in,
                Settled::Conflict => Some(Duration::ZERO),
                _ => None,
            };
            created.waiting.extend(due_in.map(|due_in| (plugin.clone(), due_in)));
        }
        let each = self.places.into_iter().map(|place| match place {
            ResultPlace::Event(at) => BatchResult::Appended(appended[at]),
            ResultPlace::Events(places) => BatchResult::AppendedAll(appended[places].to_vec()),
            ResultPlace::Settlement(at) => BatchResult::Settled(settled[at]),
            ResultPlace::Step(at) => BatchResult::Recorded(recorded[at]),
            ResultPlace::Tick(at) => BatchResult::Ticked(ticked[at]),
            ResultPlace::Queue(at) => BatchResult::Leased(std::mem::take(&mut leased[at])),
        });
        BatchResults { each: each.collect(), created, refused, ids }
    }
}

/// A plugin that has something due, in this time.
fn due_elsewhere(row: &Row) -> (PluginName, Duration) {
    let due_in: i64 = row.get(1);
    (row.get::<_, String>(0).into(), Duration::from_millis(due_in.unsigned_abs()))
}
