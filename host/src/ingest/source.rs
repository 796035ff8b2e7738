//! A source made ready to receive: its verifier, its extractor and its counters, composed here.
//!
//! Verifying and extracting know nothing of each other. The types of this file hold them together:
//! an [`Unverified`] request becomes [`Verified`] by the verifier of one source, and only the
//! extractor of that source turns it into a `NewEvent`.
//!
//! Invariant: a [`Verified`] is only made here.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::http::header::{CONTENT_TYPE, HeaderName, USER_AGENT};
use axum::http::{HeaderMap, HeaderValue, Method};
use bytes::Bytes;

use super::activity::{SourceActivity, SourceTally};
use super::handshake::{HandshakeAnswer, Handshakes};
use super::head::Head;
use super::identify::{Extracted, Extractor};
use super::metrics::SourceMetrics;
use super::verify::{self, Claimed, KeyRing, Proof, Refusal, Verifier};
use crate::config::source::{Source, Verify};
use crate::config::{Config, Routes};
use crate::event::{Attributes, LegacyKey, MAX_NAME_BYTES, NewEvent};
use crate::providers::LoggedEvent;

/// A stored header's value is cut to this many bytes.
const MAX_HEADER_BYTES: usize = 1_024;

/// The runtime of a source, made once for every configuration.
#[derive(Debug)]
pub struct SourceRuntime {
    source: Arc<Source>,
    verifier: Verifier,
    extractor: Extractor,
    handshakes: Handshakes,
    /// Request headers that are stored with the event.
    stored: Vec<HeaderName>,
    pub(super) metrics: SourceMetrics,
    tally: Arc<SourceTally>,
    key_uses: Vec<Arc<AtomicI64>>,
}

impl SourceRuntime {
    /// Makes a source ready. A source that cannot be checked (no secret, an empty one, a header
    /// name that is none) refuses every request.
    pub fn new(source: Arc<Source>) -> Self {
        let (verifier, extractor) = (Verifier::new(&source), Extractor::new(&source));
        let stored = stored_headers(&verifier, &extractor);
        let metrics = SourceMetrics::new(&source.name, verifier.keys());
        let (tally, key_uses) = (Arc::default(), Vec::new());
        let handshakes = Handshakes::new(&source);
        Self { source, verifier, extractor, handshakes, stored, metrics, tally, key_uses }
    }

    /// The same, counted where operators see it.
    fn counted_in(mut self, activity: &SourceActivity) -> Self {
        self.tally = activity.tally(&self.source);
        self.key_uses = self.tally.uses(&self.source);
        self
    }

    /// Whether a token of its requests is good for one event, because it covers no body.
    pub(super) fn takes_tokens_once(&self) -> bool {
        let Verify::Signature(signature) = &self.source.verify else { return false };
        let mut rules = std::iter::once(signature).chain(&signature.others);
        rules.any(|rule| rule.is_bare_token() && self.source.dedupe.goes_by_signed(rule))
    }

    /// The requests that it answers without storing anything.
    pub(super) fn handshakes(&self) -> &Handshakes {
        &self.handshakes
    }

    /// The answer to a request, if it is a handshake, at `now_ms` (Unix ms).
    pub fn handshake(&self, head: &Head, body: &[u8], now_ms: i64) -> Option<HandshakeAnswer> {
        let request = Unverified::new(head.clone(), Bytes::copy_from_slice(body));
        let is_verified = head.method == Method::POST && request.verify(self, now_ms).is_ok();
        self.handshakes.answer(head, body, is_verified)
    }

    /// Keeps a document with public keys as if it had been fetched from this address. Says whether
    /// a rule of the source has a use for it.
    pub fn keep_key(&self, url: &str, text: &str, now_ms: i64) -> bool {
        self.verifier.keep_key(url, text, now_ms)
    }

    /// Counts what it receives.
    pub(super) fn tally(&self) -> &Arc<SourceTally> {
        &self.tally
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
        let note = Some("reconciled: from the provider's log, its delivery never came".to_owned());
        let proof = Proof { note, ..Proof::default() };
        let verified = Verified { source: self, head: map.into(), body: body.into(), proof };
        let mut event = verified.identify(routes, now_ms);
        if has_legacy_keys {
            event.legacy_key = self.legacy_key(&event.attributes.body);
        }
        event
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
        self.source.handshakes.answer(&self.head, &self.body, true)
    }

    /// The position of the key that matched, in the order of the configuration; `None` if nothing
    /// was checked.
    pub fn key(&self) -> Option<u32> {
        self.proof.key
    }

    /// Extracts its attributes and finds the plugins that get it.
    pub fn identify(self, routes: &Routes, now_ms: i64) -> NewEvent {
        let Self {
            source: SourceRuntime { source, verifier, extractor, stored, .. },
            head,
            body,
            proof: Proof { note, sent_at, signed, .. },
        } = self;
        let headers = &head.headers;
        let sent_at = || sent_at.as_deref().or_else(|| verifier.sent_at(&head));
        let signed = signed.map(|signed| signed.of_request());
        let Extracted { kind, id, subject, is_json, dedupe, note } =
            extractor.extract(&head, &body, sent_at, signed, note);
        let content_type = match headers.get(CONTENT_TYPE) {
            Some(value) => {
                value.to_str().ok().filter(|text| text.len() <= MAX_NAME_BYTES).map(str::to_owned)
            }
            None => is_json.then(|| "application/json".to_owned()),
        };
        let mut event = NewEvent {
            dedupe,
            headers: values(stored, headers),
            provider_id: id,
            note,
            ..NewEvent::from(Attributes {
                source: Arc::clone(&source.name),
                kind,
                subject,
                content_type,
                time_ms: now_ms,
                body,
            })
        };
        routes.route(&mut event);
        event
    }
}

/// The values of these headers as text of a bounded length.
fn values(names: &[HeaderName], headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| {
        let bytes = value.as_bytes();
        let mut text =
            String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_HEADER_BYTES)]).into_owned();
        text.truncate(text.floor_char_boundary(MAX_HEADER_BYTES));
        text
    };
    names.iter().filter_map(|name| Some((name.to_string(), text(headers.get(name)?)))).collect()
}

/// The sources of one configuration.
#[derive(Debug)]
pub(super) struct Sources {
    config: Arc<Config>,
    by_name: HashMap<Arc<str>, SourceRuntime>,
}

impl Sources {
    pub(super) fn new(config: Arc<Config>, activity: &SourceActivity) -> Self {
        let runtime = |source: &Arc<Source>| {
            let runtime = SourceRuntime::new(Arc::clone(source)).counted_in(activity);
            (Arc::clone(&source.name), runtime)
        };
        activity.retain(|name| config.sources.contains_key(name));
        Self { by_name: config.sources.values().map(runtime).collect(), config }
    }

    /// The variation with which a refused request of a source would have been authentic.
    pub(super) fn hint(&self, name: &str, head: &Head, body: &[u8]) -> Option<String> {
        let SourceRuntime { source, verifier, .. } = self.get(name)?;
        let others = self.by_name.values().filter(|other| *other.source.name != *name);
        let others = others.map(|other| (&*other.source, &other.verifier));
        verify::find_hint(source, verifier, head, body, others)
    }

    /// The configuration they were made from.
    pub(super) fn config(&self) -> &Arc<Config> {
        &self.config
    }

    pub(super) fn get(&self, name: &str) -> Option<&SourceRuntime> {
        self.by_name.get(name)
    }
}
