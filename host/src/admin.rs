//! The admin API: events and deliveries, their state, and the actions of an operator (retry,
//! replay, approve).
//!
//! It stands beside the road, not on it. It shows the store's read side and snapshots that others
//! swap; each action is one call of the store or of the approvals.
//!
//! Invariants: without tokens the API is reachable over loopback only. It answers to names that
//! mean this host, and changes nothing on behalf of a page from elsewhere (see `guard`). Every
//! answer is JSON and every refusal is `application/problem+json` (RFC 9457). A route that is
//! served has a role and is in the OpenAPI document, as all three come from one list (`routes`).

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::server::{self, Routed, ServerOptions, ServerTimeouts};

mod access;
mod answers;
mod attention;
mod audit;
mod body;
mod by;
mod clock;
mod deliveries;
mod document;
mod erase;
mod events;
mod export;
mod failures;
mod guard;
mod health;
mod history;
mod hosts;
mod joins;
mod kv;
mod lasting;
mod map;
mod metrics;
mod ndjson;
mod needs;
mod operations;
mod page;
mod params;
mod paused;
mod pauses;
mod plugins;
mod problem;
mod recent;
mod replay;
mod role;
mod routes;
mod schedules;
mod sees;
mod settings;
mod sources;
mod start;
mod state;
mod stream;
mod tree;
mod trials;
mod trouble;
mod verdict;
mod view;
mod waits;
mod who;

pub use access::Access;
pub use answers::StoreAnswers;
pub use role::Role;
pub use routes::{Endpoint, endpoints, router};
pub use state::{
    Admin, MAX_BODY_BYTES, MAX_CONNECTIONS, REQUEST_TIMEOUT_MS, RenderMetrics, Streams,
};

/// Answers operators on `listener` until `shutdown`, then lets the requests under way finish.
pub async fn serve(listener: TcpListener, admin: Admin, shutdown: CancellationToken) {
    let options = ServerOptions {
        name: "admin",
        max_connections: MAX_CONNECTIONS,
        timeouts: ServerTimeouts::default(),
        // A page that was left gives its stream back at once.
        half_close: false,
        config: Arc::clone(&admin.config),
    };
    let asking = attention::keep_asking(admin.clone(), shutdown.clone());
    let config = Arc::clone(&admin.config);
    let routed = Routed::new(router(admin), config);
    tokio::join!(server::serve(listener, routed, options, shutdown), asking);
}
