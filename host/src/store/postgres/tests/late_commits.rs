//! Events whose ids are less than those that a search has seen, and whose commit comes later.

use super::hosts::event;
use super::interleaved::TwoHosts;
use super::key_locks::PATIENCE;
use super::*;
use crate::config::routes::TypePattern;
use crate::event::{EventId, NewEvent, State};
use crate::store::{
    Actor, AuditNote, EventFilter, ItemResult, NewOperation, OperationDeed, OperationId,
    OperationOptions, OperationScope, Operations, Queue, ReadOne, Steer, Via,
};
use crate::tasks;

/// An event of this type, a moment after those before it.
fn next(case: &OnePostgres, kind: &str) -> NewEvent {
    case.clock.set(case.clock.now_ms() + 1);
    let mut new = event(None);
    new.attributes.kind = kind.to_owned();
    new
}

async fn append(case: &OnePostgres, store: &Postgres, kind: &str) -> EventId {
    store.append(next(case, kind)).await.unwrap().id
}

/// Plans a replay of the orders that a plugin has.
async fn planned(store: &Postgres) -> OperationId {
    let actor = Actor { name: "ann".into(), role: "operator", via: Via::Api };
    let note = || AuditNote::new(actor.clone(), "operations", "all", "");
    let filter = EventFilter {
        pattern: Some(TypePattern::parse("order.**").unwrap()),
        plugin: Some("audit".to_owned()),
        ..EventFilter::default()
    };
    let new = NewOperation {
        action: OperationDeed::Replay(Vec::new()),
        scope: OperationScope::Events(filter),
        total: 1,
        exact: false,
        as_of_ms: None,
        actor: actor.clone(),
    };
    let id = store.plan(note(), new).await.unwrap();
    store.steer(note(), id, Steer::Start(OperationOptions::default())).await.unwrap();
    id
}

/// Looks until everything is found, and says what.
async fn found(store: &Postgres, id: OperationId) -> Vec<EventId> {
    for _ in 0..20 {
        if store.operation(id).await.unwrap().unwrap().is_found {
            let items = store.item_ids(id, ItemResult::Found, None, 100).await.unwrap();
            return items.into_iter().map(|item| item.event).collect();
        }
        store.find_more(id).await.unwrap();
    }
    panic!("the search does not end");
}

#[tokio::test]
async fn an_event_that_is_committed_within_a_look_by_pattern_hides_none_of_the_others() {
    let Some(case) = one_postgres() else { return };
    let hosts = TwoHosts::open(&case).await;
    append(&case, &hosts.other, "invoice.sent").await;
    let (held, new) = (Arc::clone(&hosts.held), next(&case, "order.late"));
    let late = async move { held.append(new).await.unwrap().id };
    let late = hosts.up_to_commit(late, "append_v1").await;
    // With one more before it, as many as one look goes over; and the last one matches.
    for _ in 0..5 {
        append(&case, &hosts.other, "invoice.sent").await;
    }
    let last = append(&case, &hosts.other, "order.paid").await;
    append(&case, &hosts.other, "invoice.sent").await;
    let id = planned(&hosts.other).await;

    // The look knows how far it goes, and has not read its rows.
    let stopping = case.database().await.admin().await;
    let stop = "BEGIN; LOCK TABLE hookbox.settled IN ACCESS EXCLUSIVE MODE";
    stopping.batch_execute(stop).await.unwrap();
    let finder = Arc::clone(&hosts.other);
    let find = tasks::spawn(async move { finder.find_more(id).await.unwrap() });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND wait_event_type = 'Lock' AND query LIKE 'SELECT e.id, e.type FROM hookbox.events e%'";
    let stands = async { while !find.is_finished() && hosts.count(waits).await == 0 {} };
    tokio::time::timeout(PATIENCE, stands).await.expect("it waits or ends");
    assert!(!find.is_finished(), "it waits for its rows");
    hosts.proxy.let_commit().await;
    let late = late.await.unwrap();
    stopping.batch_execute("COMMIT").await.unwrap();
    find.await.unwrap();

    assert!(late < last);
    assert_eq!(found(&hosts.other, id).await, [late, last], "each once, the oldest first");
}

#[tokio::test]
async fn an_event_that_is_acknowledged_after_a_search_has_passed_is_left_to_its_own_routes() {
    let Some(case) = one_postgres() else { return };
    let hosts = TwoHosts::open(&case).await;
    let (held, new) = (Arc::clone(&hosts.held), next(&case, "order.late"));
    let late = async move { held.append(new).await.unwrap().id };
    let late = hosts.up_to_commit(late, "append_v1").await;
    let mut orders = Vec::new();
    for _ in 0..9 {
        orders.push(append(&case, &hosts.other, "order.paid").await);
    }
    let id = planned(&hosts.other).await;
    hosts.other.find_more(id).await.unwrap();
    assert!(!late.is_finished(), "nobody knows of it");
    hosts.proxy.let_commit().await;
    let late = late.await.unwrap();
    assert!(late < orders[0]);
    assert_eq!(found(&hosts.other, id).await, orders, "each once, and nothing behind the search");
    let own = hosts.other.event(late).await.unwrap().deliveries.remove(0);
    assert_eq!((own.state, own.replay), (State::Ready, false));
    // A search that begins later finds it.
    let id = planned(&hosts.other).await;
    orders.insert(0, late);
    assert_eq!(found(&hosts.other, id).await, orders);
}
