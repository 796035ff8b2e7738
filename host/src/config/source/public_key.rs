//! Public keys as providers show them: raw, SPKI, PEM, a certificate, or a JSON Web Key.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Deserialize;

/// The most keys of a set that are read.
const MAX_JWKS: usize = 32;

/// The object identifiers of the kinds of keys, as DER has them.
const OID_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const OID_EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const OID_P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const OID_ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// The kind of a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublicKeyKind {
    /// Ed25519 (RFC 8032): 32 bytes.
    Ed25519,
    /// A point on P-256, uncompressed.
    P256,
    /// An `RSAPublicKey` of RFC 8017 in DER.
    Rsa,
}

impl PublicKeyKind {
    /// The kind for people, after `a key`.
    pub fn described(self) -> &'static str {
        match self {
            Self::Ed25519 => "of Ed25519",
            Self::P256 => "on the curve P-256",
            Self::Rsa => "of RSA",
        }
    }
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// Its kind.
    pub kind: PublicKeyKind,
    /// Its bytes, by kind.
    pub bytes: Vec<u8>,
    /// Its name in a set of keys.
    pub kid: Option<String>,
}

impl AsRef<[u8]> for PublicKey {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl PublicKey {
    /// An Ed25519 key.
    pub fn ed25519(bytes: [u8; 32]) -> Self {
        Self { kind: PublicKeyKind::Ed25519, bytes: bytes.to_vec(), kid: None }
    }

    /// The keys in a text: PEM (a key or a certificate), hex or base64 (32 bytes are Ed25519,
    /// others SPKI), one JSON Web Key or a set of them. Nothing if it is none of these.
    pub fn parse(text: &str) -> Vec<Self> {
        let text = text.trim();
        if text.starts_with('{') {
            return jwks(text).unwrap_or_default();
        }
        if let Some((label, der)) = pem(text) {
            let is_certificate = label == "CERTIFICATE";
            let spki = if is_certificate { spki_of_certificate(&der) } else { Some(&der[..]) };
            return spki.and_then(Self::of_spki).into_iter().collect();
        }
        let bytes = hex::decode(text).ok().or_else(|| STANDARD.decode(text).ok());
        let Some(bytes) = bytes else { return Vec::new() };
        match <[u8; 32]>::try_from(bytes.as_slice()) {
            Ok(raw) => vec![Self::ed25519(raw)],
            Err(_) => Self::of_spki(&bytes).into_iter().collect(),
        }
    }

    /// The key of a `SubjectPublicKeyInfo` (RFC 5280 §4.1).
    fn of_spki(der: &[u8]) -> Option<Self> {
        let (body, rest) = element(der, 0x30)?;
        let (algorithm, after) = element(body, 0x30)?;
        let (oid, parameters) = element(algorithm, 0x06)?;
        let (bits, _) = element(after, 0x03)?;
        let (unused, bytes) = bits.split_first()?;
        if *unused != 0 || !rest.is_empty() {
            return None;
        }
        let kind = match oid {
            OID_RSA => PublicKeyKind::Rsa,
            OID_ED25519 if bytes.len() == 32 => PublicKeyKind::Ed25519,
            OID_EC if element(parameters, 0x06)?.0 == OID_P256 => PublicKeyKind::P256,
            _ => return None,
        };
        Some(Self { kind, bytes: bytes.to_vec(), kid: None })
    }
}

/// The label and the DER of the first block of a PEM text.
pub(super) fn pem(text: &str) -> Option<(&str, Vec<u8>)> {
    let (label, rest) = text.split_once("-----BEGIN ")?.1.split_once("-----")?;
    let (body, _) = rest.split_once("-----END ")?;
    let body: String = body.chars().filter(|c| !c.is_whitespace()).collect();
    Some((label, STANDARD.decode(body).ok()?))
}

/// The `SubjectPublicKeyInfo` of a certificate (RFC 5280 §4.1), whole.
fn spki_of_certificate(der: &[u8]) -> Option<&[u8]> {
    let (certificate, _) = element(der, 0x30)?;
    let (mut rest, _) = element(certificate, 0x30)?;
    if rest.first() == Some(&0xa0) {
        rest = element(rest, 0xa0)?.1;
    }
    // Serial number, algorithm, issuer, validity, subject.
    for tag in [0x02, 0x30, 0x30, 0x30, 0x30] {
        rest = element(rest, tag)?.1;
    }
    let (_, after) = element(rest, 0x30)?;
    rest.get(..rest.len() - after.len())
}

/// The content of the element with this tag at the beginning, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match *first {
        short @ 0..=0x7f => (usize::from(short), rest),
        long @ 0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            (digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    if *found == tag { rest.split_at_checked(length) } else { None }
}

/// A JSON Web Key, as far as it is read.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: Option<String>,
    kid: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Jwk>,
}

