//! Reads `[schedules.NAME]`: events that the host emits at set times.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};

pub use self::cron::CronTimes;
pub use self::plan::{MAX_COUNTED, MissedRange, NO_TICK_MS, PlannedTick};
use super::Routes;
use super::json::{json, refuse_number};
use super::raw::{Item, Section, Sink, did_you_mean};
use super::units::{DAY_MS, SECOND_MS, show_ms};
use super::warnings::Warning;
use crate::event::name::{self, RESERVED};
use crate::event::{Attributes, NewEvent};
use crate::names::is_source_name;

mod cron;
mod plan;
mod words;

/// The most schedules of one file.
const MAX_SCHEDULES: usize = 1_000;

/// The largest `data`, in bytes of JSON.
const MAX_DATA_BYTES: usize = 64 << 10;

const EVERY_BOUNDS_MS: RangeInclusive<u64> = 10..=366 * DAY_MS;
const JITTER_BOUNDS_MS: RangeInclusive<u64> = 0..=DAY_MS;
const MISSED: [(&str, MissedTicks); 3] =
    [("skip", MissedTicks::Skip), ("once", MissedTicks::Once), ("all", MissedTicks::All)];
const OVERLAPS: [(&str, bool); 2] = [("allow", false), ("skip", true)];

/// `[schedules.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Its name.
    pub name: Arc<str>,
    /// When it ticks.
    pub timing: Timing,
    /// The type of its events.
    pub emit: String,
    /// The subject of its events.
    pub subject: String,
    /// The body of its events: JSON.
    pub data: Bytes,
    /// The rule for ticks that were due while the host did not run.
    pub missed: MissedTicks,
    /// Whether a tick is skipped while a delivery of the last one is open.
    pub skips_overlap: bool,
    /// The most by which a tick is late on purpose, in milliseconds.
    pub jitter_ms: u64,
    /// Whether it ticks at all.
    pub enabled: bool,
}

/// The times of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Timing {
    /// `cron` with `tz`.
    Cron(Box<CronTimes>),
    /// `every`: the multiples of so many milliseconds since 1970.
    Every(u64),
}

/// The rule for missed ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissedTicks {
    /// None is emitted.
    Skip,
    /// The last one is emitted.
    Once,
    /// The last thousand are emitted, the oldest first.
    All,
}

impl Schedule {
    /// The times as people write them.
    pub fn spec(&self) -> String {
        match &self.timing {
            Timing::Cron(times) => format!("{} ({})", times.text, times.zone_name),
            Timing::Every(every_ms) => format!("every {}", show_ms(*every_ms)),
        }
    }

    /// The times without their zone.
    pub fn when(&self) -> String {
        match &self.timing {
            Timing::Cron(times) => times.text.clone(),
            Timing::Every(every_ms) => format!("every {}", show_ms(*every_ms)),
        }
    }

    /// The times in words; `None` for a cron expression of an unusual form.
    pub fn words(&self) -> Option<String> {
        match &self.timing {
            Timing::Cron(times) => words::of_cron(&times.text),
            Timing::Every(every_ms) => Some(words::of_every(*every_ms)),
        }
    }

    /// The time zone of the times.
    pub fn zone(&self) -> &str {
        match &self.timing {
            Timing::Cron(times) => &times.zone_name,
            Timing::Every(_) => "UTC",
        }
    }

    /// A number for the times: another one means that they were changed.
    pub fn spec_hash(&self) -> i64 {
        let hash = Sha256::new_with_prefix("hookbox.schedule.spec").chain_update(self.spec());
        let hash = hash.finalize();
        hash.iter().take(8).fold(0, |number, byte| number << 8 | i64::from(*byte))
    }

    /// The source of its events.
    pub fn source(&self) -> String {
        format!("schedules/{}", self.name)
    }

    /// The event of the tick of this nominal time, without its way.
    pub fn event(&self, nominal_ms: i64) -> NewEvent {
        NewEvent::from(Attributes {
            source: self.source().into(),
            kind: self.emit.clone(),
            subject: Some(self.subject.clone()),
            content_type: Some("application/json".to_owned()),
            time_ms: nominal_ms,
            body: self.data.clone(),
        })
    }
}

