//! Unverified → Verified: is this request from who it says it is from?
//!
//! It is asked in two steps, since a body costs memory: whether the header makes a [`Claim`] that some body could bear
//! out, and whether this body does. Both tell a sender the same.
//!
//! One verifier for every provider: the template of [`crate::config::source::Hmac`]. The MAC is computed over the raw
//! bytes with every active key and compared with every candidate signature in constant time, without stopping at the
//! first match, so that neither which key nor which signature matched can be timed.
//!
//! Invariant: a [`Verified`] is only made here.

use axum::http::HeaderMap;
use bytes::Bytes;
use hmac::Mac;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::gate::{Gate, HmacSha256, Template, Verifier};
use crate::config::source::{Encoding, Part, Stale};

mod field;

use field::Items;
pub(super) use field::single;

/// The length of an HMAC-SHA256 in bytes.
const TAG_BYTES: usize = 32;

/// The most digits of a timestamp: seconds until the year 33658.
const MAX_TIMESTAMP_DIGITS: usize = 12;

/// A request as it came: nothing in it may be believed.
#[derive(Debug)]
pub struct Unverified {
    headers: HeaderMap,
    body: Bytes,
}

/// A request that a holder of one of its source's secrets has sent, or one to a source that checks nothing.
#[derive(Debug)]
pub struct Verified<'gate> {
    pub(super) gate: &'gate Gate,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// What an operator should know of it.
    pub(super) note: Option<String>,
    /// The position of the key that matched, in the order of the configuration.
    key: Option<u32>,
}

impl Verified<'_> {
    /// The position of the key that matched, in the order of the configuration; `None` if nothing was checked.
    pub fn key(&self) -> Option<u32> {
        self.key
    }
}

/// Why a request is not taken for authentic. For the log and the metrics: the sender is told one text for all of
/// them, except [`Refusal::Repeated`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody can sign for this source: it has no secret.
    #[error("the source has no secret")]
    Closed,
    /// A header that can have one value only occurs more than once: a malformed request.
    #[error("a header that may occur once occurs several times")]
    Repeated,
    /// None of the signature headers is there.
    #[error("no signature header")]
    NoSignature,
    /// The header holds nothing that could be a signature: wrong prefix, encoding or length.
    #[error("no signature of the right form in the header")]
    Malformed,
    /// No key makes this signature over these bytes.
    #[error("the signature does not match")]
    Mismatch,
    /// The timestamp is missing, or not a number of seconds.
    #[error("no readable timestamp")]
    NoTimestamp,
    /// The signature is right, but the timestamp is too far from now.
    #[error("the timestamp is out of tolerance")]
    Stale,
    /// The signature should cover the id, and there is none.
    #[error("no id to check the signature with")]
    NoId,
}

impl Refusal {
    /// The value of the metrics' `reason` label.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Closed => "no_secret",
            Self::Repeated => "repeated_header",
            Self::NoSignature => "no_signature",
            Self::Malformed => "malformed_signature",
            Self::Mismatch => "bad_signature",
            Self::NoTimestamp => "no_timestamp",
            Self::Stale => "stale_timestamp",
            Self::NoId => "no_id",
        }
    }
}

impl Unverified {
    /// A request's header and its whole body, byte for byte.
    pub fn new(headers: HeaderMap, body: Bytes) -> Self {
        Self { headers, body }
    }

    /// Checks it against the template and the keys of its source, at `now_ms` (Unix milliseconds).
    pub fn verify(self, gate: &Gate, now_ms: i64) -> Result<Verified<'_>, Refusal> {
        Claim::new(self.headers, gate)?.verify(self.body, now_ms)
    }
}

/// A request whose header can be that of an authentic one: it has all that the source's template asks for, in the right
/// form. Its body has not been looked at, and need not have come.
#[derive(Debug)]
pub(super) struct Claim<'gate> {
    gate: &'gate Gate,
    headers: HeaderMap,
    /// The signatures of the first header that is present. Empty for a source that checks nothing.
    candidates: Vec<[u8; TAG_BYTES]>,
}

impl<'gate> Claim<'gate> {
    /// Refuses whatever no body could make authentic.
    pub(super) fn new(headers: HeaderMap, gate: &'gate Gate) -> Result<Self, Refusal> {
        let candidates = match gate.verifier() {
            Verifier::Open => Vec::new(),
            Verifier::Closed(_) => return Err(Refusal::Closed),
            Verifier::Keyed(template) => {
                let candidates = candidates(&headers, template)?;
                // Each is looked for again when it is used, so only what cannot be missing is looked for here.
                if template.signs_timestamp {
                    timestamp(&headers, template)?;
                }
                if template.signs_id {
                    id(&headers, template)?;
                }
                candidates
            }
        };
        Ok(Self { gate, headers, candidates })
    }

    /// Checks the signatures over the whole body, and the timestamp, at `now_ms` (Unix milliseconds).
    pub(super) fn verify(self, body: Bytes, now_ms: i64) -> Result<Verified<'gate>, Refusal> {
        let (note, key) = match self.gate.verifier() {
            Verifier::Open => (None, None),
            Verifier::Closed(_) => return Err(Refusal::Closed),
            Verifier::Keyed(template) => self.check(template, &body, now_ms)?,
        };
        Ok(Verified { gate: self.gate, headers: self.headers, body, note, key })
    }

    fn check(&self, template: &Template, body: &[u8], now_ms: i64) -> Result<(Option<String>, Option<u32>), Refusal> {
        let timestamp = timestamp(&self.headers, template)?;
        let signed = Signed { parts: &template.signed, timestamp, id: id(&self.headers, template)?, body };
        let key = matching_key(&template.keys, &signed, &self.candidates).ok_or(Refusal::Mismatch)?;
        let note = freshness(template, timestamp, now_ms)?;
        Ok((note, Some(key)))
    }
}

