//! The road of a webhook, in the order of its steps.

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use axum::http::header::CONTENT_ENCODING;
use axum::http::{HeaderMap, Method, Request};
use bytes::Bytes;
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

use super::body::{self, MaxBody, Reservation};
use super::callback;
use super::confirm;
use super::handshake::{HandshakeAnswer, MAX_OPEN_BODY_BYTES, OfferedSecret};
use super::head::Head;
use super::intake::Intake;
use super::refused::{NotedParts, RefusedRequest};
use super::reply::{IngestReply, Rejection};
use super::single_use::SentEvent;
use super::source::{Claim, SourceRuntime, Unproved, Verified};
use super::sources::Sources;
use super::verify::{KeyRing, Refusal};
use crate::event::{AppendSpan, Attributes, NewEvent, UNIDENTIFIED};
use crate::series::PairKind;
use crate::server::Client;
use crate::store::{Appended, StoreError};
use crate::trace::SpanContext;
use crate::{fail, tasks};

/// A webhook of one source.
#[derive(Debug, Clone, Copy)]
pub(super) struct Posting<'a> {
    pub(super) intake: &'a Intake,
    pub(super) sources: &'a Sources,
    pub(super) source: &'a SourceRuntime,
    /// The request's span, if it is traced.
    pub(super) trace: Option<SpanContext>,
    /// The sender.
    pub(super) client: &'a Client,
    /// Whether it came to the address of callbacks, and so needs no signature.
    pub(super) is_callback: bool,
}

/// A request that was looked at.
enum Checked<'a> {
    /// It is authentic: with the moment and the time at which it was there.
    Proved(Verified<'a>, Instant, i64),
    /// It is a handshake that needs no proof.
    Open(HandshakeAnswer, Head),
}

impl<'a> Posting<'a> {
    /// Receives a webhook. Its body is read only if its head can be that of an authentic request:
    /// otherwise anybody could fill the memory.
    pub(super) async fn receive(
        self,
        request: Request<Incoming>,
        mut memory: Reservation,
    ) -> Result<IngestReply, Box<RefusedRequest>> {
        let Self { intake, sources, source, is_callback, .. } = self;
        let (verified, start, now_ms) = match self.verify(request, &mut memory).await? {
            Checked::Proved(verified, start, now_ms) => (verified, start, now_ms),
            Checked::Open(answer, head) => return self.handshake(answer, &head).await,
        };
        if !is_callback && let Some(answer) = verified.handshake() {
            return self.handshake(answer, verified.head()).await;
        }
        if let Some(key) = verified.key() {
            source.key_used(key, now_ms);
        }
        if source.splits() {
            return self.receive_all(&verified, (start, now_ms), memory).await;
        }
        let mut event = verified.identify(&sources.config().routes, now_ms);
        if intake.store.has_legacy_keys() {
            event.legacy_key = source.legacy_key(&event.attributes.body);
        }
        if is_callback {
            callback::check(source, &event, &*intake.reads).await?;
        }
        let sent = SentEvent::to_check(source.source(), &event);
        let untyped = untyped(&event);
        let Attributes { source: name, kind, .. } = &event.attributes;
        let pair = intake.series.pairs().of(PairKind::Received, name, kind);
        let span = self.trace.and_then(|parent| intake.tracer.child_of(parent));
        let span = span.map(|span| AppendSpan::begin(span, &mut event, None));
        let _ = fail::point("ingest.verified");
        let appended = timeout(intake.timeouts.reply, self.append(event, memory, span)).await;
        let _ = fail::point("ingest.before_reply");
        let appended = appended.map_err(|_| Rejection::Unanswered)??;
        if let Some(sent) = sent
            && appended.duplicate
        {
            sent.check(appended.id, &*intake.reads).await?;
        }
        source.metrics.acknowledged(start.elapsed());
        source.counts().stored(appended.duplicate, now_ms);
        if !appended.duplicate {
            pair.count(false);
        }
        if let Some(reason) = untyped
            && !appended.duplicate
        {
            self.tell_untyped(&appended, &reason, now_ms);
        }
        Ok(IngestReply::Stored(appended))
    }

