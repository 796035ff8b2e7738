//! Queries, schedules, pauses and groups of failures as several hosts make and see them.

use std::sync::Arc;

use super::hosts::{another, event, lease};
use super::*;
use crate::event::{Attributes, NewEvent, Outcome};
use crate::store::conformance::record;
use crate::store::{
    Count as _, DeliveryFilter, EventFilter, FailureFilter, FailureView, Next, Operate as _, Page,
    Pausable, PauseChange, Queue as _, Read as _, ScheduleChange, ScheduleMark, Schedules as _,
    Settlement, Tick, TickStep, Ticked,
};

const PAGE: Page = Page { limit: 10, after: None };

/// An event with this own time and body.
fn at(time_ms: i64, body: &'static [u8]) -> NewEvent {
    let new = event(None);
    let body = bytes::Bytes::from_static(body);
    NewEvent { attributes: Attributes { time_ms, body, ..new.attributes.clone() }, ..new }
}

#[tokio::test]
async fn an_event_whose_host_had_a_wrong_clock_is_found_by_its_own_time() {
    let Some(case) = one_postgres() else { return };
    let store = case.open_postgres().await;
    let year_ms = 365 * 24 * 3_600_000;
    let mut ids = Vec::new();
    for time_ms in [START_MS, START_MS - year_ms, START_MS + year_ms, START_MS + 1] {
        ids.push(store.append(at(time_ms, b"{}")).await.unwrap().id);
    }
    let found = async |since_ms, until_ms| {
        let filter = EventFilter { since_ms, until_ms, ..EventFilter::default() };
        let (page, _) = store.events(filter, PAGE).await.unwrap();
        page.iter().map(|summary| summary.event.id).collect::<Vec<_>>()
    };
    assert_eq!(found(None, Some(START_MS)).await, [ids[1]]);
    assert_eq!(found(Some(START_MS + 2), None).await, [ids[2]]);
    assert_eq!(found(Some(START_MS), Some(START_MS + 2)).await, [ids[3], ids[0]]);
}

#[tokio::test]
async fn a_filter_with_the_character_0_finds_bodies_only() {
    let Some(case) = one_postgres() else { return };
    let store = case.open_postgres().await;
    let id = store.append(at(START_MS, b"a\0b")).await.unwrap().id;
    let text = Some("a\0b".to_owned());
    let filter = EventFilter { text: text.clone(), ..EventFilter::default() };
    assert_eq!(store.events(filter, PAGE).await.unwrap().0[0].event.id, id);
    let filter = EventFilter { subject: text.clone(), ..EventFilter::default() };
    assert_eq!(store.events(filter, PAGE).await.unwrap().0, []);
    let filter = DeliveryFilter { plugin: text, ..DeliveryFilter::default() };
    assert_eq!(store.deliveries(filter, PAGE).await.unwrap().0, []);
}

#[tokio::test]
async fn a_listing_leaves_no_transaction_open() {
    let Some(case) = one_postgres() else { return };
    let store = case.open_postgres().await;
    let admin = case.database().await.admin().await;
    store.events(EventFilter::default(), PAGE).await.unwrap();
    // One whose caller goes away, and one that the database refuses.
    drop(store.listings.read().await.unwrap());
    let broken = store.listings.read().await.unwrap();
    broken.batch_execute("SELECT 1 / 0").await.unwrap_err();
    drop(broken);
    loop {
        let sql = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
        if admin.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            break;
        }
    }
    store.events(EventFilter::default(), PAGE).await.unwrap();
}

#[tokio::test]
async fn what_another_host_has_paused_is_known_with_a_heartbeat() {
    let Some(case) = one_postgres() else { return };
    let store = case.open_postgres().await;
    let (other, _folder) = another(&case).await;
    let (mut seen, mut changes) = (other.pauses(), other.changes());
    let (kind, by, reason) = (Pausable::Plugin, "jo".to_owned(), "a".to_owned());
    let pause = PauseChange::Pause { kind, name: "audit".into(), by, reason };
    assert!(store.pause(None, pause).await.unwrap());
    seen.wait_for(|pauses| pauses.of(kind, "audit").is_some()).await.unwrap();
    assert!(changes.next().await.unwrap().plugins.contains("audit"));
    assert!(store.pause(None, PauseChange::Resume { kind, name: "audit".into() }).await.unwrap());
    seen.wait_for(|pauses| pauses.of(kind, "audit").is_none()).await.unwrap();
}

