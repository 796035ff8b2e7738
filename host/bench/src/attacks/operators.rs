//! Operators who list as fast as they can.

use super::client::{Load, send};
use super::host::{Binary, Host, NEAR, Site};
use super::turn::Turn;
use super::{Acks, Attack, Good};
use hookbox_tools::Result;

/// Events that are stored.
const STORED: usize = 30_000;

/// Clients.
const CLIENTS: usize = 10;

/// Listings that look at every event.
const SEARCHES: &[&str] = &["events?q=occurs_nowhere"];

/// Listings of every kind.
const MIX: &[&str] = &[
    "events?limit=500",
    "events?q=occurs_nowhere",
    "deliveries?state=dead&limit=500",
    "deliveries?plugin=good&limit=500",
    "events?type=stored.one&limit=500",
    "events?subject=order_000000000001",
    "stats",
];

/// The attacks of this file.
pub(super) fn attacks() -> Vec<Box<dyn Attack>> {
    vec![
        Box::new(Listings { name: "operators-q", what: "with `q=`", paths: SEARCHES }),
        Box::new(Listings { name: "operators-mix", what: "all kinds of listings", paths: MIX }),
    ]
}

/// Ten clients that ask the same again and again.
#[derive(Debug)]
struct Listings {
    name: &'static str,
    what: &'static str,
    paths: &'static [&'static str],
}

impl Attack for Listings {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn what(&self) -> String {
        format!("ten clients list in a loop, {}", self.what)
    }

    fn site(&self, _: &Binary) -> Site {
        Site::default()
    }

    fn prepare(&self, host: &Host) -> Result {
        host.fill("stored.one", STORED)
    }

    fn attack(&self, host: &Host, turn: &Turn) -> Result {
        let request = |path: &&str| {
            format!("GET /api/v1/{path} HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes()
        };
        let requests: Vec<Vec<u8>> = self.paths.iter().map(request).collect();
        let (count, connections) = (usize::MAX, CLIENTS);
        let load =
            Load { from: NEAR, requests: &requests, count, rate: None, connections, fresh: false };
        turn.begin();
        send(host.admin()?, load, turn.over()).map(drop)
    }

    fn good(&self) -> Option<Good> {
        Some(Good { acks: Some(Acks { times: 3.0, or_ms: 25.0 }), fresh: false })
    }
}
