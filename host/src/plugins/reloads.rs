//! The reloads of each plugin since the host started, the last of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use super::directory::MAX_PLUGINS;
use super::registry::{Change, Registry};
use super::usage::AttemptCounts;
use crate::event::Digest;
use crate::names::PluginName;
use crate::sandbox::CodeSource;

/// How many reloads of a plugin are kept.
const MAX_RELOADS: usize = 50;

/// The result of loading a plugin's file, or of its removal.
#[derive(Debug, Clone, PartialEq)]
pub struct Reload {
    /// When, Unix ms.
    pub at_ms: i64,
    /// The file that ran before.
    pub from: Option<Digest>,
    /// The new file, if it could be loaded; `None` also if there is none any more.
    pub to: Option<Digest>,
    /// `loaded`, `held`, `kept` or `removed`.
    pub result: &'static str,
    /// The time it took, the rights it asks for, or the reason of a failure; for people.
    pub detail: String,
    /// The share of failed attempts of the file that ran until then.
    pub failed_before: Option<f64>,
    /// The share of failed attempts from then on, until another file ran; absent if no new file
    /// ran.
    pub failed_after: Option<f64>,
}

/// The reloads of every plugin, and those that were asked for.
#[derive(Debug, Default)]
pub struct ReloadLog {
    noted: Mutex<BTreeMap<PluginName, VecDeque<NotedReload>>>,
    asked: Mutex<BTreeSet<PluginName>>,
}

#[derive(Debug)]
struct NotedReload {
    reload: Reload,
    /// Attempts of the plugin until then.
    counts: AttemptCounts,
}

impl Change {
    /// The plugin that a change is of, and its result, from a fixed set.
    pub fn result(&self) -> (&str, &'static str) {
        match self {
            Self::Loaded { name, .. } => (name, "loaded"),
            Self::Held { name, .. } => (name, "held"),
            Self::Failed { name, .. } => (name, "kept"),
            Self::Removed { name } => (name, "removed"),
            Self::Folder(_) => ("", "folder"),
        }
    }
}

impl ReloadLog {
    /// Notes what has changed from one registry to the next.
    pub fn note(&self, changes: &[Change], old: &Registry, new: &Registry, at_ms: i64) {
        let mut log = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() > 2 * MAX_PLUGINS {
            log.retain(|name, _| new.entry(name).is_some());
        }
        for change in changes {
            let (from, to, detail) = match change {
                Change::Loaded { digest, previous, source, admission, .. } => {
                    let added = admission.as_ref().map(|it| {
                        let added: Vec<_> = it.added.iter().map(|added| added.name()).collect();
                        format!("may use {} ({})", added.join(", "), it.reason)
                    });
                    let how = [source.map(how_it_came), added];
                    let how: Vec<_> = how.into_iter().flatten().collect();
                    (*previous, Some(*digest), how.join("; "))
                }
                Change::Held { name, digest, asks_for, .. } => {
                    (running(new, name), Some(*digest), format!("asks for {asks_for}"))
                }
                Change::Failed { name, problem } => (running(new, name), None, problem.clone()),
                Change::Removed { name } => (running(old, name), None, String::new()),
                Change::Folder(_) => continue,
            };
            let (name, result) = change.result();
            let usage = new.loaded(name).or_else(|| old.loaded(name)).map(|it| &it.usage);
            let counts = usage.map(|usage| usage.attempts()).unwrap_or_default();
            let of_plugin = log.entry(name.into()).or_default();
            if of_plugin.len() >= MAX_RELOADS {
                of_plugin.pop_front();
            }
            let (failed_before, failed_after) = (None, None);
            let reload = Reload { at_ms, from, to, result, detail, failed_before, failed_after };
            of_plugin.push_back(NotedReload { reload, counts });
        }
    }

    /// Asks that a plugin's file is read again, as if it had been touched.
    pub fn ask(&self, plugin: PluginName) {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(plugin);
    }

