//! Failovers of real servers: a primary, its standby, and hosts whose address names both.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hookbox_tools::cluster::{Cluster, PASSWORD};
use tokio::sync::watch;

use super::faults::{LONG, done, numbered, send};
use super::hosts::lease;
use super::*;
use crate::event::{DeliveryId, EventId};
use crate::store::{Health, Queue, Settled, StoreError};
use crate::{env, tasks};

pub(super) const SETTINGS: [&str; 1] = ["ssl=off"];

/// How a host names both, as people write it.
pub(super) async fn both(case: &OnePostgres, first: &Cluster, second: &Cluster) -> PostgresOptions {
    let url = format!(
        "postgres://postgres:{PASSWORD}@127.0.0.1:{},127.0.0.1:{}/postgres\
         ?target_session_attrs=read-write&sslmode=disable",
        first.port, second.port
    );
    PostgresOptions { url: url.into(), ..case.options().await }
}

/// Changes a setting of a running server.
pub(super) fn set(cluster: &Cluster, sql: &str) {
    cluster.sql(sql);
    cluster.sql("SELECT pg_reload_conf()");
}

/// Waits for an answer of a server.
async fn answers(cluster: &Cluster, sql: &str, wanted: &str) {
    while cluster.sql(sql) != wanted {
        tokio::task::yield_now().await;
    }
}

/// Makes the standby one that a commit waits for.
pub(super) async fn wait_for_standbys(primary: &Cluster) {
    set(primary, "ALTER SYSTEM SET synchronous_standby_names = '*'");
    let sync = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
    answers(primary, sync, "1").await;
}

/// Waits until the store is reachable.
async fn recovered(store: &Postgres) {
    store.shared.reach.trouble.subscribe().wait_for(Option::is_none).await.unwrap();
}

/// Opens the store, once the one before has let go of its folder.
pub(super) async fn opened(options: impl AsyncFn() -> PostgresOptions) -> Postgres {
    loop {
        match Postgres::open(options().await).await {
            Err(PostgresOpenError::InUse(_)) => tokio::task::yield_now().await,
            opened => return opened.unwrap(),
        }
    }
}

/// The answers that senders and workers got.
#[derive(Default)]
struct TestJournal {
    acked: watch::Sender<BTreeSet<EventId>>,
    settled: Mutex<BTreeSet<DeliveryId>>,
    numbers: AtomicU64,
    /// Deliveries that were settled twice.
    repeats: AtomicU64,
    is_over: AtomicBool,
}

impl TestJournal {
    /// Waits for so many more events.
    async fn passes(&self, more: usize) {
        let mut acked = self.acked.subscribe();
        let wanted = acked.borrow().len() + more;
        acked.wait_for(|acked| acked.len() >= wanted).await.unwrap();
    }

