//! Events: listed, shown whole, replayed.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::Admin;
use super::params::{Ask, EventQuery, Id, NoQuery, Order, ReplayQuery, closest};
use super::problem::Problem;
use super::view::{EventDetail, EventItem, Listing};
use crate::event::{Attributes, EventId, PluginName, UNIDENTIFIED};

/// List events, newest first.
#[utoipa::path(get, path = "/api/v1/events", tag = "events", params(EventQuery), responses(
    (status = 200, description = "A page of events", body = Listing<EventItem>),
    (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list_events(
    State(admin): State<Arc<Admin>>,
    Ask(query): Ask<EventQuery>,
) -> Result<Json<Listing<EventItem>>, Problem> {
    let (rows, next) = admin.store.events(query.filter()?, query.page()?).await?;
    Ok(Json(Listing::of(rows, next)))
}

/// Show one event with its deliveries and their attempts.
#[utoipa::path(get, path = "/api/v1/events/{id}", tag = "events",
    params(("id" = String, Path, description = "An event id (`evt_…`)")), responses(
    (status = 200, description = "The event", body = EventDetail),
    (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn show_event(
    State(admin): State<Arc<Admin>>,
    Ask(NoQuery {}): Ask<NoQuery>,
    Id(id): Id<EventId>,
) -> Result<Json<EventDetail>, Problem> {
    let event = admin.store.event(id).await?;
    let source = admin.config.load().sources.get(&*event.event.attributes.source).cloned();
    let form = source.as_ref().and_then(|source| source.form.as_deref());
    Ok(Json(EventDetail::of(event, form)))
}

/// What a replay created.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Replayed {
    /// The event.
    event_id: String,
    /// Ids of the new deliveries, in the order of `plugins`.
    deliveries: Vec<String>,
    /// Who gets it.
    plugins: Vec<String>,
}

/// Deliver an old event again: to the plugins that are routed now, or to one that is named.
#[utoipa::path(post, path = "/api/v1/events/{id}/replay", tag = "events",
    params(("id" = String, Path, description = "An event id (`evt_…`)"), ReplayQuery),
    request_body(content = Option<serde_json::Value>, description = "The parameters of the query, as the members of an object"),
    responses(
    (status = 202, description = "New deliveries were created", body = Replayed),
    (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn replay_event(
    State(admin): State<Arc<Admin>>,
    Id(id): Id<EventId>,
    Order(query): Order<ReplayQuery>,
) -> Result<(StatusCode, Json<Replayed>), Problem> {
    let plugins = match query.plugin {
        Some(name) => vec![known_plugin(&admin, &name)?],
        None => routed_plugins(&admin, id).await?,
    };
    let deliveries = admin.store.replay(id, plugins.clone()).await?;
    tracing::info!(event.id = %id, deliveries = deliveries.len(), "an operator replays an event");
    let replayed = Replayed {
        event_id: id.to_string(),
        deliveries: deliveries.iter().map(ToString::to_string).collect(),
        plugins: plugins.iter().map(ToString::to_string).collect(),
    };
    Ok((StatusCode::ACCEPTED, Json(replayed)))
}

/// The plugin of this name. It need not run at the moment: its deliveries wait for it.
fn known_plugin(admin: &Admin, name: &str) -> Result<PluginName, Problem> {
    let shelf = admin.shelf.load();
    if let Some((name, _)) = shelf.entries().find(|(known, _)| known.as_ref() == name) {
        return Ok(name.clone());
    }
    Err(no_plugin(name, shelf.entries().map(|(known, _)| known.as_ref())))
}

/// The refusal for a name that no plugin has.
pub(super) fn no_plugin<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Problem {
    let hint = closest(name, known).map(|hint| format!("; did you mean `{hint}`?")).unwrap_or_default();
    let name: String = name.chars().take(80).collect();
    Problem::not_found(format!("there is no plugin `{name}`{hint}"))
}

async fn routed_plugins(admin: &Admin, id: EventId) -> Result<Vec<PluginName>, Problem> {
    let event = admin.store.event(id).await?;
    let attributes = &event.event.attributes;
    let plugins = admin.config.load().routes.targets(&attributes.source, &attributes.kind);
    if plugins.is_empty() {
        return Err(Problem::conflict(unrouted(id, attributes, event.note.as_deref())));
    }
    Ok(plugins)
}

/// Says what to do about an event that no route matches.
fn unrouted(id: EventId, attributes: &Attributes, note: Option<&str>) -> String {
    let Attributes { source, kind, .. } = attributes;
    if kind != UNIDENTIFIED {
        return format!("no route matches `{kind}` now: add one, or name a `plugin`");
    }
    let why = note.map(|note| format!(" ({note})")).unwrap_or_default();
    format!(
        "no route matches `{kind}` now, and an event keeps the type it was stored with: its own could not be \
         read{why}. Name the plugin that is to get it (`hookbox events replay {id} --plugin NAME`, `plugin` in the \
         API), or route \"{source}:{kind}\"; for events to come, see `type` under [sources.{source}]"
    )
}
