//! Hot reload: a change to the configuration or to a plugin file takes effect without a restart,
//! whole or not at all.
//!
//! `watch` notifies of events, and each refresh scans the files. The plugins folder comes first,
//! then the configuration, because a route is only valid if its plugin's file exists. Each is built
//! beside the running one and swapped with one store. On an error the running one stays, and
//! [`Status`] says why. The files of secrets that a configuration names belong to it. Running
//! attempts keep the plugin and the settings that they began with. No refresh waits for a compiler:
//! a compiled plugin wakes the next refresh.
//!
//! Events only make a change take effect sooner. A refresh also runs regularly without an event.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::plugins::{Change, LoadContext, LoadQueue, Registry, ReloadLog, SETTLE_MS, warnings};
use crate::sandbox::{Capability, CodeSource};
use crate::series::{Mark, Series};
use crate::status::{Status, Trouble};

mod file;
mod follow;
mod timing;
mod watch;

use file::{ConfigChange, ConfigFile};
use watch::Watch;

pub use follow::Follow;
pub use timing::ReloadTiming;

/// The parts of the host that are kept up to date.
#[derive(Debug, Clone)]
pub struct Watched {
    /// The running configuration.
    pub config: Arc<ArcSwap<Config>>,
    /// The running plugins.
    pub registry: Arc<ArcSwap<Registry>>,
    /// The folder of the plugins, and the parts that load them.
    pub context: LoadContext,
    /// Shows the result of a reload.
    pub status: Arc<Status>,
    /// Shows beside the charts when it was.
    pub series: Arc<Series>,
    /// Shows what became of each file.
    pub reloads: Arc<ReloadLog>,
}

/// Keeps configuration and plugins up to date until `shutdown`. SIGHUP begins a refresh at once
/// that reads the configuration also if it is unchanged.
///
/// `on_change` is called after every swap.
pub async fn run(
    watched: Watched,
    timing: ReloadTiming,
    on_change: impl Fn() + Send + Sync,
    shutdown: CancellationToken,
) {
    let mut reloader = Reloader::new(watched, timing, on_change);
    let mut hangup = signal(SignalKind::hangup()).ok();
    let mut ask = Ask::Scan;
    loop {
        let pause = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            pause = reloader.refresh(ask) => pause,
        };
        ask = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            () = received(hangup.as_mut()) => Ask::ReadConfig,
            () = watch::woken(&reloader.wake, timing.debounce_ms) => Ask::Scan,
            () = tokio::time::sleep(pause) => Ask::Scan,
        };
    }
}

async fn received(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// The task of a refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    /// Take changed files.
    Scan,
    /// Read the configuration also if its file is unchanged: other files that it names may have
    /// changed.
    ReadConfig,
}

struct Reloader<F> {
    watched: Watched,
    timing: ReloadTiming,
    on_change: F,
    /// The configuration of the start. A key that differs from it and cannot change in a running
    /// host needs a restart.
    started_with: Arc<Config>,
    file: ConfigFile,
    watch: Option<Watch>,
    queue: LoadQueue,
    /// Notified when something changed, a plugin was compiled or approved, or is to be loaded
    /// again.
    wake: Arc<Notify>,
}

impl<F> fmt::Debug for Reloader<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").field("watched", &self.watched).finish_non_exhaustive()
    }
}

impl<F: Fn()> Reloader<F> {
    fn new(watched: Watched, timing: ReloadTiming, on_change: F) -> Self {
        let started_with = watched.config.load_full();
        let file = ConfigFile::new(started_with.path.clone());
        let wake = watched.context.approvals.wake();
        Self {
            watched,
            timing,
            on_change,
            started_with,
            file,
            watch: None,
            queue: LoadQueue::new(wake.clone()),
            wake,
        }
    }

    /// Takes changed files. Returns how long to wait for an event before the next refresh.
    async fn refresh(&mut self, ask: Ask) -> Duration {
        // Before the scan, so that no change between the scan and the watch is missed.
        self.arm();
        let registry_unsettled = self.refresh_registry().await;
        let config_unsettled = self.refresh_config(ask).await;
        // A new configuration may name other files, which may have changed before the watch.
        let is_elsewhere = self.arm();
        let registry = self.watched.registry.load();
        // Another host of the same store may approve a held file.
        let is_held = registry.entries().any(|(_, entry)| entry.held().is_some());
        Duration::from_millis(match &self.watch {
            _ if registry_unsettled || config_unsettled || is_elsewhere => SETTLE_MS,
            Some(_) if !is_held => self.timing.poll_ms,
            _ => self.timing.unwatched_poll_ms,
        })
    }

