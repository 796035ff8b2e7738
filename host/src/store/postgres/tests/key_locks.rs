//! The order in which keys are locked: by batches of writers, by replays of many events, and by
//! erasures.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::Client;

use super::hosts::{another, event, lease};
use super::*;
use crate::event::{EventId, Key, KeySource, NewEvent, Target, TargetOptions};
use crate::store::{
    Actor, AuditNote, Erasure, Health, Keep, KvTransaction, NewOperation, Next, Operate,
    OperationDeed, OperationId, OperationOptions, OperationScope, Operations, Queue, ReadOne,
    Settlement, Steer, Via,
};
use crate::tasks;

/// Locks a stripe until it is unlocked.
const LOCK: &str = "SELECT pg_advisory_lock(7450002, $1)";

/// How long something that is to happen may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

const UNLOCK: &str = "SELECT pg_advisory_unlock(7450002, $1)";

/// An event with this subject, which its delivery has as its key or not.
pub(super) fn of_subject(subject: &str, has_key: bool) -> NewEvent {
    let mut new = event(None);
    new.attributes.subject = Some(subject.to_owned());
    if has_key {
        for delivery in &mut new.deliveries {
            delivery.key = Some(Key::Text(subject.into()));
        }
    }
    new
}

/// Two keys, each with its stripe. That of the second one is locked before that of the first one.
async fn crossing(admin: &Client) -> [(String, i32); 2] {
    let sql = "SELECT s.key, hookbox.stripe_v1('audit', convert_to(s.key, 'UTF8'))
               FROM (SELECT 'order ' || n AS key FROM generate_series(1, 100) n) s ORDER BY 2 DESC";
    let rows = admin.query(sql, &[]).await.unwrap();
    let [high, low] = [&rows[0], &rows[99]].map(|row| (row.get(0), row.get::<_, i32>(1)));
    assert!(high.1 > low.1);
    [high, low]
}

/// How many have the lock of a stripe, or wait for it.
async fn locks(admin: &Client, stripe: i32, granted: bool) -> i64 {
    let sql = format!(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 7450002
             AND objid = {stripe} AND granted = {granted}
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    );
    admin.query_one(&sql, &[]).await.unwrap().get(0)
}

/// Returns once somebody waits for the lock of a stripe, or the call has ended.
async fn until_waits<T>(admin: &Client, stripe: i32, call: &JoinHandle<T>) {
    let waits = async { while !call.is_finished() && locks(admin, stripe, false).await == 0 {} };
    tokio::time::timeout(PATIENCE, waits).await.expect("it waits or ends");
}

