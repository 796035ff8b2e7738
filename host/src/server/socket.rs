//! A client's socket with limits: on waiting for a request and on a client that does not read. It
//! is not closed while the client still writes, and no bare line feed ends a header line on it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::CancellationToken;

use super::connections::ConnectionState;
use super::lines::HeaderLines;
use super::patience::Patience;
use super::timeouts::ServerTimeouts;

/// Bytes that make hyper refuse the header with 400 and close the connection: no header may hold a
/// zero.
const REFUSED: &[u8] = b"\0\r\n\r\n";

/// A socket with limits.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    state: Arc<ConnectionState>,
    patience: Patience,
    lines: HeaderLines,
    write_limit: Duration,
    linger_limit: Duration,
    /// Runs while the client takes no bytes.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Runs once our side is closed.
    lingering: Option<Pin<Box<Sleep>>>,
    shutdown: CancellationToken,
}

impl Socket {
    /// `keep_alive` is how long it waits between two requests.
    pub(super) fn new(
        stream: TcpStream,
        state: Arc<ConnectionState>,
        timeouts: &ServerTimeouts,
        keep_alive: Duration,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            stream,
            state,
            patience: Patience::new(timeouts.header, keep_alive, Instant::now()),
            lines: HeaderLines::default(),
            write_limit: timeouts.write,
            linger_limit: timeouts.linger,
            stalled: None,
            lingering: None,
            shutdown,
        }
    }

    /// Refuses the header whose bytes have just come into `buf`, after `before` others, if it has a
    /// bare line feed.
    fn read_lines(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        let Some(alone) = self.lines.read(&buf.filled()[before..]) else { return };
        // hyper reads with room for kilobytes.
        buf.set_filled(before + alone);
        buf.put_slice(&REFUSED[..REFUSED.len().min(buf.remaining())]);
    }

    /// Waits for a request within the limits.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.patience.poll_over(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no request has come in time")))
    }

    /// Lets a write wait for as long as the limit says.
    fn bounded<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let limit = self.write_limit;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        // During a request the body is awaited, which has limits of its own.
        let waits = self.state.idle_since().is_some();
        match polled {
            Poll::Ready(Ok(())) => {
                if waits {
                    self.patience.received(Instant::now);
                }
                self.read_lines(buf, before);
                Poll::Ready(Ok(()))
            }
            Poll::Pending if waits => self.poll_patience(cx),
            polled => polled,
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.bounded(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.bounded(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Asked for when all that there is to write has been written.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        if self.state.sent() {
            let body_bytes = self.state.body_bytes();
            self.patience.replied(Instant::now());
            self.lines.replied(body_bytes);
            // The connection may not read again until something comes, so the timer is set here.
            if let Poll::Ready(over) = self.poll_patience(cx) {
                return Poll::Ready(over);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Closes our side, then reads on until the client has closed its own or `linger` is over:
    /// closing a socket with unread bytes resets it, and the reset may overtake a reply such as
    /// 413.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            // A host that stops does not wait until clients take notice.
            if self.shutdown.is_cancelled() {
                return Poll::Ready(Ok(()));
            }
            let limit = self.linger_limit;
            self.lingering = Some(Box::pin(sleep(limit)));
        }
        let this = &mut *self;
        let mut scratch = [0; 4_096];
        loop {
            let mut bytes = ReadBuf::new(&mut scratch);
            match Pin::new(&mut this.stream).poll_read(cx, &mut bytes) {
                Poll::Ready(Ok(())) if !bytes.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => break,
            }
        }
        match &mut this.lingering {
            Some(lingering) => lingering.as_mut().poll(cx).map(Ok),
            None => Poll::Ready(Ok(())),
        }
    }
}
