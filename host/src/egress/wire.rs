//! Sends requests and receives responses over connections that the host opens itself.
//!
//! A rule's client (`exchange`) takes a connection from its pool, or resolves a name and checks its
//! addresses (`resolve`), connects (`connect`) and begins TLS (`tls`). Bodies are counted on their
//! way out (`body`) and in (`response`), where credentials are redacted (`redact`).

mod body;
mod connect;
mod exchange;
mod network;
mod pool;
mod redact;
mod resolve;
mod response;
pub(super) mod tls;

pub use body::{BoxError, RequestBody};
pub use exchange::RequestTimeouts;
pub use network::{Network, NetworkFuture};
pub use redact::Redactor;
pub use response::ResponseBody;

pub(super) use body::SentBody;
pub(super) use connect::SharedResources;
pub(super) use exchange::RuleClient;
pub(super) use network::SystemNetwork;
pub(super) use pool::PooledConnection;
pub(super) use response::{ReceivedBody, passed_head};
