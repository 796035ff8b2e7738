//! Files that are being read and compiled, each in a task of its own, or wait for that.
//!
//! Two are compiled at a time: one large one, and beside it one small one, so that a plugin that takes milliseconds does
//! not wait for a runtime that takes seconds. In each of these lines the plugin is next that was begun least often, and of
//! those the one with the smallest file. Work on a file that changed meanwhile is given up; a plugin whose file changes all
//! the time therefore leaves the compiler to the others.
//!
//! A plugin has one file, so it is compiled once at a time: none takes both lines.

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

use super::Stock;
use super::approvals::{Asked, LetIn};
use super::folder::{Folder, Seen, Stamp};
use crate::event::{Digest, PluginName};
use crate::sandbox::{CodeSource, Plugin};
use crate::tasks;

/// Up to this size a file is a small one, in bytes: what was written in Rust or C is, what brings an interpreter or a
/// runtime along is not.
const SMALL_BYTES: u64 = 1 << 20;

/// The longest text that is kept of what is wrong with a file, in bytes.
const MAX_PROBLEM_BYTES: usize = 4_096;

/// What came of a file that was tried.
pub(super) enum Trial {
    /// It is, byte for byte, what runs already.
    Running,
    /// It is, byte for byte, what is held already.
    Waiting,
    /// It can run.
    Good(Box<Good>),
    /// It could run and asks for more than it may, namely for this; why nothing is known of what it may.
    Held(Box<Good>, Asked, Option<String>),
    /// What was held may run now.
    Released(Option<LetIn>),
    /// It may run, and that could not be noted.
    NotNoted(String),
    /// It cannot, and why.
    Bad(String),
    /// It changed while it was read.
    Changed,
}

/// A file that can run.
pub(super) struct Good {
    pub(super) plugin: Plugin,
    pub(super) digest: Digest,
    pub(super) origin: CodeSource,
    /// Why it may ask for more than the last one, if it does.
    pub(super) let_in: Option<LetIn>,
    /// What ran last, and where it is kept, if nothing runs and this is likely to be held.
    pub(super) last: Option<Box<(PathBuf, Good)>>,
}

/// What of a plugin need not be compiled again.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    /// What runs.
    pub(super) running: Option<Digest>,
    /// What is held.
    pub(super) held: Option<Digest>,
}

impl Good {
    fn new((plugin, origin): (Plugin, CodeSource), digest: Digest) -> Self {
        Self { plugin, digest, origin, let_in: None, last: None }
    }
}

/// What came of every file that was tried since this was last asked, by plugin name.
pub(super) type Trials = BTreeMap<PluginName, (Seen, Trial)>;

/// What is under way for one shelf.
pub struct Work {
    jobs: BTreeMap<PluginName, Job>,
    /// How often each was begun since there was last nothing to do.
    begun: BTreeMap<PluginName, u32>,
    /// Plugins whose files come before those of others, because events wait for them.
    wanted: BTreeSet<PluginName>,
    finished: UnboundedReceiver<(PluginName, Seen, Trial)>,
    finish: UnboundedSender<(PluginName, Seen, Trial)>,
    wake: Arc<Notify>,
}

/// A file that is tried.
struct Job {
    seen: Seen,
    known: Known,
    /// Where it is its turn.
    task: Option<JoinHandle<()>>,
}

impl Job {
    fn size_bytes(&self) -> u64 {
        if let Seen::File { stamp, .. } = &self.seen { stamp.size } else { 0 }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").field("jobs", &self.jobs.keys()).finish_non_exhaustive()
    }
}

impl Work {
    /// No work; `wake` is notified after each file.
    pub fn new(wake: Arc<Notify>) -> Self {
        let (finish, finished) = unbounded_channel();
        let (jobs, begun, wanted) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { jobs, begun, wanted, finished, finish, wake }
    }

    /// Names the plugins whose files are compiled first.
    pub fn prefer(&mut self, wanted: BTreeSet<PluginName>) {
        self.wanted = wanted;
    }

