//! Pauses by operators, and their ends.

use super::audit::{entries, keyed_note};
use super::*;
use crate::store::{Pausable, Pause, PauseChange, Pauses};

fn paused(kind: Pausable, name: &str, reason: &str) -> PauseChange {
    let (by, reason) = ("jo".to_owned(), reason.to_owned());
    PauseChange::Pause { kind, name: name.into(), by, reason }
}

fn resumed(kind: Pausable, name: &str) -> PauseChange {
    PauseChange::Resume { kind, name: name.into() }
}

fn now(store: &Arc<dyn Store>) -> Arc<Pauses> {
    Arc::clone(&store.pauses().borrow())
}

pub(in crate::store) async fn a_pause_is_there_after_a_crash_and_goes_when_it_is_over(
    harness: impl Harness,
) {
    let store = harness.open().await;
    assert!(store.pause(None, paused(Pausable::Plugin, "audit", "a")).await.unwrap());
    pass(&harness, 5);
    // Another reason is another reason, and the time stays.
    assert!(store.pause(None, paused(Pausable::Plugin, "audit", "b")).await.unwrap());
    assert!(store.pause(None, paused(Pausable::Schedule, "audit", "c")).await.unwrap());
    drop(store);
    let store = harness.open().await;
    let expected =
        |since_ms, reason: &str| Pause { since_ms, by: "jo".to_owned(), reason: reason.to_owned() };
    let pauses = now(&store);
    assert_eq!(pauses.of(Pausable::Plugin, "audit"), Some(&expected(START_MS, "b")));
    assert_eq!(pauses.of(Pausable::Schedule, "audit"), Some(&expected(START_MS + 5, "c")));
    assert_eq!((pauses.all(Pausable::Plugin).count(), pauses.of(Pausable::Plugin, "x")), (1, None));
    assert!(store.pause(None, resumed(Pausable::Plugin, "audit")).await.unwrap());
    drop(store);
    let pauses = now(&harness.open().await);
    assert_eq!(pauses.of(Pausable::Plugin, "audit"), None);
    assert!(pauses.of(Pausable::Schedule, "audit").is_some());
}

pub(in crate::store) async fn a_pause_has_an_entry_and_the_end_of_none_has_not(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let end = || resumed(Pausable::Plugin, "audit");
    assert!(!store.pause(Some(keyed_note("audit", "k")), end()).await.unwrap());
    assert_eq!(entries(&store).await, []);
    let begin = paused(Pausable::Plugin, "audit", "a");
    assert!(store.pause(Some(keyed_note("audit", "k1")), begin).await.unwrap());
    for _ in 0..2 {
        // Asked for twice with one key, it is done once.
        assert!(store.pause(Some(keyed_note("audit", "k2")), end()).await.unwrap());
    }
    assert_eq!(entries(&store).await.len(), 2);
}

pub(in crate::store) async fn what_is_paused_is_known_before_the_change_is_answered(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let seen = store.pauses();
    for round in 0..20 {
        let is_on = round % 2 == 0;
        let change = match is_on {
            true => paused(Pausable::Plugin, "audit", "a"),
            false => resumed(Pausable::Plugin, "audit"),
        };
        store.pause(None, change).await.unwrap();
        assert_eq!(seen.borrow().of(Pausable::Plugin, "audit").is_some(), is_on);
    }
}
