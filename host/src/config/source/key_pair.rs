//! A private key with its public half, for sources whose provider is played by this host: the form
//! in a file is PKCS #8 (RFC 5958) in PEM, as other programs read and write it.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use zeroize::Zeroizing;

use super::public_key::{PublicKey, PublicKeyKind, pem};

/// The beginning of an Ed25519 key of RFC 8410 §7, up to its seed.
const ED25519_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// The label of a private key in PEM (RFC 7468 §10).
const LABEL: &str = "PRIVATE KEY";

/// The length of a line of PEM.
const LINE_BYTES: usize = 64;

/// A pair of keys. Its private half signs, and is never shown.
#[derive(Clone)]
pub struct KeyPair(Arc<Signer>);

/// The private half, by kind.
enum Signer {
    Ed25519(Ed25519KeyPair),
    /// For signatures in DER, and of fixed length.
    P256(Box<[EcdsaKeyPair; 2]>),
    Rsa(Box<RsaKeyPair>),
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyPair").field(&self.public().kind).finish()
    }
}

impl KeyPair {
    /// Whether [`KeyPair::make`] makes pairs of this kind: there is no RSA in what makes them.
    pub fn can_make(kind: PublicKeyKind) -> bool {
        kind != PublicKeyKind::Rsa
    }

