//! Dead letters that are told of.

use super::key_order::keyed_event;
use super::operator::act;
use super::policies::PolicyHarness;
use super::*;
use crate::event::{DEAD, DEAD_LETTERS, KeyPolicy, KeySource, TargetOptions};
use crate::store::Action;

fn told(of: EventId) -> NewEvent {
    NewEvent { parent: Some(of), ..event(DEAD, &["refund"]) }
}

pub(in crate::store) async fn an_event_that_tells_of_a_dead_letter_is_stored_with_it(
    harness: impl PolicyHarness,
) {
    let store = harness.open().await;
    for death in 0..2 {
        let id = match death {
            0 => deliver(&store, "ship").await,
            _ => {
                let dead = store.deliveries(Default::default(), page()).await.unwrap().0;
                let id = dead.iter().find(|view| &*view.plugin == "ship").unwrap().id;
                act(&store, Action::Retry, id).await;
                id
            }
        };
        let lease = lease_one(&store, "ship").await;
        assert_eq!(lease.deaths, death, "an operator's retry does not forget");
        let retried_after = (death > 0).then_some(death);
        assert_eq!(delivery(&store, id).await.retried_after, retried_after);
        let next = Next::Dead(Some(Box::new(told(id.event))));
        let settlement = Settlement { next, record: Some(record(Outcome::Reject)) };
        assert_eq!(settle(&store, lease, settlement).await, Settled::Kept);
        assert_eq!(delivery(&store, id).await.retried_after, retried_after, "it is dead again");
        let children = store.event(id.event).await.unwrap().children;
        assert_eq!(children.len(), death as usize + 1);
        let child = store.event(children[death as usize]).await.unwrap();
        assert_eq!(child.event.root, Some(id.event));
        settle(&store, lease_one(&store, "refund").await, done()).await;
    }
}

fn page() -> crate::store::Page {
    crate::store::Page { limit: 100, after: None }
}

/// The only dead letter that a notice tells of, after it was worked off.
async fn notice(store: &Arc<dyn Store>) -> (DeliveryId, u32) {
    let lease = lease_one(store, DEAD_LETTERS).await;
    let dead = store.dead_notice(lease.delivery).await.unwrap().unwrap();
    assert_eq!(dead.0.event, lease.event.id);
    settle(store, lease, done_with(vec![told(dead.0.event)], KvTransaction::default())).await;
    dead
}

pub(in crate::store) async fn a_dead_letter_of_the_stores_own_is_told_of_by_a_delivery(
    harness: impl PolicyHarness,
) {
    harness.policies().tell_of("ship");
    let store = harness.open().await;
    // Twice running when a host died.
    let id = deliver(&store, "ship").await;
    run_on(&store, &lease_one(&store, "ship").await).await;
    drop(store);
    let store = harness.open().await;
    let lease = store.lease(quarantine(&["ship"]), permits(1)).await.unwrap().leases.remove(0);
    run_on(&store, &lease).await;
    drop(store);
    let store = harness.open().await;
    assert_eq!(notice(&store).await, (id, 1));
    // More than its tree may have.
    let id = deliver(&store, "ship").await;
    let lease = lease_one(&store, "ship").await;
    let child = || NewEvent { parent: Some(id.event), ..event("child", &[]) };
    let many = (0..=tree::BUDGET.events).map(|_| child()).collect();
    let settled = settle(&store, lease, done_with(many, KvTransaction::default())).await;
    assert_eq!(settled, Settled::OverBudget);
    assert_eq!(notice(&store).await, (id, 1));
    // Too many behind its key.
    let policy = KeyPolicy { max_waiting: 0, ..KeyPolicy::of(KeySource::Subject) };
    harness.policies().set("ship", policy);
    append(&store, keyed_event("a", &["ship"])).await;
    let id = DeliveryId { event: append(&store, keyed_event("a", &["ship"])).await, ordinal: 0 };
    assert_eq!(state(&store, id).await, State::Dead);
    assert_eq!(notice(&store).await, (id, 1));
}

pub(in crate::store) async fn replays_of_one_event_die_and_are_told_of_each_for_itself(
    harness: impl PolicyHarness,
) {
    let source = || KeySource::Subject;
    for plugin in ["ship", "other"] {
        harness.policies().tell_of(plugin);
        let policy = KeyPolicy { max_waiting: 0, ..KeyPolicy::of(source()) };
        harness.policies().set(plugin, policy);
    }
    let store = harness.open().await;
    let mut new = keyed_event("a", &["ship", "other"]);
    new.attributes.subject = Some("a".to_owned());
    let event = append(&store, new).await;
    let keyed = |plugin: &str| {
        let options = TargetOptions { key: Some(source()), ..TargetOptions::default() };
        Arc::new(Target { plugin: plugin.into(), options })
    };
    let targets = ["ship", "audit", "other"];
    let made = store.replay(None, event, targets.map(keyed).to_vec()).await.unwrap();
    let states = [State::Dead, State::Ready, State::Dead];
    for (id, expected) in made.iter().zip(states) {
        assert_eq!(state(&store, *id).await, expected, "{id}");
    }
    let mut told = Vec::new();
    for lease in lease(&store, DEAD_LETTERS, 9).await {
        told.push(store.dead_notice(lease.delivery).await.unwrap().unwrap().0);
        assert_eq!(settle(&store, lease, done()).await, Settled::Kept);
    }
    told.sort();
    assert_eq!(told, [made[0], made[2]]);
    assert_eq!(store.event(event).await.unwrap().deliveries.len(), 2 + 3 + 2);
}

pub(in crate::store) async fn nobody_is_told_where_no_route_asks_for_it(
    harness: impl PolicyHarness,
) {
    harness.policies().tell_of("ship");
    harness.policies().tell_of(DEAD_LETTERS);
    let policy = || KeyPolicy { max_waiting: 0, ..KeyPolicy::of(KeySource::Subject) };
    harness.policies().set("ship", policy());
    harness.policies().set("other", policy());
    let store = harness.open().await;
    append(&store, keyed_event("a", &["ship", "other"])).await;
    append(&store, keyed_event("a", &["other"])).await;
    assert!(lease(&store, DEAD_LETTERS, 9).await.is_empty(), "no route takes that of `other`");
    let mut dead = keyed_event("a", &["ship"]);
    dead.attributes.kind = DEAD.to_owned();
    append(&store, dead).await;
    assert!(lease(&store, DEAD_LETTERS, 9).await.is_empty(), "it tells of a death itself");
    append(&store, keyed_event("a", &["ship"])).await;
    assert_eq!(lease(&store, DEAD_LETTERS, 9).await.len(), 1);
}

pub(in crate::store) async fn what_tells_of_a_dead_letter_is_not_held_against_its_tree(
    harness: impl PolicyHarness,
) {
    let store = harness.open().await;
    let id = deliver(&store, "ship").await;
    let leased = lease_one(&store, "ship").await;
    let children = |kind: &str, count: u64| {
        (0..count)
            .map(|_| NewEvent { parent: Some(id.event), ..event(kind, &["next"]) })
            .collect::<Vec<_>>()
    };
    let all = children("child", tree::BUDGET.events);
    settle(&store, leased, done_with(all, KvTransaction::default())).await;
    let leased = lease(&store, "next", 1).await.remove(0);
    let kv = KvTransaction::default();
    assert_eq!(settle(&store, leased, done_with(children(DEAD, 3), kv)).await, Settled::Kept);
}
