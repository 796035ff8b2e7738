//! The overview: is it well, and if not, what first?

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use tokio::time::{Instant, timeout_at};

use super::frame::PageFrame;
use super::html;
use super::parts::chart::Chart;
use super::parts::html::Html;
use super::parts::when::{clock, when_text};
use super::request::Asked;
use crate::admin::answers::PAGE_PATIENCE;
use crate::admin::attention::{self, HostFacts, TroubleKind};
use crate::admin::history::{HistoryJson, HistoryReach, over};
use crate::admin::params::{HistoryQuery, WINDOWS};
use crate::admin::problem::ProblemJson;
use crate::admin::recent::RateSpan;
use crate::admin::state::Admin;
use changes::NearbyChanges;
use rates::{LastMinute, OverviewTile};
use row::TroubleRow;
use table::PluginRow;
use welcome::Welcome;

mod changes;
mod charts;
mod rates;
mod row;
mod table;
mod welcome;

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    frame: PageFrame,
    /// The answers that the store did not give in time.
    not_known: Option<String>,
    troubles: Vec<TroubleRow>,
    last: LastMinute,
    /// Label, value and class of what is so now.
    now: Vec<OverviewTile>,
    windows: Vec<(&'static str, String, bool)>,
    charts: Vec<Chart>,
    /// Whether a change is marked in the charts.
    has_marks: bool,
    since: Option<Html>,
    plugins: Vec<PluginRow>,
    welcome: Option<Welcome>,
}

/// Shows how the host is: trouble first. Of a store that does not answer at once it shows what was
/// known last.
pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    let mut rest = asked.clone();
    let window = rest.take("window").unwrap_or_else(|| WINDOWS[0].name.to_owned());
    if let Some((name, _)) = rest.fields().first() {
        let name: String = name.chars().take(80).collect();
        let detail = format!("there is no parameter `{name}` (valid: `window`)");
        return Err(ProblemJson::bad_request(detail));
    }
    let query = HistoryQuery::over(&window);
    query.window()?;
    let windows = WINDOWS.map(|it| {
        let path = if it.name == WINDOWS[0].name { None } else { Some(it.name) };
        (it.name, asked.but("window", path), it.name == window)
    });
    let (until, now_ms) = (Instant::now() + PAGE_PATIENCE, admin.clock.now_ms());
    let facts = HostFacts::ask(&admin, until).await;
    let frame = PageFrame::of_facts(&admin, &asked, "overview", "Overview", &facts);
    let stats = facts.stats.value.clone().unwrap_or_default();
    let mut not_known = facts.not_known();
    let (history, is_whole) = history(&admin, &query, until).await?;
    if !is_whole {
        not_known.push(("what was more than an hour ago", None));
    }
    let troubles = troubles(&admin, &facts, until).await;
    let is_refusing = troubles.iter().any(|row| row.trouble.about == TroubleKind::Refusals);
    let span = RateSpan::of(&admin);
    let since = history.since.as_deref().map(|at| when_text(at, now_ms));
    let charts = charts::of(history);
    let page = OverviewPage {
        frame: frame
            .since(&admin)
            // A refused request is in no commit: `sources` tells of those.
            .live("stats,plugins,failures,sources")
            .same_as("hookbox troubles".to_owned(), "/api/v1/troubles".to_owned()),
        not_known: told(&not_known, now_ms),
        last: LastMinute::of(&admin, span, is_refusing),
        now: rates::now(&admin, &stats, &facts),
        troubles,
        windows: windows.into(),
        since,
        has_marks: charts.iter().any(|chart| !chart.marks.is_empty()),
        charts,
        plugins: table::rows(&admin, &stats, &facts, span),
        welcome: Welcome::of(&admin, &stats, until).await,
    };
    html(StatusCode::OK, &page)
}

/// The troubles, each with its time.
async fn troubles(admin: &Admin, facts: &HostFacts, until: Instant) -> Vec<TroubleRow> {
    let mut rows: Vec<_> = attention::all(admin, facts).into_iter().map(TroubleRow::of).collect();
    let first_ms = rows.iter().filter_map(|row| Some(row.trouble.span?.from_ms)).min();
    if let Some(first_ms) = first_ms {
        let changes = NearbyChanges::since(admin, first_ms, until).await;
        rows.iter_mut().for_each(|row| row.tell_since(&changes, admin.clock.now_ms()));
    }
    rows
}

/// The curves, and whether they are whole: of a store that does not answer until `until` they have
/// the last hour alone.
async fn history(
    admin: &Admin,
    query: &HistoryQuery,
    until: Instant,
) -> Result<(HistoryJson, bool), ProblemJson> {
    match timeout_at(until, over(admin, query, HistoryReach::Stored)).await {
        Ok(Ok(whole)) => Ok((whole, true)),
        Ok(Err(_)) | Err(_) => Ok((over(admin, query, HistoryReach::Memory).await?, false)),
    }
}

/// The answers that are not known now, in words.
fn told(not_known: &[(&'static str, Option<i64>)], now_ms: i64) -> Option<String> {
    let one = |(what, as_of_ms): &(&str, Option<i64>)| match as_of_ms {
        Some(at_ms) => format!("{what} (of {} UTC is shown)", clock(*at_ms, now_ms)),
        None => (*what).to_owned(),
    };
    let all: Vec<_> = not_known.iter().map(one).collect();
    (!all.is_empty()).then(|| all.join(", "))
}
