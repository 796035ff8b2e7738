//! Hosts that die, and those that take over from them.

use std::time::Duration;

use tokio::sync::Semaphore;

use super::hosts::{event, lease};
use super::*;
use crate::event::{DEAD_LETTERS, DeliveryId, KeyPolicy, KeySource, State};
use crate::store::conformance::key_order::keyed_event;
use crate::store::{
    Count, Hosts, KvTransaction, Lease, LeaseQueue, Next, Queue, Read, ReadOne, Settled, Settlement,
};

/// A host that soon takes others for dead.
async fn impatient(case: &OnePostgres) -> (Postgres, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let options = PostgresOptions {
        folder: folder.path().to_owned(),
        host_timeout: Duration::from_secs(2),
        ..case.options().await
    };
    (Postgres::open(options).await.unwrap(), folder)
}

/// Leases the next quarantined delivery, once there is one.
async fn quarantined(store: &Postgres) -> Lease {
    loop {
        let permits = Arc::new(Semaphore::new(1)).try_acquire_many_owned(1).unwrap();
        let queue = LeaseQueue::Quarantine(vec!["audit".into()]);
        if let Some(lease) = store.lease(queue, permits).await.unwrap().leases.pop() {
            return lease;
        }
    }
}

#[tokio::test]
async fn what_a_dead_host_held_is_quarantined_and_dead_only_if_it_ran_when_another_died() {
    let Some(case) = one_postgres() else { return };
    let first = case.open_postgres().await;
    for _ in 0..3 {
        first.append(event(None)).await.unwrap();
    }
    let held = lease(&first, 3).await;
    assert_eq!(held.leases.len(), 3);
    drop((first, held));
    let (second, _folder) = impatient(&case).await;
    let ran = quarantined(&second).await;
    assert_eq!((ran.attempt, ran.uncounted), (2, 1), "no attempt counts");
    assert_eq!(
        lease(&second, 3).await.leases.len(),
        0,
        "quarantined deliveries have a queue of their own"
    );
    let poison = ran.delivery;
    drop((second, ran));
    let (third, _folder) = impatient(&case).await;
    while third.delivery(poison).await.unwrap().state != State::Dead {
        tokio::task::yield_now().await;
    }
    for _ in 0..2 {
        let innocent = quarantined(&third).await;
        assert_ne!(innocent.delivery, poison);
        let next = Next::Done { emitted: Vec::new(), kv: KvTransaction::default() };
        let settled = third.settle(innocent, Settlement { next, record: None }).await.unwrap();
        assert_eq!(settled, Settled::Kept);
    }
    let stats = third.stats().await.unwrap();
    assert_eq!((stats.deliveries(State::Done), stats.deliveries(State::Dead)), (2, 1));
    assert_eq!(stats.deliveries(State::Leased), 0);
    assert_eq!(third.hosts().await.unwrap().len(), 1, "the dead ones are off the list");
}

#[tokio::test]
async fn the_key_of_what_a_dead_host_ran_keeps_its_rate_its_hold_and_its_notice() {
    let Some(case) = one_postgres() else { return };
    let minute = Duration::from_secs(60);
    let policy = KeyPolicy { interval: minute, hold: true, ..KeyPolicy::of(KeySource::Subject) };
    case.policies().set("audit", policy);
    case.policies().tell_of("audit");
    let first = case.open_postgres().await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let event = first.append(keyed_event("a", &["audit"])).await.unwrap().id;
        ids.push(DeliveryId { event, ordinal: 0 });
    }
    let held = lease(&first, 2).await;
    assert_eq!(held.leases.len(), 1);
    drop((first, held));
    let (second, _folder) = impatient(&case).await;
    while second.delivery(ids[0]).await.unwrap().state == State::Leased {
        tokio::task::yield_now().await;
    }
    let view = second.delivery(ids[0]).await.unwrap();
    assert_eq!((view.state, view.due_ms), (State::Waiting, Some(START_MS + 60_000)));
    assert_eq!(second.stats().await.unwrap().deliveries(State::Waiting), 2);
    case.clock().set(case.clock().now_ms() + 60_000);
    let ran = quarantined(&second).await;
    assert_eq!(ran.delivery, ids[0]);
    drop((second, ran));
    let (third, _folder) = impatient(&case).await;
    while third.delivery(ids[0]).await.unwrap().state != State::Dead {
        tokio::task::yield_now().await;
    }
    let next = third.delivery(ids[1]).await.unwrap();
    assert_eq!((next.state, next.due_ms), (State::Waiting, None), "the dead letter holds its key");
    let permits = Arc::new(Semaphore::new(1)).try_acquire_many_owned(1).unwrap();
    let told = third.lease(LeaseQueue::Plugin(DEAD_LETTERS.into()), permits).await.unwrap().leases;
    assert_eq!(third.dead_notice(told[0].delivery).await.unwrap(), Some((ids[0], 1)));
}

#[tokio::test]
async fn what_a_host_settles_that_others_took_for_dead_is_lost() {
    let Some(case) = one_postgres() else { return };
    let (first, _folder) = impatient(&case).await;
    let second = case.open_postgres().await;
    second.append(event(None)).await.unwrap();
    let held = lease(&second, 1).await.leases.remove(0);
    let admin = case.database().await.admin().await;
    let old = "UPDATE hookbox.hosts SET alive = clock_timestamp() - interval '1 h'
        WHERE incarnation = $1";
    while admin.execute(old, &[&second.shared.run().incarnation]).await.unwrap() > 0 {
        tokio::task::yield_now().await;
    }
    let taken = quarantined(&first).await;
    assert_eq!(taken.delivery, held.delivery);
    let next = Next::Done { emitted: Vec::new(), kv: KvTransaction::default() };
    let late = second.settle(held, Settlement { next, record: None }).await;
    assert!(!matches!(late, Ok(Settled::Kept)), "{late:?}");
    let next = Next::Done { emitted: Vec::new(), kv: KvTransaction::default() };
    let settled = first.settle(taken, Settlement { next, record: None }).await.unwrap();
    assert_eq!(settled, Settled::Kept);
}
