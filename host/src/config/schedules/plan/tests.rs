//! Ticks that are due, missed and late, without a store.

use std::collections::BTreeSet;

use bytes::Bytes;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::super::CronTimes;
use super::*;

const DAY: i64 = DAY_MS as i64;
const HOUR: i64 = DAY / 24;

fn schedule(timing: Timing, missed: MissedTicks) -> Schedule {
    Schedule {
        name: "daily".into(),
        timing,
        emit: "report.due".to_owned(),
        subject: "daily".to_owned(),
        data: Bytes::from_static(b"{}"),
        missed,
        skips_overlap: false,
        jitter_ms: 0,
        enabled: true,
    }
}

fn every(ms: u64, missed: MissedTicks) -> Schedule {
    schedule(Timing::Every(ms), missed)
}

fn emitted(steps: &[PlannedTick]) -> Vec<i64> {
    steps.iter().filter(|step| step.missed.is_none()).map(|step| step.from_ms).collect()
}

#[test]
fn of_missed_ticks_as_many_are_emitted_as_the_schedule_says() {
    // Due at 100, 200, …, and it is 5 s later than the last one that was made.
    for (missed, now_ms, expected) in [
        (MissedTicks::Once, 1_000_050, vec![1_000_000]),
        (MissedTicks::Skip, 1_000_050, vec![1_000_000]),
        (MissedTicks::All, 300_050, vec![100_000, 200_000, 300_000]),
        (MissedTicks::Skip, 399_999, vec![]),
        (MissedTicks::Skip, 360_000, vec![300_000]),
        (MissedTicks::Once, 399_999, vec![300_000]),
    ] {
        let schedule = every(100_000, missed);
        let steps = schedule.plan(100_000, now_ms);
        assert_eq!(emitted(&steps), expected, "{missed:?} at {now_ms}");
        let last = steps.last().unwrap();
        assert_eq!(last.next_ms, now_ms / 100_000 * 100_000 + 100_000);
    }
    assert_eq!(every(100_000, MissedTicks::All).plan(100_000, 99_999), []);
}

#[test]
fn a_thousand_missed_ticks_are_caught_up_the_oldest_first() {
    let steps = every(1_000, MissedTicks::All).plan(1_000, 5_000_000);
    let missed = MissedRange { last_ms: 4_000_000, ticks: 4_000 };
    assert_eq!(steps[0], PlannedTick { from_ms: 1_000, next_ms: 4_001_000, missed: Some(missed) });
    assert_eq!(emitted(&steps), (4_001..=5_000).map(|n| n * 1_000).collect::<Vec<_>>());
}

#[test]
fn a_stop_of_any_length_is_counted_in_bounded_steps() {
    let year = 365 * DAY;
    let steps = every(10, MissedTicks::Once).plan(10, year);
    assert_eq!((steps.len(), steps[0].missed.unwrap().ticks), (2, MAX_COUNTED));
    let cron = CronTimes::read("* * * * *", "UTC", TimeZone::UTC).unwrap();
    let steps = schedule(Timing::Cron(cron.into()), MissedTicks::Once).plan(60_000, 10 * year);
    assert_eq!((steps.len(), steps[0].missed.unwrap().ticks), (2, MAX_COUNTED));
    assert_eq!(steps[1].from_ms, 10 * year);
}

#[test]
fn a_jitter_is_always_the_same_for_a_tick_and_never_early() {
    let schedule = Schedule { jitter_ms: 5_000, ..every(10_000, MissedTicks::All) };
    let late: Vec<i64> = (0..500).map(|n| schedule.due_ms(n * 10_000) - n * 10_000).collect();
    assert!(late.iter().all(|late_ms| (0..=5_000).contains(late_ms)), "{late:?}");
    assert!(late.iter().collect::<BTreeSet<_>>().len() > 400, "it spreads");
    let again: Vec<i64> = (0..500).map(|n| schedule.due_ms(n * 10_000) - n * 10_000).collect();
    assert_eq!(late, again);
    for (n, late_ms) in (0..500).zip(&late) {
        let (tick_ms, due_ms) = (n * 10_000, n * 10_000 + late_ms);
        assert_eq!(schedule.plan(tick_ms, due_ms - 1), []);
        assert_eq!(emitted(&schedule.plan(tick_ms, due_ms)), [tick_ms]);
    }
    let other = Schedule { name: "other".into(), ..schedule.clone() };
    assert!((0..50).any(|n| other.due_ms(n * 10_000) != schedule.due_ms(n * 10_000)));
}

