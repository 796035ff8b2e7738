//! Operations: what is done to many deliveries or events, how far it is, and how it is paused,
//! ended and taken back.

use std::sync::Arc;

use askama::Template;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::deliveries::DeliveryRow;
use super::form::{FormFields, ONCE, once, see_other};
use super::frame::PageFrame;
use super::parts::html::{Html, shown};
use super::parts::link::Link;
use super::parts::state::badge;
use super::parts::when::when_text;
use super::request::Asked;
use super::{html, params};
use crate::admin::by::By;
use crate::admin::operations::{
    FirstTriedJson, OperationJson, OperationShown, UNREADABLE, cancel_operation, list_operations,
    pause_operation, resume_operation, show_operation, undo_operation,
};
use crate::admin::params::{Id, NoQuery, OperationItemsQuery, OperationsQuery};
use crate::admin::problem::ProblemJson;
use crate::admin::state::Admin;
use crate::admin::view::Listing;
use crate::store::OperationId;
use crate::text::{grouped, three_digits};

pub(super) mod new;

#[derive(Template)]
#[template(path = "operations.html")]
struct OperationsPage {
    frame: PageFrame,
    rows: Vec<OperationRow>,
    older: Option<String>,
}

#[derive(Template)]
#[template(path = "operation.html")]
struct OperationPage {
    frame: PageFrame,
    row: OperationRow,
    /// The actions that are left: verb and label.
    verbs: Vec<(&'static str, &'static str)>,
    once: String,
    is_running: bool,
    failed: Vec<DeliveryRow>,
    older: Option<String>,
    /// The list that it began from.
    back: Option<String>,
    /// The one that was tried first, and the verdict.
    tried: Option<TriedRow>,
}

/// The one that was tried before the others.
#[derive(Debug)]
struct TriedRow {
    path: String,
    plugin: String,
    /// `fixed`, `same error` and the like, or what is known as yet.
    verdict: &'static str,
    is_well: bool,
    ends: Vec<Html>,
}

/// An operation, as it is shown.
#[derive(Debug)]
struct OperationRow {
    id: String,
    path: String,
    action: &'static str,
    scope: Html,
    state: Html,
    reason: Option<Html>,
    trouble: Option<Html>,
    is_replay: bool,
    actor: String,
    planned: Html,
    as_of: Html,
    done: u64,
    total: u64,
    total_text: String,
    counts: Vec<(&'static str, String)>,
    options: String,
}

impl OperationRow {
    fn of(operation: &OperationJson, now_ms: i64) -> Self {
        let total = grouped(operation.total);
        let mut options = Vec::new();
        if operation.first {
            options.push("one is tried first".to_owned());
        }
        options.extend(operation.pace.map(|pace| format!("at most {pace} a second")));
        options.extend(operation.stop_after.map(|most| format!("stops after {most} failures")));
        let failed = if operation.action == "replay" { "failed" } else { "failed again" };
        let mut counts = vec![
            ("ok", grouped(operation.ok)),
            (failed, grouped(operation.failed)),
            ("skipped", grouped(operation.skipped)),
            ("under way", grouped(operation.open)),
        ];
        counts.extend(operation.rate.map(|rate| ("a second", three_digits(rate))));
        counts.extend(operation.eta_s.map(|eta| ("seconds left", grouped(eta))));
        Self {
            path: Link::to("/operations").segment(&operation.id).into_text(),
            id: operation.id.clone(),
            action: operation.action,
            scope: shown(&scope(operation)),
            state: badge(operation.state),
            reason: operation.reason.as_deref().map(shown),
            trouble: operation.trouble.as_deref().map(shown),
            is_replay: operation.action == "replay",
            actor: operation.actor.clone(),
            planned: when_text(&operation.planned_at, now_ms),
            as_of: when_text(&operation.as_of, now_ms),
            done: operation.done,
            total: operation.total.max(1),
            total_text: if operation.exact { total } else { format!("at least {total}") },
            counts,
            options: options.join(", "),
        }
    }
}

/// The deliveries or events that an operation is for; for people.
fn scope(operation: &OperationJson) -> String {
    if operation.action == UNREADABLE {
        return "not known".to_owned();
    }
    if let Some(of) = &operation.undoes {
        return format!("takes back {of}");
    }
    let is_replay = operation.action == "replay";
    let to = match operation.to.is_empty() {
        true => String::new(),
        false => format!(" to {}", operation.to.join(", ")),
    };
    if let Some(ids) = operation.ids {
        let [one, many] = if is_replay { ["event", "events"] } else { ["delivery", "deliveries"] };
        return if ids == 1 { format!("1 {one}{to}") } else { format!("{ids} {many}{to}") };
    }
    let parts = operation.filter.iter().map(|(name, value)| format!("{name} {value}"));
    let parts: Vec<_> = parts.collect();
    if parts.is_empty() { "every one".to_owned() } else { parts.join(", ") + &to }
}

impl TriedRow {
    fn of(tried: &FirstTriedJson) -> Self {
        let end = |label: &str, outcome: &str, error: Option<&str>| {
            let mut html = Html::default();
            html.raw("<span class=\"dim\">").text(label).raw("</span> ").text(outcome);
            if let Some(error) = error {
                html.text(": ").raw(shown(error));
            }
            html
        };
        let mut ends = Vec::new();
        ends.extend(tried.before.map(|it| end("before", it, tried.before_error.as_deref())));
        ends.extend(tried.outcome.map(|it| end("now", it, tried.error.as_deref())));
        let is_well = matches!(tried.verdict, Some("fixed" | "still well"));
        let verdict = match (tried.verdict, tried.outcome) {
            (Some(verdict), _) => verdict,
            (None, Some(_)) => "nothing to compare it with",
            (None, None) => "no attempt has ended yet",
        };
        Self {
            path: Link::to("/deliveries").segment(&tried.delivery_id).into_text(),
            plugin: tried.plugin.clone(),
            verdict,
            is_well,
            ends,
        }
    }
}

/// Lists operations.
pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    let query = asked.query::<OperationsQuery>()?;
    let shared = State(Arc::clone(&admin));
    let listed = list_operations(shared, asked.sees(), params(query));
    let Json(Listing { items, next_cursor }) = listed.await?;
    let now_ms = admin.clock.now_ms();
    let frame = PageFrame::of(&admin, &asked, "failures", "Operations").await;
    let call = asked.call("/api/v1/operations");
    let page = OperationsPage {
        frame: frame.live("stats,operations").same_as(asked.command("hookbox operations"), call),
        rows: items.iter().map(|operation| OperationRow::of(operation, now_ms)).collect(),
        older: next_cursor.as_deref().map(|cursor| asked.older(cursor)),
    };
    html(StatusCode::OK, &page)
}

