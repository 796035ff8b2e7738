//! Answers that are lost of batches with keys, values, joins and ticks: the marker says of each
//! whether it was committed, and everything in it happens once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};

use super::faults::{LONG, done, numbered};
use super::listening::{NEVER, ToldDispatch};
use super::proxy::{Cut, Proxy};
use super::*;
use crate::env;
use crate::event::{
    Counted, EventId, GatheringKind, GatheringTerms, Key, KeyPolicy, KeySource, NewDelivery,
    NewEvent, NewMember, State, Target,
};
use crate::store::{
    Appended, Count, Health, KvTransaction, Lease, LeaseQueue, Next, Queue, Read, ScheduleChange,
    ScheduleMark, Schedules, Settled, Settlement, SkipReason, StoreError, Tick, TickStep, Ticked,
};

/// The times of the schedules, as a number.
const SPEC: i64 = 7;

/// A host from which any answer may be cut off.
struct CutHost {
    store: Postgres,
    proxy: Proxy,
    /// The leases that came otherwise than by a call, if the host has a dispatcher.
    delivered: Option<mpsc::UnboundedReceiver<Lease>>,
    /// The cuts of each kind of batch.
    cuts: BTreeMap<&'static str, u64>,
    /// Events that were appended.
    appended: u64,
    /// Settlements that were kept and counted.
    counted: i64,
    _case: OnePostgres,
}

impl CutHost {
    /// Opens one. With a dispatcher, there is a permit to lease whatever can be.
    async fn open(has_dispatcher: bool) -> Option<Self> {
        let case = one_postgres()?;
        case.policies.set("lane", KeyPolicy::of(KeySource::Subject));
        let database = case.database().await;
        let proxy = Proxy::before(database.port).await;
        let options = PostgresOptions {
            url: proxy.url(&database.name).into(),
            orphans_every: NEVER,
            ..case.options().await
        };
        let store = Postgres::open(options).await.unwrap();
        let delivered = has_dispatcher.then(|| ToldDispatch::attach(&store, 100).1);
        let (cuts, appended, counted) = (BTreeMap::new(), 0, 0);
        Some(Self { store, proxy, delivered, cuts, appended, counted, _case: case })
    }

    /// The connections that were to be cut.
    fn all_cuts(&self) -> u64 {
        self.cuts.values().sum()
    }

    /// Cuts the batch off that comes next: its COMMIT, or the answer to it.
    fn cut(&mut self, kind: &'static str) {
        assert_eq!(self.proxy.cuts() as u64, self.all_cuts(), "not cut before {kind}");
        let so_far = self.cuts.entry(kind).or_default();
        let cut = if so_far.is_multiple_of(2) { Cut::AfterCommit } else { Cut::BeforeCommit };
        *so_far += 1;
        self.proxy.cut_next(cut);
    }

    /// The same event with a dedupe key of its own.
    fn known(&mut self, event: NewEvent) -> NewEvent {
        self.appended += 1;
        NewEvent { dedupe: numbered(self.appended).dedupe, ..event }
    }

    /// Appends an event that is known by a key.
    async fn append(&mut self, event: NewEvent) -> EventId {
        let event = self.known(event);
        let answer = self.store.append(event.clone()).await;
        self.until_acknowledged(answer, event).await
    }

    /// Goes on as senders do: what was not acknowledged is sent again.
    async fn until_acknowledged(
        &self,
        mut answer: Result<Appended, StoreError>,
        event: NewEvent,
    ) -> EventId {
        loop {
            match answer {
                Err(StoreError::Unreachable(_)) => tokio::task::yield_now().await,
                appended => return appended.unwrap().id,
            }
            answer = self.store.append(event.clone()).await;
        }
    }

    /// Takes a delivery that is due or was leased by itself, for the first time.
    async fn take(&mut self, kind: &'static str, plugin: &str) -> Lease {
        let delivered = self.delivered.as_mut().and_then(|leases| leases.try_recv().ok());
        let lease = match delivered {
            Some(lease) => lease,
            None => {
                self.cut(kind);
                self.lease(plugin).await
            }
        };
        assert_eq!((&*lease.plugin, lease.attempt), (plugin, 1), "no attempt was spent");
        lease
    }

    /// Leases a delivery. Leases of a lost answer are due again.
    async fn lease(&self, plugin: &str) -> Lease {
        loop {
            let permits = Arc::new(Semaphore::new(1)).try_acquire_many_owned(1).unwrap();
            let queue = LeaseQueue::Plugin(plugin.into());
            if let Some(lease) = self.store.lease(queue, permits).await.unwrap().leases.pop() {
                return lease;
            }
        }
    }

    /// Settles a delivery with these operations on values.
    async fn settle(&mut self, lease: Lease, emitted: Vec<NewEvent>, kv: KvTransaction) -> Settled {
        let next = Next::Done { emitted, kv };
        self.store.settle(lease, Settlement { next, record: None }).await.unwrap()
    }

