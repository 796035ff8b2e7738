//! Lost answers, lost connections, and servers that come back.

use std::time::Duration;

use hookbox_tools::cluster::Cluster;

use super::hosts::{event, lease};
use super::proxy::{Cut, Proxy, Traffic};
use super::*;
use crate::env;
use crate::event::{NewEvent, State};
use crate::store::{
    Appended, Count, Health, Hosts as _, KvTransaction, Lease, NewStep, Next, Queue, ReadOne,
    Recorded, Settled, Settlement, StoreError,
};

/// Set for as many cuts as it takes to be sure.
pub(super) const LONG: &str = "HOOKBOX_LONG_TESTS";

pub(super) fn done() -> Settlement {
    let next = Next::Done { emitted: Vec::new(), kv: KvTransaction::default() };
    Settlement { next, record: None }
}

/// A host that goes through a proxy.
pub(super) async fn behind_proxy(case: &OnePostgres) -> (Postgres, Proxy) {
    let database = case.database().await;
    let proxy = Proxy::before(database.port).await;
    let options = PostgresOptions { url: proxy.url(&database.name).into(), ..case.options().await };
    (Postgres::open(options).await.unwrap(), proxy)
}

/// An event whose key is this number.
pub(super) fn numbered(number: u64) -> NewEvent {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&number.to_le_bytes());
    NewEvent { dedupe: vec![key], ..event(None) }
}

/// Appends as senders do: what was not acknowledged is sent again.
pub(super) async fn send(store: &Postgres, number: u64) -> Appended {
    loop {
        match store.append(numbered(number)).await {
            Err(StoreError::Unreachable(_)) => tokio::task::yield_now().await,
            appended => return appended.unwrap(),
        }
    }
}

/// Leases one delivery. Leases of a lost answer are due again.
pub(super) async fn lease_one(store: &Postgres) -> Lease {
    loop {
        if let Some(lease) = lease(store, 1).await.leases.pop() {
            return lease;
        }
    }
}