/// Reads the whole table; `now_ms` tells the time from which each schedule has to tick some day.
pub(super) fn read(
    section: Section<'_>,
    now_ms: impl Fn() -> i64,
) -> BTreeMap<String, Arc<Schedule>> {
    let mut found = BTreeMap::new();
    for item in section.entries() {
        if found.len() == MAX_SCHEDULES {
            let help = format!("a file can have {MAX_SCHEDULES} schedules");
            item.refuse_key("is one section too many", help);
            break;
        }
        if !is_source_name(item.key) {
            let help = "a name has small letters, digits, `_` and `-`";
            item.refuse_key("is no name of a schedule", help);
            continue;
        }
        let example = "{ cron = \"0 9 * * MON-FRI\", emit = \"report.due\" }";
        let Some(section) = item.section(example) else { continue };
        if let Some(schedule) = read_one(&item, section, now_ms()) {
            found.insert(item.key.to_owned(), Arc::new(schedule));
        }
    }
    found
}

fn read_one(item: &Item<'_>, mut section: Section<'_>, now_ms: i64) -> Option<Schedule> {
    let timing = read_timing(item, &mut section);
    let emit = read_emit(item, &mut section);
    let subject = section.take("subject").and_then(|item| read_subject(&item));
    let data = section.take("data").map_or_else(|| Some(Bytes::from_static(b"{}")), read_data);
    let missed = section.take("missed").and_then(|item| item.word(&MISSED));
    let overlap = section.take("overlap").and_then(|item| item.word(&OVERLAPS));
    let jitter = section.take("jitter");
    let jitter_ms = jitter.as_ref().and_then(|item| item.duration_ms(JITTER_BOUNDS_MS));
    let enabled = section.take("enabled").and_then(|item| item.truth());
    section.finish();
    let schedule = Schedule {
        name: item.key.into(),
        timing: timing?,
        emit: emit?,
        subject: subject.unwrap_or_else(|| item.key.to_owned()),
        data: data?,
        missed: missed.unwrap_or(MissedTicks::Once),
        skips_overlap: overlap.unwrap_or(false),
        jitter_ms: jitter_ms.unwrap_or(0),
        enabled: enabled.unwrap_or(true),
    };
    if let Some(jitter) = jitter
        && schedule.jitter_ms > 0
    {
        check_jitter(&jitter, &schedule, now_ms);
    }
    if schedule.next_after(now_ms) == NO_TICK_MS {
        let help = "write a day that the month has, such as \"0 0 28 2 *\"";
        item.refuse_key("never ticks within 8 years", help);
    }
    Some(schedule)
}

/// A tick that is late by more than the time to the next one would be taken for a missed one.
fn check_jitter(jitter: &Item<'_>, schedule: &Schedule, now_ms: i64) {
    let (shortest_ms, of) = match &schedule.timing {
        Timing::Every(every_ms) => (Some(*every_ms), "`every`"),
        Timing::Cron(_) => (schedule.shortest_gap_ms(now_ms), "the shortest time between two"),
    };
    if let Some(shortest_ms) = shortest_ms.filter(|ms| schedule.jitter_ms >= *ms) {
        let help = format!("write a jitter shorter than {of} ({})", show_ms(shortest_ms));
        jitter.refuse("is as long as the time between two ticks", help);
    }
}

