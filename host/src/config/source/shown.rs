//! Rules of a source in the words of the configuration.

use std::fmt;

use super::encoding::Encoding;
use super::pick::Pick;
use super::place::{Place, ValueCondition};
use super::signature::{Part, SignatureScheme};

impl SignatureScheme {
    /// The word for it in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::HmacSha1 => "hmac-sha1",
            Self::HmacSha512 => "hmac-sha512",
            Self::DigestSha1 => "digest-sha1",
            Self::DigestSha256 => "digest-sha256",
            Self::Ed25519 => "ed25519",
            Self::EcdsaP256 => "ecdsa-p256",
            Self::RsaSha256 => "rsa-sha256",
            Self::RsaSha1 => "rsa-sha1",
            Self::Token => "token",
            Self::Basic => "basic",
            Self::Jwt => "jwt",
        }
    }
}

impl Encoding {
    /// The word for it in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hex => "hex",
            Self::Base64 => "base64",
            Self::Base64Url => "base64url",
            Self::Text => "text",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Self::Literal(text) => return f.write_str(text),
            Self::QueryValue(name) => return write!(f, "{{query:{name}}}"),
            Self::Header(name) => return write!(f, "{{header:{name}}}"),
            Self::Json(pointer) => return write!(f, "{{json:{pointer}}}"),
            Self::FormValue(name) => return write!(f, "{{form:{name}}}"),
            Self::HeaderList(name) => return write!(f, "{{headers:{name}}}"),
            Self::Param(name, _) => return write!(f, "{{param:{name}}}"),
            Self::Optional(parts) => {
                f.write_str("[?")?;
                parts.iter().try_for_each(|part| part.fmt(f))?;
                return f.write_str("]");
            }
            Self::UnescapedUrl => "{url:unescaped}",
            Self::BodySha256 => "{body:sha256}",
            Self::BodyCrc32 => "{body:crc32}",
            Self::Secret => "{secret}",
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
            Self::Request(pointer) => write!(f, "{{request:{pointer}}}"),
            Self::Header(name) => write!(f, "{{header:{name}}}"),
            Self::Fixed(text) => f.write_str(text),
            Self::Form(name) => write!(f, "{{form:{name}}}"),
            Self::Query(name) => write!(f, "{{query:{name}}}"),
            Self::Method => f.write_str("{method}"),
            Self::Beside(name) => write!(f, "the member beside {name}"),
            Self::First(picks) => {
                for (index, pick) in picks.iter().enumerate() {
                    write!(f, "{}{pick}", if index == 0 { "" } else { ", else " })?;
                }
                Ok(())
            }
            Self::Joined(joined) => {
                for (before, pick) in &joined.values {
                    write!(f, "{before}{pick}")?;
                }
                f.write_str(&joined.end)
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => f.write_str(name),
            Self::Query(name) => write!(f, "{{query:{name}}}"),
            Self::Json(pointer) => write!(f, "{{json:{pointer}}}"),
            Self::Form(name) => write!(f, "{{form:{name}}}"),
        }
    }
}

impl fmt::Display for ValueCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Header(name) => write!(f, "{{header:{name}}}")?,
            place => place.fmt(f)?,
        }
        if self.absent {
            return f.write_str(" is absent");
        }
        if let Some((name, _)) = &self.param {
            return write!(f, " is {{param:{name}}}");
        }
        match (&self.is, &self.starts, &self.hex) {
            (Some(text), ..) => write!(f, " is {text:?}"),
            (None, Some(text), _) => write!(f, " starts with {text:?}"),
            (None, None, Some((least, most))) => write!(f, " is {least} to {most} hex digits"),
            (None, None, None) => f.write_str(" is there"),
        }
    }
}
