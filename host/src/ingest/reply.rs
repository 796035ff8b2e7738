//! The replies to senders: success as JSON, rejections as problem details (RFC 9457).

use std::borrow::Cow;

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue,
    RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::response::Response;
use serde::Serialize;

use super::body::{BodyError, MaxBody, NoMemory};
use super::fetch::NoKey;
use super::handshake::{self, HandshakeAnswer};
use super::identify::BatchFault;
use super::reasons::RefusalReason;
use super::replies::SourceReplies;
use super::verify::Refusal;
use super::window::NotTaken;
use crate::server::Ambiguous;
use crate::store::{Appended, StoreError};

/// The methods of the probe.
const PROBE_METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD");

/// The answer to a probe is of one moment.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

const NOT_READY: &str = "The source is not ready to receive.";

/// The outcome of a request.
#[derive(Debug)]
pub(super) enum IngestReply {
    /// Committed, now or before.
    Stored(Appended),
    /// The events of a list, committed together, now or before.
    StoredAll(Vec<Appended>),
    /// Answered without storing anything.
    Handshake(HandshakeAnswer),
    /// The process answers.
    Healthy,
    /// Nothing is stored, as far as the sender may rely on.
    Rejected(Rejection),
}

/// Why a request is not answered with success.
#[derive(Debug, thiserror::Error)]
pub(super) enum Rejection {
    /// Other servers may read the rest of the connection differently.
    #[error("the request is malformed: {0}")]
    Malformed(#[from] Ambiguous),
    #[error("there is no such source")]
    NoSource,
    /// It came to the address of callbacks.
    #[error("nobody waits for this callback")]
    Unawaited,
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
    #[error("only POST{} and OPTIONS are taken", if *.takes_put { ", PUT" } else { "" })]
    Method { takes_put: bool },
    #[error("a probe is a GET or a HEAD")]
    ProbeMethod,
    #[error("the source cannot check signatures: {0}")]
    Closed(String),
    #[error("the body is encoded")]
    Encoded,
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("the body took longer than {seconds} s")]
    BodyTimeout { seconds: f32 },
    #[error(transparent)]
    Unverified(#[from] Refusal),
    /// The header alone says so, and the body has not been read.
    #[error("{0}; the body was not read")]
    Unread(Refusal),
    /// It is authentic, but not the list that the source says.
    #[error(transparent)]
    Batch(#[from] BatchFault),
    #[error(transparent)]
    NoKey(#[from] NoKey),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the store has not answered in time")]
    Unanswered,
    #[error("the append ended early: {0}")]
    Broken(String),
}

/// A rejection as the sender sees it.
#[derive(Debug)]
struct Outside {
    status: StatusCode,
    detail: Cow<'static, str>,
    retry_after_s: Option<u32>,
    /// The rest of the request is not read, so the connection cannot be used again.
    close: bool,
}

impl Outside {
    fn new(status: StatusCode, detail: &'static str) -> Self {
        Self { status, detail: Cow::Borrowed(detail), retry_after_s: None, close: false }
    }

    fn later(detail: &'static str, retry_after_s: u32) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            detail: Cow::Borrowed(detail),
            retry_after_s: Some(retry_after_s),
            close: false,
        }
    }

    fn close(self) -> Self {
        Self { close: true, ..self }
    }
}

/// One text for everything that is not authentic, read or unread.
fn unverified(refusal: Refusal) -> Outside {
    match refusal {
        Refusal::Repeated => Outside::new(
            StatusCode::BAD_REQUEST,
            "A header that signatures are checked with may occur once, and occurs several times.",
        ),
        Refusal::Closed => Outside::later(NOT_READY, 60),
        _ => Outside::new(StatusCode::UNAUTHORIZED, "The request could not be authenticated."),
    }
}

impl Rejection {
    /// Says no more than a sender needs; the reason is for the log.
    fn outside(&self) -> Outside {
        match self {
            Self::Malformed(_) => {
                Outside::new(StatusCode::BAD_REQUEST, "The request's header is malformed.").close()
            }
            Self::NoSource => Outside::new(StatusCode::NOT_FOUND, "There is no such source."),
            Self::NotTaken(NotTaken::Closed) => {
                Outside::new(StatusCode::FORBIDDEN, "Nobody waits for a secret of this source.")
            }
            Self::NotTaken(NotTaken::Unkept(_)) => {
                Outside::later("The secret cannot be kept at the moment.", 10)
            }
            Self::Unawaited => {
                Outside::new(StatusCode::NOT_FOUND, "Nobody waits for this callback.")
            }
            Self::ProbeMethod => {
                Outside::new(StatusCode::METHOD_NOT_ALLOWED, "Probe with GET or HEAD.")
            }
            Self::Method { takes_put } => {
                let put = "Send webhooks with POST or PUT.";
                let detail = if *takes_put { put } else { "Send webhooks with POST." };
                Outside::new(StatusCode::METHOD_NOT_ALLOWED, detail)
            }
            Self::Encoded => Outside::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Send the body as it is, without a content encoding.",
            ),
            Self::Body(error) => error.outside(),
            Self::BodyTimeout { .. } => {
                Outside::new(StatusCode::REQUEST_TIMEOUT, "The body did not arrive in time.")
                    .close()
            }
            Self::Batch(fault) => {
                let status = match fault {
                    BatchFault::Events(_) => StatusCode::BAD_REQUEST,
                    BatchFault::Format(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
                };
                let detail = Cow::Owned(format!("Nothing is stored: {fault}"));
                Outside { detail, ..Outside::new(status, "") }
            }
            Self::Closed(_) => Outside::later(NOT_READY, 60),
            Self::NoKey(_) => Outside::later("The public key cannot be had at the moment.", 10),
            Self::Unverified(refusal) => unverified(*refusal),
            Self::Unread(refusal) => unverified(*refusal).close(),
            Self::Store(StoreError::Saturated { .. }) => {
                Outside::later("Too many events are being stored at once.", 1)
            }
            Self::Store(_) | Self::Broken(_) => {
                Outside::later("Events cannot be stored at the moment.", 10)
            }
            Self::Unanswered => {
                Outside::later("Storing the event took too long; send it again.", 2)
            }
        }
    }

    /// The reason, as it is counted.
    pub(super) fn reason(&self) -> RefusalReason {
        use RefusalReason as Reason;
        match self {
            Self::Malformed(_) => Reason::Malformed,
            Self::NoSource => Reason::UnknownSource,
            Self::NotTaken(NotTaken::Closed) => Reason::UnaskedSecret,
            Self::NotTaken(NotTaken::Unkept(_)) => Reason::UnkeptSecret,
            Self::Unawaited => Reason::UnknownCallback,
            Self::Method { .. } | Self::ProbeMethod => Reason::Method,
            Self::Closed(_) => Reason::NoSecret,
            Self::Encoded => Reason::Encoded,
            Self::Body(BodyError::TooLarge(_)) => Reason::TooLarge,
            Self::BodyTimeout { .. } => Reason::SlowBody,
            Self::Body(BodyError::Broken(_)) => Reason::BrokenBody,
            Self::Body(BodyError::NoMemory(NoMemory::Full)) => Reason::NoRoom,
            Self::Body(BodyError::NoMemory(NoMemory::ClientShare)) => Reason::ClientShare,
            Self::Batch(_) => Reason::BadEvents,
            Self::NoKey(_) => Reason::NoKey,
            Self::Unverified(refusal) | Self::Unread(refusal) => refusal.reason(),
            Self::Store(StoreError::Saturated { .. }) => Reason::Saturated,
            Self::Store(StoreError::Unavailable(_)) => Reason::Disk,
            Self::Store(StoreError::Full(_)) => Reason::Full,
            Self::Store(StoreError::Lost(_)) => Reason::Files,
            Self::Store(_) | Self::Broken(_) => Reason::Store,
            Self::Unanswered => Reason::SlowStore,
        }
    }
}

impl BodyError {
    fn outside(&self) -> Outside {
        let detail = match self {
            Self::Broken(_) => {
                return Outside::new(StatusCode::BAD_REQUEST, "The body could not be read.")
                    .close();
            }
            Self::NoMemory(_) => {
                return Outside::later("Too much is being received at once.", 1).close();
            }
            Self::TooLarge(MaxBody { of_source: true, .. }) => {
                "The body is longer than `max_body` of this source."
            }
            Self::TooLarge(_) => "The body is longer than `server.max_body`.",
        };
        Outside::new(StatusCode::PAYLOAD_TOO_LARGE, detail).close()
    }
}

/// RFC 9457 §3.1. There is no type of our own: title and status say it, as for `about:blank`.
#[derive(Debug, Serialize)]
struct ProblemBody<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
}

impl IngestReply {
    /// The events that are stored, now or before; `None` if the request was something else.
    fn events(&self) -> Option<&[Appended]> {
        match self {
            Self::Stored(event) => Some(std::slice::from_ref(event)),
            Self::StoredAll(events) => Some(events),
            _ => None,
        }
    }

