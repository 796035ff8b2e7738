//! A source made ready to receive: its verifier, its extractor and its counters, composed here.
//!
//! Verifying and extracting know nothing of each other. The types of this file hold them together:
//! an [`Unverified`] request becomes [`Verified`] by the verifier of one source, and only the
//! extractor of that source turns it into a `NewEvent`.
//!
//! Invariant: a [`Verified`] is only made here.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::http::header::{CONTENT_TYPE, HeaderName, USER_AGENT};
use axum::http::{HeaderMap, HeaderValue, Method};
use bytes::Bytes;

use super::activity::{SourceActivity, SourceCounts};
use super::ce;
use super::handshake::{HandshakeAnswer, Handshakes};
use super::head::Head;
use super::header;
use super::identify::{BatchFault, EventPart, Extracted, Extractor};
use super::metrics::SourceMetrics;
use super::replies::SourceReplies;
use super::verify::{self, Claimed, KeyRing, Proof, Refusal, Verifier};
use crate::cloudevents::ReceivedEvent;
use crate::config::Routes;
use crate::config::source::Source;
use crate::event::{Attributes, LegacyKey, MAX_NAME_BYTES, NewEvent};
use crate::providers::LoggedEvent;

/// The runtime of a source, made once for every configuration.
#[derive(Debug)]
pub struct SourceRuntime {
    source: Arc<Source>,
    pub(super) verifier: Verifier,
    extractor: Extractor,
    handshakes: Handshakes,
    replies: SourceReplies,
    /// Request headers that are stored with the event.
    stored: Vec<HeaderName>,
    pub(super) metrics: SourceMetrics,
    counts: Arc<SourceCounts>,
    key_uses: Vec<Arc<AtomicI64>>,
}

impl SourceRuntime {
    /// Makes a source ready. A source that cannot be checked (no secret, an empty one, a header
    /// name that is none) refuses every request.
    pub fn new(source: Arc<Source>) -> Self {
        let (verifier, extractor) = (Verifier::new(&source), Extractor::new(&source));
        let stored = stored_headers(&verifier, &extractor);
        let replies = SourceReplies::new(&source.replies);
        let metrics = SourceMetrics::new(&source.name, verifier.keys(), replies.accepted_status());
        let (counts, key_uses, handshakes) = (Arc::default(), Vec::new(), Handshakes::new(&source));
        Self { source, verifier, extractor, handshakes, replies, stored, metrics, counts, key_uses }
    }

    /// The same, counted where operators see it.
    pub(super) fn counted_in(mut self, activity: &SourceActivity) -> Self {
        self.counts = activity.counts(&self.source);
        self.key_uses = self.counts.uses(&self.source, self.verifier.rings());
        self
    }

    /// The requests that it answers without storing anything.
    pub(super) fn handshakes(&self) -> &Handshakes {
        &self.handshakes
    }

    /// Its own replies.
    pub(super) fn replies(&self) -> &SourceReplies {
        &self.replies
    }

    /// The answer to a request, if it is a handshake, at `now_ms` (Unix ms).
    pub fn handshake(&self, head: &Head, body: &[u8], now_ms: i64) -> Option<HandshakeAnswer> {
        let request = Unverified::new(head.clone(), Bytes::copy_from_slice(body));
        let proved = request.verify(self, now_ms).ok().filter(|it| it.head.method == Method::POST);
        self.handshakes.answer(head, body, proved.as_ref().map(|verified| &verified.proof))
    }

    /// Keeps a document with public keys as if it had been fetched from this address. Says whether
    /// a rule of the source has a use for it.
    pub fn keep_key(&self, url: &str, text: &str, now_ms: i64) -> bool {
        self.verifier.keep_key(url, text, now_ms)
    }

    /// Counts what it receives.
    pub(super) fn counts(&self) -> &Arc<SourceCounts> {
        &self.counts
    }

    /// Notes the use of the key at this position.
    pub(super) fn key_used(&self, key: u32, at_ms: i64) {
        self.metrics.key_used(key);
        if let Some(used) = self.key_uses.get(key as usize) {
            used.store(at_ms, Ordering::Relaxed);
        }
    }

    /// Whether the key at this position has ended: a provider has another one since a rotation.
    fn has_ended(&self, key: Option<u32>, now_ms: i64) -> bool {
        key.is_some_and(|key| self.source.provider.has_ended(key as usize, now_ms))
    }

    /// How long ago a request was sent by its own words, in seconds.
    pub(super) fn offset_s(&self, head: &Head, now_ms: i64) -> Option<i64> {
        self.verifier.offset_s(head, now_ms)
    }

    /// Explains a refusal by the head alone.
    pub(super) fn shape_hint(&self, head: &Head, refusal: Refusal) -> Option<String> {
        verify::shape(&self.verifier, head, refusal)
    }

    /// The source it stands for.
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// The missing part, if every request is refused.
    pub fn closed(&self) -> Option<&str> {
        self.verifier.closed()
    }

