//! Groups of failures: what is in which, and that their counts are those of a full count.

use std::collections::{BTreeMap, BTreeSet};

use super::operator::act;
use super::queries::all_deliveries;
use super::*;
use crate::event::FailureId;
use crate::store::model::MAX_FAILURE_GROUPS;
use crate::store::{
    Action, DeliveryFilter, FailureCursor, FailureFilter, FailureView, TREND_HOURS,
};

/// Every group that matches, asked for in small pages.
async fn groups(store: &Arc<dyn Store>, filter: &FailureFilter) -> Vec<FailureView> {
    let (mut found, mut after): (Vec<FailureView>, Option<FailureCursor>) = (Vec::new(), None);
    loop {
        let (page, next) = store.failures(filter.clone(), 2, after).await.unwrap();
        found.extend(page);
        match next {
            Some(next) => after = Some(next),
            None => return found,
        }
    }
}

/// Checks that the counts of every group are those of a full count.
pub(super) async fn every_group_is_counted(store: &Arc<dyn Store>) {
    let mut counted: BTreeMap<FailureId, (u64, u64)> = BTreeMap::new();
    for view in all_deliveries(store, &DeliveryFilter::default(), 100).await {
        let Some(group) = view.failure else { continue };
        let (dead, waiting) = counted.entry(group).or_default();
        *dead += u64::from(view.state == State::Dead);
        *waiting += u64::from(!view.state.is_settled());
    }
    for view in groups(store, &FailureFilter::default()).await {
        let (dead, waiting) = counted.remove(&view.id).unwrap_or_default();
        assert_eq!((view.dead, view.waiting), (dead, waiting), "{view:?}");
    }
    assert_eq!(counted, BTreeMap::new(), "deliveries of groups that are not there");
}

/// A settlement that fails with this text.
fn fails(next: Next, outcome: Outcome, error: &str) -> Settlement {
    let record = AttemptRecord { error: Some(error.to_owned()), ..super::record(outcome) };
    Settlement { next, record: Some(record) }
}

/// A delivery of `plugin` that has failed so.
async fn failed(store: &Arc<dyn Store>, plugin: &str, next: Next, error: &str) -> DeliveryId {
    let id = deliver(store, plugin).await;
    let lease = lease_one(store, plugin).await;
    assert_eq!(lease.delivery, id);
    settle(store, lease, fails(next, Outcome::Retry, error)).await;
    id
}

pub(in crate::store) async fn failures_that_are_alike_are_one_group(harness: impl Harness) {
    let store = harness.open().await;
    let first = failed(&store, "audit", Next::Dead(None), "order 17 answered 503").await;
    pass(&harness, 5);
    let second = failed(&store, "audit", Next::RetryIn(time(60_000)), "order 9 answered 500").await;
    let other = failed(&store, "audit", Next::Dead(None), "no such order").await;
    let found = groups(&store, &FailureFilter::default()).await;
    assert_eq!(found.len(), 2, "{found:?}");
    let alike = delivery(&store, first).await.failure.unwrap();
    assert_eq!(delivery(&store, second).await.failure, Some(alike));
    let view = store.failure(alike).await.unwrap();
    assert_eq!((&*view.plugin, view.outcome), ("audit", Some(Outcome::Retry)));
    assert_eq!(view.text, "order ‹n› answered ‹n›");
    assert_eq!((view.dead, view.waiting, view.sample), (1, 1, Some(second)));
    assert_eq!((view.first_ms, view.last_ms), (START_MS, START_MS + 5));
    assert_eq!(view.trend.at(START_MS)[TREND_HOURS - 1], 2);
    assert_eq!(view.files.0, [(Digest([7; 32]), 2)]);
    let filter = DeliveryFilter { failure: Some(alike), ..DeliveryFilter::default() };
    let listed = all_deliveries(&store, &filter, 1).await;
    assert_eq!(listed.iter().map(|view| view.id).collect::<Vec<_>>(), [second, first]);
    let missing = FailureId::other(&"nobody".into());
    assert!(matches!(store.failure(missing).await, Err(StoreError::NotFound(_))));
    let others = delivery(&store, other).await.failure;
    assert_ne!(others, Some(alike));
}

pub(in crate::store) async fn a_group_is_left_by_success_by_another_failure_and_by_a_move(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let later = || Next::RetryIn(time(0));
    let id = failed(&store, "audit", later(), "a").await;
    let before = delivery(&store, id).await.failure.unwrap();
    let lease = lease_one(&store, "audit").await;
    settle(&store, lease, fails(later(), Outcome::Retry, "b")).await;
    let after = delivery(&store, id).await.failure.unwrap();
    assert_ne!(before, after);
    every_group_is_counted(&store).await;
    let lease = lease_one(&store, "audit").await;
    settle(&store, lease, done()).await;
    assert_eq!(delivery(&store, id).await.failure, None);
    every_group_is_counted(&store).await;
    let moved = failed(&store, "audit", later(), "a").await;
    act(&store, Action::Move("orders".into()), moved).await;
    assert_eq!(delivery(&store, moved).await.failure, None);
    every_group_is_counted(&store).await;
    let view = store.failure(before).await.unwrap();
    assert_eq!((view.dead, view.waiting, view.sample), (0, 0, None));
    let open = FailureFilter { open: true, ..FailureFilter::default() };
    assert_eq!(groups(&store, &open).await, []);
}

