//! Which addresses may be connected to.
//!
//! Public is what the special-purpose registries of IANA (RFC 6890) do not set apart:
//! <https://www.iana.org/assignments/iana-ipv4-special-registry> and
//! <https://www.iana.org/assignments/iana-ipv6-special-registry>. Of IPv6 only 2000::/3, all that is given out (RFC 4291
//! §2.4), without the blocks in it that carry other addresses or none.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Anybody's.
    Public,
    /// This machine's or a local network's: only with `private = true`.
    Private,
    /// No host's: nobody can be granted it.
    Never,
}

type V4 = ([u8; 4], u32);
type V6 = ([u16; 8], u32);

/// Of this machine and of local networks.
const PRIVATE_V4: [V4; 6] = [
    ([10, 0, 0, 0], 8),     // RFC 1918
    ([100, 64, 0, 0], 10),  // shared by the customers of a provider, RFC 6598
    ([127, 0, 0, 0], 8),    // loopback
    ([169, 254, 0, 0], 16), // link-local, and the metadata of clouds
    ([172, 16, 0, 0], 12),  // RFC 1918
    ([192, 168, 0, 0], 16), // RFC 1918
];

const NEVER_V4: [V4; 8] = [
    ([0, 0, 0, 0], 8),       // this network; many systems take it for loopback
    ([192, 0, 0, 0], 24),    // protocol assignments, RFC 6890
    ([192, 0, 2, 0], 24),    // documentation, RFC 5737
    ([192, 88, 99, 0], 24),  // relays of 6to4, RFC 7526
    ([198, 18, 0, 0], 15),   // benchmarks, RFC 2544
    ([198, 51, 100, 0], 24), // documentation
    ([203, 0, 113, 0], 24),  // documentation
    ([224, 0, 0, 0], 3),     // multicast, reserved, broadcast
];

const PRIVATE_V6: [V6; 3] = [
    ([0, 0, 0, 0, 0, 0, 0, 1], 128),     // loopback
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),  // unique local, RFC 4193
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), // link-local
];

/// All that is given out.
const GLOBAL_V6: V6 = ([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// Within [`GLOBAL_V6`].
const NEVER_V6: [V6; 4] = [
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), // protocol assignments: Teredo, benchmarks, ORCHID and more, RFC 2928
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), // documentation, RFC 3849
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), // 6to4, RFC 3056
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), // documentation, RFC 9637
];

impl Class {
    /// The class of an address. An IPv4 address in an IPv6 one (`::ffff:…`) is what it is in IPv4, but never public: no
    /// resolver answers with one, unless it is meant to pass for something else.
    pub(super) fn of(address: IpAddr) -> Self {
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
        let within =
            |(block, bits): &V4| u32::from(address) >> (32 - bits) == u32::from(Ipv4Addr::from(*block)) >> (32 - bits);
        match () {
            () if PRIVATE_V4.iter().any(within) => Self::Private,
            () if NEVER_V4.iter().any(within) => Self::Never,
            () => Self::Public,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        let within = |(block, bits): &V6| {
            u128::from(address) >> (128 - bits) == u128::from(Ipv6Addr::from(*block)) >> (128 - bits)
        };
        match () {
            () if PRIVATE_V6.iter().any(within) => Self::Private,
            () if !within(&GLOBAL_V6) || NEVER_V6.iter().any(within) => Self::Never,
            () => Self::Public,
        }
    }

    /// Whether a rule lets it be connected to.
    pub(super) fn allowed(self, private: bool) -> bool {
        self == Self::Public || private && self == Self::Private
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn all(class: Class, addresses: &str) {
        for text in addresses.split_whitespace() {
            assert_eq!(Class::of(text.parse().unwrap()), class, "{text}");
        }
    }

    #[test]
    fn what_anybody_can_reach_is_public() {
        all(Class::Public, "1.1.1.1 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0");
        all(
            Class::Public,
            "169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.167.255.255 192.169.0.0 198.17.255.255",
        );
        all(
            Class::Public,
            "198.20.0.0 223.255.255.255 192.0.1.0 192.0.3.0 2606:4700::1111 2a00:1450::1 2003::1 2001:200::1",
        );
        all(Class::Public, "3ffe:ffff::1 3fff:1000::1");
    }

    #[test]
    fn what_is_near_is_private() {
        all(Class::Private, "10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 127.0.0.1 127.255.255.255 169.254.0.0");
        all(Class::Private, "169.254.169.254 172.16.0.0 172.31.255.255 192.168.0.0 192.168.255.255 ::1 fc00:: fdff::1");
        all(Class::Private, "fe80::1 febf:ffff::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:1.1.1.1");
    }

    #[test]
    fn what_is_no_hosts_is_never_reached() {
        all(
            Class::Never,
            "0.0.0.0 0.255.255.255 192.0.0.0 192.0.0.255 192.0.2.1 192.88.99.1 198.18.0.0 198.19.255.255",
        );
        all(Class::Never, "198.51.100.1 203.0.113.255 224.0.0.1 239.255.255.255 240.0.0.0 255.255.255.255");
        all(
            Class::Never,
            ":: ::2 ::127.0.0.1 ::ffff:0.0.0.0 ::ffff:224.0.0.1 64:ff9b::7f00:1 64:ff9b:1::1 100::1 fec0::1",
        );
        all(
            Class::Never,
            "2001::1 2001:10::1 2001:20::1 2001:1ff:ffff::1 2001:db8::1 2002:7f00:1:: 3fff::1 3fff:fff::1",
        );
        all(Class::Never, "5f00::1 4000::1 1fff::1 ff02::1 ffff::1");
    }
}
