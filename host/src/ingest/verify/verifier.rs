//! How a source's requests are checked, made ready once for every configuration.

use axum::http::HeaderName;

use super::candidates::Candidates;
use super::check::{Proof, SignatureCheck};
use super::keys::KeyRing;
use super::refusal::Refusal;
use super::timestamp::TimestampCheck;
use super::whole;
use crate::config::source::{Source, Verify};
use crate::ingest::head::Head;

/// How the requests of a source are checked.
#[derive(Debug)]
pub(in crate::ingest) enum Verifier {
    /// Not at all: `scheme = "none"`.
    Open,
    /// They cannot be checked and are refused. The text says what is missing.
    Closed(String),
    /// By their signature.
    Signed(Box<SignatureCheck>),
}

/// The signatures in a head that some body could make authentic; none for an open source.
#[derive(Debug)]
pub(in crate::ingest) struct Claimed(Candidates);

impl Verifier {
    /// A source that cannot be checked (no secret, an empty one, a header name that is none) is
    /// closed.
    pub(in crate::ingest) fn new(source: &Source) -> Self {
        match &source.verify {
            Verify::None => Self::Open,
            Verify::Signature(signature) => {
                match SignatureCheck::new(signature, &source.secrets, source.id.as_ref()) {
                    Ok(mut check) => {
                        check.fit(source, signature);
                        Self::Signed(Box::new(check))
                    }
                    Err(what) => Self::Closed(what),
                }
            }
        }
    }

    /// The number of keys, for the metrics.
    pub(in crate::ingest) fn keys(&self) -> usize {
        if let Self::Signed(check) = self { check.scheme.keys() } else { 0 }
    }

    /// The missing part, if every request is refused.
    pub(in crate::ingest) fn closed(&self) -> Option<&str> {
        if let Self::Closed(what) = self { Some(what) } else { None }
    }

    /// The headers that hold signatures: credentials for as long as a request may be replayed.
    pub(in crate::ingest) fn signature_headers(&self) -> impl Iterator<Item = &HeaderName> {
        let check = if let Self::Signed(check) = self { Some(&**check) } else { None };
        let rules = check.into_iter().flat_map(|check| std::iter::once(check).chain(&check.others));
        rules.flat_map(|rule| &rule.signatures).filter_map(|(spot, _)| spot.header())
    }

    /// The header that holds the time of sending.
    pub(in crate::ingest) fn timestamp_header(&self) -> Option<&HeaderName> {
        let Self::Signed(check) = self else { return None };
        check.timestamp.as_ref().and_then(TimestampCheck::header)
    }

    /// The text of the time of sending, if it is in a header of the first rule.
    pub(in crate::ingest) fn sent_at<'a>(&self, head: &'a Head) -> Option<&'a [u8]> {
        let Self::Signed(check) = self else { return None };
        check.timestamp.as_ref()?.text(&head.headers).ok().flatten()
    }

    /// How long ago it was sent by its own words, in seconds; negative for a time to come.
    pub(in crate::ingest) fn offset_s(&self, head: &Head, now_ms: i64) -> Option<i64> {
        let Self::Signed(check) = self else { return None };
        let sent_ms = check.timestamp.as_ref()?.unix_ms(self.sent_at(head)?)?;
        Some(now_ms.saturating_sub(sent_ms).div_euclid(1_000))
    }

    /// Keeps a document with public keys of this address in every ring that may ask for it.
    pub(in crate::ingest) fn keep_key(&self, url: &str, text: &str, now_ms: i64) -> bool {
        let Self::Signed(check) = self else { return false };
        let rules = std::iter::once(&**check).chain(&check.others);
        let rings = rules.filter_map(|rule| rule.ring.as_ref());
        let fitting = rings.filter(|(ring, _)| ring.admits(url) || ring.fixed() == Some(url));
        fitting.fold(false, |kept, (ring, _)| ring.keep(url, text, now_ms) || kept)
    }

    /// The rings of all rules.
    pub(in crate::ingest) fn rings(&self) -> impl Iterator<Item = &KeyRing> {
        let check = if let Self::Signed(check) = self { Some(&**check) } else { None };
        let rules = check.into_iter().flat_map(|check| std::iter::once(check).chain(&check.others));
        rules.filter_map(|rule| rule.ring.as_ref()).map(|(ring, _)| ring)
    }

    /// The ring and the address of a key that a request needs.
    pub(in crate::ingest) fn wanted_key(
        &self,
        head: &Head,
        body: &[u8],
    ) -> Option<(&KeyRing, String)> {
        if let Self::Signed(check) = self { check.wanted_key(head, body) } else { None }
    }

    /// Refuses a head that no body could make authentic.
    pub(in crate::ingest) fn claim(&self, head: &Head) -> Result<Claimed, Refusal> {
        match self {
            Self::Open => Ok(Claimed(Candidates::default())),
            Self::Closed(_) => Err(Refusal::Closed),
            Self::Signed(check) => check.claim(head).map(Claimed),
        }
    }

    /// Checks the signatures over the whole request, and then its time, at `now_ms` (Unix ms).
    ///
    /// In this order: a sender without a key learns nothing of the host's clock.
    pub(in crate::ingest) fn check(
        &self,
        claimed: &Claimed,
        head: &Head,
        body: &[u8],
        now_ms: i64,
    ) -> Result<Proof, Refusal> {
        match self {
            Self::Open => Ok(Proof::default()),
            Self::Closed(_) => Err(Refusal::Closed),
            Self::Signed(check) if check.is_plain => check.check(&claimed.0, head, body, now_ms),
            Self::Signed(check) => whole::check(check, head, body, now_ms),
        }
    }
}
