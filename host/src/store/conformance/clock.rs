//! A clock that is set while the store is open, or while it is not: back by an hour and by a day,
//! forward by 30 days and by 34 years.

use std::io::Write as _;

use super::bulk::act_on_all;
use super::queries::{all_deliveries, all_events};
use super::sweep::{exists, sweep_all};
use super::*;
use crate::store::{Action, DeliveryFilter, EventFilter};

const HOUR_MS: i64 = DAY_MS / 24;

/// By how much the clock is set.
const STEPS_MS: [i64; 4] = [-HOUR_MS, -DAY_MS, 30 * DAY_MS, 34 * 365 * DAY_MS];

/// One way of setting the clock.
struct Wrong<H> {
    harness: H,
    by_ms: i64,
    at_start: bool,
}

/// Makes a test of each way, on data of its own.
fn each<H: Harness>(harness: fn() -> H, case: impl AsyncFn(Wrong<H>, Arc<dyn Store>)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for by_ms in STEPS_MS {
        for at_start in [false, true] {
            // Shown with the failure of a case.
            let _ = writeln!(std::io::stdout(), "by {by_ms} ms, at a start: {at_start}");
            let wrong = Wrong { harness: harness(), by_ms, at_start };
            runtime.block_on(async {
                let store = wrong.harness.open().await;
                case(wrong, store).await;
            });
        }
    }
}

impl<H: Harness> Wrong<H> {
    fn clock(&self) -> &Clock {
        self.harness.clock()
    }

    /// The clock is set wrong.
    async fn jumps(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        self.set(store, self.by_ms).await
    }

    /// It is set right again.
    async fn is_over(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        self.set(store, -self.by_ms).await
    }

    async fn set(&self, store: Arc<dyn Store>, by_ms: i64) -> Arc<dyn Store> {
        self.clock().step(self.clock().now_ms() + by_ms);
        if self.at_start {
            drop(store);
            return self.harness.open().await;
        }
        self.clock().compare();
        store
    }

    /// Whether a host takes the step for the time that it was off.
    fn looks_like_a_stop(&self) -> bool {
        self.at_start && (0..366 * DAY_MS).contains(&self.by_ms)
    }

    /// Keeps events and keys for so long.
    fn kept_for(&self, ms: i64) -> Keep {
        Keep {
            events: time(ms),
            payloads: Duration::MAX,
            dedupe_keys: time(ms),
            audit: Duration::MAX,
        }
    }

    /// An event of this moment.
    fn now(&self, new: NewEvent) -> NewEvent {
        let attributes = Attributes { time_ms: self.clock().now_ms(), ..new.attributes };
        NewEvent { attributes, ..new }
    }
}

pub(in crate::store) fn what_is_ready_has_no_time_to_wait_for<H: Harness>(harness: fn() -> H) {
    each(harness, async |wrong, store| {
        let before = deliver(&store, "audit").await;
        let store = wrong.jumps(store).await;
        let meanwhile = deliver(&store, "orders").await;
        let leased = lease_one(&store, "audit").await;
        assert_eq!(leased.delivery, before);
        // Given back so late that a killed host has not noted that time.
        pass(&wrong.harness, 10_000);
        settle(&store, leased, give_back(0)).await;
        let store = wrong.is_over(store).await;
        assert_eq!(lease_one(&store, "audit").await.delivery, before);
        assert_eq!(lease_one(&store, "orders").await.delivery, meanwhile);
    });
}

