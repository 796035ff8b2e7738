//! Reads `signed = "{timestamp}.{body}"`, the parts of a request that its signature covers, and
//! `public_url`, which one of them needs. There is no escape for braces: no provider signs one.

use super::pick;
use crate::config::raw::{Item, Section, did_you_mean};
use crate::config::source::{Part, Signature};

/// The longest text, in bytes.
const MAX_TEXT_BYTES: usize = 1_024;

/// The beginning of a text that is left out if one of its values is missing; it ends with `]`.
const OPTIONAL: &str = "[?";

/// The most spellings of the address.
const MAX_URLS: usize = 4;

/// The parts by name; those with a name or a pointer behind a colon come on top.
static PARTS: [(&str, Part); 12] = [
    ("body", Part::Body),
    ("timestamp", Part::Timestamp),
    ("id", Part::Id),
    ("method", Part::Method),
    ("url", Part::Url),
    ("path", Part::Path),
    ("query", Part::Query),
    ("form", Part::Form),
    ("secret", Part::Secret),
    ("url:unescaped", Part::UnescapedUrl),
    ("body:sha256", Part::BodySha256),
    ("body:crc32", Part::BodyCrc32),
];

/// Reads both keys of `verify` into `rule`.
pub(super) fn read(section: &mut Section<'_>, rule: &mut Signature) {
    let item = section.take("signed");
    let parts = item.as_ref().and_then(|item| read_all(item, rule));
    let was_refused = item.is_some() && parts.is_none();
    if let Some(parts) = parts {
        rule.signed = parts;
    }
    let signs_url = rule.needs_url();
    match section.take("public_url") {
        Some(urls) if signs_url => {
            let listed = urls.one_or_many();
            let mut spelled = listed.iter().take(MAX_URLS).filter_map(read_public_url);
            rule.public_url = spelled.next();
            rule.other_urls = spelled.collect();
            let (first, rest) = (&rule.public_url, &rule.other_urls);
            for other in &mut rule.others {
                other.public_url.clone_from(first);
                other.other_urls.clone_from(rest);
            }
        }
        Some(url) if !was_refused => url.refuse_key("has no use", "take it out, or sign the {url}"),
        _ => {}
    }
}

fn read_all(item: &Item<'_>, rule: &Signature) -> Option<Vec<Part>> {
    let text = item.text("\"{timestamp}.{body}\"").filter(|text| {
        let fits = text.len() <= MAX_TEXT_BYTES;
        if !fits {
            item.refuse("is too long", format!("write at most {MAX_TEXT_BYTES} bytes"));
        }
        fits
    })?;
    let parts = read_parts(item, text)?;
    if covers_body(&parts, rule) {
        return Some(parts);
    }
    item.refuse(
        "leaves out the {body}",
        "a signature that does not cover the body proves nothing about it: \
         write for example \"{timestamp}.{body}\"",
    );
    None
}

/// Whether something of the body is signed. Values of it are enough: some providers sign no more.
fn covers_body(parts: &[Part], rule: &Signature) -> bool {
    let of_body = |part: &Part| {
        matches!(
            part,
            Part::Body
                | Part::Form
                | Part::BodySha256
                | Part::BodyCrc32
                | Part::Json(_)
                | Part::FormValue(_)
        )
    };
    let in_body = rule.timestamp.as_ref().is_some_and(|time| time.field.place.is_in_body());
    parts.iter().any(of_body) || rule.body_hash.is_some() || in_body || !rule.scheme.signs()
}

fn read_parts(item: &Item<'_>, text: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix(OPTIONAL) {
            let Some((inner, after)) = inner.split_once(']') else {
                item.refuse("has `[?` without its `]`", "write [?…] around what may be missing");
                return None;
            };
            parts.push(Part::Optional(read_parts(item, inner)?));
            rest = after;
            continue;
        }
        let end = rest.find(OPTIONAL).unwrap_or(rest.len());
        let end = rest[..end].find(['{', '}']).unwrap_or(end);
        let (literal, from_brace) = rest.split_at(end);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.to_owned()));
        }
        rest = from_brace;
        if rest.is_empty() || rest.starts_with(OPTIONAL) {
            continue;
        }
        let Some((name, after)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'))
        else {
            item.refuse(
                "has a brace without its other half",
                "write {body}, {timestamp} or {id}, and other text as it is",
            );
            return None;
        };
        parts.push(read_part(item, name)?);
        rest = after;
    }
    Some(parts)
}

/// The part between two braces.
fn read_part(item: &Item<'_>, name: &str) -> Option<Part> {
    let part = match name.split_once(':') {
        Some(("header", header)) => pick::header_name(header).map(Part::Header),
        Some(("query", parameter)) if !parameter.is_empty() => {
            Some(Part::QueryValue(parameter.to_owned()))
        }
        Some(("headers", header)) => pick::header_name(header).map(Part::HeaderList),
        Some(("json", pointer)) if pick::is_pointer(pointer) => {
            Some(Part::Json(pointer.to_owned()))
        }
        Some(("form", field)) if !field.is_empty() => Some(Part::FormValue(field.to_owned())),
        Some(("param", param)) if !param.is_empty() => Some(Part::Param(param.to_owned(), None)),
        _ => PARTS.iter().find(|(known, _)| *known == name).map(|(_, part)| part.clone()),
    };
    if part.is_none() {
        let near = did_you_mean(name, PARTS.iter().map(|(known, _)| *known));
        item.refuse(
            format_args!("names the unknown part {{{name}}}"),
            format!("{near}write {{body}}, {{timestamp}} or {{id}}"),
        );
    }
    part
}

/// An address without path, query and user: `https://hooks.example.com`, with a port if need be. A
/// path in front of the host's own may stand behind it.
fn read_public_url(item: &Item<'_>) -> Option<String> {
    let text = item.text("\"https://hooks.example.com\"")?;
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let plain = |c: char| c.is_ascii_graphic() && !"?#@\\\"<>".contains(c);
    let fits = host.is_some_and(|host| !host.is_empty() && host.chars().all(plain));
    if !fits || text.ends_with('/') || text.len() > MAX_TEXT_BYTES {
        item.refuse(
            "is not how a provider reaches this host",
            "write scheme and host without a slash at the end, such as \"https://hooks.example.com\"",
        );
        return None;
    }
    Some(text.to_owned())
}