    /// Adds one to a number that each settlement with it changes, and to one that it has read.
    async fn counting(&mut self, plugin: &str) -> KvTransaction {
        self.counted += 1;
        let seen = self.store.kv_get(plugin.into(), "read".to_owned()).await.unwrap();
        let sum = seen.as_ref().map_or(0, |seen| number(&seen.value)) + 1;
        KvTransaction {
            reads: vec![("read".to_owned(), seen.map(|seen| seen.version))],
            writes: vec![("read".to_owned(), Some(sum.to_le_bytes().to_vec()))],
            adds: vec![("added".to_owned(), 1)],
            ..KvTransaction::default()
        }
    }

    /// Every number is exact, nothing is leased or left, and the cuts are told.
    async fn finish(&self, plugin: &str, events: u64, deliveries: u64) {
        assert_eq!(self.proxy.cuts() as u64, self.all_cuts());
        assert_eq!(self.proxy.cancels(), 0, "a cancelled commit might be visible and lost");
        for key in ["read", "added"] {
            let found = self.store.kv_get(plugin.into(), key.to_owned()).await.unwrap();
            let found = found.map_or(0, |found| number(&found.value));
            assert_eq!(found, self.counted, "{key}");
        }
        let stats = self.store.stats().await.unwrap();
        let open = [State::Leased, State::Ready, State::Waiting].map(|it| stats.deliveries(it));
        assert_eq!((stats.events, stats.deliveries(State::Done)), (events, deliveries));
        assert_eq!(open, [0; 3], "nothing is held or left");
        println!("{} cuts: {:?}", self.all_cuts(), self.cuts);
        self.store.close().await.unwrap();
    }
}

fn number(value: &[u8]) -> i64 {
    i64::from_le_bytes(value.try_into().unwrap())
}

/// How often each case repeats itself.
fn rounds() -> u64 {
    if env::var(LONG).is_some() { 50 } else { 2 }
}

fn in_lane(lane: u64) -> NewEvent {
    let key = Some(Key::Text(lane.to_string().into()));
    let deliveries = vec![NewDelivery { target: Target::to("lane"), key }];
    NewEvent { deliveries, ..without_deliveries() }
}

fn without_deliveries() -> NewEvent {
    NewEvent { dedupe: Vec::new(), deliveries: Vec::new(), ..numbered(0) }
}

/// Two deliveries of a lane: both come, the second waits behind, and both are settled, each by a
/// batch that is cut off.
async fn work_in_lane(host: &mut CutHost, lane: u64) {
    host.cut("an append with a key");
    let first = host.append(in_lane(lane)).await;
    host.cut("an append behind a key");
    let second = host.append(in_lane(lane)).await;
    let held = host.take("a lease of a key", "lane").await;
    assert_eq!(held.delivery.event, first);
    let kv = host.counting("lane").await;
    host.cut("a settlement that opens the next of a key");
    assert_eq!(host.settle(held, Vec::new(), kv).await, Settled::Kept);
    let held = host.take("a lease of the next of a key", "lane").await;
    assert_eq!(held.delivery.event, second);
    let kv = host.counting("lane").await;
    host.cut("a settlement with values and an event");
    assert_eq!(host.settle(held, vec![without_deliveries()], kv).await, Settled::Kept);
}

#[tokio::test]
async fn of_batches_with_keys_and_values_that_are_cut_off_each_happens_once_and_in_order() {
    for has_dispatcher in [false, true] {
        let Some(mut host) = CutHost::open(has_dispatcher).await else { return };
        for lane in 0..rounds() {
            work_in_lane(&mut host, lane).await;
        }
        host.finish("lane", 3 * rounds(), 2 * rounds()).await;
    }
}

#[tokio::test]
async fn a_settlement_whose_values_changed_is_told_so_although_its_answer_was_cut_off() {
    let Some(mut host) = CutHost::open(false).await else { return };
    for _ in 0..rounds() {
        host.append(numbered(0)).await;
        let stale = KvTransaction {
            reads: vec![("read".to_owned(), Some(i64::MAX))],
            adds: vec![("added".to_owned(), 1)],
            ..KvTransaction::default()
        };
        let held = host.lease("audit").await;
        host.cut("a settlement whose values have changed");
        assert_eq!(host.settle(held, Vec::new(), stale).await, Settled::Conflict);
        let again = host.take("a lease after a conflict", "audit").await;
        let kv = host.counting("audit").await;
        host.cut("a settlement with values");
        assert_eq!(host.settle(again, Vec::new(), kv).await, Settled::Kept);
    }
    host.finish("audit", rounds(), rounds()).await;
}

fn member(key: u64) -> NewEvent {
    let terms = Arc::new(GatheringTerms {
        plugin: "joins/pair".into(),
        kind: GatheringKind::Join,
        within: Duration::from_secs(3_600),
        quiet: None,
        need: Some(2),
        types: 0,
    });
    let (key, counted) = (Key::Text(key.to_string().into()), Counted::Event);
    let member = NewMember { terms, key, counted, need: None, seen: 0, closes: false };
    NewEvent { members: vec![member], ..without_deliveries() }
}

