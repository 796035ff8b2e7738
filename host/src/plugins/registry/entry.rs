//! One plugin in the registry, and the steps of its newest file.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use crate::event::{Digest, PluginName};
use crate::plugins::admission::{Admission, AskedCapabilities};
use crate::plugins::directory::ObservedFile;
use crate::plugins::loader::LoadedFile;
use crate::plugins::usage::Usage;
use crate::sandbox::{Capability, CodeSource, Plugin};

/// The problem of a plugin that never had a file.
const NO_FILE: &str =
    "there is no file of it in the plugins folder; its deliveries wait until there is one";

/// The problem of a plugin whose file went.
const REMOVED: &str = "its file was removed; deliveries wait until it is put back";

/// The states of a plugin: see [`Entry::state`].
pub const PLUGIN_STATES: [&str; 6] = ["loaded", "stale", "held", "compiling", "failed", "missing"];

/// One plugin in the registry.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    /// The plugin that runs; `None` if no file could be loaded yet, or the file was removed.
    pub loaded: Option<Arc<Loaded>>,
    /// The time since which a file is queued or being compiled, Unix ms. The plugin that runs goes
    /// on.
    pub compiling_since_ms: Option<i64>,
    /// The file that the stage is about.
    pub(in crate::plugins) observed: ObservedFile,
    stage: FileStage,
    /// Whether a route leads to the plugin; it then has an entry even if it never had a file.
    pub(super) routed: bool,
}

/// The stage of the newest file.
#[derive(Debug, Clone, Default)]
enum FileStage {
    /// There has been no file.
    #[default]
    NoFile,
    /// The file was admitted and runs.
    Admitted,
    /// The file was not admitted, and why, for people.
    Failed(String),
    /// The file waits to be approved.
    Held(PendingApproval),
    /// The file was removed.
    Removed,
}

/// A plugin that can run.
#[derive(Debug)]
pub struct Loaded {
    /// The file's name without its ending.
    pub name: PluginName,
    /// The compiled plugin.
    pub plugin: Plugin,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// The path it was read from.
    pub path: PathBuf,
    /// The file's size, in bytes.
    pub size_bytes: u64,
    /// The origin of its machine code.
    pub source: CodeSource,
    /// The time of loading, Unix ms.
    pub loaded_at_ms: i64,
    /// Counts of its calls, together with those of the files before this one.
    pub usage: Arc<Usage>,
}

/// A file that can run, asks for more than its plugin may do, and waits to be approved.
#[derive(Debug, Clone)]
pub struct PendingApproval {
    /// The plugin that would run.
    pub candidate: Arc<Loaded>,
    /// Its imports that the running plugin does not have, sorted.
    pub imports_added: Vec<String>,
    /// The capabilities it asks for that the plugin does not have.
    pub capabilities_added: BTreeSet<Capability>,
    /// The time since which it waits, Unix ms.
    pub since_ms: i64,
    /// The reason why the plugin's capabilities are not known, for people.
    pub trouble: Option<String>,
}

/// The next step of a plugin's newest file.
pub(in crate::plugins) enum NextStep {
    /// Run the file; the admission says why it may ask for more than the last one.
    Admit(Box<LoadedFile>, Option<Admission>),
    /// Hold the file, because it asks for `added`. Meanwhile `last` runs, if nothing else does.
    Hold {
        file: Box<LoadedFile>,
        last: Option<Box<LoadedFile>>,
        added: AskedCapabilities,
        trouble: Option<String>,
    },
    /// Run the held file.
    Release(Option<Admission>),
    /// Go on holding the same file.
    Wait,
    /// Go on running the same file.
    Restore,
    /// Report that the file cannot run, and why.
    Fail(String),
    /// Try again, because the admission could not be stored, and why.
    Postpone(String),
    /// Stop the plugin: its file is gone.
    Remove,
}

