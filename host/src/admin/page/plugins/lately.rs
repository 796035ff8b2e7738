//! The attempts of a plugin: in the last minute, and in each hour of a day; and its configuration.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use crate::admin::history::show_history;
use crate::admin::page::params;
use crate::admin::page::parts::html::Html;
use crate::admin::page::parts::measure::percent;
use crate::admin::page::parts::when::when;
use crate::admin::params::HistoryQuery;
use crate::admin::plugins::RecentAttemptsJson;
use crate::admin::state::Admin;
use crate::event::Outcome;
use crate::text::{duration, grouped, three_digits};

const HOUR_MS: i64 = 3_600_000;

/// Attempts a second; `–` before anything was measured.
pub(super) fn per_second(recent: &RecentAttemptsJson) -> String {
    recent.per_s.map_or_else(none, three_digits)
}

/// The share of attempts that succeeded.
pub(super) fn succeeded(recent: &RecentAttemptsJson) -> String {
    percent(recent.attempts - recent.failed, recent.attempts)
}

/// `0.20 / 1.10 / 4 ms`, of 50, 95 and 99 of a hundred.
pub(super) fn percentiles(recent: &RecentAttemptsJson) -> String {
    let parts = [recent.p50_ms, recent.p95_ms, recent.p99_ms];
    if parts.iter().all(Option::is_none) {
        return none();
    }
    parts.map(|ms| ms.map_or_else(none, duration)).join(" / ")
}

fn none() -> String {
    "–".to_owned()
}

/// The attempts of one hour.
#[derive(Debug)]
pub(super) struct HourRow {
    pub(super) from: Html,
    /// The counts, in the order of the outcomes of the table.
    pub(super) counts: Vec<String>,
    pub(super) dead: String,
    /// The slowest quarter of an hour: the duration that 95 of a hundred do not exceed.
    pub(super) p95: String,
}

/// The outcomes of a plugin by hour.
#[derive(Debug, Default)]
pub(super) struct Hours {
    /// The outcomes that occurred, in words.
    pub(super) outcomes: Vec<&'static str>,
    /// Hours in which anything happened, the newest first.
    pub(super) rows: Vec<HourRow>,
}

impl Hours {
    /// The last 24 hours, as far as the charts know; none of a plugin that they do not know.
    pub(super) async fn of(admin: &Arc<Admin>, plugin: &str) -> Self {
        let query = HistoryQuery::of_plugin("24h", plugin);
        let Ok(Json(found)) = show_history(State(Arc::clone(admin)), params(query)).await else {
            return Self::default();
        };
        let from = found.from.parse::<jiff::Timestamp>();
        let from_ms = from.map_or(0, |from| from.as_millisecond());
        let by_hour = (HOUR_MS / 1_000 / found.step_s.max(1)).unsigned_abs() as usize;
        let series = |name: &str| found.series.get(name).map_or(&[][..], Vec::as_slice);
        let of_hour = |name: &str, hour: usize| -> f64 {
            let steps = series(name).iter().skip(hour * by_hour).take(by_hour);
            steps.flatten().sum()
        };
        let slowest = |hour: usize| {
            let steps = series("handler_p95_ms").iter().skip(hour * by_hour).take(by_hour);
            steps.flatten().copied().reduce(f64::max)
        };
        let hours = series("dead").len() / by_hour.max(1);
        let occurred = |outcome: &Outcome| (0..hours).any(|it| of_hour(outcome.name(), it) > 0.0);
        let outcomes: Vec<_> =
            Outcome::ALL.iter().filter(|it| occurred(it)).map(|it| it.name()).collect();
        let now_ms = admin.clock.now_ms();
        let count = |n: f64| grouped(n as u64);
        let row = |hour: usize| HourRow {
            from: when(from_ms + hour as i64 * HOUR_MS, now_ms),
            counts: outcomes.iter().map(|name| count(of_hour(name, hour))).collect(),
            dead: count(of_hour("dead", hour)),
            p95: slowest(hour).map_or_else(none, duration),
        };
        let any = |hour: &usize| {
            of_hour("dead", *hour) > 0.0 || outcomes.iter().any(|name| of_hour(name, *hour) > 0.0)
        };
        let rows = (0..hours).rev().filter(any).map(row).collect();
        let outcomes = outcomes.into_iter().map(heading).collect();
        Self { outcomes, rows }
    }
}

/// An outcome, in the words of the pages.
fn heading(outcome: &'static str) -> &'static str {
    if outcome == "ok" { "succeeded" } else { outcome }
}

/// The keys of the plugin's section that are in force: key, value, and the line that says so.
pub(super) fn settings(admin: &Admin, plugin: &str) -> Vec<(String, String, Option<usize>)> {
    let section = format!("plugins.{plugin}");
    let is_its = |key: &str| {
        key.strip_prefix(&section).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let keys = admin.config.load().effective().into_iter().filter(|it| is_its(&it.key));
    keys.map(|it| (it.key, it.value, it.line)).collect()
}