    /// The event that a delivery of this one from the provider's log would have been.
    pub fn logged(
        &self,
        logged: LoggedEvent,
        routes: &Routes,
        now_ms: i64,
        has_legacy_keys: bool,
    ) -> NewEvent {
        let LoggedEvent { headers, body, .. } = logged;
        let mut map = HeaderMap::new();
        map.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in headers {
            // A value that no header can have is left out, as its delivery would have left it out.
            if let Ok(value) = HeaderValue::from_str(&value) {
                map.insert(HeaderName::from_static(name), value);
            }
        }
        let note = "reconciled: from the provider's log, its delivery never came".to_owned();
        let proof = Proof { note: Some(note), ..Proof::default() };
        let verified = Verified { source: self, head: map.into(), body: body.into(), proof };
        let mut event = verified.identify(routes, now_ms);
        if has_legacy_keys {
            event.legacy_key = self.legacy_key(&event.attributes.body);
        }
        event
    }

    /// Whether its requests may be several events.
    pub(super) fn splits(&self) -> bool {
        self.source.cloudevents || self.extractor.splits()
    }

    /// The event of a CloudEvent. The attributes that an event has no place for, such as `time`,
    /// `source` and extensions, stand beside it like headers, whole.
    fn cloud_event(
        &self,
        head: &Head,
        received: ReceivedEvent,
        proof: (&Proof, Option<usize>),
        now_ms: i64,
    ) -> NewEvent {
        let head = ce::head(head, &received);
        let ReceivedEvent { attributes, data, .. } = received;
        let body = Bytes::from(data);
        let scope = attributes.iter().find(|(name, _)| name == "source");
        let part = EventPart::of_scope(&body, scope.map(|(_, value)| value.as_str()));
        let mut event = self.event(&head, part, proof, now_ms);
        for (name, value) in attributes {
            let name = format!("ce-{name}");
            event.headers.retain(|(known, _)| *known != name);
            event.headers.push((name, value));
        }
        event
    }

    /// The event of an item, or of a request that is kept.
    fn event(
        &self,
        head: &Head,
        part: EventPart<'_>,
        proof: (&Proof, Option<usize>),
        now_ms: i64,
    ) -> NewEvent {
        let mut event = self.bare_event(head, part, proof, now_ms);
        event.attributes.body = part.body.clone();
        event
    }

    /// The event of a request, or of the item at a position, without its body and its targets.
    fn bare_event(
        &self,
        head: &Head,
        part: EventPart<'_>,
        (proof, at): (&Proof, Option<usize>),
        now_ms: i64,
    ) -> NewEvent {
        let headers = &head.headers;
        let sent_at = || proof.sent_at.as_deref().or_else(|| self.verifier.sent_at(head));
        let signed = proof.signed.as_ref().map(|signed| signed.of(at));
        let Extracted { kind, id, subject, is_json, dedupe, spends, note } =
            self.extractor.extract(head, part, sent_at, signed, proof.note.clone());
        let stated = if part.is_item() { None } else { headers.get(CONTENT_TYPE) };
        let content_type = match stated {
            Some(value) => value.to_str().ok().filter(|text| text.len() <= MAX_NAME_BYTES),
            None => is_json.then_some("application/json"),
        };
        NewEvent {
            dedupe,
            spends,
            headers: header::values(&self.stored, headers),
            provider_id: id,
            note,
            ..NewEvent::from(Attributes {
                source: Arc::clone(&self.source.name),
                kind,
                subject,
                content_type: content_type.map(str::to_owned),
                time_ms: now_ms,
                body: Bytes::new(),
            })
        }
    }

    /// The key under which a host of an earlier version may have stored this body.
    pub(super) fn legacy_key(&self, body: &[u8]) -> Option<LegacyKey> {
        self.extractor.legacy_key(body)
    }
}

/// The headers that are stored: the media type, the sender's name, and those in which the source
/// has its id, type, subject and time. Signatures are not: they are credentials for as long as a
/// request may be replayed.
fn stored_headers(verifier: &Verifier, extractor: &Extractor) -> Vec<HeaderName> {
    let own = extractor.headers().into_iter().chain(verifier.timestamp_header()).cloned();
    let mut stored: Vec<HeaderName> = Vec::new();
    for name in [CONTENT_TYPE, USER_AGENT].into_iter().chain(own) {
        let is_signature = verifier.signature_headers().any(|signature| *signature == name);
        if !is_signature && !stored.contains(&name) {
            stored.push(name);
        }
    }
    stored
}

/// A request as it came: nothing in it may be believed.
#[derive(Debug)]
pub struct Unverified {
    head: Head,
    body: Bytes,
}

impl Unverified {
    /// A request's head and its whole body, byte for byte.
    pub fn new(head: impl Into<Head>, body: Bytes) -> Self {
        Self { head: head.into(), body }
    }

