//! Handshakes of a source, made ready once for every configuration.
//!
//! An answer echoes at most [`MAX_ECHO_BYTES`] of a request, is never HTML, and goes to a request
//! that has not proved itself only if the rule says so.

use std::collections::BTreeMap;

use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use axum::http::{Method, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac};
use secrecy::{ExposeSecret, SecretSlice};
use subtle::ConstantTimeEq;

use super::consent::Consent;
use super::{HandshakeAnswer, MAX_ECHO_BYTES, OfferedSecret};
use crate::config::source::{
    AnswerPart, AnswerValue, Encoding, HandshakeMethod, HandshakeRule, ParamText, Place, Secrets,
    Source, ThenGet, Verify,
};
use crate::ingest::head::Head;
use crate::ingest::identify::items::{items, tokens};
use crate::ingest::identify::json::Pointers;
use crate::ingest::verify::{ConditionCheck, PointedRequest, Proof, Spot, is_challenge, is_pinned};
use crate::ingest::window::OFFER_BYTES;

/// The handshakes of one source.
#[derive(Debug, Default)]
pub(in crate::ingest) struct Handshakes {
    rules: Vec<ReadyHandshake>,
    consent: Consent,
}

/// [`HandshakeRule`] made ready.
#[derive(Debug)]
struct ReadyHandshake {
    rule: HandshakeRule,
    method: Method,
    when: Vec<ConditionCheck>,
    empty: Option<Vec<String>>,
    check: Option<(Spot, ParamText)>,
    pointers: Pointers,
    /// A value of the request with its place made ready.
    spots: Vec<(Place, Spot)>,
    params: BTreeMap<String, ParamText>,
    public_url: String,
    /// The secrets, each for HMAC-SHA256 and HMAC-SHA1.
    keys: Vec<[hmac::Key; 2]>,
}

impl Handshakes {
    /// Those of a source. A rule that cannot be made ready is left out: it answers nothing.
    pub(in crate::ingest) fn new(source: &Source) -> Self {
        let ready = source.handshakes.iter();
        let rules = ready.filter_map(|rule| ReadyHandshake::new(rule, source).ok()).collect();
        Self { rules, consent: Consent::new(source) }
    }

    /// Whether there is one for this method.
    pub(in crate::ingest) fn takes(&self, method: &Method) -> bool {
        self.rules.iter().any(|ready| ready.method == *method)
    }

    /// Whether a POST that has not proved itself may be one, by its head.
    pub(in crate::ingest) fn may_be_open_post(&self, head: &Head) -> bool {
        let reading = PointedRequest { head, body: &[], found: &[] };
        self.rules.iter().any(|ready| {
            ready.method == Method::POST
                && !ready.rule.verified
                && ready.when.iter().all(|when| when.is_in_body() || when.holds(reading))
        })
    }

    /// The answer to a request, if it is a handshake; `proof` is that of an authentic one.
    ///
    /// A request that proved itself is answered with the secret that it was signed with: during a
    /// rotation the provider may have another one than the first.
    pub(in crate::ingest) fn answer(
        &self,
        head: &Head,
        body: &[u8],
        proof: Option<&Proof>,
    ) -> Option<HandshakeAnswer> {
        let fitting = self.rules.iter().filter(|ready| {
            ready.method == head.method && (proof.is_some() || !ready.rule.verified)
        });
        let key = proof.and_then(|proof| proof.key).unwrap_or_default();
        let key = usize::try_from(key).unwrap_or_default();
        let own = fitting.filter_map(|ready| ready.answer(head, body, key)).next();
        own.or_else(|| self.consent.answer(head))
    }
}

