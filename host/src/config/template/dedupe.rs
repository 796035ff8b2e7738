//! Reads `dedupe`: a list of keys, one of them, or "none".

use crate::config::raw::Item;
use crate::config::source::DedupeBy;

/// The parts of the section of which keys can be made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Available {
    pub(super) id: bool,
    pub(super) timestamp: bool,
    pub(super) signs: bool,
    pub(super) is_verified: bool,
}

/// The words that may be written.
const WORDS: [(&str, Option<DedupeBy>); 5] = [
    ("id", Some(DedupeBy::Id)),
    ("body", Some(DedupeBy::Body)),
    ("signed", Some(DedupeBy::Signed)),
    ("timestamp+body", Some(DedupeBy::TimestampAndBody)),
    ("none", None),
];

/// Reads the keys; nothing for "none". `None` if something was refused.
pub(super) fn read(item: &Item<'_>, given: Available) -> Option<Vec<DedupeBy>> {
    let items = item.one_or_many();
    if items.is_empty() {
        item.refuse(
            "lists no key",
            "write \"none\" if nothing is a duplicate, or for example [\"id\"]",
        );
        return None;
    }
    let mut keys = Vec::new();
    let mut is_good = true;
    for one in &items {
        match one.word(&WORDS) {
            Some(Some(key)) if keys.contains(&key) => {
                one.refuse(format_args!("lists \"{}\" twice", key.name()), "write it once");
                is_good = false;
            }
            Some(Some(key)) => {
                is_good &= has_what_it_needs(one, key, given);
                keys.push(key);
            }
            Some(None) if items.len() > 1 => {
                one.refuse("lists \"none\" beside others", "write \"none\" alone, or take it out");
                is_good = false;
            }
            Some(None) => {}
            None => is_good = false,
        }
    }
    is_good.then_some(keys)
}

fn has_what_it_needs(item: &Item<'_>, key: DedupeBy, given: Available) -> bool {
    let (what, help) = match key {
        DedupeBy::Id if !given.id => (
            "asks for the \"id\", but nothing says where it is found",
            "add `id = { header = \"X-Delivery-Id\" }`, or { json = \"/id\" }",
        ),
        DedupeBy::TimestampAndBody if !given.is_verified => (
            "asks for a timestamp, but requests that are not verified have none",
            "write \"id\", \"body\" or \"none\"",
        ),
        DedupeBy::TimestampAndBody if !given.timestamp => (
            "asks for a timestamp, but nothing says where it is found",
            "add `timestamp = { header = \"X-Timestamp\" }` to `verify`",
        ),
        DedupeBy::Signed if !given.is_verified || !given.signs => (
            "asks for the signed text, but nothing is signed",
            "write \"id\", \"body\" or \"none\"",
        ),
        _ => return true,
    };
    item.refuse(what, help);
    false
}
