//! Erasures beside what makes deliveries and copies of old events; and the order in which they
//! lock: keys, deliveries, events, the oldest first.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::Client;

use super::hosts::{another, event, lease};
use super::key_locks::{PATIENCE, deadlocks, of_subject, planned};
use super::*;
use crate::event::{DeliveryId, EditedFrom, EventId, NewEvent, State, Target};
use crate::store::{
    Action, Actor, AuditNote, Erased, Erasure, Keep, KvTransaction, Next, Operate, Operations,
    Queue, ReadOne, Settled, Settlement, Via, Which,
};
use crate::tasks;

/// A statement that locks events.
const EVENTS: &str = "%FROM hookbox.events e WHERE e.id = ANY%FOR UPDATE";

/// A statement that locks settled deliveries.
const SETTLED: &str = "%FROM hookbox.settled%FOR UPDATE";

const JO: &str = "jo";

/// Two hosts, and two connections that lock what the hosts are to wait for.
struct LockedHosts {
    stores: [Arc<Postgres>; 2],
    admin: Client,
    asking: Client,
    _folder: TempDir,
}

impl LockedHosts {
    async fn open(case: &OnePostgres) -> Self {
        let store = Arc::new(case.open_postgres().await);
        let (other, folder) = another(case).await;
        let (admin, asking) =
            (case.database().await.admin().await, case.database().await.admin().await);
        Self { stores: [store, Arc::new(other)], admin, asking, _folder: folder }
    }

    /// A new event about Jo.
    async fn append(&self) -> EventId {
        self.stores[0].append(of_subject(JO, false)).await.unwrap().id
    }

    /// Locks something until [`LockedHosts::unlock`].
    async fn lock(&self, sql: &str) {
        self.admin.batch_execute(&format!("BEGIN; {sql}")).await.unwrap();
    }

    async fn unlock(&self) {
        self.admin.batch_execute("COMMIT").await.unwrap();
    }

    /// Begins a call. When this returns, it waits for a lock with a statement like this one, or it
    /// has ended.
    async fn up_to<T: Send + 'static>(
        &self,
        call: impl Future<Output = T> + Send + 'static,
        statement: &str,
    ) -> JoinHandle<T> {
        let call = tasks::spawn(call);
        self.until_waits(&call, statement).await;
        call
    }

    /// Returns once a call waits for a lock with a statement like this one, or has ended.
    async fn until_waits<T>(&self, call: &JoinHandle<T>, statement: &str) {
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
            AND wait_event_type = 'Lock' AND query LIKE $1";
        let waits =
            async { while !call.is_finished() && self.count(waits, &statement).await == 0 {} };
        tokio::time::timeout(PATIENCE, waits).await.expect("it waits or ends");
    }

    /// Begins an erasure at the second host.
    async fn erase_up_to(&self, statement: &str) -> JoinHandle<Erased> {
        let eraser = Arc::clone(&self.stores[1]);
        let erase = async move {
            eraser.erase(None, Erasure::Subject(JO.to_owned()), false).await.unwrap()
        };
        self.up_to(erase, statement).await
    }

    /// Begins sweeps at the first host, until this event is deleted.
    async fn sweep_up_to(&self, event: EventId, statement: &str) -> JoinHandle<()> {
        let time = Duration::from_secs(1);
        let keep = Keep { events: time, payloads: Duration::MAX, dedupe_keys: time, audit: time };
        let sweeper = Arc::clone(&self.stores[0]);
        // Another host may be taking dead hosts off the list, which keeps a sweep from its work.
        let sweep = async move {
            while sweeper.event(event).await.is_ok() {
                sweeper.sweep(keep).await.unwrap();
            }
        };
        self.up_to(sweep, statement).await
    }

    async fn erase(&self) -> Erased {
        self.stores[1].erase(None, Erasure::Subject(JO.to_owned()), false).await.unwrap()
    }

    async fn count(&self, sql: &str, value: &(dyn tokio_postgres::types::ToSql + Sync)) -> i64 {
        self.asking.query_one(sql, &[value]).await.unwrap().get(0)
    }

    /// How many of these rows nobody has locked.
    async fn free(&self, table: &str, events: &[EventId]) -> usize {
        let column = if table == "events" { "id" } else { "event" };
        let sql =
            format!("SELECT FROM hookbox.{table} WHERE {column} = ANY ($1) FOR UPDATE SKIP LOCKED");
        let ids: Vec<i64> = events.iter().map(|event| event.row()).collect();
        self.asking.query(&sql, &[&ids]).await.unwrap().len()
    }

    /// The open deliveries of erased events.
    async fn open_and_erased(&self) -> i64 {
        let sql = "SELECT count(*) FROM hookbox.open o JOIN hookbox.erased r ON r.event = o.event
            WHERE r.asked = $1";
        self.count(sql, &true).await
    }

    async fn deadlocks(self) -> i64 {
        drop(self.asking);
        deadlocks(&self.admin, self.stores).await
    }
}

