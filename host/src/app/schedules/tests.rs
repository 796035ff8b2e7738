//! Hosts that tick on a store, by a clock that is moved by hand.

use std::fs;

use tempfile::TempDir;

use super::*;
use crate::config::{MakeSecrets, Surroundings};
use crate::event::{EventId, State};
use crate::store::memory::MemoryStore;
use crate::store::{DeliveryFilter, EventFilter, Page, Sqlite, SqliteOptions, Store};

mod wrong_clocks;
mod years;

const DAY_MS: i64 = 24 * 3_600_000;

/// 2026-03-28, a day before the clocks of Berlin change.
const START_MS: i64 = 1_774_656_000_000;

/// A folder with a plugin.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("plugins")).unwrap();
    fs::write(folder.path().join("plugins/report.wat"), "").unwrap();
    folder
}

fn config(folder: &TempDir, text: &str) -> Arc<Config> {
    let surroundings = Surroundings { make_secrets: MakeSecrets::No, env: &|_| None };
    let parsed = Config::parse(&folder.path().join("config.toml"), text, surroundings);
    Arc::new(parsed.unwrap_or_else(|problems| panic!("{}", problems.render(false))))
}

/// A store in a file or in memory, which can be opened again.
enum TestStore {
    File(TempDir),
    Memory(Arc<MemoryStore>),
}

impl TestStore {
    async fn open(&self, clock: &Clock) -> Arc<dyn Store> {
        match self {
            Self::File(folder) => loop {
                let path = folder.path().join("hookbox.db");
                let options = SqliteOptions::at(path, clock.clone());
                match Sqlite::open(options) {
                    Err(crate::store::OpenError::InUse(_)) => tokio::task::yield_now().await,
                    opened => return Arc::new(opened.unwrap()),
                }
            },
            Self::Memory(store) => Arc::clone(store) as Arc<dyn Store>,
        }
    }
}

/// Every event of a source, with its time.
async fn events(store: &Arc<dyn Store>, source: &str) -> Vec<(i64, EventId)> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let filter = EventFilter { source: Some(source.to_owned()), ..EventFilter::default() };
        let (rows, next) = store.events(filter, Page { limit: 200, after }).await.unwrap();
        found.extend(rows.iter().map(|row| (row.event.attributes.time_ms, row.event.id)));
        match next {
            None => break,
            next => after = next,
        }
    }
    found.sort_unstable();
    found
}

/// Turns until there is nothing to do now.
async fn turns(ticker: &mut Ticker, config: &Arc<Config>) -> i64 {
    for _ in 0..5_000 {
        let next_ms = ticker.turn(config).await.unwrap();
        if next_ms > ticker.clock.now_ms() {
            return next_ms;
        }
    }
    panic!("it does not come to rest");
}

fn ticker(store: &Arc<dyn Store>, clock: &Clock) -> Ticker {
    let pauses = store.pauses();
    Ticker::new(store.clone(), clock.clone(), pauses)
}

async fn row(store: &Arc<dyn Store>, name: &str) -> StoredSchedule {
    let rows = store.schedules().await.unwrap();
    rows.into_iter().find(|row| &*row.name == name).unwrap()
}

fn memory(clock: &Clock) -> Arc<dyn Store> {
    Arc::new(MemoryStore::new(clock.clone()))
}

const NINE: &str = "[schedules.daily]\ncron = \"0 9 * * *\"\ntz = \"Europe/Berlin\"\nemit = \"report.due\"\n\
                    data = { kind = \"daily\" }\n";

