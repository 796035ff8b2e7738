//! The scheme of a source with its keys.

use secrecy::SecretSlice;

use super::ed25519::Ed25519;
use super::hashed::{HmacOther, PlainDigest};
use super::hmac::HmacSha256;
use super::jwt::{JsonWebToken, TokenKeys};
use super::keys::KeyRing;
use super::place::Spot;
use super::public::PublicKeys;
use super::scheme::Scheme;
use super::token::SharedToken;
use crate::config::source::{KeyFrom, KeyPair, Secrets, Signature, SignatureScheme};
use crate::ingest::identify::json::Pointers;

/// The ring of keys that are fetched, and where a request names the address.
pub(super) fn ring(
    signature: &Signature,
    pointers: &mut Pointers,
) -> Result<Option<(KeyRing, Option<Spot>)>, String> {
    let Some(address) = &signature.key_address else { return Ok(None) };
    let spot = match &address.from {
        KeyFrom::Request(place) => Some(Spot::new(place, pointers)?),
        KeyFrom::Fixed(_) => None,
    };
    Ok(Some((KeyRing::new(address.clone()), spot)))
}

/// The scheme of a source with its keys, or a text that says what is missing.
pub(super) fn scheme(signature: &Signature, secrets: &Secrets) -> Result<Box<dyn Scheme>, String> {
    scheme_with(signature, secrets, None)
}

pub(super) fn scheme_with(
    signature: &Signature,
    secrets: &Secrets,
    ring: Option<KeyRing>,
) -> Result<Box<dyn Scheme>, String> {
    fn boxed<S: Scheme + 'static>(scheme: Option<S>) -> Result<Box<dyn Scheme>, String> {
        Ok(Box::new(scheme.ok_or_else(|| "every secret is empty".to_owned())?))
    }
    let keyless = || match secrets {
        Secrets::Missing(what) => what.clone(),
        _ => "`public_keys` is empty".to_owned(),
    };
    let shared = || shared(secrets);
    let (public, pair) = (&signature.public_keys, pair(secrets));
    match signature.scheme {
        SignatureScheme::HmacSha256 => boxed(HmacSha256::new(shared()?)),
        SignatureScheme::HmacSha1 => boxed(HmacOther::sha1(shared()?)),
        SignatureScheme::HmacSha512 => boxed(HmacOther::sha512(shared()?)),
        SignatureScheme::DigestSha1 => boxed(PlainDigest::new(true, shared()?)),
        SignatureScheme::DigestSha256 => boxed(PlainDigest::new(false, shared()?)),
        SignatureScheme::Token | SignatureScheme::Basic => boxed(SharedToken::new(shared()?)),
        SignatureScheme::Ed25519 if ring.is_none() => {
            Ok(Box::new(Ed25519::new(public, pair).ok_or_else(keyless)?))
        }
        SignatureScheme::Ed25519
        | SignatureScheme::EcdsaP256
        | SignatureScheme::RsaSha256
        | SignatureScheme::RsaSha1 => {
            let keys = PublicKeys::new(signature.scheme, public, ring, pair);
            Ok(Box::new(keys.ok_or_else(keyless)?))
        }
        SignatureScheme::Jwt => {
            let rule = signature.jwt.clone().ok_or("`jwt` is not set")?;
            let shares = rule.algorithms.iter().any(|algorithm| algorithm.has_secrets());
            let secrets = if shares { shared()? } else { &[] };
            let url = signature.public_url.clone();
            let keys = TokenKeys::new(secrets, public, ring, pair).ok_or_else(keyless)?;
            Ok(Box::new(JsonWebToken::new(rule, url, keys)))
        }
    }
}

/// The pair with which this host plays the provider.
fn pair(secrets: &Secrets) -> Option<&KeyPair> {
    if let Secrets::Pair { pair, .. } = secrets { Some(pair) } else { None }
}

/// The secrets that the provider shares with this host, or a text that says what is missing.
fn shared(secrets: &Secrets) -> Result<&[SecretSlice<u8>], String> {
    match secrets {
        Secrets::Set(all) => Ok(all),
        Secrets::Generated { secret, .. } => Ok(std::slice::from_ref(secret)),
        Secrets::Pair { .. } => Ok(&[]),
        Secrets::Missing(what) => Err(what.clone()),
    }
}
