//! The load queue: reads and compiles plugin files, each in a task of its own.
//!
//! Two files are compiled at a time, one large and one small. So a plugin that takes milliseconds
//! does not wait for a runtime that takes seconds. In each of the two lines the plugin that was
//! begun least often is next; among equals, the one with the smallest file. A job is dropped when
//! its file changes, so a plugin whose file changes all the time leaves the compiler to the others.
//!
//! A plugin has one file, so it never takes both lines.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use super::admission::Approvals;
use super::directory::{Directory, ObservedFile};
use crate::clock::Clock;
use crate::event::{Digest, PluginName};
use crate::sandbox::{Cache, CodeSource, Compiler, Plugin, Sandbox};
use crate::tasks;

/// The largest small file, in bytes. Plugins written in Rust or C are small; those that bring an
/// interpreter or a runtime are not.
const SMALL_BYTES: u64 = 1 << 20;

/// The longest problem text of a file, in bytes.
const MAX_PROBLEM_BYTES: usize = 4_096;

/// Everything that loading a plugin needs.
#[derive(Debug, Clone)]
pub struct LoadContext {
    /// Runs the plugins.
    pub sandbox: Arc<Sandbox>,
    /// Makes a plugin out of a file.
    pub compiler: Compiler,
    /// The plugins folder, absolute.
    pub dir: PathBuf,
    /// Tells when a plugin was loaded.
    pub clock: Clock,
    /// Decides which files may run.
    pub approvals: Arc<Approvals>,
    /// Keeps the files that ran last, for a start that finds only a held file in the folder.
    pub files: Option<Cache>,
}

/// The outcome of loading a file.
pub(super) enum LoadOutcome {
    /// The same bytes run already.
    Running,
    /// The same bytes are held already.
    Held,
    /// The file can run. The second one is the file that ran last, if nothing runs and the new file
    /// is likely to be held.
    Loaded(Box<LoadedFile>, Option<Box<LoadedFile>>),
    /// The file cannot run, and why.
    Failed(String),
    /// The file changed while it was read.
    Changed,
}

/// A file that can run.
pub(super) struct LoadedFile {
    pub(super) plugin: Plugin,
    pub(super) digest: Digest,
    /// The origin of its machine code.
    pub(super) source: CodeSource,
    pub(super) size_bytes: u64,
    /// The path it was read from.
    pub(super) path: PathBuf,
}

/// The files of a plugin that need not be compiled again.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CurrentDigests {
    /// The file that runs.
    pub(super) running: Option<Digest>,
    /// The file that is held.
    pub(super) held: Option<Digest>,
}

/// The outcomes since they were last taken, by plugin name.
pub(super) type LoadOutcomes = BTreeMap<PluginName, (ObservedFile, LoadOutcome)>;

/// The files of one registry that are queued or being compiled.
pub struct LoadQueue {
    states: BTreeMap<PluginName, QueueState>,
    finished: UnboundedReceiver<(PluginName, ObservedFile, LoadOutcome)>,
    finish: UnboundedSender<(PluginName, ObservedFile, LoadOutcome)>,
    wake: Arc<Notify>,
}

/// One plugin in the queue.
#[derive(Default)]
struct QueueState {
    job: Option<Job>,
    /// The number of its jobs that were begun since the queue was last empty.
    begun: u32,
}

/// A file that is queued, or being compiled if there is a task.
struct Job {
    observed: ObservedFile,
    current: CurrentDigests,
    task: Option<JoinHandle<()>>,
}

impl Job {
    fn size_bytes(&self) -> u64 {
        if let ObservedFile::File { fingerprint, .. } = &self.observed {
            fingerprint.size
        } else {
            0
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl fmt::Debug for LoadQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queued: BTreeSet<_> = self.jobs().map(|(name, _)| name).collect();
        f.debug_struct("LoadQueue").field("jobs", &queued).finish_non_exhaustive()
    }
}

impl LoadQueue {
    /// An empty queue; `wake` is notified after each file.
    pub fn new(wake: Arc<Notify>) -> Self {
        let (finish, finished) = unbounded_channel();
        Self { states: BTreeMap::new(), finished, finish, wake }
    }

    /// Whether something is queued or being compiled.
    pub fn is_busy(&self) -> bool {
        self.jobs().next().is_some()
    }

    /// Waits until a file is finished; [`Registry::refresh`](super::Registry::refresh) then takes
    /// it.
    pub async fn progress(&self) {
        self.wake.notified().await;
    }

