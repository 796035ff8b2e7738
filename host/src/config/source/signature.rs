//! The authentication of a source's requests.

use std::path::PathBuf;

use secrecy::SecretSlice;

/// The authentication of a request.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one for each source, and nearly all have a signature"
)]
pub enum Verify {
    /// No authentication: `scheme = "none"`, warned about at every start.
    None,
    /// A signature.
    Signature(Signature),
}

/// The place of a request's signature, the bytes that it covers, and the keys.
#[derive(Debug, Clone)]
pub struct Signature {
    /// The algorithm.
    pub scheme: SignatureScheme,
    /// The headers of signatures, in order of preference: the first that is present counts.
    pub signatures: Vec<Field>,
    /// The encoding of a signature.
    pub encoding: Encoding,
    /// The bytes that are signed.
    pub signed: Vec<Part>,
    /// The host's address as the provider has it, without path and query, for [`Part::Url`].
    pub public_url: Option<String>,
    /// The time of sending, in Unix seconds.
    pub timestamp: Option<Timestamp>,
    /// The active secrets, empty for a scheme without; a request that matches any is authentic.
    pub secrets: Secrets,
    /// The active public keys, empty for a scheme with secrets.
    pub public_keys: Vec<PublicKey>,
}

/// A signature algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureScheme {
    /// HMAC-SHA256 (RFC 2104) with a secret.
    HmacSha256,
    /// Ed25519 (RFC 8032) with a private key of the provider.
    Ed25519,
}

impl SignatureScheme {
    /// Whether the provider shares a secret with the host; otherwise the host has public keys.
    pub fn has_secrets(self) -> bool {
        self == Self::HmacSha256
    }
}

/// A public key, as its bytes.
pub type PublicKey = [u8; 32];

/// A value within a header.
///
/// Without a separator the header's value is one item; with one it is split. Items that start with
/// the prefix count, without it: `v1=` and `,` read Stripe's `t=…,v1=…,v1=…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The header's name, lower case.
    pub header: String,
    /// The beginning of an item, possibly nothing.
    pub prefix: String,
    /// The character between items.
    pub separator: Option<char>,
}

/// The encoding of signature bytes in a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Hex digits, in either case.
    Hex,
    /// Base64, RFC 4648 §4, padded.
    Base64,
}

/// A part of the signed bytes.
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
    /// The method.
    Method,
    /// The address as the provider has it: [`Signature::public_url`], path and query.
    Url,
    /// The path, as received.
    Path,
    /// The query, as received, without its `?`.
    Query,
    /// The decoded value of a query parameter.
    QueryValue(String),
    /// Names and values of the form in the body, decoded, sorted, without anything between them.
    Form,
    /// The value of a header, lower case.
    Header(String),
}

/// The time at which a request was sent, and the bounds of its age.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timestamp {
    /// The place of the timestamp.
    pub field: Field,
    /// Whether a request without it is refused; always so when it is signed.
    pub required: bool,
    /// The greatest distance from now, either way, in milliseconds.
    pub tolerance_ms: u64,
    /// The treatment of a request beyond it.
    pub stale: Stale,
}

impl Timestamp {
    /// The greatest distance of a timestamp from now, unless a provider or a section names another
    /// one; in milliseconds.
    pub const DEFAULT_TOLERANCE_MS: u64 = 5 * 60_000;
}

/// The treatment of an authentic request with a stale timestamp.
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
    /// The host made one itself, because none was set and the listener is on loopback.
    Generated {
        /// The key.
        secret: SecretSlice<u8>,
        /// The file that keeps it, mode 0600.
        path: PathBuf,
    },
    /// None is set; the source refuses posts with 503. The text says what to set.
    Missing(String),
}

/// The place of a secret, as the configuration names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretPlace {
    /// The place, for people: an environment variable or a file.
    pub name: String,
    /// Whether a secret was found there.
    pub is_set: bool,
}
