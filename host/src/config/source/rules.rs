//! The questions that a rule of a source answers, with the rules beside it: what it fixes, and
//! which keys, addresses and parameters it needs.

use std::collections::BTreeMap;

use super::encoding::Encoding;
use super::param::ParamText;
use super::place::ValueCondition;
use super::public_key::{PublicKey, PublicKeyKind};
use super::signature::{Part, Signature, SignatureScheme, Timestamp};

/// The attributes of a CloudEvent that say which event it is, as headers.
const IDENTITY: [&str; 3] = ["ce-id", "ce-source", "ce-type"];

impl Default for Signature {
    /// HMAC-SHA256 in hex over the body; the header is still to be named.
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
        }
    }
}

impl Signature {
    /// The rule itself and those beside it; the first one that is for a request decides.
    pub fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(&self.others)
    }

    /// The same, with the values of the parameters in it.
    pub(super) fn filled(self, params: &BTreeMap<String, ParamText>) -> Self {
        let mut signatures = self.signatures;
        for field in &mut signatures {
            if let Some((before, name, after)) = param_in(&field.prefix) {
                let text = params.get(name).map(ParamText::as_str).unwrap_or_default();
                field.prefix = format!("{before}{text}{after}");
            }
        }
        let condition = |when| filled_condition(when, params);
        Self {
            when: self.when.into_iter().map(condition).collect(),
            signatures,
            signed: self.signed.into_iter().map(|part| filled_part(part, params)).collect(),
            others: self.others.into_iter().map(|other| other.filled(params)).collect(),
            ..self
        }
    }

    /// Whether it fixes each byte of the body.
    pub fn binds_body(&self) -> bool {
        self.signed.iter().any(|part| matches!(part, Part::Body | Part::BodySha256))
            || self.body_hash.is_some()
            || self.jwt.as_ref().is_some_and(|jwt| jwt.body_claim.is_some())
    }

    /// Whether a token is all that proves a request, and says nothing about its body.
    pub fn is_bare_token(&self) -> bool {
        self.scheme == SignatureScheme::Jwt && !self.binds_body()
    }

    /// Whether one of them fixes the body alone, and not the attributes of a CloudEvent in headers.
    /// Where it does not even fix the body, nothing is to be gained from another form of the
    /// request.
    pub fn leaves_attributes_open(&self) -> bool {
        let open = |rule: &Self| {
            let signs = rule.scheme.signs() || rule.jwt.is_some();
            let names_header = |name: &str| {
                rule.signed.iter().any(|part| matches!(part, Part::Header(it) if it == name))
            };
            let lists = rule.signed.iter().any(|part| matches!(part, Part::HeaderList(_)));
            signs && rule.binds_body() && !lists && !IDENTITY.into_iter().all(names_header)
        };
        self.all().any(open)
    }

    /// Whether one of them signs less than the whole body, as it is written: a captured request can
    /// then be sent again in other bytes.
    pub fn leaves_bytes_open(&self) -> bool {
        self.all().any(|rule| rule.scheme.signs() && !rule.binds_body())
    }

    /// Whether the signed text has a time that stands in the head.
    pub(super) fn signs_time_of_header(&self) -> bool {
        let in_head = |rule: &Timestamp| !rule.field.place.is_in_body();
        self.signed.contains(&Part::Timestamp) && self.timestamp.as_ref().is_some_and(in_head)
    }

    /// Whether one of them is checked with secrets.
    pub fn has_secrets(&self) -> bool {
        self.all().any(|rule| match &rule.jwt {
            Some(jwt) => jwt.algorithms.iter().any(|algorithm| algorithm.has_secrets()),
            None => rule.scheme.has_secrets(),
        })
    }

    /// The rules that are checked with public keys, and have neither one nor an address of one.
    fn keyless(&self) -> impl Iterator<Item = &Self> {
        self.all().filter(|rule| rule.public_key_kind().is_some() && rule.lacks_keys())
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

    /// Takes an address of the host, where none is named for the signature.
    pub fn take_url(&mut self, url: Option<&String>) {
        let others = self.others.iter_mut().map(|other| &mut other.public_url);
        for own in std::iter::once(&mut self.public_url).chain(others) {
            if own.is_none() {
                *own = url.cloned();
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
fn filled_part(part: Part, params: &BTreeMap<String, ParamText>) -> Part {
    match part {
        Part::Param(name, _) => {
            let text = params.get(&name).cloned();
            Part::Param(name, text)
        }
        Part::Optional(parts) => {
            Part::Optional(parts.into_iter().map(|part| filled_part(part, params)).collect())
        }
        part => part,
    }
}
