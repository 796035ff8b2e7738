//! The ways out of each plugin: every rule has connections of its own.
//!
//! Invariant: no connection serves two plugins or two rules. What one rule was allowed to reach, another may not be.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

use super::connect::{Connector, Shared};
use super::failure::{Failure, FailureKind};
use super::masks::Masks;
use super::network::Network;
use super::pool::Pool;
use crate::config::{Grants, HttpRule};
use crate::event::PluginName;

/// After how long the ways of a plugin that sends nothing are forgotten.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// The way of one rule.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) rule: Arc<HttpRule>,
    /// Or why there can be none.
    pub(super) connector: Result<Connector, Failure>,
    /// Its connections that wait for a request.
    pub(super) pool: Arc<Pool>,
}

/// What follows from a plugin's grants; made once for all attempts under them.
pub(super) struct Granted {
    grants: Arc<Grants>,
    /// In the order of the rules.
    pub(super) ways: Vec<Way>,
    pub(super) masks: Arc<Masks>,
}

/// Of every plugin that has sent something lately.
pub(super) struct Ways {
    network: Arc<dyn Network>,
    /// The public authorities.
    roots: OnceLock<Arc<RootCertStore>>,
    plugins: Mutex<HashMap<PluginName, Plugin>>,
    shared: Arc<Shared>,
}

struct Plugin {
    granted: Arc<Granted>,
    used: Instant,
}

impl Ways {
    pub(super) fn new(network: Arc<dyn Network>) -> Self {
        Self { network, roots: OnceLock::new(), plugins: Mutex::default(), shared: Arc::default() }
    }

    /// What follows from a plugin's grants. A rule that was there before keeps its way.
    pub(super) fn of(&self, plugin: &PluginName, grants: &Arc<Grants>) -> Arc<Granted> {
        let now = Instant::now();
        let mut plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = plugins.get_mut(plugin).filter(|known| Arc::ptr_eq(&known.granted.grants, grants)) {
            known.used = now;
            return Arc::clone(&known.granted);
        }
        plugins.retain(|_, known| now.duration_since(known.used) < FORGOTTEN);
        let before = plugins.get(plugin).map(|known| Arc::clone(&known.granted));
        let way = |rule: &Arc<HttpRule>| {
            let same = before.iter().flat_map(|granted| &granted.ways).find(|way| way.rule == *rule);
            same.cloned().unwrap_or_else(|| self.way(rule))
        };
        let (ways, masks) = (grants.http.iter().map(way).collect(), Arc::new(Masks::of(grants)));
        let granted = Arc::new(Granted { grants: Arc::clone(grants), ways, masks });
        plugins.insert(Arc::clone(plugin), Plugin { granted: Arc::clone(&granted), used: now });
        granted
    }

    fn way(&self, rule: &Arc<HttpRule>) -> Way {
        let (rule, network) = (Arc::clone(rule), Arc::clone(&self.network));
        let tls = rule.tls.then(|| self.tls(&rule)).transpose();
        let connector = tls.map(|tls| Connector::new(Arc::clone(&rule), network, tls, Arc::clone(&self.shared)));
        Way { rule, connector, pool: Arc::default() }
    }

    /// TLS by name, with the public authorities or those of the rule; each rule resumes its own sessions only.
    fn tls(&self, rule: &HttpRule) -> Result<Arc<ClientConfig>, Failure> {
        let fault =
            |error: rustls::Error| Failure::new(FailureKind::Configuration, format!("TLS is not set up: {error}"));
        let roots = match &rule.authorities {
            None => Arc::clone(
                self.roots.get_or_init(|| Arc::new(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })),
            ),
            Some(authorities) => {
                let mut roots = RootCertStore::empty();
                for authority in authorities.iter() {
                    roots.add(CertificateDer::from(authority.clone())).map_err(fault)?;
                }
                Arc::new(roots)
            }
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = builder.map_err(fault)?.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

impl fmt::Debug for Ways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ways").field("network", &self.network).finish_non_exhaustive()
    }
}