    /// Starts watching, or starts again if a folder was replaced by another. Returns whether other
    /// folders are watched now.
    fn arm(&mut self) -> bool {
        let folders = watch::folders(&[&self.watched.context.dir], &self.file.paths());
        if self.watch.as_ref().is_some_and(|watch| watch.covers(&folders)) {
            return false;
        }
        self.watch = None;
        let now_ms = self.watched.context.clock.now_ms();
        match folders.and_then(|folders| Watch::start(folders, Arc::clone(&self.wake))) {
            Ok(watch) => {
                self.watch = Some(watch);
                self.watched.status.update(|condition| condition.watch = None);
            }
            Err(error) => {
                let text = format!(
                    "files are looked at every {} ms, because {error}",
                    self.timing.unwatched_poll_ms
                );
                if self
                    .watched
                    .status
                    .update(|condition| Trouble::note(&mut condition.watch, &text, now_ms))
                {
                    tracing::warn!(
                        error,
                        "cannot watch for changed files, looking every few seconds instead"
                    );
                }
            }
        }
        self.watch.is_some()
    }

    /// Announces a swap, before the rest of the refresh.
    fn swapped(&self) {
        (self.on_change)();
        self.watched.status.update(|condition| condition.generation += 1);
    }

    /// Takes changed plugin files. Returns whether one is still being written.
    async fn refresh_registry(&mut self) -> bool {
        let old = self.watched.registry.load_full();
        let asked = old.touched(&self.watched.reloads.take_asked());
        let refreshed = asked.refresh(&self.watched.context, &mut self.queue).await;
        report(&refreshed.changes, &refreshed.registry, &self.watched.config.load());
        report_compiling(&refreshed.registry, &old);
        let now_ms = self.watched.context.clock.now_ms();
        self.watched.reloads.note(&refreshed.changes, &old, &refreshed.registry, now_ms);
        for change in &refreshed.changes {
            let (name, result) = change.result();
            self.mark("plugin", name, result);
        }
        let changed = !refreshed.changes.is_empty();
        // Also without a change: the new registry knows of files that were touched and need not be
        // read again, and of files that are being compiled.
        self.watched.registry.store(Arc::new(refreshed.registry));
        if changed {
            self.swapped();
        }
        refreshed.unsettled
    }

    /// Takes a changed configuration. Returns whether a file is still being written.
    async fn refresh_config(&mut self, ask: Ask) -> bool {
        // The start has taken and reported this configuration already.
        let first = self.file.is_new();
        // The error may be in another file: a missing plugin, or a secret that could not be read.
        let again = ask == Ask::ReadConfig || self.file.has_failed();
        let running = self.watched.config.load_full();
        match self.file.read(again, &running).await {
            ConfigChange::Unchanged => return false,
            ConfigChange::Unsettled => return true,
            ConfigChange::Bad(problem) => self.report(&problem),
            ConfigChange::Good(mut config) => {
                let restart_needed = self.started_with.restart_needed(&config);
                if restart_needed.contains(&"server.listen") {
                    config.keep_secrets_of(&running);
                }
                // Only this task swaps the registry.
                let registry = Arc::new(self.watched.registry.load().with_routed(&config.routes));
                self.watched.registry.store(Arc::clone(&registry));
                if !first {
                    config.log_warnings();
                    registry
                        .entries()
                        .for_each(|(name, _)| warn_of_grants(name, &registry, &config));
                }
                // A held file may wait for a grant of the new configuration.
                if registry.entries().any(|(_, entry)| entry.held().is_some()) {
                    self.wake.notify_one();
                }
                self.watched.config.store(Arc::new(*config));
                metrics::gauge!("hookbox_config_last_reload_successful").set(1.0);
                metrics::gauge!("hookbox_config_last_reload_success_timestamp_seconds")
                    .set(self.watched.context.clock.now_ms() as f64 / 1e3);
                if !first {
                    metrics::counter!("hookbox_config_reloads_total", "result" => "ok")
                        .increment(1);
                    self.mark("config", "", "taken");
                    tracing::info!(config.restart_needed = ?restart_needed, "configuration taken");
                }
                let read_ms = self.watched.context.clock.now_ms();
                self.watched.status.update(|condition| {
                    condition.read_ms = Some(read_ms);
                    condition.config = None;
                    condition.restart_needed = restart_needed;
                });
                self.swapped();
            }
        }
        false
    }

