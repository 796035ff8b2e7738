//! What a source needs at hand for every request, made once per configuration: MAC states that have taken in their
//! key, parsed header names and pointers, hash states of the dedupe keys.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use axum::http::header::{CONTENT_TYPE, HeaderName, USER_AGENT};
use hmac::{Hmac, KeyInit};
use secrecy::{ExposeSecret, SecretSlice};
use sha2::Sha256;

use super::identify::{Dedupe, Plan};
use super::tally::Tally;
use crate::config::Config;
use crate::config::source::{self, Encoding, Field, Part, Pick, Secrets, Source, Timestamp, Verify};

/// A keyed HMAC-SHA256 state (RFC 2104).
pub(super) type HmacSha256 = Hmac<Sha256>;

/// One source, made ready to receive.
#[derive(Debug)]
pub struct Gate {
    source: Arc<Source>,
    verifier: Verifier,
    pub(super) plan: Plan,
    pub(super) dedupe: Dedupe,
    /// Request headers that are stored with the event.
    pub(super) kept: Vec<HeaderName>,
    pub(super) tally: Tally,
}

/// How a source's requests are checked.
#[derive(Debug)]
pub(super) enum Verifier {
    /// Not at all: `scheme = "none"`.
    Open,
    /// They cannot be, and are refused. The text says what is missing.
    Closed(String),
    /// With a template and keys.
    Keyed(Template),
}

/// [`source::Hmac`] with header names parsed and keys taken in.
pub(super) struct Template {
    pub(super) signatures: Vec<(HeaderName, Field)>,
    pub(super) encoding: Encoding,
    pub(super) signed: Vec<Part>,
    pub(super) timestamp: Option<(HeaderName, Timestamp)>,
    pub(super) id: Option<HeaderName>,
    pub(super) signs_timestamp: bool,
    pub(super) signs_id: bool,
    /// At least one.
    pub(super) keys: Vec<HmacSha256>,
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template").field("signatures", &self.signatures).finish_non_exhaustive()
    }
}

impl Gate {
    /// Makes a source ready. A source that cannot be checked (no secret, an empty one, a header name that is none)
    /// becomes a gate that refuses every request.
    pub fn new(source: Arc<Source>) -> Self {
        let verifier = match &source.verify {
            Verify::None => Verifier::Open,
            Verify::Hmac(hmac) => {
                Template::new(hmac, source.id.as_ref()).map_or_else(Verifier::Closed, Verifier::Keyed)
            }
        };
        let plan = Plan::new(&source);
        let kept = kept_headers(&source, &plan);
        let keys = if let Verifier::Keyed(template) = &verifier { template.keys.len() } else { 0 };
        let tally = Tally::new(&source.name, keys);
        Self { tally, verifier, plan, dedupe: Dedupe::of(&source), kept, source }
    }

    /// The source it stands for.
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    pub(super) fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// What is missing, if it refuses every request.
    pub fn closed(&self) -> Option<&str> {
        match &self.verifier {
            Verifier::Closed(what) => Some(what),
            Verifier::Open | Verifier::Keyed(_) => None,
        }
    }
}

impl Template {
    fn new(hmac: &source::Hmac, id: Option<&Pick>) -> Result<Self, String> {
        let signatures = hmac
            .signatures
            .iter()
            .map(|field| Ok((header_name(&field.header)?, field.clone())))
            .collect::<Result<_, String>>()?;
        let timestamp = match &hmac.timestamp {
            Some(timestamp) => Some((header_name(&timestamp.field.header)?, timestamp.clone())),
            None => None,
        };
        let id = match id {
            Some(Pick::Header(name)) => Some(header_name(name)?),
            _ => None,
        };
        Ok(Self {
            signatures,
            encoding: hmac.encoding,
            signed: hmac.signed.clone(),
            timestamp,
            id,
            signs_timestamp: hmac.signed.contains(&Part::Timestamp),
            signs_id: hmac.signed.contains(&Part::Id),
            keys: keys(&hmac.secrets)?,
        })
    }
}

/// Keyed states of the active secrets. Anybody can sign with an empty key, so an empty secret is none.
fn keys(secrets: &Secrets) -> Result<Vec<HmacSha256>, String> {
    let keys: Vec<_> = active(secrets)?
        .iter()
        .map(|secret| secret.expose_secret())
        .filter(|secret| !secret.is_empty())
        .map(|secret| HmacSha256::new_from_slice(secret).expect("HMAC takes keys of any length"))
        .collect();
    if keys.is_empty() { Err("every secret is empty".to_owned()) } else { Ok(keys) }
}

/// The active secrets, or what to set.
pub(super) fn active(secrets: &Secrets) -> Result<&[SecretSlice<u8>], String> {
    match secrets {
        Secrets::Set(all) => Ok(all),
        Secrets::Generated { secret, .. } => Ok(std::slice::from_ref(secret)),
        Secrets::Missing(what) => Err(what.clone()),
    }
}

pub(super) fn header_name(name: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is not a header name"))
}

/// What is stored of a request's header: the media type, who sent it, and where the source has its id, type, subject
/// and time. Signatures are not kept: they are credentials for as long as a request may be replayed.
fn kept_headers(source: &Source, plan: &Plan) -> Vec<HeaderName> {
    let signatures = match &source.verify {
        Verify::Hmac(hmac) => hmac.signatures.as_slice(),
        Verify::None => &[],
    };
    let timestamp = match &source.verify {
        Verify::Hmac(hmac) => hmac.timestamp.as_ref().and_then(|at| header_name(&at.field.header).ok()),
        Verify::None => None,
    };
    let mut kept: Vec<HeaderName> = Vec::new();
    for name in [CONTENT_TYPE, USER_AGENT].into_iter().chain(plan.headers().into_iter().cloned()).chain(timestamp) {
        let is_signature = signatures.iter().any(|field| field.header.eq_ignore_ascii_case(name.as_str()));
        if !is_signature && !kept.contains(&name) {
            kept.push(name);
        }
    }
    kept
}

/// The gates of every source of one configuration.
#[derive(Debug)]
pub(super) struct Gates {
    config: Arc<Config>,
    by_name: HashMap<Arc<str>, Gate>,
}

impl Gates {
    pub(super) fn new(config: Arc<Config>) -> Self {
        let gates = config.sources.values().map(|source| (Arc::clone(&source.name), Gate::new(Arc::clone(source))));
        Self { by_name: gates.collect(), config }
    }

    /// The configuration they were made from.
    pub(super) fn config(&self) -> &Arc<Config> {
        &self.config
    }

    pub(super) fn get(&self, name: &str) -> Option<&Gate> {
        self.by_name.get(name)
    }
}
