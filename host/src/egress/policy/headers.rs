//! Headers of a request: those of the plugin, except for framing (RFC 9110 §7.6.1, RFC 9112 §6),
//! and those of the host.

use http::Method;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret;

use super::target::RequestTarget;
use crate::config::grants::{self, HttpRule, Injected};
use crate::egress::error::{RequestError, RequestErrorKind};
use crate::trace::SpanContext;

/// The most headers of a request or a response.
pub(in crate::egress) const MAX_HEADERS: usize = 100;
/// The most bytes of a request's headers.
const MAX_HEADER_BYTES: usize = 32 << 10;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("hookbox/", env!("CARGO_PKG_VERSION")));

/// Checks the plugin's headers. Returns the length that they state for the body.
pub(in crate::egress) fn check(headers: &HeaderMap) -> Result<Option<u64>, RequestError> {
    if headers.len() > MAX_HEADERS || bytes(headers) > MAX_HEADER_BYTES {
        let why = format!(
            "the request has more than {MAX_HEADERS} headers or {MAX_HEADER_BYTES} bytes of headers"
        );
        return Err(RequestError::new(RequestErrorKind::HeaderSize, why));
    }
    // `wasi:http` refuses most of them before.
    if let Some(name) = headers.keys().find(|name| grants::is_framing(name.as_str())) {
        return Err(refused(format!("the header `{name}` is set by the host alone")));
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err(refused("the request has two `content-length` headers")),
        (Some(length), None) => match number(length) {
            None => Err(refused("the request's `content-length` is not a number")),
            some => Ok(some),
        },
    }
}

/// A number of digits alone; `u64` would also accept a sign.
fn number(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    text.and_then(|text| text.parse().ok())
}

/// The size of headers as they are sent: name, value, and four bytes of separators each.
pub(in crate::egress) fn bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

/// Adds the host's headers. Returns notes for the plugin's log.
pub(in crate::egress) fn complete(
    headers: &mut HeaderMap,
    rule: &HttpRule,
    method: &Method,
    idempotency_key: &str,
) -> Result<Vec<String>, RequestError> {
    let mut notes = Vec::new();
    let safe = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    if rule.idempotency_key && !safe && !headers.contains_key(IDEMPOTENCY_KEY) {
        let key = HeaderValue::from_str(idempotency_key);
        headers.insert(
            IDEMPOTENCY_KEY,
            key.map_err(|_| refused("the idempotency key is not a valid header value"))?,
        );
    }
    headers.entry(header::USER_AGENT).or_insert(USER_AGENT);
    for injected in &rule.headers {
        let (name, value) = credential(injected)?;
        // Replaces every value that the plugin has set.
        if headers.insert(name, value).is_some() {
            notes.push(format!(
                "the plugin's header `{}` was replaced: the host sets it",
                injected.name
            ));
        }
    }
    if !rule.headers.is_empty() {
        // An echoed credential can be redacted only in a response that is whole and not compressed.
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if headers.contains_key(header::RANGE) {
            return Err(refused(
                "a request for a range is not possible where the host adds a credential",
            ));
        }
    }
    Ok(notes)
}

/// Adds the ids of a traced request, unless the plugin has set some.
pub(in crate::egress) fn trace(headers: &mut HeaderMap, context: Option<SpanContext>) {
    if let Some(context) = context
        && let Ok(value) = HeaderValue::from_str(&context.traceparent())
    {
        headers.entry(TRACEPARENT).or_insert(value);
    }
}

/// The header that carries a credential.
pub(in crate::egress) fn credential(
    injected: &Injected,
) -> Result<(HeaderName, HeaderValue), RequestError> {
    let unusable = |why: String| RequestError::new(RequestErrorKind::Configuration, why);
    let invalid = || {
        unusable(format!(
            "the value of the host's header `{}` is not a valid header value",
            injected.name
        ))
    };
    let secret = injected.value.as_ref().map_err(|source| {
        unusable(format!("the host has no value for its header `{}`: {source}", injected.name))
    })?;
    let name = HeaderName::from_bytes(injected.name.as_bytes()).map_err(|_| invalid())?;
    let value = HeaderValue::from_str(&format!("{}{}", injected.prefix, secret.expose_secret()));
    let mut value = value.map_err(|_| invalid())?;
    // Keeps it out of debug output.
    value.set_sensitive(true);
    Ok((name, value))
}

/// Sets `Host` to the target of the request.
pub(in crate::egress) fn set_host(
    headers: &mut HeaderMap,
    target: &RequestTarget,
) -> Result<(), RequestError> {
    let host = HeaderValue::from_str(&target.authority()).map_err(|_| {
        RequestError::new(RequestErrorKind::Uri, "the URL's host is not a valid header value")
    })?;
    headers.insert(header::HOST, host);
    Ok(())
}

fn refused(why: impl Into<String>) -> RequestError {
    RequestError::new(RequestErrorKind::Header, why)
}
