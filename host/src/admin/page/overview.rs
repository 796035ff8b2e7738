//! The overview: is it well, and if not, what first?

use std::sync::Arc;

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::asked::Asked;
use super::frame::PageFrame;
use super::html;
use super::parts::chart::Chart;
use super::parts::html::Html;
use super::parts::when::when_text;
use super::recent::RateSpan;
use crate::admin::history::show_history;
use crate::admin::params::{HistoryQuery, WINDOWS};
use crate::admin::problem::ProblemJson;
use crate::admin::state::Admin;
use crate::text::grouped;
use began::{NearbyChanges, TroubleKind};
use rates::{LastMinute, OverviewTile};
use row::TroubleRow;
use table::PluginRow;
use welcome::Welcome;

mod began;
mod charts;
mod failing;
mod rates;
mod row;
mod table;
mod trouble;
mod welcome;

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    frame: PageFrame,
    troubles: Vec<TroubleRow>,
    last: LastMinute,
    /// Label, value and class of what is so now.
    now: Vec<OverviewTile>,
    windows: Vec<(&'static str, String, bool)>,
    /// Events that are stored.
    stored: String,
    charts: Vec<Chart>,
    /// Whether a change is marked in the charts.
    has_marks: bool,
    since: Option<Html>,
    plugins: Vec<PluginRow>,
    welcome: Option<Welcome>,
}

/// Shows how the host is: trouble first.
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
    let history = show_history(State(Arc::clone(&admin)), super::params(query)).await;
    let Json(history) = history?;
    let stats = admin.store.stats().await?;
    let windows = WINDOWS.map(|it| {
        let path = if it.name == WINDOWS[0].name { None } else { Some(it.name) };
        (it.name, asked.but("window", path), it.name == window)
    });
    let frame = PageFrame::of(&admin, &asked, "overview", "Overview").await;
    let call = format!("/api/v1/stats/history?window={window}");
    let span = RateSpan::of(&admin);
    let due = admin.store.due_times(stats.waiting()).await?;
    let mut troubles = trouble::rows(&admin, &stats, span).await?;
    let first_ms = troubles.iter().filter_map(|row| Some(row.span?.from_ms)).min();
    if let Some(first_ms) = first_ms {
        let changes = NearbyChanges::since(&admin, first_ms).await;
        troubles.iter_mut().for_each(|row| row.tell_since(&changes, admin.clock.now_ms()));
    }
    let is_refusing = troubles.iter().any(|row| row.about == TroubleKind::Refusals);
    let since = history.since.as_deref().map(|at| when_text(at, admin.clock.now_ms()));
    let charts = charts::of(history);
    let page = OverviewPage {
        frame: frame.since(&admin).live("stats,plugins").same_as("hookbox health".to_owned(), call),
        last: LastMinute::of(&admin, span, is_refusing),
        now: rates::now(&admin, &stats, &due),
        troubles,
        windows: windows.into(),
        since,
        stored: grouped(stats.events),
        has_marks: charts.iter().any(|chart| !chart.marks.is_empty()),
        charts,
        plugins: table::rows(&admin, &stats, span),
        welcome: Welcome::of(&admin, &stats).await?,
    };
    html(StatusCode::OK, &page)
}