pub(in crate::store) fn no_wait_is_longer_because_the_clock_was_set<H: Harness>(
    harness: fn() -> H,
) {
    const WAIT_MS: i64 = 5_000;
    each(harness, async |wrong, store| {
        let delayed =
            |plugin| NewEvent { delay_ms: WAIT_MS as u64, ..event("reminder", &[plugin]) };
        append(&store, delayed("audit")).await;
        deliver(&store, "orders").await;
        settle(&store, lease_one(&store, "orders").await, retry_in(WAIT_MS)).await;
        let store = wrong.jumps(store).await;
        append(&store, delayed("mail")).await;
        if !wrong.looks_like_a_stop() {
            pass(&wrong.harness, WAIT_MS - 1);
            assert!(
                lease(&store, "audit", 1).await.is_empty()
                    && lease(&store, "orders", 1).await.is_empty()
            );
            pass(&wrong.harness, 1);
        }
        lease_one(&store, "audit").await;
        lease_one(&store, "orders").await;
        let store = wrong.is_over(store).await;
        pass(&wrong.harness, WAIT_MS);
        lease_one(&store, "mail").await;
    });
}

/// Stores two events before the jump, two while the clock is wrong and two when that is over; says
/// what the clock showed for each.
async fn stored_before_during_and_after<H: Harness>(
    wrong: &Wrong<H>,
    mut store: Arc<dyn Store>,
) -> (Arc<dyn Store>, Vec<(i64, EventId)>) {
    let mut stored = Vec::new();
    for phase in 0..3 {
        store = match phase {
            0 => store,
            1 => wrong.jumps(store).await,
            _ => wrong.is_over(store).await,
        };
        for _ in 0..2 {
            pass(&wrong.harness, 7 * 60_000);
            let time_ms = wrong.clock().now_ms();
            stored
                .push((time_ms, append(&store, wrong.now(event("order.paid", &["audit"]))).await));
        }
    }
    (store, stored)
}

pub(in crate::store) fn filters_go_by_the_times_of_events<H: Harness>(harness: fn() -> H) {
    each(harness, async |wrong, store| {
        let (store, stored) = stored_before_during_and_after(&wrong, store).await;
        assert!(stored.is_sorted_by_key(|(_, id)| *id), "ids grow: {stored:?}");
        let times: Vec<_> = stored.iter().map(|(time_ms, _)| *time_ms).collect();
        let bounds: Vec<_> =
            times.iter().flat_map(|ms| [Some(*ms), Some(*ms + 1)]).chain([None]).collect();
        for (since_ms, until_ms) in
            bounds.iter().flat_map(|since| bounds.iter().map(move |until| (*since, *until)))
        {
            let within = |ms: i64| {
                since_ms.is_none_or(|since| ms >= since) && until_ms.is_none_or(|until| ms < until)
            };
            let mut expected: Vec<_> =
                stored.iter().filter(|(ms, _)| within(*ms)).map(|(_, id)| *id).collect();
            expected.reverse();
            let found = all_events(
                &store,
                &EventFilter { since_ms, until_ms, ..EventFilter::default() },
                2,
            )
            .await;
            assert_eq!(
                found.iter().map(|event| event.event.id).collect::<Vec<_>>(),
                expected,
                "{since_ms:?} {until_ms:?}"
            );
            let filter = DeliveryFilter { since_ms, until_ms, ..DeliveryFilter::default() };
            let found = all_deliveries(&store, &filter, 2).await;
            assert_eq!(
                found.iter().map(|delivery| delivery.id.event).collect::<Vec<_>>(),
                expected
            );
            let preview = store.preview(Action::Cancel, filter, None).await.unwrap();
            assert!(
                preview.deliveries <= expected.len() as u64
                    && (preview.deliveries > 0 || expected.is_empty())
            );
        }
        // Those of the time in between, and no others.
        let (since_ms, until_ms) = (Some(times[2]), Some(times[3] + 1));
        let filter = DeliveryFilter { since_ms, until_ms, ..DeliveryFilter::default() };
        let meant = times.iter().filter(|ms| (times[2]..=times[3]).contains(*ms)).count();
        assert_eq!(act_on_all(&store, Action::Cancel, &filter).await.0, meant as u64);
    });
}

