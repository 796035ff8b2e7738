//! Why a request failed: a kind for the guest, a text for people.

use std::error::Error;
use std::fmt;

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestError {
    /// The error that the guest gets.
    pub kind: RequestErrorKind,
    text: String,
}

/// An error that a guest gets. Each kind has a counterpart among the error codes of `wasi:http`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestErrorKind {
    /// No rule allows the request.
    Denied,
    /// The URL is invalid or ambiguous.
    Uri,
    /// The URL is too long.
    UriTooLong,
    /// The method is not allowed.
    Method,
    /// A header is not allowed.
    Header,
    /// There are too many headers, or they are too long.
    HeaderSize,
    /// The operator has to set something, such as a credential.
    Configuration,
    /// The attempt has sent its maximum of requests.
    Requests,
    /// Too many requests or connections are open.
    Open,
    /// The attempt has sent its maximum of bytes.
    Sent,
    /// The attempt has received its maximum of bytes.
    Received,
    /// The host has no address that the rule allows.
    Prohibited,
    /// The name could not be resolved.
    Dns,
    /// The name was not resolved in time.
    DnsTimeout,
    /// The connection was refused.
    Refused,
    /// No connection was established in time.
    ConnectTimeout,
    /// The server's certificate is invalid.
    Certificate,
    /// TLS failed for another reason.
    Tls,
    /// The response, or its next part, did not arrive in time.
    ReadTimeout,
    /// The connection ended too early.
    Terminated,
    /// The response is compressed where it must not be.
    Coding,
    /// The server did not send a valid response, or the request's body was invalid.
    Protocol,
}

impl RequestError {
    pub(super) fn new(kind: RequestErrorKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }

    /// Finds what ended an exchange: a cause of our own, or what the HTTP library says.
    pub(super) fn of_exchange(error: &hyper::Error) -> Self {
        let mut causes: Vec<&(dyn Error + 'static)> = vec![error];
        while let Some(cause) = causes.last().copied().and_then(Error::source) {
            causes.push(cause);
        }
        if let Some(own) = causes.iter().find_map(|cause| cause.downcast_ref::<Self>()) {
            return own.clone();
        }
        let (kind, what) = if error.is_user() {
            (RequestErrorKind::Protocol, "the request's body failed")
        } else if error.is_parse() {
            (RequestErrorKind::Protocol, "the server sent no valid HTTP response")
        } else {
            (RequestErrorKind::Terminated, "the connection ended")
        };
        let root = causes.last().map_or_else(String::new, ToString::to_string);
        Self::new(kind, format!("{what}: {root}"))
    }

    /// Whether the host refused the request, as opposed to a failure of the network or the server.
    pub(super) fn is_refusal(&self) -> bool {
        use RequestErrorKind as Kind;
        matches!(
            self.kind,
            Kind::Denied
                | Kind::Uri
                | Kind::UriTooLong
                | Kind::Method
                | Kind::Header
                | Kind::HeaderSize
                | Kind::Configuration
                | Kind::Requests
                | Kind::Open
                | Kind::Sent
                | Kind::Received
                | Kind::Prohibited
        )
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for RequestError {}
