//! Reads where an attribute is found: `{ json = "/pointer" }`, `{ header = "Name" }` or `{ fixed =
//! "text" }`, or several values joined, `"{header:Name}.{json:/pointer}"`.

use crate::config::raw::{Item, Section};
use crate::config::source::Pick;
use crate::event::name::{self, RESERVED};

mod attribute;
mod joined;

pub(super) use attribute::Attribute;
pub(in crate::config) use attribute::header_name;
pub(super) use attribute::is_pointer;
use attribute::{is_reserved, pointer_help};

/// The most places of a list.
const MAX_PICKS: usize = 8;

/// The longest name of a form's field, in bytes.
const MAX_FIELD_BYTES: usize = 128;

/// Reads one of the three, or several joined in a text.
pub(super) fn read(item: &Item<'_>, attribute: Attribute) -> Option<Pick> {
    let right = attribute.examples();
    if item.value.is_array() {
        return first(item, attribute);
    }
    if let Some(text) = item.value.as_str().filter(|text| text.contains(['{', '}'])) {
        return joined::read(item, text, attribute);
    }
    if !item.value.is_table() {
        item.refuse("does not say where to look", format!("write {right}"));
        return None;
    }
    let mut section = item.section(right)?;
    if let Some(other) = other(&mut section, attribute) {
        section.finish();
        return other;
    }
    let (json, header_item) = (section.take("json"), section.take("header"));
    let mut explained = false;
    let fixed_item = if attribute == Attribute::Id {
        let help = "an id differs from event to event: write { header = … } or { json = … }";
        explained |= section.refuse("fixed", "cannot be an id", help);
        None
    } else {
        section.take("fixed")
    };
    explained |= section.finish();
    match (json, header_item, fixed_item) {
        (Some(item), None, None) => pointer(&item).map(Pick::Json),
        (None, Some(item), None) => header(&item).map(Pick::Header),
        (None, None, Some(item)) => fixed(&item, attribute).map(Pick::Fixed),
        // A key that was refused explains an empty table well enough.
        (None, None, None) if explained => None,
        _ => {
            item.refuse("does not name exactly one place", format!("write {right}"));
            None
        }
    }
}

/// The first of a list that is there.
fn first(item: &Item<'_>, attribute: Attribute) -> Option<Pick> {
    let listed = item.one_or_many();
    if listed.is_empty() || listed.len() > MAX_PICKS {
        let help = format!("write 1 to {MAX_PICKS}, the preferred one first");
        item.refuse(format_args!("lists {} places", listed.len()), help);
        return None;
    }
    let picks = listed.iter().map(|item| match item.value.as_str() {
        Some(text) if !text.contains(['{', '}']) => fixed(item, attribute).map(Pick::Fixed),
        _ => read(item, attribute),
    });
    picks.collect::<Option<_>>().map(Pick::First)
}

/// The places that few sources have; `None` if the section names none of them.
fn other(section: &mut Section<'_>, attribute: Attribute) -> Option<Option<Pick>> {
    if let Some(item) = section.take("form") {
        return Some(form_field(&item).map(Pick::Form));
    }
    if let Some(item) = section.take("query") {
        return Some(form_field(&item).map(Pick::Query));
    }
    if let Some(item) = section.take("request") {
        return Some(pointer(&item).map(Pick::Request));
    }
    if attribute != Attribute::Id
        && let Some(item) = section.take("beside")
    {
        let name = pointer(&item).and_then(|pointer| {
            let name = pointer.strip_prefix('/').filter(|name| !name.contains(['/', '~']));
            if name.is_none() {
                item.refuse("is no member of the body itself", "write for example \"/update_id\"");
            }
            name.map(str::to_owned)
        });
        return Some(name.map(Pick::Beside));
    }
    if attribute == Attribute::Id
        && let Some(item) = section.take("join")
    {
        let text = item.text("\"{json:/reference}.{json:/code}\"")?;
        return Some(joined::read(&item, text, Attribute::Subject));
    }
    None
}

/// Reads `form = "payload"`: the name of a field.
pub(super) fn form_field(item: &Item<'_>) -> Option<String> {
    let text = item.text("\"payload\"")?;
    if text.is_empty() || text.len() > MAX_FIELD_BYTES || text.contains(char::is_control) {
        let help = format!(
            "write the name of the field that holds the JSON, such as \"payload\": 1 to {MAX_FIELD_BYTES} bytes without \
             control characters"
        );
        item.refuse("is not the name of a form's field", help);
        return None;
    }
    Some(text.to_owned())
}

/// A JSON pointer, RFC 6901: empty or starting with `/`, `~` only as `~0` and `~1`. The empty one,
/// the whole body, is refused, for the body is never a name.
pub(super) fn pointer(item: &Item<'_>) -> Option<String> {
    let text = item.text("\"/event/type\"")?;
    if is_pointer(text) {
        return Some(text.to_owned());
    }
    item.refuse(
        format_args!("is \"{text}\", which is not a JSON pointer (RFC 6901)"),
        pointer_help(text),
    );
    None
}

/// A JSON pointer to a list, which may be the whole body.
pub(super) fn list(item: &Item<'_>) -> Option<String> {
    match item.text("\"/events\"")? {
        "" => Some(String::new()),
        _ => pointer(item),
    }
}

/// The name of a request header in lower case: a token in the sense of RFC 9110 §5.6.2.
pub(super) fn header(item: &Item<'_>) -> Option<String> {
    let text = item.text("\"X-Signature\"")?;
    let name = header_name(text);
    if name.is_none() {
        item.refuse(
            format_args!("is \"{text}\", which is not the name of a header"),
            "write it as the provider does, such as \"X-Acme-Signature\"",
        );
    }
    name
}

fn fixed(item: &Item<'_>, attribute: Attribute) -> Option<String> {
    let text = item.text("\"acme.event\"")?;
    let fault = name::check(text).err().map(|fault| fault.to_string());
    let reserved = attribute == Attribute::Type && text.starts_with(RESERVED);
    if let Some(fault) = fault.or_else(|| reserved.then(is_reserved)) {
        item.refuse(
            format_args!("is not a usable text: it {fault}"),
            "write for example \"acme.event\"",
        );
        return None;
    }
    Some(text.to_owned())
}