    /// Whether it stored a new event.
    pub(super) fn is_new(&self) -> bool {
        self.events().unwrap_or_default().iter().any(|event| !event.duplicate)
    }

    /// The `reason` label of the metrics: the outcome of the request, from a fixed set.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::StoredAll(events) if events.is_empty() => "empty",
            Self::Stored(_) | Self::StoredAll(_) if self.is_new() => "accepted",
            Self::Stored(_) | Self::StoredAll(_) => "duplicate",
            Self::Handshake(handshake) => handshake.name,
            Self::Healthy => "health",
            Self::Rejected(rejection) => rejection.reason().name(),
        }
    }

    /// The response; `own` are the replies of the source, if there is one.
    pub(super) fn into_response(self, own: Option<&SourceReplies>) -> Response {
        let fixed = self.events().and_then(|events| own?.accepted(events));
        if let Some((status, headers, body)) = fixed {
            return answer(status, body, &headers);
        }
        match self {
            Self::Stored(event) => stored(object(&event)),
            Self::StoredAll(events) => stored(list(&events)),
            Self::Handshake(given) => answer(given.status, given.body, &given.headers),
            Self::Healthy => {
                let json = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
                answer(
                    StatusCode::OK,
                    r#"{"status":"live"}"#.to_owned(),
                    &[json, (CACHE_CONTROL, NO_STORE)],
                )
            }
            Self::Rejected(rejection) => problem(&rejection, own),
        }
    }
}