/// The keys of a set, or one alone; those of other kinds are left out.
fn jwks(text: &str) -> Option<Vec<PublicKey>> {
    let keys = match serde_json::from_str::<JwkSet>(text) {
        Ok(set) => set.keys,
        Err(_) => vec![serde_json::from_str::<Jwk>(text).ok()?],
    };
    Some(keys.into_iter().take(MAX_JWKS).filter_map(of_jwk).collect())
}

fn of_jwk(jwk: Jwk) -> Option<PublicKey> {
    let part = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_deref()?).ok();
    let (kind, bytes) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("OKP", Some("Ed25519")) => {
            (PublicKeyKind::Ed25519, part(&jwk.x).filter(|x| x.len() == 32)?)
        }
        ("EC", Some("P-256")) => {
            let (x, y) = (part(&jwk.x)?, part(&jwk.y)?);
            let fits = x.len() == 32 && y.len() == 32;
            (PublicKeyKind::P256, fits.then(|| [&[4], &x[..], &y[..]].concat())?)
        }
        ("RSA", _) => {
            let numbers = [integer(&part(&jwk.n)?), integer(&part(&jwk.e)?)].concat();
            (PublicKeyKind::Rsa, der(0x30, &numbers))
        }
        _ => return None,
    };
    Some(PublicKey { kind, bytes, kid: jwk.kid })
}

/// A positive number in DER.
fn integer(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let bytes = &bytes[zeros..];
    let sign: &[u8] = if bytes.first().is_none_or(|byte| *byte >= 0x80) { &[0] } else { &[] };
    der(0x02, &[sign, bytes].concat())
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let digits = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let head = match content.len() {
        short @ 0..=0x7f => vec![tag, u8::try_from(short).unwrap_or_default()],
        _ => [&[tag, 0x80 | u8::try_from(digits.len()).unwrap_or_default()], digits].concat(),
    };
    [head, content.to_vec()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_in_every_form_that_providers_show() {
        let raw = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8";
        let jwk =
            r#"{"kty":"OKP","crv":"Ed25519","x":"A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg"}"#;
        let pem = "-----BEGIN PUBLIC KEY-----\n\
            MCowBQYDK2VwAyEAA6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=\n-----END PUBLIC KEY-----";
        for text in [raw, "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=", jwk, pem] {
            let keys = PublicKey::parse(text);
            assert_eq!(keys.len(), 1, "{text}");
            assert_eq!(hex::encode(&keys[0].bytes), raw);
        }
        for text in ["", "{", "{}", "zz", &raw[2..], "-----BEGIN PUBLIC KEY-----\nMCow\n"] {
            assert_eq!(PublicKey::parse(text), [], "{text}");
        }
    }

    #[test]
    fn no_piece_of_a_certificate_is_taken_for_one() {
        let text = include_str!("../../../tests/data/certificates.pem");
        let keys = PublicKey::parse(text);
        assert_eq!((keys.len(), keys[0].kind), (1, PublicKeyKind::Rsa));
        let (_, whole) = pem(text).unwrap();
        for end in 0..whole.len() / 2 {
            assert!(spki_of_certificate(&whole[..end]).is_none());
        }
    }
}
