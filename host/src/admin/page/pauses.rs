//! Pauses: why, and then it stands still; and going on again.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::confirm::{Choice, ConfirmPage};
use super::form::{FormFields, ONCE, see_other};
use super::frame::PageFrame;
use super::parts::html::{Html, shown};
use super::parts::link::{Link, word};
use super::parts::when::when_text;
use super::request::Asked;
use super::{html, params};
use crate::admin::by::By;
use crate::admin::params::{Id, NoQuery, ParamsOrBody, PauseQuery};
use crate::admin::paused::{PausedJson, of};
use crate::admin::pauses::{pause_plugin, resume_plugin};
use crate::admin::plugins::show_plugin;
use crate::admin::problem::ProblemJson;
use crate::admin::state::Admin;
use crate::store::Pausable;
use crate::text::grouped;

/// Asks why a plugin is to be paused.
pub(in crate::admin::page) async fn ask_pause(
    State(admin): State<Arc<Admin>>,
    Id(name): Id<String>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    asked.query::<NoQuery>()?;
    let shared = State(Arc::clone(&admin));
    let Json(plugin) = show_plugin(shared, params(NoQuery {}), Id(name)).await?;
    let counts = &plugin.deliveries;
    let mut lines = vec![shown(&format!(
        "Events for it are taken in. Its deliveries stay ready and are not begun: {} are ready and \
         {} wait now. The {} that run go on to their end.",
        grouped(counts.ready),
        grouped(counts.waiting),
        grouped(counts.leased)
    ))];
    lines.extend(plugin.paused.as_ref().map(|paused| line(paused, admin.clock.now_ms())));
    let reason = Choice {
        kind: "line",
        name: "reason",
        value: String::new(),
        label: "why: others will read it".to_owned(),
        checked: false,
    };
    let frame = PageFrame::of(&admin, &asked, "plugins", format!("pause {}", plugin.name)).await;
    let own = Link::to("/plugins").segment(&plugin.name);
    let api = format!("/api/v1{}", own.clone().segment("pause").into_text());
    let page = ConfirmPage {
        frame: frame.same_as(
            format!("hookbox plugins pause {} --reason REASON", word(&plugin.name)),
            format!("{api}?reason=REASON' -X 'POST"),
        ),
        heading: format!("Pause {}?", plugin.name),
        lines,
        action: own.clone().segment("pause").into_text(),
        hidden: Vec::new(),
        choices: vec![reason],
        button: format!("Pause {}", plugin.name),
        is_grave: false,
        back: own.into_text(),
    };
    html(StatusCode::OK, &page)
}

/// Pauses a plugin.
pub(in crate::admin::page) async fn pause(
    State(admin): State<Arc<Admin>>,
    by: By,
    Id(name): Id<String>,
    mut form: FormFields,
) -> Result<Response, ProblemJson> {
    let by = by.once(form.take(ONCE));
    let query = ParamsOrBody(PauseQuery { reason: form.take("reason") });
    let Json(paused) = pause_plugin(State(admin), by, Id(name), query).await?;
    Ok(see_other(&Link::to("/plugins").segment(&paused.name).into_text()))
}

/// Asks whether a plugin is to go on.
pub(in crate::admin::page) async fn ask_resume(
    State(admin): State<Arc<Admin>>,
    Id(name): Id<String>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    asked.query::<NoQuery>()?;
    let paused = of(&admin, Pausable::Plugin, &name);
    let paused =
        paused.ok_or_else(|| ProblemJson::conflict(format!("plugin `{name}` is not paused")))?;
    let counts = admin.store.stats().await?.plugins.get(&*name).copied().unwrap_or_default();
    let open = shown(&format!(
        "{} of its deliveries are open: those that are due begin at once, as many as its limits \
         allow.",
        grouped(counts.open())
    ));
    let frame = PageFrame::of(&admin, &asked, "plugins", format!("resume {name}")).await;
    let own = Link::to("/plugins").segment(&name);
    let api = format!("/api/v1{}", own.clone().segment("resume").into_text());
    let page = ConfirmPage {
        frame: frame
            .same_as(format!("hookbox plugins resume {}", word(&name)), format!("{api}' -X 'POST")),
        heading: format!("Let {name} go on?"),
        lines: vec![line(&paused, admin.clock.now_ms()), open],
        action: own.clone().segment("resume").into_text(),
        hidden: Vec::new(),
        choices: Vec::new(),
        button: format!("Let {name} go on"),
        is_grave: false,
        back: own.into_text(),
    };
    html(StatusCode::OK, &page)
}

/// Lets a plugin go on.
pub(in crate::admin::page) async fn resume(
    State(admin): State<Arc<Admin>>,
    by: By,
    Id(name): Id<String>,
    mut form: FormFields,
) -> Result<Response, ProblemJson> {
    let by = by.once(form.take(ONCE));
    let resume = resume_plugin(State(admin), by, Id(name), ParamsOrBody(NoQuery {}));
    let Json(resumed) = resume.await?;
    Ok(see_other(&Link::to("/plugins").segment(&resumed.name).into_text()))
}

/// The operator who has paused it, when and why.
pub(in crate::admin::page) fn line(paused: &PausedJson, now_ms: i64) -> Html {
    let mut html = shown(&format!("Paused by {}, ", paused.by));
    html.raw(when_text(&paused.since, now_ms)).text(": ").text(&paused.reason);
    html
}
