//! Reads `signed = "{timestamp}.{body}"`, the parts of a request that its signature covers, and
//! `public_url`, which one of them needs. There is no escape for braces: no provider signs one.

use super::pick;
use crate::config::raw::{Item, Section, did_you_mean};
use crate::config::source::{Part, SourceTemplate};

/// The longest text, in bytes.
const MAX_TEXT_BYTES: usize = 256;

/// The parts by name; `{query:NAME}` and `{header:NAME}` come on top.
static PARTS: [(&str, Part); 8] = [
    ("body", Part::Body),
    ("timestamp", Part::Timestamp),
    ("id", Part::Id),
    ("method", Part::Method),
    ("url", Part::Url),
    ("path", Part::Path),
    ("query", Part::Query),
    ("form", Part::Form),
];

/// Reads both keys of `verify` into `template`.
pub(super) fn read(section: &mut Section<'_>, template: &mut SourceTemplate) {
    let item = section.take("signed");
    let parts = item.as_ref().and_then(read_parts);
    let was_refused = item.is_some() && parts.is_none();
    if let Some(parts) = parts {
        template.signed = parts;
    }
    let signs_url = template.signed.contains(&Part::Url);
    match section.take("public_url") {
        Some(url) if signs_url => template.public_url = read_public_url(&url),
        Some(url) if !was_refused => url.refuse_key("has no use", "take it out, or sign the {url}"),
        _ => {}
    }
}

fn read_parts(item: &Item<'_>) -> Option<Vec<Part>> {
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
    if !parts.iter().any(|part| matches!(part, Part::Body | Part::Form)) {
        item.refuse(
            "leaves out the {body}",
            "a signature that does not cover the body proves nothing about it: \
             write for example \"{timestamp}.{body}\"",
        );
        return None;
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
