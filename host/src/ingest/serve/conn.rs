//! A client's socket that neither waits for ever for a client that does not read, nor is closed under one that is
//! still writing.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;

use super::Timeouts;
use super::connections::Entry;

/// A socket with patience.
#[derive(Debug)]
pub(super) struct Conn {
    stream: TcpStream,
    entry: Arc<Entry>,
    write_limit: Duration,
    linger_limit: Duration,
    /// Runs while the client takes no bytes.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Runs once our side is closed.
    lingering: Option<Pin<Box<Sleep>>>,
    shutdown: CancellationToken,
}

impl Conn {
    pub(super) fn new(stream: TcpStream, entry: Arc<Entry>, timeouts: &Timeouts, shutdown: CancellationToken) -> Self {
        Self {
            stream,
            entry,
            write_limit: timeouts.write,
            linger_limit: timeouts.linger,
            stalled: None,
            lingering: None,
            shutdown,
        }
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
        Pin::new(&mut self.stream).poll_read(cx, buf)
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
        self.entry.sent();
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
