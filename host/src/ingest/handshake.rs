//! Requests that a source answers without storing anything.
//!
//! A handshake is data: the requests that it is for, and the answer. Providers ask whether an
//! address takes webhooks before they send any, or later from time to time.
//!
//! A handshake that is looked up by the head of a request, like all of today's, proves nothing
//! about its sender, so its answer must not depend on a secret. A signed handshake belongs
//! behind `Claim::verify`, where the body has been read and found authentic: see
//! `docs/design/verification.md`.

use axum::http::header::{ALLOW, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};

/// The methods that a source accepts.
pub(super) const METHODS: HeaderValue = HeaderValue::from_static("POST, OPTIONS");

/// A kind of request, and the answer to it.
#[derive(Debug)]
pub(super) struct Handshake {
    /// The value of the metrics' `reason`.
    pub(super) name: &'static str,
    method: Method,
    pub(super) answer: HandshakeAnswer,
}

/// An answer without a body.
#[derive(Debug)]
pub(super) struct HandshakeAnswer {
    pub(super) status: StatusCode,
    pub(super) headers: [(HeaderName, HeaderValue); 1],
}

/// The handshakes of every source.
static HANDSHAKES: [Handshake; 1] = [
    // HeyGen probes with OPTIONS; the answer is what RFC 9110 §9.3.7 says of it.
    Handshake {
        name: "options",
        method: Method::OPTIONS,
        answer: HandshakeAnswer { status: StatusCode::NO_CONTENT, headers: [(ALLOW, METHODS)] },
    },
];

/// The handshake that a request with this method is, if it is one.
pub(super) fn find(method: &Method) -> Option<&'static Handshake> {
    HANDSHAKES.iter().find(|handshake| handshake.method == *method)
}
