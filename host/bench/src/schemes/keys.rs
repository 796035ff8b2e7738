//! Keys that sign the load, and what a verification costs with them.

use std::process::Command;
use std::time::{Duration, Instant};

use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    self, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair,
    UnparsedPublicKey, VerificationAlgorithm,
};

use crate::figures::Wanted;
use crate::process::thread_cpu;
use hookbox_tools::{Result, install};

/// How long verifications are timed.
const TIMED: Duration = Duration::from_secs(1);

/// The usual length of an ECDSA signature in DER: requests of one length are read in one go.
const ECDSA_BYTES: usize = 71;

/// The bytes in front of a point on P-256 in a `SubjectPublicKeyInfo`.
const P256_PREFIX: &str = "3059301306072a8648ce3d020106082a8648ce3d030107034200";

/// The algorithm of RSA in a `SubjectPublicKeyInfo`.
const RSA_ALGORITHM: &str = "300d06092a864886f70d0101010500";

/// A scheme with a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SigningScheme {
    Ed25519,
    EcdsaP256,
    RsaSha256,
}

pub(super) const SCHEMES: [SigningScheme; 3] =
    [SigningScheme::Ed25519, SigningScheme::EcdsaP256, SigningScheme::RsaSha256];

impl SigningScheme {
    /// The name in a configuration, and of the source.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::EcdsaP256 => "ecdsa-p256",
            Self::RsaSha256 => "rsa-sha256",
        }
    }

    /// The least share of HMAC's rate.
    pub(super) fn wanted(self) -> Wanted {
        match self {
            Self::Ed25519 => Wanted::AtLeast(0.25),
            Self::EcdsaP256 => Wanted::AtLeast(0.12),
            Self::RsaSha256 => Wanted::Known,
        }
    }
}

/// A key that signs.
pub(super) enum Key {
    Hmac(hmac::Key),
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
    Rsa(Box<RsaKeyPair>),
}

impl Key {
    /// The key of HMAC-SHA256.
    pub(super) fn hmac(secret: &[u8]) -> Self {
        Self::Hmac(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// A new key. An RSA key is made by openssl.
    pub(super) fn make(scheme: SigningScheme) -> Result<Self> {
        let random = SystemRandom::new();
        let fail = |error: &dyn std::fmt::Display| format!("{}: {error}", scheme.name());
        Ok(match scheme {
            SigningScheme::Ed25519 => {
                let made = Ed25519KeyPair::generate_pkcs8(&random).map_err(|it| fail(&it))?;
                let pair = Ed25519KeyPair::from_pkcs8(made.as_ref());
                Self::Ed25519(pair.map_err(|it| fail(&it))?)
            }
            SigningScheme::EcdsaP256 => {
                let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
                let made = EcdsaKeyPair::generate_pkcs8(algorithm, &random);
                let made = made.map_err(|it| fail(&it))?;
                let pair = EcdsaKeyPair::from_pkcs8(algorithm, made.as_ref(), &random);
                Self::P256(pair.map_err(|it| fail(&it))?)
            }
            SigningScheme::RsaSha256 => {
                install("openssl")?;
                let mut command = Command::new("openssl");
                command.args(["genpkey", "-algorithm", "RSA", "-outform", "DER"]);
                let made = command.output().map_err(|it| fail(&it))?.stdout;
                // By its version it writes PKCS #8 or PKCS #1.
                let pair = RsaKeyPair::from_pkcs8(&made).or_else(|_| RsaKeyPair::from_der(&made));
                Self::Rsa(Box::new(pair.map_err(|it| fail(&it))?))
            }
        })
    }

    /// A signature, of the usual length.
    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Hmac(key) => hmac::sign(key, message).as_ref().to_vec(),
            Self::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Self::P256(pair) => loop {
                let signature = pair.sign(&random, message).expect("there is randomness");
                if signature.as_ref().len() == ECDSA_BYTES {
                    return signature.as_ref().to_vec();
                }
            },
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&signature::RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .expect("there is randomness");
                signature
            }
        }
    }

    /// The public half, as a configuration takes it.
    pub(super) fn public_hex(&self) -> String {
        match self {
            Self::Hmac(_) => String::new(),
            Self::Ed25519(pair) => hex(pair.public_key().as_ref()),
            Self::P256(pair) => format!("{P256_PREFIX}{}", hex(pair.public_key().as_ref())),
            Self::Rsa(pair) => {
                let key = hex(pair.public_key().as_ref());
                let bits = element("03", &format!("00{key}"));
                element("30", &format!("{RSA_ALGORITHM}{bits}"))
            }
        }
    }

    /// Whether it made a signature; the key is read each time, as the host does it.
    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let (algorithm, key): (&'static dyn VerificationAlgorithm, &[u8]) = match self {
            Self::Hmac(key) => return hmac::verify(key, message, signature).is_ok(),
            Self::Ed25519(pair) => (&signature::ED25519, pair.public_key().as_ref()),
            Self::P256(pair) => (&signature::ECDSA_P256_SHA256_ASN1, pair.public_key().as_ref()),
            Self::Rsa(pair) => (&signature::RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref()),
        };
        UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok()
    }

    /// Microseconds of CPU time of a verification on this thread.
    pub(super) fn verify_us(&self, message: &str) -> Result<f64> {
        let signature = self.sign(message.as_bytes());
        let (started, before, mut count) = (Instant::now(), thread_cpu()?, 0_u32);
        while started.elapsed() < TIMED {
            assert!(self.verifies(message.as_bytes(), &signature), "it made the signature");
            count += 1;
        }
        Ok((thread_cpu()? - before).as_secs_f64() * 1e6 / f64::from(count))
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An element of DER with a long content, in hex.
fn element(tag: &str, content: &str) -> String {
    format!("{tag}82{:04x}{content}", content.len() / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_has_one_length_and_is_of_its_message_alone() {
        for scheme in [SigningScheme::Ed25519, SigningScheme::EcdsaP256] {
            let key = Key::make(scheme).unwrap();
            let length = key.sign(b"0").len();
            for message in 0..20_u8 {
                let signature = key.sign(&[message]);
                assert_eq!(signature.len(), length);
                assert!(key.verifies(&[message], &signature));
                assert!(!key.verifies(&[message ^ 1], &signature));
            }
            assert!(key.public_hex().len() >= 64);
        }
        assert_eq!(element("03", "00ff"), "0382000200ff");
    }
}
