//! Snapshots that others hold.

use std::sync::Mutex;
use std::time::Duration;

use hookbox_tools::cluster::Cluster;
use tracing::field::Field;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::faults::{done, lease_one, send};
use super::*;
use crate::store::{Health, Queue, Settled};

/// A host that soon tells of an old snapshot.
async fn watchful(case: &OnePostgres) -> Postgres {
    let snapshot_bound = Duration::from_millis(1_500);
    Postgres::open(PostgresOptions { snapshot_bound, ..case.options().await }).await.unwrap()
}

/// Works until an operator is told of something with all these parts.
async fn until_told_of(store: &Postgres, number: &mut u64, parts: &[&str]) -> String {
    loop {
        send(store, *number).await;
        *number += 1;
        let held = lease_one(store).await;
        assert_eq!(store.settle(held, done()).await.unwrap(), Settled::Kept, "the road goes on");
        let told = store.warnings().join("\n");
        if parts.iter().all(|part| told.contains(part)) {
            return told;
        }
    }
}

/// Waits until no snapshot is told of. That the server has no `fsync` always is.
async fn until_nothing_is_told(store: &Postgres) {
    while store.warnings().iter().any(|told| told.contains("an old snapshot")) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_snapshot_that_another_role_holds_is_told_of_while_work_goes_on_and_until_it_ends() {
    let Some(case) = one_postgres() else { return };
    let store = watchful(&case).await;
    let database = case.database().await;
    let (holder, mut number) = (database.admin().await, 0);
    let pid: i32 = holder.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let begin = "SET application_name = 'report'; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1";
    holder.batch_execute(begin).await.unwrap();
    let process = format!("process {pid} of Postgres (role `postgres`, application `report`)");
    let right = format!("pg_terminate_backend({pid})");
    until_told_of(&store, &mut number, &[&process, " since 20", &right]).await;
    // A host that starts later does not see when another role's transaction began.
    let folder = tempfile::tempdir().unwrap();
    let second = PostgresOptions {
        folder: folder.path().to_owned(),
        snapshot_bound: Duration::ZERO,
        ..case.options().await
    };
    let second = Postgres::open(second).await.unwrap();
    let told = until_told_of(&second, &mut number, &[&process]).await;
    assert!(told.contains(" or longer"), "{told}");
    holder.batch_execute("COMMIT").await.unwrap();
    until_nothing_is_told(&store).await;
    store.close().await.unwrap();
}

#[tokio::test]
async fn with_the_right_to_see_statistics_a_host_knows_how_old_a_snapshot_of_before_is() {
    let Some(case) = one_postgres() else { return };
    let database = case.database().await;
    let (holder, granted) = (database.admin().await, database.admin().await);
    holder.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").await.unwrap();
    let (role, mut number) = (format!("seer_{}", database.name), 0);
    let grant = format!(
        "CREATE ROLE {role} LOGIN PASSWORD '{}' IN ROLE {}, pg_read_all_stats",
        rig::PASSWORD,
        rig::USER
    );
    granted.batch_execute(&grant).await.unwrap();
    let url = database.url().replace(&format!("//{}:", rig::USER), &format!("//{role}:"));
    let options = PostgresOptions { url: url.into(), ..case.options().await };
    let snapshot_bound = Duration::from_millis(500);
    let store = Postgres::open(PostgresOptions { snapshot_bound, ..options }).await.unwrap();
    let told = until_told_of(&store, &mut number, &["process ", " since 20"]).await;
    assert!(!told.contains("or longer"), "{told}");
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_prepared_transaction_that_nobody_ends_is_told_of_with_what_ends_it() {
    let Some(case) = one_postgres() else { return };
    // It would be seen by the hosts of all databases of a server.
    let cluster = Cluster::start(&["ssl=off", "max_prepared_transactions=2"]).expect("it is there");
    let url = cluster.url("?sslmode=disable").into();
    let snapshot_bound = Duration::from_millis(1_500);
    let options = PostgresOptions { url, snapshot_bound, ..case.options().await };
    let store = Postgres::open(options).await.unwrap();
    cluster.sql("BEGIN; CREATE TABLE moved (id integer); PREPARE TRANSACTION 'move'");
    let parts = ["prepared transaction `move` of role `", "`ROLLBACK PREPARED 'move'`"];
    until_told_of(&store, &mut 0, &parts).await;
    cluster.sql("ROLLBACK PREPARED 'move'");
    until_nothing_is_told(&store).await;
    store.close().await.unwrap();
}

/// The messages of a log.
#[derive(Debug, Clone, Default)]
struct LogMessages(Arc<Mutex<Vec<String>>>);

impl Subscriber for LogMessages {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut |field: &Field, value: &dyn std::fmt::Debug| {
            if field.name() == "message" {
                self.0.lock().unwrap().push(format!("{value:?}"));
            }
        });
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_read_is_told_of_once_and_once_when_it_can() {
    let Some(case) = one_postgres() else { return };
    let log = LogMessages::default();
    let _until_the_end = tracing::subscriber::set_default(log.clone());
    let told =
        |text: &str| log.0.lock().unwrap().iter().filter(|said| said.ends_with(text)).count();
    let store = case.open_postgres().await;
    let admin = case.database().await.admin().await;
    let beats = async |more: u32| {
        for _ in 0..more {
            let sql = "SELECT alive::text FROM hookbox.hosts";
            let alive = async || admin.query_one(sql, &[]).await.unwrap().get::<_, String>(0);
            let before = alive().await;
            while alive().await == before {
                tokio::task::yield_now().await;
            }
        }
    };
    let (unknown, known) = ("cannot learn the oldest snapshot", "learns the oldest snapshot again");
    for round in 1..3 {
        let gone = "ALTER FUNCTION hookbox.horizon_v1() RENAME TO horizon_gone";
        admin.batch_execute(gone).await.unwrap();
        beats(4).await;
        assert_eq!((told(unknown), told(known)), (round, round - 1));
        let back = "ALTER FUNCTION hookbox.horizon_gone() RENAME TO horizon_v1";
        admin.batch_execute(back).await.unwrap();
        beats(3).await;
        assert_eq!((told(unknown), told(known)), (round, round));
    }
    store.close().await.unwrap();
}