    /// The plugins whose files are to be read again; they are asked for no more.
    pub fn take_asked(&self) -> BTreeSet<PluginName> {
        std::mem::take(&mut self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The newest reload of a plugin, without the shares of failed attempts.
    pub fn last(&self, plugin: &str) -> Option<Reload> {
        let log = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        log.get(plugin)?.back().map(|noted| noted.reload.clone())
    }

    /// The reloads of a plugin, newest first, whose attempts were so many up to now.
    pub fn of(&self, plugin: &str, now: AttemptCounts) -> Vec<Reload> {
        let log = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let noted: Vec<_> = log.get(plugin).into_iter().flatten().collect();
        // Counts when the file that runs began to.
        let mut begun: Option<AttemptCounts> = None;
        let mut found = Vec::new();
        for (at, NotedReload { reload, counts }) in noted.iter().enumerate() {
            let mut reload = reload.clone();
            reload.failed_before = begun.and_then(|begun| counts.failed_since(begun));
            match reload.result {
                "loaded" => {
                    let mut later = noted[at + 1..].iter();
                    let end = later.find(|it| ["loaded", "removed"].contains(&it.reload.result));
                    let end = end.map_or(now, |end| end.counts);
                    reload.failed_after = end.failed_since(*counts);
                    begun = Some(*counts);
                }
                "removed" => begun = None,
                _ => {}
            }
            found.push(reload);
        }
        found.reverse();
        found
    }
}

fn running(registry: &Registry, name: &str) -> Option<Digest> {
    registry.loaded(name).map(|loaded| loaded.digest)
}

fn how_it_came(source: CodeSource) -> String {
    match source {
        CodeSource::Compiled { ms } => format!("compiled in {ms} ms"),
        CodeSource::Cache => "compiled before".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(digest: u8, previous: Option<u8>) -> Change {
        Change::Loaded {
            name: "audit".into(),
            digest: Digest([digest; 32]),
            previous: previous.map(|byte| Digest([byte; 32])),
            source: Some(CodeSource::Compiled { ms: 12 }),
            admission: None,
        }
    }

    #[test]
    fn failures_of_a_file_are_counted_from_when_it_ran_until_another_did() {
        let log = ReloadLog::default();
        let registry = Registry::default();
        let note = |change: Change, at_ms, attempts, failed| {
            log.note(&[change], &registry, &registry, at_ms);
            let mut log = log.noted.lock().unwrap();
            log.get_mut("audit").unwrap().back_mut().unwrap().counts =
                AttemptCounts { attempts, failed };
        };
        note(loaded(1, None), 1, 0, 0);
        note(Change::Failed { name: "audit".into(), problem: "bad".to_owned() }, 2, 10, 5);
        note(loaded(2, Some(1)), 3, 20, 5);
        note(Change::Removed { name: "audit".into() }, 4, 20, 5);
        note(loaded(3, None), 5, 0, 0);
        let found = log.of("audit", AttemptCounts { attempts: 4, failed: 4 });
        let shares: Vec<_> =
            found.iter().map(|it| (it.result, it.failed_before, it.failed_after)).collect();
        let expected = [
            ("loaded", None, Some(1.0)),
            ("removed", None, None),
            ("loaded", Some(0.25), None),
            ("kept", Some(0.5), None),
            ("loaded", None, Some(0.25)),
        ];
        assert_eq!(shares, expected);
        assert_eq!(
            (found[3].detail.as_str(), found[4].detail.as_str()),
            ("bad", "compiled in 12 ms")
        );
        assert!(log.of("nobody", AttemptCounts::default()).is_empty());
    }

    #[test]
    fn the_last_reloads_of_a_plugin_are_kept() {
        let log = ReloadLog::default();
        let registry = Registry::default();
        for at_ms in 0..60 {
            log.note(&[loaded(1, None)], &registry, &registry, at_ms);
        }
        let found = log.of("audit", AttemptCounts::default());
        assert_eq!((found.len(), found[0].at_ms), (MAX_RELOADS, 59));
    }
}
