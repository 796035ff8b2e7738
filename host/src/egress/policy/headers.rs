//! Headers of a request: the plugin's, without those that say how a message is framed (RFC 9110 §7.6.1, RFC 9112 §6),
//! and the host's.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::response::Parts;
use http::{Method, Response};
use secrecy::ExposeSecret;

use super::failure::{Failure, FailureKind};
use super::masks::Masks;
use super::target::Target;
use crate::config::{HttpRule, grants};

/// The most headers of a request or a response.
pub(super) const MAX_HEADERS: usize = 100;
/// The most bytes of a request's headers.
const MAX_HEADER_BYTES: usize = 32 << 10;
/// The most bytes of a response's headers.
pub(super) const MAX_RESPONSE_BYTES: usize = 64 << 10;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("hookbox/", env!("CARGO_PKG_VERSION")));

/// Checks what the plugin sets. Returns how long it says that its body is.
pub(super) fn check(headers: &HeaderMap) -> Result<Option<u64>, Failure> {
    let refuse = |why: String| Err(Failure::new(FailureKind::Header, why));
    if headers.len() > MAX_HEADERS || bytes(headers) > MAX_HEADER_BYTES {
        let why = format!("it has more than {MAX_HEADERS} headers, or {MAX_HEADER_BYTES} bytes of them");
        return Err(Failure::new(FailureKind::HeaderSize, why));
    }
    // `wasi:http` refuses most of them before.
    if let Some(name) = headers.keys().find(|name| grants::is_framing(name.as_str())) {
        return refuse(format!("`{name}` is a header that the host sets itself"));
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    // Digits alone: `u64` would also take a sign.
    let number = |value: &HeaderValue| {
        let text = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        text.and_then(|text| text.parse().ok())
    };
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(_)) => refuse("it has two `content-length`".to_owned()),
        (Some(length), None) => match number(length) {
            None => refuse("its `content-length` is not a number".to_owned()),
            some => Ok(some),
        },
    }
}

/// As they are written: name, value, and four characters that set them apart.
pub(super) fn bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

/// Adds what the host adds. Returns what the plugin should know of it.
pub(super) fn complete(
    headers: &mut HeaderMap,
    rule: &HttpRule,
    method: &Method,
    idempotency_key: &str,
) -> Result<Vec<String>, Failure> {
    let mut notes = Vec::new();
    let safe = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    if rule.idempotency_key && !safe && !headers.contains_key(IDEMPOTENCY_KEY) {
        let key = HeaderValue::from_str(idempotency_key);
        let key = key.map_err(|_| Failure::new(FailureKind::Header, "the idempotency key fits no header"))?;
        headers.insert(IDEMPOTENCY_KEY, key);
    }
    headers.entry(header::USER_AGENT).or_insert(USER_AGENT);
    for injected in &rule.headers {
        let lacks = |why: String| Failure::new(FailureKind::Configuration, why);
        let unset =
            |place: &String| lacks(format!("the host has no value for its header `{}`: {place}", injected.name));
        let secret = injected.value.as_ref().map_err(unset)?;
        let value = HeaderValue::from_str(&format!("{}{}", injected.prefix, secret.expose_secret()));
        let unfit = || lacks(format!("the value of its header `{}` fits no header", injected.name));
        let name = HeaderName::from_bytes(injected.name.as_bytes()).map_err(|_| unfit())?;
        let mut value = value.map_err(|_| unfit())?;
        value.set_sensitive(true);
        // Takes the place of every value that the plugin has set.
        if headers.insert(name, value).is_some() {
            notes.push(format!("the header `{}` of the plugin was replaced: the host sets it", injected.name));
        }
    }
    if !rule.headers.is_empty() {
        // An echo has to be seen whole to be masked: not compressed, and not in pieces.
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if headers.contains_key(header::RANGE) {
            let why = "it asks for a range, which cannot be had where the host adds a credential";
            return Err(Failure::new(FailureKind::Header, why));
        }
    }
    Ok(notes)
}

/// Says whom the request is for: whom it is sent to.
pub(super) fn set_host(headers: &mut HeaderMap, target: &Target) -> Result<(), Failure> {
    let host = HeaderValue::from_str(&target.authority());
    headers.insert(header::HOST, host.map_err(|_| Failure::new(FailureKind::Uri, "its host fits no header"))?);
    Ok(())
}

/// What of a response is passed on, without credentials.
pub(super) fn response(parts: Parts, rule: &HttpRule, masks: &Masks) -> Result<Parts, Failure> {
    if parts.status.is_informational() {
        let why = format!("it was answered with status {}, which was not asked for", parts.status.as_u16());
        return Err(Failure::new(FailureKind::Protocol, why));
    }
    let coding = parts.headers.get_all(header::CONTENT_ENCODING).iter().find(|coding| *coding != "identity");
    if let Some(coding) = coding.filter(|_| !rule.headers.is_empty()) {
        let coding = masks.mask(&String::from_utf8_lossy(coding.as_bytes())).into_owned();
        let why = format!("the response is compressed ({coding}), so that an echo of a credential could not be masked");
        return Err(Failure::new(FailureKind::Coding, why));
    }
    if parts.headers.len() > MAX_HEADERS || bytes(&parts.headers) > MAX_RESPONSE_BYTES {
        let why = format!("the response has more than {MAX_HEADERS} headers, or {MAX_RESPONSE_BYTES} bytes of them");
        return Err(Failure::new(FailureKind::Protocol, why));
    }
    let mut passed = Response::new(()).into_parts().0;
    passed.status = parts.status;
    // A name cannot be masked and stay a name.
    for (name, value) in parts.headers.iter().filter(|(name, _)| !masks.finds(name.as_str())) {
        let masked = HeaderValue::from_bytes(&masks.mask_bytes(value.as_bytes()));
        passed.headers.append(name, masked.unwrap_or_else(|_| HeaderValue::from_static("*")));
    }
    Ok(passed)
}