#[tokio::test]
async fn a_replay_that_is_committed_beside_an_erasure_leaves_no_delivery_of_an_erased_event() {
    let Some(case) = one_postgres() else { return };
    for many in [false, true] {
        let hosts = LockedHosts::open(&case).await;
        let id = hosts.append().await;
        let replayer = Arc::clone(&hosts.stores[0]);
        let operation = planned(&replayer, &[id]).await;
        let to = vec![Target::to("audit")];
        let replay = async move {
            match many {
                true => replayer.replay_items(operation, vec![(id, to)]).await.unwrap(),
                false => drop(replayer.replay(None, id, to).await.unwrap()),
            }
        };
        // It has made its delivery, and has the event.
        hosts.lock("LOCK TABLE hookbox.replays IN SHARE MODE").await;
        let replay = hosts.up_to(replay, "INSERT INTO hookbox.replays%").await;
        let erase = hosts.erase_up_to(EVENTS).await;
        assert!(!replay.is_finished() && !erase.is_finished(), "both wait");
        hosts.unlock().await;
        replay.await.unwrap();
        // The delivery is left to the next call, and so is the event.
        assert_eq!(erase.await.unwrap(), Erased { ended: 1, more: true, ..Erased::default() });
        assert_eq!(hosts.open_and_erased().await, 0);
        let rest = Erased { events: 1, ended: 1, ..Erased::default() };
        assert_eq!(hosts.erase().await, rest);
        let view = hosts.stores[0].event(id).await.unwrap();
        let states: Vec<State> = view.deliveries.iter().map(|it| it.state).collect();
        assert_eq!((view.emptied.is_some(), &states[..]), (true, &[State::Cancelled; 2][..]));
        assert_eq!(hosts.deadlocks().await, 0);
    }
}

#[tokio::test]
async fn a_retry_that_is_committed_beside_an_erasure_leaves_no_delivery_of_an_erased_event() {
    let Some(case) = one_postgres() else { return };
    let hosts = LockedHosts::open(&case).await;
    let own = DeliveryId { event: hosts.append().await, ordinal: 0 };
    let retrier = Arc::clone(&hosts.stores[0]);
    retrier.change(None, Action::Cancel, Which::One(own)).await.unwrap();
    let retry = async move {
        retrier.change(None, Action::Retry, Which::One(own)).await.unwrap();
    };
    hosts.lock("LOCK TABLE hookbox.count_deltas IN SHARE MODE").await;
    let retry = hosts.up_to(retry, "INSERT INTO hookbox.count_deltas%").await;
    let erase = hosts.erase_up_to(SETTLED).await;
    assert!(!retry.is_finished() && !erase.is_finished(), "both wait");
    hosts.unlock().await;
    retry.await.unwrap();
    assert_eq!(erase.await.unwrap(), Erased { events: 1, ended: 1, ..Erased::default() });
    assert_eq!(hosts.open_and_erased().await, 0);
    assert_eq!(hosts.stores[0].delivery(own).await.unwrap().state, State::Cancelled);
    assert_eq!(hosts.deadlocks().await, 0);
}

#[tokio::test]
async fn an_event_that_is_made_of_another_beside_its_erasure_is_erased_with_it() {
    let Some(case) = one_postgres() else { return };
    let hosts = LockedHosts::open(&case).await;
    let id = hosts.append().await;
    let actor = Actor { name: "ann".into(), role: "operator", via: Via::Api };
    let note = AuditNote::new(actor, "events.edit", &id.to_string(), "");
    let edited = Some(EditedFrom { event: id, by: "ann".to_owned() });
    let new = NewEvent { edited, ..of_subject("the same person", false) };
    let maker = Arc::clone(&hosts.stores[0]);
    let make = async move { maker.make(Some(note), new).await.unwrap().id };
    hosts.lock("LOCK TABLE hookbox.audit IN SHARE MODE").await;
    let make = hosts.up_to(make, "INSERT INTO hookbox.audit%").await;
    let erase = hosts.erase_up_to(EVENTS).await;
    assert!(!make.is_finished() && !erase.is_finished(), "both wait");
    hosts.unlock().await;
    let copy = make.await.unwrap();
    assert_eq!(erase.await.unwrap(), Erased { ended: 1, more: true, ..Erased::default() });
    assert_eq!(hosts.erase().await, Erased { events: 2, ended: 1, ..Erased::default() });
    for event in [id, copy] {
        assert!(hosts.stores[0].event(event).await.unwrap().emptied.is_some());
    }
    assert_eq!(hosts.deadlocks().await, 0);
}