    /// Checks it for `source`, at `now_ms` (Unix ms).
    ///
    /// # Errors
    /// It is not authentic.
    pub fn verify(self, source: &SourceRuntime, now_ms: i64) -> Result<Verified<'_>, Refusal> {
        let claim = Claim::new(self.head, source).map_err(|failed| failed.refusal)?;
        claim.verify(self.body, now_ms).map_err(|failed| failed.refusal)
    }
}

/// A request that failed its check.
#[derive(Debug)]
pub(super) struct Unproved {
    pub(super) refusal: Refusal,
    pub(super) head: Head,
    /// The body, if it has been read.
    pub(super) body: Option<Bytes>,
}

/// A request whose head can be that of an authentic one. Its body has not been looked at, and need
/// not have come.
#[derive(Debug)]
pub(super) struct Claim<'s> {
    source: &'s SourceRuntime,
    head: Head,
    /// `None` for a callback, which has no signature.
    claimed: Option<Claimed>,
}

impl<'s> Claim<'s> {
    /// Refuses a head that no body could make authentic.
    pub(super) fn new(head: Head, source: &'s SourceRuntime) -> Result<Self, Box<Unproved>> {
        match source.verifier.claim(&head) {
            Ok(claimed) => Ok(Self { source, head, claimed: Some(claimed) }),
            Err(refusal) => Err(Box::new(Unproved { refusal, head, body: None })),
        }
    }

    /// Takes a head that came to the address of callbacks.
    pub(super) fn of_callback(head: Head, source: &'s SourceRuntime) -> Self {
        Self { source, head, claimed: None }
    }

    /// The head.
    pub(super) fn head(&self) -> &Head {
        &self.head
    }

    /// The ring and the address of a public key that it is checked with.
    pub(super) fn wanted_key(&self, body: &[u8]) -> Option<(&'s KeyRing, String)> {
        self.source.verifier.wanted_key(&self.head, body)
    }

    /// Checks the whole request, at `now_ms` (Unix ms).
    pub(super) fn verify(self, body: Bytes, now_ms: i64) -> Result<Verified<'s>, Box<Unproved>> {
        let Self { source, head, claimed } = self;
        let Some(claimed) = claimed else {
            let note = Some("a callback: its address is secret, and nothing is signed".to_owned());
            let proof = Proof { note, ..Proof::default() };
            return Ok(Verified { source, head, body, proof });
        };
        match source.verifier.check(&claimed, &head, &body, now_ms) {
            Ok(proof) if source.has_ended(proof.key, now_ms) => {
                Err(Box::new(Unproved { refusal: Refusal::Ended, head, body: Some(body) }))
            }
            Ok(proof) => Ok(Verified { source, head, body, proof }),
            Err(refusal) => Err(Box::new(Unproved { refusal, head, body: Some(body) })),
        }
    }
}

/// A request that a holder of one of its source's keys has sent, or one to a source that checks
/// nothing.
#[derive(Debug)]
pub struct Verified<'s> {
    source: &'s SourceRuntime,
    head: Head,
    body: Bytes,
    proof: Proof,
}

impl Verified<'_> {
    /// The answer, if it is a handshake.
    pub(super) fn handshake(&self) -> Option<HandshakeAnswer> {
        self.source.handshakes.answer(&self.head, &self.body, Some(&self.proof))
    }

    /// The position of the key that matched, in the order of the configuration; `None` if nothing
    /// was checked.
    pub fn key(&self) -> Option<u32> {
        self.proof.key
    }

    /// The head.
    pub(super) fn head(&self) -> &Head {
        &self.head
    }

    /// Extracts its attributes and finds the plugins that get it. A request to a source that splits
    /// is not one event but [`Self::events`].
    pub fn identify(self, routes: &Routes, now_ms: i64) -> NewEvent {
        let Self { source, head, body, proof } = self;
        let part = EventPart::whole(&body);
        let mut event = source.bare_event(&head, part, (&proof, None), now_ms);
        event.attributes.body = body;
        event.signed_by = proof.key;
        routes.route(&mut event);
        event
    }

    /// The same for each item of its list.
    ///
    /// # Errors
    /// There is no such list, or an item cannot be an event.
    pub fn events(&self, routes: &Routes, now_ms: i64) -> Result<Vec<NewEvent>, BatchFault> {
        let Self { source, head, body, proof } = self;
        let events = if source.source.cloudevents {
            let each = ce::read(head, body, source.source.verify.leaves_attributes_open())?
                .into_iter()
                .enumerate();
            each.map(|(at, event)| source.cloud_event(head, event, (proof, Some(at)), now_ms))
                .collect()
        } else if source.extractor.splits() {
            let items = source.extractor.items(head, body)?;
            let each = items.parts().enumerate();
            each.map(|(at, part)| source.event(head, part, (proof, Some(at)), now_ms)).collect()
        } else {
            let part = EventPart::whole(body);
            vec![source.event(head, part, (proof, None), now_ms)]
        };
        let routed = |mut event: NewEvent| {
            event.signed_by = proof.key;
            routes.route(&mut event);
            event
        };
        Ok(Vec::into_iter(events).map(routed).collect())
    }
}
