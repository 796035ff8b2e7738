//! Values within headers: `sha256=…`, `t=…,v1=…,v1=…`, `v1,… v1,…`.

use axum::http::HeaderMap;
use axum::http::header::{GetAll, HeaderName, HeaderValue, ValueIter};

use crate::config::source::Field;
use crate::ingest::header::{RepeatedHeader, single};

/// The prefix of user and password.
const BASIC: &[u8] = b"Basic ";

fn is_basic(text: &[u8]) -> bool {
    text.eq_ignore_ascii_case(BASIC)
}

/// The items of a field, without their prefix, in the order of the request.
///
/// A list (a field with a separator) may be spread over several headers of the same name, as RFC
/// 9110 §5.3 has it; a single value may not. White space around an item does not belong to it.
#[derive(Debug)]
pub(super) struct Items<'a, 'field> {
    headers: Option<ValueIter<'a, HeaderValue>>,
    rest: Option<&'a [u8]>,
    prefix: &'field [u8],
    separator: Option<u8>,
}

impl<'a, 'field> Items<'a, 'field> {
    pub(super) fn of(
        headers: &'a HeaderMap,
        name: &HeaderName,
        field: &'field Field,
    ) -> Result<Self, RepeatedHeader> {
        let all: GetAll<'a, HeaderValue> = headers.get_all(name);
        if field.separator.is_none() {
            single(headers, name)?;
        }
        let items = Self { headers: Some(all.iter()), rest: None, ..Self::within(&[], field) };
        Ok(items)
    }

    /// The items of a value that stands elsewhere.
    pub(super) fn within(value: &'a [u8], field: &'field Field) -> Self {
        // A separator beyond ASCII cannot occur in a header, so it splits nothing.
        let separator = field.separator.filter(char::is_ascii).map(|separator| separator as u8);
        Self { headers: None, rest: Some(value), prefix: field.prefix.as_bytes(), separator }
    }

    fn next_item(&mut self) -> Option<&'a [u8]> {
        let rest = match self.rest.take() {
            Some(rest) => rest,
            None => self.headers.as_mut()?.next()?.as_bytes(),
        };
        let cut =
            self.separator.and_then(|separator| rest.iter().position(|byte| *byte == separator));
        let item = match cut {
            Some(at) => {
                self.rest = Some(&rest[at + 1..]);
                &rest[..at]
            }
            None => rest,
        };
        Some(item.trim_ascii())
    }
}

impl<'a> Iterator for Items<'a, '_> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let item = self.next_item()?;
            if let Some(value) = item.strip_prefix(self.prefix) {
                return Some(value);
            }
            // The name of an authentication scheme is in any case (RFC 9110 §11.1).
            if self.prefix == BASIC && item.get(..BASIC.len()).is_some_and(is_basic) {
                return item.get(BASIC.len()..);
            }
        }
    }
}
