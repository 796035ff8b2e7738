//! One connection of the load: a request is written to it, and the end of its answer found in what
//! comes back.
//!
//! At most one request is under way, and it is known when that was due. The connection is kept open
//! for as long as the receiver does, and opened again when it does not.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::answer::Head;

/// The longest answer, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// A connection and what is under way on it.
#[derive(Debug)]
pub(super) struct Connection<'a> {
    address: &'a str,
    registry: &'a Registry,
    token: Token,
    stream: TcpStream,
    /// As much of the answer as has come, and room for the rest.
    answer: Box<[u8]>,
    answer_bytes: usize,
    /// When the request was due that is under way.
    due: Option<Instant>,
}

impl<'a> Connection<'a> {
    /// Connects; what comes back is told under the token.
    pub(super) fn open(address: &'a str, registry: &'a Registry, token: Token) -> io::Result<Self> {
        let stream = connect(address, registry, token)?;
        let answer = vec![0; MAX_ANSWER].into_boxed_slice();
        Ok(Self { address, registry, token, stream, answer, answer_bytes: 0, due: None })
    }

    /// Sends a request that was due then.
    pub(super) fn ask(&mut self, request: &[u8], due: Instant) -> io::Result<()> {
        self.due = Some(due);
        // The answer to the last one has come, so nothing else fills the buffer of the socket, and
        // it is many times as long.
        let length = self.stream.write(request)?;
        if length < request.len() {
            return fail(format!("it took {length} bytes of a request of {}", request.len()));
        }
        Ok(())
    }

    /// Reads what has come: the time from when the request was due, if its answer is whole; an
    /// error unless it says success. `closed`: the receiver sends nothing after it.
    pub(super) fn hear(&mut self, closed: bool) -> io::Result<Option<Duration>> {
        loop {
            match self.stream.read(&mut self.answer[self.answer_bytes..]) {
                Ok(0) => return self.ended().map(|()| None),
                Ok(length) => self.answer_bytes += length,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(None),
                    io::ErrorKind::ConnectionReset => return self.ended().map(|()| None),
                    io::ErrorKind::Interrupted => continue,
                    _ => return Err(error),
                },
            }
            if let Some(end) = End::find(&self.answer[..self.answer_bytes])? {
                return self.answered(end.closes || closed).map(Some);
            }
            if self.answer_bytes == MAX_ANSWER {
                return fail(format!("its answer is longer than {MAX_ANSWER} bytes"));
            }
        }
    }

    /// The answer is whole.
    fn answered(&mut self, closed: bool) -> io::Result<Duration> {
        let answer = &self.answer[..self.answer_bytes];
        let due = self.due.take();
        let (Some(due), true) = (due, is_success(answer)) else {
            return fail(String::from_utf8_lossy(answer).into_owned());
        };
        let latency = due.elapsed();
        self.answer_bytes = 0;
        if closed {
            self.reopen()?;
        }
        Ok(latency)
    }

    /// Nothing more comes.
    fn ended(&mut self) -> io::Result<()> {
        if self.due.is_some() {
            fail("it was closed before the answer was whole")
        } else {
            self.reopen()
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.stream = connect(self.address, self.registry, self.token)?;
        Ok(())
    }
}

fn connect(address: &str, registry: &Registry, token: Token) -> io::Result<TcpStream> {
    let stream = std::net::TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    let mut stream = TcpStream::from_std(stream);
    registry.register(&mut stream, token, Interest::READABLE)?;
    Ok(stream)
}

fn fail<T>(what: impl Into<String>) -> io::Result<T> {
    Err(io::Error::other(what.into()))
}

/// The end of an answer that has come whole.
#[derive(Debug, PartialEq, Eq)]
struct End {
    /// The receiver says that it closes the connection.
    closes: bool,
}

impl End {
    /// `None`: there is more to come.
    fn find(answer: &[u8]) -> io::Result<Option<Self>> {
        let head = Head::read(answer)?.filter(|head| answer.len() - head.bytes >= head.body_bytes);
        Ok(head.map(|head| Self { closes: head.closes }))
    }
}

fn is_success(answer: &[u8]) -> bool {
    answer.split(|byte| *byte == b' ').nth(1).is_some_and(|status| status.starts_with(b"2"))
}

#[cfg(test)]
mod tests {
    use mio::{Events, Poll};

    use super::*;

    /// Waits until something came on the only connection: its answer, if that was it.
    fn hear(connection: &mut Connection<'_>, poll: &mut Poll) -> io::Result<Option<Duration>> {
        let mut events = Events::with_capacity(1);
        while events.is_empty() {
            poll.poll(&mut events, None)?;
        }
        connection.hear(events.iter().any(|event| event.is_read_closed()))
    }

    #[test]
    fn a_connection_that_is_closed_with_nothing_under_way_is_opened_again() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut poll = Poll::new().unwrap();
        let registry = poll.registry().try_clone().unwrap();
        let mut connection = Connection::open(&address, &registry, Token(0)).unwrap();
        drop(listener.accept().unwrap());
        assert_eq!(hear(&mut connection, &mut poll).unwrap(), None);
        let (mut second, _) = listener.accept().unwrap();
        connection.ask(b"anything", Instant::now()).unwrap();
        let mut request = [0; 8];
        second.read_exact(&mut request).unwrap();
        second.write_all(b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n").unwrap();
        assert!(hear(&mut connection, &mut poll).unwrap().is_some());
    }

    #[test]
    fn the_end_of_an_answer_is_found_wherever_it_is_cut() {
        let answer =
            "HTTP/1.1 200 OK\r\nCONTENT-LENGTH: 7\r\nConnection: Close\r\n\r\n\u{e4}\r\n\r\n-"
                .as_bytes();
        for length in 0..answer.len() {
            assert_eq!(End::find(&answer[..length]).unwrap(), None, "{length}");
        }
        assert_eq!(End::find(answer).unwrap(), Some(End { closes: true }));
        let kept = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: keep-alive\r\n\r\n\xff";
        assert_eq!(End::find(kept).unwrap(), Some(End { closes: false }));
    }

    #[test]
    fn an_answer_whose_header_has_no_length_is_an_error() {
        let error = End::find(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n")
            .unwrap_err();
        assert!(error.to_string().starts_with("no length in HTTP/1.1 200 OK"), "{error}");
    }
}
