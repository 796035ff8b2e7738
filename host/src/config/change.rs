//! A configuration in the place of another one: which names and secrets it must not lose, and what
//! waits for a restart.

use std::sync::Arc;

use super::known::list_plugins;
use super::routes::Route;
use super::server::{DEFAULT_LISTEN, Reach};
use super::source::{self, Source};
use super::warnings::{About, Warning};
use super::{Config, inputs};
use crate::names::PluginName;

impl Config {
    /// Whether each plugin without a file that this file names is named in the same way by
    /// `running`.
    pub fn misses_no_more_than(&self, running: &Self) -> bool {
        let Ok(files) = list_plugins(&self.server.plugins_dir) else { return false };
        let is_there = |name: &str| files.contains(name);
        let has_route = |route: &Route, plugin: &PluginName| {
            running.routes.iter().any(|old| old.pattern == route.pattern && old.leads_to(plugin))
        };
        let routes = self.routes.iter().all(|route| {
            let emitter =
                route.source.as_deref().and_then(|source| source.strip_prefix("plugins/"));
            let comes = emitter.is_none_or(is_there)
                || running.routes.iter().any(|old| old.pattern == route.pattern);
            comes && route.plugins().all(|plugin| is_there(plugin) || has_route(route, plugin))
        });
        routes
            && self.plugins.keys().all(|name| is_there(name) || running.plugins.contains_key(name))
    }

    /// Takes over the secrets of `running` for sources that have none here. For a changed
    /// `server.listen` that waits for a restart: until then the host listens where its own secrets
    /// are good enough. Where others reach it by way of a proxy, they are not.
    pub fn keep_secrets_of(&mut self, running: &Self) {
        let (url, proxies) = (self.server.public_url.as_deref(), &self.server.trusted_proxies);
        let is_proxied = Reach::of(DEFAULT_LISTEN, url, proxies) != Reach::ThisMachine;
        for (name, source) in &mut self.sources {
            let Some(old) = running.sources.get(name) else { continue };
            let (source::Verify::Signature(new), source::Verify::Signature(_)) =
                (&source.verify, &old.verify)
            else {
                continue;
            };
            let is_made = matches!(old.secrets, source::Secrets::Generated { .. });
            if is_proxied && is_made {
                continue;
            }
            if matches!(source.secrets, source::Secrets::Missing(_)) && new.has_secrets() {
                let secrets = old.secrets.clone();
                *source = Arc::new(Source { secrets, ..(**source).clone() });
                let about = |warning: &&Warning| warning.about == Some(About::Source(name.clone()));
                self.warnings.retain(|warning| !about(&warning));
                self.warnings.extend(running.warnings.iter().filter(about).cloned());
            }
        }
    }

    /// Says which files held a secret for `running` and hold none any more, though this file still
    /// names them. The file of one of several secrets may be removed.
    ///
    /// # Errors
    /// There are some: for people.
    pub fn keeps_secrets_of(&self, running: &Self) -> Result<(), String> {
        let has_others = |name: &str| {
            let Some(source) = self.sources.get(name) else { return false };
            matches!(source.verify, source::Verify::Signature(_))
                && matches!(source.secrets, source::Secrets::Set(_))
        };
        let lost = inputs::lost(&running.inputs, &self.inputs, has_others);
        match lost.is_empty() {
            true => Ok(()),
            false => Err(format!(
                "{}: files that it names held a secret and are empty or absent now, so the last one stays in use: {} \
                 (write the secret into the file, or take the file out of the configuration)",
                self.path.display(),
                lost.join(", ")
            )),
        }
    }

    /// The keys that differ and only take effect after a restart.
    pub fn restart_needed(&self, other: &Self) -> Vec<&'static str> {
        let (old, new) = (&self.server, &other.server);
        // Where the file says nothing else, it follows `store.url`, which is named.
        let beside_store = |config: &Self| config.server.data_dir == config.store.folder();
        let moved_with_store = beside_store(self) && beside_store(other);
        let keys = [
            ("server.listen", old.listen != new.listen),
            ("server.admin", old.admin != new.admin),
            ("server.plugins_dir", old.plugins_dir != new.plugins_dir),
            ("server.data_dir", old.data_dir != new.data_dir && !moved_with_store),
            ("server.plugin_stack", old.plugin_stack_bytes != new.plugin_stack_bytes),
            ("server.tree_events", old.tree_events != new.tree_events),
            ("server.tree_size", old.tree_bytes != new.tree_bytes),
            ("store.url", self.store.place != other.store.place),
            ("store.secret_key", self.store.secret_key != other.store.secret_key),
            ("store.max_size", self.store.max_bytes != other.store.max_bytes),
            ("telemetry.otlp", self.telemetry.otlp != other.telemetry.otlp),
            ("telemetry.headers", self.telemetry.headers != other.telemetry.headers),
            ("telemetry.ca_file", self.telemetry.authorities != other.telemetry.authorities),
            ("telemetry.subjects", self.telemetry.subjects != other.telemetry.subjects),
            ("telemetry.join", self.telemetry.join_ms != other.telemetry.join_ms),
        ];
        keys.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
    }
}
