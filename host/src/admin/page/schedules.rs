//! Schedules: a tick by hand, a pause, and its end.

use std::sync::Arc;

use askama::Template;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::confirm::{Choice, ConfirmPage};
use super::form::{FormFields, ONCE, see_other};
use super::frame::PageFrame;
use super::parts::html::{Html, shown};
use super::parts::link::{Link, word};
use super::parts::state::badge;
use super::parts::when::when_text;
use super::pauses::line;
use super::request::Asked;
use super::trail::Trail;
use super::{html, params};
use crate::admin::by::By;
use crate::admin::params::{Id, NoQuery, ParamsOrBody, PauseQuery};
use crate::admin::paused::of;
use crate::admin::pauses::{pause_schedule, resume_schedule};
use crate::admin::problem::ProblemJson;
use crate::admin::schedules::{
    ScheduleDetail, ScheduleJson, SkippedJson, known_schedule, run_schedule, show_schedule,
};
use crate::admin::state::Admin;
use crate::admin::view::{DeliveryState, EventItem};
use crate::store::Pausable;
use crate::text::duration;

#[derive(Template)]
#[template(path = "schedule.html")]
struct SchedulePage {
    frame: PageFrame,
    name: String,
    state: Html,
    paused: Option<Html>,
    facts: Vec<(&'static str, Html)>,
    /// Paths and labels.
    actions: Vec<(String, &'static str)>,
    events: String,
    next: Vec<Html>,
    ticks: Vec<TickRow>,
    has_older: bool,
    skipped: Vec<Html>,
    trail: Trail,
}

/// The event of a tick.
#[derive(Debug)]
struct TickRow {
    id: String,
    path: String,
    time: Html,
    /// State and plugin.
    deliveries: Vec<(Html, String)>,
    note: Option<Html>,
}

impl TickRow {
    fn of(event: EventItem, now_ms: i64) -> Self {
        let EventItem { attributes, deliveries } = event;
        let delivery = |it: DeliveryState| (badge(it.state), it.plugin);
        Self {
            path: Link::to("/events").segment(&attributes.id).into_text(),
            time: when_text(&attributes.time, now_ms),
            deliveries: deliveries.into_iter().map(delivery).collect(),
            note: attributes.note.as_deref().map(shown),
            id: attributes.id,
        }
    }
}

/// Shows one schedule.
pub(in crate::admin::page) async fn one(
    State(admin): State<Arc<Admin>>,
    Id(name): Id<String>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    asked.query::<NoQuery>()?;
    let shared = State(Arc::clone(&admin));
    let Json(detail) = show_schedule(shared, params(NoQuery {}), Id(name)).await?;
    let ScheduleDetail { schedule, ticks, has_older } = detail;
    let now_ms = admin.clock.now_ms();
    let own = Link::to("/schedules").segment(&schedule.name);
    let api = Link::to("/api/v1/schedules").segment(&schedule.name).into_text();
    let command = format!("hookbox schedules {}", word(&schedule.name));
    let frame = PageFrame::of(&admin, &asked, "schedules", schedule.name.clone()).await;
    let source = format!("schedules/{}", schedule.name);
    let page = SchedulePage {
        frame: frame.live("stats,events").same_as(command, api),
        state: schedule_state(&schedule),
        paused: schedule.paused.as_ref().map(|paused| line(paused, now_ms)),
        facts: facts(&schedule),
        actions: schedule_acts(&schedule, &own, Some(OWN)),
        events: Link::to("/events").with("source", &source).into_text(),
        next: schedule.upcoming.iter().map(|at| when_text(at, now_ms)).collect(),
        ticks: ticks.into_iter().map(|event| TickRow::of(event, now_ms)).collect(),
        has_older,
        skipped: schedule.skipped.iter().map(|it| skipped_line(it, now_ms)).collect(),
        trail: Trail::of_name(&admin, asked.sees(), &schedule.name, "schedules").await?,
        name: schedule.name,
    };
    html(StatusCode::OK, &page)
}

fn facts(schedule: &ScheduleJson) -> Vec<(&'static str, Html)> {
    let mut facts = vec![("when", shown(&schedule.when))];
    facts.extend(schedule.words.as_deref().map(|words| ("in words", shown(words))));
    facts.push(("time zone", shown(&schedule.zone)));
    facts.push(("emits", shown(&schedule.emit)));
    facts.push(("subject", shown(&schedule.subject)));
    facts.push(("missed ticks", shown(schedule.missed)));
    facts.push(("while one is open", shown(schedule.overlap)));
    if schedule.jitter_ms > 0 {
        facts.push(("late by at most", shown(&duration(schedule.jitter_ms as f64))));
    }
    facts
}

/// Whether it ticks.
pub(in crate::admin::page) fn schedule_state(schedule: &ScheduleJson) -> Html {
    match (schedule.enabled, &schedule.paused) {
        (true, Some(_)) => badge("paused"),
        (true, None) => badge("on"),
        (false, _) => badge("off"),
    }
}

/// The field that says on which page an action began, unless that is the list.
const FROM: &str = "from";

/// Its value on the page of the schedule itself.
const OWN: &str = "schedule";

/// The page to which an action leads back.
fn back(name: &str, from: Option<&str>) -> String {
    let list = Link::to("/schedules");
    if from == Some(OWN) { list.segment(name).into_text() } else { list.into_text() }
}

/// The paths and labels of its actions, which lead back to where they begin.
pub(in crate::admin::page) fn schedule_acts(
    schedule: &ScheduleJson,
    own: &Link,
    from: Option<&str>,
) -> Vec<(String, &'static str)> {
    let to = |action| own.clone().segment(action).maybe(FROM, from).into_text();
    let pause = match &schedule.paused {
        Some(_) => (to("resume"), "let it go on …"),
        None => (to("pause"), "pause …"),
    };
    vec![(to("run"), "run now …"), pause]
}

/// Ticks in a row that were skipped.
pub(in crate::admin::page) fn skipped_line(skipped: &SkippedJson, now_ms: i64) -> Html {
    let mut html = shown(&format!("{} skipped ({}), the last ", skipped.ticks, skipped.reason));
    html.raw(when_text(&skipped.last, now_ms));
    html
}

/// The actions on a schedule.
const ACTIONS: [&str; 3] = ["run", "pause", "resume"];

fn action(name: &str) -> Result<&'static str, ProblemJson> {
    let known = ACTIONS.into_iter().find(|known| *known == name);
    known.ok_or_else(|| {
        let name: String = name.chars().take(80).collect();
        let valid = ACTIONS.join(", ");
        ProblemJson::not_found(format!("a schedule has no action `{name}` (valid: {valid})"))
    })
}

/// Says what an action will do.
pub(in crate::admin::page) async fn ask(
    State(admin): State<Arc<Admin>>,
    Path((name, wanted)): Path<(String, String)>,
    mut asked: Asked,
) -> Result<Response, ProblemJson> {
    let from = asked.take(FROM);
    asked.query::<NoQuery>()?;
    let action = action(&wanted)?;
    let schedule = known_schedule(&admin, &name)?;
    let paused = of(&admin, Pausable::Schedule, &name);
    let now_ms = admin.clock.now_ms();
    let mut lines: Vec<_> = paused.iter().map(|paused| line(paused, now_ms)).collect();
    let mut choices = Vec::new();
    let (heading, button, more) = match (action, &paused) {
        ("run", _) => {
            lines.push(shown(&format!(
                "An event {} is stored now, as if the schedule ticked, and routed as the routes \
                 are now. Its own ticks stay as they are.",
                schedule.emit
            )));
            (format!("Run {name} now?"), "Run it now", "")
        }
        ("pause", _) => {
            lines.push(shown(
                "It does not tick until it is let go on. Its setting for missed ticks says what \
                 becomes of those that fall into the pause.",
            ));
            choices.push(Choice {
                kind: "line",
                name: "reason",
                value: String::new(),
                label: "why: others will read it".to_owned(),
                checked: false,
            });
            (format!("Pause {name}?"), "Pause it", " --reason REASON")
        }
        (_, None) => {
            return Err(ProblemJson::conflict(format!("schedule `{name}` is not paused")));
        }
        (_, Some(_)) => (format!("Let {name} go on?"), "Let it go on", ""),
    };
    let frame = PageFrame::of(&admin, &asked, "schedules", heading.clone()).await;
    let own = Link::to("/schedules").segment(&name).segment(action).into_text();
    let query = if more.is_empty() { "" } else { "?reason=REASON" };
    let page = ConfirmPage {
        frame: frame.same_as(
            format!("hookbox schedules {action} {}{more}", word(&name)),
            format!("/api/v1{own}{query}' -X 'POST"),
        ),
        heading,
        lines,
        action: own,
        back: back(&name, from.as_deref()),
        hidden: from.into_iter().map(|from| (FROM, from)).collect(),
        choices,
        button: button.to_owned(),
        is_grave: false,
    };
    html(StatusCode::OK, &page)
}

/// Does it.
pub(in crate::admin::page) async fn act(
    State(admin): State<Arc<Admin>>,
    by: By,
    Path((name, wanted)): Path<(String, String)>,
    mut form: FormFields,
) -> Result<Response, ProblemJson> {
    let by = by.once(form.take(ONCE));
    let back = back(&name, form.take(FROM).as_deref());
    let admin = State(admin);
    match action(&wanted)? {
        "run" => {
            let nothing = ParamsOrBody(NoQuery {});
            let (_, Json(ran)) = run_schedule(admin, by, Id(name), nothing).await?;
            return Ok(see_other(&Link::to("/events").segment(&ran.event_id).into_text()));
        }
        "pause" => {
            let query = ParamsOrBody(PauseQuery { reason: form.take("reason") });
            let Json(_) = pause_schedule(admin, by, Id(name), query).await?;
        }
        _ => {
            let Json(_) = resume_schedule(admin, by, Id(name), ParamsOrBody(NoQuery {})).await?;
        }
    }
    Ok(see_other(&back))
}
