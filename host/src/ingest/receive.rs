//! The road of one request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, Request, State};
use axum::http::header::CONTENT_ENCODING;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use axum::routing::any;
use metrics::Histogram;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::gate::{Gate, Gates};
use super::refusals::Refusals;
use super::reply::{Refused, Reply};
use super::verify::Unverified;
use super::{Intake, body};
use crate::event::NewEvent;
use crate::store::{Appended, StoreError};
use crate::{fail, tasks};

/// What stands for a source that does not exist: names from outside are never labels.
const UNKNOWN: &str = "unknown";

/// Whom a request comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

/// What every request shares.
#[derive(Debug)]
struct Receiver {
    intake: Intake,
    gates: ArcSwap<Gates>,
    /// One permit is one byte of a body.
    memory: Arc<Semaphore>,
    refusals: Refusals,
    ack_seconds: Histogram,
}

/// The public routes.
pub(super) fn router(intake: Intake) -> Router {
    let config = intake.config.load_full();
    let memory = body::MAX_MEMORY_BYTES.max(config.server.max_body_bytes).min(Semaphore::MAX_PERMITS);
    let receiver = Receiver {
        gates: ArcSwap::from_pointee(Gates::new(config)),
        memory: Arc::new(Semaphore::new(memory)),
        refusals: Refusals::new(),
        ack_seconds: metrics::histogram!("hookbox_ingest_ack_seconds"),
        intake,
    };
    Router::new().route("/webhook/{source}", any(webhook)).fallback(elsewhere).with_state(Arc::new(receiver))
}

async fn webhook(
    State(receiver): State<Arc<Receiver>>,
    Extension(Peer(peer)): Extension<Peer>,
    source: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let gates = receiver.gates();
    // A name that is not UTF-8 when decoded is no source's name.
    let Some(gate) = source.ok().and_then(|Path(name)| gates.get(&name)) else {
        return receiver.answer(None, peer, Err(Refused::NoSource));
    };
    let reply = match *request.method() {
        Method::POST => receiver.post(&gates, gate, request).await.map(Reply::Stored),
        Method::OPTIONS => Ok(Reply::Options),
        _ => Err(Refused::Method),
    };
    receiver.answer(Some(gate), peer, reply)
}

async fn elsewhere(State(receiver): State<Arc<Receiver>>, Extension(Peer(peer)): Extension<Peer>) -> Response {
    receiver.answer(None, peer, Err(Refused::NoSource))
}

impl Receiver {
    /// The sources of the running configuration, made ready anew when it has changed.
    fn gates(&self) -> Arc<Gates> {
        let gates = self.gates.load_full();
        let config = self.intake.config.load();
        if Arc::ptr_eq(gates.config(), &config) {
            return gates;
        }
        // Two requests may both do this. Should the older of two configurations win, the next request sets it right.
        let fresh = Arc::new(Gates::new(Arc::clone(&config)));
        self.gates.store(Arc::clone(&fresh));
        fresh
    }

    async fn post(&self, gates: &Gates, gate: &Gate, request: Request) -> Result<Appended, Refused> {
        if let Some(what) = gate.closed() {
            return Err(Refused::Closed(what.to_owned()));
        }
        let (head, body) = request.into_parts();
        if is_encoded(&head.headers) {
            return Err(Refused::Encoded);
        }
        let limits = self.intake.timeouts;
        let reading = body::read(body, gates.config().server.max_body_bytes, &self.memory);
        let received = timeout(limits.body, reading)
            .await
            .map_err(|_| Refused::BodyTimeout { seconds: limits.body.as_secs_f32() })??;
        let _ = fail::point("ingest.body_read");
        let start = Instant::now();
        let now_ms = self.intake.clock.now_ms();
        let verified = Unverified::new(head.headers, received.bytes).verify(gate, now_ms)?;
        if let Some(key) = verified.key() {
            gate.tally.key_used(key);
        }
        let event = verified.identify(&gates.config().routes, now_ms);
        let _ = fail::point("ingest.verified");
        let appended = timeout(limits.reply, self.append(event, received.share)).await;
        let _ = fail::point("ingest.before_reply");
        let appended = appended.map_err(|_| Refused::Unanswered)??;
        self.ack_seconds.record(start.elapsed());
        Ok(appended)
    }

    /// Appends to the end: neither a client that hangs up nor a reply that is overdue takes it back. It keeps the body's
    /// share of memory until then.
    async fn append(&self, event: NewEvent, share: impl Send + 'static) -> Result<Appended, Refused> {
        let store = Arc::clone(&self.intake.store);
        let appending = tasks::to_the_end(tasks::unwound(async move {
            let appended = store.append(event).await;
            drop(share);
            appended
        }));
        appending.await.map_err(Refused::Broken)?.map_err(|error: StoreError| error.into())
    }

    /// Counts it, writes down why if it is a refusal, and answers.
    fn answer(&self, gate: Option<&Gate>, peer: SocketAddr, reply: Result<Reply, Refused>) -> Response {
        let source = gate.map_or_else(|| UNKNOWN.into(), |gate| Arc::clone(&gate.source().name));
        let reply = reply.unwrap_or_else(|refused| {
            self.refusals.note(&source, peer, &refused);
            Reply::Refused(refused)
        });
        if let (Some(gate), Reply::Stored(Appended { duplicate: false, .. })) = (gate, &reply) {
            gate.tally.accepted();
            return reply.into_response();
        }
        let reason = reply.reason();
        let response = reply.into_response();
        metrics::counter!(
            "hookbox_ingest_requests_total",
            "source" => source,
            "status" => response.status().as_u16().to_string(),
            "reason" => reason,
        )
        .increment(1);
        response
    }
}

/// Whether the body is anything but itself. Signatures are made over the bytes as sent, and decoding them before they
/// are checked would let anybody fill the memory.
fn is_encoded(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    encodings.any(|encoding| !encoding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity"))
}
