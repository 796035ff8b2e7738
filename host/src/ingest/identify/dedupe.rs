//! The keys by which a repeated request is recognised.
//!
//! A key is the first 16 bytes of SHA-256 over: a domain, the length of the source's name in bytes
//! as a 64-bit little-endian number, the name, and then what the domain stands for:
//! - `hookbox.dedupe.id`: the provider's id;
//! - `hookbox.dedupe.type+body`: the type, with its length in front like the name, and the raw
//!   body;
//! - `hookbox.dedupe.timestamp+body`: the timestamp's text and the type, both with their length in
//!   front, and the body;
//! - `hookbox.dedupe.signed`: the SHA-256 of the text that the signature covers.
//!
//! No domain begins another one, so an id is never taken for a body, nor one source's key for
//! another's. A request without an id, or without a timestamp, has no key of that kind; one without
//! any key is never a duplicate.
//!
//! Hosts before schema version 5 made a key of the body alone, `hookbox.dedupe.body`. While the
//! store has such keys they are looked up as well, and no new ones are made: see [`LegacyKey`].

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::json::{PointerValue, Pointers};
use crate::config::source::{self, DedupeBy, Source, Verify};
use crate::event::{DedupeKey, LegacyKey};

/// Makes the keys of a source's requests.
#[derive(Debug)]
pub(super) struct Deduplicator {
    keys: Vec<(DedupeBy, Sha256)>,
    placeholder: Option<PlaceholderCheck>,
    legacy: Option<Legacy>,
    /// Whether the signed text is a token that is good for one event.
    spends_tokens: bool,
}

/// [`source::Placeholder`] with its pointer parsed.
#[derive(Debug)]
struct PlaceholderCheck {
    prefix: String,
    pointers: Pointers,
    value: String,
}

/// The key over the body alone, and the header in which two requests must agree as well.
#[derive(Debug)]
struct Legacy {
    body: Sha256,
    header: Option<String>,
}

/// The parts of a request that keys are made of, but for its timestamp.
#[derive(Debug)]
pub(super) struct KeyParts<'a> {
    pub(super) id: Option<&'a str>,
    pub(super) kind: &'a str,
    pub(super) body: &'a Bytes,
    /// The digest of the signed text.
    pub(super) signed: Option<[u8; 32]>,
}

impl Deduplicator {
    pub(super) fn new(source: &Source) -> Self {
        let state =
            |domain: &str| with_text(Sha256::new_with_prefix(domain), source.name.as_bytes());
        let keys = source.dedupe.keys.iter().map(|by| {
            let domain = match by {
                DedupeBy::Id => "hookbox.dedupe.id",
                DedupeBy::Body => "hookbox.dedupe.type+body",
                DedupeBy::TimestampAndBody => "hookbox.dedupe.timestamp+body",
                DedupeBy::Signed => "hookbox.dedupe.signed",
            };
            (*by, state(domain))
        });
        let legacy = |header| Legacy { body: state("hookbox.dedupe.body"), header };
        let legacy = if source.dedupe.keys.contains(&DedupeBy::Body) {
            Some(legacy(None))
        } else if source.dedupe.keys.contains(&DedupeBy::TimestampAndBody) {
            kept_timestamp(source).map(|header| legacy(Some(header)))
        } else {
            None
        };
        let placeholder = source.dedupe.placeholder.as_ref().and_then(PlaceholderCheck::new);
        let spends_tokens = source.takes_tokens_once();
        Self { keys: keys.collect(), placeholder, legacy, spends_tokens }
    }

    /// The key of the signed text, if that is good for one event.
    pub(super) fn spends(&self, parts: &KeyParts<'_>) -> Option<DedupeKey> {
        if !self.spends_tokens {
            return None;
        }
        let digest = parts.signed?;
        let (_, state) = self.keys.iter().find(|(by, _)| *by == DedupeBy::Signed)?;
        Some(key(state.clone().chain_update(digest)))
    }

    /// The keys of a verified request; `sent_at` gives the text of its timestamp.
    pub(super) fn keys<'a>(
        &self,
        parts: &KeyParts<'_>,
        sent_at: impl Fn() -> Option<&'a [u8]>,
    ) -> Vec<DedupeKey> {
        let mut keys = Vec::with_capacity(self.keys.len());
        for (by, state) in &self.keys {
            let state = match by {
                DedupeBy::Id => match parts.id.filter(|id| !self.is_placeholder(id, parts.body)) {
                    Some(id) => state.clone().chain_update(id),
                    None => continue,
                },
                DedupeBy::Body => {
                    with_text(state.clone(), parts.kind.as_bytes()).chain_update(parts.body)
                }
                DedupeBy::TimestampAndBody => match sent_at() {
                    Some(text) => with_text(with_text(state.clone(), text), parts.kind.as_bytes())
                        .chain_update(parts.body),
                    None => continue,
                },
                DedupeBy::Signed => match parts.signed {
                    Some(digest) => state.clone().chain_update(digest),
                    None => continue,
                },
            };
            keys.push(key(state));
        }
        keys
    }

    /// The key under which a host of an earlier version may have stored this body.
    pub(super) fn legacy_key(&self, body: &[u8]) -> Option<LegacyKey> {
        let legacy = self.legacy.as_ref()?;
        Some(LegacyKey {
            key: key(legacy.body.clone().chain_update(body)),
            header: legacy.header.clone(),
        })
    }

    fn is_placeholder(&self, id: &str, body: &Bytes) -> bool {
        self.placeholder.as_ref().is_some_and(|placeholder| placeholder.is(id, body))
    }
}

impl PlaceholderCheck {
    /// `None` if the pointer cannot be parsed.
    fn new(placeholder: &source::Placeholder) -> Option<Self> {
        let source::Placeholder { prefix, pointer, value } = placeholder.clone();
        let mut pointers = Pointers::default();
        pointers.add(&pointer).ok()?;
        Some(Self { prefix, pointers, value })
    }

    /// The body is parsed again only for an id of zeros.
    fn is(&self, id: &str, body: &Bytes) -> bool {
        let zeros = id
            .strip_prefix(&*self.prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b == b'0'));
        let is_value = |found: &[PointerValue]| {
            matches!(found,
            [PointerValue::Text(text)] if *text == self.value)
        };
        zeros && self.pointers.find(body, "the body").is_ok_and(|found| is_value(&found))
    }
}

/// The header of the timestamp, if it is stored with an event: one that holds the signature as well
/// is not.
fn kept_timestamp(source: &Source) -> Option<String> {
    let Verify::Signature(signature) = &source.verify else { return None };
    let header = signature.timestamp.as_ref()?.field.place.header()?;
    let mut signatures = signature.signatures.iter().filter_map(|field| field.place.header());
    let is_signature = signatures.any(|name| name.eq_ignore_ascii_case(header));
    (!is_signature).then(|| header.to_ascii_lowercase())
}

/// Takes in the length of a text and then the text, so that what follows is no part of it.
fn with_text(state: Sha256, text: &[u8]) -> Sha256 {
    state.chain_update((text.len() as u64).to_le_bytes()).chain_update(text)
}

fn key(state: Sha256) -> DedupeKey {
    let digest: [u8; 32] = state.finalize().into();
    std::array::from_fn(|index| digest[index])
}
