//! Work that is done for all hosts by any of them.

use super::hosts::event;
use super::*;
use crate::store::{Health, Queue};

const DAY_MS: i64 = 24 * 3_600_000;

/// Whether events of days that have no partition are told of.
fn warns(store: &Postgres) -> bool {
    store.warnings().iter().any(|warning| warning.contains("without a partition"))
}

#[tokio::test]
async fn a_host_that_runs_for_days_makes_the_partitions_of_the_days_to_come() {
    let Some(case) = one_postgres() else { return };
    let store = case.open_postgres().await;
    let admin = case.database().await.admin().await;
    for days in [4, 8] {
        let now_ms = START_MS + days * DAY_MS;
        case.clock.set(now_ms);
        for day in now_ms / DAY_MS..=now_ms / DAY_MS + 2 {
            let sql = "SELECT to_regclass($1) IS NOT NULL AND to_regclass($2) IS NOT NULL";
            let (events, settled) =
                (format!("hookbox.events_{day}"), format!("hookbox.settled_{day}"));
            while !admin.query_one(sql, &[&events, &settled]).await.unwrap().get::<_, bool>(0) {
                tokio::task::yield_now().await;
            }
        }
        store.append(event(None)).await.unwrap();
    }
    let astray = "SELECT count(*) FROM hookbox.events_rest";
    assert_eq!(admin.query_one(astray, &[]).await.unwrap().get::<_, i64>(0), 0);
    assert!(!warns(&store), "{:?}", store.warnings());
}

#[tokio::test]
async fn events_of_days_without_a_partition_are_a_warning_as_long_as_they_are_there() {
    let Some(case) = one_postgres() else { return };
    let store = case.open_postgres().await;
    let admin = case.database().await.admin().await;
    let never = format!("UPDATE hookbox.chores SET due = {}", i64::MAX);
    admin.batch_execute(&never).await.unwrap();
    case.clock.set(START_MS + 10 * DAY_MS);
    store.append(event(None)).await.unwrap();
    while !warns(&store) {
        tokio::task::yield_now().await;
    }
    admin.batch_execute("DELETE FROM hookbox.events_rest").await.unwrap();
    while warns(&store) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_markers_of_a_run_that_is_over_stay_for_a_day_and_then_go() {
    let Some(case) = one_postgres() else { return };
    let first = case.open_postgres().await;
    first.append(event(None)).await.unwrap();
    let old = first.shared.run().incarnation;
    drop(first);
    let second = case.open_postgres().await;
    let admin = case.database().await.admin().await;
    let markers = async || -> (i64, i64) {
        let sql = "SELECT (SELECT count(*) FROM hookbox.commits WHERE incarnation = $1),
            (SELECT count(*) FROM hookbox.ended_runs WHERE run = $1)";
        let row = admin.query_one(sql, &[&old]).await.unwrap();
        (row.get(0), row.get(1))
    };
    admin.batch_execute("UPDATE hookbox.chores SET due = 0").await.unwrap();
    let due = "SELECT count(*) FROM hookbox.chores WHERE due = 0";
    while admin.query_one(due, &[]).await.unwrap().get::<_, i64>(0) > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(markers().await, (1, 1), "its host may still ask");
    case.clock.set(START_MS + DAY_MS + 1);
    while markers().await != (0, 0) {
        tokio::task::yield_now().await;
    }
    drop(second);
}

#[tokio::test]
async fn a_chore_is_done_by_one_host_at_a_time() {
    let Some(case) = one_postgres() else { return };
    let _store = case.open_postgres().await;
    let (admin, other) = (case.database().await.admin().await, case.database().await.admin().await);
    let lock = "BEGIN; SELECT FROM hookbox.chores WHERE name = 'partitions' FOR UPDATE";
    admin.batch_execute(lock).await.unwrap();
    let far_ms = START_MS + 100 * DAY_MS;
    let mut done = Vec::new();
    loop {
        let row = other.query_one("SELECT hookbox.chore_v1($1)", &[&far_ms]).await.unwrap();
        let Some(name) = row.get::<_, Option<String>>(0) else { break };
        done.push(name);
    }
    assert_eq!(done, ["markers"], "another is at the partitions");
    admin.batch_execute("COMMIT").await.unwrap();
    let row = other.query_one("SELECT hookbox.chore_v1($1)", &[&far_ms]).await.unwrap();
    assert_eq!(row.get::<_, Option<String>>(0).as_deref(), Some("partitions"));
}
