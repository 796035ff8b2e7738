//! Open joins, and schedules: what is being waited for, and what comes by itself.

use std::sync::Arc;

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::frame::PageFrame;
use super::parts::html::{Html, shown};
use super::parts::link::Link;
use super::parts::when::when_text;
use super::pauses;
use super::request::Asked;
use super::schedules::{schedule_acts, schedule_state, skipped_line};
use super::{html, params};
use crate::admin::joins::{JoinJson, list_joins};
use crate::admin::params::{JoinQuery, NoQuery};
use crate::admin::problem::ProblemJson;
use crate::admin::schedules::{ScheduleJson, list_schedules};
use crate::admin::state::Admin;

#[derive(Template)]
#[template(path = "joins.html")]
struct JoinsPage {
    frame: PageFrame,
    rows: Vec<JoinRow>,
    older: Option<String>,
    newer: Option<String>,
}

/// An open join or batch.
#[derive(Debug)]
struct JoinRow {
    id: String,
    name: String,
    name_path: String,
    key: Html,
    path: String,
    count: String,
    needs: Html,
    since: Html,
    until: Html,
    is_ending: bool,
}

/// Lists open joins and batches.
pub(super) async fn joins(
    State(admin): State<Arc<Admin>>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    let query = asked.query::<JoinQuery>()?;
    let Json(found) = list_joins(State(Arc::clone(&admin)), asked.sees(), params(query)).await?;
    let now_ms = admin.clock.now_ms();
    let row = |join: JoinJson| JoinRow {
        name_path: asked.but("name", Some(&join.name)),
        key: shown(&join.key),
        path: Link::to("/events").segment(&join.first_event_id).into_text(),
        count: match join.need {
            Some(need) => format!("{} of {need}", join.count),
            None => join.count.to_string(),
        },
        needs: shown(&join.needs),
        since: when_text(&join.since, now_ms),
        until: when_text(&join.until, now_ms),
        is_ending: join.ending,
        id: join.delivery_id,
        name: join.name,
    };
    let frame = PageFrame::of(&admin, &asked, "joins", "Joins and batches").await;
    let page = JoinsPage {
        frame: frame
            .live("stats,events")
            .same_as(asked.command("hookbox joins"), asked.call("/api/v1/joins")),
        rows: found.items.into_iter().map(row).collect(),
        older: found.next_cursor.as_deref().map(|cursor| asked.older(cursor)),
        newer: asked.newer(),
    };
    html(StatusCode::OK, &page)
}

#[derive(Template)]
#[template(path = "schedules.html")]
struct SchedulesPage {
    frame: PageFrame,
    rows: Vec<ScheduleRow>,
}

/// A schedule.
#[derive(Debug)]
struct ScheduleRow {
    name: String,
    path: String,
    when: String,
    words: Option<String>,
    zone: String,
    emits: Html,
    emits_path: String,
    last: Option<(Html, Option<String>, Option<&'static str>)>,
    upcoming: Vec<Html>,
    missed: &'static str,
    state: Html,
    skipped: Vec<Html>,
    paused: Option<Html>,
    /// Paths and labels.
    actions: Vec<(String, &'static str)>,
}

/// Lists schedules.
pub(super) async fn schedules(
    State(admin): State<Arc<Admin>>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    asked.query::<NoQuery>()?;
    let Json(found) = list_schedules(State(Arc::clone(&admin)), params(NoQuery {})).await?;
    let now_ms = admin.clock.now_ms();
    let frame = PageFrame::of(&admin, &asked, "schedules", "Schedules").await;
    let page = SchedulesPage {
        frame: frame
            .live("stats,events")
            .same_as("hookbox schedules".to_owned(), "/api/v1/schedules".to_owned()),
        rows: found.items.into_iter().map(|it| ScheduleRow::of(it, now_ms)).collect(),
    };
    html(StatusCode::OK, &page)
}

impl ScheduleRow {
    fn of(schedule: ScheduleJson, now_ms: i64) -> Self {
        let source = format!("schedules/{}", schedule.name);
        let own = Link::to("/schedules").segment(&schedule.name);
        Self {
            emits: shown(&schedule.emit),
            emits_path: Link::to("/events").with("source", &source).into_text(),
            last: schedule.last.as_ref().map(|last| {
                let event = last.event_id.as_deref();
                let path = event.map(|id| Link::to("/events").segment(id).into_text());
                (when_text(&last.time, now_ms), path, last.skipped)
            }),
            upcoming: schedule.upcoming.iter().map(|at| when_text(at, now_ms)).collect(),
            missed: schedule.missed,
            state: schedule_state(&schedule),
            actions: schedule_acts(&schedule, &own, None),
            paused: schedule.paused.as_ref().map(|paused| pauses::line(paused, now_ms)),
            skipped: schedule.skipped.iter().map(|it| skipped_line(it, now_ms)).collect(),
            path: own.into_text(),
            when: schedule.when,
            words: schedule.words,
            zone: schedule.zone,
            name: schedule.name,
        }
    }
}
