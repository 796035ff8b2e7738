//! Three hosts on one store for ten years, with kills and a clock that is set.

use super::*;

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
    Ticker::new(store.clone(), clock.clone())
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

/// A pseudo-random number below `below`.
struct Dice(u64);

impl Dice {
    fn below(&mut self, below: i64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as i64 % below
    }
}

const SAMPLE: &str = "
[schedules.weekly]
cron = \"30 2 * * SUN\"
tz = \"America/New_York\"
missed = \"all\"
emit = \"week\"

[schedules.daily]
cron = \"30 2 * * *\"
tz = \"Europe/Berlin\"
emit = \"day\"
jitter = \"1h\"

[schedules.hourly]
cron = \"0 * * * *\"
tz = \"Australia/Lord_Howe\"
missed = \"skip\"
emit = \"hour\"
";

/// Three hosts share a store for ten years: they are killed between two steps, are off for weeks,
/// open the store again, and their clock is set back and forth. Then every nominal tick of the
/// window is found exactly once, as an event or within a record of skipped ones.
async fn lives_for_ten_years(kind: TestStore, seed: u64) {
    let (folder, clock) = (folder(), Clock::manual(START_MS));
    let config = config(&folder, SAMPLE);
    let mut dice = Dice(seed);
    let mut store = kind.open(&clock).await;
    let mut hosts = [0; 3].map(|_| ticker(&store, &clock));
    for host in &mut hosts {
        turns(host, &config).await;
    }
    let first: BTreeMap<_, _> = store
        .schedules()
        .await
        .unwrap()
        .into_iter()
        .map(|row| (row.name.clone(), row.mark.next_ms))
        .collect();
    let mut skipped: BTreeMap<(Arc<str>, i64), (i64, u64)> = BTreeMap::new();
    while clock.now_ms() < START_MS + 3_653 * DAY_MS {
        match dice.below(10) {
            0 => clock.step(clock.now_ms() - dice.below(3_600_000)),
            1 => clock.step(clock.now_ms() + 3_600_000),
            2 => clock.set(clock.now_ms() + dice.below(60 * DAY_MS)),
            _ => clock.set(clock.now_ms() + dice.below(20 * DAY_MS)),
        }
        if dice.below(8) == 0 {
            drop((hosts, store));
            store = kind.open(&clock).await;
            hosts = [0; 3].map(|_| ticker(&store, &clock));
        }
        for _ in 0..3 {
            let host = dice.below(3) as usize;
            match dice.below(3) {
                // Killed after a step.
                0 => {
                    hosts[host].turn(&config).await.unwrap();
                    hosts[host] = ticker(&store, &clock);
                }
                _ => drop(turns(&mut hosts[host], &config).await),
            }
        }
        for name in first.keys() {
            for record in store.skipped_ticks(name.clone()).await.unwrap() {
                let key = (name.clone(), record.first_ms);
                skipped.insert(key, (record.last_ms, record.ticks));
            }
        }
    }
    for (name, first_ms) in first {
        let of_it = skipped.iter().filter(|((its, _), _)| *its == name);
        let records = of_it.map(|((_, first_ms), record)| (*first_ms, *record)).collect();
        every_tick_is_there(&store, &config, (&name, first_ms), records).await;
    }
}

/// Looks for every nominal tick from the first one on: as an event, or in a record.
async fn every_tick_is_there(
    store: &Arc<dyn Store>,
    config: &Config,
    (name, first_ms): (&str, i64),
    mut skipped: BTreeMap<i64, (i64, u64)>,
) {
    let schedule = &config.schedules[name];
    let emitted = events(store, &schedule.source()).await;
    let (mut emitted, mut nominal_ms) = (emitted.iter().peekable(), first_ms);
    let (mut events, end_ms) = (0, row(store, name).await.mark.next_ms);
    while nominal_ms < end_ms {
        if let Some((time_ms, _)) = emitted.next_if(|(time_ms, _)| *time_ms == nominal_ms) {
            nominal_ms = schedule.next_after(*time_ms);
            events += 1;
            continue;
        }
        let (last_ms, ticks) = skipped
            .remove(&nominal_ms)
            .unwrap_or_else(|| panic!("{name}: the tick of {} is nowhere", rfc3339(nominal_ms)));
        let mut counted = 1;
        while nominal_ms < last_ms {
            nominal_ms = schedule.next_after(nominal_ms);
            counted += 1;
        }
        assert_eq!((nominal_ms, counted), (last_ms, ticks), "{name}");
        nominal_ms = schedule.next_after(nominal_ms);
    }
    assert_eq!(nominal_ms, end_ms, "{name}");
    assert_eq!(emitted.next(), None, "{name}: a tick came twice");
    assert!(events > 100 || name == "hourly", "{name}: {events}");
    assert!(skipped.is_empty(), "{name}: {skipped:?}");
}

#[tokio::test]
async fn each_nominal_tick_is_emitted_once_or_recorded_as_skipped_with_a_store_in_memory() {
    for seed in 1..=4 {
        let kind = TestStore::Memory(Arc::new(MemoryStore::new(Clock::manual(START_MS))));
        lives_for_ten_years(kind, seed).await;
    }
}

#[tokio::test]
async fn each_nominal_tick_is_emitted_once_or_recorded_as_skipped_with_a_store_in_a_file() {
    lives_for_ten_years(TestStore::File(tempfile::tempdir().unwrap()), 5).await;
}