    /// The plugins that are compiled at this moment.
    #[cfg(test)]
    pub(super) fn compiling(&self) -> Vec<&str> {
        self.jobs().filter(|(_, job)| job.task.is_some()).map(|(name, _)| &**name).collect()
    }

    fn jobs(&self) -> impl Iterator<Item = (&PluginName, &Job)> {
        self.states.iter().filter_map(|(name, state)| Some((name, state.job.as_ref()?)))
    }

    /// Whether exactly this file is queued or being compiled.
    pub(super) fn has(&self, name: &str, observed: &ObservedFile) -> bool {
        let job = self.states.get(name).and_then(|state| state.job.as_ref());
        job.is_some_and(|job| job.observed == *observed)
    }

    /// Takes the outcomes of the finished jobs.
    pub(super) fn take_finished(&mut self) -> LoadOutcomes {
        let mut outcomes = LoadOutcomes::new();
        while let Ok((name, observed, outcome)) = self.finished.try_recv() {
            // A newer state of the file may have been queued since.
            if self.has(&name, &observed) {
                self.states.entry(name.clone()).or_default().job = None;
                outcomes.insert(name, (observed, outcome));
            }
        }
        outcomes
    }

    /// Drops the jobs that are not wanted any more.
    pub(super) fn keep_only(&mut self, wanted: impl Fn(&str, &ObservedFile) -> bool) {
        for (name, state) in &mut self.states {
            state.job.take_if(|job| !wanted(name, &job.observed));
        }
    }

    /// Queues a file; replaces an older job of the plugin.
    pub(super) fn add(
        &mut self,
        name: &PluginName,
        observed: &ObservedFile,
        current: CurrentDigests,
    ) {
        let job = Job { observed: observed.clone(), current, task: None };
        self.states.entry(name.clone()).or_default().job = Some(job);
    }

