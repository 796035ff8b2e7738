//! One batch: a transaction that is sent in one flush.

use std::future::{Future, poll_fn};
use std::ops::Range;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio_postgres::{Client, Error, Row, Statement};

use super::append::{APPEND, KeyedRows, NewRows};
use super::command::PostgresCommand;
use super::created::{AppendedAs, CreatedDeliveries};
use super::ids::HostIds;
use super::keys::{LOCK_KEYS, POLICIES, SETTLED_KEYS, SettledKeyRows, apart};
use super::lease::{LEASE, lease};
use super::settle::{RECORD, SETTLE, SettleRows, record, settled};
use super::shared::PostgresShared;
use super::terms::{ENTER_LATE, TERMS, enter_late};
use super::trees::{CHECK_TREES, TreeRows};
use crate::event::{EventId, NewEvent, PluginName};
use crate::store::{LeaseHolder, LeaseQueue, NewStep, Next, Recorded, Settled};

/// The marker of a batch, which comes first.
const MARK: &str = "INSERT INTO hookbox.commits (incarnation, seq) VALUES ($1, $2)";

/// The statements of a batch, prepared.
pub(super) struct BatchStatements {
    mark: Statement,
    append: Statement,
    settle: Statement,
    record: Statement,
    lease: Statement,
    policies: Statement,
    lock_keys: Statement,
    settled_keys: Statement,
    terms: Statement,
    enter_late: Statement,
    check_trees: Statement,
}

impl BatchStatements {
    pub(super) async fn prepare(client: &Client) -> Result<Self, Error> {
        Ok(Self {
            mark: client.prepare(MARK).await?,
            append: client.prepare(APPEND).await?,
            settle: client.prepare(SETTLE).await?,
            record: client.prepare(RECORD).await?,
            lease: client.prepare(LEASE).await?,
            policies: client.prepare(POLICIES).await?,
            lock_keys: client.prepare(LOCK_KEYS).await?,
            settled_keys: client.prepare(SETTLED_KEYS).await?,
            terms: client.prepare(TERMS).await?,
            enter_late: client.prepare(ENTER_LATE).await?,
            check_trees: client.prepare(CHECK_TREES).await?,
        })
    }
}

/// The result of a command whose batch is durable.
pub(super) enum BatchResult {
    Appended(AppendedAs),
    AppendedAll(Vec<AppendedAs>),
    Settled(Settled),
    Recorded(Recorded),
    Leased(Vec<Row>),
}

/// The results of a durable batch.
pub(super) struct BatchResults {
    /// One for each command, in their order.
    pub(super) each: Vec<BatchResult>,
    pub(super) created: CreatedDeliveries,
}

/// Where the result of a command is.
enum ResultPlace {
    Event(usize),
    Events(Range<usize>),
    Settlement(usize),
    Step(usize),
    Queue(usize),
}

