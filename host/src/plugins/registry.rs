//! The registry: every plugin the host knows, one immutable snapshot that is swapped whole.
//!
//! An entry has the file that runs, and the stage of the plugin's newest file:
//!
//! ```text
//!             at rest            its turn           loads         asks for no more
//!  observed ─────────► queued ─────────► compiling ─────► loaded ─────────────────► admitted
//!                                            │              │                          ▲
//!                                            │ does not     │ asks for more   approved │
//!                                            ▼              ▼                          │
//!                                          failed          held ───────────────────────┘
//! ```
//!
//! An admitted file runs. A file that changes begins anew. [`LoadQueue`](super::LoadQueue) has the
//! files up to `loaded`. A [`NextStep`] takes them further, and [`Entry::apply`] applies it.
//!
//! Invariant: a plugin that runs goes on until a newer file of it is admitted or its file is
//! removed. A file that fails or is held changes only the report.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::directory::{MAX_PLUGINS, ObservedFile};
use super::loader::CurrentDigests;
use crate::config::Routes;
use crate::config::routes::Route;
use crate::names::PluginName;

mod entry;

pub(super) use entry::NextStep;
pub use entry::{Change, Entry, Loaded, PLUGIN_STATES, PendingApproval};

/// Every plugin the host knows, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    pub(super) entries: BTreeMap<PluginName, Entry>,
    problems: Vec<String>,
}

impl Registry {
    /// Makes a registry of plugins without files, for a host without a folder.
    pub fn of(plugins: impl IntoIterator<Item = Loaded>) -> Self {
        let entry = |loaded: Loaded| (loaded.name.clone(), Entry::of(Arc::new(loaded)));
        let entries = plugins.into_iter().map(entry).collect();
        Self { entries, problems: Vec::new() }
    }

    /// The plugin that runs under this name.
    pub fn loaded(&self, name: &str) -> Option<&Arc<Loaded>> {
        self.entries.get(name).and_then(|entry| entry.loaded.as_ref())
    }

    /// The entry of this name.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// Every entry, by name.
    pub fn entries(&self) -> impl Iterator<Item = (&PluginName, &Entry)> {
        self.entries.iter()
    }

    /// The plugins that have begun to compile since `older`.
    pub fn newly_compiling<'a>(
        &'a self,
        older: &'a Self,
    ) -> impl Iterator<Item = (&'a PluginName, &'a Entry)> {
        let compiles = |entry: &Entry| entry.compiling_since_ms.is_some();
        self.entries().filter(move |(name, entry)| {
            compiles(entry) && !older.entry(name).is_some_and(compiles)
        })
    }

    /// Problems of the folder itself: it cannot be read, holds too much, or has misnamed files.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Returns the registry with an entry for every routed plugin. Entries without a route go if
    /// nothing else is known of their plugin.
    #[must_use]
    pub fn with_routed(&self, routes: &Routes) -> Self {
        let routed: BTreeSet<&PluginName> = routes.iter().flat_map(Route::plugins).collect();
        let mut next = self.clone();
        next.entries.iter_mut().for_each(|(name, entry)| entry.routed = routed.contains(name));
        for name in routed {
            next.entries.entry(name.clone()).or_default().routed = true;
        }
        next.forget_unknown();
        next
    }

    /// Returns the registry as if the files of these plugins had been touched: the next refresh
    /// reads them again.
    #[must_use]
    pub fn touched(&self, names: &BTreeSet<PluginName>) -> Self {
        let mut next = self.clone();
        for (_, entry) in next.entries.iter_mut().filter(|(name, _)| names.contains(*name)) {
            // Other than any file, and still one.
            entry.observed = ObservedFile::Unfit(String::new());
        }
        next
    }

    /// Whether a route leads to the plugin.
    pub(super) fn is_routed(&self, name: &str) -> bool {
        self.entries.get(name).is_some_and(|entry| entry.routed)
    }

    /// The file that the plugin's entry is about.
    pub(super) fn observed(&self, name: &str) -> &ObservedFile {
        self.entries.get(name).map_or(&ObservedFile::Absent, |entry| &entry.observed)
    }

    /// The files of the plugin that need not be compiled again.
    pub(super) fn current_digests(&self, name: &str) -> CurrentDigests {
        self.entries.get(name).map_or_else(CurrentDigests::default, |entry| CurrentDigests {
            running: entry.loaded.as_ref().map(|loaded| loaded.digest),
            held: entry.held().map(|held| held.candidate.digest),
        })
    }

    /// Applies a step to the newest file of a plugin.
    pub(super) fn apply(
        &mut self,
        name: &PluginName,
        observed: &ObservedFile,
        step: NextStep,
        now_ms: i64,
    ) -> Vec<Change> {
        let entry = self.entries.entry(name.clone()).or_default();
        entry.observed = observed.clone();
        let changes = entry.apply(name, step, now_ms);
        if !entry.is_known() && entry.compiling_since_ms.is_none() {
            self.entries.remove(name);
        }
        changes
    }

    /// Marks the plugins whose newest file is queued or being compiled; makes their entries.
    pub(super) fn mark_compiling(&mut self, compiling: &BTreeSet<PluginName>, now_ms: i64) {
        for name in compiling {
            self.entries.entry(name.clone()).or_default();
        }
        for (name, entry) in &mut self.entries {
            let since_ms = entry.compiling_since_ms.unwrap_or(now_ms);
            entry.compiling_since_ms = compiling.contains(name).then_some(since_ms);
        }
        // A file may change or go before it is compiled.
        self.forget_unknown();
    }

    /// Replaces the problems of the folder; returns the new ones.
    pub(super) fn set_problems(&mut self, problems: Vec<String>) -> Vec<Change> {
        let old = std::mem::replace(&mut self.problems, problems);
        let news = self.problems.iter().filter(|problem| !old.contains(problem));
        news.cloned().map(Change::Folder).collect()
    }

    fn forget_unknown(&mut self) {
        self.entries.retain(|_, entry| entry.compiling_since_ms.is_some() || entry.is_known());
    }

    /// Bounds the number of entries: drops those of files that are gone when there are too many.
    pub(super) fn forget_missing(&mut self) {
        if self.entries.len() > 2 * MAX_PLUGINS {
            self.entries.retain(|_, entry| entry.is_there());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Target;

    fn routes(plugins: &[&str]) -> Routes {
        Routes::new([("a.b", plugins.iter().map(|name| Target::to(*name)).collect())], |_| false)
            .unwrap()
    }

    #[test]
    fn a_routed_plugin_without_a_file_is_missing_until_its_route_goes() {
        let registry = Registry::default().with_routed(&routes(&["x"]));
        let entry = registry.entry("x").unwrap();
        assert_eq!(
            (entry.state(), entry.problem()),
            (
                "missing",
                Some(
                    "there is no file of it in the plugins folder; its deliveries wait until there is one"
                )
            )
        );
        assert!(registry.with_routed(&routes(&["y"])).entry("x").is_none());
    }
}
