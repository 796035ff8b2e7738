//! One connection of a client: never waits, and says what it has heard.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use crate::answer::Head;

/// How much is read in one go, in bytes.
const PIECE: usize = 64 << 10;

/// As much of an answer is kept as has its head and the id in it, in bytes.
const KEPT: usize = 4 << 10;

/// A connection, and as much of an answer as has come.
#[derive(Debug)]
pub(super) struct Talk {
    stream: TcpStream,
    /// Bytes that are still to be written.
    request: Vec<u8>,
    kept: Vec<u8>,
    came_bytes: usize,
    head: Option<Head>,
    /// It has answered before.
    used: bool,
}

/// Bytes that have come.
#[derive(Debug, PartialEq)]
pub(super) enum Heard {
    /// Nothing, or not all.
    Nothing,
    /// A whole answer.
    Answer { status: u16, id: Option<String>, closes: bool },
    /// Nothing more comes, and there was no answer to the last request.
    End { nothing_came: bool },
}

/// Begins to connect, from that address.
pub(super) fn open(to: SocketAddrV4, from: Ipv4Addr) -> io::Result<TcpStream> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    bind(&socket, &SocketAddrV4::new(from, 0))?;
    match connect(&socket, &to) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    let stream = std::net::TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(TcpStream::from_std(stream))
}

impl Talk {
    /// Begins to connect; what comes back is told under the token.
    pub(super) fn open(
        to: SocketAddrV4,
        from: Ipv4Addr,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        let mut stream = open(to, from)?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self {
            stream,
            request: Vec::new(),
            kept: Vec::new(),
            came_bytes: 0,
            head: None,
            used: false,
        })
    }

    /// Whether it has answered before.
    pub(super) fn was_used(&self) -> bool {
        self.used
    }

    /// Sends a request, now or as soon as it can be.
    pub(super) fn ask(&mut self, request: &[u8]) {
        self.request.clear();
        self.request.extend_from_slice(request);
        self.write();
    }

    fn write(&mut self) {
        // A fault of the connection shows when it is read.
        while !self.request.is_empty() {
            match self.stream.write(&self.request) {
                Ok(length) => drop(self.request.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    /// Reads what has come and writes what could not be written. `closed`: nothing comes after it.
    pub(super) fn hear(&mut self, closed: bool) -> io::Result<Heard> {
        self.write();
        let mut piece = [0; PIECE];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return Ok(self.end()),
                Ok(length) => {
                    if let Some(answer) = self.take(&piece[..length], closed)? {
                        return Ok(answer);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Heard::Nothing);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Ok(self.end()),
            }
        }
    }

    fn end(&self) -> Heard {
        Heard::End { nothing_came: self.came_bytes == 0 }
    }

    fn take(&mut self, piece: &[u8], closed: bool) -> io::Result<Option<Heard>> {
        self.came_bytes += piece.len();
        let room = KEPT.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&piece[..room.min(piece.len())]);
        if self.head.is_none() {
            self.head = Head::read(&self.kept)?;
        }
        let Some(Head { status, bytes, body_bytes, closes }) = self.head else { return Ok(None) };
        if self.came_bytes < bytes + body_bytes {
            return Ok(None);
        }
        let id = id(&self.kept[bytes..]);
        (self.head, self.came_bytes, self.used) = (None, 0, true);
        self.kept.clear();
        Ok(Some(Heard::Answer { status, id, closes: closes || closed }))
    }
}

/// The id that an acknowledgement names.
fn id(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    Some(text.split_once(r#""id":""#)?.1.split_once('"')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_an_event_is_found_in_its_acknowledgement() {
        assert_eq!(id(br#"{"id":"evt_01","status":"accepted"}"#).as_deref(), Some("evt_01"));
        assert_eq!(id(br#"{"title":"too many"}"#), None);
        assert_eq!(id(b""), None);
    }
}