impl ReadyHandshake {
    fn new(rule: &HandshakeRule, source: &Source) -> Result<Self, String> {
        let mut pointers = Pointers::default();
        let when = rule.when.iter().map(|when| ConditionCheck::new(when, &mut pointers));
        let when = when.collect::<Result<_, _>>()?;
        let check = match &rule.check {
            Some((place, param)) => {
                let wanted = source.params.get(param).ok_or("a parameter is missing")?;
                Some((Spot::new(place, &mut pointers)?, wanted.clone()))
            }
            None => None,
        };
        let mut spots = Vec::new();
        for place in places(rule) {
            spots.push((place.clone(), Spot::new(place, &mut pointers)?));
        }
        let (mut public_url, mut keys) = (String::new(), Vec::new());
        if let Verify::Signature(signature) = &source.verify {
            public_url = signature.public_url.clone().unwrap_or_default();
            let algorithms = [hmac::HMAC_SHA256, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY];
            // As the check counts them: an empty secret is none.
            let secrets = secrets(&source.secrets).iter();
            let secrets = secrets.filter(|secret| !secret.expose_secret().is_empty());
            let both = |secret: &SecretSlice<u8>| {
                algorithms.map(|algorithm| hmac::Key::new(algorithm, secret.expose_secret()))
            };
            keys = secrets.map(both).collect();
        }
        Ok(Self {
            method: match rule.method {
                HandshakeMethod::Get => Method::GET,
                HandshakeMethod::Head => Method::HEAD,
                HandshakeMethod::Options => Method::OPTIONS,
                HandshakeMethod::Post => Method::POST,
            },
            when,
            empty: rule.empty.as_deref().map(tokens),
            check,
            pointers,
            spots,
            params: source.params.clone(),
            public_url,
            keys,
            rule: rule.clone(),
        })
    }