#[tokio::test]
async fn an_event_with_more_copies_than_are_listed_hides_no_late_copy_of_another() {
    let Some(case) = one_postgres() else { return };
    let hosts = LockedHosts::open(&case).await;
    let (large, small) = (hosts.append().await, hosts.append().await);
    let copy_of = |event| {
        let edited = Some(EditedFrom { event, by: "ann".to_owned() });
        NewEvent { edited, ..of_subject("the same person", false) }
    };
    for _ in 0..9 {
        hosts.stores[0].make(None, copy_of(large)).await.unwrap();
    }
    let actor = Actor { name: "ann".into(), role: "operator", via: Via::Api };
    let note = AuditNote::new(actor, "events.edit", &small.to_string(), "");
    let (maker, new) = (Arc::clone(&hosts.stores[0]), copy_of(small));
    let make = async move { maker.make(Some(note), new).await.unwrap().id };
    hosts.lock("LOCK TABLE hookbox.audit IN SHARE MODE").await;
    let make = hosts.up_to(make, "INSERT INTO hookbox.audit%").await;
    let erase = hosts.erase_up_to(EVENTS).await;
    assert!(!make.is_finished() && !erase.is_finished(), "both wait");
    hosts.unlock().await;
    let copy = make.await.unwrap();
    assert!(erase.await.unwrap().more);
    let is_emptied = async |id| hosts.stores[0].event(id).await.unwrap().emptied.is_some();
    assert!(!is_emptied(small).await, "its copy came meanwhile");
    while hosts.erase().await.more {}
    assert!(is_emptied(large).await && is_emptied(small).await && is_emptied(copy).await);
    assert_eq!(hosts.deadlocks().await, 0);
}

/// A settlement that the store makes a dead letter of, because it emits more than a tree may have.
fn over_budget(parent: EventId) -> Settlement {
    let child = || NewEvent { parent: Some(parent), ..event(None) };
    let emitted = (0..=BUDGET.events).map(|_| child()).collect();
    Settlement { next: Next::Done { emitted, kv: KvTransaction::default() }, record: None }
}

#[tokio::test]
async fn an_erasure_locks_events_after_deliveries_as_a_settlement_does() {
    let Some(case) = one_postgres() else { return };
    // A dead letter of the store's own gets a delivery that tells of it, with its event locked.
    case.policies().tell_of("audit");
    let hosts = LockedHosts::open(&case).await;
    let (runs, rests) = (hosts.append().await, hosts.append().await);
    let held = lease(&hosts.stores[0], 1).await.leases.pop().unwrap();
    assert_eq!(held.event.id, runs);
    hosts.lock(&format!("SELECT FROM hookbox.events WHERE id = {} FOR UPDATE", rests.row())).await;
    let erase = hosts.erase_up_to(EVENTS).await;
    assert!(!erase.is_finished(), "it waits for the event");
    assert_eq!(hosts.free("open", &[runs]).await, 0, "it has the deliveries");
    let settler = Arc::clone(&hosts.stores[0]);
    let settle = async move { settler.settle(held, over_budget(runs)).await.unwrap() };
    let settle = hosts.up_to(settle, "%hookbox.check_trees_v1(%").await;
    assert!(!settle.is_finished(), "it waits for the delivery");
    hosts.unlock().await;
    let erased = Erased { events: 1, ended: 2, running: 1, ..Erased::default() };
    assert_eq!(erase.await.unwrap(), erased);
    assert_eq!(settle.await.unwrap(), Settled::Cancelled);
    assert_eq!(hosts.erase().await, Erased { events: 1, ..Erased::default() });
    assert_eq!(hosts.open_and_erased().await, 0);
    assert_eq!(hosts.deadlocks().await, 0);
}

