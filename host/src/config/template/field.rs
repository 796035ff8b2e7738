//! Reads the affixes of a value within a header, `prefix` and `separator`.

use crate::config::raw::{Item, Section};
use crate::config::source::{Field, Place};

/// The longest prefix, in bytes.
const MAX_TEXT_BYTES: usize = 256;

/// A field whose header is still to be named.
pub(super) fn unnamed() -> Field {
    Field { place: Place::Header(String::new()), prefix: String::new(), separator: None }
}

/// Whether a table has each of the two.
pub(super) struct Affixes {
    pub(super) prefix: bool,
    pub(super) separator: bool,
}

/// Reads `prefix` and `separator` over those of `field`.
pub(super) fn read_affixes(section: &mut Section<'_>, field: &mut Field) -> Affixes {
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
    let only =
        chars.next().filter(|c| chars.next().is_none() && (c.is_ascii_graphic() || *c == ' '));
    if only.is_none() {
        item.refuse(
            format_args!("is {text:?}"),
            "write the one character between the items of the header, such as \",\" or \" \"",
        );
    }
    only
}

pub(super) fn short_text(item: &Item<'_>, example: &str) -> Option<String> {
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
