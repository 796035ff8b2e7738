//! Counts: kept with every batch, and equal to what a recount finds (see also `model`).

use super::operator::act;
use super::*;
use crate::store::{Action, Stats};

/// Deliveries of `audit` by state, in the order of [`State::ALL`].
/// Ready, leased, waiting, done, dead.
fn audit(stats: &Stats) -> [u64; 7] {
    let counts = stats.plugins.get("audit").copied().unwrap_or_default().0;
    *counts.first_chunk().unwrap()
}

pub(in crate::store) async fn counts_follow_every_move_of_a_delivery(harness: impl Harness) {
    let store = harness.open().await;
    assert_eq!(store.stats().await.unwrap(), Stats::default());
    let id = deliver(&store, "audit").await;
    assert_eq!(audit(&store.stats().await.unwrap()), [1, 0, 0, 0, 0, 0, 0]);
    let lease = lease_one(&store, "audit").await;
    assert_eq!(audit(&store.stats().await.unwrap()), [0, 1, 0, 0, 0, 0, 0]);
    settle(&store, lease, retry_in(1)).await;
    assert_eq!(audit(&store.stats().await.unwrap()), [0, 0, 1, 0, 0, 0, 0]);
    pass(&harness, 1);
    settle(&store, lease_one(&store, "audit").await, dead()).await;
    assert_eq!(audit(&store.stats().await.unwrap()), [0, 0, 0, 0, 1, 0, 0]);
    act(&store, Action::Retry, id).await;
    assert_eq!(audit(&store.stats().await.unwrap()), [1, 0, 0, 0, 0, 0, 0]);
    settle(&store, lease_one(&store, "audit").await, give_back(0)).await;
    assert_eq!(audit(&store.stats().await.unwrap()), [1, 0, 0, 0, 0, 0, 0]);
    settle(&store, lease_one(&store, "audit").await, done()).await;
    assert_eq!(audit(&store.stats().await.unwrap()), [0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(store.stats().await.unwrap().events, 1);
    let id = deliver(&store, "audit").await;
    act(&store, Action::Cancel, id).await;
    assert_eq!(audit(&store.stats().await.unwrap()), [0, 0, 0, 1, 0, 1, 0]);
    let id = deliver(&store, "audit").await;
    let lease = lease_one(&store, "audit").await;
    act(&store, Action::Cancel, id).await;
    assert_eq!(
        audit(&store.stats().await.unwrap()),
        [0, 1, 0, 1, 0, 1, 0],
        "it is leased until it is settled"
    );
    settle(&store, lease, done()).await;
    assert_eq!(audit(&store.stats().await.unwrap()), [0, 0, 0, 1, 0, 2, 0]);
    let id = dead_letter(&store, "audit").await;
    act(&store, Action::Discard, id).await;
    assert_eq!(audit(&store.stats().await.unwrap()), [0, 0, 0, 1, 0, 2, 1]);
    act(&store, Action::Retry, id).await;
    assert_eq!(audit(&store.stats().await.unwrap()), [1, 0, 0, 1, 0, 2, 0]);
}

pub(in crate::store) async fn counts_are_there_after_a_crash(
    harness: impl StoreHarness<Store: Queue + ReadOne + Count>,
) {
    let store = harness.open().await;
    deliver(&store, "audit").await;
    let _zombie = lease_one(&store, "audit").await;
    dead_letter(&store, "audit").await;
    deliver(&store, "audit").await;
    drop(store);
    let store = harness.open().await;
    assert_eq!(audit(&store.stats().await.unwrap()), [2, 0, 0, 0, 1, 0, 0]);
    assert_eq!(store.stats().await.unwrap().events, 3);
    assert_eq!(store.stats().await.unwrap().deliveries(State::Dead), 1);
}

pub(in crate::store) async fn duplicates_are_counted(
    harness: impl StoreHarness<Store: Queue + ReadOne + Count>,
) {
    let store = harness.open().await;
    for _ in 0..3 {
        store.append(keyed(&[1])).await.unwrap();
    }
    assert_eq!(
        (store.stats().await.unwrap().events, store.stats().await.unwrap().duplicates),
        (1, 2)
    );
}

pub(in crate::store) async fn a_duplicate_is_counted_on_the_event_that_it_repeats<H>(harness: H)
where
    H: StoreHarness<Store: Queue + ReadOne + Count>,
{
    let store = harness.open().await;
    let at = |keys: &[u8], time_ms: i64| {
        let mut new = keyed(keys);
        new.attributes.time_ms = time_ms;
        new
    };
    let first = append(&store, at(&[1, 2], START_MS)).await;
    let other = append(&store, at(&[3], START_MS)).await;
    store.append(at(&[1], START_MS + 5)).await.unwrap();
    store.append(at(&[2], START_MS + 9)).await.unwrap();
    let counted = async |store: &Arc<H::Store>, id| {
        let shown = store.event(id).await.unwrap();
        (shown.duplicates, shown.last_duplicate_ms)
    };
    assert_eq!(counted(&store, first).await, (2, Some(START_MS + 9)));
    assert_eq!(counted(&store, other).await, (0, None));
    drop(store);
    let store = harness.open().await;
    store.append(at(&[1], START_MS + 7)).await.unwrap();
    assert_eq!(
        counted(&store, first).await,
        (3, Some(START_MS + 7)),
        "as it came, whatever the clock says"
    );
}
