//! Failovers of real servers: a primary, its standby, and hosts whose address names both.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hookbox_tools::cluster::{Cluster, PASSWORD};
use tokio::sync::watch;

use super::faults::{LONG, done, lease_one, numbered, send};
use super::hosts::lease;
use super::*;
use crate::event::{DeliveryId, EventId};
use crate::store::{Count, Health, Hosts, Queue, ReadOne, Settled, StoreError};
use crate::{env, tasks};

const SETTINGS: [&str; 1] = ["ssl=off"];

/// How a host names both, as people write it.
async fn both(case: &OnePostgres, first: &Cluster, second: &Cluster) -> PostgresOptions {
    let url = format!(
        "postgres://postgres:{PASSWORD}@127.0.0.1:{},127.0.0.1:{}/postgres\
         ?target_session_attrs=read-write&sslmode=disable",
        first.port, second.port
    );
    PostgresOptions { url: url.into(), ..case.options().await }
}

/// Changes a setting of a running server.
fn set(cluster: &Cluster, sql: &str) {
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
async fn wait_for_standbys(primary: &Cluster) {
    set(primary, "ALTER SYSTEM SET synchronous_standby_names = '*'");
    let sync = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
    answers(primary, sync, "1").await;
}

/// Waits until the store is reachable.
async fn recovered(store: &Postgres) {
    store.shared.trouble.subscribe().wait_for(Option::is_none).await.unwrap();
}

/// Opens the store, once the one before has let go of its folder.
async fn opened(options: impl AsyncFn() -> PostgresOptions) -> Postgres {
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
                if store.settle(held, done()).await.unwrap() == Settled::Kept {
                    let is_first = self.settled.lock().unwrap().insert(delivery);
                    assert!(is_first, "{delivery} was settled twice");
                }
            }
        }
    }

    /// Whether the server has everything; in one query, because the test may hold many.
    fn is_kept_by(&self, server: &Cluster) {
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
        assert_eq!(server.sql(&missing), "0|0", "events and settlements that are lost");
    }
}

