//! A request without its body.

use std::borrow::Cow;

use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri};

use crate::event::form;

/// The parts of a request beside its body that may be signed, as received.
#[derive(Debug, Clone)]
pub struct Head {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub uri: Uri,
    /// All headers.
    pub headers: HeaderMap,
}

impl Head {
    /// Whether it says that the body is a form.
    pub(super) fn is_form(&self) -> bool {
        content_type(&self.headers).is_some_and(form::is_form)
    }
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(CONTENT_TYPE)?.to_str().ok()
}

/// A field of a body, if headers say that it is a form of either kind.
pub(super) fn wrapped<'b>(
    headers: &HeaderMap,
    body: &'b [u8],
    field: &str,
) -> Option<Result<Option<Cow<'b, [u8]>>, form::Repeated>> {
    form::wrapped(content_type(headers)?, body, field)
}

impl From<Parts> for Head {
    fn from(Parts { method, uri, headers, .. }: Parts) -> Self {
        Self { method, uri, headers }
    }
}

/// A `POST` to `/`, for sources whose signatures cover neither the method nor the address.
impl From<HeaderMap> for Head {
    fn from(headers: HeaderMap) -> Self {
        Self { method: Method::POST, uri: Uri::default(), headers }
    }
}
