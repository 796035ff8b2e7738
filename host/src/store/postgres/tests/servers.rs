//! Servers that a host refuses or waits for: a former primary, another database, one that is
//! read-only or has no standby.

use std::collections::BTreeSet;

use hookbox_tools::cluster::Cluster;
use tokio::task::JoinHandle;

use super::failover::{SETTINGS, both, opened, set, wait_for_standbys};
use super::faults::{done, lease_one, numbered, send};
use super::*;
use crate::store::{Count, Health, Hosts, Queue, ReadOne, Settled, StoreError};
use crate::tasks;

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

/// Waits for another session than this one that commits and waits for the standby, and returns
/// it. Meanwhile the call is not answered.
async fn waiting<T>(primary: &Cluster, before: &str, call: &JoinHandle<T>) -> String {
    let sql = format!(
        "SELECT pid FROM pg_stat_activity
         WHERE wait_event = 'SyncRep' AND query = 'COMMIT' AND pid <> {before} LIMIT 1"
    );
    loop {
        assert!(!call.is_finished(), "nothing is acknowledged");
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
        let waits = waiting(&primary, "0", &append).await;
        primary.sql(&format!("SELECT {ends}({waits})"));
        // It is committed, and looked up, and waits for the standby once more.
        waiting(&primary, &waits, &append).await;
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
    let of_before: BTreeSet<&str> = before.split(',').collect();
    // Those of operators and listings are made again when somebody needs them; the others end.
    while cluster.sql(sessions).split(',').filter(|pid| of_before.contains(pid)).count() > 2 {
        tokio::task::yield_now().await;
    }
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