#[tokio::test]
async fn of_a_batch_whose_answer_is_cut_off_the_marker_says_what_came_of_it() {
    let Some(case) = one_postgres() else { return };
    let (store, proxy) = behind_proxy(&case).await;
    let rounds = if env::var(LONG).is_some() { 250 } else { 15 };
    for round in 0..rounds {
        let cut = if round % 2 == 0 { Cut::AfterCommit } else { Cut::BeforeCommit };
        proxy.cut_next(cut);
        let id = send(&store, round).await.id;
        proxy.cut_next(cut);
        let held = lease_one(&store).await;
        assert_eq!((held.delivery.event, held.attempt), (id, 1), "no attempt was spent");
        proxy.cut_next(cut);
        let step = NewStep { name: "paid".to_owned(), value: b"x".to_vec(), digest: None };
        assert_eq!(store.record(&held.holder(), step).await.unwrap(), Recorded::Kept);
        proxy.cut_next(cut);
        assert_eq!(store.settle(held, done()).await.unwrap(), Settled::Kept);
    }
    assert_eq!(proxy.cuts() as u64, 4 * rounds);
    assert_eq!(proxy.cancels(), 0, "a cancelled commit might be visible and lost");
    let stats = store.stats().await.unwrap();
    assert_eq!((stats.events, stats.deliveries(State::Done)), (rounds, rounds));
    assert_eq!((stats.deliveries(State::Leased), stats.deliveries(State::Ready)), (0, 0));
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_settlement_that_was_lost_is_told_so_although_its_answer_was_cut_off() {
    let Some(case) = one_postgres() else { return };
    let (store, proxy) = behind_proxy(&case).await;
    for number in 0..2 {
        send(&store, number).await;
    }
    let (kept, lost) = (lease_one(&store).await, lease_one(&store).await);
    let admin = case.database().await.admin().await;
    let taken = "UPDATE hookbox.open SET attempt = attempt + 1 WHERE event = $1";
    admin.execute(taken, &[&lost.delivery.event.row()]).await.unwrap();
    proxy.cut_next(Cut::AfterCommit);
    assert_eq!(store.settle(lost, done()).await.unwrap(), Settled::Lost);
    proxy.cut_next(Cut::AfterCommit);
    assert_eq!(store.settle(kept, done()).await.unwrap(), Settled::Kept);
    assert_eq!(proxy.cuts(), 2);
}

#[tokio::test]
async fn connections_that_are_gone_lose_nothing_and_the_store_goes_on() {
    let Some(case) = one_postgres() else { return };
    let store = case.open_postgres().await;
    let admin = case.database().await.admin().await;
    let ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    for number in 0..5 {
        let before = send(&store, 2 * number).await.id;
        admin.query(ended, &[]).await.unwrap();
        send(&store, 2 * number + 1).await;
        // The connection may have been made again before it was ended.
        while store.event(before).await.is_err() {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(store.stats().await.unwrap().events, 10);
    // The heartbeat's comes back by itself, and no query waits for it.
    while store.trouble().is_some() {
        tokio::task::yield_now().await;
    }
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_read_only_is_not_the_primary_and_the_store_waits_for_it() {
    let Some(case) = one_postgres() else { return };
    let store = case.open_postgres().await;
    let database = case.database().await;
    let admin = database.admin().await;
    let set = format!("ALTER DATABASE {} SET default_transaction_read_only = on", database.name);
    admin.batch_execute(&set).await.unwrap();
    let ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    admin.query(ended, &[]).await.unwrap();
    loop {
        match store.append(numbered(1)).await {
            Err(StoreError::Unreachable(why)) if why.contains("read-only") => break,
            // It has not connected again yet.
            Err(StoreError::Unreachable(_)) => tokio::task::yield_now().await,
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(store.trouble(), Some(StoreError::Unreachable(_))));
    let reset = format!("ALTER DATABASE {} RESET default_transaction_read_only", database.name);
    admin.batch_execute(&reset).await.unwrap();
    send(&store, 1).await;
    while store.trouble().is_some() {
        tokio::task::yield_now().await;
    }
    let found = admin.query_one("SELECT count(*) FROM hookbox.events", &[]).await.unwrap();
    assert_eq!(found.get::<_, i64>(0), 1);
}

#[tokio::test]
async fn a_server_that_crashes_and_comes_back_has_all_that_was_acknowledged() {
    let Some(case) = one_postgres() else { return };
    let cluster = Cluster::start(&["ssl=off"]).expect("it is there");
    let url = cluster.url("?sslmode=disable");
    let options = PostgresOptions { url: url.into(), ..case.options().await };
    let store = Postgres::open(options).await.unwrap();
    let mut sent = Vec::new();
    for (round, how) in (0..).zip(["immediate", "fast", "immediate"]) {
        sent.push(send(&store, 2 * round).await.id);
        cluster.stop(how);
        let waits = store.append(numbered(2 * round + 1)).await;
        assert!(matches!(waits, Err(StoreError::Unreachable(_))), "{waits:?}");
        cluster.start_again(&["ssl=off"]);
        sent.push(send(&store, 2 * round + 1).await.id);
    }
    for id in sent {
        while store.event(id).await.is_err() {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(store.stats().await.unwrap().events, 6);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_host_that_is_cut_off_begins_no_attempt_until_it_is_not() {
    let Some(case) = one_postgres() else { return };
    let (store, proxy) = behind_proxy(&case).await;
    send(&store, 1).await;
    let held = lease_one(&store).await;
    drop(store.begin(&held).await.unwrap());
    proxy.set(Traffic::Held);
    while store.begin(&held).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let refused = store.append(numbered(2)).await;
    assert!(matches!(refused, Err(StoreError::Unreachable(_))), "{refused:?}");
    proxy.set(Traffic::Closed);
    proxy.set(Traffic::Passes);
    while store.begin(&held).await.is_err() {
        tokio::task::yield_now().await;
    }
    send(&store, 2).await;
    assert_eq!(store.settle(held, done()).await.unwrap(), Settled::Kept);
    assert_eq!((store.stats().await.unwrap().events, proxy.cancels()), (2, 0));
}

#[tokio::test]
async fn a_store_whose_server_is_gone_for_good_can_be_closed() {
    let Some(case) = one_postgres() else { return };
    let (store, proxy) = behind_proxy(&case).await;
    send(&store, 1).await;
    proxy.set(Traffic::Closed);
    let refused = store.append(numbered(2)).await;
    assert!(matches!(refused, Err(StoreError::Unreachable(_))), "{refused:?}");
    let closed = tokio::time::timeout(Duration::from_secs(120), store.close()).await;
    assert!(closed.unwrap().is_err(), "nobody was told");
}

#[tokio::test]
async fn the_first_query_after_an_outage_is_answered_before_any_heartbeat() {
    let Some(case) = one_postgres() else { return };
    let (store, proxy) = behind_proxy(&case).await;
    let id = send(&store, 1).await.id;
    for _ in 0..3 {
        let before = store.reads.client().await.unwrap();
        proxy.set(Traffic::Closed);
        before.over().await;
        let refused = store.event(id).await.unwrap_err();
        assert!(matches!(refused, StoreError::Unreachable(_)), "{refused}");
        proxy.set(Traffic::Passes);
        // All of those that wait share one connection.
        let (event, stats, hosts) = tokio::join!(store.event(id), store.stats(), store.hosts());
        assert_eq!((event.unwrap().event.id, stats.unwrap().events), (id, 1));
        assert_eq!(hosts.unwrap().len(), 1);
    }
    store.close().await.unwrap();
}
