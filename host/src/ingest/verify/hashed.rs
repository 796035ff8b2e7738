//! HMAC with SHA-1 or SHA-512, and plain digests over text that holds the secret.

use std::fmt;

use ring::{digest, hmac};
use secrecy::{ExposeSecret, SecretSlice};
use subtle::{Choice, ConstantTimeEq};

use super::candidates::Candidates;
use super::message::Message;
use super::scheme::Scheme;

/// HMAC with an older or a longer hash than SHA-256.
pub(super) struct HmacOther {
    bytes: usize,
    keys: Vec<hmac::Key>,
}

impl HmacOther {
    /// HMAC-SHA1 with these secrets, or `None` if there is none.
    pub(super) fn sha1(secrets: &[SecretSlice<u8>]) -> Option<Self> {
        Self::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secrets)
    }

    /// HMAC-SHA512 with these secrets, or `None` if there is none.
    pub(super) fn sha512(secrets: &[SecretSlice<u8>]) -> Option<Self> {
        Self::new(hmac::HMAC_SHA512, secrets)
    }

    fn new(algorithm: hmac::Algorithm, secrets: &[SecretSlice<u8>]) -> Option<Self> {
        let keys: Vec<_> = known(secrets).map(|key| hmac::Key::new(algorithm, key)).collect();
        let bytes = algorithm.digest_algorithm().output_len();
        (!keys.is_empty()).then_some(Self { bytes, keys })
    }
}

/// The secrets that are no empty text.
fn known(secrets: &[SecretSlice<u8>]) -> impl Iterator<Item = &[u8]> {
    secrets.iter().map(|secret| secret.expose_secret()).filter(|secret| !secret.is_empty())
}

impl fmt::Debug for HmacOther {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HmacOther").finish_non_exhaustive()
    }
}

impl Scheme for HmacOther {
    fn fits(&self, bytes: usize) -> bool {
        bytes == self.bytes
    }

    fn keys(&self) -> usize {
        self.keys.len()
    }

    fn matching_key(&self, message: &Message<'_>, candidates: &Candidates) -> Option<u32> {
        position(&self.keys, candidates, |key| tag(key, message))
    }

    fn sign(&self, message: &Message<'_>) -> Option<Vec<u8>> {
        self.keys.first().map(|key| tag(key, message))
    }
}

fn tag(key: &hmac::Key, message: &Message<'_>) -> Vec<u8> {
    let mut context = hmac::Context::with_key(key);
    message.each(|bytes| context.update(bytes));
    context.sign().as_ref().to_vec()
}

/// The position of the key that made a candidate; every key is tried with every candidate.
pub(super) fn position<K>(
    keys: &[K],
    candidates: &Candidates,
    make: impl Fn(&K) -> Vec<u8>,
) -> Option<u32> {
    let mut found = None;
    for (at, key) in (0_u32..).zip(keys) {
        let made = make(key);
        let hit = candidates
            .iter()
            .fold(Choice::from(0), |hit, candidate| hit | made.as_slice().ct_eq(candidate));
        if bool::from(hit) && found.is_none() {
            found = Some(at);
        }
    }
    found
}

/// A digest over text of which the secret is a part.
pub(super) struct PlainDigest {
    algorithm: &'static digest::Algorithm,
    secrets: Vec<SecretSlice<u8>>,
}

impl PlainDigest {
    /// SHA-1, or SHA-256, with these secrets, or `None` if there is none.
    pub(super) fn new(is_sha1: bool, secrets: &[SecretSlice<u8>]) -> Option<Self> {
        let secrets: Vec<_> = known(secrets).map(|key| SecretSlice::from(key.to_vec())).collect();
        let algorithm = if is_sha1 { &digest::SHA1_FOR_LEGACY_USE_ONLY } else { &digest::SHA256 };
        (!secrets.is_empty()).then_some(Self { algorithm, secrets })
    }

    fn digest(&self, secret: &SecretSlice<u8>, message: &Message<'_>) -> Vec<u8> {
        let mut context = digest::Context::new(self.algorithm);
        let message = Message { secret: Some(secret.expose_secret()), ..*message };
        message.each(|bytes| context.update(bytes));
        context.finish().as_ref().to_vec()
    }
}

impl fmt::Debug for PlainDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlainDigest").finish_non_exhaustive()
    }
}

impl Scheme for PlainDigest {
    fn fits(&self, bytes: usize) -> bool {
        bytes == self.algorithm.output_len()
    }

    fn keys(&self) -> usize {
        self.secrets.len()
    }

    /// A digest of text that begins with the secret is also the beginning of the digest of a longer
    /// text: the same one, the padding of the hash, and anything. The padding is no UTF-8, so text
    /// that is could not have been made without the secret.
    fn matching_key(&self, message: &Message<'_>, candidates: &Candidates) -> Option<u32> {
        let mut is_text = true;
        message.each(|piece| is_text &= std::str::from_utf8(piece).is_ok());
        if !is_text && !message.template.ends_with_secret() {
            return None;
        }
        position(&self.secrets, candidates, |secret| self.digest(secret, message))
    }

    fn sign(&self, message: &Message<'_>) -> Option<Vec<u8>> {
        self.secrets.first().map(|secret| self.digest(secret, message))
    }
}
