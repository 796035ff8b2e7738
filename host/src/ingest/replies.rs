//! The replies of one source, made ready once for every configuration.

use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, StatusCode};

use crate::config::source::Replies;
use crate::store::Appended;

/// The header that names the event in a reply whose body is the provider's. Handwritten replies
/// have no other place for it.
const EVENT: HeaderName = HeaderName::from_static("hookbox-event");

/// The event in the headers of a reply whose body is the provider's: its id, a blank, and
/// `accepted` or `duplicate`.
pub fn named_event(headers: &HeaderMap) -> Option<&str> {
    headers.get(EVENT).and_then(|value| value.to_str().ok())
}

/// [`Replies`] made ready.
#[derive(Debug)]
pub(super) struct SourceReplies {
    accepted: Option<ReadyReply>,
    /// The status for a request that is not authentic.
    pub(super) refused: StatusCode,
    /// Whether events may come by PUT as well.
    pub(super) takes_put: bool,
}

#[derive(Debug)]
struct ReadyReply {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: String,
}

/// A status, headers and a body.
pub(super) type ReplyParts = (StatusCode, Vec<(HeaderName, HeaderValue)>, String);

impl SourceReplies {
    /// Those of a source. A status that is none is left as it would be without it.
    pub(super) fn new(replies: &Replies) -> Self {
        let ready = |reply: &crate::config::source::FixedReply| {
            let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::OK);
            let mut headers = Vec::new();
            if let Some(kind) = reply.content_type {
                headers.push((CONTENT_TYPE, HeaderValue::from_static(kind)));
                headers.push((X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")));
            }
            ReadyReply { status, headers, body: reply.body.clone() }
        };
        Self {
            accepted: replies.accepted.as_ref().map(ready),
            refused: StatusCode::from_u16(replies.refuse_status)
                .unwrap_or(StatusCode::UNAUTHORIZED),
            takes_put: replies.takes_put,
        }
    }

    /// The status for an event that is stored.
    pub(super) fn accepted_status(&self) -> StatusCode {
        self.accepted.as_ref().map_or(StatusCode::OK, |reply| reply.status)
    }

    /// The source's own reply to events that are stored, if it has one.
    pub(super) fn accepted(&self, appended: &[Appended]) -> Option<ReplyParts> {
        let ReadyReply { status, headers, body } = self.accepted.as_ref()?;
        let mut headers = headers.clone();
        // A header cannot name a thousand events: of several it names the first.
        if let [Appended { id, .. }, ..] = appended {
            let is_new = appended.iter().any(|one| !one.duplicate);
            let word = if is_new { "accepted" } else { "duplicate" };
            let value = HeaderValue::from_str(&format!("{id} {word}")).ok();
            headers.extend(value.map(|value| (EVENT, value)));
        }
        Some((*status, headers, body.clone()))
    }
}
