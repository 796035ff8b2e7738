//! Reads `public_keys` of `verify`. They are no secrets, so they stand in the file.

use crate::config::raw::Item;
use crate::config::source::{PublicKey, PublicKeyKind, SignatureScheme};

/// The most keys of a source: each one is tried with every request.
const MAX_KEYS: usize = 8;

/// Reads a list of keys, or one of them, for a scheme.
pub(super) fn read(item: &Item<'_>, scheme: SignatureScheme) -> Vec<PublicKey> {
    let list = item.one_or_many();
    if list.is_empty() || list.len() > MAX_KEYS {
        item.refuse(format_args!("lists {} keys", list.len()), format!("write 1 to {MAX_KEYS}"));
    }
    list.iter().take(MAX_KEYS).flat_map(|item| read_one(item, scheme)).collect()
}

/// A key in any of the forms that providers show.
fn read_one(item: &Item<'_>, scheme: SignatureScheme) -> Vec<PublicKey> {
    let Some(text) = item.text("\"03a107bf…\"") else { return Vec::new() };
    let (wanted, what) = match scheme {
        SignatureScheme::Ed25519 => (Some(PublicKeyKind::Ed25519), "of 32 bytes"),
        SignatureScheme::EcdsaP256 => (Some(PublicKeyKind::P256), "on the curve P-256"),
        SignatureScheme::RsaSha256 | SignatureScheme::RsaSha1 => {
            (Some(PublicKeyKind::Rsa), "of RSA")
        }
        _ => (None, "of a kind that is known"),
    };
    let keys = PublicKey::parse(text);
    if keys.is_empty() || keys.iter().any(|key| wanted.is_some_and(|wanted| key.kind != wanted)) {
        item.refuse(
            format_args!("is not a public key {what}"),
            "copy it from the provider, in hex or base64, as PEM or as a JSON Web Key",
        );
        return Vec::new();
    }
    keys
}
