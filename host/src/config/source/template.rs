//! A source without its name and keys: what a preset and a section of the file are read into.

use std::collections::BTreeMap;

use super::dedupe::{Dedupe, DedupeBy, Placeholder};
use super::encoding::Encoding;
use super::handshake::HandshakeRule;
use super::param::ParamText;
use super::pick::{EventTypes, Pick};
use super::place::{BodyHash, JwtRule, KeyAddress, ValueCondition};
use super::public_key::{PublicKey, PublicKeyKind};
use super::replies::Replies;
use super::signature::{self, Field, Part, Secrets, Signature, SignatureScheme, Timestamp};

/// A source without its name and keys. A preset is nothing but a value of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceTemplate {
    /// See [`Signature::scheme`].
    pub scheme: SignatureScheme,
    /// See [`Signature::when`].
    pub when: Vec<ValueCondition>,
    /// See [`Signature::signatures`].
    pub signatures: Vec<Field>,
    /// See [`Signature::matches_any`].
    pub matches_any: bool,
    /// See [`Signature::each`].
    pub each: Option<String>,
    /// See [`Signature::encoding`].
    pub encoding: Encoding,
    /// See [`Signature::signed`].
    pub signed: Vec<Part>,
    /// See [`Signature::public_url`].
    pub public_url: Option<String>,
    /// See [`Signature::other_urls`].
    pub other_urls: Vec<String>,
    /// See [`Signature::body_hash`].
    pub body_hash: Option<BodyHash>,
    /// See [`Signature::jwt`].
    pub jwt: Option<JwtRule>,
    /// See [`Signature::timestamp`].
    pub timestamp: Option<Timestamp>,
    /// See [`Signature::public_keys`].
    pub public_keys: Vec<PublicKey>,
    /// See [`Signature::key_address`].
    pub key_address: Option<KeyAddress>,
    /// See [`Signature::others`].
    pub others: Vec<SourceTemplate>,
    /// See [`Source::handshakes`](super::Source::handshakes).
    pub handshakes: Vec<HandshakeRule>,
    /// See [`Source::replies`](super::Source::replies).
    pub replies: Replies,
    /// The values of [`Part::Param`].
    pub params: BTreeMap<String, ParamText>,
    /// The way from the text of a secret to a key.
    pub key: KeyFormat,
    /// See [`Source::kind`](super::Source::kind); `None` if the user has to say it.
    pub kind: Option<Pick>,
    /// See [`Source::id`](super::Source::id).
    pub id: Option<Pick>,
    /// See [`Dedupe::keys`]; `None` for the keys that suit the rest.
    pub dedupe: Option<Vec<DedupeBy>>,
    /// See [`Dedupe::bodies_repeat`].
    pub bodies_repeat: bool,
    /// See [`Dedupe::placeholder`].
    pub placeholder: Option<Placeholder>,
    /// See [`Source::subject`](super::Source::subject).
    pub subject: Option<Pick>,
    /// See [`Source::max_body_bytes`](super::Source::max_body_bytes).
    pub max_body_bytes: Option<usize>,
    /// See [`Source::form`](super::Source::form).
    pub form: Option<String>,
    /// See [`Source::split`](super::Source::split).
    pub split: Option<String>,
    /// See [`Source::cloudevents`](super::Source::cloudevents).
    pub cloudevents: bool,
    /// See [`Source::origins`](super::Source::origins).
    pub origins: Vec<String>,
    /// See [`Source::types`](super::Source::types).
    pub types: EventTypes,
    /// See [`Source::trust_traceparent`](super::Source::trust_traceparent).
    pub trust_traceparent: bool,
}

impl Default for SourceTemplate {
    /// HMAC-SHA256 in hex over the body; header and type are still to be named.
    fn default() -> Self {
        Self {
            scheme: SignatureScheme::HmacSha256,
            when: Vec::new(),
            signatures: Vec::new(),
            matches_any: false,
            each: None,
            encoding: Encoding::Hex,
            signed: vec![Part::Body],
            public_url: None,
            other_urls: Vec::new(),
            body_hash: None,
            jwt: None,
            timestamp: None,
            public_keys: Vec::new(),
            key_address: None,
            others: Vec::new(),
            handshakes: Vec::new(),
            replies: Replies::default(),
            params: BTreeMap::new(),
            key: KeyFormat { prefix: String::new(), encoding: KeyEncoding::Utf8 },
            kind: None,
            id: None,
            dedupe: None,
            bodies_repeat: false,
            placeholder: None,
            subject: None,
            max_body_bytes: None,
            form: None,
            split: None,
            cloudevents: false,
            origins: Vec::new(),
            types: EventTypes::Any,
            trust_traceparent: false,
        }
    }
}

