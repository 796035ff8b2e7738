//! The authentication of a source's requests.

use std::path::PathBuf;

use secrecy::SecretSlice;

use super::encoding::Encoding;
use super::key_pair::KeyPair;
use super::param::ParamText;
use super::place::{BodyHash, JwtRule, KeyAddress, Place, ValueCondition};
use super::public_key::{PublicKey, PublicKeyKind};

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

impl Verify {
    /// Whether a rule fixes the body, but not the attributes of a CloudEvent in headers.
    pub fn leaves_attributes_open(&self) -> bool {
        matches!(self, Self::Signature(rule) if rule.leaves_attributes_open())
    }
}

/// A rule by which requests are authentic: where their signature is, the bytes that it covers, and
/// public keys; and the rules beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The algorithm.
    pub scheme: SignatureScheme,
    /// The requests that it is for: all of these hold.
    pub when: Vec<ValueCondition>,
    /// The places of signatures, in order of preference: the first that is present counts.
    pub signatures: Vec<Field>,
    /// Whether those at all places count, not only at the first.
    pub matches_any: bool,
    /// An RFC 6901 pointer to a list in the body of which each item is signed for itself.
    pub each: Option<String>,
    /// The encoding of a signature.
    pub encoding: Encoding,
    /// The bytes that are signed.
    pub signed: Vec<Part>,
    /// The host's address as the provider has it, without path and query, for [`Part::Url`].
    pub public_url: Option<String>,
    /// Other spellings of it, with or without a port.
    pub other_urls: Vec<String>,
    /// Where the request has to carry a digest of its body.
    pub body_hash: Option<BodyHash>,
    /// The rules for a token, with [`SignatureScheme::Jwt`].
    pub jwt: Option<JwtRule>,
    /// The time of sending.
    pub timestamp: Option<Timestamp>,
    /// The active public keys, empty for a scheme with secrets.
    pub public_keys: Vec<PublicKey>,
    /// The address of a public key.
    pub key_address: Option<KeyAddress>,
    /// Other rules, each with a condition: the first one that applies to a request decides.
    pub others: Vec<Signature>,
}

/// A signature algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureScheme {
    /// HMAC-SHA256 (RFC 2104) with a secret.
    HmacSha256,
    /// HMAC-SHA1 with a secret.
    HmacSha1,
    /// HMAC-SHA512 with a secret.
    HmacSha512,
    /// SHA-1 over text that holds a secret.
    DigestSha1,
    /// SHA-256 over text that holds a secret.
    DigestSha256,
    /// Ed25519 (RFC 8032) with a private key of the provider.
    Ed25519,
    /// ECDSA with P-256 and SHA-256, the signature in DER.
    EcdsaP256,
    /// RSA (PKCS #1 v1.5) with SHA-256.
    RsaSha256,
    /// RSA (PKCS #1 v1.5) with SHA-1.
    RsaSha1,
    /// The secret itself.
    Token,
    /// The secret is `user:password` of the scheme Basic (RFC 7617).
    Basic,
    /// A JSON Web Token.
    Jwt,
}

impl SignatureScheme {
    /// Whether the provider shares a secret with the host; otherwise the host has public keys.
    pub fn has_secrets(self) -> bool {
        !matches!(self, Self::Ed25519 | Self::EcdsaP256 | Self::RsaSha256 | Self::RsaSha1)
    }

    /// The kind of the public keys of a scheme that is no token.
    pub fn public_key_kind(self) -> Option<PublicKeyKind> {
        match self {
            Self::Ed25519 => Some(PublicKeyKind::Ed25519),
            Self::EcdsaP256 => Some(PublicKeyKind::P256),
            Self::RsaSha256 | Self::RsaSha1 => Some(PublicKeyKind::Rsa),
            _ => None,
        }
    }

    /// Whether it signs parts of the request.
    pub fn signs(self) -> bool {
        !matches!(self, Self::Token | Self::Basic | Self::Jwt)
    }
}

/// A value at a place of the request.
///
/// Without a separator the whole value is one item; with one it is split. Items that start with
/// the prefix count, without it: `v1=` and `,` read Stripe's `t=…,v1=…,v1=…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The place.
    pub place: Place,
    /// The beginning of an item, possibly nothing.
    pub prefix: String,
    /// The character between items.
    pub separator: Option<char>,
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
    /// The scalar at an RFC 6901 pointer into the JSON body.
    Json(String),
    /// The decoded field of a form in the body.
    FormValue(String),
    /// [`Part::Url`] with those escapes undone that HubSpot undoes.
    UnescapedUrl,
    /// The SHA-256 of the body, in hex.
    BodySha256,
    /// The CRC-32 of the body, decimal.
    BodyCrc32,
    /// The secret.
    Secret,
    /// `name:value` of each header that this header names, sorted, with `;` between them.
    HeaderList(String),
    /// A value of `params` of the source: its name, and the value once it is known.
    Param(String, Option<ParamText>),
    /// Left out if one of its values is missing.
    Optional(Vec<Self>),
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
    /// The way in which the time is written.
    pub format: TimeFormat,
}

/// The way in which a time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeFormat {
    /// Unix seconds.
    #[default]
    Seconds,
    /// Unix milliseconds.
    Milliseconds,
    /// RFC 3339, such as `2026-02-25T06:13:20.123+01:00`.
    Rfc3339,
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

/// The keys of a source: a request that matches any of them is authentic.
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
    /// A pair of keys in the host's folder, because no public key was set and the listener is on
    /// loopback. Its public half is the key of the rules.
    Pair {
        /// The pair.
        pair: KeyPair,
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
