//! Requests whose bodies do not end: all but the last byte comes at once, and is held until the
//! host gives up.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Registry, Token};

use super::talk::open;
use super::turn::Turn;
use crate::requests::sign;
use hookbox_tools::Result;

/// Connections, and what all of them send in a second.
const CONNECTIONS: usize = 310;
const BYTES_PER_SECOND: usize = 35 << 20;

/// Length of each body: the longest that a host takes.
const BODY_BYTES: usize = 1 << 20;

/// Between two pieces of a body.
const TICK: Duration = Duration::from_millis(10);

/// Connections whose requests are being sent: those that wait to be sent would be given up too
/// early.
const SENDING: usize = 16;

/// How long they have been at it when the good client starts: by then, 260 of them are in memory.
const BEGINNING: Duration = Duration::from_millis(7_500);

/// A slow connection, and how much of its request is sent.
struct Slow {
    stream: TcpStream,
    sent_bytes: usize,
}

/// Sends until the turn is over: how many bytes of bodies, and over how many connections.
pub(super) fn send(
    address: &str,
    from: Ipv4Addr,
    source: &str,
    forged: bool,
    turn: &Turn,
) -> Result<[usize; 2]> {
    let to = address.parse().map_err(|error| format!("{address}: {error}"))?;
    let signature = if forged {
        format!("heygen-signature: {}\r\n", sign("another body"))
    } else {
        String::new()
    };
    let head = format!(
        "POST /webhook/{source} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{signature}\
         content-length: {BODY_BYTES}\r\n\r\n"
    );
    let request = [head.into_bytes(), vec![b'x'; BODY_BYTES]].concat();
    send_all(to, from, &request, turn).map_err(|error| format!("slow bodies to {address}: {error}"))
}

fn send_all(
    to: SocketAddrV4,
    from: Ipv4Addr,
    request: &[u8],
    turn: &Turn,
) -> io::Result<[usize; 2]> {
    let mut poll = Poll::new()?;
    let registry = poll.registry().try_clone()?;
    let mut events = Events::with_capacity(1_024);
    let mut slows: Vec<Option<Slow>> = (0..CONNECTIONS).map(|_| None).collect();
    let (started, mut ticks, mut sent_bytes, mut opened) = (Instant::now(), 0, 0, 0);
    while !turn.is_over() {
        if started.elapsed() > BEGINNING {
            turn.begin();
        }
        if started.elapsed() >= TICK * ticks {
            ticks += 1;
            opened += reopen(&mut slows, to, from, &registry, request);
            let mut left_bytes = BYTES_PER_SECOND / 1_000 * TICK.as_millis() as usize;
            for slow in slows.iter_mut().flatten() {
                let bytes = slow.go_on(request, left_bytes);
                (left_bytes, sent_bytes) = (left_bytes - bytes, sent_bytes + bytes);
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
    Ok([sent_bytes, opened])
}

/// Opens as many as may be sending: how many.
fn reopen(
    slows: &mut [Option<Slow>],
    to: SocketAddrV4,
    from: Ipv4Addr,
    registry: &Registry,
    request: &[u8],
) -> usize {
    let sending = slows.iter().flatten().filter(|slow| slow.sent_bytes + 1 < request.len()).count();
    let room = SENDING.saturating_sub(sending);
    let mut count = 0;
    for (slot, slow) in slows.iter_mut().enumerate().filter(|(_, slow)| slow.is_none()).take(room) {
        let opened = open(to, from).and_then(|mut stream| {
            registry.register(&mut stream, Token(slot), Interest::READABLE)?;
            Ok(stream)
        });
        // A connection that cannot be opened now is tried again in the next tick.
        *slow = opened.ok().map(|stream| Slow { stream, sent_bytes: 0 });
        count += 1;
    }
    count
}

impl Slow {
    /// Sends up to so many bytes of what is to be sent: how many.
    fn go_on(&mut self, request: &[u8], most_bytes: usize) -> usize {
        let until = (request.len() - 1).min(self.sent_bytes + most_bytes);
        // A fault of the connection shows when it is read.
        let sent_bytes = self.stream.write(&request[self.sent_bytes..until]).unwrap_or_default();
        self.sent_bytes += sent_bytes;
        sent_bytes
    }

    fn is_answered(&mut self) -> bool {
        let mut answer = [0; 1_024];
        !self.stream.read(&mut answer).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}
