//! Rules of a source in the words of the configuration.

use std::fmt;

use super::pick::Pick;
use super::signature::{Encoding, Part, SignatureScheme};

impl SignatureScheme {
    /// The word for it in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::Ed25519 => "ed25519",
        }
    }
}

impl Encoding {
    /// The word for it in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hex => "hex",
            Self::Base64 => "base64",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Self::Literal(text) => return f.write_str(text),
            Self::QueryValue(name) => return write!(f, "{{query:{name}}}"),
            Self::Header(name) => return write!(f, "{{header:{name}}}"),
            Self::Timestamp => "{timestamp}",
            Self::Id => "{id}",
            Self::Body => "{body}",
            Self::Method => "{method}",
            Self::Url => "{url}",
            Self::Path => "{path}",
            Self::Query => "{query}",
            Self::Form => "{form}",
        };
        f.write_str(word)
    }
}

impl fmt::Display for Pick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(pointer) => write!(f, "{{json:{pointer}}}"),
            Self::Header(name) => write!(f, "{{header:{name}}}"),
            Self::Fixed(text) => f.write_str(text),
            Self::Joined(joined) => {
                for (before, pick) in &joined.values {
                    write!(f, "{before}{pick}")?;
                }
                f.write_str(&joined.end)
            }
        }
    }
}
