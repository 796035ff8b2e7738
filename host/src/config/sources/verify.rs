//! Reads `verify = { … }` over a preset's template, or over a blank one.

use std::ops::RangeInclusive;

use super::pick;
use crate::config::presets::DEFAULT_TOLERANCE_MS;
use crate::config::raw::{Item, Section, did_you_mean};
use crate::config::source::{Encoding, Field, KeyEncoding, KeyFormat, Part, Stale, Template, Timestamp, Types};
use crate::config::units::{DAY_MS, SECOND_MS};

const TOLERANCE_BOUNDS_MS: RangeInclusive<u64> = SECOND_MS..=30 * DAY_MS;

/// The most headers in which a signature is looked for.
const MAX_HEADERS: usize = 8;

/// The longest prefix, and the longest template, in bytes.
const MAX_TEXT_BYTES: usize = 256;

/// How a request is authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    HmacSha256,
    None,
}

/// What a template starts from without a preset: hex over the body, the header still to be named.
pub(super) fn blank() -> Template {
    Template {
        signatures: Vec::new(),
        encoding: Encoding::Hex,
        signed: vec![Part::Body],
        timestamp: None,
        key: KeyFormat { prefix: String::new(), encoding: KeyEncoding::Utf8 },
        kind: None,
        id: None,
        dedupe: None,
        placeholder: None,
        subject: None,
        form: None,
        types: Types::Any,
    }
}

/// Reads the table into `template`. The scheme may only be left out over a preset.
pub(super) fn read(item: &Item<'_>, template: &mut Template, preset: bool) -> Option<Scheme> {
    let mut section = item.section("{ scheme = \"hmac-sha256\", header = \"X-Signature\" }")?;
    let scheme = match section.take("scheme") {
        Some(scheme) => scheme.word(&[("hmac-sha256", Scheme::HmacSha256), ("none", Scheme::None)]),
        None if preset => Some(Scheme::HmacSha256),
        None => {
            item.refuse(
                "names no scheme",
                "there is no default: write `scheme = \"hmac-sha256\"`, or \
                `scheme = \"none\"` to take requests from anyone",
            );
            None
        }
    };
    if scheme == Some(Scheme::None) {
        section.refuse_others("has no use without verification", "take it out, or take `scheme = \"none\"` out");
        return scheme;
    }
    read_signature(item, &mut section, template);
    if let Some(signed) = section.take("signed").and_then(|item| read_signed(&item)) {
        template.signed = signed;
    }
    read_timestamp(item, &mut section, template);
    read_key(&mut section, &mut template.key);
    section.finish();
    scheme
}

fn read_signature(item: &Item<'_>, section: &mut Section<'_>, template: &mut Template) {
    let first = template.signatures.first().cloned();
    let mut field = first.unwrap_or(Field { header: String::new(), prefix: String::new(), separator: None });
    match section.take("header") {
        Some(headers) => template.signatures = read_headers(&headers, &field),
        None if template.signatures.is_empty() => {
            item.refuse("names no header", "write which header carries the signature: `header = \"X-Signature\"`");
        }
        None => {}
    }
    let given = read_affixes(section, &mut field);
    for signature in &mut template.signatures {
        if given.prefix {
            signature.prefix.clone_from(&field.prefix);
        }
        if given.separator {
            signature.separator = field.separator;
        }
    }
    if let Some(encoding) =
        section.take("encoding").and_then(|item| item.word(&[("hex", Encoding::Hex), ("base64", Encoding::Base64)]))
    {
        template.encoding = encoding;
    }
}

fn read_headers(item: &Item<'_>, like: &Field) -> Vec<Field> {
    let list = item.one_or_many();
    if list.is_empty() || list.len() > MAX_HEADERS {
        item.refuse(
            format_args!("lists {} headers", list.len()),
            format!("write 1 to {MAX_HEADERS}, the preferred one first"),
        );
    }
    let names = list.iter().take(MAX_HEADERS).filter_map(pick::header);
    names.map(|header| Field { header, ..like.clone() }).collect()
}

/// Which of the two a table says.
struct Affixes {
    prefix: bool,
    separator: bool,
}

/// Reads `prefix` and `separator` over those of `field`.
fn read_affixes(section: &mut Section<'_>, field: &mut Field) -> Affixes {
    let prefix = section.take("prefix").and_then(|item| short_text(&item, "\"sha256=\""));
    let separator = section.take("separator").and_then(|item| read_separator(&item));
    let given = Affixes { prefix: prefix.is_some(), separator: separator.is_some() };
    if let Some(prefix) = prefix {
        field.prefix = prefix;
    }
    if let Some(separator) = separator {
        field.separator = Some(separator);
    }
    given
}

fn read_separator(item: &Item<'_>) -> Option<char> {
    let text = item.text("\",\"")?;
    let mut chars = text.chars();
    let only = chars.next().filter(|c| chars.next().is_none() && (c.is_ascii_graphic() || *c == ' '));
    if only.is_none() {
        item.refuse(
            format_args!("is {text:?}"),
            "write the one character between the items of the header, such as \",\" or \" \"",
        );
    }
    only
}

