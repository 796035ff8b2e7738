//! The registry: every plugin the host knows of, one immutable snapshot that is swapped whole.
//!
//! Of each plugin it holds what runs, and where its newest file stands:
//!
//! ```text
//!              at rest             its turn            loads         asks for no more
//!  observed ───────────► queued ───────────► compiling ──────► loaded ────────────────► admitted: it runs
//!                                                │                │                            ▲
//!                                                │ does not       │ asks for more   approved   │
//!                                                ▼                ▼                            │
//!                                             failed            held ──────────────────────────┘
//! ```
//!
//! A file that changes begins anew; one that goes is removed. [`LoadQueue`](super::LoadQueue) has
//! the files up to `loaded`; what becomes of them is a [`Step`], and [`Entry::apply`] takes it.
//!
//! Invariant: a plugin that was loaded stays until a newer file of it has been admitted or its file
//! is removed; a file that fails or is held changes nothing but what is reported.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::directory::{MAX_PLUGINS, ObservedFile};
use super::loader::CurrentDigests;
use crate::config::Routes;
use crate::event::PluginName;

mod entry;

pub(super) use entry::Step;
pub use entry::{Change, Entry, Loaded, PendingApproval};

/// Every plugin the host knows of, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    pub(super) entries: BTreeMap<PluginName, Entry>,
    problems: Vec<String>,
}

impl Registry {
    /// A registry of these plugins, which knows of no file, for a host without a folder.
    pub fn of(plugins: impl IntoIterator<Item = Loaded>) -> Self {
        let entry = |loaded: Loaded| (loaded.name.clone(), Entry::of(Arc::new(loaded)));
        let entries = plugins.into_iter().map(entry).collect();
        Self { entries, problems: Vec::new() }
    }

    /// What runs under this name.
    pub fn loaded(&self, name: &str) -> Option<&Arc<Loaded>> {
        self.entries.get(name).and_then(|entry| entry.loaded.as_ref())
    }

    /// What is known of this name.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// Every entry, by name.
    pub fn entries(&self) -> impl Iterator<Item = (&PluginName, &Entry)> {
        self.entries.iter()
    }

    /// The plugins of which a file has been queued since `older`.
    pub fn newly_compiling<'a>(&'a self, older: &'a Self) -> impl Iterator<Item = (&'a PluginName, &'a Entry)> {
        let compiles = |entry: &Entry| entry.compiling_since_ms.is_some();
        self.entries().filter(move |(name, entry)| compiles(entry) && !older.entry(name).is_some_and(compiles))
    }

    /// What is wrong with the folder itself: it cannot be read, holds too much, or files no plugin
    /// can have.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// The same registry with an entry for every plugin that a route leads to, and without those
    /// that none leads to any more and of which nothing else is known.
    #[must_use]
    pub fn with_routed(&self, routes: &Routes) -> Self {
        let routed: BTreeSet<&PluginName> = routes.iter().flat_map(|route| &route.plugins).collect();
        let mut next = self.clone();
        next.entries.iter_mut().for_each(|(name, entry)| entry.routed = routed.contains(name));
        for name in routed {
            next.entries.entry(name.clone()).or_default().routed = true;
        }
        next.forget_unknown();
        next
    }

    /// Whether a route leads to the plugin.
    pub(super) fn is_routed(&self, name: &str) -> bool {
        self.entries.get(name).is_some_and(|entry| entry.routed)
    }

    /// The newest file of the plugin that has come to a stage.
    pub(super) fn observed(&self, name: &str) -> &ObservedFile {
        self.entries.get(name).map_or(&ObservedFile::Absent, |entry| &entry.observed)
    }

    /// What of the plugin need not be compiled again.
    pub(super) fn current_digests(&self, name: &str) -> CurrentDigests {
        self.entries.get(name).map_or_else(CurrentDigests::default, |entry| CurrentDigests {
            running: entry.loaded.as_ref().map(|loaded| loaded.digest),
            held: entry.held().map(|held| held.candidate.digest),
        })
    }

    /// Takes a step with the newest file of a plugin.
    pub(super) fn apply(&mut self, name: &PluginName, observed: &ObservedFile, step: Step, now_ms: i64) -> Vec<Change> {
        let entry = self.entries.entry(name.clone()).or_default();
        entry.observed = observed.clone();
        let changes = entry.apply(name, step, now_ms);
        if !entry.is_known() && entry.compiling_since_ms.is_none() {
            self.entries.remove(name);
        }
        changes
    }

    /// Marks the plugins whose newest file is queued or being compiled, also where nothing else is
    /// known of them yet.
    pub(super) fn mark_compiling(&mut self, compiling: &BTreeSet<PluginName>, now_ms: i64) {
        for name in compiling {
            self.entries.entry(name.clone()).or_default();
        }
        for (name, entry) in &mut self.entries {
            let since_ms = entry.compiling_since_ms.unwrap_or(now_ms);
            entry.compiling_since_ms = compiling.contains(name).then_some(since_ms);
        }
        // The file of others changed or went before anything came of it.
        self.forget_unknown();
    }

    /// Takes over what is wrong with the folder; says what of it is new.
    pub(super) fn set_problems(&mut self, problems: Vec<String>) -> Vec<Change> {
        let old = std::mem::replace(&mut self.problems, problems);
        let news = self.problems.iter().filter(|problem| !old.contains(problem));
        news.cloned().map(Change::Folder).collect()
    }

    fn forget_unknown(&mut self) {
        self.entries.retain(|_, entry| entry.compiling_since_ms.is_some() || entry.is_known());
    }

    /// Keeps the number of entries bounded: names that come and go for ever are forgotten at some
    /// point.
    pub(super) fn forget_missing(&mut self) {
        if self.entries.len() > 2 * MAX_PLUGINS {
            let is_there = |entry: &Entry| entry.routed || entry.has_file();
            self.entries.retain(|_, entry| is_there(entry));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(plugins: &[&str]) -> Routes {
        Routes::new([("a.b", plugins.iter().map(|name| (*name).into()).collect())], |_| false).unwrap()
    }

    #[test]
    fn a_routed_plugin_without_a_file_is_missing_until_its_route_goes() {
        let registry = Registry::default().with_routed(&routes(&["x"]));
        let entry = registry.entry("x").unwrap();
        assert_eq!(
            (entry.state(), entry.problem()),
            ("missing", Some("there is no file of it in the plugins folder; its deliveries wait until there is one"))
        );
        assert!(registry.with_routed(&routes(&["y"])).entry("x").is_none());
    }
}
