//! Hosts whose clocks are wrong: the database's decides.

use std::time::Duration;

use super::hosts::{event, lease};
use super::*;
use crate::event::{EventId, NewEvent, State};
use crate::store::{
    Count, Keep, KvTransaction, Lease, Next, Operate, Queue, ReadOne, Schedules, Settlement,
    StoreError,
};

/// How wrong they are.
const WRONG_MS: i64 = 600_000;

/// How exactly a host knows the database's time, at most.
const ABOUT_MS: i64 = 1_000;

/// A host whose clock is wrong by so much.
async fn wrong_by(case: &OnePostgres, shift_ms: i64) -> (Postgres, TempDir) {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Clock::wrong_by(shift_ms));
    let options =
        PostgresOptions { folder: folder.path().to_owned(), clock, ..case.options().await };
    (Postgres::open(options).await.unwrap(), folder)
}

async fn now_ms(admin: &tokio_postgres::Client) -> i64 {
    admin.query_one("SELECT hookbox.now_ms_v1(NULL)", &[]).await.unwrap().get(0)
}

/// Leases one delivery, once it is due.
async fn due(store: &Postgres) -> Lease {
    loop {
        if let Some(lease) = lease(store, 1).await.leases.pop() {
            return lease;
        }
    }
}

async fn settle(store: &Postgres, lease: Lease, next: Next) {
    store.settle(lease, Settlement { next, record: None }).await.unwrap();
}

#[tokio::test]
async fn what_is_due_is_leased_by_the_databases_clock_however_wrong_those_of_hosts_are() {
    let Some(case) = one_postgres() else { return };
    let (slow, _folder) = wrong_by(&case, -WRONG_MS).await;
    let (fast, _other) = wrong_by(&case, WRONG_MS).await;
    let admin = case.database().await.admin().await;
    for (from, to) in [(&slow, &fast), (&fast, &slow)] {
        let before_ms = now_ms(&admin).await;
        from.append(NewEvent { delay_ms: 1_500, ..event(None) }).await.unwrap();
        let after_ms = now_ms(&admin).await;
        let first = due(to).await;
        assert!(now_ms(&admin).await >= before_ms + 1_500, "not before it is due");
        assert!((before_ms..=after_ms).contains(&(first.due_ms - 1_500)), "{}", first.due_ms);
        let before_ms = now_ms(&admin).await;
        settle(to, first, Next::RetryIn(Duration::from_millis(700))).await;
        let again = due(from).await;
        assert!(now_ms(&admin).await >= before_ms + 700, "nor its next attempt");
        let next = Next::Done { emitted: Vec::new(), kv: KvTransaction::default() };
        settle(from, again, next).await;
    }
}

#[tokio::test]
async fn ids_and_ticks_of_hosts_with_wrong_clocks_go_by_the_databases() {
    let Some(case) = one_postgres() else { return };
    let (slow, _folder) = wrong_by(&case, -WRONG_MS).await;
    let (fast, _other) = wrong_by(&case, WRONG_MS).await;
    let admin = case.database().await.admin().await;
    for (store, ahead_ms) in [(&slow, WRONG_MS), (&fast, -WRONG_MS)] {
        // A busy machine makes the first comparison of clocks a bad one. The next is soon.
        loop {
            let before_ms = now_ms(&admin).await - ABOUT_MS;
            let id: EventId = store.append(event(None)).await.unwrap().id;
            let after_ms = now_ms(&admin).await + ABOUT_MS;
            let is_near = store.ahead_of_wall_ms().abs_diff(ahead_ms) < ABOUT_MS.unsigned_abs();
            if is_near && (before_ms..=after_ms).contains(&id.unix_ms()) {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_host_with_a_wrong_clock_deletes_what_is_old_by_the_databases() {
    let Some(case) = one_postgres() else { return };
    let (slow, _folder) = wrong_by(&case, -WRONG_MS).await;
    let (fast, _other) = wrong_by(&case, WRONG_MS).await;
    let id = slow.append(event(None)).await.unwrap().id;
    let next = Next::Done { emitted: Vec::new(), kv: KvTransaction::default() };
    settle(&slow, due(&slow).await, next).await;
    let keep =
        |time: Duration| Keep { events: time, payloads: time, dedupe_keys: time, audit: time };
    // Half of what its clock is wrong by.
    while fast.sweep(keep(Duration::from_millis(WRONG_MS as u64 / 2))).await.unwrap() {}
    assert_eq!(fast.event(id).await.unwrap().deliveries[0].state, State::Done);
    // The database's clock may stand within the millisecond of the event.
    while slow.event(id).await.is_ok() {
        slow.sweep(keep(Duration::ZERO)).await.unwrap();
    }
    assert!(matches!(slow.event(id).await, Err(StoreError::NotFound(_))));
    assert_eq!(slow.stats().await.unwrap().events, 0);
}
