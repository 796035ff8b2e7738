//! The HTTP clients of each plugin, one for each rule.
//!
//! Invariant: a connection never serves two plugins or two rules, because one rule may reach what
//! another may not.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::wire::{Network, Redactor, RuleClient, SharedResources};
use crate::config::{Grants, HttpRule};
use crate::event::PluginName;

/// How long the clients of a plugin that sends nothing are kept.
const MAX_UNUSED: Duration = Duration::from_secs(600);

/// The client of one set of grants. All attempts under the same grants share it.
pub(super) struct PluginClients {
    grants: Arc<Grants>,
    /// In the order of the rules.
    pub(super) rules: Vec<RuleClient>,
    pub(super) redactor: Arc<Redactor>,
}

/// The clients of all plugins that sent something lately.
pub(super) struct Clients {
    plugins: Mutex<HashMap<PluginName, KnownPlugin>>,
    shared: Arc<SharedResources>,
}

struct KnownPlugin {
    clients: Arc<PluginClients>,
    used: Instant,
}

impl Clients {
    pub(super) fn new(network: Arc<dyn Network>) -> Self {
        Self { plugins: Mutex::default(), shared: Arc::new(SharedResources::new(network)) }
    }

    /// The clients for a plugin's grants. A rule that was granted before keeps its connections.
    pub(super) fn of(&self, plugin: &PluginName, grants: &Arc<Grants>) -> Arc<PluginClients> {
        let now = Instant::now();
        let mut plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) =
            plugins.get_mut(plugin).filter(|known| Arc::ptr_eq(&known.clients.grants, grants))
        {
            known.used = now;
            return Arc::clone(&known.clients);
        }
        plugins.retain(|_, known| now.duration_since(known.used) < MAX_UNUSED);
        let before = plugins.get(plugin).map(|known| Arc::clone(&known.clients));
        let client = |rule: &Arc<HttpRule>| {
            let same = before
                .iter()
                .flat_map(|clients| &clients.rules)
                .find(|client| client.rule == *rule);
            same.cloned().unwrap_or_else(|| RuleClient::new(rule, &self.shared))
        };
        let (rules, redactor) =
            (grants.http.iter().map(client).collect(), Arc::new(Redactor::of(grants)));
        let clients = Arc::new(PluginClients { grants: Arc::clone(grants), rules, redactor });
        plugins
            .insert(Arc::clone(plugin), KnownPlugin { clients: Arc::clone(&clients), used: now });
        clients
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").field("shared", &self.shared).finish_non_exhaustive()
    }
}
