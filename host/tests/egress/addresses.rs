//! Every address that is not public, as a literal and as an answer of the resolver, with and
//! without `private = true`.

use std::sync::Arc;

use hookbox::config::{Grants, HostPattern, HttpRule, Limits};

use super::world::World;

/// Of this machine and of local networks: the first and the last of each block, and addresses that
/// people attack.
const PRIVATE: [&str; 27] = [
    "127.0.0.1",
    "127.0.0.0",
    "127.255.255.255",
    "127.1.2.3",
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.0",
    "100.100.100.200",
    "100.127.255.255",
    "169.254.0.0",
    "169.254.169.254",
    "169.254.170.2",
    "169.254.255.255",
    "172.16.0.0",
    "172.31.255.255",
    "192.168.0.0",
    "192.168.255.255",
    "::1",
    "fc00::",
    "fd00:ec2::254",
    "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "fe80::",
    "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::ffff:169.254.169.254",
    "::ffff:8.8.8.8",
];

/// No host's, or another address in disguise.
const NEVER: [&str; 48] = [
    "0.0.0.0",
    "0.0.0.1",
    "0.255.255.255",
    "192.0.0.0",
    "192.0.0.192",
    "192.0.0.255",
    "192.0.2.0",
    "192.0.2.255",
    "192.88.99.0",
    "198.18.0.0",
    "198.19.255.255",
    "198.51.100.0",
    "203.0.113.0",
    "224.0.0.0",
    "239.255.255.255",
    "240.0.0.0",
    "255.255.255.254",
    "255.255.255.255",
    "::",
    "::2",
    "::127.0.0.1",
    "::169.254.169.254",
    "::ffff:0.0.0.0",
    "::ffff:224.0.0.1",
    "::ffff:255.255.255.255",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::127.0.0.1",
    "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
    "100::",
    "100::ffff:ffff:ffff:ffff",
    "2001::",
    "2001:0:7f00:1::",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
    "2001:2::1",
    "2001:10::1",
    "2001:1f:ffff::",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "3fff::1",
    "3fff:fff:ffff::",
    "5f00::1",
    "fec0::1",
    "ff02::1",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
];

const NAME: &str = "api.example.com";

fn literal(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

/// Sends as far as it goes; what was dialled, and what the failure says.
async fn attempt(address: &str, by_name: bool, private: bool) -> (Vec<String>, String) {
    let world = World::new().await;
    let private = if private { ", private = true" } else { "" };
    world.net.answer(NAME, &[&[address]]);
    let rules = world
        .grants(&format!("[{{ scheme = \"http\", host = \"{NAME}\", port = PORT{private} }}]"));
    let mut rule = HttpRule::clone(&rules.http[0]);
    if !by_name {
        // The configuration refuses most of these: what is asked here is whether they would get
        // further.
        rule.host = HostPattern::Address(address.parse().unwrap());
    }
    let attempt =
        world.attempt("guest", &Arc::new(Grants { http: vec![Arc::new(rule)] }), Limits::default());
    let url = format!("http://{}:PORT/", if by_name { NAME.to_owned() } else { literal(address) });
    let said = attempt.get(&url).await.err().map(|failure| failure.to_string()).unwrap_or_default();
    let dialled = world.net.dialled();
    if dialled.is_empty() {
        assert_eq!((world.canary.opened(), world.internet.opened()), (0, 0), "{address}");
        assert!(attempt.line().contains(&said), "{address}: the log says why");
    }
    (dialled, said)
}

/// The number of attacks.
pub(super) async fn attack() -> usize {
    let mut rows = 0;
    for (address, private) in
        PRIVATE.map(|address| (address, true)).into_iter().chain(NEVER.map(|it| (it, false)))
    {
        for by_name in [true, false] {
            let (dialled, said) = attempt(address, by_name, false).await;
            assert!(dialled.is_empty(), "{address} was dialled");
            assert!(said.contains("not a public address"), "{address}: {said}");
            assert_eq!(
                said.contains("add private = true to the rule for"),
                private,
                "{address}: {said}"
            );
            let (dialled, said) = attempt(address, by_name, true).await;
            let same = |dialled: &String| {
                dialled.parse::<std::net::IpAddr>().unwrap()
                    == address.parse::<std::net::IpAddr>().unwrap()
            };
            assert_eq!(
                dialled.iter().filter(|dialled| same(dialled)).count(),
                usize::from(private),
                "{address}: {said}"
            );
            assert_eq!(dialled.len(), usize::from(private), "{address}");
            // A private address under a rule that allows it is no attack.
            rows += 1 + usize::from(!private);
        }
    }
    rows
}
