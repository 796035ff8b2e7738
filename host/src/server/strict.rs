//! Refuses requests that other servers may read differently, as far as their headers show it.

use std::net::Ipv6Addr;

use http::header::{HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Version};

/// A request that another server may read differently. The text says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Ambiguous(&'static str);

/// Checks the rules of RFC 9112 that protect against request smuggling.
///
/// §3.2: one valid `Host` in HTTP/1.1, never two. §6.1: `chunked` is the only transfer coding that
/// is accepted; hyper looks at the last one only.
///
/// # Errors
/// The request breaks one of them.
pub fn check(version: Version, headers: &HeaderMap) -> Result<(), Ambiguous> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_host(host.as_bytes()) => {}
        (Some(_), None) => {
            return Err(Ambiguous("its Host header is not a host, with or without a port"));
        }
        // HTTP/1.0 does not require one.
        (None, _) if version < Version::HTTP_11 => {}
        (None, _) => return Err(Ambiguous("it has no Host header")),
        (Some(_), Some(_)) => return Err(Ambiguous("it has more than one Host header")),
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => {
            Ok(())
        }
        _ => Err(Ambiguous("its Transfer-Encoding is not `chunked` alone")),
    }
}

/// `uri-host [ ":" port ]` of RFC 3986 §3.2.2; the host may be empty.
fn is_host(value: &[u8]) -> bool {
    let (host_is_one, port) = match value.strip_prefix(b"[") {
        Some(rest) => {
            let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
            let address = std::str::from_utf8(&rest[..end])
                .ok()
                .and_then(|text| text.parse::<Ipv6Addr>().ok());
            (address.is_some(), &rest[end + 1..])
        }
        None => {
            let end = value.iter().position(|byte| *byte == b':').unwrap_or(value.len());
            (value[..end].iter().all(|byte| is_name_byte(*byte)), &value[end..])
        }
    };
    host_is_one && (port.is_empty() || port[0] == b':' && port[1..].iter().all(u8::is_ascii_digit))
}

/// Unreserved, a sub-delimiter, or part of a percent-escape.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn refused(version: Version, lines: &[(&str, &str)]) -> Option<String> {
        let header = |(name, value): &(&str, &str)| -> (HeaderName, HeaderValue) {
            (name.parse().unwrap(), value.parse().unwrap())
        };
        let mut headers = HeaderMap::new();
        lines.iter().map(header).for_each(|(name, value)| {
            headers.append(name, value);
        });
        check(version, &headers).err().map(|refused| refused.to_string())
    }

    #[test]
    fn one_valid_host_is_wanted() {
        for host in [
            "localhost",
            "hooks.example.com:443",
            "192.0.2.1:80",
            "[2001:db8::1]:3000",
            "[::1]",
            "",
            "a_b:",
            "h%41",
        ] {
            assert_eq!(refused(Version::HTTP_11, &[("host", host)]), None, "{host:?}");
        }
        for host in [
            "a b",
            "user@host",
            "host:port",
            "a:80:80",
            "[::1",
            "[::g]",
            "[::1]80",
            "http://host",
            "a/b",
            "a?",
            "::1",
        ] {
            let why = refused(Version::HTTP_11, &[("host", host)]);
            assert!(why.is_some_and(|why| why.contains("not a host")), "{host:?}");
        }
    }

    #[test]
    fn none_is_enough_for_http_1_0_and_two_for_nobody() {
        assert_eq!(refused(Version::HTTP_10, &[]), None);
        assert!(refused(Version::HTTP_11, &[]).is_some_and(|why| why.contains("no Host")));
        for version in [Version::HTTP_10, Version::HTTP_11] {
            let twice = refused(version, &[("host", "a"), ("host", "a")]);
            assert!(twice.is_some_and(|why| why.contains("more than one Host")));
        }
    }

    #[test]
    fn chunked_is_the_only_transfer_coding() {
        let of = |codings: &[&str]| {
            let lines: Vec<_> =
                codings.iter().map(|coding| ("transfer-encoding", *coding)).collect();
            refused(Version::HTTP_11, &[&[("host", "a")][..], &lines].concat())
        };
        assert_eq!((of(&["chunked"]), of(&["Chunked "])), (None, None));
        for codings in [
            &["identity, chunked"][..],
            &["identity", "chunked"],
            &["gzip, chunked"],
            &["chunked, chunked"],
        ] {
            assert!(of(codings).is_some_and(|why| why.contains("`chunked` alone")), "{codings:?}");
        }
    }
}
