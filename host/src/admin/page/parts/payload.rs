//! Bodies of events: indented, as text, or as hex.

use std::fmt::Write as _;

use super::html::Html;
use super::json::indented;

/// The most bytes of a body that a page shows.
pub(in crate::admin::page) const MAX_SHOWN: usize = 32 << 10;

/// The most bytes that are shown as hex, which takes four times the room.
const MAX_HEX: usize = 8 << 10;

/// How a body is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::admin::page) enum BodyView {
    /// Indented JSON.
    Indented,
    /// Text as it came.
    Text,
    /// Bytes.
    Hex,
}

/// A body as it is shown, and the bytes of it that are.
pub(in crate::admin::page) fn body(bytes: &[u8], view: BodyView) -> (Html, usize) {
    match (view, std::str::from_utf8(bytes)) {
        (BodyView::Indented, Ok(text)) => indented(text),
        (BodyView::Text, Ok(text)) => {
            let mut end = text.len().min(MAX_SHOWN);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            let mut html = Html::default();
            html.lines(&text[..end]);
            (html, end)
        }
        _ => {
            let end = bytes.len().min(MAX_HEX);
            (hex(&bytes[..end]), end)
        }
    }
}

/// Sixteen bytes a line: offset, hex, and the characters that ASCII shows.
fn hex(bytes: &[u8]) -> Html {
    let mut html = Html::default();
    for (line, chunk) in bytes.chunks(16).enumerate() {
        let (mut digits, mut text) = (String::new(), String::new());
        for byte in chunk {
            let _ = write!(digits, "{byte:02x} ");
            text.push(if byte.is_ascii_graphic() { char::from(*byte) } else { '.' });
        }
        html.text(&format!("{:08x}  {digits:<48} {text}", line * 16)).raw("\n");
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_as_hex() {
        let (html, shown) = body(b"\xff\0<a", BodyView::Text);
        assert_eq!(shown, 4);
        assert_eq!(html.to_string(), format!("00000000  {:<48} ..&lt;a\n", "ff 00 3c 61 "));
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = "ä".repeat(MAX_SHOWN);
        let (html, shown) = body(text.as_bytes(), BodyView::Text);
        assert_eq!(shown, MAX_SHOWN);
        assert_eq!(html.to_string().chars().count(), MAX_SHOWN / 2);
    }
}
