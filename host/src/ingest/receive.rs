//! The road of one request, in the order of its steps.

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
use percent_encoding::percent_decode_str;
use tokio::time::timeout;

use super::body::{self, BodyError, BodyMemory, MaxBody, NoMemory, Reservation};
use super::handshake;
use super::intake::Intake;
use super::rejection_log::RejectionLog;
use super::reply::{IngestReply, Rejection};
use super::source::{Claim, SourceRuntime, Sources};
use super::verify::Head;
use crate::event::{NewEvent, UNIDENTIFIED};
use crate::server::{self, Client, Handler, ShareKey, ShareLog};
use crate::store::{Appended, StoreError};
use crate::{fail, tasks};

/// The label of sources that do not exist: names from outside are never labels.
const UNKNOWN: &str = "unknown";

/// The path of the probe.
const HEALTH: &str = "/healthz";

/// State that all requests share.
#[derive(Debug)]
pub(super) struct Receiver {
    intake: Intake,
    sources: ArcSwap<Sources>,
    memory: Arc<BodyMemory>,
    rejections: RejectionLog,
    shares: ShareLog,
}

impl Handler for Arc<Receiver> {
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response {
        let sources = self.sources();
        let client = Client::of(peer, request.headers(), &sources.config().server.trusted_proxies);
        let path = request.uri().path();
        let source = source_name(path).and_then(|name| sources.get(&name));
        let method = request.method().clone();
        let reply = match source {
            _ if let Err(ambiguous) = server::check(request.version(), request.headers()) => {
                Err(ambiguous.into())
            }
            None if path == HEALTH => health(&method),
            None => Err(Rejection::NoSource),
            Some(source) if method == Method::POST => {
                let memory = self.memory.reserve(client.share);
                self.post(&sources, source, request, memory).await.map(IngestReply::Stored)
            }
            Some(_) => {
                handshake::find(&method).map(IngestReply::Handshake).ok_or(Rejection::Method)
            }
        };
        self.reply(source, &client, reply)
    }

    fn share_of(&self, peer: SocketAddr) -> Option<ShareKey> {
        let trusted = self.intake.config.load().server.trusted_proxies.contain(peer.ip());
        (!trusted).then(|| ShareKey::of(peer.ip()))
    }

    fn over_share(&self, client: ShareKey) {
        self.shares.note(client, "connections");
    }
}

/// A probe of the process: senders of webhooks may know that it answers, and nothing else.
fn health(method: &Method) -> Result<IngestReply, Rejection> {
    let is_probe = matches!(*method, Method::GET | Method::HEAD);
    if is_probe { Ok(IngestReply::Healthy) } else { Err(Rejection::ProbeMethod) }
}