pub(in crate::store) async fn what_becomes_of_a_dead_letter_is_counted_in_its_group(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let id = failed(&store, "audit", Next::Dead(None), "a").await;
    let group = delivery(&store, id).await.failure.unwrap();
    let counts = async || {
        every_group_is_counted(&store).await;
        let view = store.failure(group).await.unwrap();
        (view.dead, view.waiting)
    };
    assert_eq!(counts().await, (1, 0));
    act(&store, Action::Discard, id).await;
    assert_eq!(counts().await, (0, 0));
    act(&store, Action::Retry, id).await;
    assert_eq!(counts().await, (0, 1));
    act(&store, Action::Cancel, id).await;
    assert_eq!(counts().await, (0, 0));
    act(&store, Action::Retry, id).await;
    let lease = lease_one(&store, "audit").await;
    assert_eq!(counts().await, (0, 1), "while it is tried");
    act(&store, Action::Cancel, id).await;
    settle(&store, lease, fails(Next::Dead(None), Outcome::Retry, "b")).await;
    assert_eq!(counts().await, (0, 0));
    assert_eq!(groups(&store, &FailureFilter::default()).await.len(), 1, "nobody's trouble");
}

pub(in crate::store) async fn beyond_the_most_groups_of_a_plugin_there_is_one_more(
    harness: impl Harness,
) {
    let store = harness.open().await;
    for number in 0..MAX_FAILURE_GROUPS + 3 {
        let text = "x".repeat(number + 1);
        failed(&store, "audit", Next::Dead(None), &text).await;
    }
    failed(&store, "orders", Next::Dead(None), "x").await;
    let of = |plugin: &str| FailureFilter {
        plugin: Some(plugin.to_owned()),
        ..FailureFilter::default()
    };
    let found = groups(&store, &of("audit")).await;
    assert_eq!(found.len(), MAX_FAILURE_GROUPS + 1);
    let other = found.iter().find(|view| view.outcome.is_none()).unwrap();
    assert_eq!((other.id, other.dead), (FailureId::other(&"audit".into()), 3));
    assert_eq!(groups(&store, &of("orders")).await[0].outcome, Some(Outcome::Retry));
    every_group_is_counted(&store).await;
}

pub(in crate::store) async fn groups_are_there_after_a_crash_and_a_crash_is_a_group(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let id = failed(&store, "audit", Next::RetryIn(time(0)), "a").await;
    let before = delivery(&store, id).await.failure;
    let lease = lease_one(&store, "audit").await;
    drop(store);
    let store = harness.open().await;
    assert_eq!(delivery(&store, id).await.failure, before, "it was not running");
    every_group_is_counted(&store).await;
    drop(lease);
    let lease = lease_one(&store, "audit").await;
    run_on(&store, &lease).await;
    drop(store);
    let store = harness.open().await;
    let after = delivery(&store, id).await.failure.unwrap();
    assert_eq!(store.failure(after).await.unwrap().outcome, Some(Outcome::Crash));
    every_group_is_counted(&store).await;
    store.close().await.unwrap();
    let store = harness.open().await;
    every_group_is_counted(&store).await;
}

pub(in crate::store) async fn a_group_goes_when_it_is_old_and_no_delivery_is_in_it(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let keep = Keep { events: time(DAY_MS), dedupe_keys: time(DAY_MS), ..ALL };
    let dead = failed(&store, "audit", Next::Dead(None), "a").await;
    let open = failed(&store, "audit", Next::RetryIn(time(100 * DAY_MS)), "b").await;
    let texts = async || {
        while store.sweep(keep).await.unwrap() {}
        while store.sweep(keep).await.unwrap() {}
        every_group_is_counted(&store).await;
        let found = groups(&store, &FailureFilter::default()).await;
        found.into_iter().map(|view| view.text).collect::<BTreeSet<_>>()
    };
    let both: BTreeSet<_> = ["a".to_owned(), "b".to_owned()].into();
    assert_eq!(texts().await, both);
    pass(&harness, DAY_MS - 10_000);
    assert_eq!(texts().await, both, "not old yet");
    pass(&harness, 2 * DAY_MS);
    assert_eq!(texts().await, ["b".to_owned()].into(), "with its event");
    assert!(matches!(store.delivery(dead).await, Err(StoreError::NotFound(_))));
    act(&store, Action::Cancel, open).await;
    assert_eq!(texts().await, BTreeSet::new());
}

pub(in crate::store) async fn deliveries_are_listed_by_their_last_outcome_and_attempts(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let retried = failed(&store, "audit", Next::RetryIn(time(0)), "a").await;
    let lease = lease_one(&store, "audit").await;
    settle(&store, lease, dead()).await;
    let once = failed(&store, "orders", Next::Dead(None), "a").await;
    let ids = async |filter: DeliveryFilter| {
        let found = all_deliveries(&store, &filter, 1).await;
        found.into_iter().map(|view| view.id).collect::<Vec<_>>()
    };
    let all = DeliveryFilter::default;
    assert_eq!(ids(DeliveryFilter { outcome: Some(Outcome::Retry), ..all() }).await, [once]);
    assert_eq!(ids(DeliveryFilter { outcome: Some(Outcome::Reject), ..all() }).await, [retried]);
    assert_eq!(ids(DeliveryFilter { min_attempts: Some(2), ..all() }).await, [retried]);
    assert_eq!(ids(DeliveryFilter { min_attempts: Some(1), ..all() }).await, [once, retried]);
    let of_group = DeliveryFilter { failure: delivery(&store, once).await.failure, ..all() };
    let filtered = DeliveryFilter { outcome: Some(Outcome::Reject), ..of_group.clone() };
    assert_eq!(ids(filtered).await, []);
    let (changed, _) = super::bulk::act_on_all(&store, Action::Retry, &of_group).await;
    assert_eq!((changed, state(&store, once).await), (1, State::Ready));
    assert_eq!(state(&store, retried).await, State::Dead);
}
