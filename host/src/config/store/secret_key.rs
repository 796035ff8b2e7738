//! Reads `secret_key`, which seals the secrets that hosts share.

use crate::config::raw::Item;
use crate::config::secrets::{Places, mask_but, read_place};
use crate::seal::SealKey;

/// The remedy for a place that holds no key.
const HELP: &str = "it is to hold 32 random bytes as base64 or hex, the same for each host, as \
                    `openssl rand -base64 32` makes them";

/// Reads `{ env = "…" }` or `{ file = "…" }`, for a store that hosts share.
pub(super) fn read(item: &Item<'_>, is_shared: bool, places: &Places<'_>) -> Option<SealKey> {
    mask_but(item, &["env", "file"]);
    if !is_shared {
        item.refuse_key(
            "is for hosts that share a store in Postgres",
            "leave it out: this store is of one host, whose secrets stay in its `data_dir`",
        );
        return None;
    }
    let example = "{ file = \"/run/secrets/hookbox-secret-key\" }";
    if !item.value.is_table() {
        let help = format!("write where the key is kept: {example} or {{ env = \"NAME\" }}");
        item.refuse("is not the place of a key", help);
        return None;
    }
    let (name, text) = read_place(item, item.section(example)?, places)?;
    let Some(text) = text else {
        item.refuse(format_args!("names {name}, which is empty or absent"), HELP);
        return None;
    };
    let key = SealKey::read(&text);
    if key.is_none() {
        item.refuse(format_args!("names {name}, which holds no key"), HELP);
    }
    key
}
