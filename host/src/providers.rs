//! The APIs of providers: how an address is registered there, and how events are read that never
//! came.
//!
//! A [`Provider`] does no I/O. It describes an HTTP call ([`ApiCall`]) and reads the answer. The
//! command line performs calls by itself, and the host with its connector for requests of plugins.
//! A call holds no credential: it names the header, and whoever performs the call adds the key.
//!
//! To add one: a file that implements the trait, and a line in [`ALL`]. The reasons are in
//! `docs/design/providers.md`.

use std::fmt;

use serde_json::Value;

mod heygen;
pub mod registered;
mod stripe;

/// Every provider whose API is known.
static ALL: [&dyn Provider; 2] = [&heygen::HeyGen, &stripe::Stripe];

/// The longest pause that an answer may ask for, in milliseconds.
const MAX_RETRY_AFTER_MS: u64 = 60 * 60 * 1000;

/// The longest text of a provider that is shown, in bytes.
const MAX_TEXT_BYTES: usize = 300;

/// The provider of a preset, if its API is known.
pub fn find(preset: &str) -> Option<&'static dyn Provider> {
    ALL.iter().copied().find(|provider| provider.name() == preset)
}

/// The names of all providers whose API is known.
pub fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|provider| provider.name())
}

/// One provider's API: describes calls, and reads answers.
pub trait Provider: fmt::Debug + Send + Sync {
    /// The name, which is that of its preset.
    fn name(&self) -> &'static str;

    /// Where the API is.
    fn api_url(&self) -> &'static str;

    /// The environment variable that has the API key, unless the configuration names another place.
    fn api_key_env(&self) -> &'static str;

    /// The environment variable that has the secret of deliveries, unless the configuration names
    /// another place.
    fn secret_env(&self) -> &'static str;

    /// The generations of the API, the newest first.
    fn generations(&self) -> &'static [&'static str];

    /// The header that has the key, and the text before it.
    fn auth(&self) -> (&'static str, &'static str);

    /// The time for which the provider keeps its events, in milliseconds; `None` if it says
    /// nothing of it.
    fn keeps_ms(&self) -> Option<i64>;

    /// The call for a request.
    ///
    /// # Errors
    /// This generation of the API has no such call: what to do, for people.
    fn call(&self, api: &Api<'_>, request: &ApiRequest<'_>) -> Result<ApiCall, &'static str>;

    /// Reads the endpoint in the answer to a registration, a change or a rotation; `None` if it is
    /// none.
    fn endpoint(&self, answer: &Value) -> Option<RegisteredEndpoint>;

    /// Reads a list of endpoints, and where the next page begins.
    fn endpoints(&self, answer: &Value) -> Option<(Vec<RegisteredEndpoint>, Option<String>)>;

    /// Reads a page of events, the newest first. A log in the other order is read to its end with
    /// each pass.
    ///
    /// # Errors
    /// It is no such page, or the time of an event cannot be read: why, for people.
    fn events(&self, body: &[u8]) -> Result<LoggedPage, String>;

    /// The reason in an answer that tells of an error, whatever its status.
    fn refusal(&self, answer: &Value) -> Option<String>;
}

/// The generation of an API, and where it is.
#[derive(Debug, Clone, Copy)]
pub struct Api<'a> {
    /// The beginning of every address, without a slash at the end.
    pub url: &'a str,
    /// A generation of [`Provider::generations`].
    pub generation: &'a str,
}

