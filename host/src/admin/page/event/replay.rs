//! A replay: to whom an old event goes again. Several are replayed by an operation.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::admin::by::By;
use crate::admin::events::{routed, show_event};
use crate::admin::page::confirm::{Choice, ConfirmPage};
use crate::admin::page::form::{FormFields, ONCE, see_other};
use crate::admin::page::frame::PageFrame;
use crate::admin::page::parts::html::{Html, coded, shown};
use crate::admin::page::parts::link::Link;
use crate::admin::page::request::Asked;
use crate::admin::page::{html, params};
use crate::admin::params::{Id, NoQuery, ReplayAsked};
use crate::admin::problem::ProblemJson;
use crate::admin::replay::{Replayed, replay_event};
use crate::admin::state::Admin;
use crate::event::EventId;

/// Asks to whom an event is to go.
pub(in crate::admin::page) async fn ask(
    State(admin): State<Arc<Admin>>,
    Id(id): Id<EventId>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    let shared = State(Arc::clone(&admin));
    let Json(event) = show_event(shared, asked.sees(), params(NoQuery {}), Id(id)).await?;
    let targets = routed(&admin, id).await;
    let mut lines = Vec::new();
    let mut choices = Vec::new();
    let choice = |value: String, label: String, checked| Choice {
        kind: "radio",
        name: "plugin",
        value,
        label,
        checked,
    };
    match &targets {
        Ok(targets) => {
            let names: Vec<_> = targets.iter().map(|target| target.plugin.to_string()).collect();
            let label = format!("what is routed now: {}", names.join(", "));
            choices.push(choice(String::new(), label, true));
        }
        Err(problem) => lines.push(coded(problem.parts().1)),
    }
    let registry = admin.registry.load();
    let only = registry.entries().map(|(name, _)| (name.to_string(), format!("{name} only")));
    choices.extend(only.map(|(name, label)| choice(name, label, false)));
    for delivery in event.deliveries.iter().filter(|delivery| delivery.replay) {
        let mut line = Html::default();
        line.text(&format!("It was replayed to {} before: ", delivery.plugin)).text(delivery.state);
        lines.push(line);
    }
    lines.push(shown(
        "Each plugin gets the event once more, as a new delivery, and does again what it does. Deliveries that there are stay as they are.",
    ));
    lines.push(shown(
        "The events that followed from it are not replayed: what the plugins emit now are new events, routed as the routes are now.",
    ));
    let frame = PageFrame::of(&admin, &asked, "events", "Replay").await;
    let path = Link::to("/events").segment(&event.attributes.id);
    let call = format!("/api/v1{}", path.clone().segment("replay").into_text());
    let page = ConfirmPage {
        frame: frame.same_as(format!("hookbox events replay {id}"), format!("{call}' -X 'POST")),
        heading: format!("Replay {} {id}", event.attributes.kind),
        lines,
        action: path.clone().segment("replay").into_text(),
        hidden: Vec::new(),
        choices,
        button: "Replay".to_owned(),
        is_grave: false,
        back: path.into_text(),
    };
    html(StatusCode::OK, &page)
}

/// Replays an event.
pub(in crate::admin::page) async fn act(
    State(admin): State<Arc<Admin>>,
    by: By,
    Id(id): Id<EventId>,
    mut form: FormFields,
) -> Result<Response, ProblemJson> {
    let by = by.once(form.take(ONCE));
    let plugins = form.take("plugin").into_iter().collect();
    let asked = ReplayAsked { plugins, ..ReplayAsked::default() };
    let replay = replay_event(State(admin), by, Id(id), asked);
    let (_, Json(Replayed { event_id, deliveries, .. })) = replay.await?;
    let path = Link::to("/events").segment(&event_id).with("tab", "attempts").into_text();
    let first = deliveries.first().map(String::as_str).unwrap_or_default();
    Ok(see_other(&format!("{path}#{first}")))
}