#[test]
fn a_schedule_begins_after_now_and_after_its_last_tick() {
    let hourly = every(HOUR as u64, MissedTicks::Once);
    let now_ms = 10 * DAY;
    assert_eq!(hourly.first_tick(now_ms, None), now_ms + HOUR);
    assert_eq!(hourly.first_tick(now_ms, Some(now_ms - DAY)), now_ms + HOUR);
    assert_eq!(hourly.first_tick(now_ms - HOUR, Some(now_ms)), now_ms + HOUR, "set back");
    assert_eq!(hourly.first_tick(now_ms, Some(now_ms + 300 * DAY)), now_ms + HOUR, "set right");
    assert!(hourly.is_tick(now_ms) && !hourly.is_tick(now_ms + 1));
    for (next_ms, last_ms, goes_on) in [
        (now_ms + HOUR, None, true),
        (now_ms - 5 * HOUR, None, true),
        (now_ms + DAY + HOUR, None, true),
        (now_ms + DAY + 2 * HOUR, None, false),
        (now_ms + DAY + 2 * HOUR, Some(now_ms + HOUR), true),
        (now_ms + DAY + 3 * HOUR, Some(now_ms + HOUR), false),
        (now_ms + 301 * DAY, Some(now_ms + 300 * DAY), false),
        (now_ms + 1, None, false),
    ] {
        assert_eq!(
            hourly.goes_on_with(next_ms, now_ms, last_ms),
            goes_on,
            "{next_ms}, {last_ms:?}"
        );
    }
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

/// The row that three hosts share, and what they did with it.
struct Shared {
    next_ms: i64,
    steps: Vec<PlannedTick>,
}

/// Lets three hosts work for ten years: each sees an old row at times, dies between two steps, is
/// off for weeks, and its clock is set back and forth.
fn simulate(schedule: &Schedule, seed: u64) -> Shared {
    let mut dice = Dice(seed | 1);
    let start_ms = "2007-01-01T00:00:00Z".parse::<Timestamp>().unwrap().as_millisecond();
    let mut shared = Shared { next_ms: schedule.first_tick(start_ms, None), steps: Vec::new() };
    let (mut now_ms, mut seen) = (start_ms, [shared.next_ms; 3]);
    while now_ms < start_ms + 3_653 * DAY {
        now_ms += match dice.below(12) {
            0 => dice.below(40 * DAY),
            1 => -dice.below(HOUR),
            2 => HOUR,
            _ => dice.below(3 * DAY),
        };
        for _ in 0..3 {
            let host = dice.below(3) as usize;
            let survives = dice.below(5) as usize;
            for step in schedule.plan(seen[host], now_ms).into_iter().take(1 + survives) {
                if step.from_ms != shared.next_ms {
                    seen[host] = shared.next_ms;
                    break;
                }
                (shared.next_ms, seen[host]) = (step.next_ms, step.next_ms);
                shared.steps.push(step);
            }
        }
    }
    shared
}

/// Each nominal tick in the window is emitted exactly once or recorded as skipped with its reason,
/// over 10 simulated years of every zone, with restarts, clock steps and three hosts.
#[test]
fn each_nominal_tick_is_emitted_once_or_recorded_as_skipped_in_every_zone() {
    let mut seen = BTreeSet::new();
    for (number, name) in jiff::tz::db().available().enumerate() {
        let zone = TimeZone::get(name.as_str()).unwrap();
        let from = "2007-01-01T00:00:00Z".parse::<Timestamp>().unwrap();
        let changes: Vec<_> = zone.following(from).take(25).map(|at| at.timestamp()).collect();
        if !seen.insert((zone.to_offset(from), changes)) {
            continue;
        }
        let missed = [MissedTicks::Once, MissedTicks::All, MissedTicks::Skip][number % 3];
        let cron = CronTimes::read("30 2 * * *", name.as_str(), zone).unwrap();
        let schedule = schedule(Timing::Cron(cron.into()), missed);
        let shared = simulate(&schedule, number as u64);
        let mut nominal_ms = shared.steps[0].from_ms;
        let mut both = (0, 0);
        for step in &shared.steps {
            assert_eq!(step.from_ms, nominal_ms, "{name}: none twice, and none left out");
            let (last_ms, ticks) = step.missed.map_or((nominal_ms, 1), |it| (it.last_ms, it.ticks));
            let mut count = 1;
            while nominal_ms < last_ms {
                nominal_ms = schedule.next_after(nominal_ms);
                count += 1;
            }
            assert_eq!((nominal_ms, count), (last_ms, ticks), "{name}");
            nominal_ms = schedule.next_after(nominal_ms);
            match step.missed {
                None => both.0 += 1,
                Some(_) => both.1 += ticks,
            }
        }
        assert_eq!(nominal_ms, shared.next_ms, "{name}");
        assert!((3_500..3_800).contains(&(both.0 + both.1)), "{name}: {both:?}");
        assert!(both.0 > 20 || missed == MissedTicks::Skip, "{name}: {both:?}");
        assert_eq!(both.1 == 0, missed == MissedTicks::All, "{name}: {both:?}");
    }
    assert!(seen.len() > 100, "{}", seen.len());
}
