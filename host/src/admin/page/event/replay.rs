//! Replays: to whom an old event goes again, for one event and for those that are selected.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::admin::by::By;
use crate::admin::events::{routed, show_event};
use crate::admin::page::asked::Asked;
use crate::admin::page::confirm::{Choice, ConfirmPage};
use crate::admin::page::form::{FormFields, ONCE, see_other};
use crate::admin::page::frame::PageFrame;
use crate::admin::page::parts::html::{Html, coded, shown};
use crate::admin::page::parts::link::Link;
use crate::admin::page::{html, params};
use crate::admin::params::{Id, NoQuery, ReplayAsked};
use crate::admin::problem::ProblemJson;
use crate::admin::replay::{Replayed, replay_event};
use crate::admin::state::Admin;
use crate::event::EventId;

/// Events that are replayed at once.
const MAX_SELECTED: usize = 500;

/// Events that a confirmation names.
const MAX_NAMED: usize = 20;

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

/// Asks whether the selected events are to be replayed.
pub(in crate::admin::page) async fn ask_selected(
    State(admin): State<Arc<Admin>>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    let chosen = asked.fields().iter().filter(|(name, _)| name == "id");
    let ids = selected(chosen.map(|(_, id)| id.clone()).collect())?;
    let mut lines = Vec::new();
    for id in ids.iter().take(MAX_NAMED) {
        let mut line = Html::default();
        let path = Link::to("/events").segment(&id.to_string()).into_text();
        line.raw("<a href=\"").text(&path).raw("\">").text(&id.to_string()).raw("</a>");
        lines.push(line);
    }
    if ids.len() > MAX_NAMED {
        lines.push(shown(&format!("and {} more", ids.len() - MAX_NAMED)));
    }
    lines.push(shown(
        "Each goes to what is routed now, as new deliveries. Events that the plugins emit then are routed likewise.",
    ));
    let events = if ids.len() == 1 { "1 event" } else { "events" };
    let heading = match ids.len() {
        1 => format!("Replay {events}"),
        n => format!("Replay {n} {events}"),
    };
    let frame = PageFrame::of(&admin, &asked, "events", heading.clone()).await;
    let names: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let each = |once: &str| format!("for id in {}; do {once}; done", names.join(" "));
    let command = each("hookbox events replay $id");
    let page = ConfirmPage {
        frame: frame.same_for_each(command, "/api/v1/events/'$id'/replay' -X 'POST", each),
        button: heading.clone(),
        heading,
        lines,
        action: "/replays".to_owned(),
        hidden: ids.iter().map(|id| ("id", id.to_string())).collect(),
        choices: Vec::new(),
        is_grave: false,
        back: "/events".to_owned(),
    };
    html(StatusCode::OK, &page)
}

/// Replays the selected events, one after the other.
pub(in crate::admin::page) async fn act_selected(
    State(admin): State<Arc<Admin>>,
    by: By,
    mut form: FormFields,
) -> Result<Response, ProblemJson> {
    let once = form.take(ONCE);
    let ids = selected(form.all("id"))?;
    let mut refused = Vec::new();
    for id in &ids {
        let by = by.clone().once(once.as_ref().map(|once| format!("{once}-{id}")));
        let asked = ReplayAsked::default();
        if let Err(problem) = replay_event(State(Arc::clone(&admin)), by, Id(*id), asked).await {
            refused.push(format!("{id}: {}", problem.parts().1));
        }
    }
    if refused.is_empty() {
        return Ok(see_other("/events"));
    }
    let done = ids.len() - refused.len();
    refused.truncate(MAX_NAMED);
    let detail = format!("{done} of {} were replayed.\n{}", ids.len(), refused.join("\n"));
    Err(ProblemJson::conflict(detail))
}

fn selected(ids: Vec<String>) -> Result<Vec<EventId>, ProblemJson> {
    if ids.is_empty() || ids.len() > MAX_SELECTED {
        let detail = format!("select 1 to {MAX_SELECTED} events: {} are selected", ids.len());
        return Err(ProblemJson::bad_request(detail));
    }
    let read = |id: &String| {
        id.parse::<EventId>().map_err(|error| ProblemJson::bad_request(format!("`id`: {error}")))
    };
    ids.iter().map(read).collect()
}