/// One difference between two registries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A file was admitted and runs from now on.
    Loaded {
        /// The plugin.
        name: PluginName,
        /// The file that runs now.
        digest: Digest,
        /// The file that ran before.
        previous: Option<Digest>,
        /// The origin of its machine code; `None` if it was loaded already.
        source: Option<CodeSource>,
        /// The reason why it may ask for more than the last one, if it does.
        admission: Option<Admission>,
    },
    /// A file asks for more than its plugin may do, and waits. The plugin goes on as before.
    Held {
        /// The plugin.
        name: PluginName,
        /// The file that waits.
        digest: Digest,
        /// The capabilities it asks for, for people.
        asks_for: String,
        /// The command that approves it.
        command: String,
    },
    /// A file was not admitted. The plugin goes on as before.
    Failed {
        /// The plugin.
        name: PluginName,
        /// The reason, for people.
        problem: String,
    },
    /// The file is gone: nothing runs, and deliveries wait.
    Removed {
        /// The plugin.
        name: PluginName,
    },
    /// A problem of the folder itself, for people.
    Folder(String),
}

impl Entry {
    /// Makes the entry of a plugin that runs and has no file.
    pub(super) fn of(loaded: Arc<Loaded>) -> Self {
        Self { loaded: Some(loaded), stage: FileStage::Admitted, ..Self::default() }
    }

