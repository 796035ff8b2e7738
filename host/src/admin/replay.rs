//! Replays: an old event is handled again, as it was or as an operator has edited it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::by::By;
use super::events::{no_plugin, routed};
use super::params::{EventEdit, Id, ReplayAsked, ReplayBody, ReplayQuery};
use super::problem::ProblemJson;
use super::state::{Admin, end_append};
use crate::event::name::{self, RESERVED};
use crate::event::{Attributes, EditedFrom, EventId, NewDelivery, NewEvent, Target};
use crate::names::PluginName;
use crate::store::EventView;

/// The deliveries that a replay created.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Replayed {
    /// The event: the old one, or the one that was made of it.
    pub(super) event_id: String,
    /// Ids of the new deliveries, in the order of `plugins`.
    pub(super) deliveries: Vec<String>,
    /// The plugins that get the event.
    pub(super) plugins: Vec<String>,
    /// Whether it is an edited one: then it is a new event.
    pub(super) edited: bool,
}

/// Deliver an old event again: to the plugins that are routed now, or to those that are named.
///
/// With another body, type or subject it is a new event, which names the old one (`replay_of`) and
/// who has edited it (`edited_by`). A body may be as long as `server.max_body` allows.
#[utoipa::path(post, path = "/api/v1/events/{id}/replay", tag = "events",
    params(("id" = String, Path, description = "An event id (`evt_…`)"), ReplayQuery),
    request_body(content = Option<ReplayBody>, description = "To whom, and what is to be another"),
    responses(
    (status = 202, description = "New deliveries were created", body = Replayed),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn replay_event(
    State(admin): State<Arc<Admin>>,
    by: By,
    Id(id): Id<EventId>,
    asked: ReplayAsked,
) -> Result<(StatusCode, Json<Replayed>), ProblemJson> {
    let replayed = if asked.edit.is_empty() {
        again(&admin, &by, id, &asked.plugins).await?
    } else {
        edited(&admin, &by, id, asked).await?
    };
    Ok((StatusCode::ACCEPTED, Json(replayed)))
}

/// Delivers the event as it is.
async fn again(
    admin: &Admin,
    by: &By,
    id: EventId,
    plugins: &[String],
) -> Result<Replayed, ProblemJson> {
    let targets = match plugins.is_empty() {
        true => routed(admin, id).await?,
        false => named(admin, plugins)?,
    };
    let plugins: Vec<_> = targets.iter().map(|target| target.plugin.to_string()).collect();
    let note = by.note("events.replay", &id.to_string(), &format!("to {}", plugins.join(", ")));
    let deliveries = admin.store.replay(Some(note), id, targets).await?;
    tracing::info!(event.id = %id, deliveries = deliveries.len(), "an operator replays an event");
    Ok(Replayed {
        event_id: id.to_string(),
        deliveries: deliveries.iter().map(ToString::to_string).collect(),
        plugins,
        edited: false,
    })
}

/// Makes a new event of it.
async fn edited(
    admin: &Admin,
    by: &By,
    id: EventId,
    asked: ReplayAsked,
) -> Result<Replayed, ProblemJson> {
    let old = admin.store.event(id).await?;
    let changes = changes(&old, &asked.edit);
    let mut event = edited_event(admin, &old, asked.edit)?;
    if changes.is_empty() {
        return Err(ProblemJson::bad_request(
            "nothing is another than it was: leave `data`, `type` and `subject` out to replay it",
        ));
    }
    let config = admin.config.load_full();
    if asked.plugins.is_empty() {
        config.routes.route(&mut event);
        if event.deliveries.is_empty() && event.members.is_empty() {
            return Err(ProblemJson::conflict(format!(
                "no route takes `{}` from `{}` now: add one, or name `plugins`",
                event.attributes.kind, event.attributes.source
            )));
        }
    } else {
        let targets = named(admin, &asked.plugins)?.into_iter();
        let attributes = &event.attributes;
        event.deliveries = targets.map(|target| delivery(target, attributes)).collect();
    }
    let to: Vec<_> = event.deliveries.iter().map(|it| &*it.target.plugin).collect();
    let detail = format!("edited: {}; to {}", changes.join(", "), to.join(", "));
    let note = by.note("events.replay", &id.to_string(), &detail);
    event.edited = Some(EditedFrom { event: id, by: note.actor.name.to_string() });
    let span = admin.append_span(&mut event, old.event.trace);
    let made = admin.store.make(Some(note), event).await?;
    end_append(span, made);
    let made = made.id;
    tracing::info!(event.id = %made, event.replay_of = %id, "an operator replays an edited event");
    let deliveries = admin.store.event(made).await?.deliveries;
    Ok(Replayed {
        event_id: made.to_string(),
        deliveries: deliveries.iter().map(|it| it.id.to_string()).collect(),
        plugins: deliveries.iter().map(|it| it.plugin.to_string()).collect(),
        edited: true,
    })
}

/// The event as it would be, without its way.
pub(super) fn edited_event(
    admin: &Admin,
    old: &EventView,
    edit: EventEdit,
) -> Result<NewEvent, ProblemJson> {
    if let Some(emptied) = old.emptied {
        return Err(ProblemJson::conflict(format!(
            "event `{}` {}: there is nothing left to edit",
            old.event.id,
            emptied.reason()
        )));
    }
    let Attributes { kind, subject, body, .. } = &old.event.attributes;
    let refuse = |what: String| Err(ProblemJson::bad_request(what));
    let kind = edit.kind.unwrap_or_else(|| kind.clone());
    if let Err(fault) = name::check(&kind) {
        return refuse(format!("`type` {fault}"));
    }
    if kind.starts_with(RESERVED) && kind != old.event.attributes.kind {
        return refuse(format!(
            "`type` begins with `{RESERVED}`: such types are the host's own, write another one"
        ));
    }
    let subject = match edit.subject {
        Some(subject) => Some(subject).filter(|subject| !subject.is_empty()),
        None => subject.clone(),
    };
    if let Some(Err(fault)) = subject.as_deref().map(name::check) {
        return refuse(format!("`subject` {fault}"));
    }
    let body = edit.data.unwrap_or_else(|| body.clone());
    let most = admin.config.load().largest_body_bytes();
    if body.len() > most {
        let detail = format!("the body has {} bytes: {most} are the most", body.len());
        return Err(ProblemJson::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    let time_ms = admin.clock.now_ms();
    let attributes = Attributes { kind, subject, body, time_ms, ..old.event.attributes.clone() };
    let (headers, hops) = (old.headers.clone(), old.event.hops);
    Ok(NewEvent { headers, hops, ..NewEvent::from(attributes) })
}

/// The attributes that differ from the old ones. Of a body its sum, so that a repeated request is
/// known.
fn changes(old: &EventView, edit: &EventEdit) -> Vec<String> {
    let Attributes { kind, subject, body, .. } = &old.event.attributes;
    let mut found = Vec::new();
    if edit.kind.as_ref().is_some_and(|it| it != kind) {
        found.push(format!("type {}", edit.kind.as_deref().unwrap_or_default()));
    }
    let subject = subject.as_deref().unwrap_or_default();
    if let Some(other) = edit.subject.as_deref().filter(|it| *it != subject) {
        // A subject may be somebody's data.
        found.push(format!("subject sha256:{}", &hex::encode(Sha256::digest(other))[..16]));
    }
    if let Some(data) = edit.data.as_ref().filter(|data| *data != body) {
        found.push(format!("data sha256:{}", &hex::encode(Sha256::digest(data))[..16]));
    }
    found
}

fn delivery(target: Arc<Target>, attributes: &Attributes) -> NewDelivery {
    let key = target.options.key.as_ref().and_then(|key| key.key_of(attributes).ok());
    NewDelivery { target, key }
}

/// The plugins of these names, each once. They need not run at the moment: their deliveries wait.
fn named(admin: &Admin, names: &[String]) -> Result<Vec<Arc<Target>>, ProblemJson> {
    let mut found: Vec<Arc<Target>> = Vec::new();
    for name in names {
        let target = admin.config.load().target(known_plugin(admin, name)?);
        if !found.iter().any(|it| it.plugin == target.plugin) {
            found.push(target);
        }
    }
    Ok(found)
}

/// Refuses names that no plugin has.
pub(super) fn known_plugins(admin: &Admin, names: &[PluginName]) -> Result<(), ProblemJson> {
    names.iter().try_for_each(|name| known_plugin(admin, name).map(drop))
}

/// The plugin of this name.
fn known_plugin(admin: &Admin, name: &str) -> Result<PluginName, ProblemJson> {
    let registry = admin.registry.load();
    if let Some((name, _)) = registry.entries().find(|(known, _)| known.as_ref() == name) {
        return Ok(name.clone());
    }
    Err(no_plugin(name, registry.entries().map(|(known, _)| known.as_ref())))
}
