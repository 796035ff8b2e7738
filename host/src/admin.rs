//! The operator's door: what was received, how it went, and the verbs that change it (retry, replay, approve).
//!
//! It stands beside the road, not on it: everything it shows comes from the store's read side and from snapshots that
//! others swap, and everything it does is one call of the store or of the approvals.
//!
//! Invariants: it is reachable over loopback only, by a name that means loopback, and never changes anything on behalf
//! of a page from elsewhere (see `guard`); every answer is JSON and every refusal is `application/problem+json`
//! (RFC 9457); a route that is served is in the OpenAPI document, because both come from one list.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::Config;
use crate::dispatch::Breakers;
use crate::ingest::Unidentified;
use crate::plugins::{Approvals, Registry};
use crate::server::{self, ServerOptions, ServerTimeouts};
use crate::status::Status;
use crate::store::Store;

mod clock;
mod deliveries;
mod events;
mod guard;
mod health;
mod openapi;
mod params;
mod plugins;
mod problem;
mod settings;
mod view;

pub use openapi::router;
pub use params::closest;

/// Connections at once; for one more, that which has been idle for longest is closed.
pub const MAX_CONNECTIONS: u32 = 64;

/// The largest request body that is read, in bytes.
pub const MAX_BODY_BYTES: usize = 64 << 10;

/// A request unanswered after this long gets 503, in milliseconds.
pub const REQUEST_TIMEOUT_MS: u64 = 10_000;

/// What the operator's door looks at. Snapshots are read once a request, so an answer is of one moment.
#[derive(Clone)]
pub struct Admin {
    /// Events and deliveries.
    pub store: Arc<dyn Store>,
    /// What runs.
    pub shelf: Arc<ArcSwap<Registry>>,
    /// What of it waits for the operator.
    pub approvals: Arc<Approvals>,
    /// How it is slowed down.
    pub breakers: Breakers,
    /// Routes, and the names of plugins.
    pub config: Arc<ArcSwap<Config>>,
    /// How the last reload went.
    pub status: Arc<Status>,
    /// Which sources sent events without a type lately.
    pub unidentified: Arc<Unidentified>,
    /// What is believed of the time.
    pub clock: Clock,
    /// Renders every metric in the Prometheus text format.
    pub render_metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// The listener's own address: a `Host` that is accepted beside the names of loopback.
    pub own_address: IpAddr,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("own_address", &self.own_address).finish_non_exhaustive()
    }
}

/// Answers operators on `listener` until `shutdown`, then lets the requests under way finish.
pub async fn serve(listener: TcpListener, admin: Admin, shutdown: CancellationToken) {
    health::describe_metrics();
    let options = ServerOptions {
        name: "admin",
        max_connections: MAX_CONNECTIONS,
        timeouts: ServerTimeouts::default(),
        config: Arc::clone(&admin.config),
    };
    server::serve(listener, router(admin), options, shutdown).await;
}
