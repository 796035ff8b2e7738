//! Reads places in a request, `{ header = "X-A" }`, and conditions on them.

use super::pick;
use crate::config::raw::{Item, Section};
use crate::config::source::{BodyHash, Encoding, Place, ValueCondition};

/// The longest text that a condition compares, in bytes.
const MAX_TEXT_BYTES: usize = 256;

/// The words for encodings of signatures.
pub(super) const ENCODINGS: [(&str, Encoding); 4] = [
    ("hex", Encoding::Hex),
    ("base64", Encoding::Base64),
    ("base64url", Encoding::Base64Url),
    ("text", Encoding::Text),
];

/// The place that a section names, if it names one; several are refused.
pub(super) fn take(item: &Item<'_>, section: &mut Section<'_>) -> Option<Place> {
    let header = section.take("header").and_then(|item| pick::header(&item).map(Place::Header));
    let query = section.take("query").and_then(|item| pick::form_field(&item).map(Place::Query));
    let json = section.take("json").and_then(|item| pick::pointer(&item).map(Place::Json));
    let form = section.take("form").and_then(|item| pick::form_field(&item).map(Place::Form));
    let mut places = [header, query, json, form].into_iter().flatten();
    let first = places.next();
    if places.next().is_some() {
        item.refuse("names several places", "write one of `header`, `query`, `json` and `form`");
    }
    first
}

/// A table that is a place.
pub(super) fn read(item: &Item<'_>) -> Option<Place> {
    let mut section = item.section("{ header = \"X-Signature\" }")?;
    let place = take(item, &mut section);
    if section.finish() && place.is_none() {
        item.refuse("names no place", "write for example { header = \"X-Signature\" }");
    }
    place
}

/// The most conditions of a rule.
const MAX_CONDITIONS: usize = 8;

/// One condition or a list of them, all of which hold.
pub(super) fn conditions(item: &Item<'_>) -> Vec<ValueCondition> {
    let items = item.one_or_many();
    if items.is_empty() || items.len() > MAX_CONDITIONS {
        let help = format!("write 1 to {MAX_CONDITIONS}, all of which have to hold");
        item.refuse(format_args!("lists {} conditions", items.len()), help);
    }
    items.iter().take(MAX_CONDITIONS).filter_map(condition).collect()
}

/// A condition: a place, and the text there.
pub(in crate::config) fn condition(item: &Item<'_>) -> Option<ValueCondition> {
    let mut section = item.section("{ json = \"/type\", is = \"ping\" }")?;
    let is = section.take("is").and_then(|item| short(&item));
    let starts = section.take("starts").and_then(|item| short(&item));
    let hex = section.take("hex").and_then(|item| hex_digits(&item));
    let param = section.take("param").and_then(|item| short(&item));
    let absent = section.take("absent").and_then(|item| item.truth()).unwrap_or_default();
    let place = take(item, &mut section);
    section.finish();
    if place.is_none() {
        let help = "write for example { json = \"/type\", is = \"ping\" }";
        item.refuse("names no place to look at", help);
    }
    let kinds = [is.is_some(), param.is_some(), starts.is_some(), hex.is_some(), absent];
    if kinds.into_iter().filter(|is_said| *is_said).count() > 1 {
        let help = "write one of `is`, `param`, `starts`, `hex` and `absent`";
        item.refuse("says several things of a value", help);
    }
    let param = param.map(|name| (name, None));
    Some(ValueCondition { place: place?, is, starts, hex, param, absent })
}

/// `[20, 32]`: the least and the most digits.
fn hex_digits(item: &Item<'_>) -> Option<(usize, usize)> {
    let bounds = item.one_or_many();
    let digits = bounds.iter().filter_map(|item| item.whole(1..=1_024));
    let digits: Vec<usize> = digits.filter_map(|count| count.try_into().ok()).collect();
    match digits[..] {
        [least, most] if least <= most => Some((least, most)),
        _ => {
            item.refuse("is no length", "write the least and the most digits, such as [20, 32]");
            None
        }
    }
}

fn short(item: &Item<'_>) -> Option<String> {
    let text = item.text("\"ping\"")?;
    if text.len() > MAX_TEXT_BYTES {
        item.refuse("is too long", format!("write at most {MAX_TEXT_BYTES} bytes"));
        return None;
    }
    Some(text.to_owned())
}

/// The place where a request carries the SHA-256 of its body.
pub(super) fn body_hash(item: &Item<'_>) -> Option<BodyHash> {
    let mut section = item.section("{ query = \"bodySHA256\", encoding = \"hex\" }")?;
    let encoding = section.take("encoding").and_then(|item| item.word(&ENCODINGS));
    let place = take(item, &mut section);
    section.finish();
    if place.is_none() {
        item.refuse("names no place", "write for example { query = \"bodySHA256\" }");
    }
    Some(BodyHash { place: place?, encoding: encoding.unwrap_or(Encoding::Hex) })
}
