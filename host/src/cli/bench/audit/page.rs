//! The pages of the admin API that the audit reads: where they begin and end, and how often one is
//! asked for.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cli::client::AdminClient;
use crate::cli::failure::Failure;
use crate::cli::output::text;
use crate::clock::rfc3339;
use crate::event::EventId;

/// The shortest and the longest time between two reads of the same page. Between them it is a part
/// of the time waited so far: a host that is busy for long is asked seldom.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
const PAUSE_DIVISOR: u32 = 20;

/// Rows of a page: the most the API gives.
const PAGE_ROWS: usize = 500;

/// The state of a delivery that succeeded.
pub(super) const DONE: &str = "done";

/// The states of those that did not, and never will; an operator has ended the last two.
pub(super) const FAILED: [&str; 3] = ["dead", "cancelled", "discarded"];

/// The progress of an event: that of its slowest delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Open,
    Waiting,
    Settled,
}

/// The states of an event's deliveries, as the API names them.
#[derive(Debug)]
pub(super) struct EventStates {
    pub(super) id: EventId,
    pub(super) states: Vec<String>,
}

/// A page of the events between the first and the last id.
#[derive(Debug)]
pub(super) struct StatesPage {
    pub(super) rows: Vec<EventStates>,
    pub(super) next: Option<String>,
}

/// Bounds for the times of events from `first` to `last`. An event has the time at which its
/// request was read, and its id is given out later, when it is stored. Ids are given out by the
/// host's own time, which may be ahead of its clock if that was set. So some more events are looked
/// through.
pub(super) fn times_of(
    client: &AdminClient,
    first: EventId,
    last: EventId,
) -> [(&'static str, String); 2] {
    const MARGIN_MS: i64 = 60_000;
    // Longer than a request is left unanswered.
    const STORING_MS: i64 = 10_000;
    // A host that does not tell is taken to have a clock that was never wrong.
    let clock = client.get("/api/v1/clock", &[]).unwrap_or_default();
    let ms = |name: &str| {
        clock[name].as_str()?.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
    };
    let ahead_ms =
        ms("host_time").zip(ms("time")).map_or(0, |(host_ms, wall_ms)| host_ms - wall_ms);
    let margin_ms = if ahead_ms.abs() > 1 { MARGIN_MS } else { 1 };
    let since_ms = first.unix_ms() - ahead_ms - margin_ms - STORING_MS;
    let until_ms = last.unix_ms() + 1 - ahead_ms + margin_ms;
    [("since", rfc3339(since_ms)), ("until", rfc3339(until_ms))]
}

/// Pauses before the next read of a page that was waited for so long.
pub(super) fn pause(waited: Duration) {
    std::thread::sleep((waited / PAUSE_DIVISOR).clamp(SHORTEST_PAUSE, LONGEST_PAUSE));
}

impl StatesPage {
    /// Asks for a page until it is answered, and fails if the patience ends before. The time
    /// it takes is subtracted from the patience.
    pub(super) fn ask_patiently(
        client: &AdminClient,
        range: &[(&'static str, String)],
        cursor: Option<&str>,
        patience: &mut Duration,
    ) -> Result<Self, Failure> {
        let began = Instant::now();
        let mut waited = Duration::ZERO;
        loop {
            let answer = Self::ask(client, range, cursor);
            if answer.is_ok() || began.elapsed() >= *patience {
                *patience = patience.saturating_sub(waited);
                return answer;
            }
            pause(waited);
            waited = began.elapsed();
        }
    }

    fn ask(
        client: &AdminClient,
        range: &[(&'static str, String)],
        cursor: Option<&str>,
    ) -> Result<Self, Failure> {
        let rows = PAGE_ROWS.to_string();
        let mut query: Vec<_> = range.iter().map(|(name, value)| (*name, Some(&**value))).collect();
        query.extend([("limit", Some(&*rows)), ("cursor", cursor)]);
        let answer = client.get("/api/v1/events", &query)?;
        let rows = answer["items"]
            .as_array()
            .and_then(|items| items.iter().map(EventStates::read).collect::<Option<_>>());
        let rows = rows.ok_or_else(|| {
            Failure::failed("the admin API's answer to /api/v1/events lacks an id")
        })?;
        Ok(Self { rows, next: answer["next_cursor"].as_str().map(str::to_owned) })
    }

    pub(super) fn has_open(&self, ids: &[EventId]) -> bool {
        self.rows.iter().any(|row| row.stage() == Stage::Open && ids.binary_search(&row.id).is_ok())
    }
}

impl EventStates {
    fn read(item: &Value) -> Option<Self> {
        let states = item["deliveries"]
            .as_array()?
            .iter()
            .map(|delivery| text(&delivery["state"]))
            .collect();
        Some(Self { id: item["id"].as_str()?.parse().ok()?, states })
    }

    pub(super) fn stage(&self) -> Stage {
        let stages = self.states.iter().map(|state| match state.as_str() {
            state if state == DONE || FAILED.contains(&state) => Stage::Settled,
            "waiting" => Stage::Waiting,
            _ => Stage::Open,
        });
        stages.min().unwrap_or(Stage::Settled)
    }
}