fn short_text(item: &Item<'_>, example: &str) -> Option<String> {
    let text = item.text(example)?;
    if text.len() > MAX_TEXT_BYTES || text.contains(|c: char| !c.is_ascii_graphic() && c != ' ') {
        item.refuse(
            "is not a text that a header can carry",
            format!("write at most {MAX_TEXT_BYTES} printable ASCII characters"),
        );
        return None;
    }
    Some(text.to_owned())
}

/// Reads `{timestamp}.{body}`. There is no escape for braces: no provider signs one.
fn read_signed(item: &Item<'_>) -> Option<Vec<Part>> {
    const NAMES: [&str; 3] = ["body", "timestamp", "id"];
    let text = item.text("\"{timestamp}.{body}\"").filter(|text| {
        let fits = text.len() <= MAX_TEXT_BYTES;
        if !fits {
            item.refuse("is too long", format!("write at most {MAX_TEXT_BYTES} bytes"));
        }
        fits
    })?;
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (literal, from_brace) = rest.split_at(rest.find(['{', '}']).unwrap_or(rest.len()));
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.to_owned()));
        }
        rest = from_brace;
        if rest.is_empty() {
            break;
        }
        let Some((name, after)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) else {
            item.refuse(
                "has a brace without its other half",
                "write {body}, {timestamp} or {id}, and other text as it is",
            );
            return None;
        };
        parts.push(match name {
            "body" => Part::Body,
            "timestamp" => Part::Timestamp,
            "id" => Part::Id,
            _ => {
                let near = did_you_mean(name, NAMES);
                item.refuse(
                    format_args!("names the unknown part {{{name}}}"),
                    format!("{near}write {{body}}, {{timestamp}} or {{id}}"),
                );
                return None;
            }
        });
        rest = after;
    }
    if !parts.contains(&Part::Body) {
        item.refuse(
            "leaves out the {body}",
            "a signature that does not cover the body proves nothing about it: \
            write for example \"{timestamp}.{body}\"",
        );
        return None;
    }
    Some(parts)
}

fn read_timestamp(item: &Item<'_>, section: &mut Section<'_>, template: &mut Template) {
    if let Some(table) =
        section.take("timestamp").and_then(|item| read_timestamp_field(&item, template.timestamp.as_ref()))
    {
        let (tolerance_ms, stale) = template
            .timestamp
            .as_ref()
            .map_or((DEFAULT_TOLERANCE_MS, Stale::Reject), |known| (known.tolerance_ms, known.stale));
        template.timestamp = Some(Timestamp { field: table, required: false, tolerance_ms, stale });
    }
    let tolerance_item = section.take("tolerance");
    let stale_item = section.take("stale");
    let is_signed = template.signed.contains(&Part::Timestamp);
    let Some(timestamp) = &mut template.timestamp else {
        for item in [&tolerance_item, &stale_item].into_iter().flatten() {
            item.refuse_key(
                "has no use without a `timestamp`",
                "say which header carries it: `timestamp = { header = \"X-Timestamp\" }`",
            );
        }
        if is_signed {
            item.refuse(
                "signs the {timestamp}, but no header is named for it",
                "add `timestamp = { header = \"X-Timestamp\" }`",
            );
        }
        return;
    };
    // A signed timestamp that is missing leaves nothing to check; an unsigned one could be taken out by anyone.
    timestamp.required = is_signed;
    if let Some(tolerance_ms) = tolerance_item.and_then(|item| item.duration_ms(TOLERANCE_BOUNDS_MS)) {
        timestamp.tolerance_ms = tolerance_ms;
    }
    if let Some(stale) = stale_item.and_then(|item| item.word(&[("reject", Stale::Reject), ("accept", Stale::Accept)]))
    {
        timestamp.stale = stale;
    }
}

fn read_timestamp_field(item: &Item<'_>, known: Option<&Timestamp>) -> Option<Field> {
    let mut section = item.section("{ header = \"X-Timestamp\" }")?;
    let mut field = known
        .map_or(Field { header: String::new(), prefix: String::new(), separator: None }, |known| known.field.clone());
    match section.take("header") {
        Some(name) => field.header = pick::header(&name)?,
        None if field.header.is_empty() => {
            item.refuse("names no header", "write for example { header = \"X-Timestamp\" }")
        }
        None => {}
    }
    read_affixes(&mut section, &mut field);
    section.finish();
    Some(field)
}

fn read_key(section: &mut Section<'_>, format: &mut KeyFormat) {
    let encodings = [("utf8", KeyEncoding::Utf8), ("base64", KeyEncoding::Base64)];
    if let Some(encoding) = section.take("secret_encoding").and_then(|item| item.word(&encodings)) {
        format.encoding = encoding;
    }
    if let Some(prefix) = section.take("secret_prefix").and_then(|item| short_text(&item, "\"whsec_\"")) {
        format.prefix = prefix;
    }
}