/// What a batch sends.
#[derive(Default)]
struct BatchRows<'c> {
    events: NewRows<'c>,
    keyed: KeyedRows<'c>,
    settlements: SettleRows<'c>,
    settled_keys: SettledKeyRows<'c>,
    trees: TreeRows,
    steps: Vec<&'c (LeaseHolder, NewStep)>,
    queues: Vec<(&'c LeaseQueue, usize)>,
    /// Plugins whose delayed deliveries are to enter their keys, and how many may be leased.
    late: Vec<(PluginName, usize)>,
    /// What the database is told of plugins.
    policies: Option<String>,
    places: Vec<ResultPlace>,
    /// Deliveries that are due again, by the places of their settlements.
    due_again: Vec<(usize, PluginName, Duration)>,
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<Vec<Row>, Error>> + Send + 'a>>;

/// Runs the commands as one transaction, or none of them.
pub(super) async fn run(
    commands: &[PostgresCommand],
    client: &Client,
    statements: &BatchStatements,
    shared: &PostgresShared,
    seq: i64,
) -> Result<BatchResults, Error> {
    let mut rows = BatchRows::default();
    rows.add_all(commands, shared);
    rows.keyed.locked.name_cancelled(client, &mut rows.keyed.plugins).await?;
    rows.policies = rows.keyed.plugins.policies(&*shared.policies);
    let answers = in_order(rows.calls(client, statements, shared, seq)).await;
    // The first error is the reason of those that follow, also of a commit that only rolls back.
    let answers = answers.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(rows.results(answers, shared))
}

impl<'c> BatchRows<'c> {
    fn add_all(&mut self, commands: &'c [PostgresCommand], shared: &PostgresShared) {
        let mut ids = shared.ids();
        for command in commands {
            self.add(command, &mut ids, shared);
        }
    }

    fn add(&mut self, command: &'c PostgresCommand, ids: &mut HostIds, shared: &PostgresShared) {
        let place = match command {
            PostgresCommand::Append { event, .. } => {
                ResultPlace::Event(self.append(event, (None, 0), ids, shared))
            }
            PostgresCommand::AppendAll { events, .. } => {
                let places = events.iter().map(|it| self.append(it, (None, 0), ids, shared));
                let places: Vec<_> = places.collect();
                self.events.group_from(places[0]);
                ResultPlace::Events(places[0]..places[0] + places.len())
            }
            PostgresCommand::Settle { lease, settlement, reply } => {
                let gate = self.settlements.add(lease, settlement);
                let root = Some(lease.event.tree());
                self.trees.add(gate, lease, settlement);
                let apart = apart(&*shared.policies, lease, settlement);
                self.settled_keys.add(gate, lease, apart, settlement, shared.dispatch.get());
                self.keyed.plugins.add(&lease.plugin);
                if let Some(key) = &lease.terms.key {
                    self.keyed.locked.add(&lease.plugin, key);
                }
                for event in left_by(&settlement.next) {
                    self.append(event, (root, gate), ids, shared);
                }
                let place = usize::try_from(gate - 1).expect("places begin at 1");
                // Nobody is told of a lease that the store could not hand out.
                if let Some(due_in) = due_again(&settlement.next).filter(|_| reply.is_some()) {
                    self.due_again.push((place, lease.plugin.clone(), due_in.max(apart)));
                }
                ResultPlace::Settlement(place)
            }
            PostgresCommand::Record { work, .. } => {
                self.steps.push(work);
                ResultPlace::Step(self.steps.len() - 1)
            }
            PostgresCommand::Lease { queue, permits, .. } => {
                self.queues.push((queue, permits.num_permits()));
                if let LeaseQueue::Plugin(plugin) = queue {
                    self.keyed.plugins.add(plugin);
                    self.late.push((plugin.clone(), permits.num_permits()));
                }
                ResultPlace::Queue(self.queues.len() - 1)
            }
            PostgresCommand::Close { .. } => unreachable!("the writer closes by itself"),
        };
        self.places.push(place);
    }

    fn append(
        &mut self,
        event: &'c NewEvent,
        (root, gate): (Option<EventId>, i32),
        ids: &mut HostIds,
        shared: &PostgresShared,
    ) -> usize {
        self.events.add(event, (root, gate), (ids, shared), &mut self.keyed)
    }

    /// The statements, in the order in which [`BatchRows::results`] reads their answers.
    fn calls<'a>(
        &'a self,
        client: &'a Client,
        statements: &'a BatchStatements,
        shared: &'a PostgresShared,
        seq: i64,
    ) -> Vec<Answer<'a>> {
        let mark =
            async move { client.query(&statements.mark, &[&shared.run.incarnation, &seq]).await };
        let mut calls: Vec<Answer<'_>> = vec![simple(client, "BEGIN"), Box::pin(mark)];
        if let Some(policies) = &self.policies {
            calls.push(Box::pin(
                async move { client.query(&statements.policies, &[policies]).await },
            ));
        }
        if !self.keyed.locked.is_empty() {
            calls.push(Box::pin(self.keyed.locked.call(client, &statements.lock_keys)));
        }
        if !self.trees.is_empty() {
            calls.push(Box::pin(self.trees.call(client, &statements.check_trees, shared)));
        }
        if !self.settlements.is_empty() {
            calls.push(Box::pin(self.settlements.call(client, &statements.settle, shared)));
        }
        if !self.settled_keys.is_empty() {
            calls.push(Box::pin(self.settled_keys.call(client, &statements.settled_keys, shared)));
        }
        for step in &self.steps {
            calls.push(Box::pin(record(client, &statements.record, shared, step)));
        }
        if !self.events.is_empty() {
            calls.push(Box::pin(self.events.call(client, &statements.append, shared)));
        }
        if !self.keyed.terms.is_empty() {
            calls.push(Box::pin(self.keyed.terms.call(client, &statements.terms, shared)));
        }
        if !self.late.is_empty() {
            calls.push(Box::pin(enter_late(client, &statements.enter_late, shared, &self.late)));
        }
        for (queue, most) in &self.queues {
            calls.push(Box::pin(lease(client, &statements.lease, shared, queue, *most)));
        }
        calls.push(simple(client, "COMMIT"));
        calls
    }

    fn results(self, answers: Vec<Vec<Row>>, shared: &PostgresShared) -> BatchResults {
        let mut answers = answers.into_iter().skip(2);
        let mut answer_if = |sent: bool| {
            if sent { answers.next().expect("each call has an answer") } else { Vec::new() }
        };
        let (now_ms, dispatch) = (shared.now_ms(), shared.dispatch.get());
        answer_if(self.policies.is_some());
        answer_if(!self.keyed.locked.is_empty());
        answer_if(!self.trees.is_empty());
        let settled = settled(&answer_if(!self.settlements.is_empty()));
        let opened = answer_if(!self.settled_keys.is_empty());
        let mut recorded = Vec::new();
        for _ in &self.steps {
            let kept = answer_if(true).first().is_some_and(|row| row.get(0));
            recorded.push(if kept { Recorded::Kept } else { Recorded::Lost });
        }
        let appended = self.events.outcomes(&answer_if(!self.events.is_empty()));
        let terms = answer_if(!self.keyed.terms.is_empty());
        let late = answer_if(!self.late.is_empty());
        let mut leased: Vec<_> = self.queues.iter().map(|_| answer_if(true)).collect();
        let mut created = CreatedDeliveries::default();
        self.settled_keys.opened(&opened, dispatch, &mut created);
        let event = |place, id| self.events.event(place, id);
        self.keyed.terms.created(&terms, (&appended, now_ms), event, &mut created);
        self.events.created(&appended, now_ms, &mut created);
        created.waiting.extend(late.iter().map(due_elsewhere));
        let kept = self.due_again.into_iter().filter(|(at, ..)| settled[*at] == Settled::Kept);
        created.waiting.extend(kept.map(|(_, plugin, due_in)| (plugin, due_in)));
        let each = self.places.into_iter().map(|place| match place {
            ResultPlace::Event(at) => BatchResult::Appended(appended[at]),
            ResultPlace::Events(places) => BatchResult::AppendedAll(appended[places].to_vec()),
            ResultPlace::Settlement(at) => BatchResult::Settled(settled[at]),
            ResultPlace::Step(at) => BatchResult::Recorded(recorded[at]),
            ResultPlace::Queue(at) => BatchResult::Leased(std::mem::take(&mut leased[at])),
        });
        BatchResults { each: each.collect(), created }
    }
}