fn stored(body: String) -> Response {
    let json = HeaderValue::from_static("application/json");
    answer(StatusCode::OK, body, &[(CONTENT_TYPE, json)])
}

fn object(Appended { id, duplicate }: &Appended) -> String {
    let status = if *duplicate { "duplicate" } else { "accepted" };
    // An id is made of letters, digits and `_`.
    format!(r#"{{"id":"{id}","status":"{status}"}}"#)
}

/// One event as it is without a list; of several also the first, and whether any is new.
fn list(events: &[Appended]) -> String {
    let (first, all) = match events {
        [] => (r#""status":"empty""#.to_owned(), String::new()),
        [event] => return object(event),
        [first, ..] => {
            let duplicate = events.iter().all(|event| event.duplicate);
            let first = object(&Appended { id: first.id, duplicate });
            let all = events.iter().map(object).collect::<Vec<_>>().join(",");
            (first.trim_matches(['{', '}']).to_owned(), all)
        }
    };
    format!(r#"{{{first},"events":[{all}]}}"#)
}

fn problem(rejection: &Rejection, own: Option<&SourceReplies>) -> Response {
    let mut outside = rejection.outside();
    if let Some(own) = own
        && outside.status == StatusCode::UNAUTHORIZED
    {
        outside.status = own.refused;
    }
    let title = outside.status.canonical_reason().unwrap_or_default();
    let problem = ProblemBody {
        r#type: "about:blank",
        title,
        status: outside.status.as_u16(),
        detail: &outside.detail,
    };
    let body = serde_json::to_string(&problem).expect("texts and a number are JSON");
    let mut headers = vec![(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"))];
    if let Some(seconds) = outside.retry_after_s {
        headers.push((RETRY_AFTER, HeaderValue::from(seconds)));
    }
    if outside.close {
        headers.push((CONNECTION, HeaderValue::from_static("close")));
    }
    match outside.status {
        _ if matches!(rejection, Rejection::ProbeMethod) => headers.push((ALLOW, PROBE_METHODS)),
        StatusCode::METHOD_NOT_ALLOWED => {
            let takes_put = own.is_some_and(|own| own.takes_put);
            headers.push((ALLOW, handshake::methods(takes_put)));
        }
        // RFC 9110 §11.6.1 wants a challenge with every 401; RFC 9421 names no scheme, the
        // signature is the scheme.
        StatusCode::UNAUTHORIZED => {
            headers.push((WWW_AUTHENTICATE, HeaderValue::from_static("Signature")))
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE if matches!(rejection, Rejection::Encoded) => {
            headers.push((ACCEPT_ENCODING, HeaderValue::from_static("identity")))
        }
        _ => {}
    }
    answer(outside.status, body, &headers)
}

fn answer(status: StatusCode, body: String, headers: &[(HeaderName, HeaderValue)]) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().extend(headers.iter().cloned());
    response
}
