//! The public listener: request → verify → identify → append → reply.
//!
//! A request is `Unverified` until its signature has been checked over the raw bytes; only a
//! `Verified` one is looked into, and becomes the `NewEvent` that is appended. There is no other
//! way across. The reply is sent after the commit; neither a client that hangs up nor an overdue
//! reply cancels an append.
//!
//! - `receive` takes requests, `post` is the road of a webhook, `batch` that of a list of events;
//! - `body` reads a body, `reply` has all replies to senders, `replies` those of a source's own;
//! - `refused` notes refusals and has hints looked for, `reasons` explains them, `activity` keeps
//!   what each source received;
//! - `sample` makes events as providers send them;
//! - `source` composes what a source needs for every request: its verifier, extractor and counters;
//! - `verify` checks signatures and makes them, `identify` finds type, id, subject and dedupe keys;
//! - `single_use` refuses a token that has proved another event;
//! - `ce` reads CloudEvents, `sources` holds the sources of one configuration;
//! - `callback` finds the source of a request without a signature by its token;
//! - `handshake` answers requests that are not events, `window` keeps the secrets that they bring,
//!   `confirm` asks the addresses that they name;
//! - `spans` tells of requests;
//! - `rejection_log` logs rejected requests at a bounded rate, `unidentified` events without a
//!   type.
//!
//! Invariant: a request that fails verification writes nothing and runs nothing, and 2xx is sent
//! only for what the store has committed.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::server::{self, ServerOptions};

mod activity;
mod batch;
mod body;
mod callback;
mod ce;
mod confirm;
mod fetch;
mod handshake;
mod head;
mod header;
mod identify;
mod intake;
mod key_use;
mod metrics;
mod post;
mod reasons;
mod receive;
mod refused;
mod rejection_log;
mod replies;
mod reply;
pub mod sample;
mod single_use;
mod source;
mod sources;
mod spans;
mod unidentified;
mod verify;
mod window;

pub use activity::{
    Confirmation, KEPT_REFUSALS, ReasonSummary, RefusalNote, SourceActivity, SourceReceived,
};
pub use fetch::KeyFetcher;
pub use handshake::HandshakeAnswer;
pub use head::Head;
pub use identify::BatchFault;
pub use intake::{Capacity, Intake};
pub use key_use::{UnkeptUses, UnreadKey};
pub use reasons::RefusalReason;
pub use replies::named_event;
pub use source::{SourceRuntime, Unverified, Verified};
pub use unidentified::{Lately, Unidentified};
pub use verify::{Refusal, SignError, SignedParts, sign, sign_request};
pub use window::{SecretWindows, WindowView};

/// Receives webhooks on `listener` until `shutdown`, then lets requests under way finish for up to
/// [`ServerTimeouts::drain`](crate::server::ServerTimeouts::drain), and returns when the last
/// connection is closed.
pub async fn serve(listener: TcpListener, intake: Intake, shutdown: CancellationToken) {
    let options = ServerOptions {
        name: "public",
        max_connections: intake.capacity.connections,
        timeouts: intake.timeouts,
        half_close: true,
        config: Arc::clone(&intake.config),
    };
    let receiver = Arc::new(receive::Receiver::new(intake));
    server::serve(listener, receiver, options, shutdown).await;
}