    /// The plugin's state, in the API's word, one of [`PLUGIN_STATES`]:
    ///
    /// - `loaded`: the newest file runs;
    /// - `stale`: an older file runs, because the newest one is bad;
    /// - `held`: the newest file waits to be approved; an older one, if there is one, runs;
    /// - `compiling`: nothing runs yet;
    /// - `failed`: nothing runs, because the newest file is bad;
    /// - `missing`: the file was removed, or a route leads to a plugin that never had one.
    ///
    /// The state of a plugin that runs stays while a newer file is compiled.
    pub fn state(&self) -> &'static str {
        match &self.stage {
            FileStage::Held(_) => "held",
            FileStage::Admitted => "loaded",
            FileStage::Failed(_) if self.loaded.is_some() => "stale",
            _ if self.compiling_since_ms.is_some() => "compiling",
            FileStage::Failed(_) => "failed",
            FileStage::NoFile | FileStage::Removed => "missing",
        }
    }

    /// The reason why the newest file was not admitted, for people.
    pub fn problem(&self) -> Option<&str> {
        match &self.stage {
            FileStage::Failed(problem) => Some(problem),
            // The file that is compiled now is not at fault.
            _ if self.compiling_since_ms.is_some() => None,
            FileStage::NoFile if self.routed => Some(NO_FILE),
            FileStage::Removed => Some(REMOVED),
            _ => None,
        }
    }

    /// The newest file, if it waits to be approved.
    pub fn held(&self) -> Option<&PendingApproval> {
        if let FileStage::Held(held) = &self.stage { Some(held) } else { None }
    }

    /// Whether the entry says more than that a file was observed.
    pub(super) fn is_known(&self) -> bool {
        self.routed || !matches!(self.stage, FileStage::NoFile)
    }

    /// Whether the plugin has a file, or a route leads to it.
    pub fn is_there(&self) -> bool {
        self.routed || self.has_file()
    }

    /// Whether the plugin has a file, as far as is known.
    pub(in crate::plugins) fn has_file(&self) -> bool {
        self.compiling_since_ms.is_some() || self.observed != ObservedFile::Absent
    }

    /// Whether the digest of its newest file is known. A file that is still to be compiled, or
    /// cannot be read, has none.
    pub(in crate::plugins) fn knows_its_file(&self) -> bool {
        let unread = matches!(self.observed, ObservedFile::Unfit(_))
            || matches!(self.stage, FileStage::NoFile);
        self.compiling_since_ms.is_none() && !unread
    }

    pub(super) fn apply(&mut self, name: &PluginName, step: NextStep, now_ms: i64) -> Vec<Change> {
        let previous = self.loaded.as_ref().map(|loaded| loaded.digest);
        match step {
            NextStep::Admit(file, admission) => vec![self.run(name, *file, admission, now_ms)],
            NextStep::Hold { file, last, added, trouble } => {
                let restarted = match last {
                    Some(last) if self.loaded.is_none() => {
                        Some(self.run(name, *last, None, now_ms))
                    }
                    _ => None,
                };
                let candidate = Arc::new(self.load(name, *file, now_ms));
                let held = PendingApproval::new(candidate, self.loaded.as_deref(), added, trouble);
                restarted.into_iter().chain([self.hold(name, held)]).collect()
            }
            NextStep::Release(admission) => {
                match std::mem::replace(&mut self.stage, FileStage::Admitted) {
                    FileStage::Held(held) => {
                        let (name, digest, source) = (name.clone(), held.candidate.digest, None);
                        self.loaded = Some(held.candidate);
                        vec![Change::Loaded { name, digest, previous, source, admission }]
                    }
                    other => {
                        self.stage = other;
                        Vec::new()
                    }
                }
            }
            NextStep::Wait => Vec::new(),
            NextStep::Restore => {
                // The file that runs is the newest again, after another one that failed or was
                // held.
                let was = std::mem::replace(&mut self.stage, FileStage::Admitted);
                let digest = if matches!(was, FileStage::Admitted) { None } else { previous };
                let change = |digest| Change::Loaded {
                    name: name.clone(),
                    digest,
                    previous,
                    source: None,
                    admission: None,
                };
                digest.map(change).into_iter().collect()
            }
            NextStep::Fail(problem) => self.fail(name, problem),
            NextStep::Postpone(problem) => {
                // No file equals this one, so every refresh tries again.
                self.observed = ObservedFile::Unfit(problem.clone());
                self.fail(name, problem)
            }
            NextStep::Remove => self.remove(name),
        }
    }

    fn hold(&mut self, name: &PluginName, held: PendingApproval) -> Change {
        let change = Change::Held {
            name: name.clone(),
            digest: held.candidate.digest,
            asks_for: held.asks_for(),
            command: held.command(),
        };
        self.stage = FileStage::Held(held);
        change
    }

    fn remove(&mut self, name: &PluginName) -> Vec<Change> {
        let ran = self.loaded.take().is_some() || matches!(self.stage, FileStage::Held(_));
        match self.stage {
            FileStage::Removed => Vec::new(),
            _ if ran => {
                self.stage = FileStage::Removed;
                vec![Change::Removed { name: name.clone() }]
            }
            _ => {
                self.stage = FileStage::NoFile;
                Vec::new()
            }
        }
    }

    fn load(&self, name: &PluginName, file: LoadedFile, now_ms: i64) -> Loaded {
        // The counts are those of the plugin, whichever file runs.
        let usage =
            self.loaded.as_ref().map(|loaded| Arc::clone(&loaded.usage)).unwrap_or_default();
        let LoadedFile { plugin, digest, source, size_bytes, path } = file;
        let (name, loaded_at_ms) = (name.clone(), now_ms);
        Loaded { name, plugin, digest, path, size_bytes, source, loaded_at_ms, usage }
    }

    /// Runs a file.
    fn run(
        &mut self,
        name: &PluginName,
        file: LoadedFile,
        admission: Option<Admission>,
        now_ms: i64,
    ) -> Change {
        let previous = self.loaded.as_ref().map(|loaded| loaded.digest);
        let (digest, source) = (file.digest, Some(file.source));
        self.loaded = Some(Arc::new(self.load(name, file, now_ms)));
        self.stage = FileStage::Admitted;
        Change::Loaded { name: name.clone(), digest, previous, source, admission }
    }

    fn fail(&mut self, name: &PluginName, problem: String) -> Vec<Change> {
        // A failure that every refresh meets again is reported once.
        let said = self.problem() == Some(&problem);
        self.stage = FileStage::Failed(problem.clone());
        if said { Vec::new() } else { vec![Change::Failed { name: name.clone(), problem }] }
    }
}

impl PendingApproval {
    fn new(
        candidate: Arc<Loaded>,
        runs: Option<&Loaded>,
        added: AskedCapabilities,
        trouble: Option<String>,
    ) -> Self {
        let imported = runs.map(|loaded| loaded.plugin.imports()).unwrap_or_default();
        let new = candidate.plugin.imports().iter().filter(|import| !imported.contains(import));
        let (imports_added, since_ms) = (new.cloned().collect(), candidate.loaded_at_ms);
        Self { candidate, imports_added, capabilities_added: added, since_ms, trouble }
    }

    /// The capabilities it asks for, for people: `http, kv`.
    pub fn asks_for(&self) -> String {
        self.capabilities_added
            .iter()
            .map(|capability| capability.name())
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// The command that approves it.
    pub fn command(&self) -> String {
        format!(
            "hookbox plugins approve {} --digest {}",
            self.candidate.name, self.candidate.digest
        )
    }
}
