//! One rule of a source, made ready: where its signatures are, what they cover, and the keys.

use std::borrow::Cow;

use super::candidates::Candidates;
use super::digest::SignedDigest;
use super::field::Items;
use super::keyed;
use super::keys::KeyRing;
use super::message::{Message, MessageTemplate};
use super::place::{ConditionCheck, PointedRequest, Spot};
use super::refusal::Refusal;
use super::scheme::Scheme;
use super::timestamp::TimestampCheck;
use crate::config::source::{Encoding, Field, Part, Pick, Place, Secrets, Signature, Source};
use crate::ingest::head::{Head, wrapped};
use crate::ingest::header;
use crate::ingest::identify::{items, json::Pointers};

/// [`Signature`] with header names parsed and keys taken in.
#[derive(Debug)]
pub(in crate::ingest) struct SignatureCheck {
    pub(super) signatures: Vec<(Spot, Field)>,
    pub(super) encoding: Encoding,
    pub(super) message: MessageTemplate,
    pub(super) timestamp: Option<TimestampCheck>,
    pub(super) id: Option<Spot>,
    pub(super) scheme: Box<dyn Scheme>,
    /// Whether the head, and the raw body, have all that is needed, by one rule.
    pub(super) is_plain: bool,
    pub(super) when: Vec<ConditionCheck>,
    pub(super) matches_any: bool,
    /// The names on the way to the list whose items are signed.
    pub(super) each: Option<Vec<String>>,
    pub(super) pointers: Pointers,
    /// The field of a form that has the JSON which the pointers look into.
    pub(super) form: Option<String>,
    /// The message with other spellings of the host's address.
    pub(super) spellings: Vec<MessageTemplate>,
    pub(super) body_hash: Option<(Spot, Encoding)>,
    pub(super) ring: Option<(KeyRing, Option<Spot>)>,
    /// Whether a handshake of the source signs challenges for anybody.
    pub(super) refuses_challenges: bool,
    /// Whether the signed text is a key of deduplication.
    pub(super) keeps_digest: bool,
    pub(super) others: Vec<SignatureCheck>,
}

/// The findings of the check of an authentic request.
#[derive(Debug, Default)]
pub(in crate::ingest) struct Proof {
    /// The position of the key that matched, in the order of the configuration; `None` for an open
    /// source.
    pub(in crate::ingest) key: Option<u32>,
    /// A remark for the operator.
    pub(in crate::ingest) note: Option<String>,
    /// The text of the time of sending, unless it is in a header of the first rule.
    pub(in crate::ingest) sent_at: Option<Vec<u8>>,
    /// The digest of the signed text, if it is a key of deduplication.
    pub(in crate::ingest) signed: Option<SignedDigest>,
}

impl SignatureCheck {
    pub(super) fn new(
        signature: &Signature,
        secrets: &Secrets,
        id: Option<&Pick>,
    ) -> Result<Self, String> {
        let mut pointers = Pointers::default();
        let message =
            MessageTemplate::with(signature, signature.public_url.as_deref(), &mut pointers)?;
        let mut spellings = Vec::new();
        for url in &signature.other_urls {
            spellings.push(MessageTemplate::with(signature, Some(url), &mut pointers)?);
        }
        let mut signatures = Vec::new();
        for field in &signature.signatures {
            signatures.push((Spot::new(&field.place, &mut pointers)?, field.clone()));
        }
        let timestamp = match &signature.timestamp {
            Some(rule) => Some(TimestampCheck::new(rule, message.signs_timestamp, &mut pointers)?),
            None => None,
        };
        let id = match id {
            Some(Pick::Header(name)) => Some(Place::Header(name.clone())),
            Some(Pick::Json(pointer)) if message.signs_id => Some(Place::Json(pointer.clone())),
            _ => None,
        };
        let id = id.map(|place| Spot::new(&place, &mut pointers)).transpose()?;
        let when = signature.when.iter().map(|when| ConditionCheck::new(when, &mut pointers));
        let when = when.collect::<Result<_, _>>()?;
        let body_hash = match &signature.body_hash {
            Some(hash) => Some((Spot::new(&hash.place, &mut pointers)?, hash.encoding)),
            None => None,
        };
        let ring = keyed::ring(signature, &mut pointers)?;
        let keys = ring.as_ref().map(|(ring, _)| ring.clone());
        let source_id = id_pick(&id, signature);
        let others = signature.others.iter();
        let others = others.map(|other| Self::new(other, secrets, source_id.as_ref()));
        let mut made = Self {
            signatures,
            encoding: signature.encoding,
            timestamp,
            id,
            message,
            scheme: keyed::scheme_with(signature, secrets, keys)?,
            is_plain: false,
            when,
            matches_any: signature.matches_any,
            each: signature.each.as_deref().map(items::tokens),
            pointers,
            form: None,
            spellings,
            body_hash,
            ring,
            refuses_challenges: false,
            keeps_digest: false,
            others: others.collect::<Result<_, _>>()?,
        };
        made.is_plain = made.is_plain();
        Ok(made)
    }

    /// Takes in what the rest of the source asks of its rules, of which `signature` has this one.
    pub(super) fn fit(&mut self, source: &Source, signature: &Signature) {
        self.refuses_challenges = source.handshakes.iter().any(|rule| rule.signs_unproved());
        self.keeps_digest = source.dedupe.goes_by_signed(signature);
        self.form.clone_from(&source.form);
        for (other, signature) in self.others.iter_mut().zip(&signature.others) {
            other.fit(source, signature);
        }
    }

