//! A source: how its requests are verified and identified. A preset is nothing but values for these types.

use std::sync::Arc;

use secrecy::SecretSlice;

mod dedupe;

pub use dedupe::{Dedupe, DedupeBy, Placeholder};

/// One provider connection: `[sources.NAME]`, served at `POST /webhook/NAME`.
#[derive(Debug, Clone)]
pub struct Source {
    /// The section's name.
    pub name: Arc<str>,
    /// `preset = "…"`, if one was named.
    pub preset: Option<String>,
    /// How a request is authenticated.
    pub verify: Verify,
    /// Where the event type is found.
    pub kind: Pick,
    /// Where the provider's id of the delivery is found.
    pub id: Option<Pick>,
    /// What makes a request a duplicate.
    pub dedupe: Dedupe,
    /// Where the correlation key is found.
    pub subject: Option<Pick>,
    /// The largest request body that is read, in bytes; `None` if `server.max_body` says it.
    pub max_body_bytes: Option<usize>,
    /// The field of a form that holds the JSON, for requests whose media type says that they are forms.
    pub form: Option<String>,
    /// What is known of the types of its events.
    pub types: Types,
}

/// Where a routing attribute is found in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pick {
    /// An RFC 6901 pointer into the JSON body.
    Json(String),
    /// A request header, lower case.
    Header(String),
    /// Always this value.
    Fixed(String),
    /// Several values and the text between them.
    Joined(Joined),
}

/// Values in a row: `{header:X-Event}.{json:/action}`. A value that is missing is left out together with the text in
/// front of it; without the first value there is none at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// At least two: the text in front of a value, and where the value is found ([`Pick::Json`] or [`Pick::Header`]).
    pub values: Vec<(String, Pick)>,
    /// The text behind the last value.
    pub end: String,
}

/// Knowledge of the types of a source's events, for warnings of patterns that no type can match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Types {
    /// Nothing.
    Any,
    /// They are words of a to z, 0 to 9 and `_`.
    Words {
        /// Those that are known by name; there may be more.
        known: &'static [&'static str],
        /// What to write in order to route by more than these words.
        more: &'static str,
    },
}

/// How a request is authenticated.
#[derive(Debug, Clone)]
pub enum Verify {
    /// Not at all: `scheme = "none"`, warned about at every start.
    None,
    /// A message authentication code over a template of the raw request.
    Hmac(Hmac),
}

/// The verifier template: every preset is a value of this type.
#[derive(Debug, Clone)]
pub struct Hmac {
    /// Where signatures are looked for, in order of preference: the first header that is present counts.
    pub signatures: Vec<Field>,
    /// How a signature is written.
    pub encoding: Encoding,
    /// The bytes that are signed.
    pub signed: Vec<Part>,
    /// The time of sending, in Unix seconds.
    pub timestamp: Option<Timestamp>,
    /// The active keys; a request that matches any is authentic.
    pub secrets: Secrets,
}

/// An [`Hmac`] that has no keys yet, and where the attributes of its events are found: what a preset is a value of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// See [`Hmac::signatures`].
    pub signatures: Vec<Field>,
    /// See [`Hmac::encoding`].
    pub encoding: Encoding,
    /// See [`Hmac::signed`].
    pub signed: Vec<Part>,
    /// See [`Hmac::timestamp`].
    pub timestamp: Option<Timestamp>,
    /// How the text of a secret becomes a key.
    pub key: KeyFormat,
    /// See [`Source::kind`]; `None` if the user has to say it.
    pub kind: Option<Pick>,
    /// See [`Source::id`].
    pub id: Option<Pick>,
    /// See [`Dedupe::keys`]; `None` if what suits the rest does.
    pub dedupe: Option<Vec<DedupeBy>>,
    /// See [`Dedupe::placeholder`].
    pub placeholder: Option<Placeholder>,
    /// See [`Source::subject`].
    pub subject: Option<Pick>,
    /// See [`Source::form`].
    pub form: Option<String>,
    /// See [`Source::types`].
    pub types: Types,
}

impl Template {
    /// Completes the template with keys.
    pub fn hmac(self, secrets: Secrets) -> Hmac {
        let Self { signatures, encoding, signed, timestamp, .. } = self;
        Hmac { signatures, encoding, signed, timestamp, secrets }
    }
}

/// How the text of a secret, as a provider shows it, becomes the bytes of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFormat {
    /// Taken away from the front if it is there; possibly nothing.
    pub prefix: String,
    /// What the rest is.
    pub encoding: KeyEncoding,
}

/// What the text of a secret is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyEncoding {
    /// The key itself.
    Utf8,
    /// The key in base64, RFC 4648 §4, padded or not.
    Base64,
}

/// A value within a header.
///
/// Without a separator the header's value is one item; with one it is split. Items that start with the prefix count,
/// without it: `v1=` and `,` read Stripe's `t=…,v1=…,v1=…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The header's name, lower case.
    pub header: String,
    /// What an item starts with, possibly nothing.
    pub prefix: String,
    /// What stands between items.
    pub separator: Option<char>,
}

/// How signature bytes are written in a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Hex digits, in either case.
    Hex,
    /// Base64, RFC 4648 §4, padded.
    Base64,
}

/// A piece of the signed bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// These bytes.
    Literal(String),
    /// The timestamp's text, as received.
    Timestamp,
    /// The provider's id, as received in its header.
    Id,
    /// The raw body.
    Body,
}

/// When a request was sent, and how old it may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timestamp {
    /// Where it stands.
    pub field: Field,
    /// Whether a request without it is refused; always so when it is signed.
    pub required: bool,
    /// The greatest distance from now, either way, in milliseconds.
    pub tolerance_ms: u64,
    /// What becomes of a request beyond it.
    pub stale: Stale,
}

/// What becomes of an authentic request with a stale timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stale {
    /// 401.
    Reject,
    /// Stored, with a note.
    Accept,
}

/// The keys of a source.
#[derive(Debug, Clone)]
pub enum Secrets {
    /// These are active.
    Set(Vec<SecretSlice<u8>>),
    /// The host made one itself and keeps it here, because none was set and the listener is on loopback.
    Generated {
        /// The key.
        secret: SecretSlice<u8>,
        /// The file that keeps it, mode 0600.
        path: std::path::PathBuf,
    },
    /// None is set; the source refuses posts with 503. The text says what to set.
    Missing(String),
}
