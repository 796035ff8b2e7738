//! Notes of the time in the file, and files of a version without them.

use super::versions::BACK_TO_VERSION_6;
use super::*;
use crate::store::{EventFilter, Page};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const GLITCH_MS: i64 = 34 * 365 * DAY_MS;

fn eras(file: &OneFile) -> i64 {
    file.connection().query_row("SELECT count(*) FROM eras", [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn a_step_of_seconds_leaves_no_trace() {
    let file = one_file();
    let store = file.open_sqlite().await;
    for step_ms in [-30_000, 45_000, -20_000] {
        store.append(event()).await.unwrap();
        file.clock.step(file.clock.now_ms() + step_ms);
        assert_eq!(file.clock.compare(), []);
    }
    store.append(event()).await.unwrap();
    assert_eq!((eras(&file), file.clock.jump(), file.clock.held_ms()), (0, None, 0));
}

#[tokio::test]
async fn an_era_is_forgotten_with_the_last_of_its_events() {
    let file = one_file();
    let store = file.open_sqlite().await;
    let steps = [0, -DAY_MS, DAY_MS, -DAY_MS, DAY_MS];
    for step_ms in steps {
        file.clock.step(file.clock.now_ms() + step_ms);
        store.append(event()).await.unwrap();
    }
    assert_eq!(eras(&file), 4);
    file.clock.set(START_MS + 3 * DAY_MS);
    store.append(event()).await.unwrap();
    let keep = file.keep_since(START_MS + 2 * DAY_MS);
    while store.sweep(keep).await.unwrap() {}
    assert_eq!((store.stats().await.unwrap().events, eras(&file)), (1, 1));
}

#[tokio::test]
async fn the_time_is_noted_now_and_then_and_at_the_end() {
    let file = one_file();
    let store = file.open_sqlite().await;
    let noted = || {
        let sql = "SELECT host_ms - ?1 FROM host_time";
        file.connection().query_row(sql, [START_MS], |row| row.get::<_, i64>(0)).unwrap()
    };
    file.clock.set(START_MS + 20_000);
    store.append(event()).await.unwrap();
    assert_eq!(noted(), 0, "not with every event");
    file.clock.set(START_MS + 31_000);
    store.append(event()).await.unwrap();
    assert_eq!(noted(), 31_000);
    file.clock.set(START_MS + 32_000);
    store.note_time().await.unwrap();
    assert_eq!(noted(), 32_000);
    file.clock.set(START_MS + 33_000);
    store.close().await.unwrap();
    assert_eq!(noted(), 33_000);
}

/// A file of version 4 with these events, as ids and times; the last of them waits for `audit` and
/// for `orders`.
async fn old_file(rows: &[(i64, i64)], due_ms: [i64; 2]) -> OneFile {
    let file = one_file();
    file.open_sqlite().await.close().await.unwrap();
    let connection = file.connection();
    let back = "DROP TABLE duplicates; DROP TABLE eras; DROP TABLE host_time; ALTER TABLE events DROP COLUMN sum;
                ALTER TABLE swept DROP COLUMN legacy_keys_up_to; DROP TABLE approvals; PRAGMA user_version = 4";
    connection.execute_batch(BACK_TO_VERSION_6).unwrap();
    connection.execute_batch(back).unwrap();
    for (id, time_ms) in rows {
        let sql = "INSERT INTO events (id, source, type, time_ms, hops, body) VALUES (?1, 'acme', 'a', ?2, 0, x'')";
        connection.execute(sql, [id, time_ms]).unwrap();
    }
    let (id, _) = rows.last().unwrap();
    for (ordinal, (plugin, state, due_ms)) in
        [("audit", 0, due_ms[0]), ("orders", 2, due_ms[1])].iter().enumerate()
    {
        let sql = "INSERT INTO deliveries (event, ordinal, plugin, state, attempt, pardoned, crashes, replay, due_ms)
                   VALUES (?1, ?2, ?3, ?4, 0, 0, 0, 0, ?5)";
        connection.execute(sql, rusqlite::params![id, ordinal, plugin, state, due_ms]).unwrap();
    }
    let counted = "INSERT INTO counts VALUES ('', 6, 0) ON CONFLICT DO NOTHING";
    connection.execute_batch(counted).unwrap();
    file
}

async fn leased(store: &Sqlite, plugin: &str) -> usize {
    let permits = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    store.lease(LeaseQueue::Plugin(plugin.into()), permits).await.unwrap().leases.len()
}

#[tokio::test]
async fn a_file_whose_ids_are_of_a_time_to_come_is_healed() {
    // A day of events, one of them during a glitch; those after it only counted on.
    let glitch = EventId::first_at(START_MS - DAY_MS + GLITCH_MS).row();
    let mut rows: Vec<_> = (0..5)
        .map(|n| START_MS - 3 * DAY_MS + n * HOUR_MS)
        .map(|ms| (EventId::first_at(ms).row(), ms))
        .collect();
    rows.push((glitch, START_MS - DAY_MS + GLITCH_MS));
    rows.extend((1..24).map(|n| (glitch + n, START_MS - DAY_MS + n * HOUR_MS)));
    let file = old_file(&rows, [START_MS - HOUR_MS, START_MS + 5_000]).await;
    let store = file.open_sqlite().await;
    assert_eq!((store.clock_changes(), file.clock.jump()), (&[][..], None));
    let new = store.append(event()).await.unwrap().id;
    assert!(new.row() > glitch + 23);
    assert_eq!((leased(&store, "audit").await, leased(&store, "orders").await), (1, 0));
    let until = |ms| EventFilter { until_ms: Some(ms), ..EventFilter::default() };
    let page = Page { limit: 100, after: None };
    assert_eq!(store.events(until(START_MS + 1), page).await.unwrap().0.len(), rows.len());
    assert_eq!(store.events(until(START_MS - 2 * DAY_MS), page).await.unwrap().0.len(), 5);
    // Also those whose ids, which only counted on, are hours behind their times.
    let since = |ms| EventFilter { since_ms: Some(ms), ..EventFilter::default() };
    let mut expected: Vec<_> =
        rows.iter().filter(|(_, ms)| *ms >= START_MS - 2 * HOUR_MS).map(|(id, _)| *id).collect();
    expected.push(new.row());
    expected.sort_unstable_by(|a, b| b.cmp(a));
    let found = store.events(since(START_MS - 2 * HOUR_MS), page).await.unwrap().0;
    assert_eq!(found.iter().map(|event| event.event.id.row()).collect::<Vec<_>>(), expected);
    file.clock.set(START_MS + 5_000);
    assert_eq!(leased(&store, "orders").await, 1, "it has waited as long as it would have");
    // Events older than half a day go, but for the newest one, whose deliveries are open.
    let since_ms = START_MS - DAY_MS / 2;
    while store.sweep(file.keep_since(since_ms)).await.unwrap() {}
    let left = store.events(EventFilter::default(), page).await.unwrap().0;
    let times: Vec<_> = left.iter().map(|event| event.event.attributes.time_ms).collect();
    assert!(
        times.iter().all(|ms| *ms >= since_ms - HOUR_MS) && (12..=14).contains(&times.len()),
        "{times:?}"
    );
}

#[tokio::test]
async fn a_filter_by_time_is_exact_where_ids_are_seconds_off() {
    let file = one_file();
    let store = file.open_sqlite().await;
    let mut behind = event();
    behind.attributes.time_ms = START_MS - 5_000;
    let mut ahead = event();
    ahead.attributes.time_ms = START_MS + 5_000;
    let (behind, ahead) =
        (store.append(behind).await.unwrap().id, store.append(ahead).await.unwrap().id);
    assert_eq!(eras(&file), 0);
    let page = Page { limit: 9, after: None };
    let of = |since_ms, until_ms| EventFilter { since_ms, until_ms, ..EventFilter::default() };
    for (filter, expected) in [
        (of(Some(START_MS - 5_000), Some(START_MS + 5_001)), vec![ahead, behind]),
        (of(Some(START_MS - 4_999), None), vec![ahead]),
        (of(None, Some(START_MS + 5_000)), vec![behind]),
    ] {
        let found = store.events(filter, page).await.unwrap().0;
        assert_eq!(found.iter().map(|event| event.event.id).collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn what_is_ready_in_a_file_of_before_is_due_whatever_its_time_says() {
    let rows = [(EventId::first_at(START_MS - 1).row(), START_MS - 1)];
    let file = old_file(&rows, [START_MS + 40 * DAY_MS, START_MS + 5_000]).await;
    let store = file.open_sqlite().await;
    assert_eq!((leased(&store, "audit").await, leased(&store, "orders").await), (1, 0));
    assert_eq!(eras(&file), 0);
}
