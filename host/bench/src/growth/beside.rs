//! A host that has much of something, beside one that has nothing: the same load in turns, so that
//! whatever else the machine does meets both alike.

use std::path::{Path, PathBuf};

use super::operators::Operators;
use crate::figures::{Figure, Wanted};
use crate::process::{cpu, resident_mib};
use crate::receivers::{Receiver, Running, plugin};
use crate::requests::{HANDLED, Requests, Spec, Subjects};
use crate::rows::PLUGIN;
use crate::steady::{self, Steady};
use crate::watch::{Accepted, Before, until_loaded};
use crate::wrk::{self, Closed};
use hookbox_tools::{Result, say};

/// Turns; every other one the full host goes first.
const ROUNDS: usize = 4;

/// Connections of the load.
const CONNECTIONS: u32 = 256;

/// Connections that fill a store.
const FILLING: usize = 128;

/// Length of every body.
const BODY_BYTES: usize = 230;

/// Requests signed for each second.
const SIGNED_PER_SECOND: usize = 40_000;

/// Requests signed at a time to fill a store.
const CHUNK: usize = 250_000;

/// The plugin that handles the load.
pub(super) fn handler() -> [(&'static str, PathBuf); 1] {
    [("handler.wasm", plugin("audit.wasm"))]
}

/// The route that leads to it, and room for more.
pub(super) fn routes() -> String {
    format!("[routes]\n\"{HANDLED}\" = \"{PLUGIN}\"\n")
}

/// A host without anything stored, with one route to one plugin.
pub(super) fn empty(sites: &Path) -> Result<Running> {
    let host = Receiver::hookbox(&sites.join("empty"), &handler(), &routes())?.start()?;
    until_loaded(host.admin()?)?;
    Ok(host)
}

/// Two hosts that get the same load in turns.
pub(super) struct Pair<'h> {
    pub(super) full: &'h Running,
    /// The figure of the full one.
    pub(super) what: String,
    pub(super) other: &'h Running,
    /// The figure of the other one.
    pub(super) without: String,
    /// The least rate of the full one, of that of the other.
    pub(super) least: f64,
}

impl<'h> Pair<'h> {
    /// A full host beside an empty one.
    pub(super) fn with(what: impl Into<String>, full: &'h Running, empty: &'h Running) -> Self {
        let without = "with nothing stored".to_owned();
        Self { full, what: what.into(), other: empty, without, least: 0.9 }
    }
}

/// Sends both hosts the whole road in turns. The bodies begin at number `first`, above what they
/// have already.
pub(super) fn beside(
    sites: &Path,
    pair: &Pair<'_>,
    seconds: u32,
    first: usize,
) -> Result<Vec<Figure>> {
    let Pair { full, what, other, without, .. } = pair;
    let count = seconds as usize * SIGNED_PER_SECOND;
    let (mut rates, mut seconds_of_cpu, mut events) = ([0.0; 2], [0.0; 2], [0.0; 2]);
    for round in 0..ROUNDS {
        let spec = Spec {
            kind: HANDLED,
            body_bytes: BODY_BYTES,
            subjects: Subjects::Own,
            first: first + round * count,
            count,
        };
        let requests = Requests::sign(sites.join("requests"), spec)?;
        say(&format!("{what}, beside one {without}: round {} of {ROUNDS}", round + 1));
        for turn in 0..2 {
            let of = (turn + round) % 2;
            let host = [*other, *full][of];
            let before = Before::look(host, PLUGIN)?;
            let cpu_before = cpu(host.pid())?;
            let answered =
                wrk::send(&requests, &host.public, Closed { connections: CONNECTIONS, seconds })?;
            let run = Accepted {
                accepted: answered.requests,
                unread: CONNECTIONS.into(),
                emits: Some(0),
            };
            let settled = before.check(host, PLUGIN, run)? as f64;
            rates[of] += settled / answered.seconds / ROUNDS as f64;
            seconds_of_cpu[of] += (cpu(host.pid())? - cpu_before).as_secs_f64();
            events[of] += settled;
        }
    }
    let micros = [0, 1].map(|of| seconds_of_cpu[of] * 1e6 / events[of]);
    let memory = [resident_mib(other.pid())?, resident_mib(full.pid())?];
    Ok(compared(pair, rates, micros, memory))
}

