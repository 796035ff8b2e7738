//! Hosts of one store, whose own clocks are wrong.

use super::*;
use crate::store::{Pending, Schedules, SkippedTicks};

const MINUTE_MS: i64 = 60_000;

/// A store whose wall clock is ahead of a host's.
#[derive(Debug)]
struct AheadStore(Arc<dyn Store>, i64);

impl Schedules for AheadStore {
    fn ahead_of_wall_ms(&self) -> i64 {
        self.1
    }

    fn schedules(&self) -> Pending<'_, Vec<StoredSchedule>> {
        self.0.schedules()
    }

    fn skipped_ticks(&self, name: Arc<str>) -> Pending<'_, Vec<SkippedTicks>> {
        self.0.skipped_ticks(name)
    }

    fn change_schedule(&self, change: ScheduleChange) -> Pending<'_, bool> {
        self.0.change_schedule(change)
    }

    fn tick(&self, tick: Tick) -> Pending<'_, Ticked> {
        self.0.tick(tick)
    }
}

#[tokio::test]
async fn hosts_tick_by_the_clock_of_the_store_that_they_share() {
    let folder = folder();
    let store = memory(&Clock::manual(START_MS));
    let config = config(&folder, NINE);
    // By the store's clock it is midnight, and 8:00 is nine o'clock in Berlin.
    let mut hosts = [-10 * MINUTE_MS, 10 * MINUTE_MS].map(|wrong_ms| {
        let clock = Clock::manual(START_MS + wrong_ms);
        let shared = Arc::new(AheadStore(store.clone(), -wrong_ms));
        (clock.clone(), Ticker::new(shared, clock, store.pauses()), wrong_ms)
    });
    let due_ms = START_MS + 8 * 60 * MINUTE_MS;
    for now_ms in [START_MS, due_ms - MINUTE_MS, due_ms - 1, due_ms, due_ms + 1] {
        for (clock, ticker, wrong_ms) in &mut hosts {
            clock.set(now_ms + *wrong_ms);
            while ticker.turn(&config).await.unwrap() <= now_ms {}
            let ticks = events(&store, "schedules/daily").await.len();
            assert_eq!(ticks, usize::from(now_ms >= due_ms), "{now_ms} {wrong_ms}");
        }
    }
    assert_eq!(events(&store, "schedules/daily").await[0].0, due_ms);
}
