//! Requests whose bodies come slowly.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Registry, Token};

use super::talk::open;
use super::turn::Turn;
use crate::bench::requests::sign;
use crate::run::Result;

/// Connections, and what all of them send in a second.
const CONNECTIONS: usize = 310;
const BYTES_PER_SECOND: usize = 35 << 20;

/// Length of each body: the longest that a host takes.
const BODY_BYTES: usize = 1 << 20;

/// Between two pieces of a body.
const TICK: Duration = Duration::from_millis(50);

/// Connections that are opened again in a tick.
const OPENED: usize = 40;

/// How long they have been at it when the good client starts: by then, much of it is in memory.
const BEGINNING: Duration = Duration::from_secs(4);

/// One of them, and how much of its request is sent.
struct Slow {
    stream: TcpStream,
    sent_bytes: usize,
}

/// Sends until the turn is over.
pub(super) fn send(address: &str, from: Ipv4Addr, source: &str, forged: bool, turn: &Turn) -> Result {
    let to = address.parse().map_err(|error| format!("{address}: {error}"))?;
    let signature = if forged { format!("heygen-signature: {}\r\n", sign("another body")) } else { String::new() };
    let head = format!(
        "POST /webhook/{source} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{signature}\
         content-length: {BODY_BYTES}\r\n\r\n"
    );
    let request = [head.into_bytes(), vec![b'x'; BODY_BYTES]].concat();
    send_all(to, from, &request, turn).map_err(|error| format!("slow bodies to {address}: {error}"))
}

fn send_all(to: SocketAddrV4, from: Ipv4Addr, request: &[u8], turn: &Turn) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let registry = poll.registry().try_clone()?;
    let mut events = Events::with_capacity(1_024);
    let mut slows: Vec<Option<Slow>> = (0..CONNECTIONS).map(|_| None).collect();
    let piece = BYTES_PER_SECOND / CONNECTIONS * TICK.as_millis() as usize / 1_000;
    let (started, mut ticks) = (Instant::now(), 0);
    while !turn.is_over() {
        if started.elapsed() > BEGINNING {
            turn.begin();
        }
        if started.elapsed() >= TICK * ticks {
            ticks += 1;
            reopen(&mut slows, to, from, &registry);
            for slow in slows.iter_mut().flatten() {
                slow.go_on(request, piece);
            }
        }
        let pause = (TICK * ticks).saturating_sub(started.elapsed());
        match poll.poll(&mut events, Some(pause)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        // Whatever comes back, that request is over.
        for event in events.iter().filter(|event| event.is_readable() || event.is_error()) {
            let slot = &mut slows[event.token().0];
            if slot.as_mut().is_some_and(Slow::is_answered) {
                *slot = None;
            }
        }
    }
    Ok(())
}

fn reopen(slows: &mut [Option<Slow>], to: SocketAddrV4, from: Ipv4Addr, registry: &Registry) {
    for (slot, slow) in slows.iter_mut().enumerate().filter(|(_, slow)| slow.is_none()).take(OPENED) {
        let opened = open(to, from).and_then(|mut stream| {
            registry.register(&mut stream, Token(slot), Interest::READABLE)?;
            Ok(stream)
        });
        // What cannot be opened now is tried again in the next tick.
        *slow = opened.ok().map(|stream| Slow { stream, sent_bytes: 0 });
    }
}

impl Slow {
    fn go_on(&mut self, request: &[u8], piece: usize) {
        let until = request.len().min(self.sent_bytes + piece);
        // What is wrong with a connection is found when it is read.
        self.sent_bytes += self.stream.write(&request[self.sent_bytes..until]).unwrap_or_default();
    }

    fn is_answered(&mut self) -> bool {
        let mut answer = [0; 1_024];
        !self.stream.read(&mut answer).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}
