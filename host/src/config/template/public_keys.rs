//! Reads `public_keys` of `verify`. They are no secrets, so they stand in the file.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::config::raw::Item;
use crate::config::source::PublicKey;

/// The most keys of a source: each one is tried with every request.
const MAX_KEYS: usize = 8;

/// Reads a list of keys, or one of them.
pub(super) fn read(item: &Item<'_>) -> Vec<PublicKey> {
    let list = item.one_or_many();
    if list.is_empty() || list.len() > MAX_KEYS {
        item.refuse(format_args!("lists {} keys", list.len()), format!("write 1 to {MAX_KEYS}"));
    }
    list.iter().take(MAX_KEYS).filter_map(read_one).collect()
}

/// A key in hex or base64: their lengths tell them apart.
fn read_one(item: &Item<'_>) -> Option<PublicKey> {
    let text = item.text("\"03a107bf…\"")?;
    let key = hex::decode(text)
        .or_else(|_| STANDARD.decode(text))
        .ok()
        .and_then(|key| key.try_into().ok());
    if key.is_none() {
        item.refuse(
            "is not a public key of 32 bytes",
            "copy it from the provider, in hex or base64",
        );
    }
    key
}