#[tokio::test]
async fn an_erasure_locks_its_events_the_oldest_first_as_a_replay_of_many_does() {
    let Some(case) = one_postgres() else { return };
    let hosts = LockedHosts::open(&case).await;
    let mut events = Vec::new();
    for _ in 0..3 {
        events.push(hosts.append().await);
    }
    let operation = planned(&hosts.stores[0], &events[1..]).await;
    let last = events[2].row();
    hosts.lock(&format!("SELECT FROM hookbox.events WHERE id = {last} FOR UPDATE")).await;
    let erase = hosts.erase_up_to(EVENTS).await;
    assert!(!erase.is_finished(), "it waits for the last one");
    assert_eq!(hosts.free("events", &events).await, 0, "it has those before");
    let items = events[1..].iter().map(|event| (*event, vec![Target::to("audit")])).collect();
    let replayer = Arc::clone(&hosts.stores[0]);
    let replay = async move { replayer.replay_items(operation, items).await.unwrap() };
    let replay = hosts.up_to(replay, "%FROM hookbox.events e WHERE e.id = $1 FOR UPDATE").await;
    assert!(!replay.is_finished(), "it waits for the erasure");
    hosts.unlock().await;
    assert_eq!(erase.await.unwrap(), Erased { events: 3, ended: 3, ..Erased::default() });
    replay.await.unwrap();
    let operation = hosts.stores[0].operation(operation).await.unwrap().unwrap();
    assert_eq!([operation.open, operation.skipped], [0, 2], "erased events are not replayed");
    assert_eq!(hosts.deadlocks().await, 0);
}

#[tokio::test]
async fn a_sweep_locks_events_after_deliveries_as_an_erasure_does() {
    let Some(case) = one_postgres() else { return };
    let hosts = LockedHosts::open(&case).await;
    let events = [hosts.append().await, hosts.append().await];
    for held in lease(&hosts.stores[0], 2).await.leases {
        let dead = Settlement { next: Next::Dead(None), record: None };
        assert_eq!(hosts.stores[0].settle(held, dead).await.unwrap(), Settled::Kept);
    }
    case.clock.set(case.clock.now_ms() + 10_000);
    let last = events[1].row();
    hosts.lock(&format!("SELECT FROM hookbox.settled WHERE event = {last} FOR UPDATE")).await;
    let erase = hosts.erase_up_to(SETTLED).await;
    assert!(!erase.is_finished(), "it waits for the last delivery");
    assert_eq!(hosts.free("settled", &events).await, 0, "it has the one before");
    let sweep = hosts.sweep_up_to(events[0], "%FROM hookbox.settled s%FOR UPDATE").await;
    assert!(!sweep.is_finished(), "it waits for the erasure");
    assert_eq!(hosts.free("events", &events).await, 2, "it has no event yet");
    hosts.unlock().await;
    assert_eq!(erase.await.unwrap(), Erased { events: 2, ended: 2, ..Erased::default() });
    tokio::time::timeout(PATIENCE, sweep).await.expect("it deletes the event").unwrap();
    assert!(hosts.stores[0].event(events[1]).await.is_err(), "both are deleted");
    assert_eq!(hosts.deadlocks().await, 0);
}

#[tokio::test]
async fn a_sweep_that_has_an_event_waits_for_no_delivery_of_it() {
    let Some(case) = one_postgres() else { return };
    let hosts = LockedHosts::open(&case).await;
    let id = hosts.append().await;
    let held = lease(&hosts.stores[0], 1).await.leases.pop().unwrap();
    let dead = Settlement { next: Next::Dead(None), record: None };
    assert_eq!(hosts.stores[0].settle(held, dead).await.unwrap(), Settled::Kept);
    case.clock.set(case.clock.now_ms() + 10_000);
    hosts.lock(&format!("SELECT FROM hookbox.events WHERE id = {} FOR UPDATE", id.row())).await;
    let sweep = hosts.sweep_up_to(id, EVENTS).await;
    assert!(!sweep.is_finished(), "it waits for the event, and has its delivery");
    // Another delivery comes, and somebody has it.
    let holder = case.database().await.admin().await;
    let another = "INSERT INTO hookbox.settled
        SELECT (jsonb_populate_record(s, '{\"ordinal\": 1}')).*
        FROM hookbox.settled s WHERE event = $1";
    holder.execute(another, &[&id.row()]).await.unwrap();
    let has = "BEGIN; SELECT FROM hookbox.settled WHERE ordinal = 1 FOR UPDATE";
    holder.batch_execute(has).await.unwrap();
    hosts.unlock().await;
    hosts.until_waits(&sweep, SETTLED).await;
    assert!(!sweep.is_finished(), "it looks again, and waits for the delivery");
    assert_eq!(hosts.free("events", &[id]).await, 1, "the event is there, and free");
    holder.batch_execute("COMMIT").await.unwrap();
    tokio::time::timeout(PATIENCE, sweep).await.expect("it deletes the event").unwrap();
    drop(holder);
    assert_eq!(hosts.deadlocks().await, 0);
}
