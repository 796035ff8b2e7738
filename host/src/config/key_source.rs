//! Reads where a key of an event is: `key = "subject"`, `key = { json = "/customer/id" }`.

use std::sync::Arc;

use super::raw::Item;
use crate::event::KeySource;

/// The words for a key, beside a place in the body.
const WORDS: [(&str, KeySource); 3] =
    [("subject", KeySource::Subject), ("root", KeySource::Root), ("source", KeySource::Source)];

/// The remedy for a key that cannot be read.
const HELP: &str = "write \"subject\", \"root\", \"source\" or { json = \"/a/pointer\" }";

/// Reads the part of an event that is a key.
pub(super) fn read(item: &Item<'_>) -> Option<KeySource> {
    if item.value.is_table() {
        return read_json(item, "{ json = \"/customer/id\" }").map(KeySource::Json);
    }
    let text = item.text("\"subject\"")?;
    let found = WORDS.into_iter().find(|(word, _)| *word == text);
    if found.is_none() {
        item.refuse(format_args!("is \"{text}\", which is no part of an event"), HELP);
    }
    found.map(|(_, source)| source)
}

/// Reads `{ json = "/pointer" }`.
pub(super) fn read_json(item: &Item<'_>, example: &str) -> Option<Arc<str>> {
    let mut section = item.section(example)?;
    let json = section.take("json");
    if json.is_none() {
        item.refuse("names no place in the body", format!("write for example {example}"));
    }
    let pointer = json.and_then(|json| read_pointer(&json));
    let wrong = section.finish();
    if wrong { None } else { pointer }
}

/// Reads a JSON pointer (RFC 6901).
pub(super) fn read_pointer(item: &Item<'_>) -> Option<Arc<str>> {
    let text = item.text("\"/customer/id\"")?;
    let fits = is_pointer(text);
    if !fits {
        item.refuse(
            format_args!("is \"{text}\", which is no JSON pointer"),
            "a pointer (RFC 6901) begins with `/`, has `~1` for a `/` in a name and `~0` for a `~`, such as \
             \"/customer/id\" or \"/items/0/id\"",
        );
    }
    fits.then(|| text.into())
}

/// Whether a text is a JSON pointer to a part of a document.
fn is_pointer(text: &str) -> bool {
    let escaped = |rest: &str| rest.starts_with('0') || rest.starts_with('1');
    text.starts_with('/') && text.split('~').skip(1).all(escaped)
}
