//! Trials: an event is tried on a plugin, and nothing comes of it.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::body;
use super::params::{BESIDE_BYTES, EventEdit, Id, NoQuery, Params, decoded, json_body};
use super::plugins::known;
use super::problem::ProblemJson;
use super::replay::edited_event;
use super::start::new_event;
use super::state::Admin;
use super::verdict::AgainstJson;
use super::view::attempt::{CallJson, LogJson};
use crate::cloudevents;
use crate::dispatch::{MAX_TRIAL_MS, NotTried, Trial};
use crate::event::{Attributes, DeliveryId, Digest, Event, EventId, NewEvent};
use crate::store::{AttemptView, EventView};

/// The source of an event that is not stored.
const TRIED: &str = "api/try";

/// The plugin and the event to be tried.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Try)]
pub(super) struct TryBody {
    /// A stored event.
    event_id: Option<String>,
    /// Another event, in the JSON format of CloudEvents; only `type` is required.
    #[schema(value_type = Option<serde_json::Value>)]
    event: Option<Box<RawValue>>,
    /// With another body, JSON, taken as it is written here.
    #[schema(value_type = Option<serde_json::Value>)]
    data: Option<Box<RawValue>>,
    /// With another body, in base64 (RFC 4648 §4).
    data_base64: Option<String>,
    /// With another type.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// With another subject; an empty one takes it away.
    subject: Option<String>,
    /// SHA-256 of the file that is to be tried; it must be the one that runs.
    digest: Option<String>,
}

/// The end of a trial.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Trial)]
pub(super) struct TrialJson {
    /// `ok`, `again`, `retry`, `reject`, `trap`, `timeout`, `memory` or `error`.
    pub(super) outcome: &'static str,
    /// Why it failed.
    pub(super) error: Option<String>,
    /// The lines that it logged.
    pub(super) logs: Vec<LogJson>,
    /// The events that it would have emitted.
    pub(super) emitted: Vec<EmittedJson>,
    /// The keys that it would have written, in their order.
    pub(super) kv_writes: Vec<KeyWriteJson>,
    /// The requests that it would have sent: all were refused.
    pub(super) requests: Vec<CallJson>,
    /// The time after which it asks to be called again, in milliseconds.
    pub(super) again_ms: Option<u64>,
    /// How long it took, in milliseconds.
    pub(super) duration_ms: f64,
    /// The time that it computed, in milliseconds.
    pub(super) cpu_ms: f64,
    /// The most memory that it held, in bytes.
    pub(super) memory_bytes: u64,
    /// SHA-256 of the file that was tried.
    pub(super) digest: Option<String>,
    /// The last attempt of the stored event by this plugin; absent if there was none.
    pub(super) against: Option<AgainstJson>,
}

/// An event that a trial would have emitted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EmittedJson {
    /// Its type.
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// Its subject.
    pub(super) subject: Option<String>,
    /// Its body, if it is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub(super) data: Option<Box<RawValue>>,
    /// Its body in base64 (RFC 4648 §4), if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) data_base64: Option<String>,
    /// The plugins that it would have gone to.
    pub(super) plugins: Vec<String>,
}

/// A key that a trial would have written.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeyWriteJson {
    /// The key.
    pub(super) key: String,
    /// Its new value in base64 (RFC 4648 §4); absent if it would be deleted or added to.
    pub(super) value_base64: Option<String>,
    /// The number that would be added to its value.
    pub(super) add: Option<i64>,
}

