//! Times of cron expressions, above all where the clocks of a zone change.

use std::collections::BTreeSet;

use jiff::ToSpan;
use jiff::civil::Date;

use super::*;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

fn times(text: &str, zone: &str) -> CronTimes {
    CronTimes::read(text, zone, TimeZone::get(zone).unwrap()).unwrap()
}

fn ms(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_millisecond()
}

/// The ticks after one time, up to another.
fn ticks(times: &CronTimes, after_ms: i64, until_ms: i64) -> Vec<i64> {
    let next = std::iter::successors(times.next_after(after_ms), |ms| times.next_after(*ms));
    next.take_while(|ms| *ms <= until_ms).collect()
}

fn shown(text: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let times = times(text, zone);
    let next = std::iter::successors(times.next_after(ms(after)), |ms| times.next_after(*ms));
    next.take(count).map(|ms| Timestamp::from_millisecond(ms).unwrap().to_string()).collect()
}

#[test]
fn a_fixed_time_in_a_gap_comes_at_its_end() {
    // Berlin goes from 02:00 to 03:00, which is 01:00 UTC.
    let expected = ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"];
    assert_eq!(shown("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", 3), expected);
    // Of several in one gap there is one tick.
    let expected = ["2026-03-29T01:00:00Z", "2026-03-30T00:10:00Z", "2026-03-30T00:40:00Z"];
    assert_eq!(shown("10,40 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 3), expected);
    // Samoa left out a whole day.
    let expected = ["2011-12-29T19:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T19:00:00Z"];
    assert_eq!(shown("0 9 * * *", "Pacific/Apia", "2011-12-29T00:00:00Z", 3), expected);
}

#[test]
fn a_fixed_time_in_an_overlap_comes_once() {
    let expected = ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"];
    assert_eq!(shown("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2), expected);
    // Asked within the second half of the overlap.
    let expected = ["2026-10-26T01:30:00Z"];
    assert_eq!(shown("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", 1), expected);
}

#[test]
fn every_quarter_of_an_hour_goes_through_gap_and_overlap() {
    for after in ["2026-03-29T00:00:00Z", "2026-10-25T00:00:00Z"] {
        let times = times("*/15 * * * *", "Europe/Berlin");
        let found = ticks(&times, ms(after), ms(after) + 3 * HOUR_MS);
        let expected: Vec<_> = (1..=12).map(|n| ms(after) + n * 15 * MINUTE_MS).collect();
        assert_eq!(found, expected, "{after}");
    }
    assert_eq!(
        shown("0 * * * *", "Europe/Berlin", "2026-10-24T23:30:00Z", 3),
        ["2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"]
    );
}

#[test]
fn a_leap_day_comes_and_a_day_that_no_month_has_does_not() {
    assert_eq!(shown("0 0 29 2 *", "UTC", "2096-02-29T00:00:00Z", 1), ["2104-02-29T00:00:00Z"]);
    assert_eq!(times("0 0 30 2 *", "Europe/Berlin").next_after(ms("2026-01-01T00:00:00Z")), None);
    assert_eq!(times("*/5 * 31 4 *", "Asia/Tokyo").next_after(ms("2026-01-01T00:00:00Z")), None);
}

#[test]
fn what_is_no_expression_of_five_fields_is_refused() {
    for text in [
        "",
        "* * * *",
        "0 0 9 * * *",
        "@daily",
        "61 * * * *",
        "* * * * FOO",
        "5/5 * * * *",
        "* * 0 * *",
    ] {
        let refused = CronTimes::read(text, "UTC", TimeZone::UTC).unwrap_err();
        assert!(!refused.is_empty() && !refused.ends_with('.'), "{text}: {refused}");
    }
    assert_eq!(
        CronTimes::read("  0  9 * * mon-fri ", "UTC", TimeZone::UTC).unwrap().text,
        "0 9 * * mon-fri"
    );
}

/// The changes of the clocks in ten years in which some zones did odd things.
fn changes(zone: &TimeZone) -> Vec<Timestamp> {
    let (from, until) = (ms("2007-01-01T00:00:00Z"), ms("2017-01-01T00:00:00Z"));
    let found = zone.following(Timestamp::from_millisecond(from).unwrap());
    found.map(|change| change.timestamp()).take_while(|at| at.as_millisecond() < until).collect()
}

/// Every minute around a change with its local time.
fn minutes(zone: &TimeZone, change: Timestamp) -> Vec<(i64, DateTime)> {
    let at_ms = change.as_millisecond();
    let around = (at_ms - 4 * HOUR_MS..=at_ms + 4 * HOUR_MS).step_by(60_000);
    around.map(|ms| (ms, zone.to_datetime(Timestamp::from_millisecond(ms).unwrap()))).collect()
}

/// The ticks of a time of day: the minute in which the clock on the wall first shows it or more.
fn fixed(minutes: &[(i64, DateTime)], hour: i8, minute: i8) -> Vec<i64> {
    let days: BTreeSet<Date> = minutes.iter().map(|(_, local)| local.date()).collect();
    let (first, last) = (*days.first().unwrap(), *days.last().unwrap());
    let all = first.series(1.day()).take_while(|day| *day <= last);
    let ticks = all.filter_map(|day| {
        let wanted = day.at(hour, minute, 0, 0);
        let reached = minutes.iter().position(|(_, local)| *local >= wanted)?;
        (reached > 0).then(|| minutes[reached].0)
    });
    ticks.collect::<BTreeSet<_>>().into_iter().collect()
}

/// By another way of finding them, at every change of every zone.
#[test]
fn the_ticks_around_every_change_of_every_zone_are_those_of_its_clocks() {
    let (mut seen, mut changed) = (BTreeSet::new(), 0);
    for name in jiff::tz::db().available() {
        let zone = TimeZone::get(name.as_str()).unwrap();
        for change in changes(&zone) {
            let before = zone.to_offset(change - 1.second());
            if before == zone.to_offset(change)
                || !seen.insert((change, before, zone.to_offset(change)))
            {
                continue;
            }
            changed += 1;
            let minutes = minutes(&zone, change);
            let (after_ms, until_ms) = (minutes[0].0, minutes[minutes.len() - 1].0);
            let old = before.to_datetime(change);
            for around in [-1, 0, 1, 29, 30, 59, 60] {
                let local = old.checked_add(around.minutes()).unwrap();
                let back = local.checked_sub(1.hour()).unwrap();
                for at in [local, back] {
                    let text = format!("{} {} * * *", at.minute(), at.hour());
                    let found = ticks(&times(&text, name.as_str()), after_ms, until_ms);
                    let expected = fixed(&minutes, at.hour(), at.minute());
                    assert_eq!(found, expected, "{text} in {name} at {change}");
                }
            }
            for (text, every) in [("*/15 * * * *", 15), ("0 * * * *", 60)] {
                let found = ticks(&times(text, name.as_str()), after_ms, until_ms);
                let at =
                    |(ms, local): &(i64, DateTime)| (local.minute() % every == 0).then_some(*ms);
                let expected: Vec<_> = minutes[1..].iter().filter_map(at).collect();
                assert_eq!(found, expected, "{text} in {name} at {change}");
            }
        }
    }
    assert!(changed > 500, "{changed}");
}