    /// Whether the head, and the raw body, have all that is needed, by one rule.
    fn is_plain(&self) -> bool {
        self.message.is_plain()
            && self.pointers.is_empty()
            && self.signatures.iter().all(|(spot, _)| spot.header().is_some())
            && self.timestamp.as_ref().is_none_or(TimestampCheck::is_in_header)
            && self.spellings.is_empty()
            && self.when.is_empty()
            && self.body_hash.is_none()
            && self.others.is_empty()
            && self.scheme.is_plain()
            && self.ring.is_none()
            && !self.matches_any
            && self.each.is_none()
    }

    /// Everything is looked up again when it is used, so only what must be there is looked up here.
    pub(super) fn claim(&self, head: &Head) -> Result<Candidates, Refusal> {
        if !self.is_plain {
            return self.claim_early(head);
        }
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

    /// Refuses a head without a signature for which no other place is left.
    fn claim_early(&self, head: &Head) -> Result<Candidates, Refusal> {
        let mut rules = std::iter::once(self).chain(&self.others);
        let reading = PointedRequest { head, body: &[], found: &[] };
        let may_sign = |rule: &Self| {
            rule.signatures.iter().any(|(spot, _)| match spot {
                Spot::Header(name) => head.headers.contains_key(name),
                spot => spot.is_in_body() || !matches!(spot.value(reading), Ok(None)),
            })
        };
        if rules.any(may_sign) { Ok(Candidates::default()) } else { Err(Refusal::NoSignature) }
    }

    /// Checks a request by a rule that its head and its raw body satisfy.
    pub(super) fn check(
        &self,
        candidates: &Candidates,
        head: &Head,
        body: &[u8],
        now_ms: i64,
    ) -> Result<Proof, Refusal> {
        let timestamp = self.timestamp(head)?;
        self.message.check_form(body)?;
        let id = self.id(head)?;
        let message =
            Message { timestamp, id, now_ms, ..Message::plain(&self.message, head, body) };
        let key = self.scheme.matching_key(&message, candidates).ok_or(Refusal::Mismatch)?;
        if self.refuses_challenges && message.is_challenge() {
            return Err(Refusal::Mismatch);
        }
        let freshness = self.timestamp.as_ref().map(|check| check.freshness(timestamp, now_ms));
        let note = freshness.transpose()?.flatten();
        let signed = self.digest(&message, candidates);
        Ok(Proof { key: Some(key), note, sent_at: None, signed })
    }

    /// The JSON of a body, which is a field of it if it is a form.
    pub(super) fn json<'b>(&self, head: &Head, body: &'b [u8]) -> Cow<'b, [u8]> {
        match self.form.as_deref().and_then(|name| wrapped(&head.headers, body, name)) {
            None => Cow::Borrowed(body),
            // A form in which the field is not, or is twice, has no JSON, whatever its text is.
            Some(found) => found.ok().flatten().unwrap_or_default(),
        }
    }

    /// The digest of what is signed, if it is kept.
    pub(super) fn digest(
        &self,
        message: &Message<'_>,
        candidates: &Candidates,
    ) -> Option<SignedDigest> {
        let digest = self.keeps_digest.then(|| self.scheme.digest(message, candidates));
        digest.flatten().map(SignedDigest::Whole)
    }

    /// The address of the public key that the request is checked with; `None` for keys that are
    /// known.
    pub(super) fn key_url(&self, reading: PointedRequest<'_>) -> Result<Option<String>, Refusal> {
        let Some((ring, spot)) = &self.ring else { return Ok(None) };
        let Some(spot) = spot else { return Ok(ring.fixed().map(str::to_owned)) };
        let named = spot.value(reading)?.ok_or(Refusal::NoPart)?;
        let url = std::str::from_utf8(&named).ok().filter(|url| ring.admits(url));
        url.map(|url| Some(url.to_owned())).ok_or(Refusal::ForeignKey)
    }

    /// The ring and the address of a key that is needed for a request.
    pub(super) fn wanted_key(&self, head: &Head, body: &[u8]) -> Option<(&KeyRing, String)> {
        std::iter::once(self).chain(&self.others).find_map(|rule| {
            let (ring, _) = rule.ring.as_ref()?;
            let json = rule.json(head, body);
            let found = rule.pointers.find(&json, "").unwrap_or_else(|_| rule.pointers.nothing());
            let reading = PointedRequest { head, body, found: &found };
            if !rule.when.iter().all(|when| when.holds(reading)) {
                return None;
            }
            Some((ring, rule.key_url(reading).ok().flatten()?))
        })
    }

    /// The signatures of the first header that is present.
    pub(super) fn candidates(&self, head: &Head) -> Result<Candidates, Refusal> {
        let named = self.signatures.iter();
        let named = named.filter_map(|(spot, field)| Some((spot.header()?, field)));
        let mut present = named.filter(|(name, _)| head.headers.contains_key(*name));
        let (name, field) = present.next().ok_or(Refusal::NoSignature)?;
        let mut candidates = Candidates::default();
        for item in Items::of(&head.headers, name, field)? {
            candidates.push(item, self.encoding, |bytes| self.scheme.fits(bytes));
        }
        let is_malformed =
            candidates.is_empty() || candidates.exceed(self.scheme.most_candidates());
        if is_malformed { Err(Refusal::Malformed) } else { Ok(candidates) }
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
            Some(Spot::Header(name)) => header::single(&head.headers, name)?,
            _ => None,
        };
        if self.message.signs_id && id.is_none() { Err(Refusal::NoId) } else { Ok(id) }
    }
}

/// The id of the source for rules beside the first one.
fn id_pick(id: &Option<Spot>, signature: &Signature) -> Option<Pick> {
    let signs_id = signature.others.iter().any(|other| other.signed.contains(&Part::Id));
    match id {
        Some(Spot::Header(name)) if signs_id => Some(Pick::Header(name.as_str().to_owned())),
        _ => None,
    }
}
