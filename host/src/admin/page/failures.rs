//! Failures: what fails, why, and is it fixed?

use std::sync::Arc;

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::filters::{FilterField, FilterForm};
use super::frame::PageFrame;
use super::parts::html::{Html, coded, shown};
use super::parts::link::{Link, word};
use super::parts::spark::spark;
use super::parts::state::badge;
use super::parts::when::{when, when_text};
use super::plugins::short;
use super::request::Asked;
use super::trail::Trail;
use super::{html, params};
use crate::admin::failures::{FailedAttempt, FailureJson, list_failures, show_failure};
use crate::admin::params::{FailureQuery, Id, NoQuery};
use crate::admin::problem::ProblemJson;
use crate::admin::state::Admin;
use crate::admin::view::Listing;
use crate::event::{FailureId, Outcome, State as DeliveryState};
use crate::store::{DeliveryFilter, FailureFilter, Page};
use crate::text::grouped;
use group::{AttemptColumn, GroupDelivery, GroupValues};

mod group;

/// Groups that are looked at for the failure that came last.
const LOOKED_AT: usize = 50;

#[derive(Template)]
#[template(path = "failures.html")]
struct FailuresPage {
    frame: PageFrame,
    filters: FilterForm,
    problem: Option<Html>,
    rows: Vec<FailureRow>,
    older: Option<String>,
    newer: Option<String>,
    /// The address that also lists groups of which nothing is open.
    all: Option<String>,
    /// The failure that came last, if nothing is listed: its time, its address and its text.
    last: Option<(Html, String, Html)>,
}

#[derive(Template)]
#[template(path = "failure.html")]
struct FailureShown {
    frame: PageFrame,
    row: FailureRow,
    files: Vec<(String, String, bool)>,
    verdict: &'static str,
    deliveries: String,
    sample: Option<String>,
    /// The changes within the hours of the trend, the newest change first.
    marks: Vec<Html>,
    looked_at: String,
    values: Vec<GroupValues>,
    /// The first attempt and the last one.
    attempts: Vec<(&'static str, AttemptColumn)>,
    newest: Vec<GroupDelivery>,
    /// Where to retry and to discard the dead ones, if there are any.
    retry: Option<String>,
    discard: Option<String>,
    /// Where to make those due at once that wait for their next attempt, if there are any.
    retry_waiting: Option<String>,
    /// Where to try the newest one.
    try_one: Option<String>,
    trail: Trail,
}

/// A group.
#[derive(Debug)]
struct FailureRow {
    id: String,
    path: String,
    plugin: String,
    plugin_path: String,
    outcome: Html,
    text: Html,
    dead: String,
    waiting: String,
    first: Html,
    last: Html,
    trend: Html,
    /// Where to retry and to discard its dead ones, if there are any.
    retry: String,
    discard: String,
    has_dead: bool,
    /// The last file it was met on, and whether that one runs.
    file: Option<(String, &'static str)>,
}

impl FailureRow {
    fn of(group: &FailureJson, now_ms: i64) -> Self {
        let lately: u32 = group.trend.iter().sum();
        let file = group.files.last().map(|file| {
            (short(&file.digest), if file.running { "runs" } else { "not the one that runs" })
        });
        Self {
            path: Link::to("/failures").segment(&group.id).into_text(),
            plugin_path: Link::to("/plugins").segment(&group.plugin).into_text(),
            outcome: badge(group.outcome.unwrap_or("other")),
            text: shown(&group.text),
            dead: grouped(group.dead),
            waiting: grouped(group.waiting),
            first: when_text(&group.first_at, now_ms),
            last: when_text(&group.last_at, now_ms),
            retry: bulk("retry", &group.id),
            discard: bulk("discard", &group.id),
            has_dead: group.dead > 0,
            trend: spark(&group.trend, &format!("{} in 24 h", grouped(lately.into()))),
            file,
            id: group.id.clone(),
            plugin: group.plugin.clone(),
        }
    }
}

/// Where an action on the deliveries of a group is asked about.
fn bulk(action: &str, group: &str) -> String {
    Link::to("/operations/new").with("action", action).with("failure", group).into_text()
}

/// Where it is asked about making those of a group due at once that wait.
fn waiting(group: &str) -> String {
    let link = Link::to("/operations/new").with("action", "retry").with("failure", group);
    link.with("state", DeliveryState::Waiting.name()).into_text()
}

/// Whether a delivery of a group waits for its next attempt.
async fn does_wait(admin: &Admin, group: FailureId) -> Result<bool, ProblemJson> {
    let filter = DeliveryFilter {
        failure: Some(group),
        state: Some(DeliveryState::Waiting),
        ..DeliveryFilter::default()
    };
    let (rows, _) = admin.store.deliveries(filter, Page { limit: 1, after: None }).await?;
    Ok(!rows.is_empty())
}

/// Lists groups of failures.
pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    let answer = match asked.query::<FailureQuery>() {
        Ok(query) => list_failures(State(Arc::clone(&admin)), params(query)).await,
        Err(problem) => Err(problem),
    };
    let (status, problem, Listing { items, next_cursor }) = match answer {
        Ok(Json(page)) => (StatusCode::OK, None, page),
        Err(problem) if problem.parts().0 == StatusCode::BAD_REQUEST => {
            let text = coded(problem.parts().1);
            let none = Listing { items: Vec::new(), next_cursor: None };
            (StatusCode::BAD_REQUEST, Some(text), none)
        }
        Err(problem) => return Err(problem),
    };
    let now_ms = admin.clock.now_ms();
    let last = match items.is_empty() && problem.is_none() {
        true => last(&admin, &asked, now_ms).await?,
        false => None,
    };
    let frame = PageFrame::of(&admin, &asked, "failures", "Failures").await;
    let call = asked.call("/api/v1/failures");
    let page = FailuresPage {
        frame: frame.live("stats,failures").same_as(command(&asked), call),
        filters: filters(&admin, &asked),
        problem,
        last,
        rows: items.iter().map(|group| FailureRow::of(group, now_ms)).collect(),
        older: next_cursor.as_deref().map(|cursor| asked.older(cursor)),
        newer: asked.newer(),
        all: (asked.field("state") != Some("all")).then(|| asked.but("state", Some("all"))),
    };
    html(status, &page)
}

/// The failure that came last of those that are known, whether or not something of it is open.
async fn last(
    admin: &Admin,
    asked: &Asked,
    now_ms: i64,
) -> Result<Option<(Html, String, Html)>, ProblemJson> {
    let plugin = asked.field("plugin").map(str::to_owned);
    let filter = FailureFilter { plugin, ..FailureFilter::default() };
    let (groups, _) = admin.store.failures(filter, LOOKED_AT, None).await?;
    let last = groups.into_iter().max_by_key(|group| group.last_ms);
    Ok(last.map(|group| {
        let path = Link::to("/failures").segment(&group.id.to_string()).into_text();
        let mut text = shown(&group.plugin);
        text.text(": ").raw(shown(&group.text));
        (when(group.last_ms, now_ms), path, text)
    }))
}

fn filters(admin: &Admin, asked: &Asked) -> FilterForm {
    let registry = admin.registry.load();
    let field = |name, label, hint| FilterField::of(asked, name, label, hint);
    let plugins = registry.entries().map(|(name, _)| name.as_ref());
    let failing = Outcome::ALL.into_iter().filter(|outcome| outcome.is_failure());
    let fields = vec![
        field("state", "state", "").among(["open", "all"]),
        field("plugin", "plugin", "").among(plugins),
        field("outcome", "outcome", "").among(failing.map(Outcome::name)),
        field("since", "met after", "2026-11-23T15:04:05Z"),
        field("until", "began before", "now"),
    ];
    FilterForm::of::<FailureQuery>(asked, fields)
}

/// The command that lists the same: for it, what is open is the usual state.
fn command(asked: &Asked) -> String {
    let mut asked = asked.clone();
    let all = if asked.take("state").as_deref() == Some("all") { " --all" } else { "" };
    asked.command(&format!("hookbox failures{all}"))
}

/// The relation of the file that runs to a group.
fn verdict(on_running: &str) -> &'static str {
    match on_running {
        "fails" => "still fails: the file that runs has met it",
        "may_be_fixed" => "may be fixed: the file that runs has not met it",
        _ => "unknown: no file is known, or none runs",
    }
}

