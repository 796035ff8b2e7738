//! When deliveries are due that nobody holds, and by how much a lease is late.

use super::*;

pub(in crate::store) async fn due_times_are_of_what_nobody_holds(harness: impl Harness) {
    let store = harness.open().await;
    let of_audit = async || {
        let asked = store.stats().await.unwrap().waiting();
        let mut found = store.due_times(asked).await.unwrap();
        let of_audit = found.remove("audit");
        assert!(found.is_empty(), "{found:?}");
        of_audit.map(|times| (times.oldest_ready_ms, times.next_due_ms))
    };
    assert_eq!(of_audit().await, None);
    deliver(&store, "audit").await;
    append(&store, NewEvent { delay_ms: 70, ..event("order.paid", &["audit"]) }).await;
    append(&store, NewEvent { delay_ms: 50, ..event("order.paid", &["audit"]) }).await;
    assert_eq!(of_audit().await, Some((Some(START_MS), Some(START_MS + 50))));
    let lease = lease_one(&store, "audit").await;
    assert_eq!((lease.due_ms, of_audit().await), (START_MS, Some((None, Some(START_MS + 50)))));
    pass(&harness, 60);
    assert_eq!(of_audit().await, Some((Some(START_MS + 50), Some(START_MS + 70))));
    let late = lease_one(&store, "audit").await;
    assert_eq!(late.due_ms, START_MS + 50, "whoever holds it knows by how much it is late");
    settle(&store, lease, done()).await;
    settle(&store, late, done()).await;
    assert_eq!(of_audit().await, Some((None, Some(START_MS + 70))));
}
