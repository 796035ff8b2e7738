//! The shapes an operator sees. Their documentation is that of the OpenAPI document.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use self::attempt::{AttemptJson, RecordedStepJson, left_no_record};
pub(super) use self::stats::{CountsJson, StatsJson};
use super::body;
use super::sees::Sees;
use super::verdict::AgainstJson;
use super::waits::{WaitFacts, WaitJson};
use crate::clock::rfc3339;
use crate::event::{Event, State};
use crate::store::{DeliveryView, Emptied, EventSummary, EventView};

pub(in crate::admin) mod attempt;
mod stats;

/// A page of a listing, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Listing<T: ToSchema> {
    /// May be empty although there is more: a page looks at a bounded number of rows.
    pub(super) items: Vec<T>,
    /// The `cursor` of the next page; absent on the last one.
    pub(super) next_cursor: Option<String>,
}

/// The CloudEvents 1.0 attributes of an event, and where it stands in its tree.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Attributes)]
pub(super) struct AttributesJson {
    /// Given by this host; the same in every attempt.
    pub(super) id: String,
    /// The source's name, or `plugins/NAME` for an event that a plugin emitted.
    pub(super) source: String,
    /// The event type.
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// The subject of the event.
    pub(super) subject: Option<String>,
    /// Arrival, RFC 3339 with milliseconds.
    pub(super) time: String,
    /// The media type of the data.
    pub(super) datacontenttype: Option<String>,
    /// The event whose handling emitted this one.
    pub(super) parent_id: Option<String>,
    /// The event from outside that it descends from: itself, if it came from there.
    pub(super) root_id: String,
    /// Number of plugins it has passed since it came in from outside.
    pub(super) hops: u32,
    /// The provider's own id.
    pub(super) provider_id: Option<String>,
    /// A remark for operators, such as a stale timestamp or a body that did not parse.
    pub(super) note: Option<String>,
    /// When its data was deleted, RFC 3339 with milliseconds.
    pub(super) erased_at: Option<String>,
    /// Why its data was deleted: `request` or `payload_retention`.
    pub(super) erased_by: Option<&'static str>,
    /// Length of the data in bytes.
    pub(super) data_bytes: u64,
}

/// An event in a listing.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventItem {
    #[serde(flatten)]
    pub(super) attributes: AttributesJson,
    /// The state of each delivery; empty for an event that no route matched.
    pub(super) deliveries: Vec<DeliveryState>,
}

/// The state of a delivery, in a listing of events.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeliveryState {
    /// The plugin that handles it.
    pub(super) plugin: String,
    /// `ready`, `leased`, `waiting`, `done`, `dead`, `cancelled` or `discarded`.
    pub(super) state: &'static str,
}

/// One event, whole.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventDetail {
    #[serde(flatten)]
    pub(super) attributes: AttributesJson,
    /// The body as it came, if it is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub(super) data: Option<Box<RawValue>>,
    /// The body in base64 (RFC 4648 §4), if it is not JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
    /// The JSON that the body wraps, if it is a form and `form` of its source names the field. The
    /// source looks there for its attributes; plugins get the body as it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub(super) form_data: Option<Box<RawValue>>,
    /// Stands for the body if the client's token does not read payloads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hidden: Option<String>,
    /// How it was verified; absent for events that nobody signed, and for those that
    /// earlier versions stored.
    pub(super) verified: Option<VerifiedJson>,
    /// Request headers that were kept.
    pub(super) headers: Vec<HeaderJson>,
    /// Requests that were acknowledged as duplicates of it.
    pub(super) duplicates: u64,
    /// When the last of them arrived, RFC 3339 with milliseconds.
    pub(super) last_duplicate_at: Option<String>,
    /// One for each plugin it was routed or replayed to.
    pub(super) deliveries: Vec<DeliveryJson>,
    /// Ids of the events that its handling emitted, at most 1000.
    pub(super) children: Vec<String>,
    /// The event that an operator edited to make this one.
    pub(super) replay_of: Option<String>,
    /// The operator.
    pub(super) edited_by: Option<String>,
    /// Ids of the events that operators made of this one, at most 1000.
    pub(super) replays: Vec<String>,
    /// The trace in which it was made, if it was traced: 32 hex digits.
    pub(super) trace_id: Option<String>,
    /// The page of that trace, if `telemetry.trace_url` says where it is.
    pub(super) trace_url: Option<String>,
}

