//! A client's socket that waits for ever neither for a request nor for a client that does not read, is not closed under
//! one that is still writing, and has no line feed alone end a line of a header.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::CancellationToken;

use super::Timeouts;
use super::connections::Entry;
use super::lines::HeaderLines;
use super::patience::Patience;

/// Ends a header that hyper refuses with 400 and closes the connection: it holds a byte that no header may have.
const REFUSED: &[u8] = b"\0\r\n\r\n";

/// A socket with patience.
#[derive(Debug)]
pub(super) struct Conn {
    stream: TcpStream,
    entry: Arc<Entry>,
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

impl Conn {
    /// `keep_alive` is how long it waits between two requests.
    pub(super) fn new(
        stream: TcpStream,
        entry: Arc<Entry>,
        timeouts: &Timeouts,
        keep_alive: Duration,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            stream,
            entry,
            patience: Patience::new(timeouts.header, keep_alive, Instant::now()),
            lines: HeaderLines::default(),
            write_limit: timeouts.write,
            linger_limit: timeouts.linger,
            stalled: None,
            lingering: None,
            shutdown,
        }
    }

    /// Refuses the header whose bytes have just come into `buf`, behind `before` others, if a line feed stands alone.
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
    fn bounded<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
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

impl AsyncRead for Conn {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        // With a request under way it is its body that is waited for, which has limits of its own.
        let waits = self.entry.idle_since().is_some();
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

impl AsyncWrite for Conn {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
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
        if self.entry.sent() {
            let body_bytes = self.entry.body_bytes();
            self.patience.replied(Instant::now());
            self.lines.replied(body_bytes);
            // Nobody may read again until something comes.
            if let Poll::Ready(over) = self.poll_patience(cx) {
                return Poll::Ready(over);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Closes our side, then reads on for a moment until the client has closed its own: closing a socket with unread
    /// bytes resets the connection, and the reset may overtake a reply such as 413.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
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
