//! Starts: events that clients of the API make.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::by::idempotency_key;
use super::params::{NoQuery, Params};
use super::problem::ProblemJson;
use super::role::Identity;
use super::state::{Admin, end_append};
use crate::cloudevents::{self, Document};
use crate::event::name::{self, RESERVED};
use crate::event::{Attributes, DedupeKey, NewEvent, State as DeliveryState};
use crate::series::PairKind;
use crate::store::EventView;
use crate::trace;

/// The source of the events of a client.
fn source(client: &Identity) -> String {
    format!("api/{}", client.name)
}

/// The longest delay that an event may ask for: 366 days.
const MAX_DELAY_MS: u64 = 366 * 24 * 3_600_000;

/// The event that a request has made, or that an earlier one with the same key made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Started {
    /// The event.
    pub(super) event_id: String,
    /// Whether an earlier request with the same `Idempotency-Key` made it, and this one nothing.
    duplicate: bool,
    /// Whether a delivery of it is a dead letter. A repeated start does not try it again.
    dead: bool,
    /// Its deliveries.
    deliveries: Vec<StartedDelivery>,
    /// A sentence about a duplicate or about an event that goes nowhere, and what to do about it.
    detail: Option<String>,
}

/// A delivery of a started event.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StartedDelivery {
    /// Its id.
    id: String,
    /// The plugin that gets the event.
    plugin: String,
    /// Its state.
    state: &'static str,
}

/// Make an event: start what its routes lead to.
///
/// The body is an event in the JSON format of CloudEvents 1.0. Only `type` is required; `id`,
/// `source` and `time` are given by this host. The source is `api/` and the name of the token,
/// `api/local` without one. A request with an
/// `Idempotency-Key` that was used within `store.dedupe_window` makes nothing, and answers with the
/// first event.
#[utoipa::path(post, path = "/api/v1/events", tag = "events",
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters")),
    request_body(content = serde_json::Value, content_type = "application/cloudevents+json",
        description = "An event; `application/json` is accepted as well"),
    responses(
    (status = 202, description = "The event is stored", body = Started),
    (status = 200, description = "An earlier request with this key has made it", body = Started),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn start_event(
    State(admin): State<Arc<Admin>>,
    client: Identity,
    Params(NoQuery {}): Params<NoQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Started>), ProblemJson> {
    let source = source(&client);
    let key = dedupe_key(&source, &headers)?;
    let config = admin.config.load_full();
    let document = document(&headers, body, config.server.max_body_bytes).await?;
    let mut event = new_event(&source, document)?;
    event.attributes.time_ms = admin.clock.now_ms();
    event.dedupe.extend(key);
    config.routes.route(&mut event);
    let pair = admin.series.pairs().of(PairKind::Received, &source, &event.attributes.kind);
    let span = admin.append_span(&mut event, trace::senders_span(&headers));
    let appended = admin.store.append(event).await?;
    end_append(span, appended);
    let status = if appended.duplicate { StatusCode::OK } else { StatusCode::ACCEPTED };
    if !appended.duplicate {
        pair.count(false);
        tracing::info!(event.id = %appended.id, "a client of the API makes an event");
    }
    let event = admin.store.event(appended.id).await?;
    Ok((status, Json(Started::of(&event, appended.duplicate))))
}

impl Started {
    fn of(event: &EventView, duplicate: bool) -> Self {
        let dead = event.deliveries.iter().find(|it| it.state == DeliveryState::Dead);
        let kind = &event.event.attributes.kind;
        let detail = match (duplicate, dead) {
            (true, Some(dead)) => Some(format!(
                "an earlier request with this key made the event, and a delivery of it is a dead letter: `hookbox \
                 deliveries retry {}` tries it again; another key makes another event",
                dead.id
            )),
            (true, None) => Some("an earlier request with this key made the event".to_owned()),
            (false, _) if event.deliveries.is_empty() => Some(format!(
                "no route takes `{kind}` from `{}` now",
                event.event.attributes.source
            )),
            (false, _) => None,
        };
        let delivery = |it: &crate::store::DeliveryView| StartedDelivery {
            id: it.id.to_string(),
            plugin: it.plugin.to_string(),
            state: it.state.name(),
        };
        Self {
            event_id: event.event.id.to_string(),
            duplicate,
            dead: dead.is_some(),
            deliveries: event.deliveries.iter().map(delivery).collect(),
            detail,
        }
    }
}

/// Reads the event in the body.
async fn document(
    headers: &HeaderMap,
    body: Body,
    max_bytes: usize,
) -> Result<Document, ProblemJson> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = given.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let wanted = [cloudevents::MEDIA_TYPE, "application/json"];
    if !wanted.iter().any(|wanted| essence.eq_ignore_ascii_case(wanted)) {
        let detail = format!(
            "an event must be `Content-Type: {}` or `application/json`, one event a request",
            cloudevents::MEDIA_TYPE
        );
        return Err(ProblemJson::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let body = axum::body::to_bytes(body, max_bytes).await.map_err(|_| {
        let detail = format!(
            "the body is not readable or longer than {max_bytes} bytes (`server.max_body`)"
        );
        ProblemJson::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    })?;
    cloudevents::read_start(&body).map_err(|why| {
        ProblemJson::bad_request(format!(
            "the body is no event: {why}; the least is {{\"type\": \"order.paid\"}}"
        ))
    })
}

/// The event of a document from this source, without its way.
pub(super) fn new_event(source: &str, document: Document) -> Result<NewEvent, ProblemJson> {
    let Document { kind, subject, content_type, data, delay_ms, .. } = document;
    let refuse = |what: String| Err(ProblemJson::bad_request(what));
    if let Err(fault) = name::check(&kind) {
        return refuse(format!("`type` {fault}"));
    }
    if kind.starts_with(RESERVED) {
        return refuse(format!(
            "`type` begins with `{RESERVED}`: such types are the host's own, write another one"
        ));
    }
    if let Some(Err(fault)) = subject.as_deref().map(name::check) {
        return refuse(format!("`subject` {fault}"));
    }
    if delay_ms.is_some_and(|delay_ms| delay_ms > MAX_DELAY_MS) {
        return refuse(format!("`delayms` is more than {MAX_DELAY_MS} (366 days)"));
    }
    Ok(NewEvent {
        delay_ms: delay_ms.unwrap_or(0),
        ..NewEvent::from(Attributes {
            source: source.into(),
            kind,
            subject,
            content_type,
            time_ms: 0,
            body: data.into(),
        })
    })
}

/// The dedupe key of the request's `Idempotency-Key`, if it has one.
fn dedupe_key(source: &str, headers: &HeaderMap) -> Result<Option<DedupeKey>, ProblemJson> {
    let Some(text) = idempotency_key(headers)? else { return Ok(None) };
    let hash = Sha256::new_with_prefix("hookbox.dedupe.start")
        .chain_update((source.len() as u64).to_le_bytes())
        .chain_update(source)
        .chain_update(text)
        .finalize();
    Ok(Some(std::array::from_fn(|at| hash[at])))
}
