//! A clock that was ahead and is set right.

use super::*;

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
