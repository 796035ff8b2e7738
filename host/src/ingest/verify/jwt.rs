//! JSON Web Tokens (RFC 7519) in the compact form of RFC 7515.
//!
//! The configuration lists the algorithms, all of one family: a token never chooses whether a key
//! is a secret. The size and form of a token are checked before it is decoded.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};
use ring::{digest, hmac};
use secrecy::{ExposeSecret, SecretSlice};
use serde::Deserialize;
use serde_json::Value;

use super::candidates::Candidates;
use super::keys::KeyRing;
use super::message::Message;
use super::refusal::Refusal;
use super::scheme::Scheme;
use crate::config::source::{Encoding, JwtAlgorithm, JwtRule, KeyPair, PublicKey, PublicKeyKind};

/// The longest token that is read, in bytes.
const MAX_TOKEN_BYTES: usize = 16 << 10;

/// The distance between two clocks that is allowed, in seconds.
const LEEWAY_S: i64 = 60;

/// The rules for a token, and the keys.
pub(super) struct JsonWebToken {
    rule: JwtRule,
    /// Scheme and host of the address that a claim may have to name.
    public_url: Option<String>,
    keys: TokenKeys,
}

/// The keys of tokens: secrets, or public keys, or the ring of those that are fetched.
pub(super) struct TokenKeys {
    secrets: Vec<SecretSlice<u8>>,
    public: Vec<PublicKey>,
    ring: Option<KeyRing>,
    /// The pair that signs, if this host plays the provider.
    pair: Option<KeyPair>,
}

/// The header of a token, as far as it is read.
#[derive(Deserialize)]
struct JoseHeader {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood (RFC 7515 §4.1.11): none is.
    crit: Option<serde::de::IgnoredAny>,
}

impl TokenKeys {
    /// Those that can be used, or `None` if there is none and none is fetched.
    pub(super) fn new(
        secrets: &[SecretSlice<u8>],
        public: &[PublicKey],
        ring: Option<KeyRing>,
        pair: Option<&KeyPair>,
    ) -> Option<Self> {
        let known = secrets.iter().filter(|secret| !secret.expose_secret().is_empty());
        let secrets: Vec<_> = known.cloned().collect();
        let has_key = !secrets.is_empty() || !public.is_empty() || ring.is_some();
        has_key.then(|| Self { secrets, public: public.to_vec(), ring, pair: pair.cloned() })
    }

    /// A signature of the first algorithm of which there is a key that signs.
    fn sign(&self, rule: &JwtRule, text: impl Fn(JwtAlgorithm) -> String) -> Option<String> {
        let pair = self.pair.as_ref();
        let kind = pair.map(|pair| pair.public().kind);
        let signs = |known: &&JwtAlgorithm| match known.public_key_kind() {
            None => !self.secrets.is_empty(),
            known => known == kind,
        };
        let algorithm = *rule.algorithms.iter().find(signs)?;
        let text = text(algorithm);
        let shared = |hash| {
            let key = hmac::Key::new(hash, self.secrets.first()?.expose_secret());
            Some(hmac::sign(&key, text.as_bytes()).as_ref().to_vec())
        };
        let signature = match algorithm {
            JwtAlgorithm::Hs256 => shared(hmac::HMAC_SHA256),
            JwtAlgorithm::Hs512 => shared(hmac::HMAC_SHA512),
            JwtAlgorithm::Rs256 | JwtAlgorithm::EdDsa => pair?.sign(text.as_bytes()),
            JwtAlgorithm::Es256 => pair?.sign_fixed(text.as_bytes()),
        };
        Some(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature?)))
    }
}

impl JsonWebToken {
    pub(super) fn new(rule: JwtRule, public_url: Option<String>, keys: TokenKeys) -> Self {
        Self { rule, public_url, keys }
    }

    fn check(&self, token: &[u8], message: &Message<'_>) -> Result<u32, Refusal> {
        let text = std::str::from_utf8(token).ok().filter(|text| text.len() <= MAX_TOKEN_BYTES);
        let (signed, signature) =
            text.and_then(|text| text.rsplit_once('.')).ok_or(Refusal::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(Refusal::Malformed)?;
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| Refusal::Malformed);
        let header: JoseHeader =
            serde_json::from_slice(&decode(header)?).map_err(|_| Refusal::Malformed)?;
        if header.crit.is_some() {
            return Err(Refusal::Mismatch);
        }
        let known = self.rule.algorithms.iter().find(|known| known.name() == header.alg);
        let algorithm = known.ok_or(Refusal::Mismatch)?;
        let signature = decode(signature)?;
        let key = self.key(*algorithm, header.kid.as_deref(), (signed, &signature), message);
        let key = key.ok_or(Refusal::Mismatch)?;
        let claims: Value =
            serde_json::from_slice(&decode(payload)?).map_err(|_| Refusal::Malformed)?;
        self.claims(&claims, message)?;
        Ok(key)
    }

