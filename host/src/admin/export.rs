//! Events as lines of JSON: all that match, and back into a store.
//!
//! A line has the body exactly as it was received: as JSON in `data` if it is JSON on one line, and
//! otherwise in `data_base64`.

use std::io;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use super::body;
use super::by::By;
use super::ndjson::{self, LineSender, NDJSON};
use super::params::{EventQuery, ImportQuery, Params};
use super::problem::ProblemJson;
use super::role::Identity;
use super::sees::Sees;
use super::state::{Admin, end_append};
use crate::clock::rfc3339;
use crate::event::{Attributes, DedupeKey, EventId, NewEvent, name};
use crate::store::{EventFilter, EventView, Page, ReadOne, StoreError};
use crate::trace::SpanContext;

/// Events that are read at once.
const PAGE: usize = 50;

/// The most lines of one import.
const MAX_LINES: usize = 1_000;

/// An event as a line.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = EventLine)]
pub(super) struct LineJson {
    /// Given by the host that stored it.
    id: String,
    /// The source's name, or `plugins/NAME` for an event that a plugin emitted.
    source: String,
    /// The event type.
    #[serde(rename = "type")]
    kind: String,
    /// The subject of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// Arrival, RFC 3339 with milliseconds.
    time: String,
    /// The media type of the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    datacontenttype: Option<String>,
    /// The provider's own id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    provider_id: Option<String>,
    /// The event whose handling emitted this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent_id: Option<String>,
    /// The span that made it, if it was traced, as W3C Trace Context writes it. An import links it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    /// A remark for operators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    /// When its data was deleted, RFC 3339 with milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    erased_at: Option<String>,
    /// Names and values of kept request headers.
    #[serde(default)]
    #[schema(value_type = Vec<Vec<String>>)]
    headers: Vec<(String, String)>,
    /// The body, if it is JSON on one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    data: Option<Box<RawValue>>,
    /// The body in base64 (RFC 4648 §4), if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
    /// Stands for the body if the client's token does not read payloads; an import refuses such a
    /// line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hidden: Option<String>,
    /// Plugin and state of each delivery; an import does not read them.
    #[serde(default)]
    #[schema(value_type = Vec<Vec<String>>)]
    deliveries: Vec<(String, String)>,
}

impl LineJson {
    fn of(view: EventView, sees: Sees) -> Self {
        let Attributes { source, kind, subject, content_type, time_ms, body } =
            view.event.attributes;
        let exact = |json: &RawValue| json.get().as_bytes() == body && !body.contains(&b'\n');
        let data = body::json(&body).filter(|json| sees.payloads() && exact(json));
        let is_other = data.is_none() && sees.payloads();
        let header = |(name, value)| (name, sees.text(value));
        let stand = |row: &crate::store::DeliveryView| {
            (row.plugin.to_string(), row.state.name().to_owned())
        };
        Self {
            id: view.event.id.to_string(),
            source: source.to_string(),
            kind,
            subject,
            time: rfc3339(time_ms),
            datacontenttype: content_type,
            provider_id: view.provider_id,
            parent_id: view.event.parent.map(|parent| parent.to_string()),
            traceparent: view.event.trace.map(SpanContext::traceparent),
            note: view.note,
            erased_at: view.emptied.map(|emptied| rfc3339(emptied.at_ms)),
            headers: view.headers.into_iter().map(header).collect(),
            hidden: sees.hidden(body.len()),
            data_base64: is_other.then(|| STANDARD.encode(&body)),
            data,
            deliveries: view.deliveries.iter().map(stand).collect(),
        }
    }

