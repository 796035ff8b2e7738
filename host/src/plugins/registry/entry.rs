//! One plugin in the registry, and the steps that its newest file takes.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use crate::event::{Digest, PluginName};
use crate::plugins::admission::{Admission, Asked};
use crate::plugins::directory::ObservedFile;
use crate::plugins::loader::LoadedFile;
use crate::plugins::usage::Usage;
use crate::sandbox::{Capability, CodeSource, Plugin};

/// The problem of a plugin that never had a file.
const NO_FILE: &str = "there is no file of it in the plugins folder; its deliveries wait until there is one";

/// The problem of a plugin whose file went.
const REMOVED: &str = "its file was removed; deliveries wait until it is put back";

/// What is known of one plugin.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    /// What runs; `None` if no file could be loaded yet, or the file was removed.
    pub loaded: Option<Arc<Loaded>>,
    /// Since when a file of it waits for the compiler or is being compiled, Unix ms; what runs goes
    /// on.
    pub compiling_since_ms: Option<i64>,
    /// The newest file that has come to a stage.
    pub(in crate::plugins) observed: ObservedFile,
    stage: Stage,
    /// Whether a route leads to the plugin: it is known then, also if it never had a file.
    pub(super) routed: bool,
}

/// What came of the newest file.
#[derive(Debug, Clone, Default)]
enum Stage {
    /// There has been none.
    #[default]
    NoFile,
    /// It was admitted, and runs.
    Admitted,
    /// It was not taken, and why, whole, for people.
    Failed(String),
    /// It waits to be approved.
    Held(PendingApproval),
    /// It was removed.
    Removed,
}

/// A plugin that can run.
#[derive(Debug)]
pub struct Loaded {
    /// The file's name without its ending.
    pub name: PluginName,
    /// What can be invoked.
    pub plugin: Plugin,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// Where it was read from.
    pub path: PathBuf,
    /// When, Unix ms.
    pub loaded_at_ms: i64,
    /// What the plugin has used of what it may, with the files before this one.
    pub usage: Arc<Usage>,
}

/// A file that can run, asks for more than its plugin may do, and waits to be approved.
#[derive(Debug, Clone)]
pub struct PendingApproval {
    /// What would run.
    pub candidate: Arc<Loaded>,
    /// What it imports beyond what runs, sorted.
    pub imports_added: Vec<String>,
    /// What it asks for beyond what the plugin may do.
    pub capabilities_added: BTreeSet<Capability>,
    /// Since when it waits, Unix ms.
    pub since_ms: i64,
    /// Why it is not known what the plugin may do, for people.
    pub trouble: Option<String>,
}

/// What becomes of the newest file of a plugin.
pub(in crate::plugins) enum Step {
    /// It runs from now on; if it asks for more than the last one, this is why it may.
    Admit(Box<LoadedFile>, Option<Admission>),
    /// It waits, because it asks for this; and why it is not known what the plugin may do. Until
    /// then what ran last runs.
    Hold { file: Box<LoadedFile>, last: Option<Box<LoadedFile>>, added: Asked, trouble: Option<String> },
    /// What was held runs from now on.
    Release(Option<Admission>),
    /// It is what waits already.
    Wait,
    /// It is what runs already.
    Restore,
    /// It cannot run, and why.
    Fail(String),
    /// It may run, which could not be stored, and why. It is tried again.
    Postpone(String),
    /// There is none any more.
    Remove,
}

/// One difference between two registries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A file was admitted and runs from now on.
    Loaded {
        /// Of the plugin.
        name: PluginName,
        /// What runs now.
        digest: Digest,
        /// What ran before.
        previous: Option<Digest>,
        /// Where its machine code came from; `None` if it was loaded already.
        source: Option<CodeSource>,
        /// Why it may ask for more than the last one, if it does.
        admission: Option<Admission>,
    },
    /// A file asks for more than its plugin may do, and waits. What ran before, if anything, goes
    /// on.
    Held {
        /// Of the plugin.
        name: PluginName,
        /// What waits.
        digest: Digest,
        /// What it asks for, for people.
        asks_for: String,
        /// The command that approves it.
        command: String,
    },
    /// A file was not taken. What ran before, if anything, goes on.
    Failed {
        /// Of the plugin.
        name: PluginName,
        /// Why, for people.
        problem: String,
    },
    /// The file is gone: nothing runs, deliveries wait.
    Removed {
        /// Of the plugin.
        name: PluginName,
    },
    /// Something is wrong with the folder itself; for people.
    Folder(String),
}

impl Entry {
    /// A plugin that runs and of which no file is known.
    pub(super) fn of(loaded: Arc<Loaded>) -> Self {
        Self { loaded: Some(loaded), stage: Stage::Admitted, ..Self::default() }
    }