/// Try an event on a plugin, without effects: keys are read and not written, requests are refused,
/// nothing that it emits is stored. One trial runs at a time, for 8 s at most.
#[utoipa::path(post, path = "/api/v1/plugins/{name}/try", tag = "plugins",
    params(("name" = String, Path, description = "The plugin's name")),
    request_body(content = TryBody, description = "`event_id` or `event`, and what is to be another"),
    responses(
    (status = 200, description = "It was tried", body = TrialJson),
    (status = 409, description = "Nothing of it runs, another file does, or another trial", body = ProblemJson, content_type = "application/problem+json"),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn try_plugin(
    State(admin): State<Arc<Admin>>,
    Params(NoQuery {}): Params<NoQuery>,
    Id(name): Id<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<TrialJson>, ProblemJson> {
    let most = admin.config.load().largest_body_bytes() / 3 * 4 + BESIDE_BYTES;
    let body = to_bytes(body, most).await.map_err(|_| {
        let detail = format!("the body is not readable or longer than {most} bytes");
        ProblemJson::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    })?;
    let asked: TryBody = json_body(&headers, &body)?;
    let digest = asked.digest.as_deref().map(|text| {
        let digest = text.parse::<Digest>();
        digest.map_err(|error| ProblemJson::bad_request(format!("`digest`: {error}")))
    });
    let digest = digest.transpose()?;
    let edit = EventEdit {
        data: match (asked.data, asked.data_base64) {
            (Some(data), None) => Some(data.get().to_owned().into()),
            (None, Some(text)) => Some(decoded(&text)?),
            (None, None) => None,
            (Some(_), Some(_)) => {
                return Err(ProblemJson::bad_request("`data` and `data_base64` are both given"));
            }
        },
        kind: asked.kind,
        subject: asked.subject,
    };
    match (asked.event_id, asked.event) {
        (Some(id), None) => {
            let id: EventId = id
                .parse()
                .map_err(|error| ProblemJson::bad_request(format!("`event_id`: {error}")))?;
            tried(&admin, &name, id, edit, digest).await.map(Json)
        }
        (None, Some(event)) if edit.is_empty() => {
            let document = cloudevents::read_start(event.get().as_bytes())
                .map_err(|why| ProblemJson::bad_request(format!("`event` is no event: {why}")))?;
            run(&admin, &name, new_event(TRIED, document)?, None, digest).await.map(Json)
        }
        _ => Err(ProblemJson::bad_request(
            "give `event_id` of a stored event, with what is to be another, or an `event`",
        )),
    }
}

/// Tries a stored event, as it is or edited.
pub(super) async fn tried(
    admin: &Admin,
    name: &str,
    id: EventId,
    edit: EventEdit,
    digest: Option<Digest>,
) -> Result<TrialJson, ProblemJson> {
    let old = admin.store.event(id).await?;
    let event = edited_event(admin, &old, edit)?;
    run(admin, name, event, Some(&old), digest).await
}

async fn run(
    admin: &Admin,
    name: &str,
    new: NewEvent,
    old: Option<&EventView>,
    digest: Option<Digest>,
) -> Result<TrialJson, ProblemJson> {
    let registry = admin.registry.load_full();
    let (name, _) = known(&registry, name)?;
    let mut attributes = new.attributes;
    let was = old.map(|old| &old.event.attributes);
    attributes.time_ms = time_of(&attributes, was).unwrap_or_else(|| admin.clock.now_ms());
    let id = old.map_or_else(|| EventId::first_at(attributes.time_ms), |old| old.event.id);
    let (parent, root) = old.map_or((None, None), |old| (old.event.parent, old.event.root));
    let event = Event { id, attributes, parent, root, hops: new.hops, trace: None };
    let trial = admin.trials.run(name, Arc::new(event), digest).await;
    let trial = trial.map_err(|why| refusal(name, &why))?;
    Ok(TrialJson::of(trial, old.and_then(|old| last(old, name))))
}

/// The time of what is tried as it is stored, as in a retry.
fn time_of(attributes: &Attributes, was: Option<&Attributes>) -> Option<i64> {
    let parts = |it: &Attributes| (it.kind.clone(), it.subject.clone(), it.body.clone());
    was.filter(|was| parts(was) == parts(attributes)).map(|was| was.time_ms)
}

fn refusal(name: &str, why: &NotTried) -> ProblemJson {
    match why {
        NotTried::Busy => ProblemJson::conflict(format!(
            "another trial runs, for {MAX_TRIAL_MS} ms at most: try again"
        )),
        NotTried::NotLoaded => ProblemJson::conflict(format!(
            "nothing of plugin `{name}` runs: see `hookbox plugins {name}`"
        )),
        NotTried::OtherFile(digest) => ProblemJson::conflict(format!(
            "it is another file of plugin `{name}` that runs, {digest}"
        )),
        NotTried::NoCapacity | NotTried::Stopping => {
            let detail = "there is no permit for a trial now: ask again later";
            ProblemJson::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        }
        NotTried::Fault(panic) => {
            let detail = format!("the trial panicked in the host: {panic}");
            ProblemJson::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
        }
    }
}

/// The last attempt of an event by a plugin.
fn last<'v>(old: &'v EventView, name: &str) -> Option<(DeliveryId, &'v AttemptView)> {
    let of_plugin = old.deliveries.iter().filter(|it| &*it.plugin == name);
    of_plugin.filter_map(|it| Some((it.id, it.attempts.last()?))).next_back()
}

impl TrialJson {
    fn of(trial: Trial, last: Option<(DeliveryId, &AttemptView)>) -> Self {
        let record = trial.record;
        let against = last.map(|before| AgainstJson::of(before, &record));
        let written = trial.writes.into_iter().map(|(key, value)| KeyWriteJson {
            key,
            value_base64: value.map(|value| STANDARD.encode(value)),
            add: None,
        });
        let added = trial.adds.into_iter().map(|(key, add)| KeyWriteJson {
            key,
            value_base64: None,
            add: Some(add),
        });
        Self {
            outcome: record.outcome.name(),
            error: record.error,
            logs: record.logs.into_iter().map(LogJson::from).collect(),
            emitted: trial.emitted.into_iter().map(EmittedJson::from).collect(),
            kv_writes: written.chain(added).collect(),
            requests: record.calls.into_iter().map(CallJson::from).collect(),
            again_ms: trial.again.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
            duration_ms: record.duration_us as f64 / 1e3,
            cpu_ms: record.used.map_or(0.0, |used| used.cpu_us as f64 / 1e3),
            memory_bytes: trial.memory_peak_bytes as u64,
            digest: record.plugin_digest.map(|digest| digest.to_string()),
            against,
        }
    }
}

impl From<NewEvent> for EmittedJson {
    fn from(event: NewEvent) -> Self {
        let raw = &event.attributes.body;
        let data = body::json(raw);
        Self {
            data_base64: data.is_none().then(|| STANDARD.encode(raw)),
            data,
            kind: event.attributes.kind,
            subject: event.attributes.subject,
            plugins: event.deliveries.iter().map(|it| it.target.plugin.to_string()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_tried_as_it_is_stored_has_its_own_time() {
        let was = Attributes {
            source: "acme".into(),
            kind: "order.paid".to_owned(),
            subject: None,
            content_type: None,
            time_ms: 7,
            body: "{}".into(),
        };
        let now = Attributes { time_ms: 9, ..was.clone() };
        assert_eq!(time_of(&now, Some(&was)), Some(7));
        assert_eq!(time_of(&now, None), None);
        let edited = Attributes { subject: Some("order_1".to_owned()), ..now };
        assert_eq!(time_of(&edited, Some(&was)), None);
    }
}
