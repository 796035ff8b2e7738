//! A primary that lacks the last batches, and hosts that send them again. The database is set back
//! to a copy, as a standby has it that did not receive the rest.

use std::time::Duration;

use super::faults::{behind_proxy, done, lease_one, numbered, send};
use super::hosts::{event, lease};
use super::proxy::{Proxy, Traffic};
use super::rig::{USER, connect};
use super::*;
use crate::event::{Digest, EventId, Key, NewEvent, State};
use crate::store::{
    Count, Health, KvTransaction, NewStep, Next, Queue, Read, ReadOne, Recorded, Settled,
    Settlement, StoreError,
};

/// Copies the database while nobody is connected, and lets the host in again.
pub(super) async fn remember(case: &OnePostgres, proxy: &Proxy) -> String {
    let name = &case.database().await.name;
    let copy = format!("{name}_past");
    let make = format!("CREATE DATABASE {copy} OWNER {USER} TEMPLATE {name}");
    without_sessions(case, proxy, &[make]).await;
    copy
}

/// Puts the copy in the place of the database.
pub(super) async fn fall_back(case: &OnePostgres, proxy: &Proxy, copy: &str) {
    let name = &case.database().await.name;
    let moves = [
        format!("ALTER DATABASE {name} RENAME TO {name}_gone"),
        format!("ALTER DATABASE {copy} RENAME TO {name}"),
    ];
    without_sessions(case, proxy, &moves).await;
}

async fn without_sessions(case: &OnePostgres, proxy: &Proxy, changes: &[String]) {
    proxy.set(Traffic::Closed);
    let admin = connect(case.cluster.port, "postgres", "postgres").await;
    for sql in changes {
        // The server needs a moment to see that a session has ended.
        while let Err(error) = admin.batch_execute(sql).await {
            let said = error.as_db_error().expect("the server answers").message();
            assert!(said.contains("being accessed"), "{sql}: {said}");
            tokio::task::yield_now().await;
        }
    }
    proxy.set(Traffic::Passes);
}

/// Waits until the store has found the loss and goes on.
async fn mended(store: &Postgres) {
    while store.shared.loss.batches() == 0 || store.trouble().is_some() {
        tokio::task::yield_now().await;
    }
}