/// A plugin that has something due, in this time.
fn due_elsewhere(row: &Row) -> (PluginName, Duration) {
    let due_in: i64 = row.get(1);
    (row.get::<_, String>(0).into(), Duration::from_millis(due_in.unsigned_abs()))
}

/// The events that a settlement leaves.
fn left_by(next: &Next) -> impl Iterator<Item = &NewEvent> {
    let notice = match next {
        Next::Dead(notice) => notice.as_deref(),
        _ => None,
    };
    let emitted = next.results().map_or(&[][..], |(emitted, _)| emitted);
    emitted.iter().chain(notice)
}

/// The time until a delivery is due again.
fn due_again(next: &Next) -> Option<Duration> {
    match next {
        Next::Again { after, .. } | Next::RetryIn(after) | Next::GiveBack(after) => Some(*after),
        Next::Done { .. } | Next::Dead(_) => None,
    }
}

fn simple<'a>(client: &'a Client, sql: &'static str) -> Answer<'a> {
    Box::pin(async move { client.batch_execute(sql).await.map(|()| Vec::new()) })
}

/// Sends all calls in their order before it waits for the first answer, and returns the answers in
/// that order.
async fn in_order(mut calls: Vec<Answer<'_>>) -> Vec<Result<Vec<Row>, Error>> {
    let mut answers: Vec<Option<_>> = calls.iter().map(|_| None).collect();
    poll_fn(|cx| {
        let mut waits = false;
        for (call, answer) in calls.iter_mut().zip(&mut answers) {
            if answer.is_none() {
                match call.as_mut().poll(cx) {
                    Poll::Ready(rows) => *answer = Some(rows),
                    Poll::Pending => waits = true,
                }
            }
        }
        if waits { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    answers.into_iter().flatten().collect()
}
