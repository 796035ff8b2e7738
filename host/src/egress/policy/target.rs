//! Where a request goes. A URL that two readers could understand differently is refused, so that
//! the rule and the server mean the same place.
//!
//! Sources: RFC 3986 §3, RFC 1123 §2.1, RFC 9110 §4.2. Addresses are parsed by `std`, which accepts
//! no octal, hexadecimal or short forms, and no zones.

use std::fmt;
use std::net::IpAddr;

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};
use percent_encoding::percent_decode_str;

use crate::config::grants::{MAX_LABEL_BYTES, MAX_NAME_BYTES};
use crate::egress::error::{RequestError, RequestErrorKind};

/// The longest URL, in bytes.
const MAX_URL_BYTES: usize = 8 << 10;

/// Where a request goes.
#[derive(Debug, Clone)]
pub(in crate::egress) struct RequestTarget {
    pub(in crate::egress) tls: bool,
    pub(in crate::egress) host: TargetHost,
    pub(in crate::egress) port: u16,
    /// Path and query as they are sent.
    pub(in crate::egress) path_and_query: PathAndQuery,
    /// Why a server could read the path differently than a rule does, if it could.
    pub(in crate::egress) ambiguity: Option<&'static str>,
}

/// A name in lower case, or an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::egress) enum TargetHost {
    Name(String),
    Address(IpAddr),
}

impl RequestTarget {
    /// Reads a guest's URL.
    pub(in crate::egress) fn read(uri: &Uri) -> Result<Self, RequestError> {
        let refuse = |why: &str| RequestError::new(RequestErrorKind::Uri, why);
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(refuse("the scheme is neither https nor http")),
        };
        let authority = uri.authority().map_or("", Authority::as_str);
        let path_and_query =
            uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        if authority.len() + path_and_query.as_str().len() > MAX_URL_BYTES {
            return Err(RequestError::new(
                RequestErrorKind::UriTooLong,
                format!("the URL is longer than {MAX_URL_BYTES} bytes"),
            ));
        }
        let (host, port) = read_authority(authority).map_err(refuse)?;
        let port = port.unwrap_or(if tls { 443 } else { 80 });
        // A URL without a path may still have a query, which gets a `/` before it below.
        let ambiguity = read_path(uri.path()).map_err(refuse)?;
        if !path_and_query.as_str().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(refuse(
                "the URL has characters that are not visible ASCII; percent-encode them",
            ));
        }
        let path_and_query = match path_and_query.as_str().starts_with('/') {
            true => path_and_query,
            false => format!("/{}", path_and_query.as_str())
                .parse()
                .map_err(|_| refuse("the path is invalid"))?,
        };
        Ok(Self { tls, host, port, path_and_query, ambiguity })
    }

    pub(super) fn path(&self) -> &str {
        self.path_and_query.path()
    }

    /// Whether the port is the default one of the scheme.
    pub(super) fn default_port(&self) -> bool {
        self.port == default_port(self.tls)
    }

    /// Host and port, as `Host` states them.
    pub(super) fn authority(&self) -> String {
        if self.default_port() {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

pub(super) fn scheme(tls: bool) -> &'static str {
    if tls { "https" } else { "http" }
}

pub(super) fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

/// Shows the URL without its query.
impl fmt::Display for RequestTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", scheme(self.tls), self.authority(), self.path())
    }
}

impl fmt::Display for TargetHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

fn read_authority(authority: &str) -> Result<(TargetHost, Option<u16>), &'static str> {
    if authority.contains('@') {
        return Err("the URL has a user name or a password; send credentials in a header");
    }
    let (host, rest) = match authority.strip_prefix('[') {
        Some(literal) => {
            let (literal, rest) =
                literal.split_once(']').ok_or("the host has no closing bracket")?;
            let address =
                literal.parse().map_err(|_| "the host is not an IPv6 address (without a zone)")?;
            (TargetHost::Address(IpAddr::V6(address)), rest)
        }
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            (read_host(&authority[..end])?, &authority[end..])
        }
    };
    let port = match rest.strip_prefix(':') {
        None if rest.is_empty() => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(
            digits
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or("the port is not between 1 and 65535")?,
        ),
        _ => return Err("the port is not a number"),
    };
    Ok((host, port))
}

