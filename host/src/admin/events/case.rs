//! A golden test of what an event did: its document, and what an attempt made of it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::admin::params::{CaseQuery, Id, Params};
use crate::admin::problem::ProblemJson;
use crate::admin::sees::Sees;
use crate::admin::state::Admin;
use crate::cloudevents::{self, Extensions};
use crate::event::{AttemptRecord, DEAD, Event, EventId, Outcome};
use crate::store::{DeliveryView, EventView};

/// The most emitted events that a case expects.
const MAX_EMITTED: usize = 100;

/// A case of `hookbox test`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Case)]
pub(in crate::admin) struct CaseJson {
    /// `event.json`: the event as a CloudEvents document.
    #[schema(value_type = serde_json::Value)]
    event: Box<RawValue>,
    /// `expected.json`: the result of the plugin's last attempt.
    expected: ExpectedJson,
}

/// The result that `hookbox test` compares with.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExpectedResult)]
struct ExpectedJson {
    outcome: &'static str,
    /// Why it failed, in the plugin's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Lines that it logged.
    logs: Vec<String>,
    /// Events that it returned; absent if they cannot be told from those of another attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    emitted: Option<Vec<ExpectedEventJson>>,
}

/// An event that a plugin returns.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExpectedEvent)]
struct ExpectedEventJson {
    r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    datacontenttype: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

/// Make a case for `hookbox test` of an event and its last attempt.
#[utoipa::path(get, path = "/api/v1/events/{id}/case", tag = "events",
    params(("id" = String, Path, description = "An event id (`evt_…`)"), CaseQuery), responses(
    (status = 200, description = "The case", body = CaseJson),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(in crate::admin) async fn show_case(
    State(admin): State<Arc<Admin>>,
    sees: Sees,
    Params(query): Params<CaseQuery>,
    Id(id): Id<EventId>,
) -> Result<Json<CaseJson>, ProblemJson> {
    sees.need("a case holds a payload")?;
    let view = admin.store.event(id).await?;
    if let Some(emptied) = view.emptied {
        let why = emptied.reason();
        return Err(ProblemJson::conflict(format!("event `{id}` {why}: there is nothing to test")));
    }
    let (delivery, record) = attempt_of(&view, query.plugin.as_deref())?;
    let is_only = view.deliveries.iter().filter(|it| it.plugin == delivery.plugin).count() == 1;
    let emitted = match record.outcome {
        Outcome::Ok if is_only => emitted(&admin, &view, &delivery.plugin).await?,
        Outcome::Ok => None,
        _ => Some(Vec::new()),
    };
    let said = matches!(record.outcome, Outcome::Retry | Outcome::Reject);
    let expected = ExpectedJson {
        outcome: record.outcome.name(),
        reason: if said { record.error.clone() } else { None },
        logs: record.logs.iter().map(|line| line.message.clone()).collect(),
        emitted,
    };
    Ok(Json(CaseJson { event: document(&view.event)?, expected }))
}

/// The plugin's last delivery of the event with an attempt, and the last attempt.
fn attempt_of<'v>(
    view: &'v EventView,
    plugin: Option<&str>,
) -> Result<(&'v DeliveryView, &'v AttemptRecord), ProblemJson> {
    let mut plugins: Vec<&str> = view.deliveries.iter().map(|it| &*it.plugin).collect();
    plugins.sort_unstable();
    plugins.dedup();
    let plugin = match (plugin, &plugins[..]) {
        (Some(plugin), _) => plugin,
        (None, [only]) => only,
        (None, []) => {
            return Err(ProblemJson::conflict(
                "the event went to no plugin: nothing was made of it",
            ));
        }
        (None, several) => {
            let several = several.join("`, `");
            return Err(ProblemJson::bad_request(format!("`plugin`: name one of `{several}`")));
        }
    };
    let of_it = view.deliveries.iter().filter(|delivery| &*delivery.plugin == plugin);
    let mut tried =
        of_it.filter_map(|delivery| Some((delivery, &delivery.attempts.last()?.record)));
    tried.next_back().ok_or_else(|| {
        ProblemJson::conflict(format!("no attempt of `{plugin}` on this event is recorded"))
    })
}

/// The event as `hookbox run` and `hookbox test` read it.
fn document(event: &Event) -> Result<Box<RawValue>, ProblemJson> {
    let extensions = Extensions { attempt: 1, max_attempts: 1, idempotency_key: "case" };
    let text = String::from_utf8(cloudevents::write(event, extensions)).unwrap_or_default();
    RawValue::from_string(text).map_err(|error| ProblemJson::conflict(error.to_string()))
}

/// The events that a plugin made of it, in their order; `None` if there are too many.
async fn emitted(
    admin: &Admin,
    view: &EventView,
    plugin: &str,
) -> Result<Option<Vec<ExpectedEventJson>>, ProblemJson> {
    let mut found = Vec::new();
    if view.children.len() > MAX_EMITTED {
        return Ok(None);
    }
    for child in &view.children {
        let attributes = admin.store.event(*child).await?.event.attributes;
        let is_of_it = attributes.source.strip_prefix("plugins/") == Some(plugin);
        if !is_of_it || attributes.kind == DEAD {
            continue;
        }
        let data = serde_json::from_slice::<Box<RawValue>>(&attributes.body).ok();
        found.push(ExpectedEventJson {
            data_base64: data.is_none().then(|| STANDARD.encode(&attributes.body)),
            r#type: attributes.kind,
            subject: attributes.subject,
            datacontenttype: attributes.content_type,
            data,
        });
    }
    Ok(Some(found))
}
