//! Places in a request, and conditions on what stands there.

use super::encoding::Encoding;
use super::param::ParamText;

/// The place of a value in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A header, lower case.
    Header(String),
    /// The decoded value of a query parameter.
    Query(String),
    /// An RFC 6901 pointer into the JSON body; with [`each`](super::Signature::each) into an item.
    Json(String),
    /// The decoded field of a form in the body.
    Form(String),
}

impl Place {
    /// The header's name, if it is one.
    pub fn header(&self) -> Option<&str> {
        if let Self::Header(name) = self { Some(name) } else { None }
    }

    /// Whether the body has to be there to look.
    pub fn is_in_body(&self) -> bool {
        matches!(self, Self::Json(_) | Self::Form(_))
    }
}

/// A condition on a request: a value is there, or has this text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueCondition {
    /// The value.
    pub place: Place,
    /// Its text; `None` if it only has to be there.
    pub is: Option<String>,
    /// The beginning of its text.
    pub starts: Option<String>,
    /// The least and the most hex digits, in small letters, of which it consists.
    pub hex: Option<(usize, usize)>,
    /// The parameter whose value it has: the name, and the value once it is known.
    pub param: Option<(String, Option<ParamText>)>,
    /// Whether it must not be there.
    pub absent: bool,
}

/// A digest of the body that the request itself has to carry, where the signature covers that
/// value and not the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyHash {
    /// The place of the SHA-256 of the body.
    pub place: Place,
    /// Its encoding.
    pub encoding: Encoding,
}

/// The rules for a JSON Web Token (RFC 7519) that proves a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtRule {
    /// The accepted values of `alg`, of one family of keys.
    pub algorithms: Vec<JwtAlgorithm>,
    /// The value of `iss`, if it is checked.
    pub issuer: Option<String>,
    /// The value of `aud`, if it is checked; `{url}` is the address of the request.
    pub audience: Option<String>,
    /// The value of `sub`, if it is checked, likewise.
    pub subject: Option<String>,
    /// The greatest age by `iat`, in milliseconds.
    pub max_age_ms: Option<u64>,
    /// The claim that holds the SHA-256 of the body, and its encoding.
    pub body_claim: Option<(String, Encoding)>,
}

/// An algorithm of JSON Web Signatures (RFC 7518 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the RFC")]
pub enum JwtAlgorithm {
    Hs256,
    Hs512,
    Rs256,
    Es256,
    EdDsa,
}

impl JwtAlgorithm {
    /// The name in a token.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs512 => "HS512",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Whether host and provider share the key.
    pub fn has_secrets(self) -> bool {
        matches!(self, Self::Hs256 | Self::Hs512)
    }
}

/// The address of a public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyAddress {
    /// The place of the address in the request, or the address itself.
    pub from: KeyFrom,
    /// The hosts that are asked; `*.` in front stands for one label, in the middle for a region.
    pub hosts: Vec<String>,
    /// The beginning of the path.
    pub path: String,
    /// The kind of document.
    pub kind: KeyDocument,
}

/// Where the address of a key is known from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyFrom {
    /// The request names it.
    Request(Place),
    /// The configuration names it.
    Fixed(String),
}

/// A document with public keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyDocument {
    /// A certificate (X.509) in PEM.
    X509,
    /// A set of JSON Web Keys (RFC 7517).
    Jwks,
}