    /// Makes a pair of this kind, in PEM.
    ///
    /// # Errors
    /// The system gives no random bytes, or pairs of this kind cannot be made; for people.
    pub fn make(kind: PublicKeyKind) -> Result<Zeroizing<String>, String> {
        let no_random = |_| "the system gives no random bytes".to_owned();
        let der = match kind {
            PublicKeyKind::Ed25519 => {
                let mut der = Zeroizing::new(vec![0; ED25519_PREFIX.len() + 32]);
                let (prefix, seed) = der.split_at_mut(ED25519_PREFIX.len());
                prefix.copy_from_slice(&ED25519_PREFIX);
                getrandom::fill(seed).map_err(|error| error.to_string())?;
                der
            }
            PublicKeyKind::P256 => {
                let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
                let made = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new());
                Zeroizing::new(made.map_err(no_random)?.as_ref().to_vec())
            }
            PublicKeyKind::Rsa => return Err("this host makes no RSA keys".to_owned()),
        };
        let coded = Zeroizing::new(STANDARD.encode(&*der));
        let mut text = Zeroizing::new(String::with_capacity(2 * coded.len() + 128));
        text.push_str(&format!("-----BEGIN {LABEL}-----\n"));
        for line in coded.as_bytes().chunks(LINE_BYTES) {
            text.extend(line.iter().copied().map(char::from));
            text.push('\n');
        }
        text.push_str(&format!("-----END {LABEL}-----\n"));
        Ok(text)
    }

    /// Reads a pair of this kind. An RSA key has 2,048 to 4,096 bits.
    ///
    /// # Errors
    /// The text is none; for people, as the end of a sentence. It holds nothing of the text.
    pub fn read(kind: PublicKeyKind, text: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(text).ok();
        let der = text.and_then(pem).filter(|(label, _)| *label == LABEL);
        let der = der.map(|(_, der)| Zeroizing::new(der));
        let der = der.ok_or("it is not a private key in PEM (PKCS #8)")?;
        let wrong = |_| format!("it is not a private key {}", kind.described());
        let p256 = |algorithm: &'static EcdsaSigningAlgorithm| {
            EcdsaKeyPair::from_pkcs8(algorithm, &der, &SystemRandom::new()).map_err(wrong)
        };
        Ok(Self(Arc::new(match kind {
            PublicKeyKind::Ed25519 => {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map_err(wrong)?;
                Signer::Ed25519(pair)
            }
            PublicKeyKind::P256 => Signer::P256(Box::new([
                p256(&ECDSA_P256_SHA256_ASN1_SIGNING)?,
                p256(&ECDSA_P256_SHA256_FIXED_SIGNING)?,
            ])),
            PublicKeyKind::Rsa => {
                Signer::Rsa(Box::new(RsaKeyPair::from_pkcs8(&der).map_err(wrong)?))
            }
        })))
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        let (kind, bytes) = match &*self.0 {
            Signer::Ed25519(pair) => (PublicKeyKind::Ed25519, pair.public_key().as_ref()),
            Signer::P256(pairs) => (PublicKeyKind::P256, pairs[0].public_key().as_ref()),
            Signer::Rsa(pair) => (PublicKeyKind::Rsa, pair.public_key().as_ref()),
        };
        PublicKey { kind, bytes: bytes.to_vec(), kid: None }
    }

    /// A signature with SHA-256 where the kind leaves a choice, that of ECDSA in DER; `None` if the
    /// system gives no random bytes.
    pub fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.sign_as(message, 0)
    }

    /// The same, but that of ECDSA has a fixed length, as JSON Web Signatures do (RFC 7518 §3.4).
    pub fn sign_fixed(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.sign_as(message, 1)
    }

    fn sign_as(&self, message: &[u8], form: usize) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match &*self.0 {
            Signer::Ed25519(pair) => Some(pair.sign(message).as_ref().to_vec()),
            Signer::P256(pairs) => {
                let signed = pairs.get(form)?.sign(&random, message);
                signed.ok().map(|signature| signature.as_ref().to_vec())
            }
            Signer::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                let signed = pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature);
                signed.ok().map(|()| signature)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_pair_is_read_again_with_the_same_public_half() {
        for kind in [PublicKeyKind::Ed25519, PublicKeyKind::P256] {
            let text = KeyPair::make(kind).unwrap();
            let public = KeyPair::read(kind, text.as_bytes()).unwrap().public();
            assert_eq!(public, KeyPair::read(kind, text.as_bytes()).unwrap().public());
            assert_eq!(public.kind, kind);
            let other = KeyPair::make(kind).unwrap();
            assert_ne!(public, KeyPair::read(kind, other.as_bytes()).unwrap().public());
        }
        assert!(!KeyPair::can_make(PublicKeyKind::Rsa));
        assert!(KeyPair::make(PublicKeyKind::Rsa).unwrap_err().contains("no RSA keys"));
    }

    /// The key of RFC 8410 §10.3, and the public half that the RFC gives for it (§10.1).
    #[test]
    fn the_key_of_rfc_8410_has_the_public_half_that_the_rfc_gives() {
        let text = "-----BEGIN PRIVATE KEY-----\n\
            MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
            -----END PRIVATE KEY-----\n";
        let pair = KeyPair::read(PublicKeyKind::Ed25519, text.as_bytes()).unwrap();
        let given = "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=";
        assert_eq!(PublicKey::parse(given), [pair.public()]);
    }

    #[test]
    fn what_is_no_pair_of_its_kind_is_said_without_a_word_of_it() {
        let text = KeyPair::make(PublicKeyKind::P256).unwrap();
        for (kind, text, says) in [
            (PublicKeyKind::Ed25519, text.as_str(), "not a private key of Ed25519"),
            (PublicKeyKind::Rsa, text.as_str(), "not a private key of RSA"),
            (PublicKeyKind::P256, "c2VjcmV0", "not a private key in PEM"),
            (PublicKeyKind::P256, "", "not a private key in PEM"),
            (
                PublicKeyKind::P256,
                "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----",
                "not a private key in PEM",
            ),
        ] {
            let error = KeyPair::read(kind, text.as_bytes()).unwrap_err();
            assert!(error.contains(says) && !error.contains("c2Vj"), "{error}");
        }
        let shown = format!("{:?}", KeyPair::read(PublicKeyKind::P256, text.as_bytes()).unwrap());
        assert_eq!(shown, "KeyPair(P256)");
    }
}