/// The figures of both hosts, those of the host with nothing first.
fn compared(pair: &Pair<'_>, rates: [f64; 2], micros: [f64; 2], memory: [f64; 2]) -> Vec<Figure> {
    let Pair { what, without, least, .. } = pair;
    vec![
        Figure::new(format!("whole road {without}"), rates[0], "events/s", Wanted::Known),
        Figure::new(
            format!("whole road {what}, of that"),
            rates[1] / rates[0],
            "",
            Wanted::AtLeast(*least),
        ),
        Figure::new(format!("CPU time an event {without}"), micros[0], "µs", Wanted::Known),
        Figure::new(
            format!("CPU time an event {what}, of that"),
            micros[1] / micros[0],
            "",
            Wanted::Known,
        ),
        Figure::new(format!("memory after it {without}"), memory[0], "MiB", Wanted::Known),
        Figure::new(
            format!("memory after it {what}, of that"),
            memory[1] / memory[0],
            "",
            Wanted::AtMost(1.2),
        ),
    ]
}

/// How many requests the turns of [`share`] are signed for.
pub(super) fn signed_for(seconds: u32) -> usize {
    2 * ROUNDS * seconds as usize * SIGNED_PER_SECOND
}

/// The whole road of one host in turns: alone, and with the people that `look` brings. The bodies
/// begin at number `first`.
pub(super) fn share(
    sites: &Path,
    host: &Running,
    seconds: u32,
    first: usize,
    (what, look, wanted): (&str, &dyn Fn() -> Operators, Wanted),
) -> Result<Vec<Figure>> {
    let count = seconds as usize * SIGNED_PER_SECOND;
    let (mut rates, mut answers) = ([0.0; 2], 0);
    for round in 0..ROUNDS {
        say(&format!("{what}: round {} of {ROUNDS}", round + 1));
        for turn in 0..2 {
            let is_watched = (turn + round) % 2 == 1;
            let first = first + (2 * round + turn) * count;
            let spec = filling(HANDLED, Subjects::Own, first, count);
            let requests = Requests::sign(sites.join("requests"), spec)?;
            let operators = is_watched.then(look);
            let before = Before::look(host, PLUGIN)?;
            let closed = Closed { connections: CONNECTIONS, seconds };
            let answered = wrk::send(&requests, &host.public, closed)?;
            let run = Accepted {
                accepted: answered.requests,
                unread: CONNECTIONS.into(),
                emits: Some(0),
            };
            let settled = before.check(host, PLUGIN, run)?;
            rates[usize::from(is_watched)] += settled as f64 / answered.seconds / ROUNDS as f64;
            answers += operators.map_or(Ok(0), Operators::end)?;
        }
    }
    let each = answers as f64 / f64::from(seconds * ROUNDS as u32);
    Ok(vec![
        Figure::new(
            format!("whole road, the turns without: {what}"),
            rates[0],
            "events/s",
            Wanted::Known,
        ),
        Figure::new(format!("whole road {what}, of that"), rates[1] / rates[0], "", wanted),
        Figure::new(format!("answers {what}"), each, "/s", Wanted::Known),
    ])
}

/// The requests that fill a store: `count` of them, from number `first` on.
pub(super) fn filling(kind: &'static str, subjects: Subjects, first: usize, count: usize) -> Spec {
    Spec { kind, body_bytes: BODY_BYTES, subjects, first, count }
}

/// Stores the events of `spec`, each acknowledged; if they are handled, each is waited for.
pub(super) fn fill(sites: &Path, host: &Running, spec: Spec, is_handled: bool) -> Result {
    let emits = is_handled.then_some(0);
    for offset in (0..spec.count).step_by(CHUNK) {
        let count = CHUNK.min(spec.count - offset);
        let part = Spec { first: spec.first + offset, count, ..spec };
        let requests = Requests::sign(sites.join("requests"), part)?;
        say(&format!("storing {} of {} events", offset + count, spec.count));
        let before = Before::look(host, PLUGIN)?;
        steady::send(&requests, &host.public, Steady { connections: FILLING, count, rate: None })?;
        before.check(host, PLUGIN, Accepted { accepted: count as u64, unread: 0, emits })?;
    }
    Ok(())
}
