//! The events of one request: the items of the list in its body, each with its own bytes.

use std::borrow::Cow;

use bytes::Bytes;

use super::items::{list, tokens};
use crate::event::form;
use crate::ingest::head::{Head, wrapped};

/// The most events of one request, which are one transaction. The largest batches of providers
/// have fewer: 1,000 are Mandrill's, and SendGrid's are of 768 KB.
pub(in crate::ingest) const MAX_ITEMS: usize = 5_000;

/// Why a request is no list of events. Nothing of it is stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchFault {
    /// They are not there, or one of them is wrong.
    #[error("{0}")]
    Events(String),
    /// They are in a format that is not read.
    #[error("{0}")]
    Format(String),
}

/// The place of the list.
#[derive(Debug)]
pub(super) struct Split {
    pointer: String,
    path: Vec<String>,
    /// The field of a form that holds the JSON.
    form: Option<String>,
}

impl Split {
    /// The list at an RFC 6901 pointer, which is empty for the whole body.
    pub(super) fn new(pointer: &str, form: Option<String>) -> Self {
        Self { pointer: pointer.to_owned(), path: tokens(pointer), form }
    }

    /// The JSON in which the list is: the body, or the field of a form.
    pub(super) fn json<'b>(
        &self,
        head: &Head,
        body: &'b [u8],
    ) -> Result<Cow<'b, [u8]>, BatchFault> {
        let found = self
            .form
            .as_deref()
            .and_then(|field| wrapped(&head.headers, body, field).map(|found| (found, field)));
        let Some((found, field)) = found else { return Ok(Cow::Borrowed(body)) };
        match found {
            Ok(Some(json)) => Ok(json),
            Ok(None) => {
                Err(BatchFault::Events(format!("the field `{field}` of the form is missing")))
            }
            Err(form::Repeated) => Err(BatchFault::Events(format!(
                "the field `{field}` of the form occurs more than once"
            ))),
        }
    }

    /// The items as they are written. Each is copied: one that waits for its plugin does not keep
    /// the others in memory.
    pub(super) fn items(&self, json: &[u8]) -> Result<Vec<Bytes>, BatchFault> {
        let found = list(json, &self.path, MAX_ITEMS).map_err(|why| {
            let place = match self.pointer.as_str() {
                "" => "the body".to_owned(),
                pointer => format!("`{pointer}` of the body"),
            };
            BatchFault::Events(format!("{place} is no list of at most {MAX_ITEMS} events: {why}"))
        })?;
        Ok(found.into_iter().map(|item| Bytes::copy_from_slice(item.as_bytes())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(pointer: &str, json: &str) -> Result<Vec<Bytes>, BatchFault> {
        Split::new(pointer, None).items(json.as_bytes())
    }

    #[test]
    fn an_item_keeps_its_bytes() {
        let found = items("/events", r#"{"events": [ {"a" : 1.0}, {"a":1e400 } ], "n": 1}"#);
        assert_eq!(found.unwrap(), [&br#"{"a" : 1.0}"#[..], br#"{"a":1e400 }"#]);
        assert_eq!(items("", "[1, \"x\"]").unwrap(), [&b"1"[..], b"\"x\""]);
        assert_eq!(items("", "[]").unwrap(), Vec::<Bytes>::new());
    }

    #[test]
    fn what_is_no_list_is_told_with_its_place() {
        let many = format!("[{}1]", "1,".repeat(MAX_ITEMS));
        for (pointer, json, says) in [
            ("/events", "{}", "`/events` of the body is no list of at most 5000 events: "),
            ("/events", "{}", "it is missing"),
            ("/events", r#"{"events":[],"events":[]}"#, "it occurs twice"),
            ("/events", r#"{"events":{}}"#, "expected a list"),
            ("", "{}", "the body is no list"),
            ("", "[1", "EOF while parsing a list"),
            ("", "[1] x", "trailing characters"),
            ("", many.as_str(), "it has more than 5000 items"),
            ("", "", "EOF while parsing"),
        ] {
            let fault = items(pointer, json).unwrap_err().to_string();
            assert!(fault.contains(says), "{json:.20}: {fault}");
        }
        let deep = format!("[{}{}]", "[".repeat(200), "]".repeat(200));
        assert!(items("", &deep).unwrap_err().to_string().contains("nested deeper"));
        assert!(Split::new("", None).items(b"\xff").unwrap_err().to_string().contains("UTF-8"));
    }
}
