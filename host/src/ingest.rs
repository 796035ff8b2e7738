//! The public door: request → verify → identify → append → reply.
//!
//! A request is `Unverified` until its signature has been checked over the raw bytes; only a `Verified` one is looked
//! into, and becomes the `NewEvent` that is appended. There is no other way across. The reply is sent after the
//! commit, and neither a client that hangs up nor a reply that comes too late takes an append back.
//!
//! - `serve` takes connections and bounds what each may cost: `connections` knows which there are and which of them is
//!   closed for another, `conn` is what it wraps around a socket;
//! - `client` says whose request it is, so that one sender has a share of connections and memory and not all of it;
//! - `receive` is the road of one request, `body` reads its body, `reply` is everything a sender can be told;
//! - `gate` holds what a source needs at hand for every request: keyed MAC states, parsed pointers and header names;
//! - `verify` and `sign` are the two directions of a signature, `identify` finds type, id and subject and makes
//!   the keys by which a repeated request is recognised;
//! - `strict` refuses what other servers may read differently;
//! - `refusals` writes the log of what was refused, at a bounded rate, `unidentified` tells of events without a type.
//!
//! Invariant: a request that fails verification writes nothing and runs nothing, and 2xx is sent only for what the
//! store has committed.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::clock::Clock;
use crate::config::Config;
use crate::store::Store;

mod body;
mod client;
mod gate;
mod identify;
mod receive;
mod refusals;
mod reply;
mod serve;
mod sign;
mod strict;
mod tally;
mod unidentified;
mod verify;

pub use gate::Gate;
pub use serve::{Bounds, serve, serve_router};
pub use sign::{SignError, sign};
pub use unidentified::{Lately, Unidentified};
pub use verify::{Refusal, Unverified, Verified};

/// What the intake works with.
#[derive(Debug, Clone)]
pub struct Intake {
    /// The running configuration; a new one takes effect with the next request.
    pub config: Arc<ArcSwap<Config>>,
    /// Where events are appended.
    pub store: Arc<dyn Store>,
    /// Tells whether a timestamp is fresh, and when an event arrived.
    pub clock: Clock,
    /// How long each step may take.
    pub timeouts: Timeouts,
    /// How much there may be at once.
    pub capacity: Capacity,
    /// Where events without a type are noted.
    pub unidentified: Arc<Unidentified>,
}

/// How much senders may take up at once, all together. One client may have a quarter of each; what a trusted proxy
/// forwards counts for the clients that it forwards for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Connections.
    pub connections: u32,
    /// Memory for bodies that are being received or appended, in bytes; at least one body of the largest size.
    pub body_bytes: usize,
}

impl Default for Capacity {
    fn default() -> Self {
        Self { connections: 4_096, body_bytes: 256 << 20 }
    }
}

/// How long each step of a request may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// To the last byte of a request's header, from the connection for the first one, from their first byte for others;
    /// then the connection is closed. Between requests it is `server.keep_alive`.
    pub header: Duration,
    /// From the connection, or the reply before, while there is no place for another connection, and for a second afterwards.
    pub header_when_full: Duration,
    /// From the header to the last byte of the body; then 408.
    pub body: Duration,
    /// From the last byte of the body to the reply; then 503, and the event may be stored all the same.
    pub reply: Duration,
    /// For a client to take some bytes of a reply; then the connection is closed.
    pub write: Duration,
    /// For a client that was told to stop sending to take notice, before the connection is closed under it.
    pub linger: Duration,
    /// For requests that are under way when the host shuts down.
    pub drain: Duration,
}

impl Default for Timeouts {
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
