//! What the host says of its store before and after the load.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::output::text;

/// Between two looks at the store.
const LOOK: Duration = Duration::from_millis(20);

/// Failed deliveries that are named.
const MAX_FAILURES: usize = 5;

/// Counters of `/api/v1/stats`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stats {
    pub(super) events: u64,
    /// Ready or running.
    open: u64,
    waiting: u64,
    done: u64,
    dead: u64,
}

/// What became of the deliveries, as differences to before the load.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) after: Stats,
    /// Still ready or running when the patience ended.
    pub(super) open: u64,
    pub(super) waiting: u64,
    pub(super) done: u64,
    pub(super) dead: u64,
    /// From the first event until none was open.
    pub(super) took: Duration,
}

impl Stats {
    pub(super) fn ask(client: &Client) -> Result<Self, Failure> {
        let answer = client.get("/api/v1/stats", &[])?;
        let count = |value: &Value| {
            value.as_u64().ok_or_else(|| Failure::failed("the admin API's answer to /api/v1/stats lacks a number"))
        };
        let deliveries = &answer["deliveries"];
        Ok(Self {
            events: count(&answer["events"])?,
            open: count(&deliveries["ready"])? + count(&deliveries["leased"])?,
            waiting: count(&deliveries["waiting"])?,
            done: count(&deliveries["done"])?,
            dead: count(&deliveries["dead"])?,
        })
    }
}

/// Waits until no more deliveries are open than before, but not longer than `patience`.
pub(super) fn settle(client: &Client, before: &Stats, start: Instant, patience: Duration) -> Result<Settled, Failure> {
    let until = Instant::now() + patience;
    loop {
        let after = Stats::ask(client)?;
        if after.open <= before.open || Instant::now() >= until {
            return Ok(Settled {
                after,
                open: after.open.saturating_sub(before.open),
                waiting: after.waiting.saturating_sub(before.waiting),
                done: after.done.saturating_sub(before.done),
                dead: after.dead.saturating_sub(before.dead),
                took: start.elapsed(),
            });
        }
        std::thread::sleep(LOOK);
    }
}

impl Settled {
    /// Deliveries settled a second.
    pub(super) fn rate(&self) -> f64 {
        (self.done + self.dead) as f64 / self.took.as_secs_f64().max(f64::EPSILON)
    }
}

/// Some deliveries of events since then that failed for good, and why.
pub(super) fn failures(client: &Client, since: String) -> Result<Vec<(String, String)>, Failure> {
    let query = [("state", Some("dead".to_owned())), ("since", Some(since))];
    let (rows, _) = client.list("/api/v1/deliveries", &query, MAX_FAILURES)?;
    let why = |row: &Value| row["attempts"].as_array().and_then(|all| all.last()).map(|last| text(&last["error"]));
    Ok(rows.iter().map(|row| (text(&row["id"]), why(row).unwrap_or_default())).collect())
}