    /// Begins the jobs that can be begun. Jobs of `preferred` plugins come first, because events
    /// wait for them. Called after every change of the queue.
    pub(super) fn advance(&mut self, context: &LoadContext, preferred: impl Fn(&str) -> bool) {
        // Turns are counted anew once all files are done.
        if !self.is_busy() {
            self.states.clear();
        }
        for small in [true, false] {
            let line = self.states.iter_mut().filter_map(|(name, QueueState { job, begun })| {
                let job = job.as_mut().filter(|job| (job.size_bytes() <= SMALL_BYTES) == small)?;
                Some((name, job, begun))
            });
            // A job that is being compiled comes before all others.
            let next = line.min_by_key(|(name, job, begun)| {
                (job.task.is_none(), **begun, !preferred(name), job.size_bytes())
            });
            let Some((name, job, begun)) = next.filter(|(_, job, _)| job.task.is_none()) else {
                continue;
            };
            *begun += 1;
            let loading =
                load_file(context.clone(), name.clone(), job.observed.clone(), job.current);
            let (finish, wake) = (self.finish.clone(), self.wake.clone());
            job.task = Some(begin(loading, name.clone(), job.observed.clone(), finish, wake));
        }
    }
}

fn begin(
    loading: impl Future<Output = LoadOutcome> + Send + 'static,
    name: PluginName,
    observed: ObservedFile,
    finish: UnboundedSender<(PluginName, ObservedFile, LoadOutcome)>,
    wake: Arc<Notify>,
) -> JoinHandle<()> {
    tasks::spawn(async move {
        // Otherwise a panic would leave its file in the queue for ever.
        let outcome = match tasks::unwound(loading).await {
            Ok(outcome) => outcome,
            Err(panic) => {
                LoadOutcome::Failed(format!("failed to load {name}: the host has a fault: {panic}"))
            }
        };
        // Nothing receives it if the queue is gone.
        let _ = finish.send((name, observed, outcome));
        wake.notify_one();
    })
}

async fn load_file(
    context: LoadContext,
    name: PluginName,
    observed: ObservedFile,
    current: CurrentDigests,
) -> LoadOutcome {
    let ObservedFile::File { file_name, fingerprint } = observed else {
        return LoadOutcome::Changed;
    };
    let (dir, its_name) = (context.dir.clone(), file_name.clone());
    let read = move || {
        Directory::open(&dir)?.read(&its_name, &fingerprint).map(|bytes| bytes.map(digested))
    };
    let (file, digest) = match tasks::blocking(read).await {
        Ok(Some((file, digest))) => (Bytes::from(file), digest),
        Ok(None) => return LoadOutcome::Changed,
        Err(problem) => return LoadOutcome::Failed(problem),
    };
    // A file that was only touched is not compiled again.
    match Some(digest) {
        digest if digest == current.running => return LoadOutcome::Running,
        digest if digest == current.held => return LoadOutcome::Held,
        _ => {}
    }
    let path = context.dir.join(&file_name);
    let size_bytes = file.len() as u64;
    let loaded = match context.compiler.load(&context.sandbox, file.clone()).await {
        Ok((plugin, source)) => LoadedFile { plugin, digest, source, size_bytes, path },
        Err(error) => return LoadOutcome::Failed(describe(&file_name, &error)),
    };
    // If a file runs already, it goes on while the new one is held.
    let last =
        if current.running.is_none() { load_last(&context, &name, &loaded).await } else { None };
    tasks::blocking(move || keep_file(&context, &name, digest, &file)).await;
    LoadOutcome::Loaded(Box::new(loaded), last)
}

/// Loads the kept file that ran last, if `newest` is likely to be held.
async fn load_last(
    context: &LoadContext,
    name: &PluginName,
    newest: &LoadedFile,
) -> Option<Box<LoadedFile>> {
    let (files, approvals) = (context.files.clone()?, &context.approvals);
    if !approvals.holds(name, newest.digest, &newest.plugin.capabilities()).await {
        return None;
    }
    let digest = approvals.admitted(&[name.clone()].into()).await.pop_first()?;
    let (path, file) = tasks::blocking(move || files.file(digest)).await?;
    let size_bytes = file.len() as u64;
    match context.compiler.load(&context.sandbox, file.into()).await {
        Ok((plugin, source)) => {
            Some(Box::new(LoadedFile { plugin, digest, source, size_bytes, path }))
        }
        Err(error) => {
            tracing::error!(plugin.name = %name, error = %error, path = %path.display(), "a kept plugin cannot be loaded");
            None
        }
    }
}

/// Loads a file whose machine code is in the cache; `None` if it has to be compiled. Blocks.
pub(super) fn load_compiled(
    context: &LoadContext,
    directory: &Directory,
    name: &PluginName,
    observed: &ObservedFile,
) -> Option<LoadOutcome> {
    let ObservedFile::File { file_name, fingerprint } = observed else { return None };
    let (file, digest) = digested(directory.read(file_name, fingerprint).ok()??);
    let path = context.dir.join(file_name);
    match context.compiler.cached(&context.sandbox, &file)? {
        Ok(plugin) => {
            keep_file(context, name, digest, &file);
            let (source, size_bytes) = (CodeSource::Cache, file.len() as u64);
            let loaded = LoadedFile { plugin, digest, source, size_bytes, path };
            Some(LoadOutcome::Loaded(Box::new(loaded), None))
        }
        Err(error) => Some(LoadOutcome::Failed(describe(file_name, &error))),
    }
}

fn keep_file(context: &LoadContext, name: &PluginName, digest: Digest, file: &[u8]) {
    let kept = context.files.as_ref().map_or(Ok(()), |files| files.keep_file(digest, file));
    if let Err(error) = kept {
        // It is only needed if the next start finds a held file.
        tracing::warn!(plugin.name = %name, error = %error, "a plugin's file could not be kept");
    }
}

fn digested(bytes: Vec<u8>) -> (Vec<u8>, Digest) {
    let digest = Digest(Sha256::digest(&bytes).into());
    (bytes, digest)
}

/// Joins an error and its causes into one bounded text.
pub(super) fn describe(file_name: &str, error: &dyn std::error::Error) -> String {
    let mut text = format!("failed to load {file_name}: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    if text.len() > MAX_PROBLEM_BYTES {
        text.truncate(text.floor_char_boundary(MAX_PROBLEM_BYTES));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_its_causes_and_is_bounded() {
        #[derive(Debug, thiserror::Error)]
        #[error("it is bad")]
        struct Outer(#[source] std::io::Error);
        let error = |text: &str| Outer(std::io::Error::other(text.to_owned()));
        assert_eq!(
            describe("a.wasm", &error("a byte")),
            "failed to load a.wasm: it is bad: a byte"
        );
        let long = describe("a.wasm", &error(&"é".repeat(MAX_PROBLEM_BYTES)));
        assert!(long.len() <= MAX_PROBLEM_BYTES + '…'.len_utf8() && long.ends_with("é…"));
    }
}
