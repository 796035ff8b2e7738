//! Attacks on the public door: connections that say nothing, bodies that nobody signed, and a
//! source that floods.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::client::{Load, send};
use super::host::{ATTACKED, Binary, FAR, Host, Site};
use super::turn::Turn;
use super::{Acks, Attack, Beside, Good, idle, slow};
use crate::figures::{Figure, Wanted};
use hookbox_tools::Result;

/// Idle connections: more than a host takes, half as many again, and twice as many.
const IDLE: [usize; 3] = [4_200, 6_000, 9_000];

/// Signed requests a second.
const FLOOD_RATE: f64 = 10_000.0;
/// Seconds of them.
const FLOOD: usize = 12;

/// The attacks of this file.
pub(super) fn attacks() -> Vec<Box<dyn Attack>> {
    let mut all: Vec<Box<dyn Attack>> = Vec::new();
    all.extend(IDLE.map(|count| Box::new(Idle { count, peers: 1 }) as Box<dyn Attack>));
    all.push(Box::new(Idle { count: 9_000, peers: 9 }));
    all.extend([false, true].map(|forged| {
        let [sent_bytes, connections] = [0; 2].map(AtomicUsize::new);
        Box::new(Slow { forged, sent_bytes, connections }) as Box<dyn Attack>
    }));
    all.push(Box::new(Flood::default()));
    all.push(Box::new(Flood { routed: true, ..Flood::default() }));
    all
}

/// Connections that send nothing, opened again whenever they are closed.
#[derive(Debug)]
struct Idle {
    count: usize,
    /// Addresses that they come from.
    peers: u8,
}

impl Attack for Idle {
    fn name(&self) -> String {
        if self.peers == 1 {
            format!("idle-{}", self.count)
        } else {
            format!("idle-{}-peers", self.count)
        }
    }

    fn what(&self) -> String {
        format!(
            "{} idle connections of {}; the good client's are new",
            self.count,
            peers(self.peers)
        )
    }

    fn site(&self, _: &Binary) -> Site {
        Site::default()
    }

    fn attack(&self, host: &Host, turn: &Turn) -> Result {
        let from: Vec<Ipv4Addr> =
            (0..self.peers).map(|peer| Ipv4Addr::new(127, 0, 0, 2 + peer)).collect();
        idle::hold(host.public(), &from, self.count, turn)
    }

    fn good(&self) -> Option<Good> {
        Some(Good { acks: Some(Acks { times: 5.0, or_ms: 100.0 }), fresh: true })
    }
}

fn peers(count: u8) -> String {
    if count == 1 { "one address".to_owned() } else { format!("{count} addresses") }
}

/// Requests without a valid signature whose bodies do not end, so that all of them are in memory at
/// once.
#[derive(Debug)]
struct Slow {
    /// They have the signature of something else.
    forged: bool,
    sent_bytes: AtomicUsize,
    connections: AtomicUsize,
}

impl Attack for Slow {
    fn name(&self) -> String {
        if self.forged { "bodies-forged" } else { "bodies-unsigned" }.to_owned()
    }

    fn what(&self) -> String {
        let which = if self.forged { "with a forged signature" } else { "without a signature" };
        format!("bodies {which}, 35 MiB/s from 310 connections of one address")
    }

    fn site(&self, _: &Binary) -> Site {
        Site::default()
    }

    fn attack(&self, host: &Host, turn: &Turn) -> Result {
        let [sent_bytes, connections] =
            slow::send(host.public(), FAR, ATTACKED, self.forged, turn)?;
        self.sent_bytes.store(sent_bytes, Ordering::Relaxed);
        self.connections.store(connections, Ordering::Relaxed);
        Ok(())
    }

    fn figures(&self, _: &Host, _: &Beside) -> Result<Vec<Figure>> {
        let sent_mib = (self.sent_bytes.load(Ordering::Relaxed) >> 20) as f64;
        let connections = self.connections.load(Ordering::Relaxed) as f64;
        Ok(vec![
            Figure::new("bodies sent", sent_mib, "MiB", Wanted::Known),
            Figure::new("connections", connections, "", Wanted::Known),
        ])
    }
}

/// Signed requests to another source, as many as a sender can.
#[derive(Debug, Default)]
struct Flood {
    /// A plugin gets them, which does nothing.
    routed: bool,
    /// Requests that were answered; below, those that were acknowledged.
    answered: AtomicUsize,
    acknowledged: AtomicUsize,
}

impl Attack for Flood {
    fn name(&self) -> String {
        if self.routed { "flood-routed" } else { "flood" }.to_owned()
    }

    fn what(&self) -> String {
        let whose = if self.routed { "whose plugin does nothing" } else { "without a route" };
        format!("10,000 signed requests a second to another source, {whose}")
    }

    fn site(&self, _: &Binary) -> Site {
        if !self.routed {
            return Site::default();
        }
        let plugins = vec![("flooded.wat".to_owned(), "../guests/ok")];
        Site {
            plugins,
            routes: format!("\"{ATTACKED}:flood.one\" = \"flooded\"\n"),
            ..Site::default()
        }
    }

    fn attack(&self, host: &Host, turn: &Turn) -> Result {
        let count = FLOOD_RATE as usize * FLOOD;
        let requests = host.requests(ATTACKED, "flood.one", count, 0);
        let rate = Some(FLOOD_RATE);
        let load =
            Load { from: FAR, requests: &requests, count, rate, connections: 256, fresh: false };
        turn.begin();
        let answers = send(host.public(), load, turn.over())?;
        self.answered.store(
            answers.iter().filter(|answer| answer.status.is_some()).count(),
            Ordering::Relaxed,
        );
        self.acknowledged
            .store(answers.iter().filter(|answer| answer.is_ack()).count(), Ordering::Relaxed);
        Ok(())
    }

    fn figures(&self, _: &Host, beside: &Beside) -> Result<Vec<Figure>> {
        let rate = |count: &AtomicUsize| {
            (count.load(Ordering::Relaxed) as f64 / beside.took.as_secs_f64()).round()
        };
        Ok(vec![
            Figure::new("flood answered", rate(&self.answered), "/s", Wanted::Known),
            Figure::new("of it acknowledged", rate(&self.acknowledged), "/s", Wanted::Known),
        ])
    }

    fn good(&self) -> Option<Good> {
        Some(Good { acks: Some(Acks { times: 3.0, or_ms: 25.0 }), fresh: false })
    }
}