/// A request to the API of a provider.
#[derive(Debug, Clone, Copy)]
pub enum ApiRequest<'a> {
    /// Registers an address for these types of events; none is every type.
    Register {
        /// The address.
        url: &'a str,
        /// The types.
        events: &'a [String],
    },
    /// Lists the endpoints from here on.
    List {
        /// Where to begin.
        cursor: Option<&'a str>,
    },
    /// Replaces the address and the types of an endpoint.
    Update {
        /// The endpoint.
        id: &'a str,
        /// The address.
        url: &'a str,
        /// The types.
        events: &'a [String],
    },
    /// Has the provider make another secret.
    Rotate {
        /// The endpoint.
        id: &'a str,
    },
    /// Removes an endpoint.
    Delete {
        /// The endpoint.
        id: &'a str,
    },
    /// Asks for events that happened, the newest first.
    Events {
        /// Where to begin.
        cursor: Option<&'a str>,
        /// The most events of the page.
        limit: u32,
    },
}

impl ApiRequest<'_> {
    /// Whether it changes something at the provider.
    pub fn changes(&self) -> bool {
        !matches!(self, Self::List { .. } | Self::Events { .. })
    }
}

/// An HTTP call. It holds no credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiCall {
    /// The method.
    pub method: &'static str,
    /// The address.
    pub url: String,
    /// The media type and the body, if there is one.
    pub body: Option<(&'static str, String)>,
}

impl ApiCall {
    fn new(method: &'static str, url: String) -> Self {
        Self { method, url, body: None }
    }

    fn json(self, body: &Value) -> Self {
        Self { body: Some(("application/json", body.to_string())), ..self }
    }
}

/// The answer to a call.
#[derive(Debug, Clone, Copy)]
pub struct ApiAnswer<'a> {
    /// The status.
    pub status: u16,
    /// The value of `Retry-After`.
    pub retry_after: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

/// An address that is registered at a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredEndpoint {
    /// The provider's id of it.
    pub id: String,
    /// The address; empty if the answer leaves it out.
    pub url: String,
    /// The types of events that it gets; none is every type.
    pub events: Vec<String>,
    /// Its state, as the provider calls it.
    pub status: Option<String>,
    /// The secret, which is shown once.
    pub secret: Option<SecretText>,
}

/// A secret that a provider has just made; its debug form does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(pub String);

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

/// An event in the log of a provider, as the request that would have carried it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedEvent {
    /// The provider's id.
    pub id: String,
    /// The type.
    pub kind: String,
    /// When it happened, Unix ms.
    pub at_ms: i64,
    /// The headers that would have come along, but for the signature.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// A page of the log of a provider, the newest event first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoggedPage {
    /// The events.
    pub events: Vec<LoggedEvent>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

/// Why a call did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// The key is not accepted.
    #[error("the API key is not accepted ({0})")]
    Key(String),
    /// There is nothing of this name or id.
    #[error("it is not there ({0})")]
    Absent(String),
    /// There were too many calls.
    #[error("there were too many calls ({text})")]
    Limited {
        /// The pause that the provider asks for, in milliseconds.
        retry_after_ms: Option<u64>,
        /// The provider's words.
        text: String,
    },
    /// The provider cannot answer now.
    #[error("the provider cannot answer now ({0})")]
    Unavailable(String),
    /// The call was made, and its answer never came: nobody knows whether it had an effect.
    #[error("the answer was lost ({0})")]
    Lost(String),
    /// The provider refuses the request.
    #[error("the provider refuses ({0})")]
    Refused(String),
    /// The answer is not one of this API.
    #[error("the answer is not one of this API: {0}")]
    Strange(String),
}

impl ApiError {
    /// Whether the same call may succeed later.
    pub fn passes(&self) -> bool {
        matches!(self, Self::Limited { .. } | Self::Unavailable(_) | Self::Lost(_))
    }
}