/// How a request was verified.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Verified)]
pub(super) struct VerifiedJson {
    /// The position of the key that signed it, from 0, in `secrets` of its source as it was
    /// configured then; the label `key` of `hookbox_ingest_signatures_total`.
    pub(super) key: u32,
}

/// A request header.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Header)]
pub(super) struct HeaderJson {
    /// In lower case.
    pub(super) name: String,
    /// As received.
    pub(super) value: String,
}

/// One event for one plugin.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Delivery)]
pub(super) struct DeliveryJson {
    /// Identifies the delivery, and is the idempotency key of its attempts.
    pub(super) id: String,
    /// Its event.
    pub(super) event_id: String,
    /// The plugin that handles it.
    pub(super) plugin: String,
    /// Type of its event.
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// Source of its event.
    pub(super) source: String,
    /// Subject of its event.
    pub(super) subject: Option<String>,
    /// `ready`, `leased`, `waiting`, `done`, `dead`, `cancelled` or `discarded`.
    pub(super) state: &'static str,
    /// When it is due, for `ready` and `waiting`; RFC 3339 with milliseconds.
    pub(super) due_at: Option<String>,
    /// The reason why it waits, if it is open.
    pub(super) waits_for: Option<WaitJson>,
    /// Its key, if its plugin's deliveries are ordered by one.
    pub(super) key: Option<String>,
    /// Attempts begun.
    pub(super) attempt: u32,
    /// How often its handler has asked to be called again since it began or was last retried.
    pub(super) again: u32,
    /// Whether an operator's replay created it.
    pub(super) replay: bool,
    /// Whether it is cancelled and ends with the running attempt; `state` is `leased` until then.
    pub(super) cancelling: bool,
    /// Attempts that were spent and left no record, because the plugin failed faster than records
    /// are kept.
    pub(super) unrecorded: u32,
    /// The last attempt beside the one before somebody retried or replayed: whether that has
    /// helped. Absent in listings, and before there is such an attempt.
    pub(super) against: Option<AgainstJson>,
    /// The group of its last attempt, if that failed and has a record: see `/api/v1/failures`.
    pub(super) failure: Option<String>,
    /// A sentence about them, if there are any.
    pub(super) note: Option<String>,
    /// Steps that it has recorded, by name; none in listings.
    pub(super) steps: Vec<RecordedStepJson>,
    /// Oldest first; in listings only the last one.
    pub(super) attempts: Vec<AttemptJson>,
}

impl AttributesJson {
    fn of(
        event: &Event,
        provider_id: Option<String>,
        note: Option<String>,
        emptied: Option<Emptied>,
        data_bytes: u64,
    ) -> Self {
        let attributes = &event.attributes;
        Self {
            id: event.id.to_string(),
            source: attributes.source.to_string(),
            kind: attributes.kind.clone(),
            subject: attributes.subject.clone(),
            time: rfc3339(attributes.time_ms),
            datacontenttype: attributes.content_type.clone(),
            parent_id: event.parent.map(|parent| parent.to_string()),
            root_id: event.tree().to_string(),
            hops: event.hops,
            provider_id,
            note,
            erased_at: emptied.map(|emptied| rfc3339(emptied.at_ms)),
            erased_by: emptied.map(|it| if it.asked { "request" } else { "payload_retention" }),
            data_bytes,
        }
    }
}

impl From<EventSummary> for EventItem {
    fn from(row: EventSummary) -> Self {
        let EventSummary { event, provider_id, note, emptied, body_bytes, deliveries } = row;
        let stand = |(plugin, state): (crate::event::PluginName, State)| DeliveryState {
            plugin: plugin.to_string(),
            state: state.name(),
        };
        Self {
            attributes: AttributesJson::of(&event, provider_id, note, emptied, body_bytes),
            deliveries: deliveries.into_iter().map(stand).collect(),
        }
    }
}

