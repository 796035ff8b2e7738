//! The dispatcher of a plugin that only fails, with time moved by hand.

use std::time::Duration;

use hookbox::event::State;
use hookbox::store::{LeaseQueue, Queue};
use tokio::sync::Semaphore;

use super::site::{BREAKER, Dispatching, PAUSE_MS, append, attempts, open_store};
use crate::support::until;

/// A site whose breaker of `unruly` is open, after three attempts and with ten deliveries that
/// wait.
async fn open() -> Dispatching {
    let site = Dispatching::new("fail").await;
    site.append("unruly", 10).await;
    until("the breaker to open", async || site.is_open("unruly").then_some(())).await;
    site.spent(3).await;
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_is_open_waiting_deliveries_spend_no_attempt_and_one_ok_closes_it() {
    let site = open().await;
    let breaker = site.breakers.of("unruly").unwrap();
    assert_eq!((breaker.failures_in_a_row, breaker.last_error.as_deref()), (3, Some("as told")));
    // Leases that had not begun are given back, and new deliveries are not leased.
    site.append("unruly", 1).await;
    let deliveries = site.spent(3).await;
    assert_eq!(attempts(&deliveries), 3, "{deliveries:?}");
    assert_eq!((deliveries[0].state, deliveries[0].attempt), (State::Ready, 0));
    for pause in 1..=3 {
        site.passes(PAUSE_MS);
        site.spent(3 + pause).await;
    }
    assert_eq!(attempts(&site.spent(6).await), 6, "one attempt each pause");
    assert_eq!(site.breakers.of("unruly").unwrap().failures_in_a_row, 6);
    site.configure("succeed", BREAKER);
    assert!(site.is_open("unruly"), "nothing of the breaker was changed");
    site.passes(PAUSE_MS);
    site.all("unruly", State::Done).await;
    assert_eq!(site.breakers.of("unruly").unwrap().open, None);
    assert_eq!(attempts(&site.spent(17).await), 6 + 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_neighbour_of_a_plugin_that_only_fails_is_served_at_once() {
    let site = open().await;
    site.append("neighbour", 5).await;
    site.all("neighbour", State::Done).await;
    assert!(site.is_open("unruly") && !site.is_open("neighbour"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reject_and_a_retry_that_says_when_do_not_open_it() {
    for does in ["reject", "later"] {
        let site = Dispatching::new(does).await;
        site.append("unruly", 2).await;
        if does == "later" {
            until("many attempts", async || {
                (attempts(&site.deliveries("unruly").await) >= 50).then_some(())
            })
            .await;
            site.configure("reject", BREAKER);
        }
        site.all("unruly", State::Dead).await;
        let breaker = site.breakers.of("unruly").unwrap();
        assert_eq!((breaker.failures_in_a_row, breaker.open), (0, None), "{does}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_file_or_a_changed_breaker_is_tried_at_once() {
    for new_file in [true, false] {
        let site = open().await;
        if new_file {
            site.configure("succeed", BREAKER);
            assert!(site.is_open("unruly"));
            site.replace_files();
        } else {
            site.configure("succeed", "{ failures = 4, pause = \"1h\" }");
        }
        assert!(!site.is_open("unruly"));
        // Deliveries that failed wait for their retry, the others do not wait for anything.
        until("what waited for the breaker", async || {
            let deliveries = site.deliveries("unruly").await;
            (deliveries.iter().filter(|delivery| delivery.state == State::Done).count() == 7)
                .then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_breaker_that_is_turned_off_never_opens() {
    let site = Dispatching::new("trap").await;
    site.configure("trap", "false");
    site.append("unruly", 30).await;
    site.spent(30).await;
    let breaker = site.breakers.of("unruly").unwrap();
    assert_eq!((breaker.policy, breaker.open), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn quarantined_deliveries_share_the_breaker_of_their_plugin() {
    let dir = tempfile::tempdir().unwrap();
    let clock = hookbox::clock::Clock::manual(0);
    let store = open_store(dir.path(), &clock).unwrap();
    append(&store, "unruly", 5).await;
    let places = std::sync::Arc::new(Semaphore::new(5)).acquire_many_owned(5).await.unwrap();
    for lease in store.lease(LeaseQueue::Plugin("unruly".into()), places).await.unwrap().leases {
        // The host dies while it runs them.
        std::mem::forget(store.begin(&lease).await.unwrap());
    }
    drop(store);
    let site = Dispatching::with(dir, "fail").await;
    assert_eq!(site.store.recovered().running, 5);
    // Each has a crash behind it; they begin a second after the start.
    site.passes(1_000);
    until("the breaker to open", async || site.is_open("unruly").then_some(())).await;
    assert_eq!(attempts(&site.spent(5 + 3).await), 5 + 3);
    site.passes(PAUSE_MS);
    assert_eq!(attempts(&site.spent(5 + 4).await), 5 + 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_does_not_wait_for_a_breaker() {
    let site = open().await;
    // Less than what running attempts may take.
    tokio::time::timeout(Duration::from_secs(9), site.dispatcher.drain())
        .await
        .expect("nobody is waited for");
    assert!(site.deliveries("unruly").await.iter().all(|delivery| delivery.state != State::Leased));
}
