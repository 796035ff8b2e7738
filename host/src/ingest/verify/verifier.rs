//! How a source's requests are checked, made ready once for every configuration.

use axum::http::HeaderName;
use secrecy::SecretSlice;

use super::candidates::Candidates;
use super::ed25519::Ed25519;
use super::field::Items;
use super::head::Head;
use super::hmac::HmacSha256;
use super::message::{Message, MessageTemplate};
use super::refusal::Refusal;
use super::scheme::Scheme;
use super::timestamp::{TimestampCheck, unix_seconds};
use crate::config::source::{
    Encoding, Field, Pick, Secrets, Signature, SignatureScheme, Source, Verify,
};
use crate::ingest::header;

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

/// [`Signature`] with header names parsed and keys taken in.
#[derive(Debug)]
pub(in crate::ingest) struct SignatureCheck {
    pub(super) signatures: Vec<(HeaderName, Field)>,
    pub(super) encoding: Encoding,
    pub(super) message: MessageTemplate,
    pub(super) timestamp: Option<TimestampCheck>,
    id: Option<HeaderName>,
    pub(super) scheme: Box<dyn Scheme>,
}

/// The signatures in a head that some body could make authentic; none for an open source.
#[derive(Debug)]
pub(in crate::ingest) struct Claimed(Candidates);

/// The findings of the check of an authentic request.
#[derive(Debug)]
pub(in crate::ingest) struct Proof {
    /// The position of the key that matched, in the order of the configuration; `None` for an open
    /// source.
    pub(in crate::ingest) key: Option<u32>,
    /// A remark for the operator.
    pub(in crate::ingest) note: Option<String>,
}

impl Verifier {
    /// A source that cannot be checked (no secret, an empty one, a header name that is none) is
    /// closed.
    pub(in crate::ingest) fn new(source: &Source) -> Self {
        match &source.verify {
            Verify::None => Self::Open,
            Verify::Signature(signature) => {
                let check = SignatureCheck::new(signature, source.id.as_ref());
                check.map_or_else(Self::Closed, |check| Self::Signed(Box::new(check)))
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
        let signatures =
            if let Self::Signed(check) = self { check.signatures.as_slice() } else { &[] };
        signatures.iter().map(|(name, _)| name)
    }

    /// The header that holds the time of sending.
    pub(in crate::ingest) fn timestamp_header(&self) -> Option<&HeaderName> {
        let Self::Signed(check) = self else { return None };
        check.timestamp.as_ref().map(TimestampCheck::header)
    }

    /// The text of the time of sending.
    pub(in crate::ingest) fn sent_at<'a>(&self, head: &'a Head) -> Option<&'a [u8]> {
        let Self::Signed(check) = self else { return None };
        check.timestamp.as_ref()?.text(&head.headers).ok().flatten()
    }

    /// How long ago it was sent by its own words, in seconds; negative for a time to come.
    pub(in crate::ingest) fn offset_s(&self, head: &Head, now_ms: i64) -> Option<i64> {
        let sent_s = unix_seconds(self.sent_at(head)?)?;
        Some((now_ms / 1_000).saturating_sub(sent_s))
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
            Self::Open => Ok(Proof { key: None, note: None }),
            Self::Closed(_) => Err(Refusal::Closed),
            Self::Signed(check) => check.check(&claimed.0, head, body, now_ms),
        }
    }
}

impl SignatureCheck {
    fn new(signature: &Signature, id: Option<&Pick>) -> Result<Self, String> {
        let named = |field: &Field| -> Result<_, String> {
            Ok((header::parse_name(&field.header)?, field.clone()))
        };
        let message = MessageTemplate::new(signature)?;
        let timestamp = signature.timestamp.as_ref();
        Ok(Self {
            signatures: signature.signatures.iter().map(named).collect::<Result<_, _>>()?,
            encoding: signature.encoding,
            timestamp: timestamp
                .map(|rule| TimestampCheck::new(rule, message.signs_timestamp))
                .transpose()?,
            id: match id {
                Some(Pick::Header(name)) => Some(header::parse_name(name)?),
                _ => None,
            },
            message,
            scheme: scheme(signature)?,
        })
    }

    /// Everything is looked up again when it is used, so only what must be there is looked up here.
    fn claim(&self, head: &Head) -> Result<Candidates, Refusal> {
        let candidates = self.candidates(head)?;
        if self.message.signs_timestamp {
            self.timestamp(head)?;
        }
        if self.message.signs_id {
            self.id(head)?;
        }
        self.message.check(head)?;
        Ok(candidates)
    }

    fn check(
        &self,
        candidates: &Candidates,
        head: &Head,
        body: &[u8],
        now_ms: i64,
    ) -> Result<Proof, Refusal> {
        let timestamp = self.timestamp(head)?;
        let message =
            Message { template: &self.message, head, timestamp, id: self.id(head)?, body };
        let key = self.scheme.matching_key(&message, candidates).ok_or(Refusal::Mismatch)?;
        let freshness = self.timestamp.as_ref().map(|check| check.freshness(timestamp, now_ms));
        Ok(Proof { key: Some(key), note: freshness.transpose()?.flatten() })
    }

    /// The signatures of the first header that is present.
    pub(super) fn candidates(&self, head: &Head) -> Result<Candidates, Refusal> {
        let mut present =
            self.signatures.iter().filter(|(name, _)| head.headers.contains_key(name));
        let (name, field) = present.next().ok_or(Refusal::NoSignature)?;
        let mut candidates = Candidates::default();
        for item in Items::of(&head.headers, name, field)? {
            candidates.push(item, self.encoding, |bytes| self.scheme.fits(bytes));
        }
        if candidates.is_empty() { Err(Refusal::Malformed) } else { Ok(candidates) }
    }

    pub(super) fn timestamp<'a>(&self, head: &'a Head) -> Result<Option<&'a [u8]>, Refusal> {
        match &self.timestamp {
            Some(check) => check.text(&head.headers),
            None => Ok(None),
        }
    }

    /// The id's text, which may be signed.
    pub(super) fn id<'a>(&self, head: &'a Head) -> Result<Option<&'a [u8]>, Refusal> {
        let id = match &self.id {
            Some(name) => header::single(&head.headers, name)?,
            None => None,
        };
        if self.message.signs_id && id.is_none() { Err(Refusal::NoId) } else { Ok(id) }
    }
}

/// The scheme of a source with its keys, or a text that says what is missing.
pub(super) fn scheme(signature: &Signature) -> Result<Box<dyn Scheme>, String> {
    match signature.scheme {
        SignatureScheme::HmacSha256 => {
            let scheme = HmacSha256::new(secrets(signature)?);
            Ok(Box::new(scheme.ok_or_else(|| "every secret is empty".to_owned())?))
        }
        SignatureScheme::Ed25519 => {
            let scheme = Ed25519::new(&signature.public_keys);
            Ok(Box::new(scheme.ok_or_else(|| "`public_keys` is empty".to_owned())?))
        }
    }
}

fn secrets(signature: &Signature) -> Result<&[SecretSlice<u8>], String> {
    match &signature.secrets {
        Secrets::Set(all) => Ok(all),
        Secrets::Generated { secret, .. } => Ok(std::slice::from_ref(secret)),
        Secrets::Missing(what) => Err(what.clone()),
    }
}
