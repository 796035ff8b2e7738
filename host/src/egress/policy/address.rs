//! Which addresses may be connected to.
//!
//! An IPv4 address is public unless IANA's special-purpose registry (RFC 6890) sets it apart:
//! <https://www.iana.org/assignments/iana-ipv4-special-registry>. An IPv6 address is public within
//! 2000::/3, which is all that is allocated (RFC 4291 §2.4), except for the special-purpose blocks
//! in it: <https://www.iana.org/assignments/iana-ipv6-special-registry>.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The user of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::egress) enum AddressClass {
    /// Any host of the internet.
    Public,
    /// This machine or a local network: reachable only with `private = true`.
    Private,
    /// No host: no rule can allow it.
    Never,
}

type Ipv4Block = ([u8; 4], u32);
type Ipv6Block = ([u16; 8], u32);

/// This machine and local networks.
const PRIVATE_V4: [Ipv4Block; 6] = [
    ([10, 0, 0, 0], 8),     // RFC 1918
    ([100, 64, 0, 0], 10),  // shared by the customers of a provider, RFC 6598
    ([127, 0, 0, 0], 8),    // loopback
    ([169, 254, 0, 0], 16), // link-local, and the metadata of clouds
    ([172, 16, 0, 0], 12),  // RFC 1918
    ([192, 168, 0, 0], 16), // RFC 1918
];

const NEVER_V4: [Ipv4Block; 8] = [
    ([0, 0, 0, 0], 8),       // this network; many systems take it for loopback
    ([192, 0, 0, 0], 24),    // protocol assignments, RFC 6890
    ([192, 0, 2, 0], 24),    // documentation, RFC 5737
    ([192, 88, 99, 0], 24),  // relays of 6to4, RFC 7526
    ([198, 18, 0, 0], 15),   // benchmarks, RFC 2544
    ([198, 51, 100, 0], 24), // documentation
    ([203, 0, 113, 0], 24),  // documentation
    ([224, 0, 0, 0], 3),     // multicast, reserved, broadcast
];

const PRIVATE_V6: [Ipv6Block; 3] = [
    ([0, 0, 0, 0, 0, 0, 0, 1], 128),     // loopback
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),  // unique local, RFC 4193
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), // link-local
];

/// All that is allocated.
const GLOBAL_V6: Ipv6Block = ([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// Within [`GLOBAL_V6`].
const NEVER_V6: [Ipv6Block; 4] = [
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), // protocol assignments (Teredo, ORCHID and more), RFC 2928
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), // documentation, RFC 3849
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), // 6to4, RFC 3056
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), // documentation, RFC 9637
];

impl AddressClass {
    /// The class of an address. An IPv4-mapped IPv6 address (`::ffff:…`) has the class of its IPv4
    /// address, but is never public: a resolver returns one only to disguise the other.
    pub(in crate::egress) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => match address.to_ipv4_mapped().map(Self::of_v4) {
                Some(Self::Never) => Self::Never,
                Some(Self::Public | Self::Private) => Self::Private,
                None => Self::of_v6(address),
            },
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        let within = |(block, bits): &Ipv4Block| {
            u32::from(address) >> (32 - bits) == u32::from(Ipv4Addr::from(*block)) >> (32 - bits)
        };
        if PRIVATE_V4.iter().any(within) {
            Self::Private
        } else if NEVER_V4.iter().any(within) {
            Self::Never
        } else {
            Self::Public
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        let within = |(block, bits): &Ipv6Block| {
            u128::from(address) >> (128 - bits)
                == u128::from(Ipv6Addr::from(*block)) >> (128 - bits)
        };
        if PRIVATE_V6.iter().any(within) {
            Self::Private
        } else if !within(&GLOBAL_V6) || NEVER_V6.iter().any(within) {
            Self::Never
        } else {
            Self::Public
        }
    }

    /// Whether a rule allows it: any rule a public address, one with `private = true` a private
    /// one.
    pub(in crate::egress) fn allowed(self, private: bool) -> bool {
        self == Self::Public || private && self == Self::Private
    }
}

#[cfg(test)]
mod tests {
    use super::AddressClass::{Never, Private, Public};
    use super::*;

    #[track_caller]
    fn all(class: AddressClass, addresses: &str) {
        for text in addresses.split_whitespace() {
            assert_eq!(AddressClass::of(text.parse().unwrap()), class, "{text}");
        }
    }

    #[test]
    fn what_anybody_can_reach_is_public() {
        all(
            Public,
            "1.1.1.1 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0",
        );
        all(
            Public,
            "169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.167.255.255 192.169.0.0 198.17.255.255",
        );
        all(
            Public,
            "198.20.0.0 223.255.255.255 192.0.1.0 192.0.3.0 2606:4700::1111 2a00:1450::1 2003::1 2001:200::1",
        );
        all(Public, "3ffe:ffff::1 3fff:1000::1");
    }

    #[test]
    fn what_is_near_is_private() {
        all(
            Private,
            "10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 127.0.0.1 127.255.255.255 169.254.0.0",
        );
        all(
            Private,
            "169.254.169.254 172.16.0.0 172.31.255.255 192.168.0.0 192.168.255.255 ::1 fc00:: fdff::1",
        );
        all(Private, "fe80::1 febf:ffff::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:1.1.1.1");
    }

    #[test]
    fn what_is_no_hosts_is_never_reached() {
        all(
            Never,
            "0.0.0.0 0.255.255.255 192.0.0.0 192.0.0.255 192.0.2.1 192.88.99.1 198.18.0.0 198.19.255.255",
        );
        all(
            Never,
            "198.51.100.1 203.0.113.255 224.0.0.1 239.255.255.255 240.0.0.0 255.255.255.255",
        );
        all(
            Never,
            ":: ::2 ::127.0.0.1 ::ffff:0.0.0.0 ::ffff:224.0.0.1 64:ff9b::7f00:1 64:ff9b:1::1 100::1 fec0::1",
        );
        all(
            Never,
            "2001::1 2001:10::1 2001:20::1 2001:1ff:ffff::1 2001:db8::1 2002:7f00:1:: 3fff::1 3fff:fff::1",
        );
        all(Never, "5f00::1 4000::1 1fff::1 ff02::1 ffff::1");
    }
}
