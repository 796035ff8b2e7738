//! The parts that the public listener works with.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::activity::SourceActivity;
use super::fetch::KeyFetcher;
use super::unidentified::Unidentified;
use crate::clock::Clock;
use crate::config::Config;
use crate::series::Series;
use crate::server::ServerTimeouts;
use crate::store::{Queue, Read};
use crate::trace::Tracer;

/// The parts that the intake works with.
#[derive(Debug, Clone)]
pub struct Intake {
    /// The running configuration; a new one takes effect with the next request.
    pub config: Arc<ArcSwap<Config>>,
    /// Where events are appended.
    pub store: Arc<dyn Queue>,
    /// Where the keys are that callbacks are waited for under.
    pub reads: Arc<dyn Read>,
    /// Tells whether a timestamp is fresh, and when an event arrived.
    pub clock: Clock,
    /// How long each step may take.
    pub timeouts: ServerTimeouts,
    /// How much there may be at once.
    pub capacity: Capacity,
    /// Where events without a type are noted.
    pub unidentified: Arc<Unidentified>,
    /// Where the requests of each source are counted.
    pub activity: Arc<SourceActivity>,
    /// Fetches the public keys that requests name.
    pub keys: KeyFetcher,
    /// Where events are counted by source and type.
    pub series: Arc<Series>,
    /// Begins the spans of requests.
    pub tracer: Tracer,
}

/// How much all senders together may take up at once. One client may have a quarter of each;
/// requests that a trusted proxy forwards count for the clients that it forwards for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Connections.
    pub connections: u32,
    /// Memory for bodies that are being received or appended, in bytes; at least one body of the
    /// largest size.
    pub body_bytes: usize,
}

impl Default for Capacity {
    fn default() -> Self {
        Self { connections: 4_096, body_bytes: 256 << 20 }
    }
}
