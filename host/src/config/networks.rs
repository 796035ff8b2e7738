//! Networks of IP addresses in CIDR form (RFC 4632, RFC 4291 §2.3), as `[server] trusted_proxies`
//! lists them.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::raw::Item;
use super::warnings::Warning;

/// The most networks in one list. Each is compared with the address of every connection.
const MAX_NETWORKS: usize = 256;

/// A list of networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Whether `address` is in one of them. An IPv4 address in the form of IPv6
    /// (`::ffff:192.0.2.1`) counts as IPv4.
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn of(texts: &[&str]) -> Self {
        Self(texts.iter().map(|text| network(text).expect("a network")).collect())
    }
}

/// Reads a list of networks, or a single one.
pub(super) fn read(item: &Item<'_>) -> Networks {
    let items = item.one_or_many();
    if items.len() > MAX_NETWORKS {
        let help = format!(
            "list at most {MAX_NETWORKS}; neighbouring networks can often be written as one"
        );
        item.refuse(format_args!("lists {} networks", items.len()), help);
        return Networks::default();
    }
    let read = |item: &Item<'_>| {
        let text = item.text("[\"127.0.0.1/32\"]")?;
        network(text)
            .map_err(|(what, help)| item.refuse(format_args!("is \"{text}\", {what}"), help))
            .ok()
    };
    let networks: Vec<IpNet> = items.iter().filter_map(read).collect();
    if networks.iter().any(|network| network.prefix_len() == 0) {
        item.sink().warn(Warning::new(format!(
            "`{}` trusts every address: any client can say that it is another",
            item.path
        )));
    }
    Networks(networks)
}

/// The network that `text` names, or what it is instead and what to write.
fn network(text: &str) -> Result<IpNet, (&'static str, String)> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        let help = match text.parse::<SocketAddr>() {
            Ok(socket) => format!("write \"{}\", without the port", socket.ip()),
            Err(_) => "write a network such as \"10.0.0.0/8\" or an address such as \"127.0.0.1\"; names are not \
                looked up"
                .to_owned(),
        };
        return Err(("which is not a network of IP addresses", help));
    };
    let full = if address.is_ipv4() { 32 } else { 128 };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let length = match length {
        Some(text) if is_number(text) => text.parse().ok(),
        Some(_) => None,
        None => Some(full),
    };
    let Some(network) = length.and_then(|length| IpNet::new(address, length).ok()) else {
        return Err((
            "whose length is not one",
            format!("write a whole number from 0 to {full} after the `/`"),
        ));
    };
    if let IpAddr::V6(v6) = address
        && let Some(v4) = v6.to_ipv4_mapped()
    {
        let v4 = IpNet::from(IpAddr::V4(v4));
        let bits = network.prefix_len().saturating_sub(96);
        let v4 = IpNet::new(v4.addr(), bits).unwrap_or(v4).trunc();
        return Err(("which is IPv4 in the form of IPv6", format!("write it as IPv4: \"{v4}\"")));
    }
    if network.trunc() != network {
        let help = format!(
            "write \"{}\" for the network, or \"{address}\" for this address alone",
            network.trunc()
        );
        return Err(("an address within its network and not the network", help));
    }
    Ok(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_its_addresses_and_no_others() {
        let networks = Networks::of(&["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::1"]);
        for inside in ["10.255.0.1", "192.0.2.7", "2001:db8:1::5", "::1", "::ffff:10.1.2.3"] {
            assert!(networks.contain(inside.parse().unwrap()), "{inside}");
        }
        for outside in
            ["11.0.0.0", "192.0.2.8", "2001:db9::", "::2", "::ffff:11.0.0.1", "::10.0.0.1"]
        {
            assert!(!networks.contain(outside.parse().unwrap()), "{outside}");
        }
        assert!(!Networks::default().contain("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn all_addresses_can_be_a_network() {
        let all = Networks::of(&["0.0.0.0/0", "::/0"]);
        assert!(
            all.contain("203.0.113.9".parse().unwrap())
                && all.contain("2001:db8::1".parse().unwrap())
        );
    }
}