impl SourceTemplate {
    /// The signature of requests, with these keys.
    pub fn signature(self, secrets: Secrets) -> Signature {
        let params = self.params;
        let parts = self.signed.into_iter().map(|part| filled(part, &params)).collect();
        let other = |other: Self| {
            let params =
                if other.params.is_empty() { params.clone() } else { other.params.clone() };
            Self { params, ..other }.signature(secrets.clone())
        };
        let others = self.others.into_iter().map(other).collect();
        let mut signatures = self.signatures;
        for field in &mut signatures {
            if let Some((before, name, after)) = param_in(&field.prefix) {
                let text = params.get(name).map(ParamText::as_str).unwrap_or_default();
                field.prefix = format!("{before}{text}{after}");
            }
        }
        Signature {
            scheme: self.scheme,
            when: self.when.into_iter().map(|when| filled_condition(when, &params)).collect(),
            signatures,
            matches_any: self.matches_any,
            each: self.each,
            encoding: self.encoding,
            signed: parts,
            public_url: self.public_url,
            other_urls: self.other_urls,
            body_hash: self.body_hash,
            jwt: self.jwt,
            timestamp: self.timestamp,
            secrets,
            public_keys: self.public_keys,
            key_address: self.key_address,
            others,
        }
    }

    /// Whether requests are checked with secrets.
    pub fn has_secrets(&self) -> bool {
        self.clone().signature(Secrets::Set(Vec::new())).has_secrets()
    }

    /// The rules that are checked with public keys, and have neither one nor an address of one.
    fn keyless(&self) -> impl Iterator<Item = &Self> {
        let rules = std::iter::once(self).chain(&self.others);
        rules.filter(|rule| rule.public_key_kind().is_some() && rule.lacks_keys())
    }

    fn lacks_keys(&self) -> bool {
        self.public_keys.is_empty() && self.key_address.is_none()
    }

    /// The kind of its public keys; `None` for secrets.
    fn public_key_kind(&self) -> Option<PublicKeyKind> {
        match &self.jwt {
            Some(jwt) => jwt.algorithms.iter().find_map(|algorithm| algorithm.public_key_kind()),
            None => self.scheme.public_key_kind(),
        }
    }

    /// Whether a rule that is checked with public keys has none, and no address of one.
    pub fn is_keyless(&self) -> bool {
        self.keyless().next().is_some()
    }

    /// The kind of pair that would do for all rules without a public key; `None` if none does, or
    /// no pair signs.
    pub fn pair_kind(&self) -> Option<PublicKeyKind> {
        let kind = self.keyless().next()?.public_key_kind();
        let fits =
            |rule: &Self| rule.public_key_kind() == kind && rule.scheme != SignatureScheme::RsaSha1;
        if self.has_secrets() || !self.keyless().all(fits) {
            return None;
        }
        kind
    }

    /// Gives a key to the rules of its kind that have none.
    pub fn take_key(&mut self, key: &PublicKey) {
        for rule in &mut self.others {
            rule.take_key(key);
        }
        if self.public_key_kind() == Some(key.kind) && self.lacks_keys() {
            self.public_keys = vec![key.clone()];
        }
    }

    /// Whether the address of the host has to be known.
    pub fn needs_url(&self) -> bool {
        let in_token = self.jwt.as_ref().is_some_and(|jwt| {
            [&jwt.audience, &jwt.subject].into_iter().flatten().any(|text| text == "{url}")
        });
        in_token
            || self.signed.iter().any(|part| matches!(part, Part::Url | Part::UnescapedUrl))
            || self.others.iter().any(Self::needs_url)
    }

    /// Whether something depends on the address of the host: what is signed, or an answer.
    pub fn uses_url(&self) -> bool {
        self.needs_url() || self.handshakes.iter().any(HandshakeRule::uses_url)
    }

    /// Takes an address of the host, where none is named for the signature.
    pub fn take_url(&mut self, url: Option<&String>) {
        for rule in std::iter::once(&mut self.public_url)
            .chain(self.others.iter_mut().map(|other| &mut other.public_url))
        {
            if rule.is_none() {
                *rule = url.cloned();
            }
        }
    }