/// A keyed event, a dead letter, and a jump after which both would be older than `KEPT_MS`.
async fn jumped_beyond_retention<H: Harness>(
    wrong: &Wrong<H>,
    store: Arc<dyn Store>,
) -> (Arc<dyn Store>, [EventId; 2]) {
    let first = append(&store, keyed(&[1])).await;
    let dead = dead_letter(&store, "audit").await.event;
    let store = wrong.jumps(store).await;
    pass(&wrong.harness, HOUR_MS);
    wrong.clock().compare();
    sweep_all(&store, wrong.kept_for(KEPT_MS)).await;
    assert!(exists(&store, first).await && exists(&store, dead).await);
    assert!(store.append(keyed(&[1])).await.unwrap().duplicate);
    (store, [first, dead])
}

const KEPT_MS: i64 = 14 * DAY_MS;

/// Retention goes by the clock, and by what has passed in truth where it went back.
async fn retention_goes_on<H: Harness>(wrong: &Wrong<H>, store: Arc<dyn Store>, ids: [EventId; 2]) {
    if wrong.by_ms < 0 {
        pass(&wrong.harness, KEPT_MS - wrong.by_ms);
    }
    sweep_all(&store, wrong.kept_for(KEPT_MS)).await;
    for id in ids {
        assert!(!exists(&store, id).await);
    }
    append(&store, keyed(&[1])).await;
}

pub(in crate::store) fn nothing_is_deleted_because_of_a_jump_until_it_is_accepted<H: Harness>(
    harness: fn() -> H,
) {
    each(harness, async |wrong, store| {
        let (store, ids) = jumped_beyond_retention(&wrong, store).await;
        wrong.clock().accept();
        store.note_time().await.unwrap();
        drop(store);
        let store = wrong.harness.open().await;
        assert_eq!(
            (wrong.clock().jump(), wrong.clock().held_ms()),
            (None, 0),
            "it is not asked for again"
        );
        retention_goes_on(&wrong, store, ids).await;
    });
}

pub(in crate::store) fn nothing_is_deleted_because_of_a_jump_until_it_has_stood_for_a_day<
    H: Harness,
>(
    harness: fn() -> H,
) {
    each(harness, async |wrong, store| {
        let (store, ids) = jumped_beyond_retention(&wrong, store).await;
        pass(&wrong.harness, DAY_MS - HOUR_MS - 1);
        wrong.clock().compare();
        sweep_all(&store, wrong.kept_for(KEPT_MS)).await;
        assert!(exists(&store, ids[0]).await && exists(&store, ids[1]).await);
        pass(&wrong.harness, 1);
        wrong.clock().compare();
        assert_eq!((wrong.clock().jump(), wrong.clock().held_ms()), (None, 0));
        retention_goes_on(&wrong, store, ids).await;
    });
}

pub(in crate::store) fn a_glitch_changes_no_window<H: Harness>(harness: fn() -> H) {
    each(harness, async |wrong, store| {
        let mut ids = vec![append(&store, wrong.now(keyed(&[1]))).await];
        let store = wrong.jumps(store).await;
        ids.push(append(&store, wrong.now(keyed(&[2]))).await);
        let store = wrong.is_over(store).await;
        ids.push(append(&store, wrong.now(keyed(&[3]))).await);
        pass(&wrong.harness, DAY_MS);
        wrong.clock().compare();
        sweep_all(&store, wrong.kept_for(2 * DAY_MS)).await;
        for key in 1..4 {
            assert!(store.append(wrong.now(keyed(&[key]))).await.unwrap().duplicate, "{key}");
        }
        let late = append(&store, wrong.now(keyed(&[4]))).await;
        pass(&wrong.harness, DAY_MS + 1);
        wrong.clock().compare();
        sweep_all(&store, wrong.kept_for(2 * DAY_MS)).await;
        for (key, id) in (1..4).zip(ids) {
            assert!(!exists(&store, id).await, "{key}");
            append(&store, wrong.now(keyed(&[key]))).await;
        }
        assert!(exists(&store, late).await && store.append(keyed(&[4])).await.unwrap().duplicate);
    });
}
