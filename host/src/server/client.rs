//! The client of a request: the address that the log names, and the share of connections and memory
//! that the request counts for.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::HeaderMap;

use crate::config::Networks;

mod forwarded;

/// The bits of an IPv6 address that a single customer is usually given to vary freely (RFC 4291
/// §2.5.4).
const INTERFACE_BITS: u32 = 64;

/// The key by which limits count a client: an IPv4 address, or an IPv6 network of 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientKey(IpAddr);

impl ClientKey {
    /// The key of an address. An IPv4-mapped IPv6 address is its IPv4 address.
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => {
                let network = u128::from(v6) >> INTERFACE_BITS << INTERFACE_BITS;
                IpAddr::V6(Ipv6Addr::from(network))
            }
            v4 => v4,
        })
    }
}

impl fmt::Display for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(v4) => write!(f, "{v4}"),
            IpAddr::V6(v6) => write!(f, "{v6}/{INTERFACE_BITS}"),
        }
    }
}

/// The other end of a request's connection: a router's handlers find it in the request.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// The client of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    address: IpAddr,
    /// The connection's port, if the client itself made the connection.
    port: Option<u16>,
    /// The key its limits count by; `None` for a trusted proxy that does not name its client.
    pub key: Option<ClientKey>,
}

impl Client {
    /// The client of a request that `peer` sent: `peer` itself, or the one that it forwards for if
    /// it is a trusted proxy.
    pub fn of(peer: SocketAddr, headers: &HeaderMap, trusted: &Networks) -> Self {
        let direct = Self { address: peer.ip().to_canonical(), port: Some(peer.port()), key: None };
        if !trusted.contain(peer.ip()) {
            return Self { key: Some(ClientKey::of(peer.ip())), ..direct };
        }
        match forwarded::client(headers, trusted) {
            Some(address) => Self { address, port: None, key: Some(ClientKey::of(address)) },
            None => direct,
        }
    }

    /// Its address.
    pub fn address(&self) -> IpAddr {
        self.address
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}", SocketAddr::new(self.address, port)),
            None => write!(f, "{}", self.address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(address: &str) -> String {
        ClientKey::of(address.parse().unwrap()).to_string()
    }

    fn client(peer: &str, forwarded_for: Option<&'static str>) -> (String, Option<String>) {
        let mut headers = HeaderMap::new();
        if let Some(value) = forwarded_for {
            headers.insert("x-forwarded-for", value.parse().unwrap());
        }
        let client = Client::of(peer.parse().unwrap(), &headers, &Networks::of(&["10.0.0.0/8"]));
        (client.to_string(), client.key.map(|key| key.to_string()))
    }

    #[test]
    fn an_ipv4_address_and_an_ipv6_network_of_64_bits_have_a_share_each() {
        assert_eq!(key("192.0.2.1"), "192.0.2.1");
        assert_eq!(key("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(key("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(key("2001:db8:1:2::"), key("2001:db8:1:2:ffff::1"));
        assert_ne!(key("2001:db8:1:2::"), key("2001:db8:1:3::"));
    }

    #[test]
    fn whom_a_trusted_proxy_forwards_for_is_the_client() {
        let seen = client("10.1.2.3:4000", Some("203.0.113.9"));
        assert_eq!(seen, ("203.0.113.9".to_owned(), Some("203.0.113.9".to_owned())));
    }

    #[test]
    fn a_stranger_is_its_own_client_whatever_it_says() {
        let seen = client("192.0.2.1:4000", Some("203.0.113.9"));
        assert_eq!(seen, ("192.0.2.1:4000".to_owned(), Some("192.0.2.1".to_owned())));
    }

    #[test]
    fn a_trusted_proxy_that_does_not_say_for_whom_has_no_share_to_keep_to() {
        for said in [None, Some("unknown"), Some("10.9.9.9")] {
            assert_eq!(
                client("10.1.2.3:4000", said),
                ("10.1.2.3:4000".to_owned(), None),
                "{said:?}"
            );
        }
    }
}
