//! The way out: HTTP requests of plugins, each under a rule of the configuration or refused.
//!
//! ```text
//! target → rule → headers → resolve → check → connect → TLS → response, masked and counted
//! ```
//!
//! A request is read strictly (`target`), goes by the first rule that fits (`rules`), and leaves with what the host
//! adds to it (`headers`). A connection is made by the host's own connector (`connect`), which resolves a name once
//! and connects to an address that it has checked (`address`). It serves one rule of one plugin (`ways`). What comes
//! back is counted (`ledger`) and cleared of credentials (`masks`) before the plugin sees it. There are no proxies,
//! no redirects that the host follows, and no HTTP/2.
//!
//! Invariant: nothing is resolved or connected to before a rule has allowed it, and no address but those of the class
//! that the rule names is ever connected to.

use std::sync::Arc;

use crate::config::Grants;
use crate::event::PluginName;

mod address;
mod body;
mod connect;
mod exchange;
mod failure;
mod headers;
mod ledger;
mod masks;
mod network;
mod passage;
mod pool;
mod rules;
mod target;
mod ways;

pub use body::{BoxError, RequestBody, ResponseBody};
pub use failure::{Failure, FailureKind};
pub use masks::Masks;
pub use network::{Answer, Network};
pub use passage::{Passage, Sending, Timeouts, Traveller, Warn};

/// The connections of all plugins. Clones share them; they run on the runtime of the attempt that made them.
#[derive(Debug, Clone)]
pub struct Egress(Arc<ways::Ways>);

impl Egress {
    /// Over the machine's network.
    pub fn system() -> Self {
        Self::over(Arc::new(network::System))
    }

    /// Over another network.
    pub fn over(network: Arc<dyn Network>) -> Self {
        Self(Arc::new(ways::Ways::new(network)))
    }

    /// The way out of one attempt.
    pub fn passage(&self, traveller: Traveller) -> Passage {
        Passage::new(self.clone(), traveller)
    }

    /// What a plugin is not to see, and what people are not to read; `None` if no rule adds a credential.
    pub fn masks(&self, plugin: &PluginName, grants: &Arc<Grants>) -> Option<Arc<Masks>> {
        let adds = grants.http.iter().any(|rule| !rule.headers.is_empty());
        adds.then(|| Arc::clone(&self.granted(plugin, grants).masks))
    }

    fn granted(&self, plugin: &PluginName, grants: &Arc<Grants>) -> Arc<ways::Granted> {
        self.0.of(plugin, grants)
    }
}