    /// Where the plugin stands, in the word the API uses: `loaded`; `stale`, when an older good
    /// file runs because the newest one is bad; `held`, when the newest one waits to be approved
    /// and an older one, if there is one, runs; `compiling`, when nothing runs yet; `failed`, when
    /// nothing runs; `missing`, when the file was removed, or a route leads to it and there never
    /// was one. While a newer file is compiled, what runs goes on and keeps its word.
    pub fn state(&self) -> &'static str {
        match &self.stage {
            Stage::Held(_) => "held",
            Stage::Admitted => "loaded",
            Stage::Failed(_) if self.loaded.is_some() => "stale",
            _ if self.compiling_since_ms.is_some() => "compiling",
            Stage::Failed(_) => "failed",
            Stage::NoFile | Stage::Removed => "missing",
        }
    }

    /// Why the newest file was not taken, whole, for people.
    pub fn problem(&self) -> Option<&str> {
        match &self.stage {
            Stage::Failed(problem) => Some(problem),
            // The file that came is not at fault.
            _ if self.compiling_since_ms.is_some() => None,
            Stage::NoFile if self.routed => Some(NO_FILE),
            Stage::Removed => Some(REMOVED),
            _ => None,
        }
    }

    /// The newest file, if it waits to be approved.
    pub fn held(&self) -> Option<&PendingApproval> {
        if let Stage::Held(held) = &self.stage { Some(held) } else { None }
    }

    /// Whether there is more to it than a file that was observed.
    pub(super) fn is_known(&self) -> bool {
        self.routed || !matches!(self.stage, Stage::NoFile)
    }

    /// Whether there is a file of it, as far as anybody knows.
    pub(in crate::plugins) fn has_file(&self) -> bool {
        self.compiling_since_ms.is_some() || self.observed != ObservedFile::Absent
    }

    /// Whether it is known what its newest file is. Of one that is still to be compiled, or cannot
    /// be read, nothing is.
    pub(in crate::plugins) fn knows_its_file(&self) -> bool {
        let unread = matches!(self.observed, ObservedFile::Unfit(_)) || matches!(self.stage, Stage::NoFile);
        self.compiling_since_ms.is_none() && !unread
    }

    pub(super) fn apply(&mut self, name: &PluginName, step: Step, now_ms: i64) -> Vec<Change> {
        let previous = self.loaded.as_ref().map(|loaded| loaded.digest);
        match step {
            Step::Admit(file, admission) => vec![self.run(name, *file, admission, now_ms)],
            Step::Hold { file, last, added, trouble } => {
                let restarted = last.filter(|_| self.loaded.is_none()).map(|last| self.run(name, *last, None, now_ms));
                let candidate = Arc::new(self.load(name, *file, now_ms));
                let held = PendingApproval::new(candidate, self.loaded.as_deref(), added, trouble);
                let change = Change::Held {
                    name: name.clone(),
                    digest: held.candidate.digest,
                    asks_for: held.asks_for(),
                    command: held.command(),
                };
                self.stage = Stage::Held(held);
                restarted.into_iter().chain([change]).collect()
            }
            Step::Release(admission) => match std::mem::replace(&mut self.stage, Stage::Admitted) {
                Stage::Held(held) => {
                    let (name, digest, source) = (name.clone(), held.candidate.digest, None);
                    self.loaded = Some(held.candidate);
                    vec![Change::Loaded { name, digest, previous, source, admission }]
                }
                other => {
                    self.stage = other;
                    Vec::new()
                }
            },
            Step::Wait => Vec::new(),
            Step::Restore => {
                let was = std::mem::replace(&mut self.stage, Stage::Admitted);
                let digest = previous.filter(|_| !matches!(was, Stage::Admitted));
                let change =
                    |digest| Change::Loaded { name: name.clone(), digest, previous, source: None, admission: None };
                digest.map(change).into_iter().collect()
            }
            Step::Fail(problem) => self.fail(name, problem),
            Step::Postpone(problem) => {
                // Unlike any file, so that every refresh tries again.
                self.observed = ObservedFile::Unfit(problem.clone());
                self.fail(name, problem)
            }
            Step::Remove => {
                let ran = self.loaded.take().is_some() || matches!(self.stage, Stage::Held(_));
                match self.stage {
                    Stage::Removed => Vec::new(),
                    _ if ran => {
                        self.stage = Stage::Removed;
                        vec![Change::Removed { name: name.clone() }]
                    }
                    _ => {
                        self.stage = Stage::NoFile;
                        Vec::new()
                    }
                }
            }
        }
    }

    fn load(&self, name: &PluginName, file: LoadedFile, now_ms: i64) -> Loaded {
        let usage = self.loaded.as_ref().map(|loaded| Arc::clone(&loaded.usage)).unwrap_or_default();
        let LoadedFile { plugin, digest, path, .. } = file;
        Loaded { name: name.clone(), plugin, digest, path, loaded_at_ms: now_ms, usage }
    }

    /// Runs a file from now on.
    fn run(&mut self, name: &PluginName, file: LoadedFile, admission: Option<Admission>, now_ms: i64) -> Change {
        let previous = self.loaded.as_ref().map(|loaded| loaded.digest);
        let (digest, source) = (file.digest, Some(file.source));
        self.loaded = Some(Arc::new(self.load(name, file, now_ms)));
        self.stage = Stage::Admitted;
        Change::Loaded { name: name.clone(), digest, previous, source, admission }
    }

    fn fail(&mut self, name: &PluginName, problem: String) -> Vec<Change> {
        let said = self.problem() == Some(&problem);
        self.stage = Stage::Failed(problem.clone());
        if said { Vec::new() } else { vec![Change::Failed { name: name.clone(), problem }] }
    }
}

impl PendingApproval {
    fn new(candidate: Arc<Loaded>, runs: Option<&Loaded>, added: Asked, trouble: Option<String>) -> Self {
        let imported = runs.map(|loaded| loaded.plugin.imports()).unwrap_or_default();
        let new = candidate.plugin.imports().iter().filter(|import| !imported.contains(import));
        let (imports_added, since_ms) = (new.cloned().collect(), candidate.loaded_at_ms);
        Self { candidate, imports_added, capabilities_added: added, since_ms, trouble }
    }

    /// What it asks for, for people: `http, kv`.
    pub fn asks_for(&self) -> String {
        self.capabilities_added.iter().map(|capability| capability.name()).collect::<Vec<_>>().join(", ")
    }

    /// The command that approves it.
    pub fn command(&self) -> String {
        format!("hookbox plugins approve {} --digest {}", self.candidate.name, self.candidate.digest)
    }
}
