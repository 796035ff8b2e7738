//! Hints of the head alone about a signature that is missing or has the wrong form.

use axum::http::HeaderName;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

use crate::config::source::{Encoding, Field};
use crate::ingest::head::Head;
use crate::ingest::verify::check::SignatureCheck;
use crate::ingest::verify::refusal::Refusal;
use crate::ingest::verify::verifier::Verifier;

/// The most headers that a hint names.
const MAX_NAMED: usize = 4;

/// The longest prefix of a sender that a hint names, in bytes.
const MAX_PREFIX_BYTES: usize = 12;

/// Explains a refusal by the head alone, for people.
pub(in crate::ingest) fn shape(
    verifier: &Verifier,
    head: &Head,
    refusal: Refusal,
) -> Option<String> {
    let Verifier::Signed(check) = verifier else { return None };
    match refusal {
        Refusal::NoSignature => Some(missing(check, head)),
        Refusal::Malformed => malformed(check, head),
        Refusal::NoTimestamp => timestamp(check, head),
        _ => None,
    }
}

fn missing(check: &SignatureCheck, head: &Head) -> String {
    let named = |names: &mut dyn Iterator<Item = &HeaderName>| {
        let names: Vec<_> = names.take(MAX_NAMED).map(|name| format!("`{name}`")).collect();
        names.join(", ")
    };
    let wanted = named(&mut check.signatures.iter().filter_map(|(spot, _)| spot.header()));
    let like = |name: &&HeaderName| {
        let name = name.as_str();
        name.len() <= 60 && ["signature", "hmac", "-sign"].iter().any(|part| name.contains(part))
    };
    let found = named(&mut head.headers.keys().filter(like));
    match found.is_empty() {
        true => format!("looked for {wanted}; no header looks like a signature"),
        false => format!("looked for {wanted}; the request has {found}"),
    }
}

fn malformed(check: &SignatureCheck, head: &Head) -> Option<String> {
    let named = check.signatures.iter();
    let named = named.filter_map(|(spot, field)| Some((spot.header()?, field)));
    let mut present = named.filter(|(name, _)| head.headers.contains_key(*name));
    let (name, field) = present.next()?;
    let value = head.headers.get(name)?.as_bytes();
    let separator = field.separator.filter(char::is_ascii).map(|separator| separator as u8);
    let mut items = value.split(|byte| Some(*byte) == separator).map(<[u8]>::trim_ascii);
    let most = check.scheme.most_candidates();
    if items.clone().filter(|item| item.starts_with(field.prefix.as_bytes())).nth(most).is_some() {
        return Some(format!("`{name}` has more than {most} signatures"));
    }
    let wanted = check.encoding;
    items
        .find_map(|item| of_item(check, field, item, wanted))
        .map(|what| format!("`{name}` {what}"))
}

/// Explains one item: without its prefix, with another one, in another encoding, or too short.
fn of_item(check: &SignatureCheck, field: &Field, item: &[u8], wanted: Encoding) -> Option<String> {
    let prefix = &field.prefix;
    let right = |text: &[u8]| read(text).into_iter().find(|(_, bytes)| check.scheme.fits(*bytes));
    let Some(text) = item.strip_prefix(prefix.as_bytes()) else {
        if right(item).is_some() {
            return Some(format!("has a signature without the prefix `{prefix}`"));
        }
        let other = other_prefix(item)?;
        right(&item[other.len()..])?;
        return Some(format!("has the prefix `{other}` where `{prefix}` is expected"));
    };
    if let Some(other) = other_prefix(text).filter(|other| right(&text[other.len()..]).is_some()) {
        return Some(format!("has the prefix `{other}`, which the source does not expect"));
    }
    if let Some((encoding, _)) = right(text) {
        return Some(format!(
            "has a signature in {encoding}, and the source expects {}",
            wanted.name()
        ));
    }
    let (encoding, bytes) = read(text).into_iter().next()?;
    let algorithm = match bytes {
        20 => ", as of SHA-1",
        48 => ", as of SHA-384",
        64 => ", as of SHA-512",
        _ => "",
    };
    Some(format!(
        "has {bytes} bytes in {encoding}{algorithm}, and the source expects another length"
    ))
}

/// The encodings in which this can be read, with the number of bytes.
fn read(text: &[u8]) -> Vec<(&'static str, usize)> {
    if text.is_empty() {
        return Vec::new();
    }
    let base64 = [
        ("base64", &STANDARD),
        ("base64 without padding", &STANDARD_NO_PAD),
        ("URL-safe base64", &URL_SAFE),
        ("URL-safe base64 without padding", &URL_SAFE_NO_PAD),
    ];
    let hex = hex::decode(text).ok().map(|bytes| ("hex", bytes.len()));
    let base64 = base64
        .into_iter()
        .filter_map(|(name, engine)| engine.decode(text).ok().map(|bytes| (name, bytes.len())));
    hex.into_iter().chain(base64).collect()
}

/// A short word with `=`, `,` or `:` behind it.
fn other_prefix(item: &[u8]) -> Option<&str> {
    let end = item.iter().position(|byte| b"=,:".contains(byte))?;
    let is_word =
        item[..end].iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte));
    let fits = is_word && (1..=MAX_PREFIX_BYTES).contains(&end);
    if fits { std::str::from_utf8(&item[..=end]).ok() } else { None }
}

fn timestamp(check: &SignatureCheck, head: &Head) -> Option<String> {
    let rule = check.timestamp.as_ref()?;
    let name = rule.header()?;
    let Ok(Some(text)) = rule.text(&head.headers) else {
        return Some(format!("looked for the time of sending in `{name}`"));
    };
    let digits = text.len() == 13 && text.iter().all(u8::is_ascii_digit);
    digits.then(|| format!("`{name}` has milliseconds, and seconds are expected"))
}
