//! Addresses that are written without a path: how providers reach this host, and where their APIs
//! are.

use super::raw::Item;

/// The longest address, in bytes.
const MAX_URL_BYTES: usize = 512;

/// Reads an address that this host is reached at from outside.
pub(super) fn read_public_url(item: &Item<'_>) -> Option<String> {
    read_url(item, "https://hooks.example.com")
}

/// Reads scheme and host, perhaps with a path, without a slash at the end.
pub(super) fn read_url(item: &Item<'_>, example: &str) -> Option<String> {
    let text = item.text(&format!("\"{example}\""))?;
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let plain = |c: char| c.is_ascii_graphic() && !"?#@\\\"<>".contains(c);
    let fits = host.is_some_and(|host| !host.is_empty() && host.chars().all(plain))
        && !text.ends_with('/')
        && text.len() <= MAX_URL_BYTES;
    if !fits {
        let help = format!(
            "write scheme and host, without a slash at the end, query or user, such as \"{example}\""
        );
        item.refuse("is not such an address", help);
    }
    fits.then(|| text.to_owned())
}
