//! The nouns of the road: event, delivery, attempt, and the identifiers people see.

use std::sync::Arc;

use bytes::Bytes;

mod attempt;
mod creation;
mod delivery;
mod failure;
pub mod form;
mod gathering;
mod ids;
mod key;
pub mod name;

pub use crate::names::PluginName;
pub use attempt::{
    AttemptRecord, Digest, GuestUse, HttpCall, LogLine, NotADigest, Outcome, StepUse,
};
pub use creation::{AppendSpan, CreationSpan};
pub use delivery::{NewDelivery, State, Target, TargetOptions};
pub use failure::{FailureId, NotAFailure, OTHER, failure_text};
pub use gathering::{Counted, GatheringKind, GatheringTerms, MAX_MEMBERS, NewMember, Why};
pub use ids::{BadId, DeliveryId, EventId};
pub use key::{Key, KeyPolicy, KeySource};
pub use name::MAX_NAME_BYTES;

use crate::names::SourceName;
use crate::trace::SpanContext;

/// The type an authentic request gets whose type cannot be read.
pub const UNIDENTIFIED: &str = "hookbox.unidentified";

/// The type of an event that tells of a dead letter.
pub const DEAD: &str = "hookbox.dead";

/// The plugin of the host itself that tells of dead letters which the store has made.
pub const DEAD_LETTERS: &str = "hookbox/dead-letters";

/// A key under which a repeated request is recognised: the first 16 bytes of a SHA-256 (see
/// `ingest::identify`).
pub type DedupeKey = [u8; 16];

/// A key over the body alone, as hosts before schema version 5 took it. It may be that of another
/// event with an equal body: only an event of the same type is the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegacyKey {
    /// The key that such a host made.
    pub key: DedupeKey,
    /// A kept header, in lower case, whose value must be the same too: that of the time of sending.
    pub header: Option<String>,
}

/// An event that is not stored yet: what a verified request or a plugin's answer becomes.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// CloudEvents attributes and body.
    pub attributes: Attributes,
    /// The provider's own id of the delivery, if it sent one.
    pub provider_id: Option<String>,
    /// A repeated key within the dedupe window makes this a duplicate; empty for emitted events.
    pub dedupe: Vec<DedupeKey>,
    /// The key of a token that is good for one event: one of the keys above. Even a duplicate takes
    /// it, for the event that it repeats.
    pub spends: Option<DedupeKey>,
    /// Makes a duplicate as well, and is never taken; only while
    /// [`Queue::has_legacy_keys`](crate::store::Queue).
    pub legacy_key: Option<LegacyKey>,
    /// Request headers kept by allow-list, names in lower case.
    pub headers: Vec<(String, String)>,
    /// A remark for operators, such as a stale timestamp or a body that did not parse.
    pub note: Option<String>,
    /// The position of the key of its source that signed it; `None` if nothing was checked.
    pub signed_by: Option<u32>,
    /// The event that it was made of, if an operator has edited one.
    pub edited: Option<EditedFrom>,
    /// The event whose handling emitted this one.
    pub parent: Option<EventId>,
    /// Number of plugins an event has passed since it came in from outside; 0 for a request.
    pub hops: u32,
    /// Its deliveries, each to another plugin.
    pub deliveries: Vec<NewDelivery>,
    /// Cancels the open deliveries of events with the same subject that have one of these tags
    /// ([`TargetOptions::cancel_tag`]).
    pub cancels: Vec<i64>,
    /// The gatherings that it is a member of.
    pub members: Vec<NewMember>,
    /// Deliveries are not due before this many milliseconds from now.
    pub delay_ms: u64,
    /// The span that makes it, if it is traced.
    pub trace: Option<Arc<CreationSpan>>,
}

/// The origin of an event that an operator has made of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EditedFrom {
    /// The event that was edited. It may be deleted.
    pub event: EventId,
    /// The name of the operator who edited it.
    pub by: String,
}

impl From<Attributes> for NewEvent {
    /// An event from outside that goes nowhere, with nothing but its attributes.
    fn from(attributes: Attributes) -> Self {
        Self {
            attributes,
            provider_id: None,
            dedupe: Vec::new(),
            spends: None,
            legacy_key: None,
            headers: Vec::new(),
            note: None,
            signed_by: None,
            edited: None,
            parent: None,
            hops: 0,
            deliveries: Vec::new(),
            cancels: Vec::new(),
            members: Vec::new(),
            delay_ms: 0,
            trace: None,
        }
    }
}

/// The attributes of an event in the sense of CloudEvents 1.0, and its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// The source; `plugins/NAME` for an emitted event.
    pub source: SourceName,
    /// The event type, for example `avatar_video.success`.
    pub kind: String,
    /// The subject of the event: the correlation key.
    pub subject: Option<String>,
    /// The media type of `body`.
    pub content_type: Option<String>,
    /// Arrival, Unix milliseconds.
    pub time_ms: i64,
    /// Byte for byte as it came.
    pub body: Bytes,
}

/// A stored event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Given by the store.
    pub id: EventId,
    /// CloudEvents attributes and body.
    pub attributes: Attributes,
    /// The event whose handling emitted this one.
    pub parent: Option<EventId>,
    /// The event from outside that everything in this one's tree descends from; absent for such an
    /// event itself.
    pub root: Option<EventId>,
    /// Number of plugins it has passed.
    pub hops: u32,
    /// The span that made it, if it was traced. Listings do not have it.
    pub trace: Option<SpanContext>,
}

impl Event {
    /// The root of the tree that this event belongs to: itself, if it came from outside.
    pub fn tree(&self) -> EventId {
        self.root.unwrap_or(self.id)
    }
}