/// The signatures of the first header that is present.
fn candidates(headers: &HeaderMap, template: &Template) -> Result<Vec<[u8; TAG_BYTES]>, Refusal> {
    let (name, field) =
        template.signatures.iter().find(|(name, _)| headers.contains_key(name)).ok_or(Refusal::NoSignature)?;
    let items = Items::of(headers, name, field)?;
    let candidates: Vec<_> = items.filter_map(|item| decode(item, template.encoding)).collect();
    if candidates.is_empty() { Err(Refusal::Malformed) } else { Ok(candidates) }
}

/// The timestamp's text, which may be signed. Two of them would leave open which one counts.
pub(super) fn timestamp<'a>(headers: &'a HeaderMap, template: &Template) -> Result<Option<&'a [u8]>, Refusal> {
    let Some((name, timestamp)) = &template.timestamp else { return Ok(None) };
    let mut items = Items::of(headers, name, &timestamp.field)?;
    match (items.next(), items.next()) {
        (None, _) if timestamp.required || template.signs_timestamp => Err(Refusal::NoTimestamp),
        (_, Some(_)) => Err(Refusal::Repeated),
        (text, None) => Ok(text),
    }
}

/// The id's text, which may be signed.
fn id<'a>(headers: &'a HeaderMap, template: &Template) -> Result<Option<&'a [u8]>, Refusal> {
    let id = template.id.as_ref().map(|name| single(headers, name)).transpose()?.flatten();
    if template.signs_id && id.is_none() { Err(Refusal::NoId) } else { Ok(id) }
}

fn decode(item: &[u8], encoding: Encoding) -> Option<[u8; TAG_BYTES]> {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    const BASE64_CHARS: usize = 44;
    let mut tag = [0; TAG_BYTES];
    match encoding {
        Encoding::Hex => hex::decode_to_slice(item, &mut tag).ok()?,
        Encoding::Base64 => {
            // The decoder asks for room for the padding too.
            let mut room = [0; BASE64_CHARS / 4 * 3];
            let right_length = item.len() == BASE64_CHARS
                && STANDARD.decode_slice(item, &mut room).is_ok_and(|length| length == TAG_BYTES);
            tag.copy_from_slice(right_length.then_some(&room[..TAG_BYTES])?);
        }
    }
    Some(tag)
}

/// The pieces a template is filled with.
#[derive(Debug)]
pub(super) struct Signed<'a> {
    pub(super) parts: &'a [Part],
    pub(super) timestamp: Option<&'a [u8]>,
    pub(super) id: Option<&'a [u8]>,
    pub(super) body: &'a [u8],
}

impl Signed<'_> {
    /// The MAC over the filled template, from a keyed state.
    pub(super) fn tag(&self, mut mac: HmacSha256) -> [u8; TAG_BYTES] {
        for part in self.parts {
            match part {
                Part::Literal(text) => mac.update(text.as_bytes()),
                Part::Timestamp => mac.update(self.timestamp.unwrap_or_default()),
                Part::Id => mac.update(self.id.unwrap_or_default()),
                Part::Body => mac.update(self.body),
            }
        }
        mac.finalize().into_bytes().into()
    }
}

/// The position of a key that makes one of the candidates. Every key is tried with every candidate.
fn matching_key(keys: &[HmacSha256], signed: &Signed<'_>, candidates: &[[u8; TAG_BYTES]]) -> Option<u32> {
    let mut any = Choice::from(0);
    let mut position = 0_u32;
    for (index, key) in (0_u32..).zip(keys) {
        let tag = signed.tag(key.clone());
        let hit = candidates.iter().fold(Choice::from(0), |hit, candidate| hit | tag.ct_eq(candidate));
        position.conditional_assign(&index, hit & !any);
        any |= hit;
    }
    bool::from(any).then_some(position)
}

/// Whether the request is recent enough; a note if it is not, and is taken all the same.
fn freshness(template: &Template, text: Option<&[u8]>, now_ms: i64) -> Result<Option<String>, Refusal> {
    let (Some((_, timestamp)), Some(text)) = (&template.timestamp, text) else { return Ok(None) };
    let Some(sent_s) = unix_seconds(text) else {
        let must = timestamp.required || template.signs_timestamp;
        return if must { Err(Refusal::NoTimestamp) } else { Ok(Some("unreadable timestamp".to_owned())) };
    };
    let age_ms = now_ms.saturating_sub(sent_s.saturating_mul(1_000));
    if age_ms.unsigned_abs() <= timestamp.tolerance_ms {
        return Ok(None);
    }
    match timestamp.stale {
        Stale::Reject => Err(Refusal::Stale),
        Stale::Accept => {
            let direction = if age_ms > 0 { "before" } else { "after" };
            Ok(Some(format!("stale timestamp: sent {} s {direction} it arrived", age_ms.unsigned_abs() / 1_000)))
        }
    }
}

fn unix_seconds(text: &[u8]) -> Option<i64> {
    let plain = (1..=MAX_TIMESTAMP_DIGITS).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    plain.then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten()
}
