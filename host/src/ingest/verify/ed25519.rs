//! Ed25519 (RFC 8032): the provider signs with its private key, the host knows the public one.

use ring::signature::{ED25519, UnparsedPublicKey};

use super::candidates::Candidates;
use super::message::Message;
use super::scheme::{MOST_PUBLIC_CANDIDATES, Scheme};
use crate::config::source::{KeyPair, PublicKey, PublicKeyKind};

/// The length of a signature, in bytes.
const SIGNATURE_BYTES: usize = 64;

/// One or more public keys.
#[derive(Debug)]
pub(super) struct Ed25519 {
    keys: Vec<UnparsedPublicKey<Vec<u8>>>,
    /// The pair that signs, if this host plays the provider.
    pair: Option<KeyPair>,
}

impl Ed25519 {
    /// With these keys, or `None` if there is none.
    pub(super) fn new(keys: &[PublicKey], pair: Option<&KeyPair>) -> Option<Self> {
        let keys = keys.iter().filter(|key| key.kind == PublicKeyKind::Ed25519);
        let keys: Vec<_> =
            keys.map(|key| UnparsedPublicKey::new(&ED25519, key.bytes.clone())).collect();
        let pair = pair.filter(|pair| pair.public().kind == PublicKeyKind::Ed25519).cloned();
        (!keys.is_empty()).then_some(Self { keys, pair })
    }
}

impl Scheme for Ed25519 {
    fn fits(&self, bytes: usize) -> bool {
        bytes == SIGNATURE_BYTES
    }

    fn most_candidates(&self) -> usize {
        MOST_PUBLIC_CANDIDATES
    }

    fn keys(&self) -> usize {
        self.keys.len()
    }

    /// Nothing here is secret, so the first match ends the search.
    fn matching_key(&self, message: &Message<'_>, candidates: &Candidates) -> Option<u32> {
        let bytes = message.bytes();
        let matches = |key: &UnparsedPublicKey<Vec<u8>>| {
            candidates.iter().any(|candidate| key.verify(&bytes, candidate).is_ok())
        };
        self.keys.iter().position(matches).and_then(|at| u32::try_from(at).ok())
    }

    fn sign(&self, message: &Message<'_>) -> Option<Vec<u8>> {
        self.pair.as_ref()?.sign(&message.bytes())
    }
}