    /// The position of the key that made the signature.
    fn key(
        &self,
        algorithm: JwtAlgorithm,
        kid: Option<&str>,
        (signed, signature): (&str, &[u8]),
        message: &Message<'_>,
    ) -> Option<u32> {
        let (kind, check): (_, &'static dyn VerificationAlgorithm) = match algorithm {
            JwtAlgorithm::Hs256 | JwtAlgorithm::Hs512 => {
                return self.secret(algorithm, signed, signature);
            }
            JwtAlgorithm::Rs256 => (PublicKeyKind::Rsa, &RSA_PKCS1_2048_8192_SHA256),
            JwtAlgorithm::Es256 => (PublicKeyKind::P256, &ECDSA_P256_SHA256_FIXED),
            JwtAlgorithm::EdDsa => (PublicKeyKind::Ed25519, &ED25519),
        };
        let fetched;
        let keys = match &self.keys.ring {
            Some(ring) => {
                fetched = ring.keys(message.key_url?)?;
                &fetched[..]
            }
            None => &self.keys.public[..],
        };
        // A key with a name signs for tokens that name it.
        let named = |key: &PublicKey| key.kid.is_none() || key.kid.as_deref() == kid;
        let matches = |key: &PublicKey| {
            key.kind == kind
                && named(key)
                && UnparsedPublicKey::new(check, &key.bytes)
                    .verify(signed.as_bytes(), signature)
                    .is_ok()
        };
        keys.iter().position(matches).and_then(|at| u32::try_from(at).ok())
    }

    fn secret(&self, algorithm: JwtAlgorithm, signed: &str, signature: &[u8]) -> Option<u32> {
        let hash = match algorithm {
            JwtAlgorithm::Hs512 => hmac::HMAC_SHA512,
            _ => hmac::HMAC_SHA256,
        };
        let mut found = None;
        for (at, secret) in (0_u32..).zip(&self.keys.secrets) {
            let key = hmac::Key::new(hash, secret.expose_secret());
            let fits = hmac::verify(&key, signed.as_bytes(), signature).is_ok();
            found = found.or(fits.then_some(at));
        }
        found
    }

    fn claims(&self, claims: &Value, message: &Message<'_>) -> Result<(), Refusal> {
        let now_s = message.now_ms / 1_000;
        let time = |name: &str| match &claims[name] {
            Value::Null => Ok(None),
            Value::Number(number) => {
                let whole = number.as_i64().or_else(|| number.as_f64().map(|at| at as i64));
                whole.map(Some).ok_or(Refusal::Malformed)
            }
            _ => Err(Refusal::Malformed),
        };
        let (expires, begins, issued) = (time("exp")?, time("nbf")?, time("iat")?);
        let is_late = expires.is_some_and(|at| now_s >= at.saturating_add(LEEWAY_S));
        let is_early = begins.is_some_and(|at| now_s.saturating_add(LEEWAY_S) < at);
        if is_late || is_early {
            return Err(Refusal::Stale);
        }
        if let Some(max_age_ms) = self.rule.max_age_ms {
            let age_s = now_s.saturating_sub(issued.ok_or(Refusal::NoTimestamp)?);
            let max_s = i64::try_from(max_age_ms / 1_000).unwrap_or(i64::MAX);
            if age_s > max_s || age_s < -LEEWAY_S.max(max_s) {
                return Err(Refusal::Stale);
            }
        } else if self.rule.body_claim.is_none() && expires.is_none() {
            // Nothing else would end the use of a token that was seen once.
            return Err(Refusal::NoTimestamp);
        }
        let issuer = self.rule.issuer.as_deref();
        let fits = issuer.is_none_or(|issuer| claims["iss"] == issuer)
            && self.names(self.rule.audience.as_deref(), &claims["aud"], message)
            && self.names(self.rule.subject.as_deref(), &claims["sub"], message)
            && self.binds(claims, message.body);
        if fits { Ok(()) } else { Err(Refusal::Mismatch) }
    }

