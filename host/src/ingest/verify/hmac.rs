//! HMAC-SHA256 (RFC 2104): a code that provider and host make with the same secret.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretSlice};
use sha2::Sha256;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::candidates::Candidates;
use super::message::Message;
use super::scheme::Scheme;

/// The length of a code, in bytes.
const TAG_BYTES: usize = 32;

/// The states of one or more secrets, each with its key taken in already.
pub(super) struct HmacSha256 {
    keys: Vec<Hmac<Sha256>>,
}

impl HmacSha256 {
    /// With these secrets, or `None` if there is none. Anybody can sign with an empty key, so an
    /// empty secret counts as none.
    pub(super) fn new(secrets: &[SecretSlice<u8>]) -> Option<Self> {
        let secrets = secrets.iter().map(|secret| secret.expose_secret());
        let keys: Vec<_> = secrets
            .filter(|secret| !secret.is_empty())
            .map(|secret| Hmac::new_from_slice(secret).expect("HMAC takes keys of any length"))
            .collect();
        (!keys.is_empty()).then_some(Self { keys })
    }
}

impl fmt::Debug for HmacSha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HmacSha256").finish_non_exhaustive()
    }
}

impl Scheme for HmacSha256 {
    fn fits(&self, bytes: usize) -> bool {
        bytes == TAG_BYTES
    }

    fn keys(&self) -> usize {
        self.keys.len()
    }

    fn matching_key(&self, message: &Message<'_>, candidates: &Candidates) -> Option<u32> {
        let mut any = Choice::from(0);
        let mut position = 0_u32;
        for (index, key) in (0_u32..).zip(&self.keys) {
            let tag = tag(key, message);
            let hit = candidates
                .iter()
                .fold(Choice::from(0), |hit, candidate| hit | tag.as_slice().ct_eq(candidate));
            position.conditional_assign(&index, hit & !any);
            any |= hit;
        }
        bool::from(any).then_some(position)
    }

    fn sign(&self, message: &Message<'_>) -> Option<Vec<u8>> {
        self.keys.first().map(|key| tag(key, message).to_vec())
    }
}

fn tag(key: &Hmac<Sha256>, message: &Message<'_>) -> [u8; TAG_BYTES] {
    let mut mac = key.clone();
    message.each(|bytes| mac.update(bytes));
    mac.finalize().into_bytes().into()
}