    /// Whether something is under way.
    pub fn is_busy(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// Waits until a file is finished; [`Shelf::refresh`](super::Shelf::refresh) then takes it.
    pub async fn progress(&self) {
        self.wake.notified().await;
    }

    /// What is compiled at this moment.
    #[cfg(test)]
    pub(super) fn at_work(&self) -> Vec<&str> {
        self.jobs.iter().filter(|(_, job)| job.task.is_some()).map(|(name, _)| &**name).collect()
    }

    /// Whether this very file is being tried, or will be.
    pub(super) fn is_on(&self, name: &str, seen: &Seen) -> bool {
        self.jobs.get(name).is_some_and(|job| job.seen == *seen)
    }

    /// Hands over what is finished.
    pub(super) fn take_finished(&mut self) -> Trials {
        let mut trials = Trials::new();
        while let Ok((name, seen, trial)) = self.finished.try_recv() {
            // Another state of the file may be under way since.
            if self.is_on(&name, &seen) {
                self.jobs.remove(&name);
                trials.insert(name, (seen, trial));
            }
        }
        trials
    }

    /// Gives up what is not wanted any more.
    pub(super) fn keep_only(&mut self, wanted: impl Fn(&str, &Seen) -> bool) {
        self.jobs.retain(|name, job| wanted(name, &job.seen));
    }

    /// Lines up a file, in place of what was tried under this name.
    pub(super) fn add(&mut self, name: &PluginName, seen: &Seen, known: Known) {
        self.jobs.insert(name.clone(), Job { seen: seen.clone(), known, task: None });
    }

    /// Begins what can be begun. Called after everything that ends or adds a job.
    pub(super) fn advance(&mut self, stock: &Stock) {
        if self.jobs.is_empty() {
            self.begun.clear();
        }
        for small in [true, false] {
            let in_line = |job: &Job| (job.size_bytes() <= SMALL_BYTES) == small;
            let (finish, wake) = (&self.finish, &self.wake);
            let line = self.jobs.iter_mut().filter(|(_, job)| in_line(job));
            let wanted = |name: &PluginName| self.wanted.contains(name);
            let begun = |name: &PluginName| self.begun.get(name).copied().unwrap_or(0);
            // Whoever is at work comes before all others.
            if let Some((name, job)) =
                line.min_by_key(|(name, job)| (job.task.is_none(), begun(name), !wanted(name), job.size_bytes()))
                && job.task.is_none()
            {
                *self.begun.entry(name.clone()).or_default() += 1;
                let trying = try_file(stock.clone(), name.clone(), job.seen.clone(), job.known);
                job.task = Some(begin(trying, name.clone(), job.seen.clone(), finish.clone(), wake.clone()));
            }
        }
    }
}

fn begin(
    trying: impl Future<Output = Trial> + Send + 'static,
    name: PluginName,
    seen: Seen,
    finish: UnboundedSender<(PluginName, Seen, Trial)>,
    wake: Arc<Notify>,
) -> JoinHandle<()> {
    tasks::spawn(async move {
        // A panic over one strange file must not leave it under way for ever.
        let trial = match tasks::unwound(trying).await {
            Ok(trial) => trial,
            Err(panic) => Trial::Bad(format!("failed to load {name}: the host has a fault: {panic}")),
        };
        // Nobody waits for it if its work is gone.
        let _ = finish.send((name, seen, trial));
        wake.notify_one();
    })
}

async fn try_file(stock: Stock, name: PluginName, seen: Seen, known: Known) -> Trial {
    let Seen::File { file_name, stamp } = seen else { return Trial::Changed };
    let (dir, its_name) = (stock.dir.clone(), file_name.clone());
    let read = move || Folder::open(&dir)?.read(&its_name, &stamp).map(|bytes| bytes.map(digested));
    let (file, digest) = match tasks::blocking(read).await {
        Ok(Some((file, digest))) => (Bytes::from(file), digest),
        Ok(None) => return Trial::Changed,
        Err(problem) => return Trial::Bad(problem),
    };
    match Some(digest) {
        digest if digest == known.running => return Trial::Running,
        digest if digest == known.held => return Trial::Waiting,
        _ => {}
    }
    let mut good = match stock.compiler.load(&stock.sandbox, file.clone()).await {
        Ok(made) => Good::new(made, digest),
        Err(error) => return Trial::Bad(describe(&file_name, &error)),
    };
    if known.running.is_none() {
        good.last = last(&stock, &name, &good).await;
    }
    let approvals = Arc::clone(&stock.approvals);
    tasks::blocking(move || approvals.keep(&name, digest, &file)).await;
    Trial::Good(Box::new(good))
}

/// What ran last, from where it is kept, if `newest` is likely to be held.
async fn last(stock: &Stock, name: &PluginName, newest: &Good) -> Option<Box<(PathBuf, Good)>> {
    let (approvals, its_name) = (Arc::clone(&stock.approvals), name.clone());
    let (digest, asked) = (newest.digest, newest.plugin.capabilities());
    let held = move || approvals.holds(&its_name, digest, &asked).then(|| approvals.kept(&its_name)).flatten();
    let (path, file, digest) = tasks::blocking(held).await?;
    match stock.compiler.load(&stock.sandbox, file.into()).await {
        Ok(made) => Some(Box::new((path, Good::new(made, digest)))),
        Err(error) => {
            tracing::error!(plugin.name = %name, error = %error, path = %path.display(), "a kept plugin cannot be loaded");
            None
        }
    }
}

/// A file that need not be compiled, because that was done at an earlier time; [`Trial::Changed`] of any other. Blocks.
pub(super) fn try_kept(stock: &Stock, folder: &Folder, name: &PluginName, file_name: &str, stamp: &Stamp) -> Trial {
    let Ok(Some((file, digest))) = folder.read(file_name, stamp).map(|bytes| bytes.map(digested)) else {
        return Trial::Changed;
    };
    let good = match stock.compiler.cached(&stock.sandbox, &file) {
        Some(Ok(plugin)) => Good::new((plugin, CodeSource::Cache), digest),
        Some(Err(error)) => return Trial::Bad(describe(file_name, &error)),
        None => return Trial::Changed,
    };
    // Then what ran last is needed as well, and may have to be compiled.
    if stock.approvals.holds(name, digest, &good.plugin.capabilities()) {
        return Trial::Changed;
    }
    stock.approvals.keep(name, digest, &file);
    Trial::Good(Box::new(good))
}

fn digested(bytes: Vec<u8>) -> (Vec<u8>, Digest) {
    let digest = Digest(Sha256::digest(&bytes).into());
    (bytes, digest)
}

/// The error and everything that caused it, in one bounded text.
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
        assert_eq!(describe("a.wasm", &error("a byte")), "failed to load a.wasm: it is bad: a byte");
        let long = describe("a.wasm", &error(&"é".repeat(MAX_PROBLEM_BYTES)));
        assert!(long.len() <= MAX_PROBLEM_BYTES + '…'.len_utf8() && long.ends_with("é…"));
    }
}