fn read_host(text: &str) -> Result<TargetHost, &'static str> {
    if text.is_empty() || text.len() > MAX_NAME_BYTES {
        return Err("the host is empty or longer than 253 bytes");
    }
    let name = text.to_ascii_lowercase();
    let known = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.')
    };
    if !name.bytes().all(known) {
        return Err("the host has characters other than ASCII letters, digits, `-`, `_` and dots");
    }
    if name.split('.').any(|label| label.is_empty() || label.len() > MAX_LABEL_BYTES) {
        return Err(
            "the host begins or ends with a dot, or has an empty label or one longer than 63 bytes",
        );
    }
    // Some systems read a name that ends in a number as an address (octal, hexadecimal, short).
    if name.rsplit('.').next().is_some_and(|last| last.starts_with(|c: char| c.is_ascii_digit())) {
        let address = name
            .parse()
            .map_err(|_| "the host ends in a number and is not an IPv4 address of four parts")?;
        return Ok(TargetHost::Address(IpAddr::V4(address)));
    }
    Ok(TargetHost::Name(name))
}

/// Checks a path. Returns why it is ambiguous: only a rule for the whole host can allow it then.
fn read_path(path: &str) -> Result<Option<&'static str>, &'static str> {
    if !path.is_empty() && !path.starts_with('/') {
        return Err("the path does not begin with `/`");
    }
    if path.starts_with("//") {
        return Err("the path begins with `//`, which could be read as another host");
    }
    // Some servers decode twice, read a backslash as a slash, or cut parameters (`;…`) off.
    let once = percent_decode_str(path).collect::<Vec<u8>>();
    let twice = percent_decode_str(&String::from_utf8_lossy(&once)).collect::<Vec<u8>>();
    for decoded in [path.as_bytes(), &once, &twice] {
        let mut segments = decoded.split(|byte| matches!(byte, b'/' | b'\\'));
        let dots = |segment: &[u8]| {
            matches!(segment.split(|byte| *byte == b';').next(), Some(b"." | b".."))
        };
        if segments.any(dots) {
            return Err("the path has a `.` or `..` segment");
        }
    }
    let lower = path.to_ascii_lowercase();
    let escapes_are_whole = lower.match_indices('%').all(|(at, _)| {
        lower
            .as_bytes()
            .get(at + 1..at + 3)
            .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    let escaped = |codes: &[&str]| codes.iter().any(|code| lower.contains(code));
    let controls =
        || std::str::from_utf8(&once).map_or(true, |text| text.contains(char::is_control));
    let ambiguity = if path.contains("//") {
        "it has an empty segment (`//`)"
    } else if path.contains('\\') || escaped(&["%5c", "%255c"]) {
        "it has a backslash"
    } else if escaped(&["%2f", "%252f"]) {
        "it has an escaped slash"
    } else if escaped(&["%2e", "%252e"]) {
        "it has an escaped dot"
    } else if !escapes_are_whole {
        "it has a `%` that is not part of an escape"
    } else if controls() {
        "it has escapes of control characters or of invalid UTF-8"
    } else {
        return Ok(None);
    };
    Ok(Some(ambiguity))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(url: &str) -> Option<RequestTarget> {
        RequestTarget::read(&url.parse().ok()?).ok()
    }

    proptest! {
        #[test]
        fn what_is_read_has_one_form_and_is_read_as_itself(
            authority in prop_oneof!["[a-zA-Z0-9.:@%-]{0,24}", "[A-Ca-c01x]{1,4}(\\.[a-c0-9x]{0,4}){0,4}(:[0-9]{0,6})?", "\\[[0-9a-f:.%]{0,20}\\](:[0-9]{0,6})?"],
            path in "(/[a-c.%2eEfF5cC;/\\\\é]{0,12})?",
            tls in any::<bool>(),
        ) {
            let scheme = scheme(tls);
            if let Some(target) = read(&format!("{scheme}://{authority}{path}")) {
                let shown = target.to_string();
                let again = read(&shown).unwrap();
                prop_assert_eq!((&again.host, again.port, again.path()), (&target.host,
                    target.port, target.path()));
                prop_assert_eq!(again.to_string(), shown);
                let text = target.host.to_string();
                prop_assert_eq!(text.to_ascii_lowercase(), text.clone());
                // A reader that takes the host for an address reads the same one.
                if let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
                    prop_assert_eq!(&target.host, &TargetHost::Address(address));
                }
                prop_assert!(!target.path().split('/').any(|part| matches!(part, "." | "..")));
            }
        }
    }
}
