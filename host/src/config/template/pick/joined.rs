//! Reads `"{header:X-Event}.{json:/action}"`: values and the text between them. There is no escape
//! for braces.

use super::attribute::{Attribute, header_name, is_pointer, is_reserved, pointer_help};
use crate::config::raw::{Item, did_you_mean};
use crate::config::source::{Joined, Pick};
use crate::event::MAX_NAME_BYTES;
use crate::event::name::{self, RESERVED};

/// The most values that are joined.
const MAX_VALUES: usize = 8;

/// The kinds of parts.
const PARTS: [&str; 6] = ["header", "json", "request", "form", "query", "method"];

/// Reads the text; a single value without any text around it is that value.
pub(super) fn read(item: &Item<'_>, text: &str, attribute: Attribute) -> Option<Pick> {
    if text.len() > MAX_NAME_BYTES {
        item.refuse("is too long", format!("write at most {MAX_NAME_BYTES} bytes"));
        return None;
    }
    let mut values: Vec<(String, Pick)> = Vec::new();
    let mut rest = text;
    let end = loop {
        let (literal, from_brace) = rest.split_at(rest.find(['{', '}']).unwrap_or(rest.len()));
        if from_brace.is_empty() {
            break literal;
        }
        let part = from_brace.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let Some((part, after)) = part.filter(|(part, _)| !part.contains('{')) else {
            let help = "write {header:NAME} or {json:/POINTER}, and other text without braces";
            item.refuse("has a brace without its other half", help);
            return None;
        };
        values.push((literal.to_owned(), value(item, part)?));
        rest = after;
    };
    if values.len() > MAX_VALUES {
        item.refuse(
            format_args!("joins {} values", values.len()),
            format!("write at most {MAX_VALUES}"),
        );
        return None;
    }
    if let ([(before, pick)], "") = (&values[..], end)
        && before.is_empty()
        && *pick != Pick::Method
    {
        return Some(pick.clone());
    }
    let joined = Joined { values, end: end.to_owned() };
    fits(item, &joined, attribute).then_some(Pick::Joined(joined))
}

/// A part between braces.
fn value(item: &Item<'_>, part: &str) -> Option<Pick> {
    match part.split_once(':') {
        Some(("header", name)) => {
            let pick = header_name(name).map(Pick::Header);
            if pick.is_none() {
                item.refuse(
                    format_args!(
                        "has the part {{{part}}}, but \"{name}\" is not the name of a header"
                    ),
                    "write it as the provider does, such as {header:X-Acme-Event}",
                );
            }
            pick
        }
        Some(("form", name)) if !name.is_empty() => Some(Pick::Form(name.to_owned())),
        Some(("query", name)) if !name.is_empty() => Some(Pick::Query(name.to_owned())),
        None if part == "method" => Some(Pick::Method),
        Some((place @ ("json" | "request"), pointer)) => {
            if !is_pointer(pointer) {
                item.refuse(
                    format_args!("has the part {{{part}}}, but \"{pointer}\" is not a JSON pointer (RFC 6901)"),
                    pointer_help(pointer),
                );
                return None;
            }
            let pointer = pointer.to_owned();
            Some(if place == "json" { Pick::Json(pointer) } else { Pick::Request(pointer) })
        }
        _ => {
            let near = did_you_mean(part.split(':').next().unwrap_or_default(), PARTS);
            item.refuse(
                format_args!("names the unknown part {{{part}}}"),
                format!(
                    "{near}write {{header:NAME}}, {{json:/POINTER}}, {{form:NAME}}, {{query:NAME}} or {{method}}"
                ),
            );
            None
        }
    }
}

/// Whether what is joined can be this attribute.
fn fits(item: &Item<'_>, joined: &Joined, attribute: Attribute) -> bool {
    if attribute == Attribute::Id {
        let help = "two events might come to the same text: name the one value that is the id, { header = … } or \
                    { json = … }";
        item.refuse("joins an id from several parts", help);
        return false;
    }
    let first = joined.values.first().map(|(before, _)| before.as_str()).unwrap_or_default();
    if attribute == Attribute::Type && first.starts_with(RESERVED) {
        item.refuse(is_reserved(), "begin it in another way");
        return false;
    }
    // Between two letters the text is what it is within a name.
    let mut texts = joined.values.iter().map(|(before, _)| before).chain([&joined.end]);
    let fault = texts.find_map(|text| name::check(&format!("x{text}x")).err());
    if let Some(fault) = fault {
        item.refuse(fault, "write visible characters and single spaces between the parts");
        return false;
    }
    true
}
