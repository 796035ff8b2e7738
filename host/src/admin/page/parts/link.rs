//! Addresses of pages: the whole state of a page is in its address.

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but what RFC 3986 calls unreserved.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A path with a query, put together. It needs no escaping in HTML but of `&`, which templates do.
#[derive(Debug, Clone)]
pub(in crate::admin::page) struct Link {
    text: String,
    has_query: bool,
}

impl Link {
    /// A path of fixed text.
    pub(in crate::admin::page) fn to(path: &str) -> Self {
        Self { text: path.to_owned(), has_query: false }
    }

    /// Adds a segment.
    pub(in crate::admin::page) fn segment(mut self, segment: &str) -> Self {
        let _ = write!(self.text, "/{}", encoded(segment));
        self
    }

    /// Adds a parameter.
    pub(in crate::admin::page) fn with(mut self, name: &str, value: &str) -> Self {
        let joiner = if self.has_query { '&' } else { '?' };
        self.has_query = true;
        let _ = write!(self.text, "{joiner}{}={}", encoded(name), encoded(value));
        self
    }

    /// Adds a parameter if there is a value.
    pub(in crate::admin::page) fn maybe(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// The address.
    pub(in crate::admin::page) fn into_text(self) -> String {
        self.text
    }
}

/// Percent-encodes a value.
pub(in crate::admin::page) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// A word for a POSIX shell, quoted if it needs to be.
pub(in crate::admin::page) fn word(text: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"_-./:=@%+,".contains(&b);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A path of this host, whatever was asked for.
pub(in crate::admin::page) fn safe(next: Option<String>) -> String {
    let is_path = |next: &String| {
        next.starts_with('/')
            && !next[1..].starts_with(['/', '\\'])
            && next.bytes().all(|b| b.is_ascii_graphic())
    };
    next.filter(is_path).unwrap_or_else(|| "/".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_encoded() {
        let link = Link::to("/kv").segment("a/b").with("key", "ä &\"<").maybe("x", None);
        assert_eq!(link.with("y", "1").into_text(), "/kv/a%2Fb?key=%C3%A4%20%26%22%3C&y=1");
    }

    #[test]
    fn words_of_a_shell_are_quoted() {
        assert_eq!(word("order_1"), "order_1");
        assert_eq!(word("a b'c"), "'a b'\\''c'");
        assert_eq!(word(""), "''");
        assert_eq!(word("$(rm)"), "'$(rm)'");
    }
}
