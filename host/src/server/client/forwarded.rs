//! The client that a trusted proxy forwards for: `X-Forwarded-For`, and `Forwarded` (RFC 7239).
//!
//! Each proxy appends the address that connected to it, so the list is read from its right end,
//! past trusted proxies. The first address that is not trusted is the client; everything to the
//! left of it is the client's own claim and is ignored.
//!
//! `X-Forwarded-For` wins where both are there: most proxies append to it alone and pass the other
//! header on as the client sent it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::header::{FORWARDED, HeaderName};
use axum::http::{HeaderMap, HeaderValue};

use crate::config::Networks;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The most proxies in a chain.
const MAX_HOPS: usize = 32;

/// The address that the trusted proxies forward for; `None` if they do not name one that can be
/// read.
pub(super) fn client(headers: &HeaderMap, trusted: &Networks) -> Option<IpAddr> {
    nearest(headers, &X_FORWARDED_FOR, address, trusted).or_else(|| {
        nearest(headers, &FORWARDED, |element| address(forwarded_for(element)?), trusted)
    })
}

/// The rightmost address that is not trusted. The search ends at an element that is no address,
/// because nothing is known of what is behind it.
fn nearest(
    headers: &HeaderMap,
    name: &HeaderName,
    read: impl Fn(&str) -> Option<IpAddr>,
    trusted: &Networks,
) -> Option<IpAddr> {
    let lines = headers.get_all(name).iter().rev().map(HeaderValue::as_bytes);
    let elements = lines.flat_map(|line| line.rsplit(|byte| *byte == b','));
    for element in elements.take(MAX_HOPS) {
        let address = read(std::str::from_utf8(element).ok()?.trim())?;
        if !trusted.contain(address) {
            return Some(address);
        }
    }
    None
}

/// An address, with or without a port; one of IPv6 may stand in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare =
        || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let address = text.parse::<IpAddr>().ok().or_else(bare);
    let address = address.or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    address.map(|address| address.to_canonical())
}

/// The node of `for=` in one element, without its quotes. No address contains `;`, `,` or `"`, so
/// an element with such a quoted string is split wrongly and reads as malformed, which it may.
fn forwarded_for(element: &str) -> Option<&str> {
    let mut nodes = element.split(';').filter_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        name.eq_ignore_ascii_case("for").then_some(value)
    });
    let node = nodes.next()?;
    // Of two nodes in one element, nobody can say which one the proxy has added.
    if nodes.next().is_some() {
        return None;
    }
    match node.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"'),
        None => Some(node),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(&'static str, &'static str)]) -> Option<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        client(&map, &Networks::of(&["10.0.0.0/8", "fd00::/8"])).map(|address| address.to_string())
    }

    fn listed(value: &'static str) -> Option<String> {
        of(&[("x-forwarded-for", value)])
    }

    fn forwarded(value: &'static str) -> Option<String> {
        of(&[("forwarded", value)])
    }

    #[test]
    fn the_rightmost_address_that_is_not_trusted_is_the_client() {
        assert_eq!(listed("203.0.113.9").as_deref(), Some("203.0.113.9"));
        assert_eq!(listed("1.1.1.1, 203.0.113.9").as_deref(), Some("203.0.113.9"));
        assert_eq!(
            listed("1.1.1.1, 203.0.113.9, 10.0.0.1,10.0.0.2").as_deref(),
            Some("203.0.113.9")
        );
        assert_eq!(
            forwarded("for=1.1.1.1, for=203.0.113.9;proto=https").as_deref(),
            Some("203.0.113.9")
        );
        assert_eq!(
            forwarded("for=203.0.113.9, by=_a;FOR=10.0.0.1").as_deref(),
            Some("203.0.113.9")
        );
    }

    #[test]
    fn several_lines_are_one_list() {
        let lines = [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "203.0.113.9, 10.0.0.1")];
        assert_eq!(of(&lines).as_deref(), Some("203.0.113.9"));
        let lines = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "10.0.0.1")];
        assert_eq!(of(&lines).as_deref(), Some("203.0.113.9"));
    }

    #[test]
    fn what_the_client_itself_claims_is_not_looked_at() {
        assert_eq!(listed("no address, 203.0.113.9").as_deref(), Some("203.0.113.9"));
        assert_eq!(forwarded("for=\"\"\", for=203.0.113.9").as_deref(), Some("203.0.113.9"));
    }

    #[test]
    fn addresses_may_have_ports_brackets_and_quotes() {
        assert_eq!(listed("203.0.113.9:4711").as_deref(), Some("203.0.113.9"));
        assert_eq!(listed("[2001:db8::1]:4711").as_deref(), Some("2001:db8::1"));
        assert_eq!(listed("2001:db8::1").as_deref(), Some("2001:db8::1"));
        assert_eq!(listed("::ffff:203.0.113.9").as_deref(), Some("203.0.113.9"));
        assert_eq!(forwarded(r#"for="[2001:db8::1]""#).as_deref(), Some("2001:db8::1"));
        assert_eq!(
            forwarded(r#"For="[2001:db8::1]:4711"; host=x"#).as_deref(),
            Some("2001:db8::1")
        );
        assert_eq!(forwarded(r#"for="203.0.113.9:80""#).as_deref(), Some("203.0.113.9"));
    }

    #[test]
    fn what_cannot_be_read_or_names_trusted_proxies_only_names_no_client() {
        for value in [
            "",
            ",",
            "unknown",
            "_hidden",
            "203.0.113.9,",
            "10.0.0.1",
            "fd00::1, 10.0.0.1",
            "300.1.1.1",
        ] {
            assert_eq!(listed(value), None, "{value:?}");
        }
        for value in [
            "",
            "for",
            "for=",
            "for=unknown",
            "for=_x",
            "by=203.0.113.9",
            "for=\"1.1.1.1",
            "for=1.1.1.1;for=2.2.2.2",
        ] {
            assert_eq!(forwarded(value), None, "{value:?}");
        }
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn a_chain_without_end_names_no_client() {
        let value: &'static str =
            Box::leak(format!("203.0.113.9{}", ",10.0.0.1".repeat(MAX_HOPS)).into_boxed_str());
        assert_eq!(listed(value), None);
    }

    #[test]
    fn the_header_that_most_proxies_write_counts_where_both_are_there() {
        let both = [("forwarded", "for=1.1.1.1"), ("x-forwarded-for", "203.0.113.9")];
        assert_eq!(of(&both).as_deref(), Some("203.0.113.9"));
        let unreadable = [("forwarded", "for=203.0.113.9"), ("x-forwarded-for", "unknown")];
        assert_eq!(of(&unreadable).as_deref(), Some("203.0.113.9"));
    }
}
