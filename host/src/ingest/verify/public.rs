//! ECDSA and RSA: the provider signs with its private key, the host knows the public one.

use std::fmt;
use std::ops::RangeInclusive;

use ring::signature::{
    ECDSA_P256_SHA256_ASN1, RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
    RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};

use super::candidates::Candidates;
use super::keys::KeyRing;
use super::message::Message;
use super::scheme::{MOST_PUBLIC_CANDIDATES, Scheme};
use crate::config::source::{KeyPair, PublicKey, PublicKeyKind, SignatureScheme};

/// The bounds of the length of an RSA signature, in bytes: keys of 1,024 to 8,192 bits.
const RSA_BYTES: RangeInclusive<usize> = 128..=1_024;

/// The bounds of the length of an ECDSA signature in DER, in bytes: 6 and two numbers of up to 33.
/// Nobody finds a pair of numbers that are both below 2^192.
const ECDSA_BYTES: RangeInclusive<usize> = 54..=72;

/// The length of an Ed25519 signature, in bytes.
const ED25519_BYTES: RangeInclusive<usize> = 64..=64;

/// One or more public keys, or the ring of those that are fetched.
pub(super) struct PublicKeys {
    kind: PublicKeyKind,
    algorithm: &'static dyn VerificationAlgorithm,
    keys: Vec<PublicKey>,
    ring: Option<KeyRing>,
    /// The pair that signs, if this host plays the provider.
    pair: Option<KeyPair>,
}

impl PublicKeys {
    /// For a scheme, or `None` if there is no key and none is fetched.
    pub(super) fn new(
        scheme: SignatureScheme,
        keys: &[PublicKey],
        ring: Option<KeyRing>,
        pair: Option<&KeyPair>,
    ) -> Option<Self> {
        let (kind, algorithm): (_, &'static dyn VerificationAlgorithm) = match scheme {
            SignatureScheme::RsaSha256 => (PublicKeyKind::Rsa, &RSA_PKCS1_2048_8192_SHA256),
            SignatureScheme::RsaSha1 => {
                (PublicKeyKind::Rsa, &RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY)
            }
            SignatureScheme::Ed25519 => (PublicKeyKind::Ed25519, &ring::signature::ED25519),
            _ => (PublicKeyKind::P256, &ECDSA_P256_SHA256_ASN1),
        };
        let keys: Vec<_> = keys.iter().filter(|key| key.kind == kind).cloned().collect();
        // There is no signing with SHA-1.
        let signs =
            |pair: &&KeyPair| pair.public().kind == kind && scheme != SignatureScheme::RsaSha1;
        let pair = pair.filter(signs).cloned();
        let has_key = !keys.is_empty() || ring.is_some();
        has_key.then_some(Self { kind, algorithm, keys, ring, pair })
    }
}

impl fmt::Debug for PublicKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKeys").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

impl Scheme for PublicKeys {
    fn fits(&self, bytes: usize) -> bool {
        let bounds = match self.kind {
            PublicKeyKind::Rsa => RSA_BYTES,
            PublicKeyKind::P256 => ECDSA_BYTES,
            PublicKeyKind::Ed25519 => ED25519_BYTES,
        };
        bounds.contains(&bytes)
    }

    fn most_candidates(&self) -> usize {
        MOST_PUBLIC_CANDIDATES
    }

    fn keys(&self) -> usize {
        self.keys.len().max(1)
    }

    /// Nothing here is secret, so the first match ends the search.
    fn matching_key(&self, message: &Message<'_>, candidates: &Candidates) -> Option<u32> {
        let bytes = message.bytes();
        let matches = |key: &PublicKey| {
            let key = UnparsedPublicKey::new(self.algorithm, &key.bytes);
            candidates.iter().any(|candidate| key.verify(&bytes, candidate).is_ok())
        };
        if let Some(ring) = &self.ring {
            let fetched = ring.keys(message.key_url?)?;
            let mut fitting = fetched.iter().filter(|key| key.kind == self.kind);
            return fitting.any(matches).then_some(0);
        }
        self.keys.iter().position(matches).and_then(|at| u32::try_from(at).ok())
    }

    fn sign(&self, message: &Message<'_>) -> Option<Vec<u8>> {
        self.pair.as_ref()?.sign(&message.bytes())
    }
}