    /// The event that it is, for people if it is none.
    fn read(self) -> Result<NewEvent, String> {
        let checked = |name: &'static str, text: &str| {
            name::check(text).map_err(|fault| format!("`{name}` {fault}"))
        };
        checked("source", &self.source)?;
        checked("type", &self.kind)?;
        self.subject.as_deref().map_or(Ok(()), |subject| checked("subject", subject))?;
        let time: jiff::Timestamp = self
            .time
            .parse()
            .map_err(|_| format!("`time`: `{}` is no RFC 3339 time", self.time))?;
        let body = match (&self.data, &self.data_base64) {
            (Some(json), None) => json.get().as_bytes().to_vec(),
            (None, Some(text)) => STANDARD
                .decode(text)
                .map_err(|error| format!("`data_base64` is no base64: {error}"))?,
            _ => return Err("it needs one of `data` and `data_base64`".to_owned()),
        };
        Ok(NewEvent {
            dedupe: vec![import_key(&self.id)],
            provider_id: self.provider_id,
            headers: self.headers,
            note: Some(format!("imported: it was {}", self.id)),
            ..NewEvent::from(Attributes {
                source: self.source.into(),
                kind: self.kind,
                subject: self.subject,
                content_type: self.datacontenttype,
                time_ms: time.as_millisecond(),
                body: body.into(),
            })
        })
    }
}

/// The key by which an event is imported once.
fn import_key(id: &str) -> DedupeKey {
    let hash = Sha256::new_with_prefix("hookbox.dedupe.import").chain_update(id).finalize();
    std::array::from_fn(|at| hash[at])
}

/// Export every event that matches, newest first: one JSON object a line.
///
/// `limit` bounds the events of the whole answer; without it there are all. An answer that breaks
/// off is not complete. It breaks off when its client could no longer begin it.
#[utoipa::path(get, path = "/api/v1/events/export", tag = "events", params(EventQuery), responses(
    (status = 200, description = "Events, until there are no more", body = LineJson, content_type = "application/x-ndjson"),
    (status = 503, description = "4 exports are under way", body = ProblemJson, content_type = "application/problem+json"),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn export_events(
    State(admin): State<Arc<Admin>>,
    client: Identity,
    Params(query): Params<EventQuery>,
    headers: HeaderMap,
) -> Result<Response, ProblemJson> {
    let sees = client.sees;
    let (filter, page) = (query.filter(sees)?, query.page()?);
    let most = if query.is_limited() { page.limit } else { usize::MAX };
    let write = move |admin, sender| send_all(admin, sees, (filter, page, most), sender);
    ndjson::answer(admin, (client, headers), write)
}

/// Sends every event that matches, until the client has gone.
async fn send_all(
    admin: Arc<Admin>,
    sees: Sees,
    (filter, mut page, mut left): (EventFilter, Page, usize),
    sender: LineSender,
) -> Result<(), io::Error> {
    loop {
        page.limit = PAGE.min(left);
        let found = admin.store.events(filter.clone(), page).await;
        let (rows, next) = found.map_err(io::Error::other)?;
        left -= rows.len();
        for row in rows {
            // An event that retention has deleted meanwhile is left out.
            let Ok(view) = admin.store.event(row.event.id).await else { continue };
            if !sender.send(&LineJson::of(view, sees)).await? {
                return Ok(());
            }
        }
        if next.is_none() || left == 0 {
            return Ok(());
        }
        page.after = next;
    }
}

/// The result of an import.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Imported {
    /// Events that are stored now.
    imported: u64,
    /// Events that the host had already, or that were imported before.
    duplicates: u64,
    /// Events without data, because it was deleted before the export.
    skipped: u64,
}