/// Shows one group.
pub(super) async fn one(
    State(admin): State<Arc<Admin>>,
    Id(id): Id<FailureId>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    asked.query::<NoQuery>()?;
    let shared = State(Arc::clone(&admin));
    let sees = asked.sees();
    let Json(detail) = show_failure(shared, sees, params(NoQuery {}), Id(id)).await?;
    let now_ms = admin.clock.now_ms();
    let (trend, marks) = group::trend(&detail, now_ms);
    let column = |label, of: &Option<FailedAttempt>| {
        of.as_ref().map(|of| (label, AttemptColumn::of(of, now_ms)))
    };
    let attempts = [column("first", &detail.first), column("last", &detail.last)];
    let looked_at = group::looked_at(&detail);
    let (values, newest) = (group::values(&detail), &detail.newest);
    let newest = newest.iter().map(|row| GroupDelivery::of(row, now_ms)).collect();
    let group = detail.group;
    let frame = PageFrame::of(&admin, &asked, "failures", format!("Failure {id}")).await;
    let api = Link::to("/api/v1/failures").segment(&group.id).into_text();
    let of_group = |action| bulk(action, &group.id);
    // WAITING of a group counts all that is open: also those that are due already.
    let may_wait = group.waiting > 0 && does_wait(&admin, id).await?;
    let sample = if group.dead > 0 { group.sample.as_deref() } else { None };
    let try_one = sample
        .map(|id| Link::to("/operations/new").with("action", "retry").with("ids", id).into_text());
    let file = |file: &crate::admin::failures::FileCount| {
        (file.digest.clone(), grouped(file.count.into()), file.running)
    };
    let page = FailureShown {
        frame: frame
            .live("stats,failures")
            .same_as(format!("hookbox failures {}", word(&group.id)), api),
        row: FailureRow { trend, ..FailureRow::of(&group, now_ms) },
        marks,
        looked_at,
        values,
        attempts: attempts.into_iter().flatten().collect(),
        newest,
        files: group.files.iter().map(file).collect(),
        verdict: verdict(group.on_running),
        deliveries: Link::to("/deliveries").with("failure", &group.id).into_text(),
        sample: group.sample.map(|id| Link::to("/deliveries").segment(&id).into_text()),
        retry: (group.dead > 0).then(|| of_group("retry")),
        discard: (group.dead > 0).then(|| of_group("discard")),
        retry_waiting: may_wait.then(|| waiting(&group.id)),
        try_one,
        trail: Trail::of_id(&admin, sees, &group.id).await?,
    };
    html(StatusCode::OK, &page)
}