    /// Whether a claim, or one item of it, is what it should be.
    fn names(&self, wanted: Option<&str>, claim: &Value, message: &Message<'_>) -> bool {
        let Some(wanted) = wanted else { return true };
        let wanted = if wanted == "{url}" {
            let rest = message.head.uri.path_and_query().map_or("/", |path| path.as_str());
            format!("{}{rest}", self.public_url.as_deref().unwrap_or_default())
        } else {
            wanted.to_owned()
        };
        match claim {
            Value::Array(items) => items.iter().any(|item| *item == wanted),
            one => *one == wanted,
        }
    }

    /// Whether the token names the digest of the body, if it has to.
    fn binds(&self, claims: &Value, body: &[u8]) -> bool {
        let Some((name, encoding)) = &self.rule.body_claim else { return true };
        let Some(claim) = claims[name].as_str() else { return false };
        is_digest(claim.as_bytes(), *encoding, body)
    }
}

/// Whether a text is the SHA-256 of the body.
pub(super) fn is_digest(text: &[u8], encoding: Encoding, body: &[u8]) -> bool {
    let digest = digest::digest(&digest::SHA256, body);
    let decoded = match encoding {
        Encoding::Hex => hex::decode(text).ok(),
        Encoding::Base64 => STANDARD.decode(text).ok(),
        Encoding::Base64Url => URL_SAFE_NO_PAD.decode(unpadded(text)).ok(),
        Encoding::Text => Some(text.to_vec()),
    };
    decoded.is_some_and(|decoded| decoded == digest.as_ref())
}

fn unpadded(text: &[u8]) -> &[u8] {
    let padding = text.iter().rev().take(2).take_while(|byte| **byte == b'=').count();
    &text[..text.len() - padding]
}

impl fmt::Debug for JsonWebToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonWebToken").field("rule", &self.rule).finish_non_exhaustive()
    }
}

impl Scheme for JsonWebToken {
    fn fits(&self, bytes: usize) -> bool {
        (1..=MAX_TOKEN_BYTES).contains(&bytes)
    }

    fn is_plain(&self) -> bool {
        false
    }

    fn keys(&self) -> usize {
        (self.keys.secrets.len() + self.keys.public.len()).max(1)
    }

    fn matching_key(&self, message: &Message<'_>, candidates: &Candidates) -> Option<u32> {
        self.judge(message, candidates).ok()
    }

    fn judge(&self, message: &Message<'_>, candidates: &Candidates) -> Result<u32, Refusal> {
        // One token: several would only be guesses.
        let mut tokens = candidates.iter();
        let token = tokens.next().ok_or(Refusal::Malformed)?;
        if tokens.next().is_some() {
            return Err(Refusal::Repeated);
        }
        self.check(token, message)
    }

    /// That of the token without its signature, which can be written in several ways.
    fn digest(&self, _: &Message<'_>, candidates: &Candidates) -> Option<[u8; 32]> {
        let token = candidates.iter().next()?;
        let end = token.iter().rposition(|byte| *byte == b'.')?;
        digest::digest(&digest::SHA256, &token[..end]).as_ref().try_into().ok()
    }

    /// A token that expires in five minutes; its time is that of the message.
    fn sign(&self, message: &Message<'_>) -> Option<Vec<u8>> {
        let now_s = message.now_ms / 1_000;
        let mut claims = serde_json::json!({ "iat": now_s, "exp": now_s + 300 });
        let rest = message.head.uri.path_and_query().map_or("/", |path| path.as_str());
        let url = format!("{}{rest}", self.public_url.as_deref().unwrap_or_default());
        let filled = |text: &str| if text == "{url}" { url.clone() } else { text.to_owned() };
        let rule = &self.rule;
        for (name, text) in [("iss", &rule.issuer), ("aud", &rule.audience), ("sub", &rule.subject)]
        {
            if let Some(text) = text {
                claims[name] = filled(text).into();
            }
        }
        if let Some((name, encoding)) = &rule.body_claim {
            let digest = digest::digest(&digest::SHA256, message.body);
            claims[name.as_str()] = encoding.encode(digest.as_ref()).into();
        }
        let coded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = |algorithm: JwtAlgorithm| {
            let header = serde_json::json!({ "alg": algorithm.name(), "typ": "JWT" });
            format!("{}.{}", coded(&header), coded(&claims))
        };
        self.keys.sign(rule, text).map(String::into_bytes)
    }
}