/// Import events: lines as `GET /api/v1/events/export` writes them, at most 1000.
///
/// The last line is stored first, because an export begins with the newest event. All are stored
/// or, if a line is wrong, none. Each gets an id of this host, and its note names the
/// one that it had. An event that this host has under the same id, or that was imported before,
/// is a duplicate. They keep source, type, subject, time and body. They go to no plugin, unless
/// `route` is true.
#[utoipa::path(post, path = "/api/v1/events/import", tag = "events", params(ImportQuery),
    request_body(content = String, content_type = "application/x-ndjson", description = "An event a line"),
    responses(
    (status = 200, description = "They are stored", body = Imported),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn import_events(
    State(admin): State<Arc<Admin>>,
    by: By,
    Params(query): Params<ImportQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Imported>, ProblemJson> {
    let config = admin.config.load_full();
    // In base64 a body is longer by a third, and the rest of a line is short beside it.
    let most = config.server.max_body_bytes.saturating_mul(2).max(4 << 20);
    let (lines, skipped) = read_lines(&headers, body, most).await?;
    let is_routed = query.route()?;
    let target = format!("{} events", lines.len());
    let (mut events, mut spans, mut duplicates) = (Vec::new(), Vec::new(), 0);
    for line in lines {
        if line.is_stored(&*admin.store).await? {
            duplicates += 1;
            continue;
        }
        let mut event = line.event;
        if is_routed {
            config.routes.route(&mut event);
        }
        spans.push(admin.append_span(&mut event, line.link));
        events.push(event);
    }
    admin.store.note(by.note("events.import", &target, "")).await?;
    let mut imported = 0;
    // One commit keeps their order, whatever their sources are.
    for (span, made) in spans.into_iter().zip(admin.store.append_all(events).await?) {
        end_append(span, made);
        imported += u64::from(!made.duplicate);
        duplicates += u64::from(made.duplicate);
    }
    tracing::info!(imported, duplicates, "an operator imports events");
    Ok(Json(Imported { imported, duplicates, skipped }))
}

/// An event of an import.
struct ImportedLine {
    event: NewEvent,
    /// The id that it had, if that is one.
    id: Option<EventId>,
    /// The span that made it.
    link: Option<SpanContext>,
}

impl ImportedLine {
    /// Whether the store has the event itself. An id is not enough, because two hosts may give out
    /// the same one; of an event whose data was deleted there is no more to compare.
    async fn is_stored(&self, store: &dyn ReadOne) -> Result<bool, StoreError> {
        let Some(id) = self.id else { return Ok(false) };
        let view = match store.event(id).await {
            Ok(view) => view,
            Err(StoreError::NotFound(_)) => return Ok(false),
            Err(error) => return Err(error),
        };
        let (old, new) = (&view.event.attributes, &self.event.attributes);
        let is_alike =
            old.source == new.source && old.kind == new.kind && old.time_ms == new.time_ms;
        let has_same_data = || old.subject == new.subject && old.body == new.body;
        Ok(is_alike && (view.emptied.is_some() || has_same_data()))
    }
}

/// Reads the events of a body, the last line first, and counts those without data.
async fn read_lines(
    headers: &HeaderMap,
    body: Body,
    most: usize,
) -> Result<(Vec<ImportedLine>, u64), ProblemJson> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = given.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case(NDJSON) {
        let detail = format!("events to import must be `Content-Type: {NDJSON}`, one a line");
        return Err(ProblemJson::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let body = axum::body::to_bytes(body, most).await.map_err(|_| {
        let detail = format!(
            "the body is not readable or longer than {most} bytes: import fewer events at once"
        );
        ProblemJson::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    })?;
    let (mut events, mut skipped) = (Vec::new(), 0);
    for (number, line) in (1..).zip(body.split(|byte| *byte == b'\n')) {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let wrong = |why: String| ProblemJson::bad_request(format!("line {number}: {why}"));
        if events.len() == MAX_LINES {
            return Err(wrong(format!("at most {MAX_LINES} events are imported at once")));
        }
        let line: LineJson = serde_json::from_slice(line)
            .map_err(|error| wrong(format!("it is no event: {error}")))?;
        if line.erased_at.is_some() {
            skipped += 1;
        } else {
            let link = line.traceparent.as_deref().and_then(SpanContext::read);
            let id = line.id.parse().ok();
            events.push(ImportedLine { event: line.read().map_err(wrong)?, id, link });
        }
    }
    // The newest comes first in an export, and last into a store.
    events.reverse();
    Ok((events, skipped))
}
