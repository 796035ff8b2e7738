//! A source: how its requests are verified, and where the attributes of its events are found.

use std::collections::BTreeMap;
use std::sync::Arc;

mod callback;
mod dedupe;
mod encoding;
mod handshake;
mod key_pair;
mod param;
mod pick;
mod place;
mod provider;
mod public_key;
mod replies;
mod rules;
mod shown;
mod signature;
mod template;

pub use callback::{CallbackRule, KnownKey};
pub use dedupe::{Dedupe, DedupeBy, Placeholder};
pub use encoding::Encoding;
pub use handshake::{AnswerPart, AnswerRule, AnswerValue, HandshakeMethod, HandshakeRule, ThenGet};
pub use key_pair::KeyPair;
pub use param::ParamText;
pub use pick::{EventTypes, Joined, Pick};
pub use place::{
    BodyHash, JwtAlgorithm, JwtRule, KeyAddress, KeyDocument, KeyFrom, Place, ValueCondition,
};
pub use provider::{ApiKey, ProviderSettings};
pub use public_key::{PublicKey, PublicKeyKind};
pub use replies::{FixedReply, Replies};
pub use signature::{
    Field, Part, SecretPlace, Secrets, Signature, SignatureScheme, Stale, TimeFormat, Timestamp,
    Verify,
};
pub use template::{KeyEncoding, KeyFormat, SourceTemplate};

/// One provider connection: `[sources.NAME]`, served at `POST /webhook/NAME`.
#[derive(Debug, Clone)]
pub struct Source {
    /// The section's name.
    pub name: Arc<str>,
    /// `preset = "…"`, if one was named.
    pub preset: Option<String>,
    /// The authentication of requests.
    pub verify: Verify,
    /// The secrets of its rules. Where these have public keys, the pair that the host made or what
    /// is missing; [`Secrets::Set`] without any if public keys are set, or there is no rule.
    pub secrets: Secrets,
    /// The places of its secrets, in the order of the configuration.
    pub secret_places: Vec<SecretPlace>,
    /// The place of the event type in a request.
    pub kind: Pick,
    /// The place of the provider's id of the delivery.
    pub id: Option<Pick>,
    /// The rule by which a request is a duplicate.
    pub dedupe: Dedupe,
    /// The place of the correlation key.
    pub subject: Option<Pick>,
    /// The largest request body that is read, in bytes; `None` if `server.max_body` says it.
    pub max_body_bytes: Option<usize>,
    /// The field of a form that holds the JSON, for requests whose media type says that they are
    /// forms.
    pub form: Option<String>,
    /// An RFC 6901 pointer to the list in the JSON body whose items are the events; empty for the
    /// body itself. `None` if a request is one event.
    pub split: Option<String>,
    /// Whether its requests are CloudEvents, which say type, id and subject themselves.
    pub cloudevents: bool,
    /// The origins that may send, by the abuse protection of CloudEvents; `*` is any.
    pub origins: Vec<String>,
    /// The known types of its events.
    pub types: EventTypes,
    /// Whether the span that a sender names in `traceparent` is the parent of its request's span,
    /// and not only linked to it.
    pub trust_traceparent: bool,
    /// Requests that are answered and not stored.
    pub handshakes: Vec<HandshakeRule>,
    /// Its replies.
    pub replies: Replies,
    /// Values that an operator knows of the registration.
    pub params: BTreeMap<String, ParamText>,
    /// Its provider's API, and what is registered there.
    pub provider: ProviderSettings,
}

impl Source {
    /// Whether a token that says nothing of the body is good for one event.
    pub fn takes_tokens_once(&self) -> bool {
        let Verify::Signature(signature) = &self.verify else { return false };
        let spends = |rule: &Signature| rule.is_bare_token() && self.dedupe.goes_by_signed(rule);
        signature.all().any(spends)
    }

    /// The events of one request, in words.
    pub fn events_of_a_request(&self) -> String {
        match self.split.as_deref() {
            _ if self.cloudevents => "CloudEvents".to_owned(),
            None => "the request".to_owned(),
            Some("") => "the items of the body".to_owned(),
            Some(list) => format!("the items of {list}"),
        }
    }
}