/// The name in `/webhook/NAME` or `/webhook/NAME/`. A name that is not UTF-8 when decoded is no
/// source's name.
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
            sources: ArcSwap::from_pointee(Sources::new(config)),
            memory: Arc::new(memory),
            rejections: RejectionLog::new(),
            shares: ShareLog::new(),
            intake,
        }
    }

    /// The sources of the running configuration, made ready anew when it has changed.
    fn sources(&self) -> Arc<Sources> {
        let sources = self.sources.load_full();
        let config = self.intake.config.load();
        if Arc::ptr_eq(sources.config(), &config) {
            return sources;
        }
        // Two requests may both do this. If the older configuration wins, the next request mends
        // it.
        let fresh = Arc::new(Sources::new(Arc::clone(&config)));
        self.sources.store(Arc::clone(&fresh));
        fresh
    }

    /// The road of a webhook. Its body is read only if its head can be that of an authentic
    /// request: otherwise anybody could fill the memory.
    async fn post(
        &self,
        sources: &Sources,
        source: &SourceRuntime,
        request: Request<Incoming>,
        mut memory: Reservation,
    ) -> Result<Appended, Rejection> {
        if let Some(what) = source.closed() {
            return Err(Rejection::Closed(what.to_owned()));
        }
        let (head, body) = request.into_parts();
        if is_encoded(&head.headers) {
            return Err(Rejection::Encoded);
        }
        let has_body = !body.is_end_stream();
        let refuse = |refusal| {
            if has_body { Rejection::Unread(refusal) } else { Rejection::Unverified(refusal) }
        };
        let claim = Claim::new(Head::from(head), source).map_err(refuse)?;
        let limits = self.intake.timeouts;
        let max_body = MaxBody::of(source.source(), sources.config());
        let received = {
            let reading = pin!(body::read(body, max_body, &mut memory));
            timeout(limits.body, reading).await
        };
        let received = received
            .map_err(|_| Rejection::BodyTimeout { seconds: limits.body.as_secs_f32() })??;
        let _ = fail::point("ingest.body_read");
        let start = Instant::now();
        let now_ms = self.intake.clock.now_ms();
        let verified = claim.verify(received, now_ms)?;
        if let Some(key) = verified.key() {
            source.metrics.key_used(key);
        }
        let mut event = verified.identify(&sources.config().routes, now_ms);
        if self.intake.store.has_legacy_keys() {
            event.legacy_key = source.legacy_key(&event.attributes.body);
        }
        let untyped =
            (event.attributes.kind == UNIDENTIFIED).then(|| event.note.clone().unwrap_or_default());
        let _ = fail::point("ingest.verified");
        let appended = timeout(limits.reply, self.append(event, memory)).await;
        let _ = fail::point("ingest.before_reply");
        let appended = appended.map_err(|_| Rejection::Unanswered)??;
        source.metrics.acknowledged(start.elapsed());
        if let Some(reason) = untyped.filter(|_| !appended.duplicate) {
            self.tell_untyped(sources, source, &appended, &reason, now_ms);
        }
        Ok(appended)
    }

    /// Counts an event without a type. A route that names `hookbox.unidentified` says that this is
    /// expected.
    fn tell_untyped(
        &self,
        sources: &Sources,
        source: &SourceRuntime,
        appended: &Appended,
        reason: &str,
        now_ms: i64,
    ) {
        source.metrics.unidentified();
        let name = &source.source().name;
        if !sources.config().routes.names(name, UNIDENTIFIED) {
            self.intake.unidentified.note(name, appended.id, reason, now_ms);
        }
    }

    /// Appends to the end: neither a client that hangs up nor an overdue reply cancels it. It keeps
    /// the body's memory until then.
    async fn append(&self, event: NewEvent, memory: Reservation) -> Result<Appended, Rejection> {
        let store = Arc::clone(&self.intake.store);
        let appending = tasks::detach_on_drop(tasks::unwound(async move {
            let appended = store.append(event).await;
            drop(memory);
            appended
        }));
        appending.await.map_err(Rejection::Broken)?.map_err(|error: StoreError| error.into())
    }

    /// Counts the request, logs a rejection, and answers.
    fn reply(
        &self,
        source: Option<&SourceRuntime>,
        client: &Client,
        reply: Result<IngestReply, Rejection>,
    ) -> Response {
        let name =
            source.map_or_else(|| UNKNOWN.into(), |source| Arc::clone(&source.source().name));
        let reply = reply.unwrap_or_else(|rejection| {
            self.rejections.note(&name, client, &rejection);
            let over_share =
                matches!(rejection, Rejection::Body(BodyError::NoMemory(NoMemory::ClientShare)));
            if let Some(share) = client.share.filter(|_| over_share) {
                self.shares.note(share, "memory for bodies");
            }
            IngestReply::Rejected(rejection)
        });
        if let (Some(source), IngestReply::Stored(Appended { duplicate: false, .. })) =
            (source, &reply)
        {
            source.metrics.accepted();
            return reply.into_response();
        }
        let reason = reply.reason();
        let response = reply.into_response();
        metrics::counter!(
            "hookbox_ingest_requests_total",
            "source" => name,
            "reason" => reason,
            "code" => response.status().as_u16().to_string(),
        )
        .increment(1);
        response
    }
}

/// Whether the body has a content encoding. Signatures cover the bytes as sent, and decoding them
/// before they are checked would let anybody fill the memory.
fn is_encoded(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    encodings.any(|encoding| !encoding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity"))
}
