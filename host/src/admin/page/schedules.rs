//! Schedules: a tick by hand, a pause, and its end.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::asked::Asked;
use super::confirm::{Choice, ConfirmPage};
use super::form::{FormFields, ONCE, see_other};
use super::frame::PageFrame;
use super::html;
use super::parts::html::shown;
use super::parts::link::{Link, word};
use super::pauses::line;
use crate::admin::by::By;
use crate::admin::params::{Id, NoQuery, ParamsOrBody, PauseQuery};
use crate::admin::paused::of;
use crate::admin::pauses::{pause_schedule, resume_schedule};
use crate::admin::problem::ProblemJson;
use crate::admin::schedules::{known_schedule, run_schedule};
use crate::admin::state::Admin;
use crate::store::Pausable;

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
    asked: Asked,
) -> Result<Response, ProblemJson> {
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
        hidden: Vec::new(),
        choices,
        button: button.to_owned(),
        is_grave: false,
        back: "/schedules".to_owned(),
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
    Ok(see_other("/schedules"))
}
