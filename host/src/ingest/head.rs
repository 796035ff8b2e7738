//! A request without its body.

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri};

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