    /// Sends and settles until it is told to stop.
    async fn load(&self, store: &Postgres) {
        while !self.is_over.load(Ordering::Relaxed) {
            let number = self.numbers.fetch_add(1, Ordering::Relaxed);
            let appended = loop {
                match store.append(numbered(number)).await {
                    Err(StoreError::Unreachable(_)) => recovered(store).await,
                    appended => break appended.unwrap(),
                }
            };
            self.acked.send_modify(|acked| {
                acked.insert(appended.id);
            });
            for held in lease(store, 1).await.leases {
                let delivery = held.delivery;
                let is_kept = store.settle(held, done()).await.unwrap() == Settled::Kept;
                if is_kept && !self.settled.lock().unwrap().insert(delivery) {
                    self.repeats.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// The events and the settlements that the server does not have.
    fn missing(&self, server: &Cluster) -> String {
        let list = |ids: Vec<i64>| {
            let texts: Vec<_> = ids.iter().map(i64::to_string).collect();
            format!("'{{{}}}'::bigint[]", texts.join(","))
        };
        let acked: Vec<_> = self.acked.borrow().iter().map(|id| id.row()).collect();
        let settled: Vec<_> =
            self.settled.lock().unwrap().iter().map(|id| id.event.row()).collect();
        let missing = format!(
            "SELECT (SELECT count(*) FROM unnest({}) i
                 WHERE NOT EXISTS (SELECT FROM hookbox.events e WHERE e.id = i)),
                 (SELECT count(*) FROM unnest({}) i
                 WHERE NOT EXISTS (SELECT FROM hookbox.settled s WHERE s.event = i))",
            list(acked),
            list(settled)
        );
        server.sql(&missing)
    }
}

/// Runs senders and workers until the standby has taken over from a primary that was killed.
async fn fails_over(
    stores: &[&Arc<Postgres>],
    primary: &Cluster,
    standby: &Cluster,
) -> TestJournal {
    let journal = Arc::new(TestJournal::default());
    let mut loads = Vec::new();
    for store in stores.iter().cycle().take(4) {
        let (journal, store) = (Arc::clone(&journal), Arc::clone(store));
        loads.push(tasks::spawn(async move { journal.load(&store).await }));
    }
    journal.passes(40).await;
    primary.stop("immediate");
    standby.promote();
    journal.passes(40).await;
    journal.is_over.store(true, Ordering::Relaxed);
    for load in loads {
        load.await.unwrap();
    }
    Arc::into_inner(journal).expect("the loads have ended")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_synchronous_standby_that_is_promoted_under_load_has_all_that_was_acknowledged() {
    let Some(case) = one_postgres() else { return };
    let mut primary = Cluster::start(&SETTINGS).expect("it is there");
    for round in 0..if env::var(LONG).is_some() { 50 } else { 2 } {
        let standby = primary.standby(&SETTINGS);
        wait_for_standbys(&primary).await;
        let store = Arc::new(opened(async || both(&case, &primary, &standby).await).await);
        let journal = fails_over(&[&store], &primary, &standby).await;
        assert_eq!(journal.missing(&standby), "0|0", "round {round}");
        assert_eq!(journal.repeats.load(Ordering::Relaxed), 0, "settled twice");
        assert_eq!(store.shared.loss.batches(), 0, "round {round}");
        store.close().await.unwrap();
        primary = standby;
    }
}

/// Waits until the standby has everything, and has it receive nothing more.
async fn lags(primary: &Cluster, standby: &Cluster) {
    let lag = "SELECT bool_and(replay_lsn >= pg_current_wal_lsn()) FROM pg_stat_replication";
    answers(primary, lag, "t").await;
    set(standby, "ALTER SYSTEM SET primary_conninfo = ''");
    answers(primary, "SELECT count(*) FROM pg_stat_replication", "0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_an_asynchronous_standby_that_lags_the_lost_tail_is_found_and_sent_again() {
    let Some(case) = one_postgres() else { return };
    let primary = Cluster::start(&SETTINGS).expect("it is there");
    let standby = primary.standby(&SETTINGS);
    let store = Arc::new(Postgres::open(both(&case, &primary, &standby).await).await.unwrap());
    send(&store, u64::MAX).await;
    lags(&primary, &standby).await;
    let journal = fails_over(&[&store], &primary, &standby).await;
    assert!(store.shared.loss.batches() > 0, "the loss is found");
    let told = store.warnings().join("\n");
    assert!(told.contains("so nothing that was acknowledged is lost"), "{told}");
    assert_eq!(journal.missing(&standby), "0|0");
    assert_eq!(journal.repeats.load(Ordering::Relaxed), 0, "settled twice");
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_two_hosts_sends_again_what_it_had_acknowledged() {
    let Some(case) = one_postgres() else { return };
    let primary = Cluster::start(&SETTINGS).expect("it is there");
    let standby = primary.standby(&SETTINGS);
    let folder = tempfile::tempdir().unwrap();
    let options = both(&case, &primary, &standby).await;
    let other = PostgresOptions {
        folder: folder.path().to_owned(),
        ..both(&case, &primary, &standby).await
    };
    let first = Arc::new(Postgres::open(options).await.unwrap());
    let second = Arc::new(Postgres::open(other).await.unwrap());
    send(&first, u64::MAX).await;
    lags(&primary, &standby).await;
    let journal = fails_over(&[&first, &second], &primary, &standby).await;
    for store in [&first, &second] {
        recovered(store).await;
        assert!(store.shared.loss.batches() > 0, "the loss is found");
    }
    // A settlement may come before the event that the other host has to send: then it runs again.
    let missing = journal.missing(&standby);
    assert!(missing.starts_with("0|"), "events and settlements: {missing}");
    first.close().await.unwrap();
    second.close().await.unwrap();
}