    /// The names of the parameters that are signed, or that a rule compares.
    pub fn needed_params(&self) -> Vec<&str> {
        let own = self.signed.iter().filter_map(|part| match part {
            Part::Param(name, _) => Some(name.as_str()),
            _ => None,
        });
        let prefixes = self.signatures.iter().filter_map(|field| param_in(&field.prefix));
        let own = own.chain(prefixes.map(|(_, name, _)| name));
        let compared = self.when.iter().filter_map(|when| Some(when.param.as_ref()?.0.as_str()));
        let others = self.others.iter().flat_map(Self::needed_params);
        let mut names: Vec<_> = own.chain(compared).chain(others).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The keys of repeated requests that the template names, or the default ones of a source that
    /// is verified by it, or not at all.
    pub fn dedupe(&self, is_verified: bool) -> Dedupe {
        let (placeholder, bodies_repeat) = (self.placeholder.clone(), self.bodies_repeat);
        let is_default = self.dedupe.is_none();
        let keys = self.dedupe.clone().unwrap_or_else(|| self.default_keys(is_verified));
        Dedupe { keys, is_default, bodies_repeat, placeholder }
    }

    fn signs_time_of_header(&self) -> bool {
        let in_head = |rule: &Timestamp| !rule.field.place.is_in_body();
        self.signed.contains(&Part::Timestamp) && self.timestamp.as_ref().is_some_and(in_head)
    }

    /// Whether it fixes each byte of the body.
    pub fn binds_body(&self) -> bool {
        signature::binds_body(&self.signed, self.body_hash.as_ref(), self.jwt.as_ref())
    }

    /// Whether the attributes of a CloudEvent in headers are covered by no signature, although the
    /// body is.
    pub fn leaves_attributes_open(&self) -> bool {
        let open = |rule: &Self| {
            let signs = rule.scheme.signs() || rule.jwt.is_some();
            signature::leaves_attributes_open(signs, &rule.signed, rule.binds_body())
        };
        self.cloudevents && std::iter::once(self).chain(&self.others).any(open)
    }

    /// Whether a rule signs less than the whole body, as it is written: a captured request can then
    /// be sent again in other bytes.
    pub fn leaves_bytes_open(&self) -> bool {
        let mut rules = std::iter::once(self).chain(&self.others);
        rules.any(|rule| rule.scheme.signs() && !rule.binds_body())
    }

    /// Two different events must never count as one. So the body alone is a key only where the
    /// signature covers nothing else: there a captured request could be sent again for ever.
    fn default_keys(&self, is_verified: bool) -> Vec<DedupeBy> {
        let mut keys = if self.id.is_some() {
            vec![DedupeBy::Id]
        } else if !is_verified {
            Vec::new()
        } else if self.signs_time_of_header() {
            vec![DedupeBy::TimestampAndBody]
        } else {
            vec![DedupeBy::Body]
        };
        if is_verified && self.leaves_bytes_open() {
            keys.push(DedupeBy::Signed);
        }
        keys
    }
}

/// A parameter in a prefix, with the text on both sides of it.
fn param_in(prefix: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = prefix.split_once("{param:")?;
    let (name, after) = rest.split_once('}')?;
    Some((before, name, after))
}

/// The condition, with the value of its parameter.
fn filled_condition(when: ValueCondition, params: &BTreeMap<String, ParamText>) -> ValueCondition {
    let param = when.param.map(|(name, _)| {
        let text = params.get(&name).cloned();
        (name, text)
    });
    ValueCondition { param, ..when }
}

/// The part, with the value of its parameter.
fn filled(part: Part, params: &BTreeMap<String, ParamText>) -> Part {
    match part {
        Part::Param(name, _) => {
            let text = params.get(&name).cloned();
            Part::Param(name, text)
        }
        Part::Optional(parts) => {
            Part::Optional(parts.into_iter().map(|part| filled(part, params)).collect())
        }
        part => part,
    }
}

/// The way from the text of a secret, as a provider shows it, to the bytes of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFormat {
    /// Taken away from the front if it is there; possibly nothing.
    pub prefix: String,
    /// The encoding of the rest.
    pub encoding: KeyEncoding,
}

/// The encoding of a key in the text of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyEncoding {
    /// The key itself.
    Utf8,
    /// The key in base64, RFC 4648 §4, padded or not.
    Base64,
    /// The key in hex digits.
    Hex,
    /// The key is the SHA-1 of the text.
    Sha1,
}