    /// Reads a request and checks it: with the moment and the time at which it was there.
    async fn verify(
        self,
        request: Request<Incoming>,
        memory: &mut Reservation,
    ) -> Result<Checked<'a>, Box<RefusedRequest>> {
        let Self { intake, sources, source, is_callback, client, .. } = self;
        let (head, body) = request.into_parts();
        let may_be_open = !is_callback && source.handshakes().takes(&Method::POST);
        if !may_be_open
            && !is_callback
            && let Some(what) = source.closed()
        {
            return Err(self.refused(Rejection::Closed(what.to_owned()), &head.into()));
        }
        if is_encoded(&head.headers) {
            return Err(self.refused(Rejection::Encoded, &head.into()));
        }
        let has_body = !body.is_end_stream();
        let claimed = match is_callback {
            true => Ok(Claim::of_callback(Head::from(head), source)),
            false => Claim::new(Head::from(head), source),
        };
        let claim = match claimed {
            Ok(claim) => claim,
            Err(unproved)
                if may_be_open && source.handshakes().may_be_open_post(&unproved.head) =>
            {
                return self.open(*unproved, body, memory).await;
            }
            Err(unproved) => return Err(self.unproved(*unproved, has_body)),
        };
        let max_body = MaxBody::of(source.source(), sources.config());
        let received = match self.read(body, max_body, memory).await {
            Ok(received) => received,
            Err(rejection) => return Err(self.refused(rejection, claim.head())),
        };
        let wanted = claim.wanted_key(&received);
        if let Some((ring, url)) = &wanted
            && let Err(no_key) = intake.keys.have(ring, url, client.key, &intake.clock).await
        {
            return Err(self.refused(no_key.into(), claim.head()));
        }
        let _ = fail::point("ingest.body_read");
        let start = Instant::now();
        let now_ms = intake.clock.now_ms();
        let verified = match claim.verify(received, now_ms) {
            Err(unproved) => self.verify_again(unproved, wanted, now_ms).await,
            verified => verified,
        };
        match verified {
            Ok(verified) => Ok(Checked::Proved(verified, start, now_ms)),
            Err(unproved) => self.open_answer(*unproved),
        }
    }

    /// Checks a request with newer keys, if the known ones do not fit and may be fetched again.
    async fn verify_again(
        self,
        unproved: Box<Unproved>,
        wanted: Option<(&KeyRing, String)>,
        now_ms: i64,
    ) -> Result<Verified<'a>, Box<Unproved>> {
        let Self { intake, source, client, .. } = self;
        if unproved.refusal != Refusal::Mismatch {
            return Err(unproved);
        }
        let Some((ring, url)) = wanted else { return Err(unproved) };
        if !intake.keys.renew(ring, &url, client.key, &intake.clock).await {
            return Err(unproved);
        }
        let Unproved { head, body, .. } = *unproved;
        Claim::new(head, source)?.verify(body.unwrap_or_default(), now_ms)
    }

    /// Reads a body to its end, within its time.
    async fn read(
        self,
        body: Incoming,
        max: MaxBody,
        memory: &mut Reservation,
    ) -> Result<Bytes, Rejection> {
        let within = self.intake.timeouts.body;
        let reading = pin!(body::read(body, max, memory));
        let late = || Rejection::BodyTimeout { seconds: within.as_secs_f32() };
        Ok(timeout(within, reading).await.map_err(|_| late())??)
    }

    /// Reads the short body of a request that has not proved itself: it may be a handshake.
    async fn open(
        self,
        unproved: Unproved,
        body: Incoming,
        memory: &mut Reservation,
    ) -> Result<Checked<'a>, Box<RefusedRequest>> {
        let max = MaxBody { bytes: MAX_OPEN_BODY_BYTES, of_source: false };
        match self.read(body, max, memory).await {
            Ok(body) => self.open_answer(Unproved { body: Some(body), ..unproved }),
            Err(_) => Err(self.unproved(unproved, true)),
        }
    }

    /// The answer to a handshake that needs no proof, or the refusal.
    fn open_answer(self, unproved: Unproved) -> Result<Checked<'a>, Box<RefusedRequest>> {
        let body = unproved.body.as_deref().unwrap_or_default();
        let answer = self.source.handshakes().answer(&unproved.head, body, None);
        match answer {
            Some(answer) if !self.is_callback => Ok(Checked::Open(answer, unproved.head)),
            _ => Err(self.unproved(unproved, false)),
        }
    }

    /// Answers a handshake, once the secret that it brings is kept.
    async fn handshake(
        self,
        mut answer: HandshakeAnswer,
        head: &Head,
    ) -> Result<IngestReply, Box<RefusedRequest>> {
        let Self { intake, source, client, .. } = self;
        if let Some(url) = answer.then.take() {
            let (name, counts) = (&source.source().name, source.counts());
            let with = (intake.keys.clone(), intake.clock.clone());
            confirm::begin(url, Arc::clone(name), Arc::clone(counts), with);
        }
        let Some(OfferedSecret { secret, shows }) = answer.offer.take() else {
            return Ok(IngestReply::Handshake(answer));
        };
        let now_ms = intake.clock.now_ms();
        let windows = intake.activity.windows();
        let offer = (&**source.source(), secret);
        let asked = (now_ms, shows);
        match windows.take(offer, &intake.config, client.to_string(), asked).await {
            Ok(()) => Ok(IngestReply::Handshake(answer)),
            Err(not_taken) => {
                let mut refused = self.refused(not_taken.into(), head);
                let name = &source.source().name;
                let command = format!("`hookbox sources {name} take-secret`");
                refused.seen.say(format!("{command} takes the secret of the next handshake"));
                Err(refused)
            }
        }
    }

    #[cold]
    pub(super) fn refused(self, rejection: Rejection, head: &Head) -> Box<RefusedRequest> {
        let seen = NotedParts::of_head(self.source, head, self.intake.clock.now_ms());
        Box::new(RefusedRequest { rejection, seen })
    }

    #[cold]
    fn unproved(self, unproved: Unproved, is_unread: bool) -> Box<RefusedRequest> {
        let refusal = unproved.refusal;
        let rejection =
            if is_unread { Rejection::Unread(refusal) } else { Rejection::Unverified(refusal) };
        let seen = NotedParts::of_unproved(self.source, unproved, self.intake.clock.now_ms());
        Box::new(RefusedRequest { rejection, seen })
    }

    /// Counts an event without a type. A route that names `hookbox.unidentified` says that this is
    /// expected.
    pub(super) fn tell_untyped(self, appended: &Appended, reason: &str, now_ms: i64) {
        self.source.metrics.unidentified();
        let name = &self.source.source().name;
        if !self.sources.config().routes.names(name, UNIDENTIFIED) {
            self.intake.unidentified.note(name, appended.id, reason, now_ms);
        }
    }

    /// Appends to the end: neither a client that hangs up nor an overdue reply cancels it. It keeps
    /// the body's memory until then.
    async fn append(
        self,
        event: NewEvent,
        memory: Reservation,
        span: Option<AppendSpan>,
    ) -> Result<Appended, Rejection> {
        let store = Arc::clone(&self.intake.store);
        let appending = tasks::detach_on_drop(tasks::unwound(async move {
            let appended = store.append(event).await;
            drop(memory);
            if let (Some(span), Ok(appended)) = (span, &appended) {
                span.end_as(appended.id, appended.duplicate);
            }
            appended
        }));
        appending.await.map_err(Rejection::Broken)?.map_err(|error: StoreError| error.into())
    }
}

/// Why an event has no type, if it has none.
pub(super) fn untyped(event: &NewEvent) -> Option<String> {
    (event.attributes.kind == UNIDENTIFIED).then(|| event.note.clone().unwrap_or_default())
}

/// Whether the body has a content encoding. Signatures cover the bytes as sent, and decoding them
/// before they are checked would let anybody fill the memory.
fn is_encoded(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    encodings.any(|encoding| !encoding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity"))
}
