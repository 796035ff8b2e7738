//! Three hosts on one store for ten years, with kills and a clock that is set.

use super::*;

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
