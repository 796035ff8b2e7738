//! Requests that a source answers without storing anything.
//!
//! A handshake is data: the requests that it is for, what proves them, and the answer. Providers
//! ask whether an address takes webhooks before they send any, or later from time to time. Every
//! source answers OPTIONS; the others are `[[sources.NAME.handshake]]` (`rule`).
//! `consent` is the abuse protection of CloudEvents.

use axum::http::header::{ALLOW, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use secrecy::SecretString;

mod consent;
mod rule;

pub(super) use rule::Handshakes;

/// The methods that a source accepts.
pub(super) fn methods(takes_put: bool) -> HeaderValue {
    HeaderValue::from_static(if takes_put { "POST, PUT, OPTIONS" } else { "POST, OPTIONS" })
}

/// The most of a request that an answer repeats, in bytes.
const MAX_ECHO_BYTES: usize = 4 << 10;

/// The longest body of a POST that has not proved itself and may be a handshake, in bytes.
pub(super) const MAX_OPEN_BODY_BYTES: usize = 16 << 10;

/// An answer.
#[derive(Debug)]
pub struct HandshakeAnswer {
    /// The value of the metrics' `reason`.
    pub(super) name: &'static str,
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: String,
    /// A new secret of the source: the answer holds only if it is kept.
    pub(super) offer: Option<OfferedSecret>,
    /// The address that is asked afterwards.
    pub(super) then: Option<String>,
}

/// A new secret that a handshake brings.
#[derive(Debug)]
pub(super) struct OfferedSecret {
    pub(super) secret: SecretString,
    /// Whether the operator has to see it once.
    pub(super) shows: bool,
}

impl HandshakeAnswer {
    /// A handshake that did not prove itself.
    fn refused(status: StatusCode) -> Self {
        let name = "handshake_refused";
        Self { name, status, headers: Vec::new(), body: String::new(), offer: None, then: None }
    }
}

/// The answer of every source to this method, if it has one.
///
/// HeyGen probes with OPTIONS; the answer is what RFC 9110 §9.3.7 says of it.
pub(super) fn find(method: &Method, takes_put: bool) -> Option<HandshakeAnswer> {
    (*method == Method::OPTIONS).then(|| HandshakeAnswer {
        name: "options",
        status: StatusCode::NO_CONTENT,
        headers: vec![(ALLOW, methods(takes_put))],
        body: String::new(),
        offer: None,
        then: None,
    })
}
