//! The abuse protection of CloudEvents: a sender asks with OPTIONS whether it may send, and an
//! origin that is not on the list gets no consent. The specification:
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/http-webhook.md>
//!
//! `WebHook-Request-Callback` is not called: it would have anybody choose an address that this host
//! sends a request to. The consent is in the answer, which senders take as well.

use axum::http::header::{ALLOW, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};

use super::{HandshakeAnswer, methods};
use crate::config::source::Source;
use crate::ingest::head::Head;
use crate::ingest::header;

const ORIGIN: HeaderName = HeaderName::from_static("webhook-request-origin");
const RATE: HeaderName = HeaderName::from_static("webhook-request-rate");
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

/// The most digits of a rate, in requests a minute.
const MAX_DIGITS: usize = 9;

/// The origins that may send.
#[derive(Debug, Default)]
pub(super) struct Consent {
    origins: Vec<String>,
    takes_put: bool,
}

impl Consent {
    pub(super) fn new(source: &Source) -> Self {
        Self { origins: source.origins.clone(), takes_put: source.replies.takes_put }
    }

    /// The answer to a sender that asks, if it may send. The rate that it asks for is granted: a
    /// host that is too busy says so in its answers.
    pub(super) fn answer(&self, head: &Head) -> Option<HandshakeAnswer> {
        if head.method != Method::OPTIONS || self.origins.is_empty() {
            return None;
        }
        let asked = header::single(&head.headers, &ORIGIN).ok().flatten()?;
        let allows =
            |origin: &String| origin == "*" || origin.as_bytes().eq_ignore_ascii_case(asked);
        if !self.origins.iter().any(allows) {
            return None;
        }
        let rate = header::single(&head.headers, &RATE).ok().flatten().filter(|rate| is_rate(rate));
        let value = |bytes: &[u8]| HeaderValue::from_bytes(bytes).ok();
        Some(HandshakeAnswer {
            name: "options",
            status: StatusCode::OK,
            headers: vec![
                (ALLOW, methods(self.takes_put)),
                (ALLOWED_ORIGIN, value(asked)?),
                (ALLOWED_RATE, value(rate.unwrap_or(b"*"))?),
            ],
            body: String::new(),
            offer: None,
            then: None,
        })
    }
}

fn is_rate(text: &[u8]) -> bool {
    let is_number = (1..=MAX_DIGITS).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    is_number && text.iter().any(|digit| *digit != b'0')
}