/// Waits until queries are answered again.
async fn state(store: &Postgres, id: EventId) -> State {
    loop {
        match store.event(id).await {
            Ok(found) => return found.deliveries[0].state,
            Err(StoreError::NotFound(what)) => panic!("{what} is lost"),
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

/// The counts are those of the rows.
async fn counts_are_exact(case: &OnePostgres, store: &Postgres) {
    let admin = case.database().await.admin().await;
    let sql = "SELECT (SELECT count(*) FROM hookbox.open WHERE holder IS NOT NULL),
        (SELECT count(*) FROM hookbox.settled), (SELECT count(*) FROM hookbox.events)";
    let row = admin.query_one(sql, &[]).await.unwrap();
    let stats = store.stats().await.unwrap();
    let done = stats.deliveries(State::Done) + stats.deliveries(State::Dead);
    let counted = (stats.deliveries(State::Leased), done, stats.events);
    let rows = [0, 1, 2].map(|column| row.get::<_, i64>(column).unsigned_abs());
    assert_eq!(counted, (rows[0], rows[1], rows[2]));
}

#[tokio::test]
async fn what_a_new_primary_lacks_is_sent_again_and_leases_go_on() {
    let Some(case) = one_postgres() else { return };
    let (store, proxy) = behind_proxy(&case).await;
    send(&store, 1).await;
    let held = lease_one(&store).await;
    let first = held.delivery.event;
    let copy = remember(&case, &proxy).await;

    let two = send(&store, 2).await.id;
    let three = store.append_all(vec![numbered(3), event(None)]).await.unwrap();
    let kv = KvTransaction {
        writes: vec![("total".to_owned(), Some(b"7".to_vec()))],
        ..KvTransaction::default()
    };
    let next = Next::Done { emitted: vec![event(None)], kv };
    assert_eq!(store.settle(held, Settlement { next, record: None }).await.unwrap(), Settled::Kept);
    let mut leases = lease(&store, 9).await.leases;
    assert_eq!(leases.len(), 4);
    let (again, other) = (leases.remove(0), leases.remove(0));
    assert_eq!(again.delivery.event, two);
    let retry = Settlement { next: Next::RetryIn(Duration::ZERO), record: None };
    store.settle(again, retry).await.unwrap();
    let again = lease_one(&store).await;
    assert_eq!((again.delivery.event, again.attempt), (two, 2));
    let digest = Some(Digest([7; 32]));
    let step = NewStep { name: "paid".to_owned(), value: b"x".to_vec(), digest };
    assert_eq!(store.record(&again.holder(), step).await.unwrap(), Recorded::Kept);
    assert_eq!(store.settle(other, done()).await.unwrap(), Settled::Kept);

    fall_back(&case, &proxy, &copy).await;
    mended(&store).await;
    assert_eq!(state(&store, first).await, State::Done);
    assert_eq!(state(&store, three[0].id).await, State::Done);
    assert_eq!(state(&store, two).await, State::Leased);
    let total = store.kv_get("audit".into(), "total".to_owned()).await.unwrap().unwrap();
    assert_eq!(total.value, b"7");
    assert_eq!(store.event(two).await.unwrap().deliveries[0].steps[0].name, "paid");
    assert!(send(&store, 2).await.duplicate, "its key is known");
    counts_are_exact(&case, &store).await;
    for lease in [again].into_iter().chain(leases) {
        assert_eq!(store.settle(lease, done()).await.unwrap(), Settled::Kept);
    }
    counts_are_exact(&case, &store).await;
    assert_eq!(stored(&store).await, 5);
    let told = store.warnings().join("\n");
    assert!(told.contains("so nothing that was acknowledged is lost"), "{told}");
    store.close().await.unwrap();
}

#[tokio::test]
async fn the_order_of_a_key_goes_on_after_its_last_deliveries_were_sent_again() {
    let Some(case) = one_postgres() else { return };
    let (store, proxy) = behind_proxy(&case).await;
    let keyed = || {
        let mut new = event(None);
        new.deliveries[0].key = Some(Key::Text("a".into()));
        new
    };
    let append = async |event: NewEvent| store.append(event).await.unwrap().id;
    let mut ids = vec![append(keyed()).await, append(keyed()).await];
    let copy = remember(&case, &proxy).await;

    // The connections come back before anything is sent.
    while store.trouble().is_some() {
        tokio::task::yield_now().await;
    }
    ids.push(append(keyed()).await);
    assert_eq!(store.settle(lease_one(&store).await, done()).await.unwrap(), Settled::Kept);
    let held = lease_one(&store).await;
    assert_eq!(held.delivery.event, ids[1]);
    ids.push(append(keyed()).await);

    fall_back(&case, &proxy, &copy).await;
    mended(&store).await;
    assert_eq!(state(&store, ids[0]).await, State::Done);
    assert_eq!(lease(&store, 9).await.leases.len(), 0, "they wait behind the one that is held");
    assert_eq!(store.settle(held, done()).await.unwrap(), Settled::Kept);
    for id in &ids[2..] {
        let next = lease_one(&store).await;
        assert_eq!(next.delivery.event, *id);
        assert_eq!(store.settle(next, done()).await.unwrap(), Settled::Kept);
    }
    counts_are_exact(&case, &store).await;
    store.close().await.unwrap();
}

/// The events of the store, once queries have a connection again.
async fn stored(store: &Postgres) -> u64 {
    loop {
        match store.stats().await {
            Ok(stats) => return stats.events,
            Err(StoreError::Unreachable(_)) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn without_a_tail_in_memory_a_loss_is_found_and_told() {
    let Some(case) = one_postgres() else { return };
    let database = case.database().await;
    let proxy = Proxy::before(database.port).await;
    let url = proxy.url(&database.name).into();
    let options = PostgresOptions { url, tail_bytes: 0, ..case.options().await };
    let store = Postgres::open(options).await.unwrap();
    send(&store, 1).await;
    let copy = remember(&case, &proxy).await;
    let lost = send(&store, 2).await.id;
    fall_back(&case, &proxy, &copy).await;
    mended(&store).await;
    let told = store.warnings().join("\n");
    assert!(told.contains("0 were sent again") && told.contains("are lost"), "{told}");
    // The sender repeats it, and it is no duplicate.
    let again = send(&store, 2).await;
    assert!(!again.duplicate && again.id != lost);
    assert_eq!(stored(&store).await, 2);
    store.close().await.unwrap();
}

/// As behind a pooler, which connects to another server without a word.
#[tokio::test]
async fn a_server_without_the_last_batch_is_found_out_by_the_next_one() {
    let Some(case) = one_postgres() else { return };
    let store = case.open_postgres().await;
    let first = send(&store, 1).await.id;
    let admin = case.database().await.admin().await;
    let tables = ["open", "dedupe", "events", "commits"];
    for table in tables {
        admin.batch_execute(&format!("DELETE FROM hookbox.{table}")).await.unwrap();
    }
    send(&store, 2).await;
    assert_eq!(store.shared.loss.batches(), 1);
    assert!(store.warnings().join("\n").contains("1 were sent again"));
    while store.event(first).await.is_err() {
        tokio::task::yield_now().await;
    }
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_connection_that_was_only_cut_lacks_nothing() {
    let Some(case) = one_postgres() else { return };
    let (store, proxy) = behind_proxy(&case).await;
    for number in 0..3 {
        send(&store, number).await;
        proxy.set(Traffic::Closed);
        proxy.set(Traffic::Passes);
    }
    send(&store, 3).await;
    assert_eq!(store.shared.loss.batches(), 0);
    assert_eq!(stored(&store).await, 4);
    store.close().await.unwrap();
}

#[tokio::test]
async fn the_tail_stays_within_its_bytes() {
    let Some(case) = one_postgres() else { return };
    let most = 100 << 10;
    let options = PostgresOptions { tail_bytes: most, ..case.options().await };
    let store = Postgres::open(options).await.unwrap();
    for number in 0..40 {
        let mut large = numbered(number);
        large.attributes.body = vec![b'x'; 10 << 10].into();
        store.append(large).await.unwrap();
        assert!(store.shared.tail.bytes() <= most);
    }
    assert!(store.shared.tail.bytes() > most / 2, "it is used");
    // Another incarnation knows nothing of it.
    store.close().await.unwrap();
}
