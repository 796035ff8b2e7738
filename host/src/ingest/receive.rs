//! The road of one request.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use axum::http::header::CONTENT_ENCODING;
use axum::http::{HeaderMap, Method, Request};
use axum::response::Response;
use hyper::body::{Body, Incoming};
use metrics::Histogram;
use percent_encoding::percent_decode_str;
use tokio::time::timeout;

use super::body::{self, BodyMemory, MaxBody, Reservation};
use super::client::{Client, ShareKey};
use super::gate::{Gate, Gates};
use super::refusals::{Refusals, ShareNotices};
use super::reply::{Refused, Reply};
use super::serve::Answers;
use super::verify::Claim;
use super::{Intake, strict};
use crate::event::{NewEvent, UNIDENTIFIED};
use crate::store::{Appended, StoreError};
use crate::{fail, tasks};

/// What stands for a source that does not exist: names from outside are never labels.
const UNKNOWN: &str = "unknown";

/// Where a probe asks whether the process answers.
const HEALTH: &str = "/healthz";

/// What every request shares.
#[derive(Debug)]
pub(super) struct Receiver {
    intake: Intake,
    gates: ArcSwap<Gates>,
    memory: Arc<BodyMemory>,
    refusals: Refusals,
    shares: ShareNotices,
    ack_seconds: Histogram,
}

impl Answers for Arc<Receiver> {
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response {
        let gates = self.gates();
        let client = Client::of(peer, request.headers(), &gates.config().server.trusted_proxies);
        let path = request.uri().path();
        let gate = source_name(path).and_then(|name| gates.get(&name));
        let method = request.method().clone();
        let reply = match gate {
            _ if let Err(refused) = strict::check(request.version(), request.headers()) => Err(refused),
            None if path == HEALTH => health(&method),
            None => Err(Refused::NoSource),
            Some(gate) if method == Method::POST => {
                let memory = self.memory.reserve(client.share);
                self.post(&gates, gate, request, memory).await.map(Reply::Stored)
            }
            Some(_) if method == Method::OPTIONS => Ok(Reply::Options),
            Some(_) => Err(Refused::Method),
        };
        self.reply(gate, &client, reply)
    }

    fn share_of(&self, peer: SocketAddr) -> Option<ShareKey> {
        let trusted = self.intake.config.load().server.trusted_proxies.contain(peer.ip());
        (!trusted).then(|| ShareKey::of(peer.ip()))
    }

    fn over_share(&self, client: ShareKey) {
        self.shares.note(client, "connections");
    }
}

/// A probe of the process: whoever may send webhooks may know that it answers, and nothing else.
fn health(method: &Method) -> Result<Reply, Refused> {
    if matches!(*method, Method::GET | Method::HEAD) { Ok(Reply::Healthy) } else { Err(Refused::ProbeMethod) }
}

/// The name in `/webhook/NAME` or `/webhook/NAME/`. One that is not UTF-8 when decoded is no source's name.
fn source_name(path: &str) -> Option<Cow<'_, str>> {
    let name = path.strip_prefix("/webhook/")?;
    let name = name.strip_suffix('/').unwrap_or(name);
    if name.contains('/') {
        return None;
    }
    percent_decode_str(name).decode_utf8().ok()
}

impl Receiver {
    pub(super) fn new(intake: Intake) -> Self {
        let config = intake.config.load_full();
        let memory = BodyMemory::new(intake.capacity.body_bytes, config.largest_body_bytes());
        Self {
            gates: ArcSwap::from_pointee(Gates::new(config)),
            memory: Arc::new(memory),
            refusals: Refusals::new(),
            shares: ShareNotices::new(),
            ack_seconds: metrics::histogram!("hookbox_ingest_ack_seconds"),
            intake,
        }
    }

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

    /// The road of a webhook. Its body is read only if the header can be that of an authentic request: otherwise anybody
    /// could fill the memory.
    async fn post(
        &self,
        gates: &Gates,
        gate: &Gate,
        request: Request<Incoming>,
        mut memory: Reservation,
    ) -> Result<Appended, Refused> {
        if let Some(what) = gate.closed() {
            return Err(Refused::Closed(what.to_owned()));
        }
        let (head, body) = request.into_parts();
        if is_encoded(&head.headers) {
            return Err(Refused::Encoded);
        }
        let has_body = !body.is_end_stream();
        let refuse = |refusal| if has_body { Refused::Unread(refusal) } else { Refused::Unverified(refusal) };
        let claim = Claim::new(head.headers, gate).map_err(refuse)?;
        let limits = self.intake.timeouts;
        let max_body = MaxBody::of(gate.source(), gates.config());
        let received = {
            let reading = pin!(body::read(body, max_body, &mut memory));
            timeout(limits.body, reading).await
        };
        let received = received.map_err(|_| Refused::BodyTimeout { seconds: limits.body.as_secs_f32() })??;
        let _ = fail::point("ingest.body_read");
        let start = Instant::now();
        let now_ms = self.intake.clock.now_ms();
        let verified = claim.verify(received, now_ms)?;
        if let Some(key) = verified.key() {
            gate.tally.key_used(key);
        }
        let mut event = verified.identify(&gates.config().routes, now_ms);
        if self.intake.store.has_legacy_keys() {
            event.legacy_key = gate.dedupe.legacy_key(&event.attributes.body);
        }
        let untyped = (event.attributes.kind == UNIDENTIFIED).then(|| event.note.clone().unwrap_or_default());
        let _ = fail::point("ingest.verified");
        let appended = timeout(limits.reply, self.append(event, memory)).await;
        let _ = fail::point("ingest.before_reply");
        let appended = appended.map_err(|_| Refused::Unanswered)??;
        self.ack_seconds.record(start.elapsed());
        if let Some(reason) = untyped.filter(|_| !appended.duplicate) {
            self.tell_untyped(gates, gate, &appended, &reason, now_ms);
        }
        Ok(appended)
    }

    /// Counts an event without a type. A route that names `hookbox.unidentified` says that this is expected.
    fn tell_untyped(&self, gates: &Gates, gate: &Gate, appended: &Appended, reason: &str, now_ms: i64) {
        let source = &gate.source().name;
        gate.tally.unidentified();
        if !gates.config().routes.names(source, UNIDENTIFIED) {
            self.intake.unidentified.note(source, appended.id, reason, now_ms);
        }
    }

    /// Appends to the end: neither a client that hangs up nor a reply that is overdue takes it back. It keeps the body's
    /// memory until then.
    async fn append(&self, event: NewEvent, memory: Reservation) -> Result<Appended, Refused> {
        let store = Arc::clone(&self.intake.store);
        let appending = tasks::to_the_end(tasks::unwound(async move {
            let appended = store.append(event).await;
            drop(memory);
            appended
        }));
        appending.await.map_err(Refused::Broken)?.map_err(|error: StoreError| error.into())
    }

    /// Counts it, writes down why if it is a refusal, and answers.
    fn reply(&self, gate: Option<&Gate>, client: &Client, reply: Result<Reply, Refused>) -> Response {
        let source = gate.map_or_else(|| UNKNOWN.into(), |gate| Arc::clone(&gate.source().name));
        let reply = reply.unwrap_or_else(|refused| {
            self.refusals.note(&source, client, &refused);
            if let (Refused::ClientShare, Some(share)) = (&refused, client.share) {
                self.shares.note(share, "memory for bodies");
            }
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
