//! Why a request did not come to its end: a kind for the guest, a text for people.

use std::error::Error;
use std::fmt;

/// Why a request did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// For the guest.
    pub kind: FailureKind,
    text: String,
}

/// What a guest is told; the names are those of `wasi:http`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// No rule allows it.
    Denied,
    /// The address, as the guest wrote it, is none that can be judged.
    Uri,
    /// It is too long.
    UriTooLong,
    /// The method is not to be used.
    Method,
    /// A header is not to be sent.
    Header,
    /// There are too many headers, or they are too long.
    HeaderSize,
    /// The host lacks something that the operator has to give.
    Configuration,
    /// Too many requests in all.
    Requests,
    /// Too many requests at once.
    Open,
    /// Too much is sent.
    Sent,
    /// Too much has come.
    Received,
    /// The name has no address that may be connected to.
    Prohibited,
    /// The name could not be resolved.
    Dns,
    /// It could not in time.
    DnsTimeout,
    /// Nobody listens there.
    Refused,
    /// There was no connection in time.
    ConnectTimeout,
    /// The other side is not who it should be.
    Certificate,
    /// TLS failed otherwise.
    Tls,
    /// The response, or its next part, did not come in time.
    ReadTimeout,
    /// The connection ended too soon.
    Terminated,
    /// The response is compressed where it must not be.
    Coding,
    /// What came is no response to a request, or none that is passed on.
    Protocol,
}

impl Failure {
    pub(super) fn new(kind: FailureKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }

    /// Whether the host would not send it, as opposed to could not.
    pub(super) fn refused(&self) -> bool {
        use FailureKind as Kind;
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

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Failure {}
