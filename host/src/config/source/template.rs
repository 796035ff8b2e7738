//! A source without its name and keys: what a preset and a section of the file are read into.

use std::collections::BTreeMap;

use super::dedupe::{Dedupe, DedupeBy, Placeholder};
use super::handshake::HandshakeRule;
use super::param::ParamText;
use super::pick::{EventTypes, Pick};
use super::replies::Replies;
use super::signature::Signature;

/// A source without its name and keys. A preset is nothing but a value of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceTemplate {
    /// The rule by which requests are authentic, and the rules beside it.
    pub signature: Signature,
    /// See [`Source::handshakes`](super::Source::handshakes).
    pub handshakes: Vec<HandshakeRule>,
    /// See [`Source::replies`](super::Source::replies).
    pub replies: Replies,
    /// The values of [`Part::Param`](super::Part::Param).
    pub params: BTreeMap<String, ParamText>,
    /// The way from the text of a secret to a key.
    pub key: KeyFormat,
    /// See [`Source::kind`](super::Source::kind); `None` if the user has to say it.
    pub kind: Option<Pick>,
    /// See [`Source::id`](super::Source::id).
    pub id: Option<Pick>,
    /// See [`Dedupe::keys`]; `None` for the keys that suit the rest.
    pub dedupe: Option<Vec<DedupeBy>>,
    /// See [`Dedupe::bodies_repeat`].
    pub bodies_repeat: bool,
    /// See [`Dedupe::placeholder`].
    pub placeholder: Option<Placeholder>,
    /// See [`Source::subject`](super::Source::subject).
    pub subject: Option<Pick>,
    /// See [`Source::max_body_bytes`](super::Source::max_body_bytes).
    pub max_body_bytes: Option<usize>,
    /// See [`Source::form`](super::Source::form).
    pub form: Option<String>,
    /// See [`Source::split`](super::Source::split).
    pub split: Option<String>,
    /// See [`Source::cloudevents`](super::Source::cloudevents).
    pub cloudevents: bool,
    /// See [`Source::origins`](super::Source::origins).
    pub origins: Vec<String>,
    /// See [`Source::types`](super::Source::types).
    pub types: EventTypes,
    /// See [`Source::trust_traceparent`](super::Source::trust_traceparent).
    pub trust_traceparent: bool,
}

impl Default for SourceTemplate {
    /// HMAC-SHA256 in hex over the body; header and type are still to be named.
    fn default() -> Self {
        Self {
            signature: Signature::default(),
            handshakes: Vec::new(),
            replies: Replies::default(),
            params: BTreeMap::new(),
            key: KeyFormat { prefix: String::new(), encoding: KeyEncoding::Utf8 },
            kind: None,
            id: None,
            dedupe: None,
            bodies_repeat: false,
            placeholder: None,
            subject: None,
            max_body_bytes: None,
            form: None,
            split: None,
            cloudevents: false,
            origins: Vec::new(),
            types: EventTypes::Any,
            trust_traceparent: false,
        }
    }
}

impl SourceTemplate {
    /// The rules, with the values of the parameters in them.
    pub fn rules(&self) -> Signature {
        self.signature.clone().filled(&self.params)
    }

    /// Whether something depends on the address of the host: what is signed, or an answer.
    pub fn uses_url(&self) -> bool {
        self.signature.needs_url() || self.handshakes.iter().any(HandshakeRule::uses_url)
    }

    /// The keys of repeated requests that the template names, or the default ones of a source that
    /// is verified by it, or not at all.
    pub fn dedupe(&self, is_verified: bool) -> Dedupe {
        let (placeholder, bodies_repeat) = (self.placeholder.clone(), self.bodies_repeat);
        let is_default = self.dedupe.is_none();
        let keys = self.dedupe.clone().unwrap_or_else(|| self.default_keys(is_verified));
        Dedupe { keys, is_default, bodies_repeat, placeholder }
    }

    /// Whether the attributes of a CloudEvent in headers are covered by no signature, although the
    /// body is.
    pub fn leaves_attributes_open(&self) -> bool {
        self.cloudevents && self.signature.leaves_attributes_open()
    }

    /// Two different events must never count as one. So the body alone is a key only where the
    /// signature covers nothing else: there a captured request could be sent again for ever.
    fn default_keys(&self, is_verified: bool) -> Vec<DedupeBy> {
        let mut keys = if self.id.is_some() {
            vec![DedupeBy::Id]
        } else if !is_verified {
            Vec::new()
        } else if self.signature.signs_time_of_header() {
            vec![DedupeBy::TimestampAndBody]
        } else {
            vec![DedupeBy::Body]
        };
        if is_verified && self.signature.leaves_bytes_open() {
            keys.push(DedupeBy::Signed);
        }
        keys
    }
}

/// The way from the text of a secret, as a provider shows it, to the bytes of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFormat {
    /// Taken away from the front if it is there; possibly nothing.
    pub prefix: String,
    /// The encoding of the rest.
    pub encoding: KeyEncoding,
}

/// The encoding of a key in the text of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyEncoding {
    /// The key itself.
    Utf8,
    /// The key in base64, RFC 4648 §4, padded or not.
    Base64,
    /// The key in hex digits.
    Hex,
    /// The key is the SHA-1 of the text.
    Sha1,
}
