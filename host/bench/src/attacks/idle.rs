//! Connections that say nothing.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Registry, Token};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::talk::open;
use super::turn::Turn;
use hookbox_tools::Result;

/// Connections that are opened in a second, at most: until all are there, and from then on.
const FIRST_PER_SECOND: usize = 4_000;
const PER_SECOND: usize = 1_000;

/// Between two rounds of opening.
const TICK: Duration = Duration::from_millis(10);

/// All are there by then, or as many as there will be.
const BEGINNING: Duration = Duration::from_secs(6);

/// Open files that all attacks need.
const FILES: u64 = 12_000;

/// Lets this process, and what it starts, have enough open files.
pub(super) fn raise_limit() -> Result {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= FILES) {
        return Ok(());
    }
    let wanted =
        Rlimit { current: Some(maximum.map_or(FILES, |maximum| maximum.min(FILES))), maximum };
    setrlimit(Resource::Nofile, wanted)
        .map_err(|error| format!("{FILES} open files are needed: {error}"))
}

/// Holds so many connections open until the turn is over; those that are closed are opened again.
pub(super) fn hold(address: &str, from: &[Ipv4Addr], count: usize, turn: &Turn) -> Result {
    let to = address.parse().map_err(|error| format!("{address}: {error}"))?;
    hold_all(to, from, count, turn)
        .map_err(|error| format!("idle connections to {address}: {error}"))
}

fn hold_all(to: SocketAddrV4, from: &[Ipv4Addr], count: usize, turn: &Turn) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let registry = poll.registry().try_clone()?;
    let mut events = Events::with_capacity(1_024);
    let mut held: Vec<Option<TcpStream>> = (0..count).map(|_| None).collect();
    let mut vacant: Vec<usize> = (0..count).collect();
    let (started, mut ticks, mut begun) = (Instant::now(), 0, false);
    while !turn.is_over() {
        if started.elapsed() >= TICK * ticks {
            ticks += 1;
            let per_second = if begun { PER_SECOND } else { FIRST_PER_SECOND };
            let now = vacant.len().min(per_second * TICK.as_millis() as usize / 1_000);
            for slot in vacant.split_off(vacant.len() - now) {
                match connect(to, from[slot % from.len()], &registry, Token(slot)) {
                    Ok(stream) => held[slot] = Some(stream),
                    Err(_) => vacant.push(slot),
                }
            }
        }
        if !begun && (vacant.is_empty() || started.elapsed() > BEGINNING) {
            begun = true;
            turn.begin();
        }
        match poll.poll(&mut events, Some(TICK)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in events.iter().filter(|event| event.is_read_closed() || event.is_error()) {
            if held[event.token().0].take().is_some() {
                vacant.push(event.token().0);
            }
        }
    }
    Ok(())
}

fn connect(
    to: SocketAddrV4,
    from: Ipv4Addr,
    registry: &Registry,
    token: Token,
) -> io::Result<TcpStream> {
    let mut stream = open(to, from)?;
    registry.register(&mut stream, token, Interest::READABLE)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn connections_are_held_and_those_that_are_closed_are_opened_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let from = [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3)];
        let turn = Turn::default();
        std::thread::scope(|scope| {
            scope.spawn(|| hold(&address, &from, 6, &turn).unwrap());
            turn.until_begun().unwrap();
            let mut accepted: Vec<_> = (0..6).map(|_| listener.accept().unwrap()).collect();
            assert!(
                from.iter().all(|from| accepted
                    .iter()
                    .filter(|(_, peer)| peer.ip() == *from)
                    .count()
                    == 3)
            );
            let (_, closed) = accepted.pop().unwrap();
            let (_, again) = listener.accept().unwrap();
            assert_eq!(again.ip(), closed.ip());
            turn.end();
        });
    }
}
