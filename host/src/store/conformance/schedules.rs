//! Ticks of schedules: one row, one next tick, one event.

use super::*;
use crate::store::{
    MAX_SKIP_RECORDS, ScheduleChange, ScheduleMark, SkipReason, SkippedTicks, StoredSchedule, Tick,
    TickStep, Ticked,
};

/// The times of the schedule in these cases, as a number.
const SPEC: i64 = 7;

fn name() -> Arc<str> {
    "daily".into()
}

fn mark(next_ms: i64) -> ScheduleMark {
    ScheduleMark { spec: SPEC, next_ms, active: true }
}

async fn begin(store: &Arc<dyn Store>, from: Option<ScheduleMark>, to: ScheduleMark) -> bool {
    store.change_schedule(ScheduleChange::Begin { name: name(), from, to }).await.unwrap()
}

/// A tick that is emitted to plugin `report`.
fn emit(from_ms: i64, skips_overlap: bool) -> Tick {
    let mut new = event("report.due", &["report"]);
    (new.attributes.source, new.attributes.time_ms) = ("schedules/daily".into(), from_ms);
    let step = TickStep::Emit { event: Box::new(new), skips_overlap };
    Tick { name: name(), spec: SPEC, from_ms, next_ms: from_ms + 10, step }
}

fn missed(from_ms: i64, ticks: u64) -> Tick {
    let last_ms = from_ms + 10 * (ticks as i64 - 1);
    let step = TickStep::Missed { last_ms, ticks };
    Tick { name: name(), spec: SPEC, from_ms, next_ms: last_ms + 10, step }
}

async fn make(store: &Arc<dyn Store>, tick: Tick) -> Ticked {
    store.tick(tick).await.unwrap()
}

async fn row(store: &Arc<dyn Store>) -> StoredSchedule {
    let rows = store.schedules().await.unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.into_iter().next().unwrap()
}

async fn skipped(store: &Arc<dyn Store>) -> Vec<SkippedTicks> {
    store.skipped_ticks(name()).await.unwrap()
}

pub(in crate::store) async fn of_many_hosts_that_make_one_tick_one_stores_its_event(
    harness: impl Harness,
) {
    let store = harness.open().await;
    assert!(begin(&store, None, mark(0)).await);
    for from_ms in [0, 10, 20] {
        let asked: Vec<_> = (0..3).map(|_| store.tick(emit(from_ms, false))).collect();
        let mut emitted = 0;
        for answer in asked {
            match answer.await.unwrap() {
                Ticked::Emitted(id) => {
                    emitted += 1;
                    let view = store.event(id).await.unwrap();
                    assert_eq!(
                        view.event.attributes.time_ms, from_ms,
                        "its time is the nominal one"
                    );
                    assert_eq!((view.event.root, view.deliveries.len()), (None, 1));
                    assert_eq!(row(&store).await.emitted, Some((id, from_ms)));
                }
                other => assert_eq!(other, Ticked::Lost),
            }
        }
        assert_eq!(emitted, 1);
    }
    assert_eq!(store.stats().await.unwrap().events, 3);
}

pub(in crate::store) async fn a_tick_its_event_and_the_next_tick_are_there_after_a_crash(
    harness: impl Harness,
) {
    let store = harness.open().await;
    begin(&store, None, mark(0)).await;
    let Ticked::Emitted(id) = make(&store, emit(0, false)).await else { panic!("it was next") };
    make(&store, missed(10, 5)).await;
    let (before, records) = (row(&store).await, skipped(&store).await);
    assert_eq!((before.mark, before.last_ms), (mark(60), Some(50)));
    drop(store);
    let store = harness.open().await;
    assert_eq!((row(&store).await, skipped(&store).await), (before, records));
    assert_eq!(store.event(id).await.unwrap().deliveries.len(), 1);
    assert_eq!(make(&store, emit(0, false)).await, Ticked::Lost);
    assert!(matches!(make(&store, emit(60, false)).await, Ticked::Emitted(_)));
}

