//! The rules for what a plugin may reach beyond the sandbox, in `[plugins.NAME]`:
//! `http = [{ host = "api.example.com" }]`. Without a rule every request of the plugin is refused.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

mod credentials;
mod read;

/// The longest path of a rule, in bytes.
pub const MAX_PATH_BYTES: usize = 1_024;

/// The longest name in DNS, in bytes (RFC 1035 §2.3.4).
pub const MAX_NAME_BYTES: usize = 253;

/// The longest part of one, in bytes.
pub const MAX_LABEL_BYTES: usize = 63;

/// Headers that frame a message or belong to the connection (RFC 9110 §7.6.1, RFC 9112 §6), beside
/// `proxy-…`: the host sets those that it needs.
const FRAMING: [&str; 9] = [
    "connection",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whether a header, in lower case, is one that neither a plugin nor a rule can set.
pub fn is_framing(name: &str) -> bool {
    FRAMING.contains(&name) || name.starts_with("proxy-")
}

pub(super) use credentials::{HeaderTerms, read_authorities, read_headers};
pub use read::METHODS;
pub(super) use read::read;

/// Certificates (DER) of authorities.
pub type Authorities = Arc<Vec<Vec<u8>>>;

/// The grants of a plugin.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Grants {
    /// Rules for HTTP requests. The first rule that fits a request counts.
    pub http: Vec<Arc<HttpRule>>,
}

/// A place that a plugin may send HTTP requests to.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpRule {
    /// `https`, which is the default, or `http`.
    pub tls: bool,
    /// The hosts.
    pub host: HostPattern,
    /// The port: 443 or 80, unless the rule says otherwise.
    pub port: u16,
    /// The methods, in upper case; `None` is every one.
    pub methods: Option<Vec<String>>,
    /// The beginning of paths: `/v1` fits `/v1` and `/v1/videos`, not `/v10`; `/` fits every path.
    pub path: String,
    /// Whether addresses that are not public may be connected to.
    pub private: bool,
    /// Headers that the host adds.
    pub headers: Vec<Injected>,
    /// Whether the host adds `Idempotency-Key`, unless the plugin does.
    pub idempotency_key: bool,
    /// Whether the host adds `traceparent` to requests of a traced attempt, unless the plugin does.
    pub traceparent: bool,
    /// Authorities that vouch for these hosts, in place of the public ones.
    pub authorities: Option<Authorities>,
}

/// Hosts, as a rule names them. Names are in lower case, in ASCII (punycode), without a dot at the
/// end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// One name.
    Name(String),
    /// One address.
    Address(IpAddr),
    /// `*.example.com`, kept as `.example.com`: every name below it, not itself.
    Below(String),
}

/// A header that the host adds on the wire, and whose value the plugin never sees.
#[derive(Debug, Clone)]
pub struct Injected {
    /// The header's name, in lower case.
    pub name: String,
    /// The text before the secret, such as `Bearer `.
    pub prefix: String,
    /// The secret, or where it was looked for in vain, for people.
    pub value: Result<SecretString, String>,
}

impl PartialEq for Injected {
    fn eq(&self, other: &Self) -> bool {
        let values = match (&self.value, &other.value) {
            (Ok(one), Ok(other)) => one.expose_secret() == other.expose_secret(),
            (Err(one), Err(other)) => one == other,
            _ => false,
        };
        values && self.name == other.name && self.prefix == other.prefix
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Below(suffix) => write!(f, "*{suffix}"),
        }
    }
}
