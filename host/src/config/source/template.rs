//! A source without its name and keys: what a preset and a section of the file are read into.

use super::dedupe::{Dedupe, DedupeBy, Placeholder};
use super::pick::{EventTypes, Pick};
use super::signature::{
    Encoding, Field, Part, PublicKey, Secrets, Signature, SignatureScheme, Timestamp,
};

/// A source without its name and keys. A preset is nothing but a value of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceTemplate {
    /// See [`Signature::scheme`].
    pub scheme: SignatureScheme,
    /// See [`Signature::signatures`].
    pub signatures: Vec<Field>,
    /// See [`Signature::encoding`].
    pub encoding: Encoding,
    /// See [`Signature::signed`].
    pub signed: Vec<Part>,
    /// See [`Signature::public_url`].
    pub public_url: Option<String>,
    /// See [`Signature::timestamp`].
    pub timestamp: Option<Timestamp>,
    /// See [`Signature::public_keys`].
    pub public_keys: Vec<PublicKey>,
    /// The way from the text of a secret to a key.
    pub key: KeyFormat,
    /// See [`Source::kind`](super::Source::kind); `None` if the user has to say it.
    pub kind: Option<Pick>,
    /// See [`Source::id`](super::Source::id).
    pub id: Option<Pick>,
    /// See [`Dedupe::keys`]; `None` for the keys that suit the rest.
    pub dedupe: Option<Vec<DedupeBy>>,
    /// See [`Dedupe::placeholder`].
    pub placeholder: Option<Placeholder>,
    /// See [`Source::subject`](super::Source::subject).
    pub subject: Option<Pick>,
    /// See [`Source::max_body_bytes`](super::Source::max_body_bytes).
    pub max_body_bytes: Option<usize>,
    /// See [`Source::form`](super::Source::form).
    pub form: Option<String>,
    /// See [`Source::types`](super::Source::types).
    pub types: EventTypes,
    /// See [`Source::trust_traceparent`](super::Source::trust_traceparent).
    pub trust_traceparent: bool,
}

impl Default for SourceTemplate {
    /// HMAC-SHA256 in hex over the body; header and type are still to be named.
    fn default() -> Self {
        Self {
            scheme: SignatureScheme::HmacSha256,
            signatures: Vec::new(),
            encoding: Encoding::Hex,
            signed: vec![Part::Body],
            public_url: None,
            timestamp: None,
            public_keys: Vec::new(),
            key: KeyFormat { prefix: String::new(), encoding: KeyEncoding::Utf8 },
            kind: None,
            id: None,
            dedupe: None,
            placeholder: None,
            subject: None,
            max_body_bytes: None,
            form: None,
            types: EventTypes::Any,
            trust_traceparent: false,
        }
    }
}

impl SourceTemplate {
    /// The signature of requests, with these keys.
    pub fn signature(self, secrets: Secrets) -> Signature {
        let Self {
            scheme, signatures, encoding, signed, public_url, timestamp, public_keys, ..
        } = self;
        Signature {
            scheme,
            signatures,
            encoding,
            signed,
            public_url,
            timestamp,
            secrets,
            public_keys,
        }
    }

    /// The keys of repeated requests that the template names, or the default ones of a source that
    /// is verified by it, or not at all.
    pub fn dedupe(&self, is_verified: bool) -> Dedupe {
        let placeholder = self.placeholder.clone();
        match &self.dedupe {
            Some(keys) => Dedupe { keys: keys.clone(), is_default: false, placeholder },
            None => Dedupe { keys: self.default_keys(is_verified), is_default: true, placeholder },
        }
    }

    /// Two different events must never count as one. So the body alone is a key only where the
    /// signature covers nothing else: there a captured request could be sent again for ever.
    fn default_keys(&self, is_verified: bool) -> Vec<DedupeBy> {
        if self.id.is_some() {
            vec![DedupeBy::Id]
        } else if !is_verified {
            Vec::new()
        } else if self.signed.contains(&Part::Timestamp) {
            vec![DedupeBy::TimestampAndBody]
        } else {
            vec![DedupeBy::Body]
        }
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
}
