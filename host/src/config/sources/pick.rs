//! Reads where an attribute is found: `{ json = "/pointer" }`, `{ header = "Name" }` or `{ fixed = "text" }`.

use crate::config::raw::Item;
use crate::config::source::Pick;
use crate::event::MAX_NAME_BYTES;

/// The longest name of a header, in bytes.
const MAX_HEADER_BYTES: usize = 128;

/// Whether `{ fixed = … }` makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fixed {
    Allowed,
    /// For an id: every request after the first would be a duplicate.
    Refused,
}

/// Reads one of the three.
pub(super) fn read(item: &Item<'_>, fixed: Fixed) -> Option<Pick> {
    let right = match fixed {
        Fixed::Allowed => "{ json = \"/event/type\" }, { header = \"X-Event\" } or { fixed = \"acme.event\" }",
        Fixed::Refused => "{ json = \"/id\" } or { header = \"X-Delivery-Id\" }",
    };
    if !item.value.is_table() {
        item.refuse("does not say where to look", format!("write {right}"));
        return None;
    }
    let mut section = item.section(right)?;
    let (json, header_item) = (section.take("json"), section.take("header"));
    let mut explained = false;
    let fixed_item = if fixed == Fixed::Allowed {
        section.take("fixed")
    } else {
        let help = "an id differs from event to event: write { header = … } or { json = … }";
        explained |= section.refuse("fixed", "cannot be an id", help);
        None
    };
    explained |= section.finish();
    match (json, header_item, fixed_item) {
        (Some(item), None, None) => pointer(&item).map(Pick::Json),
        (None, Some(item), None) => header(&item).map(Pick::Header),
        (None, None, Some(item)) => text(&item).map(Pick::Fixed),
        // A key that was refused explains an empty table well enough.
        (None, None, None) if explained => None,
        _ => {
            item.refuse("does not name exactly one place", format!("write {right}"));
            None
        }
    }
}

/// A JSON pointer, RFC 6901: empty or starting with `/`, `~` only as `~0` and `~1`. The empty one, the whole body, is
/// refused, for the body is never a name.
fn pointer(item: &Item<'_>) -> Option<String> {
    let text = item.text("\"/event/type\"")?;
    let escaped = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    if text.starts_with('/') && escaped {
        return Some(text.to_owned());
    }
    let near = if text.is_empty() || text.starts_with('/') {
        String::new()
    } else {
        format!("did you mean \"/{}\"? ", text.trim_start_matches("$.").replace('.', "/"))
    };
    let help = format!(
        "{near}write the path of a field with a slash before each name, such as \"/event/type\"; a ~ in a name is \
            ~0, a / is ~1"
    );
    item.refuse(format_args!("is \"{text}\", which is not a JSON pointer (RFC 6901)"), help);
    None
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

/// A text as the name of a header, in lower case, if it can be one.
pub(in crate::config) fn header_name(text: &str) -> Option<String> {
    let token = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
    let fits = !text.is_empty() && text.len() <= MAX_HEADER_BYTES && token;
    fits.then(|| text.to_ascii_lowercase())
}

fn text(item: &Item<'_>) -> Option<String> {
    let text = item.text("\"acme.event\"")?;
    if text.is_empty() || text.len() > MAX_NAME_BYTES || text.contains(char::is_control) {
        item.refuse("is not a usable text", format!("write 1 to {MAX_NAME_BYTES} bytes without control characters"));
        return None;
    }
    Some(text.to_owned())
}
