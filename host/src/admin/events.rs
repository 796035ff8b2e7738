//! Events: listed, and shown whole.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::params::{EventQuery, Id, NoQuery, Params, to_text};
use super::problem::ProblemJson;
use super::sees::Sees;
use super::state::Admin;
use super::view::{EventDetail, EventItem};
use super::waits::WaitFacts;
use crate::clock::rfc3339;
use crate::config::routes::{Facts, Routing};
use crate::event::{Attributes, EventId, Target, UNIDENTIFIED};
use crate::names::hint;
use crate::store::{Cursor, MAX_LOOKED_AT, MAX_LOOKED_AT_BODIES};

pub(super) mod body;
pub(super) mod case;
pub(super) mod follow;

/// List events, newest first.
#[utoipa::path(get, path = "/api/v1/events", tag = "events", params(EventQuery), responses(
    (status = 200, description = "A page of events", body = EventPage),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn list_events(
    State(admin): State<Arc<Admin>>,
    sees: Sees,
    Params(query): Params<EventQuery>,
) -> Result<Json<EventPage>, ProblemJson> {
    let (filter, page) = (query.filter(sees)?, query.page()?);
    let most = if filter.text.is_some() { MAX_LOOKED_AT_BODIES } else { MAX_LOOKED_AT };
    let (rows, next) = admin.store.events(filter, page).await?;
    // A page that is not full and not the last one has looked at as many rows as it may.
    let stopped = next.is_some() && rows.len() < page.limit;
    Ok(Json(EventPage {
        looked_at: stopped.then_some(most),
        back_to: next.map(|Cursor(id)| rfc3339(id.event.unix_ms())),
        items: rows.into_iter().map(EventItem::from).collect(),
        next_cursor: next.map(to_text),
    }))
}

/// A page of events, newest first.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct EventPage {
    /// May be empty although there is more: a page looks at a bounded number of events.
    pub(super) items: Vec<EventItem>,
    /// The `cursor` of the next page; absent on the last one.
    pub(super) next_cursor: Option<String>,
    /// The events that were looked at, if that is why the page ends: there may be more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) looked_at: Option<u32>,
    /// The time back to which was looked, RFC 3339; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) back_to: Option<String>,
}

/// Show one event with its deliveries and their attempts.
#[utoipa::path(get, path = "/api/v1/events/{id}", tag = "events",
    params(("id" = String, Path, description = "An event id (`evt_…`)")), responses(
    (status = 200, description = "The event", body = EventDetail),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn show_event(
    State(admin): State<Arc<Admin>>,
    sees: Sees,
    Params(NoQuery {}): Params<NoQuery>,
    Id(id): Id<EventId>,
) -> Result<Json<EventDetail>, ProblemJson> {
    let event = admin.store.event(id).await?;
    let config = admin.config.load();
    let source = config.sources.get(&*event.event.attributes.source);
    let form = source.and_then(|source| source.form.as_deref());
    let mut detail = EventDetail::of(event, form, &WaitFacts::of(&admin), sees);
    detail.trace_url = detail.trace_id.as_ref().and_then(|id| config.telemetry.url_of(id));
    Ok(Json(detail))
}

/// The refusal for a name that no plugin has.
pub(super) fn no_plugin<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> ProblemJson {
    let hint = hint(name, known);
    let name: String = name.chars().take(80).collect();
    ProblemJson::not_found(format!("there is no plugin `{name}`{hint}"))
}

pub(super) async fn routed(admin: &Admin, id: EventId) -> Result<Vec<Arc<Target>>, ProblemJson> {
    let event = admin.store.event(id).await?;
    let attributes = &event.event.attributes;
    let facts = Facts::new(attributes, &event.headers, event.event.hops);
    let config = admin.config.load();
    let Routing { deliveries, notes, .. } = config.routes.routing(&facts);
    let targets: Vec<_> = deliveries.into_iter().map(|delivery| delivery.target).collect();
    if targets.is_empty() && !config.routes.targets(&attributes.source, &attributes.kind).is_empty()
    {
        let why = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join("; ")) };
        return Err(ProblemJson::conflict(format!(
            "the routes that match `{}` now have a `when` that does not hold{why}: name the `plugin` that is to get it",
            attributes.kind
        )));
    }
    if targets.is_empty() {
        return Err(ProblemJson::conflict(unrouted(id, attributes, event.note.as_deref())));
    }
    Ok(targets)
}

/// Explains what to do about an event that no route matches.
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