/// How often something of these stores was ended because two waited for each other. The stores are
/// closed: sessions that end leave their counts.
pub(super) async fn deadlocks(admin: &Client, stores: [Arc<Postgres>; 2]) -> i64 {
    for store in &stores {
        store.close().await.unwrap();
    }
    drop(stores);
    let left = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = $1";
    let ended = async {
        while admin.query_one(left, &[&"client backend"]).await.unwrap().get::<_, i64>(0) > 0 {}
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("its sessions end");
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    admin.query_one(deadlocks, &[]).await.unwrap().get(0)
}

/// Plans a replay of these events, and finds them.
pub(super) async fn planned(store: &Postgres, events: &[EventId]) -> OperationId {
    let actor = Actor { name: "ann".into(), role: "operator", via: Via::Api };
    let note = || AuditNote::new(actor.clone(), "operations", "all", "");
    let new = NewOperation {
        action: OperationDeed::Replay(Vec::new()),
        scope: OperationScope::EventIds(events.to_vec()),
        total: events.len() as u64,
        exact: true,
        as_of_ms: None,
        actor: actor.clone(),
    };
    let id = store.plan(note(), new).await.unwrap();
    store.steer(note(), id, Steer::Start(OperationOptions::default())).await.unwrap();
    store.find_more(id).await.unwrap();
    id
}

#[tokio::test]
async fn a_replay_of_many_events_and_a_batch_lock_their_keys_in_one_order_and_never_each_other() {
    let Some(case) = one_postgres() else { return };
    let admin = case.database().await.admin().await;
    let store = Arc::new(case.open_postgres().await);
    let (other, _folder) = another(&case).await;
    let other = Arc::new(other);
    let [(high_key, high), (low_key, low)] = crossing(&admin).await;
    // The older event has the key that is locked last.
    let mut events = Vec::new();
    for key in [&high_key, &low_key] {
        events.push(store.append(of_subject(key, false)).await.unwrap().id);
    }
    let id = planned(&store, &events).await;
    let options = TargetOptions { key: Some(KeySource::Subject), ..TargetOptions::default() };
    let target = Arc::new(Target { plugin: "audit".into(), options });
    let items = events.iter().map(|event| (*event, vec![Arc::clone(&target)])).collect();

    admin.execute(LOCK, &[&high]).await.unwrap();
    let replayer = Arc::clone(&store);
    let replay = tasks::spawn(async move { replayer.replay_items(id, items).await });
    until_waits(&admin, high, &replay).await;
    assert_eq!(locks(&admin, low, true).await, 1, "it has the other one before it waits");
    let both = vec![of_subject(&high_key, true), of_subject(&low_key, true)];
    let writer = Arc::clone(&other);
    let append = tasks::spawn(async move { writer.append_all(both).await });
    until_waits(&admin, low, &append).await;
    assert_eq!(locks(&admin, high, false).await, 1, "the batch waits without any");
    admin.execute(UNLOCK, &[&high]).await.unwrap();
    replay.await.unwrap().unwrap();
    append.await.unwrap().unwrap();

    for event in events {
        let deliveries = store.event(event).await.unwrap().deliveries;
        assert_eq!(deliveries.iter().filter(|it| it.replay && it.key.is_some()).count(), 1);
    }
    assert_eq!(deadlocks(&admin, [store, other]).await, 0);
}

#[tokio::test]
async fn an_erasure_has_the_keys_of_all_its_events_before_it_changes_any() {
    let Some(case) = one_postgres() else { return };
    let admin = case.database().await.admin().await;
    let store = Arc::new(case.open_postgres().await);
    let [(high_key, high), (low_key, low)] = crossing(&admin).await;
    for key in [&high_key, &low_key] {
        let mut new = of_subject(key, true);
        new.attributes.subject = Some("jo".to_owned());
        store.append(new).await.unwrap();
    }
    admin.execute(LOCK, &[&high]).await.unwrap();
    let eraser = Arc::clone(&store);
    let subject = Erasure::Subject("jo".to_owned());
    let erase = tasks::spawn(async move { eraser.erase(None, subject, false).await });
    until_waits(&admin, high, &erase).await;
    assert_eq!(locks(&admin, low, true).await, 1, "it has the other one before it waits");
    admin.execute(UNLOCK, &[&high]).await.unwrap();
    let erased = erase.await.unwrap().unwrap();
    assert_eq!((erased.events, erased.ended), (2, 2));
}

#[tokio::test]
async fn of_many_events_with_keys_each_is_replayed_once_however_they_are_parted() {
    let Some(case) = one_postgres() else { return };
    let store = case.open_postgres().await;
    let mut events = Vec::new();
    for number in 0..5 {
        let new = of_subject(&format!("order {number}"), false);
        events.push(store.append(new).await.unwrap().id);
    }
    let id = planned(&store, &events).await;
    let options = TargetOptions { key: Some(KeySource::Subject), ..TargetOptions::default() };
    let target = Arc::new(Target { plugin: "audit".into(), options });
    let to = |events: &[EventId]| -> Vec<_> {
        events.iter().map(|event| (*event, vec![Arc::clone(&target)])).collect()
    };
    store.replay_items(id, to(&events[1..2])).await.unwrap();
    store.replay_items(id, to(&events)).await.unwrap();
    for event in events {
        let deliveries = store.event(event).await.unwrap().deliveries;
        assert_eq!(deliveries.iter().filter(|it| it.replay && it.key.is_some()).count(), 1);
    }
    let operation = store.operation(id).await.unwrap().unwrap();
    assert_eq!([operation.found, operation.open, operation.skipped], [5, 5, 0]);
}

#[tokio::test]
async fn a_sweep_has_the_keys_that_dead_letters_hold_before_it_locks_an_event() {
    let Some(case) = one_postgres() else { return };
    let admin = case.database().await.admin().await;
    let store = Arc::new(case.open_postgres().await);
    let [_, (key, stripe)] = crossing(&admin).await;
    let id = store.append(of_subject(&key, false)).await.unwrap().id;
    let leased = lease(&store, 1).await.leases.pop().unwrap();
    let next = Next::Done { emitted: Vec::new(), kv: KvTransaction::default() };
    store.settle(leased, Settlement { next, record: None }).await.unwrap();
    let holds = "INSERT INTO hookbox.held_keys
        VALUES ('audit', convert_to($1, 'UTF8'), $2, 0, 9223372036854775807, NULL)";
    admin.execute(holds, &[&key, &id.row()]).await.unwrap();
    case.clock.set(case.clock.now_ms() + 10_000);

    admin.execute(LOCK, &[&stripe]).await.unwrap();
    let time = Duration::from_secs(1);
    let keep = Keep { events: time, payloads: time, dedupe_keys: time, audit: time };
    let sweeper = Arc::clone(&store);
    let sweep = tasks::spawn(async move { sweeper.sweep(keep).await });
    until_waits(&admin, stripe, &sweep).await;
    assert_eq!(locks(&admin, stripe, false).await, 1, "it waits for the key");
    let free = "SELECT FROM hookbox.events WHERE id = $1 FOR UPDATE NOWAIT";
    assert_eq!(admin.execute(free, &[&id.row()]).await.unwrap(), 1, "the event is not locked");
    admin.execute(UNLOCK, &[&stripe]).await.unwrap();
    sweep.await.unwrap().unwrap();
    assert!(store.event(id).await.is_err(), "it is deleted");
    let held = "SELECT count(*) FROM hookbox.held_keys";
    assert_eq!(admin.query_one(held, &[]).await.unwrap().get::<_, i64>(0), 0);
    store.close().await.unwrap();
}