impl EventItem {
    /// One event that was read whole.
    pub(super) fn one(row: EventView) -> Self {
        let body_bytes = row.event.attributes.body.len() as u64;
        let deliveries = row.deliveries.iter().map(|it| (it.plugin.clone(), it.state)).collect();
        let EventView { event, provider_id, note, emptied, .. } = row;
        Self::from(EventSummary { event, provider_id, note, emptied, body_bytes, deliveries })
    }
}

impl EventDetail {
    /// `wrapped_in` is the field of a form in which the event's source finds JSON.
    pub(super) fn of(
        row: EventView,
        wrapped_in: Option<&str>,
        facts: &WaitFacts,
        sees: Sees,
    ) -> Self {
        let EventView {
            event,
            provider_id,
            note,
            signed_by,
            emptied,
            headers,
            duplicates,
            last_duplicate_ms,
            deliveries,
            children,
            edited,
            replays,
        } = row;
        let raw = &event.attributes.body;
        let hidden = sees.hidden(raw.len());
        let data = if sees.payloads() { body::json(raw) } else { None };
        let wrapped_in = if sees.payloads() { wrapped_in } else { None };
        let header = |(name, value)| HeaderJson { name, value: sees.text(value) };
        Self {
            trace_id: event.trace.map(|span| span.trace.to_string()),
            trace_url: None,
            form_data: wrapped_in.and_then(|field| body::wrapped(&event.attributes, field)),
            attributes: AttributesJson::of(&event, provider_id, note, emptied, raw.len() as u64),
            data_base64: (data.is_none() && sees.payloads()).then(|| STANDARD.encode(raw)),
            data,
            hidden,
            verified: signed_by.map(|key| VerifiedJson { key }),
            headers: headers.into_iter().map(header).collect(),
            duplicates,
            last_duplicate_at: last_duplicate_ms.map(rfc3339),
            deliveries: facts.deliveries(deliveries, sees),
            children: children.iter().map(ToString::to_string).collect(),
            replay_of: edited.as_ref().map(|edited| edited.event.to_string()),
            edited_by: edited.map(|edited| edited.by),
            replays: replays.iter().map(ToString::to_string).collect(),
        }
    }
}

/// `cancelled` for the attempt that ran when its delivery was cancelled.
pub(super) fn cut_off(number: u32, cut_off: Option<u32>) -> Option<&'static str> {
    (cut_off == Some(number)).then_some("cancelled")
}

impl DeliveryJson {
    /// Whether it waits for its next attempt.
    pub(super) fn waits(&self) -> bool {
        self.state == State::Waiting.name()
    }

    pub(super) fn of(row: DeliveryView, waits_for: Option<WaitJson>, sees: Sees) -> Self {
        let cut_off = row.attempt_cut_off();
        let against = AgainstJson::of_last(&row, &[]);
        let attempt = |row| AttemptJson::of(row, cut_off, sees);
        Self {
            waits_for,
            id: row.id.to_string(),
            event_id: row.id.event.to_string(),
            plugin: row.plugin.to_string(),
            kind: row.kind,
            source: row.source,
            subject: row.subject,
            state: row.state.name(),
            due_at: row.due_ms.map(rfc3339),
            attempt: row.attempt,
            again: row.again,
            replay: row.replay,
            cancelling: row.cancelling,
            unrecorded: row.unrecorded,
            against,
            failure: row.failure.map(|failure| failure.to_string()),
            note: left_no_record(row.unrecorded),
            steps: row.steps.into_iter().map(RecordedStepJson::from).collect(),
            attempts: row.attempts.into_iter().map(attempt).collect(),
            key: row.key,
        }
    }
}

impl WaitFacts {
    /// The deliveries of an event as they are shown to a client.
    pub(super) fn deliveries(&self, rows: Vec<DeliveryView>, sees: Sees) -> Vec<DeliveryJson> {
        let against: Vec<_> = rows.iter().map(|row| AgainstJson::of_last(row, &rows)).collect();
        let shown = rows.into_iter().zip(against);
        shown.map(|(row, against)| DeliveryJson { against, ..self.delivery(row, sees) }).collect()
    }

    /// A delivery as it is shown to a client.
    pub(super) fn delivery(&self, mut row: DeliveryView, sees: Sees) -> DeliveryJson {
        self.hide_keys(&mut row, sees);
        let waits_for = self.waits_for(&row);
        DeliveryJson::of(row, waits_for, sees)
    }
}
