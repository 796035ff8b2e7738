//! Takes requests: finds the source, has webhooks received, counts, and replies.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::http::{Method, Request};
use axum::response::Response;
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;

use super::body::{BodyError, BodyMemory, NoMemory};
use super::callback;
use super::handshake::{self, HandshakeAnswer};
use super::head::Head;
use super::intake::Intake;
use super::metrics::InFlightGauge;
use super::post::Posting;
use super::refused::{NotedParts, RefusalHandler, RefusedRequest};
use super::rejection_log::RejectionLog;
use super::reply::{IngestReply, Rejection};
use super::source::SourceRuntime;
use super::sources::Sources;
use super::spans::RequestSpan;
use crate::server::{self, Client, ClientKey, Handler, LimitLog};
use crate::trace;

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
    refusals: RefusalHandler,
    limits: LimitLog,
    in_flight: InFlightGauge,
}

impl Handler for Arc<Receiver> {
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response {
        let _in_flight = self.in_flight.begin();
        let sources = self.sources();
        let client = Client::of(peer, request.headers(), &sources.config().server.trusted_proxies);
        let path = request.uri().path();
        let named = source_name(path).and_then(|name| sources.get(&name));
        let called = if named.is_none() { callback::find(path, &sources) } else { None };
        let source = named.or(called);
        let method = request.method().clone();
        let span = source.and_then(|source| {
            let is_callback = called.is_some();
            RequestSpan::begin(&self.intake.tracer, source.source(), is_callback, &request, &client)
        });
        let trace = span.as_ref().map(RequestSpan::context);
        let reply = match source {
            _ if let Err(ambiguous) = server::check(request.version(), request.headers()) => {
                let seen = NotedParts::of(request.headers());
                Err(Box::new(RefusedRequest { rejection: ambiguous.into(), seen }))
            }
            None if path == HEALTH => health(&method).map_err(Into::into),
            None => Err(Rejection::NoSource.into()),
            Some(source) if takes(source, &method) => {
                let memory = self.memory.reserve(client.key);
                let is_callback = called.is_some();
                let intake = &self.intake;
                let (sources, client) = (&*sources, &client);
                let posting = Posting { intake, sources, source, trace, client, is_callback };
                let received = posting.receive(request, memory);
                match trace {
                    None => received.await,
                    Some(context) => trace::within(context, received).await,
                }
            }
            Some(source) => answer_early(source, request).map(IngestReply::Handshake),
        };
        let Some(span) = span else { return self.reply(&sources, source, &client, reply) };
        let _entered = trace::enter(trace);
        let refusal = reply.as_ref().err().map(|refused| refused.rejection.reason().name());
        let response = self.reply(&sources, source, &client, reply);
        span.end(response.status().as_u16(), refusal);
        response
    }

    fn key_of(&self, peer: SocketAddr) -> Option<ClientKey> {
        let trusted = self.intake.config.load().server.trusted_proxies.contain(peer.ip());
        (!trusted).then(|| ClientKey::of(peer.ip()))
    }

    fn over_limit(&self, client: ClientKey) {
        self.limits.note(client, "connections");
    }
}

/// Whether events come by this method.
fn takes(source: &SourceRuntime, method: &Method) -> bool {
    *method == Method::POST || (*method == Method::PUT && source.replies().takes_put)
}

/// The answer to a request by which no event comes.
fn answer_early(
    source: &SourceRuntime,
    request: Request<Incoming>,
) -> Result<HandshakeAnswer, Box<RefusedRequest>> {
    let head = Head::from(request.into_parts().0);
    let own = source.handshakes().answer(&head, &[], None);
    let takes_put = source.replies().takes_put;
    own.or_else(|| handshake::find(&head.method, takes_put)).ok_or_else(|| {
        let seen = NotedParts::of(&head.headers);
        Box::new(RefusedRequest { rejection: Rejection::Method { takes_put }, seen })
    })
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
            sources: ArcSwap::from_pointee(Sources::new(config, &intake.activity)),
            memory: Arc::new(memory),
            rejections: RejectionLog::new(),
            refusals: RefusalHandler::new(),
            limits: LimitLog::new(),
            in_flight: InFlightGauge::new(),
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
        let fresh = Arc::new(Sources::new(Arc::clone(&config), &self.intake.activity));
        self.sources.store(Arc::clone(&fresh));
        fresh
    }

    /// Counts the request, logs a rejection, and answers.
    fn reply(
        &self,
        sources: &Arc<Sources>,
        source: Option<&SourceRuntime>,
        client: &Client,
        reply: Result<IngestReply, Box<RefusedRequest>>,
    ) -> Response {
        let name =
            source.map_or_else(|| UNKNOWN.into(), |source| Arc::clone(&source.source().name));
        let reply = reply.unwrap_or_else(|refused| {
            let RefusedRequest { rejection, seen } = *refused;
            self.rejections.note(&name, client, &rejection);
            let over_limit =
                matches!(rejection, Rejection::Body(BodyError::NoMemory(NoMemory::ClientShare)));
            if over_limit && let Some(key) = client.key {
                self.limits.note(key, "memory for bodies");
            }
            if let Some(source) = source {
                let (refused, now_ms) = ((rejection.reason(), seen), self.intake.clock.now_ms());
                self.refusals.note(sources, source, client, refused, now_ms);
            }
            IngestReply::Rejected(rejection)
        });
        if let Some(source) = source
            && reply.is_new()
        {
            source.metrics.accepted();
            return reply.into_response(Some(source.replies()));
        }
        let reason = reply.reason();
        let response = reply.into_response(source.map(SourceRuntime::replies));
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