#[tokio::test]
async fn a_tick_is_an_event_of_its_nominal_time_with_its_deliveries() {
    let (folder, clock) = (folder(), Clock::manual(START_MS));
    let store = memory(&clock);
    let text = format!("{NINE}[routes]\n\"schedules/daily:report.due\" = \"report\"\n");
    let config = config(&folder, &text);
    let mut ticker = ticker(&store, &clock);
    let due_ms = turns(&mut ticker, &config).await;
    assert_eq!(rfc3339(due_ms), "2026-03-28T08:00:00.000Z");
    clock.set(due_ms + 400);
    let due_ms = turns(&mut ticker, &config).await;
    assert_eq!(rfc3339(due_ms), "2026-03-29T07:00:00.000Z", "it is summer there");
    let found = events(&store, "schedules/daily").await;
    assert_eq!(found.len(), 1);
    let event = store.event(found[0].1).await.unwrap();
    let attributes = &event.event.attributes;
    assert_eq!(rfc3339(attributes.time_ms), "2026-03-28T08:00:00.000Z");
    assert_eq!((&*attributes.kind, attributes.subject.as_deref()), ("report.due", Some("daily")));
    assert_eq!(&*attributes.body, br#"{"kind":"daily"}"#);
    assert_eq!(event.event.root, None);
    assert_eq!(&*event.deliveries[0].plugin, "report");
}

#[tokio::test]
async fn what_begins_has_nothing_to_catch_up() {
    let (folder, clock) = (folder(), Clock::manual(START_MS));
    let store = memory(&clock);
    let hourly = "[schedules.hourly]\nevery = \"1h\"\nmissed = \"all\"\nemit = \"hour\"\n";
    let hour = |text: &str| config(&folder, text);
    let (on, off) = (hour(hourly), hour(&format!("{hourly}enabled = false\n")));
    let other = hour(&hourly.replace("1h", "2h"));
    let without = hour("");
    let mut ticker = ticker(&store, &clock);
    turns(&mut ticker, &on).await;
    for (then, expected) in [(&off, true), (&without, false), (&other, true)] {
        let before = events(&store, "schedules/hourly").await.len();
        turns(&mut ticker, then).await;
        assert_eq!(!store.schedules().await.unwrap().is_empty(), expected);
        if !Arc::ptr_eq(then, &other) {
            clock.set(clock.now_ms() + 5 * 3_600_000);
            turns(&mut ticker, then).await;
        }
        turns(&mut ticker, &on).await;
        assert_eq!(events(&store, "schedules/hourly").await.len(), before, "no catch-up");
        clock.set(clock.now_ms() + 2 * 3_600_000);
        turns(&mut ticker, &on).await;
        assert_eq!(events(&store, "schedules/hourly").await.len(), before + 2, "all from then on");
    }
    // A host that was off has not seen any change, and catches up.
    let before = events(&store, "schedules/hourly").await.len();
    clock.set(clock.now_ms() + 3 * 3_600_000);
    turns(&mut self::ticker(&store, &clock), &on).await;
    assert_eq!(events(&store, "schedules/hourly").await.len(), before + 3);
}

#[tokio::test]
async fn a_clock_that_was_far_ahead_stops_no_schedule() {
    let (folder, clock) = (folder(), Clock::manual(START_MS));
    let store = memory(&clock);
    let config = config(&folder, NINE);
    let mut ticker = ticker(&store, &clock);
    turns(&mut ticker, &config).await;
    clock.set(START_MS + 400 * DAY_MS);
    turns(&mut ticker, &config).await;
    clock.step(START_MS + DAY_MS);
    let due_ms = turns(&mut ticker, &config).await;
    assert_eq!(rfc3339(due_ms), "2026-03-29T07:00:00.000Z");
    // Less than a day back: the ticks that were made are not made again.
    clock.set(due_ms);
    turns(&mut ticker, &config).await;
    clock.step(due_ms - 3 * 3_600_000);
    let next_ms = turns(&mut ticker, &config).await;
    assert_eq!(next_ms, due_ms + DAY_MS);
}

#[tokio::test]
async fn a_schedule_that_began_while_the_clock_was_ahead_ticks_when_it_is_right() {
    for (text, ahead_ms, expected) in [
        (NINE, 1_500 * DAY_MS, "2026-03-28T08:00:00.000Z"),
        (
            "[schedules.daily]\nevery = \"1h\"\nemit = \"hour\"\n",
            300 * DAY_MS,
            "2026-03-28T01:00:00.000Z",
        ),
    ] {
        for restarts in [false, true] {
            let (folder, clock) = (folder(), Clock::manual(START_MS + ahead_ms));
            let store = memory(&clock);
            let config = config(&folder, text);
            let mut first = ticker(&store, &clock);
            let wrong_ms = turns(&mut first, &config).await;
            assert!(wrong_ms > START_MS + ahead_ms);
            clock.step(START_MS);
            let mut then = if restarts { ticker(&store, &clock) } else { first };
            let due_ms = turns(&mut then, &config).await;
            assert_eq!(rfc3339(due_ms), expected, "{restarts}");
            clock.set(due_ms);
            turns(&mut then, &config).await;
            let found = events(&store, "schedules/daily").await;
            assert_eq!(found.iter().map(|(time_ms, _)| *time_ms).collect::<Vec<_>>(), [due_ms]);
        }
    }
}

#[tokio::test]
async fn a_tick_waits_for_its_jitter_and_is_skipped_if_the_last_one_is_open() {
    let (folder, clock) = (folder(), Clock::manual(START_MS));
    let store = memory(&clock);
    let text = "[schedules.poll]\nevery = \"1h\"\njitter = \"10m\"\noverlap = \"skip\"\nemit = \"poll\"\n\
                [routes]\n\"poll\" = \"report\"\n";
    let config = config(&folder, text);
    let mut ticker = ticker(&store, &clock);
    let due_ms = turns(&mut ticker, &config).await;
    let nominal_ms = START_MS + 3_600_000;
    assert!((nominal_ms..=nominal_ms + 600_000).contains(&due_ms));
    for _ in 0..2 {
        clock.set(turns(&mut ticker, &config).await);
        turns(&mut ticker, &config).await;
    }
    let found = events(&store, "schedules/poll").await;
    assert_eq!(found.len(), 1, "its delivery is open");
    assert_eq!(found[0].0, nominal_ms, "its time is the nominal one");
    let skipped = store.skipped_ticks("poll".into()).await.unwrap();
    assert_eq!((skipped.len(), skipped[0].reason.name()), (1, "overlap"));
    let filter = DeliveryFilter { state: Some(State::Ready), ..DeliveryFilter::default() };
    let open = store.deliveries(filter, Page { limit: 9, after: None }).await.unwrap().0;
    assert_eq!(open.len(), 1);
}

/// A host that is told to stop while it catches up leaves the rest to the next one.
#[tokio::test]
async fn a_host_that_stops_in_the_middle_loses_no_tick() {
    let (folder, clock) = (folder(), Clock::manual(START_MS));
    let store = memory(&clock);
    let text = "[schedules.hourly]\nevery = \"1h\"\nmissed = \"all\"\nemit = \"hour\"\n";
    let config = config(&folder, text);
    turns(&mut ticker(&store, &clock), &config).await;
    clock.set(START_MS + 2 * DAY_MS);
    for expected in 1..=48 {
        let mut dies = ticker(&store, &clock);
        dies.turn(&config).await.unwrap();
        assert_eq!(events(&store, "schedules/hourly").await.len(), expected);
    }
    assert_eq!(turns(&mut ticker(&store, &clock), &config).await, clock.now_ms() + 3_600_000);
    assert_eq!(events(&store, "schedules/hourly").await.len(), 48);
}

#[tokio::test]
async fn the_task_ticks_by_the_clock_and_takes_another_configuration() {
    let (folder, clock) = (folder(), Clock::manual(START_MS));
    let store = memory(&clock);
    let (reloaded, closing) = (Arc::new(Notify::new()), CancellationToken::new());
    let running = Arc::new(ArcSwap::from(config(&folder, "")));
    let task = run(ticker(&store, &clock), running.clone(), reloaded.clone(), closing.clone());
    let task = crate::tasks::spawn(task);
    running.store(config(&folder, NINE));
    reloaded.notify_one();
    let mut changes = store.changes();
    loop {
        let rows = store.schedules().await.unwrap();
        if rows.iter().any(|row| row.mark.active) {
            break;
        }
        tokio::task::yield_now().await;
    }
    clock.set(START_MS + DAY_MS);
    while events(&store, "schedules/daily").await.is_empty() {
        changes.next().await;
    }
    closing.cancel();
    task.await.unwrap();
    assert_eq!(row(&store, "daily").await.skipped, None);
}
