//! Time limits of joins that several hosts change, and those that a failover has lost.

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio_postgres::Client;

use super::faults::behind_proxy;
use super::hosts::another;
use super::lost_tail::{fall_back, remember};
use super::proxy::Proxy;
use super::values::member;
use super::*;
use crate::event::GatheringKind;
use crate::store::{GatheringFilter, Health, Queue, Read, StoreError};

/// The section whose limit changes. It has an hour by the terms of its members.
const JOIN: &str = "joins/pair";

const HOUR_MS: i64 = 3_600_000;

/// More than one step of a walk looks at.
const OPEN: u32 = 600;

/// Sets a limit, as the host does: again after an error.
async fn limit(store: &Postgres, hours: i64) -> u64 {
    let within = Duration::from_millis((hours * HOUR_MS).unsigned_abs());
    loop {
        match store.set_time_limits(vec![(JOIN.into(), within)]).await {
            Err(StoreError::Unreachable(_)) => tokio::task::yield_now().await,
            moved => return moved.unwrap(),
        }
    }
}

/// Sets again whatever is found to be lost, without end.
async fn restore(store: &Postgres) {
    loop {
        let restored = store.restore_time_limits().await;
        assert!(matches!(restored, Ok(_) | Err(StoreError::Unreachable(_))), "{restored:?}");
    }
}

/// Waits until the limit is so long and everything that was open has followed.
async fn until_set(admin: &Client, hours: i64) {
    let sql = "SELECT EXISTS (SELECT FROM hookbox.time_limits WHERE within = $1 AND moved)";
    while !admin.query_one(sql, &[&(hours * HOUR_MS)]).await.unwrap().get::<_, bool>(0) {
        tokio::task::yield_now().await;
    }
}

/// For how long open joins are open at most, in hours.
async fn open_for(store: &Postgres) -> (usize, BTreeSet<i64>) {
    let (found, _) = store.gatherings(GatheringFilter::default(), 1_000, None).await.unwrap();
    (found.len(), found.iter().map(|open| (open.until_ms - open.since_ms) / HOUR_MS).collect())
}

#[tokio::test]
async fn a_limit_that_a_failover_has_lost_is_set_again_and_what_is_open_ends_by_it() {
    let Some(case) = one_postgres() else { return };
    let (store, proxy) = behind_proxy(&case).await;
    store.append(member(GatheringKind::Join, 2, "a")).await.unwrap();
    assert_eq!(limit(&store, 3).await, 1);
    let copy = remember(&case, &proxy).await;
    assert_eq!(limit(&store, 2).await, 1);
    fall_back(&case, &proxy, &copy).await;
    let admin = case.database().await.admin().await;
    tokio::select! {
        () = restore(&store) => unreachable!("it has no end"),
        () = until_set(&admin, 2) => {}
    }
    assert_eq!(open_for(&store).await, (1, BTreeSet::from([2])));
    // A table that was emptied as well.
    admin.batch_execute("DELETE FROM hookbox.time_limits").await.unwrap();
    assert_eq!(store.restore_time_limits().await.unwrap(), 0, "they end by it already");
    until_set(&admin, 2).await;
    store.close().await.unwrap();
}

/// Another host that goes through the proxy.
async fn another_behind(case: &OnePostgres, proxy: &Proxy) -> (Postgres, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let url = proxy.url(&case.database().await.name).into();
    let options = PostgresOptions { url, folder: folder.path().to_owned(), ..case.options().await };
    (Postgres::open(options).await.unwrap(), folder)
}

#[tokio::test]
async fn of_lost_limits_of_two_hosts_the_one_that_was_set_last_counts_again() {
    let Some(case) = one_postgres() else { return };
    let (first, proxy) = behind_proxy(&case).await;
    let (second, _folder) = another_behind(&case, &proxy).await;
    first.append(member(GatheringKind::Join, 2, "a")).await.unwrap();
    let copy = remember(&case, &proxy).await;
    limit(&second, 2).await;
    limit(&first, 3).await;
    fall_back(&case, &proxy, &copy).await;
    let admin = case.database().await.admin().await;
    tokio::select! {
        () = restore(&first) => unreachable!("it has no end"),
        () = restore(&second) => unreachable!("it has no end"),
        () = until_set(&admin, 3) => {}
    }
    assert_eq!(open_for(&first).await, (1, BTreeSet::from([3])));
    // The other one knows of it, and of the next one.
    assert_eq!(limit(&first, 4).await, 1);
    second.shared.limits.verify(&second.reads.client().await.unwrap()).await.unwrap();
    let told = poll_once(second.shared.limits.lost.notified()).await;
    assert!(!told, "a limit that was set later is no loss");
    first.close().await.unwrap();
    second.close().await.unwrap();
}

/// Polls a future that is given up then; whether it was ready.
async fn poll_once(future: impl Future) -> bool {
    let mut future = pin!(future);
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await
}

/// Goes on with a call until a query says so, and no further.
async fn go_on_until(
    mut call: std::pin::Pin<&mut impl Future<Output = u64>>,
    admin: &Client,
    sql: &str,
) {
    loop {
        let is_done = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_ready())).await;
        assert!(!is_done, "it has ended before: {sql}");
        if admin.query_one(sql, &[]).await.unwrap().get::<_, bool>(0) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_walk_of_before_does_not_end_that_of_a_limit_which_came_back_to_the_same() {
    let Some(case) = one_postgres() else { return };
    let first = case.open_postgres().await;
    let (second, _folder) = another(&case).await;
    let (third, _other) = another(&case).await;
    for part in 0..12 {
        let keys = (0..OPEN).filter(|key| key % 12 == part);
        let calls: Vec<_> = keys
            .map(|key| first.append(member(GatheringKind::Join, 2, &key.to_string())))
            .collect();
        for call in calls {
            call.await.unwrap();
        }
    }
    let admin = case.database().await.admin().await;
    // A walk of the first host is in the midst of it,
    let mut walk = Box::pin(limit(&first, 2));
    let sql = "SELECT count(*) = 500 FROM hookbox.gatherings WHERE until - opened = 7200000";
    go_on_until(walk.as_mut(), &admin, sql).await;
    // another host sets another limit,
    assert_eq!(limit(&second, 3).await, u64::from(OPEN));
    // and one sets the first limit again and dies.
    {
        let mut dies = Box::pin(limit(&third, 2));
        let sql = "SELECT within = 7200000 FROM hookbox.time_limits";
        go_on_until(dies.as_mut(), &admin, sql).await;
    }
    drop(third);
    walk.await;
    let is_moved = "SELECT moved FROM hookbox.time_limits";
    assert!(!admin.query_one(is_moved, &[]).await.unwrap().get::<_, bool>(0));
    // The next host that sets it finds that something is left.
    assert!(limit(&second, 2).await > 0);
    assert_eq!(open_for(&first).await, (OPEN as usize, BTreeSet::from([2])));
}