pub(in crate::store) async fn a_tick_is_skipped_while_a_delivery_of_the_last_one_is_open(
    harness: impl Harness,
) {
    let store = harness.open().await;
    begin(&store, None, mark(0)).await;
    assert!(matches!(make(&store, emit(0, true)).await, Ticked::Emitted(_)));
    let overlap = Ticked::Skipped(SkipReason::Overlap);
    assert_eq!(make(&store, emit(10, true)).await, overlap);
    let lease = lease_one(&store, "report").await;
    assert_eq!(make(&store, emit(20, true)).await, overlap, "it is leased");
    settle(&store, lease, retry_in(1_000)).await;
    assert_eq!(make(&store, emit(30, true)).await, overlap, "it waits");
    let record = SkippedTicks { first_ms: 10, last_ms: 30, ticks: 3, reason: SkipReason::Overlap };
    assert_eq!(skipped(&store).await, [record]);
    assert_eq!(row(&store).await.skipped, Some(SkipReason::Overlap));
    pass(&harness, 1_000);
    let lease = lease_one(&store, "report").await;
    settle(&store, lease, done()).await;
    assert!(matches!(make(&store, emit(40, true)).await, Ticked::Emitted(_)));
    assert!(matches!(make(&store, emit(50, false)).await, Ticked::Emitted(_)), "it may overlap");
    assert_eq!(row(&store).await.skipped, None);
}

pub(in crate::store) async fn what_is_skipped_is_recorded_with_its_reason(harness: impl Harness) {
    let store = harness.open().await;
    begin(&store, None, mark(0)).await;
    make(&store, missed(0, 2)).await;
    make(&store, missed(20, 3)).await;
    make(&store, emit(50, false)).await;
    make(&store, missed(60, 1)).await;
    make(&store, emit(70, true)).await;
    let records =
        |first_ms, last_ms, ticks, reason| SkippedTicks { first_ms, last_ms, ticks, reason };
    let expected = [
        records(70, 70, 1, SkipReason::Overlap),
        records(60, 60, 1, SkipReason::Missed),
        records(0, 40, 5, SkipReason::Missed),
    ];
    assert_eq!(skipped(&store).await, expected, "those in a row are one record");
    let mut next_ms = 80;
    for _ in 0..MAX_SKIP_RECORDS + 5 {
        make(&store, missed(next_ms, 1)).await;
        make(&store, emit(next_ms + 10, false)).await;
        next_ms += 20;
    }
    let records = skipped(&store).await;
    assert_eq!(records.len(), MAX_SKIP_RECORDS, "the oldest ones go");
    assert_eq!(records[0].first_ms, next_ms - 20);
}

pub(in crate::store) async fn a_schedule_that_has_changed_makes_no_old_tick(harness: impl Harness) {
    let store = harness.open().await;
    assert!(begin(&store, None, mark(0)).await);
    assert!(!begin(&store, None, mark(5)).await, "another host has begun it");
    make(&store, emit(0, false)).await;
    assert!(!begin(&store, Some(mark(0)), mark(5)).await, "it has ticked meanwhile");
    let changed = ScheduleMark { spec: SPEC + 1, next_ms: 10, active: true };
    assert!(begin(&store, Some(mark(10)), changed).await);
    assert_eq!(make(&store, emit(10, false)).await, Ticked::Lost, "it has other times");
    assert!(begin(&store, Some(changed), mark(10)).await);
    assert_eq!(row(&store).await.last_ms, Some(0), "what is known of it stays");
    assert!(begin(&store, Some(mark(10)), mark(-5)).await);
    assert_eq!(row(&store).await.last_ms, None, "the clock was wrong then");
    assert!(begin(&store, Some(mark(-5)), mark(10)).await);
    assert!(store.change_schedule(ScheduleChange::Pause(name())).await.unwrap());
    assert_eq!(make(&store, emit(10, false)).await, Ticked::Lost, "it is paused");
    make(&store, missed(10, 1)).await;
    assert!(row(&store).await.emitted.is_some());
    assert!(store.change_schedule(ScheduleChange::Forget(name())).await.unwrap());
    assert_eq!(store.schedules().await.unwrap(), []);
    assert_eq!(make(&store, emit(10, false)).await, Ticked::Lost, "it is gone");
    assert_eq!(store.stats().await.unwrap().events, 1);
}