/// Runs senders and workers until the standby has taken over from a primary that was killed.
async fn fails_over(store: Arc<Postgres>, primary: &Cluster, standby: &Cluster) -> TestJournal {
    let journal = Arc::new(TestJournal::default());
    let mut loads = Vec::new();
    for _ in 0..4 {
        let (journal, store) = (Arc::clone(&journal), Arc::clone(&store));
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
        let journal = fails_over(Arc::clone(&store), &primary, &standby).await;
        journal.is_kept_by(&standby);
        assert_eq!(store.shared.loss.batches(), 0, "round {round}");
        store.close().await.unwrap();
        primary = standby;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_an_asynchronous_standby_that_lags_the_lost_tail_is_found_and_sent_again() {
    let Some(case) = one_postgres() else { return };
    let primary = Cluster::start(&SETTINGS).expect("it is there");
    let standby = primary.standby(&SETTINGS);
    let store = Arc::new(Postgres::open(both(&case, &primary, &standby).await).await.unwrap());
    send(&store, u64::MAX).await;
    let lag = "SELECT bool_and(replay_lsn >= pg_current_wal_lsn()) FROM pg_stat_replication";
    answers(&primary, lag, "t").await;
    set(&standby, "ALTER SYSTEM SET primary_conninfo = ''");
    answers(&primary, "SELECT count(*) FROM pg_stat_replication", "0").await;
    let journal = fails_over(Arc::clone(&store), &primary, &standby).await;
    assert!(store.shared.loss.batches() > 0, "the loss is found");
    let told = store.warnings().join("\n");
    assert!(told.contains("so nothing that was acknowledged is lost"), "{told}");
    journal.is_kept_by(&standby);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_former_primary_that_comes_back_writable_is_not_written_to() {
    let Some(case) = one_postgres() else { return };
    let old = Cluster::start(&SETTINGS).expect("it is there");
    let new = old.standby(&SETTINGS);
    wait_for_standbys(&old).await;
    let store = Postgres::open(both(&case, &old, &new).await).await.unwrap();
    let first = send(&store, 1).await.id;
    old.stop("immediate");
    new.promote();
    send(&store, 2).await;
    set_back(&old);
    new.stop("fast");
    let refused = loop {
        match store.append(numbered(3)).await {
            Err(StoreError::Unreachable(why)) if why.contains("left behind") => break why,
            Err(StoreError::Unreachable(_)) => tokio::task::yield_now().await,
            other => panic!("{other:?}"),
        }
    };
    assert!(refused.contains("timeline 1") && refused.contains("timeline 2"), "{refused}");
    assert!(matches!(store.trouble(), Some(StoreError::Unreachable(_))));
    assert_eq!(old.sql("SELECT count(*) FROM hookbox.events"), "1");
    new.start_again(&SETTINGS);
    // The address names the old one first, which is passed over.
    send(&store, 3).await;
    while store.event(first).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.stats().await.unwrap().events, 3);
    assert_eq!(old.sql("SELECT count(*) FROM hookbox.events"), "1");
    store.close().await.unwrap();
}

/// Starts a former primary as if nothing had happened. No standby follows it.
fn set_back(old: &Cluster) {
    old.start_again(&["ssl=off", "synchronous_standby_names="]);
}

#[tokio::test]
async fn another_database_in_the_place_of_the_primary_is_refused() {
    let Some(case) = one_postgres() else { return };
    let ours = Cluster::start(&SETTINGS).expect("it is there");
    let theirs = Cluster::start(&SETTINGS).expect("it is there");
    let store = Postgres::open(both(&case, &ours, &theirs).await).await.unwrap();
    send(&store, 1).await;
    ours.stop("fast");
    loop {
        match store.append(numbered(2)).await {
            Err(StoreError::Unreachable(why)) if why.contains("is another database") => break,
            Err(StoreError::Unreachable(_)) => tokio::task::yield_now().await,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(theirs.sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'hookbox'"), "0");
    ours.start_again(&SETTINGS);
    send(&store, 2).await;
    store.close().await.unwrap();
}

/// Waits for a session of the host that has committed this and waits for the standby, and returns
/// it.
async fn waiting(primary: &Cluster, query: &str) -> String {
    let sql = format!(
        "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query LIKE '{query}'
         LIMIT 1"
    );
    loop {
        match primary.sql(&sql) {
            none if none.is_empty() => tokio::task::yield_now().await,
            pid => return pid,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_wait_for_the_standby_is_cancelled_is_not_acknowledged_before_it_is_there() {
    let Some(case) = one_postgres() else { return };
    let primary = Cluster::start(&SETTINGS).expect("it is there");
    let standby = primary.standby(&SETTINGS);
    wait_for_standbys(&primary).await;
    let options = both(&case, &primary, &standby).await;
    let store = Arc::new(Postgres::open(options).await.unwrap());
    let mut sent = vec![send(&store, 0).await.id];
    for (number, ends) in (1..).zip(["pg_cancel_backend", "pg_terminate_backend"]) {
        standby.stop("fast");
        let sender = Arc::clone(&store);
        let append = tasks::spawn(async move { send(&sender, number).await.id });
        let waits = waiting(&primary, "COMMIT").await;
        primary.sql(&format!("SELECT {ends}({waits})"));
        // It is committed, and looked up, and waits for the standby once more.
        waiting(&primary, "%take_back_v1%").await;
        assert!(!append.is_finished(), "nothing is acknowledged");
        standby.start_again(&SETTINGS);
        sent.push(append.await.unwrap());
    }
    primary.stop("immediate");
    standby.promote();
    send(&store, 9).await;
    assert_eq!(store.shared.loss.batches(), 0);
    for id in sent {
        let found = format!("SELECT count(*) FROM hookbox.events WHERE id = {}", id.row());
        assert_eq!(standby.sql(&found), "1");
    }
    assert_eq!(standby.sql("SELECT count(*) FROM hookbox.events"), "4", "none is there twice");
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_server_that_becomes_read_only_loses_its_connections_and_is_taken_again_by_itself() {
    let Some(case) = one_postgres() else { return };
    let cluster = Cluster::start(&SETTINGS).expect("it is there");
    let url = cluster.url("?sslmode=disable");
    let options = PostgresOptions { url: url.into(), ..case.options().await };
    let store = Postgres::open(options).await.unwrap();
    let first = send(&store, 1).await.id;
    let sessions = "SELECT string_agg(pid::text, ',' ORDER BY pid) FROM pg_stat_activity
        WHERE application_name = 'hookbox'";
    let before = cluster.sql(sessions);
    set(&cluster, "ALTER SYSTEM SET default_transaction_read_only = on");
    loop {
        match store.append(numbered(2)).await {
            Err(StoreError::Unreachable(why)) if why.contains("read-only") => break,
            Err(StoreError::Unreachable(_)) => tokio::task::yield_now().await,
            // The server has not read its settings yet.
            Ok(_) => {}
            other => panic!("{other:?}"),
        }
    }
    set(&cluster, "ALTER SYSTEM RESET default_transaction_read_only");
    send(&store, 3).await;
    while store.event(first).await.is_err() || store.trouble().is_some() {
        tokio::task::yield_now().await;
    }
    let (before, after) = (before, cluster.sql(sessions));
    let of_before: BTreeSet<&str> = before.split(',').collect();
    let stay = after.split(',').filter(|pid| of_before.contains(pid)).count();
    // Those of operators and listings are made again when somebody needs them.
    assert!(stay <= 2, "{before}: {after}");
    let held = lease_one(&store).await;
    assert_eq!(store.settle(held, done()).await.unwrap(), Settled::Kept);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_standby_that_is_required_is_asked_for_at_the_start_and_missed_while_it_runs() {
    let Some(case) = one_postgres() else { return };
    let primary = Cluster::start(&SETTINGS).expect("it is there");
    let standby = primary.standby(&SETTINGS);
    let options = async || {
        let options = both(&case, &primary, &standby).await;
        PostgresOptions { needs_standby: true, ..options }
    };
    let error = Postgres::open(options().await).await.unwrap_err();
    assert!(matches!(error, PostgresOpenError::NotReplicated(_)), "{error}");
    for part in ["`store.require`", "`synchronous_standby_names`", "require = \"primary\""] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    wait_for_standbys(&primary).await;
    let store = opened(options).await;
    let promise = store.promise().unwrap();
    assert_eq!(
        promise,
        "on the primary's disk and on a standby's (synchronous_standby_names = '*')"
    );
    assert_eq!(store.warnings(), Vec::<String>::new());
    send(&store, 1).await;
    set(&primary, "ALTER SYSTEM RESET synchronous_standby_names");
    let why = loop {
        match store.append(numbered(2)).await {
            Err(StoreError::NotReplicated(why)) => break why,
            // The heartbeat has not seen it yet.
            Ok(_) => tokio::task::yield_now().await,
            other => panic!("{other:?}"),
        }
    };
    assert!(store.trouble().is_none(), "it goes on with what it has");
    assert_eq!(store.warnings(), [why]);
    let held = lease_one(&store).await;
    assert_eq!(store.settle(held, done()).await.unwrap(), Settled::Kept);
    wait_for_standbys(&primary).await;
    while store.append(numbered(2)).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.warnings(), Vec::<String>::new());
    store.close().await.unwrap();
}

#[tokio::test]
async fn an_outage_that_is_longer_than_the_time_out_of_hosts_takes_none_of_them_for_dead() {
    let Some(case) = one_postgres() else { return };
    let cluster = Cluster::start(&SETTINGS).expect("it is there");
    let folder = tempfile::tempdir().unwrap();
    let options = async || PostgresOptions {
        url: cluster.url("?sslmode=disable").into(),
        host_timeout: std::time::Duration::from_secs(2),
        ..case.options().await
    };
    let first = Postgres::open(options().await).await.unwrap();
    let other = PostgresOptions { folder: folder.path().to_owned(), ..options().await };
    let second = Postgres::open(other).await.unwrap();
    send(&first, 1).await;
    let held = lease_one(&second).await;
    cluster.stop("fast");
    // That takes longer.
    for store in [&first, &second] {
        let refused = store.append(numbered(2)).await;
        assert!(matches!(refused, Err(StoreError::Unreachable(_))), "{refused:?}");
    }
    cluster.start_again(&SETTINGS);
    for store in [&first, &second] {
        send(store, 2).await;
    }
    assert_eq!(second.settle(held, done()).await.unwrap(), Settled::Kept);
    assert_eq!(cluster.sql("SELECT count(*) FROM hookbox.hosts"), "2");
    first.close().await.unwrap();
    second.close().await.unwrap();
}
