//! How long each step of a request may take.

use std::time::Duration;

/// How long each step of a request may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerTimeouts {
    /// From the connection to the last byte of its first header, and from the first byte to the
    /// last of every later header. Then the connection is closed. Between requests the limit is
    /// `server.keep_alive`.
    pub header: Duration,
    /// The limit for a header while all connections are taken, and for a second afterwards; it
    /// begins with the connection or the previous reply.
    pub header_when_full: Duration,
    /// From the header to the last byte of the body; then 408. The handler enforces it.
    pub body: Duration,
    /// From the last byte of the body to the reply; then 503, and the event may be stored all the
    /// same. The handler enforces it.
    pub reply: Duration,
    /// For a client to take some bytes of a reply; then the connection is closed.
    pub write: Duration,
    /// For a client that was told to stop sending to take notice, before the connection is closed.
    pub linger: Duration,
    /// For requests that are under way when the host shuts down.
    pub drain: Duration,
}

impl Default for ServerTimeouts {
    fn default() -> Self {
        Self {
            header: Duration::from_secs(5),
            header_when_full: Duration::from_secs(1),
            body: Duration::from_secs(10),
            reply: Duration::from_millis(2_500),
            write: Duration::from_secs(10),
            linger: Duration::from_secs(1),
            drain: Duration::from_secs(5),
        }
    }
}
