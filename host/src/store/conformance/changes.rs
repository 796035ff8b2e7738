//! Hints: sent after the commit, merged until a listener takes them, and bounded.

use super::operator::act;
use super::*;
use crate::store::{Action, Hint};

/// The next hint, which is there already.
async fn told(changes: &mut crate::store::Changes) -> Hint {
    tokio::time::timeout(Duration::from_secs(60), changes.next())
        .await
        .expect("a hint")
        .expect("the store is there")
}

fn plugins(hint: &Hint) -> Vec<&str> {
    hint.plugins.iter().map(|plugin| &**plugin).collect()
}

pub(in crate::store) async fn what_changed_is_told_once_it_is_durable(harness: impl Harness) {
    let store = harness.open().await;
    append(&store, event("order.paid", &["before"])).await;
    let mut changes = store.changes();
    let id = deliver(&store, "audit").await;
    let hint = told(&mut changes).await;
    assert_eq!((hint.events, plugins(&hint), hint.missed), (true, vec!["audit"], false));
    // The change can be seen when its hint has come.
    assert_eq!(store.stats().await.unwrap().events, 2);
    let lease = lease_one(&store, "audit").await;
    let leased = told(&mut changes).await;
    assert_eq!((leased.events, plugins(&leased)), (false, vec!["audit"]));
    assert!(leased.commit > hint.commit);
    act(&store, Action::Cancel, id).await;
    assert_eq!(plugins(&told(&mut changes).await), ["audit"], "also what waits for its settlement");
    settle(&store, lease, done()).await;
    assert_eq!(plugins(&told(&mut changes).await), ["audit"]);
    drop(store);
    assert_eq!(changes.next().await, None);
}

pub(in crate::store) async fn hints_that_nobody_takes_become_one(harness: impl Harness) {
    let store = harness.open().await;
    let mut changes = store.changes();
    for plugin in ["audit", "orders", "audit"] {
        deliver(&store, plugin).await;
    }
    let hint = told(&mut changes).await;
    assert_eq!((hint.events, plugins(&hint), hint.missed), (true, vec!["audit", "orders"], false));
    // Nothing is told twice.
    deliver(&store, "mail").await;
    assert_eq!(plugins(&told(&mut changes).await), ["mail"]);
}

pub(in crate::store) async fn whoever_falls_behind_is_told_to_look_at_everything(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let mut changes = store.changes();
    for _ in 0..200 {
        deliver(&store, "audit").await;
    }
    assert!(told(&mut changes).await.missed);
    deliver(&store, "orders").await;
    let hint = told(&mut changes).await;
    assert_eq!((plugins(&hint), hint.missed), (vec!["orders"], false));
}