/// Tells success from errors, which have the same form for every provider but for the text in them.
///
/// # Errors
/// The answer tells of an error.
pub fn check(provider: &dyn Provider, answer: &ApiAnswer<'_>) -> Result<(), ApiError> {
    let value: Value = serde_json::from_slice(answer.body).unwrap_or_default();
    let said = provider.refusal(&value).map(|said| short(&said));
    let text = match &said {
        Some(said) => format!("{}: {said}", answer.status),
        None => answer.status.to_string(),
    };
    Err(match answer.status {
        200..=299 if said.is_none() => return Ok(()),
        200..=299 => ApiError::Refused(said.unwrap_or_default()),
        401 | 403 => ApiError::Key(text),
        404 => ApiError::Absent(text),
        429 => ApiError::Limited { retry_after_ms: retry_after_ms(answer), text },
        500..=599 => ApiError::Unavailable(text),
        400..=499 => ApiError::Refused(text),
        _ => ApiError::Strange(text),
    })
}

/// The pause in `Retry-After`, if it is a number of seconds.
fn retry_after_ms(answer: &ApiAnswer<'_>) -> Option<u64> {
    let seconds: u64 = answer.retry_after?.trim().parse().ok()?;
    Some(seconds.saturating_mul(1000).min(MAX_RETRY_AFTER_MS))
}

/// A text of bounded length without characters that steer a terminal.
fn short(text: &str) -> String {
    crate::text::plain(text, MAX_TEXT_BYTES)
}

/// A part of a path or query with everything but letters, digits, `-`, `_` and `.` percent-encoded.
fn encoded(text: &str) -> String {
    const KEPT: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');
    percent_encoding::utf8_percent_encode(text, KEPT).to_string()
}

/// The address with these parameters; absent ones are left out.
fn with_query(url: String, query: &[(&str, Option<&str>)]) -> String {
    let given = query.iter().filter_map(|(name, value)| Some((name, (*value)?)));
    let pairs: Vec<_> = given.map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    if pairs.is_empty() { url } else { format!("{url}?{}", pairs.join("&")) }
}

/// The strings in a list; a list that means every type is none.
fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let texts = list.iter().filter_map(|text| text.as_str().map(str::to_owned));
    texts.filter(|text| text != "*").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> ApiAnswer<'_> {
        ApiAnswer { status, retry_after: Some("7"), body: body.as_bytes() }
    }

    #[test]
    fn every_error_is_told_from_the_others_and_carries_the_words_of_the_provider() {
        let heygen = find("heygen").unwrap();
        let of = |status, body| check(heygen, &answer(status, body)).unwrap_err();
        let said = r#"{"error":{"code":"x","message":"no\u001b[2J such key"}}"#;
        let ApiError::Key(text) = of(401, said) else { panic!("401 is about the key") };
        assert!(text.starts_with("401: no") && !text.contains('\u{1b}'), "{text}");
        assert!(matches!(of(404, "{}"), ApiError::Absent(_)));
        let ApiError::Limited { retry_after_ms, .. } = of(429, "") else {
            panic!("429 is a limit")
        };
        assert_eq!(retry_after_ms, Some(7_000));
        assert!(of(503, "<html>").passes() && !of(400, "{}").passes());
        assert!(matches!(of(302, ""), ApiError::Strange(_)));
        let error = of(200, r#"{"error":"url is unreachable"}"#);
        assert_eq!(error, ApiError::Refused("url is unreachable".to_owned()));
        assert!(check(heygen, &answer(200, r#"{"data":{},"error":null}"#)).is_ok());
    }

    #[test]
    fn every_provider_has_calls_in_each_generation_below_its_address() {
        for provider in ALL {
            for generation in provider.generations() {
                let api = Api { url: provider.api_url(), generation };
                let requests = [
                    ApiRequest::Register { url: "https://a.example/webhook/x", events: &[] },
                    ApiRequest::List { cursor: Some("a b") },
                    ApiRequest::Update { id: "a/b", url: "https://a.example", events: &[] },
                    ApiRequest::Delete { id: "a/b" },
                ];
                for request in requests {
                    let call = provider.call(&api, &request).unwrap();
                    assert!(call.url.starts_with(provider.api_url()), "{call:?}");
                    assert!(!call.url.contains("a/b") && !call.url.contains(' '), "{call:?}");
                }
            }
        }
    }
}