/// Shows one.
pub(super) async fn one(
    State(admin): State<Arc<Admin>>,
    Id(id): Id<OperationId>,
    mut asked: Asked,
) -> Result<Response, ProblemJson> {
    let back = asked.take(new::LIST).filter(|back| new::is_list(back));
    let query = asked.query::<OperationItemsQuery>()?;
    let shared = State(Arc::clone(&admin));
    let Json(found) = show_operation(shared, asked.sees(), params(query), Id(id)).await?;
    let OperationShown { operation, items, next_cursor, .. } = found;
    let now_ms = admin.clock.now_ms();
    let title = format!("{} {id}", operation.action);
    let frame = PageFrame::of(&admin, &asked, "failures", title).await;
    let mut verbs = match operation.state {
        "running" => vec![("pause", "Pause"), ("cancel", "End it here")],
        "paused" => vec![("resume", "Go on"), ("cancel", "End it here")],
        "stopped" => vec![("resume", "Go on in spite of it"), ("cancel", "End it here")],
        "planned" if operation.action == UNREADABLE => vec![("cancel", "End it here")],
        _ => Vec::new(),
    };
    if operation.action == UNREADABLE {
        verbs.retain(|(verb, _)| *verb == "cancel");
    }
    if operation.can_undo {
        verbs.push(("undo", "Undo"));
    }
    let api = Link::to("/api/v1/operations").segment(&operation.id).into_text();
    let command = asked.command(&format!("hookbox operations {id}"));
    let page = OperationPage {
        frame: frame.live(format!("operation:{id}")).same_as(command, asked.call(&api)),
        verbs,
        once: once(),
        is_running: operation.state == "running",
        row: OperationRow::of(&operation, now_ms),
        failed: items.into_iter().map(|row| DeliveryRow::of(row, &asked, now_ms)).collect(),
        older: next_cursor.as_deref().map(|cursor| asked.older(cursor)),
        tried: operation.first_tried.as_ref().map(TriedRow::of),
        back,
    };
    html(StatusCode::OK, &page)
}

/// Pauses it, lets it go on, ends it or takes it back.
pub(super) async fn steer(
    State(admin): State<Arc<Admin>>,
    by: By,
    Path((id, verb)): Path<(String, String)>,
    mut form: FormFields,
) -> Result<Response, ProblemJson> {
    let id: OperationId = id
        .parse()
        .map_err(|error: crate::store::NotAnOperation| ProblemJson::not_found(error.to_string()))?;
    let (by, shared) = (by.once(form.take(ONCE)), State(admin));
    let Json(now) = match verb.as_str() {
        "pause" => pause_operation(shared, by, params(NoQuery {}), Id(id)).await?,
        "resume" => resume_operation(shared, by, params(NoQuery {}), Id(id)).await?,
        "cancel" => cancel_operation(shared, by, params(NoQuery {}), Id(id)).await?,
        "undo" => undo_operation(shared, by, params(NoQuery {}), Id(id)).await?,
        _ => {
            let detail = "an operation can be paused, resumed, cancelled and undone";
            return Err(ProblemJson::not_found(detail));
        }
    };
    Ok(see_other(&Link::to("/operations").segment(&now.id).into_text()))
}
