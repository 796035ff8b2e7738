//! HTTP requests of plugins: a rule of the configuration allows a request, or the host refuses it.
//!
//! ```text
//! request → target → rule → headers → (pool | resolve → check → connect → TLS) → exchange
//!           `policy` decides          `wire` sends and receives
//! ```
//!
//! A `session` sends the requests of one attempt. `policy` reads where a request goes, chooses the
//! first rule that matches, and completes the headers. `wire` resolves a name once, checks every
//! address, and connects to an address that it has checked. Each rule of each plugin has its own
//! connections (`clients`). Responses are counted (`accounting`), and credentials are redacted
//! before the plugin sees them. Requests to the host's own collector have TLS and credentials
//! from here (`collector`), and no rule. The host uses no proxy, follows no redirect, and speaks no
//! HTTP/2.
//! The decisions are in `docs/design/egress.md`.
//!
//! Invariant: nothing is resolved or connected before a rule allows the request, and the host
//! connects only to addresses of the class that this rule names.

use std::sync::Arc;

use crate::config::Grants;
use crate::event::PluginName;

use clients::Clients;

mod accounting;
mod clients;
mod collector;
mod error;
mod policy;
mod session;
mod wire;

pub use collector::{CollectorTls, credentials};
pub use error::{RequestError, RequestErrorKind};
pub use session::{PendingResponse, RequestContext, Session, Warn};
pub use wire::{
    BoxError, Network, NetworkFuture, Redactor, RequestBody, RequestTimeouts, ResponseBody,
};

/// The connections of all plugins. Clones share them; connections run on the runtime of the attempt
/// that opened them.
#[derive(Debug, Clone)]
pub struct Egress(Arc<Clients>);

impl Egress {
    /// Uses the machine's network.
    pub fn system() -> Self {
        Self::over(Arc::new(wire::SystemNetwork))
    }

    /// Uses another network.
    pub fn over(network: Arc<dyn Network>) -> Self {
        Self(Arc::new(Clients::new(network)))
    }

    /// Begins the requests of one attempt.
    pub fn session(&self, context: RequestContext) -> Session {
        Session::new(Arc::clone(&self.0), context)
    }

    /// The redactor for a plugin's credentials; `None` if no rule adds one.
    pub fn redactor(&self, plugin: &PluginName, grants: &Arc<Grants>) -> Option<Arc<Redactor>> {
        let adds = grants.http.iter().any(|rule| !rule.headers.is_empty());
        adds.then(|| Arc::clone(&self.0.of(plugin, grants).redactor))
    }
}