#[tokio::test]
async fn a_join_whose_members_and_end_are_cut_off_ends_once_with_both() {
    for has_dispatcher in [false, true] {
        let Some(mut host) = CutHost::open(has_dispatcher).await else { return };
        for key in 0..rounds() {
            host.cut("the first member of a join");
            let first = host.append(member(key)).await;
            host.cut("the last member of a join");
            let last = host.append(member(key)).await;
            let held = host.take("a lease of a join", "joins/pair").await;
            let view = host.store.gathering(held.delivery).await.unwrap().unwrap();
            let members: Vec<_> = view.members.iter().map(|member| member.id).collect();
            assert_eq!((members, view.complete), (vec![first, last], true));
            host.cut("the end of a join");
            let settled = host.store.settle(held, done()).await;
            assert_eq!(settled.unwrap(), Settled::Kept);
        }
        host.finish("joins/pair", 2 * rounds(), rounds()).await;
    }
}

fn tick(name: &str, from_ms: i64, step: TickStep) -> Tick {
    Tick { name: name.into(), spec: SPEC, from_ms, next_ms: from_ms + 10, step }
}

fn emit(event: NewEvent) -> TickStep {
    TickStep::Emit { event: Box::new(event), skips_overlap: false }
}

async fn begin(store: &Postgres, names: &[&str]) {
    for name in names {
        let to = ScheduleMark { spec: SPEC, next_ms: 0, active: true };
        let change = ScheduleChange::Begin { name: (*name).into(), from: None, to };
        assert!(store.change_schedule(change).await.unwrap());
    }
}

#[tokio::test]
async fn of_ticks_whose_batch_is_cut_off_each_comes_once_and_says_what_became_of_it() {
    let Some(mut host) = CutHost::open(false).await else { return };
    begin(&host.store, &["comes", "missed", "other"]).await;
    let mut came = BTreeSet::new();
    for round in 0..rounds() {
        let from_ms = 10 * i64::try_from(round).unwrap();
        let missed = TickStep::Missed { last_ms: from_ms, ticks: 1 };
        host.cut("a batch with ticks");
        // All are sent before the first is answered.
        let calls = [
            tick("comes", from_ms, emit(without_deliveries())),
            tick("missed", from_ms, missed),
            tick("other", from_ms + 5, emit(without_deliveries())),
        ]
        .map(|tick| host.store.tick(tick));
        let mut answers = Vec::new();
        for call in calls {
            answers.push(call.await.unwrap());
        }
        let Ticked::Emitted(id) = answers[0] else { panic!("{answers:?}") };
        assert!(came.insert(id), "two ticks have one event");
        assert_eq!(answers[1..], [Ticked::Skipped(SkipReason::Missed), Ticked::Lost]);
    }
    let records = host.store.skipped_ticks("missed".into()).await.unwrap();
    assert_eq!(records.iter().map(|record| record.ticks).sum::<u64>(), rounds());
    let next = 10 * i64::try_from(rounds()).unwrap();
    let rows = host.store.schedules().await.unwrap();
    assert_eq!(rows.iter().map(|row| row.mark.next_ms).collect::<Vec<_>>(), [next, next, 0]);
    host.finish("lane", rounds(), 0).await;
}

#[tokio::test]
async fn a_batch_of_everything_that_is_cut_off_happens_once_as_a_whole() {
    let Some(mut host) = CutHost::open(false).await else { return };
    begin(&host.store, &["keyed"]).await;
    for round in 0..rounds() {
        host.append(in_lane(round)).await;
        host.append(member(round)).await;
        let held = host.lease("lane").await;
        let kv = host.counting("lane").await;
        let settlement = Settlement { next: Next::Done { emitted: Vec::new(), kv }, record: None };
        let from_ms = 10 * i64::try_from(round).unwrap();
        let new = [in_lane(round), member(round)].map(|event| host.known(event));
        host.cut("a batch of everything");
        // All are sent before the first is answered, to the same writer.
        let ticked = host.store.tick(tick("keyed", from_ms, emit(in_lane(round))));
        let settled = host.store.settle(held, settlement);
        let [in_lane, last] = new;
        let (keyed, joined) = (host.store.append(in_lane.clone()), host.store.append(last.clone()));
        let (ticked, settled, keyed, joined) = tokio::join!(ticked, settled, keyed, joined);
        assert_eq!(settled.unwrap(), Settled::Kept);
        let Ticked::Emitted(ticked) = ticked.unwrap() else { panic!("it is the next one") };
        let keyed = host.until_acknowledged(keyed, in_lane).await;
        let joined = host.until_acknowledged(joined, last).await;
        let mut all = BTreeSet::from([keyed, joined, ticked]);
        assert_eq!(all.len(), 3);
        for plugin in ["lane", "lane", "joins/pair"] {
            let held = host.take("a lease after a batch of everything", plugin).await;
            all.remove(&held.delivery.event);
            host.cut("a settlement after a batch of everything");
            let settled = host.store.settle(held, done()).await;
            assert_eq!(settled.unwrap(), Settled::Kept);
        }
        assert_eq!(all, BTreeSet::from([joined]), "the join is of its first member");
    }
    host.finish("lane", 5 * rounds(), 4 * rounds()).await;
}