fn tick(name: &str, from_ms: i64) -> Tick {
    let event = Box::new(NewEvent { deliveries: Vec::new(), ..at(from_ms, b"{}") });
    let step = TickStep::Emit { event, skips_overlap: false };
    Tick { name: name.into(), spec: 7, from_ms, next_ms: from_ms + 10, step }
}

#[tokio::test]
async fn of_two_hosts_that_make_one_tick_one_stores_its_event() {
    let Some(case) = one_postgres() else { return };
    let store = case.open_postgres().await;
    let (other, _folder) = another(&case).await;
    let to = ScheduleMark { spec: 7, next_ms: 0, active: true };
    for name in ["daily", "hourly"] {
        let begin = ScheduleChange::Begin { name: name.into(), from: None, to };
        assert!(store.change_schedule(begin.clone()).await.unwrap());
        assert!(!other.change_schedule(begin).await.unwrap(), "another host has begun it");
    }
    for round in 0..20 {
        let from_ms = round * 10;
        let (first, second, third, fourth) = tokio::join!(
            store.tick(tick("daily", from_ms)),
            store.tick(tick("hourly", from_ms)),
            other.tick(tick("hourly", from_ms)),
            other.tick(tick("daily", from_ms)),
        );
        let answers = [first, second, third, fourth].map(Result::unwrap);
        let emitted = answers.iter().filter(|it| matches!(it, Ticked::Emitted(_))).count();
        let lost = answers.iter().filter(|it| **it == Ticked::Lost).count();
        assert_eq!((emitted, lost), (2, 2), "{answers:?}");
    }
    assert_eq!(store.stats().await.unwrap().events, 40);
}

/// Settles one more delivery at `store` with a failure.
async fn fail(store: &Postgres, next: Next, error: &str) {
    store.append(event(None)).await.unwrap();
    let lease = loop {
        // The other host may be faster.
        if let Some(lease) = lease(store, 1).await.leases.pop() {
            break lease;
        }
    };
    let error = Some(error.to_owned());
    let record = crate::event::AttemptRecord { error, ..record(Outcome::Retry) };
    store.settle(lease, Settlement { next, record: Some(record) }).await.unwrap();
}

#[tokio::test]
async fn groups_are_the_same_folded_or_not_and_go_when_they_are_old_and_empty() {
    let Some(case) = one_postgres() else { return };
    let store = case.open_postgres().await;
    let (other, _folder) = another(&case).await;
    let admin = case.database().await.admin().await;
    for (error, host) in [("a", &store), ("b", &other), ("a", &other), ("a", &store)] {
        fail(host, Next::Dead(None), error).await;
    }
    let groups = async || -> Vec<FailureView> {
        store.failures(FailureFilter::default(), 10, None).await.unwrap().0
    };
    let before = groups().await;
    let dead: Vec<u64> = before.iter().map(|group| group.dead).collect();
    assert_eq!((before.len(), dead.iter().sum::<u64>(), dead.contains(&3)), (2, 4, true));
    for _ in 0..2 {
        admin.batch_execute("SELECT hookbox.fold_v1()").await.unwrap();
        assert_eq!(groups().await, before);
    }
    let swept = async || {
        let sql = "SELECT hookbox.sweep_failures_v1($1, 500)";
        admin.query_one(sql, &[&(START_MS + 1)]).await.unwrap().get::<_, i32>(0)
    };
    assert_eq!(swept().await, 0, "deliveries are in them");
    admin.batch_execute("UPDATE hookbox.settled SET state = 6").await.unwrap();
    assert_eq!(groups().await.iter().map(|group| group.dead).sum::<u64>(), 0);
    assert_eq!(swept().await, 0, "they may be retried");
    admin.batch_execute("DELETE FROM hookbox.settled").await.unwrap();
    assert_eq!((swept().await, groups().await.len()), (2, 0));
}

#[tokio::test]
async fn two_hosts_make_no_more_groups_than_a_plugin_may_have() {
    let Some(case) = one_postgres() else { return };
    let store = Arc::new(case.open_postgres().await);
    let (other, _folder) = another(&case).await;
    for round in 0..4_usize {
        let (one, two) = ("x".repeat(2 * round + 1), "x".repeat(2 * round + 2));
        tokio::join!(fail(&store, Next::Dead(None), &one), fail(&other, Next::Dead(None), &two));
    }
    let found = store.failures(FailureFilter::default(), 10, None).await.unwrap().0;
    let named = found.iter().filter(|group| group.outcome.is_some()).count();
    assert_eq!((found.len(), named), (5, 4), "{found:?}");
    assert_eq!(found.iter().map(|group| group.dead).sum::<u64>(), 8);
}
