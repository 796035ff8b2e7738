//! The file a user writes, read into a [`Config`] that nothing changes afterwards.
//!
//! `raw` reads TOML with its spans, `check` finds every problem at once, and what comes out is complete: defaults
//! filled in, paths absolute, secrets resolved, presets expanded into the template they are data for. This is the
//! only place that reads environment variables.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::retry::RetryPolicy;

pub mod routes;
pub mod source;

pub use routes::Routes;
pub use source::Source;

/// A complete, checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it came from, absolute.
    pub path: PathBuf,
    /// `[server]`.
    pub server: Server,
    /// `[store]`.
    pub store: StoreSettings,
    /// `[sources.NAME]`.
    pub sources: BTreeMap<String, Arc<Source>>,
    /// `[routes]`.
    pub routes: Arc<Routes>,
    /// `[plugins.NAME]`; a plugin without a section has [`PluginSettings::default`].
    pub plugins: BTreeMap<String, Arc<PluginSettings>>,
}

/// `[server]`. A change of any of these needs a restart, and a reload says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Webhooks, and nothing else.
    pub listen: SocketAddr,
    /// API and metrics; loopback only.
    pub admin: SocketAddr,
    /// The folder whose `*.wasm` and `*.wat` files are the plugins, absolute.
    pub plugins_dir: PathBuf,
    /// The largest request body that is read, in bytes.
    pub max_body_bytes: usize,
}

/// `[store]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// The SQLite file of `url = "sqlite:PATH"`, absolute.
    pub sqlite_path: PathBuf,
    /// Settled events older than this are deleted.
    pub retention_ms: u64,
    /// Repeated deliveries are recognised for this long; not longer than `retention_ms`.
    pub dedupe_window_ms: u64,
}

/// `[plugins.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginSettings {
    /// Wall-clock and CPU limit of one attempt, in milliseconds.
    pub timeout_ms: u64,
    /// Linear memory of one attempt in all, in bytes.
    pub memory_bytes: usize,
    /// Attempts that run at once.
    pub concurrency: usize,
    /// What the plugin reads through `hookbox:plugin/config`: strings as they are, other values as JSON.
    pub config: BTreeMap<String, String>,
    /// What happens after a failed attempt.
    pub retry: RetryPolicy,
}

impl Default for PluginSettings {
    fn default() -> Self {
        Self {
            timeout_ms: 10_000,
            memory_bytes: 64 << 20,
            concurrency: 16,
            config: BTreeMap::new(),
            retry: RetryPolicy::default(),
        }
    }
}

impl Config {
    /// The settings of a plugin, default ones if it has no section.
    pub fn plugin(&self, name: &str) -> Arc<PluginSettings> {
        self.plugins.get(name).cloned().unwrap_or_default()
    }
}
