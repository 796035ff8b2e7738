//! Request headers: names from the configuration, and values that may occur once.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// A stored header's value is cut to this many bytes.
const MAX_HEADER_BYTES: usize = 1_024;

/// A header that may occur once occurs several times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RepeatedHeader;

/// The value of a header that may occur once.
pub(super) fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a [u8]>, RepeatedHeader> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(RepeatedHeader),
        (value, None) => Ok(value.map(HeaderValue::as_bytes)),
    }
}

/// The header of this name, or a text that says that it is no name.
pub(super) fn parse_name(name: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is not a header name"))
}

/// The values of these headers as text of a bounded length.
pub(super) fn values(names: &[HeaderName], headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| {
        let bytes = value.as_bytes();
        let mut text =
            String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_HEADER_BYTES)]).into_owned();
        text.truncate(text.floor_char_boundary(MAX_HEADER_BYTES));
        text
    };
    names.iter().filter_map(|name| Some((name.to_string(), text(headers.get(name)?)))).collect()
}
