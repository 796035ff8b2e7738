//! Seals secrets with a key that hosts share, so that a database can keep what it cannot read.
//!
//! AES-256-GCM with a fresh random nonce in front. A text that stands for the secret's place is
//! authenticated with it, so that sealed bytes are of use in no other place.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

/// The length of a key, in bytes.
const KEY_BYTES: usize = 32;

/// A key of [`KEY_BYTES`] bytes. Its debug form does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct SealKey(Zeroizing<[u8; KEY_BYTES]>);

impl SealKey {
    /// Reads a key that is written as base64, with or without padding, or as hex digits.
    pub fn read(text: &[u8]) -> Option<Self> {
        let bytes = match text.len() == 2 * KEY_BYTES {
            true => hex::decode(text).ok(),
            false => STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).ok(),
        };
        let bytes = Zeroizing::new(bytes?);
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        if bytes.len() != KEY_BYTES {
            return None;
        }
        key.copy_from_slice(&bytes);
        Some(Self(key))
    }

    fn cipher(&self) -> LessSafeKey {
        let key = UnboundKey::new(&AES_256_GCM, &self.0[..]).expect("the length is that of a key");
        LessSafeKey::new(key)
    }

    /// Seals a content for a place.
    pub fn seal(&self, place: &str, content: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).expect("the operating system gives random numbers");
        let mut bytes = Zeroizing::new(content.to_vec());
        let tag = self.cipher().seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(place),
            &mut bytes,
        );
        let tag = tag.expect("a secret is shorter than the cipher's limit");
        [&nonce[..], &bytes[..], tag.as_ref()].concat()
    }

    /// Opens what was sealed for a place; `None` if it was sealed with another key or for another
    /// place, or was changed.
    pub fn open(&self, place: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, rest) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut bytes = Zeroizing::new(rest.to_vec());
        let length = self.cipher().open_in_place(nonce, Aad::from(place), &mut bytes).ok()?.len();
        bytes.truncate(length);
        Some(bytes)
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn key() -> SealKey {
        SealKey::read(HEX.as_bytes()).unwrap()
    }

    #[test]
    fn a_key_is_32_bytes_in_base64_or_hex_and_nothing_else() {
        let padded = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        for text in [HEX, &HEX.to_uppercase(), padded, padded.trim_end_matches('=')] {
            assert_eq!(SealKey::read(text.as_bytes()), Some(key()), "{text}");
        }
        for text in ["", "hunter2", &HEX[2..], &padded[4..], &"x".repeat(64), &padded.repeat(2)] {
            assert_eq!(SealKey::read(text.as_bytes()), None, "{text}");
        }
        assert!(!format!("{:?}", key()).contains("01"));
    }

    #[test]
    fn what_is_sealed_opens_with_its_key_and_in_its_place_only() {
        let content = b"whsec_0123456789abcdef";
        let sealed = key().seal("heygen 1", content);
        assert_eq!(key().open("heygen 1", &sealed).unwrap().as_slice(), content);
        let other = SealKey::read("1".repeat(64).as_bytes()).unwrap();
        assert!(other.open("heygen 1", &sealed).is_none());
        assert!(key().open("heygen 2", &sealed).is_none());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key().open("heygen 1", &changed).is_none(), "byte {at}");
            assert!(key().open("heygen 1", &sealed[..at]).is_none(), "{at} bytes");
        }
    }

    #[test]
    fn nothing_of_a_secret_is_in_the_sealed_bytes_which_differ_each_time() {
        let content = b"whsec_0123456789abcdef";
        let (one, other) = (key().seal("a", content), key().seal("a", content));
        assert_ne!(one, other);
        for sealed in [one, other] {
            let shown = content.windows(4).any(|part| sealed.windows(4).any(|it| it == part));
            assert!(!shown, "{sealed:?}");
        }
    }
}