    /// `key` is the position of the secret that the request was signed with.
    fn answer(&self, head: &Head, body: &[u8], key: usize) -> Option<HandshakeAnswer> {
        let key = if self.rule.verified { key } else { 0 };
        let found = self.pointers.find(body, "").unwrap_or_else(|_| self.pointers.nothing());
        let reading = PointedRequest { head, body, found: &found };
        let is_empty =
            |path: &Vec<String>| items(body, path, 1).is_some_and(|items| items.is_empty());
        if !self.when.iter().all(|when| when.holds(reading))
            || !self.empty.as_ref().is_none_or(is_empty)
        {
            return None;
        }
        if let Some((spot, wanted)) = &self.check {
            let given = spot.value(reading).ok().flatten().unwrap_or_default();
            let digest = |bytes: &[u8]| digest::digest(&digest::SHA256, bytes);
            if !bool::from(
                digest(&given).as_ref().ct_eq(digest(wanted.as_str().as_bytes()).as_ref()),
            ) {
                return self.refused();
            }
        }
        let then = match &self.rule.then {
            Some(then) => match self.address(then, reading) {
                Some(url) => Some(url),
                None => return self.refused(),
            },
            None => None,
        };
        let answer = &self.rule.answer;
        let is_json = answer.content_type.as_deref() == Some("application/json");
        let mut headers = vec![(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))];
        if let Some(kind) = &answer.content_type {
            headers.push((CONTENT_TYPE, HeaderValue::from_str(kind).ok()?));
        }
        for (name, parts) in &answer.headers {
            let value = HeaderValue::from_str(&self.text(parts, reading, (key, false))?).ok()?;
            headers.push((HeaderName::from_bytes(name.as_bytes()).ok()?, value));
        }
        let body = self.text(&answer.body, reading, (key, is_json))?;
        let status = StatusCode::from_u16(answer.status).ok()?;
        let offer = match &self.rule.offers {
            Some(place) => Some(self.offer(place, reading)?),
            None => None,
        };
        Some(HandshakeAnswer { name: "handshake", status, headers, body, offer, then })
    }

    fn refused(&self) -> Option<HandshakeAnswer> {
        StatusCode::from_u16(self.rule.refuse_status).ok().map(HandshakeAnswer::refused)
    }

    /// The address that is to be asked; `None` if it is none of a host that may be.
    fn address(&self, then: &ThenGet, reading: PointedRequest<'_>) -> Option<String> {
        let bytes = self.value(&AnswerValue::Request(then.from.clone()), reading)?;
        let url = String::from_utf8(bytes).ok()?;
        let rest = url.strip_prefix("https://")?;
        let host = rest.split(['/', '?']).next().unwrap_or_default();
        let is_plain = url.bytes().all(|b| b.is_ascii_graphic()) && !url.contains(['\\', '#']);
        (is_plain && then.hosts.iter().any(|pinned| is_pinned(pinned, host))).then_some(url)
    }

    /// The secret at a place; `None` if it is none that can be kept.
    fn offer(&self, place: &Place, reading: PointedRequest<'_>) -> Option<OfferedSecret> {
        let bytes = self.value(&AnswerValue::Request(place.clone()), reading)?;
        let text = String::from_utf8(bytes).ok()?;
        let fits = OFFER_BYTES.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| OfferedSecret { secret: text.into(), shows: self.rule.shows_offer })
    }

    /// The text of an answer, signed with the secret at `key`; `None` if a value is missing or too
    /// long.
    fn text(
        &self,
        parts: &[AnswerPart],
        reading: PointedRequest<'_>,
        (key, is_json): (usize, bool),
    ) -> Option<String> {
        let mut text = String::new();
        for part in parts {
            let value = match part {
                AnswerPart::Text(literal) => {
                    text.push_str(literal);
                    continue;
                }
                AnswerPart::Value(value) => String::from_utf8(self.value(value, reading)?).ok()?,
                AnswerPart::Hmac(encoding, values) | AnswerPart::HmacSha1(encoding, values) => {
                    let bytes = self.values(values, reading)?;
                    if !self.rule.verified && !is_challenge(&bytes) {
                        return None;
                    }
                    let [sha256, sha1] = self.keys.get(key)?;
                    let key = if matches!(part, AnswerPart::Hmac(..)) { sha256 } else { sha1 };
                    encoded(*encoding, hmac::sign(key, &bytes).as_ref())
                }
                AnswerPart::Digest(encoding, values) => {
                    let bytes = self.values(values, reading)?;
                    encoded(*encoding, digest::digest(&digest::SHA256, &bytes).as_ref())
                }
            };
            if is_json {
                let quoted = serde_json::to_string(&value).ok()?;
                text.push_str(quoted.get(1..quoted.len() - 1)?);
            } else {
                text.push_str(&value);
            }
        }
        Some(text)
    }

    fn values(&self, values: &[AnswerValue], reading: PointedRequest<'_>) -> Option<Vec<u8>> {
        let values = values.iter().map(|value| self.value(value, reading));
        Some(values.collect::<Option<Vec<_>>>()?.concat())
    }

    fn value(&self, value: &AnswerValue, reading: PointedRequest<'_>) -> Option<Vec<u8>> {
        let bytes = match value {
            AnswerValue::Param(name) => self.params.get(name)?.as_str().as_bytes().to_vec(),
            AnswerValue::Url => {
                format!("{}{}", self.public_url, reading.head.uri.path()).into_bytes()
            }
            AnswerValue::Request(place) => {
                let (_, spot) = self.spots.iter().find(|(known, _)| known == place)?;
                spot.value(reading).ok().flatten()?.into_owned()
            }
        };
        (bytes.len() <= MAX_ECHO_BYTES).then_some(bytes)
    }
}

/// The places of all values in an answer.
fn places(rule: &HandshakeRule) -> Vec<&Place> {
    let headers = rule.answer.headers.iter().flat_map(|(_, parts)| parts);
    let parts = headers.chain(&rule.answer.body);
    let values = parts.flat_map(AnswerPart::values);
    let requested = values.filter_map(|value| match value {
        AnswerValue::Request(place) => Some(place),
        AnswerValue::Param(_) | AnswerValue::Url => None,
    });
    let asked = rule.then.as_ref().map(|then| &then.from);
    requested.chain(&rule.offers).chain(asked).collect()
}

fn secrets(secrets: &Secrets) -> &[SecretSlice<u8>] {
    match secrets {
        Secrets::Set(all) => all,
        Secrets::Generated { secret, .. } => std::slice::from_ref(secret),
        Secrets::Pair { .. } | Secrets::Missing(_) => &[],
    }
}

fn encoded(encoding: Encoding, bytes: &[u8]) -> String {
    match encoding {
        Encoding::Base64 => STANDARD.encode(bytes),
        _ => hex::encode(bytes),
    }
}