    fn mark(&self, what: &'static str, name: &str, result: &'static str) {
        let at_ms = self.watched.context.clock.now_ms();
        self.watched.series.mark(Mark { at_ms, what, name: name.to_owned(), result });
    }

    fn report(&self, problem: &str) {
        let now_ms = self.watched.context.clock.now_ms();
        if self
            .watched
            .status
            .update(|condition| Trouble::note(&mut condition.config, problem, now_ms))
        {
            metrics::counter!("hookbox_config_reloads_total", "result" => "error").increment(1);
            metrics::gauge!("hookbox_config_last_reload_successful").set(0.0);
            self.mark("config", "", "refused");
            tracing::error!(error = problem, "configuration not taken, the last good one goes on");
        }
    }
}

/// Logs changes of the registry, and settings that have no effect on the loaded plugins.
pub fn report(changes: &[Change], registry: &Registry, config: &Config) {
    for change in changes {
        log(change);
        if let Change::Loaded { name, .. } = change {
            warn_of_grants(name, registry, config);
        }
    }
}

/// Logs which files are being compiled that were not in the previous registry.
pub fn report_compiling(registry: &Registry, before: &Registry) {
    for (name, entry) in registry.newly_compiling(before) {
        let runs = entry.loaded.as_ref().map(|loaded| loaded.digest.short());
        match runs {
            Some(digest) => {
                tracing::info!(plugin.name = %name, plugin.digest = digest, "compiling a newer plugin file, the older one runs");
            }
            None => {
                tracing::info!(plugin.name = %name, "compiling a plugin file, its deliveries wait")
            }
        }
    }
}

fn warn_of_grants(name: &str, registry: &Registry, config: &Config) {
    let Some(loaded) = registry.loaded(name) else { return };
    for warning in warnings(name, &config.plugin(name), &loaded.plugin) {
        tracing::warn!(plugin.name = name, "{warning}");
    }
}

fn log(change: &Change) {
    match change {
        Change::Loaded { name, digest, previous, source, admission } => {
            let previous = previous.map(|digest| digest.short());
            let (compiled, compile_ms) = match source {
                Some(CodeSource::Compiled { ms }) => (Some("now"), Some(*ms)),
                Some(CodeSource::Cache) => (Some("before"), None),
                None => (None, None),
            };
            tracing::info!(
                plugin.name = %name,
                plugin.digest = digest.short(),
                plugin.previous = previous,
                plugin.compiled = compiled,
                plugin.compile_ms = compile_ms,
                plugin.added = admission.as_ref().map(|admission| list(&admission.added)),
                plugin.let_in = admission.as_ref().map(|admission| admission.reason),
                "plugin loaded"
            );
        }
        Change::Held { name, digest, asks_for, command } => {
            tracing::warn!(
                plugin.name = %name,
                plugin.digest = digest.short(),
                plugin.asks_for = asks_for,
                "plugin file held, it asks for more: let it in with `{command}`, or every file of it with \
                 `approve = \"auto\"` under `[plugins.{name}]`"
            );
        }
        Change::Failed { name, problem } => {
            tracing::error!(plugin.name = %name, error = problem, "plugin file not taken");
        }
        Change::Removed { name } => {
            tracing::warn!(plugin.name = %name, "plugin file removed, its deliveries wait");
        }
        Change::Folder(problem) => {
            tracing::error!(error = problem, "plugins folder not taken as it is");
        }
    }
    let (plugin, result) = change.result();
    let plugin = plugin.to_owned();
    metrics::counter!("hookbox_plugin_reloads_total", "plugin" => plugin, "result" => result)
        .increment(1);
}

fn list(capabilities: &BTreeSet<Capability>) -> String {
    capabilities.iter().map(|capability| capability.name()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
