//! Deliveries: the flat list, and what is done to one.

use std::sync::Arc;

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::filters::{FilterField, FilterForm};
use super::form::see_other;
use super::frame::PageFrame;
use super::parts::html::{Html, coded, shown};
use super::parts::link::Link;
use super::parts::state::badge;
use super::parts::when::when_text;
use super::request::Asked;
use super::{html, params};
use crate::admin::deliveries::{list_deliveries, show_delivery};
use crate::admin::params::{DeliveryQuery, Id, NoQuery};
use crate::admin::problem::ProblemJson;
use crate::admin::sees::Sees;
use crate::admin::state::Admin;
use crate::admin::view::{DeliveryJson, Listing};
use crate::event::DeliveryId;

pub(super) mod actions;

#[derive(Template)]
#[template(path = "deliveries.html")]
struct DeliveriesPage {
    frame: PageFrame,
    filters: FilterForm,
    views: Vec<(&'static str, String, bool)>,
    problem: Option<Html>,
    rows: Vec<DeliveryRow>,
    older: Option<String>,
    newer: Option<String>,
    newest: Option<String>,
    is_first: bool,
}

/// A delivery in the list.
#[derive(Debug)]
pub(in crate::admin::page) struct DeliveryRow {
    pub(in crate::admin::page) id: String,
    pub(in crate::admin::page) path: String,
    pub(in crate::admin::page) time: Html,
    pub(in crate::admin::page) plugin: String,
    pub(in crate::admin::page) plugin_path: String,
    pub(in crate::admin::page) kind: Html,
    pub(in crate::admin::page) kind_path: String,
    pub(in crate::admin::page) subject: Option<Html>,
    pub(in crate::admin::page) state: Html,
    pub(in crate::admin::page) attempts: u32,
    pub(in crate::admin::page) outcome: Option<Html>,
    pub(in crate::admin::page) text: Option<Html>,
}

/// Lists deliveries.
pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    let answer = match asked.query::<DeliveryQuery>() {
        Ok(query) => list_deliveries(State(Arc::clone(&admin)), asked.sees(), params(query)).await,
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
    let (now_ms, is_first) = (admin.clock.now_ms(), asked.field("cursor").is_none());
    let command = asked.command("hookbox deliveries");
    let frame = PageFrame::of(&admin, &asked, "deliveries", "Deliveries").await;
    let page = DeliveriesPage {
        frame: frame.live("stats").same_as(command, asked.call("/api/v1/deliveries")),
        filters: filters(&admin, &asked),
        views: views(&asked),
        problem,
        rows: items.into_iter().map(|row| DeliveryRow::of(row, &asked, now_ms)).collect(),
        older: next_cursor.as_deref().map(|cursor| asked.older(cursor)),
        newer: asked.newer(),
        newest: (!is_first).then(|| asked.but("cursor", None)),
        is_first,
    };
    html(status, &page)
}

/// Leads to the event of a delivery, at its row.
pub(super) async fn lead(
    State(admin): State<Arc<Admin>>,
    sees: Sees,
    Id(id): Id<DeliveryId>,
) -> Result<Response, ProblemJson> {
    let Json(delivery) = show_delivery(State(admin), sees, params(NoQuery {}), Id(id)).await?;
    Ok(see_other(&path(&delivery.event_id, &delivery.id)))
}

/// The address of a delivery on the page of its event.
fn path(event: &str, delivery: &str) -> String {
    let page = Link::to("/events").segment(event).with("tab", "attempts").into_text();
    format!("{page}#{delivery}")
}

fn filters(admin: &Admin, asked: &Asked) -> FilterForm {
    let registry = admin.registry.load();
    let field = |name, label, hint| FilterField::of(asked, name, label, hint);
    let states = crate::event::State::ALL.map(crate::event::State::name);
    let plugins = registry.entries().map(|(name, _)| name.as_ref());
    let fields = vec![
        field("state", "state", "").among(states),
        field("plugin", "plugin", "").among(plugins),
        field("type", "type", "exactly"),
        field("subject", "subject", "exactly"),
        field("since", "from", "2026-11-23T15:04:05Z"),
        field("until", "to", "now"),
    ];
    FilterForm::of::<DeliveryQuery>(asked, fields)
}

fn views(asked: &Asked) -> Vec<(&'static str, String, bool)> {
    let mut views = vec![("all", "/deliveries".to_owned(), asked.fields().is_empty())];
    for state in ["dead", "waiting", "leased", "discarded", "cancelled"] {
        let path = Link::to("/deliveries").with("state", state).into_text();
        views.push((state, path, asked.field("state") == Some(state)));
    }
    views
}

impl DeliveryRow {
    pub(in crate::admin::page) fn of(row: DeliveryJson, asked: &Asked, now_ms: i64) -> Self {
        let last = row.attempts.last();
        let time = row.due_at.as_deref().or(last.map(|last| last.started_at.as_str()));
        let waits = row.waits_for.as_ref().map(|wait| coded(&format!("waits for {}", wait.text)));
        let error = last.and_then(|last| last.error.as_deref()).map(shown);
        Self {
            path: path(&row.event_id, &row.id),
            time: time.map(|time| when_text(time, now_ms)).unwrap_or_else(|| shown("–")),
            plugin_path: asked.but("plugin", Some(&row.plugin)),
            kind: shown(&row.kind),
            kind_path: asked.but("type", Some(&row.kind)),
            subject: row.subject.as_deref().map(shown),
            state: badge(row.state),
            attempts: row.attempt,
            outcome: last.map(|last| badge(last.outcome)),
            text: error.or(waits),
            plugin: row.plugin,
            id: row.id,
        }
    }
}