fn read_timing(item: &Item<'_>, section: &mut Section<'_>) -> Option<Timing> {
    let (cron, every, tz) = (section.take("cron"), section.take("every"), section.take("tz"));
    if let (Some(tz), Some(_)) = (&tz, &every) {
        let help = "take it out: `every` counts from 1970 in UTC, and only `cron` has a time zone";
        tz.refuse_key("means nothing beside `every`", help);
    }
    match (cron, every) {
        (Some(_), Some(every)) => {
            let help = "keep one of them; two schedules can emit the same type";
            every.refuse_key("stands beside `cron`", help);
            None
        }
        (None, None) => {
            let help = "add for example `cron = \"0 9 * * MON-FRI\"` or `every = \"5m\"`";
            item.refuse_key("says nothing of when it ticks", help);
            None
        }
        (Some(cron), None) => {
            let zone = tz.map_or(Some(("UTC", TimeZone::UTC)), |tz| read_zone(&tz));
            let text = cron.text("\"0 9 * * MON-FRI\"")?;
            // With a zone that nobody knows the rest is read all the same.
            let is_zone_known = zone.is_some();
            let (name, zone) = zone.unwrap_or(("UTC", TimeZone::UTC));
            let read = CronTimes::read(text, name, zone);
            let refuse = |why: &String| {
                let help = "write five fields: minute, hour, day of the month, month and day of the week, such as \
                            \"0 9 * * MON-FRI\" or \"*/15 * * * *\"";
                cron.refuse(format_args!("is {text:?}, which is no cron expression: {why}"), help);
            };
            let times = read.inspect_err(refuse).ok()?;
            is_zone_known.then(|| Timing::Cron(times.into()))
        }
        (None, Some(every)) => {
            let every_ms = every.duration_ms(EVERY_BOUNDS_MS)?;
            if every_ms < SECOND_MS {
                let text = format!(
                    "`{}` is {}: that many events fill a disk; webhooks and delays need no schedule",
                    every.path,
                    show_ms(every_ms)
                );
                every.sink().warn(Warning::new(text));
            }
            Some(Timing::Every(every_ms))
        }
    }
}

fn read_zone<'a>(item: &Item<'a>) -> Option<(&'a str, TimeZone)> {
    let name = item.text("\"Europe/Berlin\"")?;
    let found = TimeZone::get(name).ok();
    if found.is_none() {
        let known: Vec<String> = jiff::tz::db().available().map(|it| it.to_string()).collect();
        let near = did_you_mean(name, known.iter().map(String::as_str));
        let help = format!("{near}write an IANA name such as \"Europe/Berlin\" or \"UTC\"");
        item.refuse(format_args!("is {name:?}, a time zone that nobody knows"), help);
    }
    found.map(|zone| (name, zone))
}

fn read_emit(item: &Item<'_>, section: &mut Section<'_>) -> Option<String> {
    let Some(value) = section.take("emit") else {
        item.refuse_key("has no `emit`", "add for example `emit = \"report.due\"`");
        return None;
    };
    let text = value.text("\"report.due\"")?;
    if let Err(fault) = name::check(text) {
        let what = format_args!("is no event type: it {fault}");
        value.refuse(what, "write for example \"report.due\"");
        return None;
    }
    if text.starts_with(RESERVED) {
        let help = "types that begin with `hookbox.` are the host's own: write another one";
        value.refuse(format_args!("is \"{text}\""), help);
        return None;
    }
    Some(text.to_owned())
}

fn read_subject(item: &Item<'_>) -> Option<String> {
    let text = item.text("\"shop-1\"")?;
    if let Err(fault) = name::check(text) {
        item.refuse(format_args!("is no subject: it {fault}"), "write for example \"shop-1\"");
        return None;
    }
    Some(text.to_owned())
}

fn read_data(item: Item<'_>) -> Option<Bytes> {
    let Some(value) = json(item.value) else {
        refuse_number(&item);
        return None;
    };
    let text = value.to_string();
    if text.len() > MAX_DATA_BYTES {
        let help = "write 64 KiB of JSON at most; a plugin can fetch what is larger";
        item.refuse(format_args!("has {} bytes", text.len()), help);
        return None;
    }
    Some(text.into())
}

/// Warns of schedules whose events go nowhere.
pub(super) fn warn_of_lost(
    schedules: &BTreeMap<String, Arc<Schedule>>,
    routes: &Routes,
    sink: &Sink,
) {
    for (name, schedule) in schedules.iter().filter(|(_, schedule)| schedule.enabled) {
        let (source, kind) = (schedule.source(), &schedule.emit);
        if !routes.takes(&source, kind) {
            let text = format!(
                "schedule `{name}` emits `{kind}`, which no route takes: add for example \"{source}:{kind}\" = \
                 \"PLUGIN\" to [routes]"
            );
            sink.warn(Warning::new(text));
        }
    }
}
