//! A hundred schedules that tick each second: how many ticks were asked for, how many were emitted,
//! and by how much the latest was late.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::receivers::{Receiver, plugin};
use crate::rows::PLUGIN;
use crate::watch::{ask, until_done, until_loaded};
use hookbox_tools::{Result, say};

/// Schedules, each of which ticks once a second.
const SCHEDULES: usize = 100;

/// The type of their events.
const KIND: &str = "bench.tick";

/// How long the last tick may take to be stored.
const PATIENCE: Duration = Duration::from_secs(30);

/// Rows of a page.
const PAGE: usize = 500;

/// The ticks of the seconds that were looked at.
#[derive(Debug)]
pub(super) struct Ticks {
    asked: usize,
    emitted: usize,
    /// From the nominal time until it was stored, in milliseconds.
    p50_ms: i64,
    latest_ms: i64,
}

impl Ticks {
    pub(super) fn json(&self) -> Value {
        json!({ "asked": self.asked, "emitted": self.emitted, "late_p50_ms": self.p50_ms,
            "latest_ms": self.latest_ms })
    }
}

impl fmt::Display for Ticks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, emitted, p50_ms, latest_ms } = self;
        write!(
            f,
            "{SCHEDULES} schedules, one tick a second each: {asked} ticks asked for, {emitted} emitted and \
             handled; stored {p50_ms} ms after their time in the median, {latest_ms} ms at the latest"
        )
    }
}

/// An emitted tick: which schedule, its nominal time, and when its event was stored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Tick {
    source: String,
    nominal_ms: i64,
    stored_ms: i64,
}

/// Lets a host tick for so many whole seconds.
pub(super) fn measure(folder: &Path, seconds: u32) -> Result<Ticks> {
    let asked = SCHEDULES * seconds as usize;
    say(&format!("schedules: {asked} ticks"));
    let sections = (0..SCHEDULES)
        .map(|number| format!("[schedules.tick-{number}]\nevery = \"1s\"\nemit = \"{KIND}\"\n"));
    let config = format!("[routes]\n\"{KIND}\" = \"{PLUGIN}\"\n{}", sections.collect::<String>());
    let audit = [("handler.wasm", plugin("audit.wasm"))];
    let host = Receiver::hookbox(&folder.join("site"), &audit, &config)?.start()?;
    let admin = host.admin()?;
    until_loaded(admin)?;
    // The second that has begun is left out, and so is the next: a schedule that is new begins with
    // the tick after it was seen.
    let first = Timestamp::now().as_second() + 2;
    let end = first + i64::from(seconds);
    let length = Timestamp::from_second(end).map_err(|error| error.to_string())?;
    let length = length.as_millisecond() - Timestamp::now().as_millisecond();
    std::thread::sleep(Duration::from_millis(length.unsigned_abs()));
    let ticks = until_emitted(admin, first..end, asked)?;
    // Ticks that come meanwhile are handled too, so all that is stored by now has to be done.
    let stored = ask(admin, "stats")?["events"].as_u64().unwrap_or_default();
    until_done(admin, &[(PLUGIN, stored)])?;
    summary(asked, ticks)
}

/// Waits until all ticks of these seconds are stored, or for long enough.
fn until_emitted(admin: &str, of: std::ops::Range<i64>, asked: usize) -> Result<Vec<Tick>> {
    let started = Instant::now();
    loop {
        let mut ticks = emitted(admin, of.start)?;
        ticks.retain(|tick| of.contains(&tick.nominal_ms.div_euclid(1000)));
        if ticks.len() >= asked || started.elapsed() > PATIENCE {
            return Ok(ticks);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Every tick that was stored since.
fn emitted(admin: &str, since: i64) -> Result<Vec<Tick>> {
    let (mut ticks, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("events?type={KIND}&since={since}&limit={PAGE}{cursor}");
        let page = ask(admin, &path)?;
        let rows = page["items"].as_array().ok_or(format!("no listing: {page}"))?;
        for row in rows {
            ticks.push(tick(row).ok_or(format!("no tick: {row}"))?);
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(ticks),
        }
    }
}

/// A tick of a row of a listing.
fn tick(row: &Value) -> Option<Tick> {
    let nominal: Timestamp = row["time"].as_str()?.parse().ok()?;
    // The upper bits of an id are the milliseconds of its time.
    let id = i64::from_str_radix(row["id"].as_str()?.strip_prefix("evt_")?, 16).ok()?;
    Some(Tick {
        source: row["source"].as_str()?.to_owned(),
        nominal_ms: nominal.as_millisecond(),
        stored_ms: id >> 20,
    })
}

/// An error if a tick is missing or was emitted twice.
fn summary(asked: usize, ticks: Vec<Tick>) -> Result<Ticks> {
    let distinct: BTreeSet<(&str, i64)> =
        ticks.iter().map(|tick| (tick.source.as_str(), tick.nominal_ms)).collect();
    if distinct.len() != asked || ticks.len() != asked {
        return Err(format!(
            "{asked} ticks were asked for, and {} were emitted, {} of them more than once",
            ticks.len(),
            ticks.len() - distinct.len()
        ));
    }
    let mut late_ms: Vec<i64> = ticks.iter().map(|tick| tick.stored_ms - tick.nominal_ms).collect();
    late_ms.sort_unstable();
    Ok(Ticks {
        asked,
        emitted: ticks.len(),
        p50_ms: late_ms[late_ms.len() / 2],
        latest_ms: late_ms[late_ms.len() - 1],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_read_with_its_nominal_time_and_the_time_of_its_id() {
        let row = json!({ "source": "schedules/tick-7", "time": "2026-11-28T18:00:00.000Z",
            "id": format!("evt_{:016x}", (1_795_888_800_012_i64 << 20) + 3) });
        let read = tick(&row).unwrap();
        assert_eq!((read.source.as_str(), read.stored_ms), ("schedules/tick-7", 1_795_888_800_012));
        assert_eq!(read.nominal_ms, 1_795_888_800_000);
        assert_eq!(tick(&json!({ "source": "schedules/tick-7" })), None);
    }

    #[test]
    fn a_tick_that_is_missing_or_comes_twice_is_an_error() {
        let tick = |number: i64, late: i64| Tick {
            source: format!("schedules/tick-{}", number % 2),
            nominal_ms: number / 2 * 1000,
            stored_ms: number / 2 * 1000 + late,
        };
        let ticks = vec![tick(0, 3), tick(1, 1), tick(2, 9), tick(3, 4)];
        let summed = summary(4, ticks.clone()).unwrap();
        assert_eq!((summed.asked, summed.emitted, summed.p50_ms, summed.latest_ms), (4, 4, 4, 9));
        assert!(summary(4, ticks[1..].to_vec()).is_err());
        let twice = [&ticks[..3], &ticks[..1]].concat();
        assert!(summary(4, twice).unwrap_err().contains("1 of them more than once"));
    }
}
