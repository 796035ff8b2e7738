//! The next shelf, made from the last one and from what the folder holds now.
//!
//! Whatever differs from what a slot was made of is looked at three times: before and after a short wait, and once
//! more after compiling. Only what was the same each time is acted upon, so a file that is still being written is
//! neither loaded nor called bad, and a file that is replaced by removing it first is not taken for removed.

use std::collections::BTreeMap;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::folder::{Folder, Look, MAX_PLUGINS, Seen, Stamp};
use super::{Loaded, Shelf, Slot};
use crate::clock::Clock;
use crate::event::{Digest, PluginName};
use crate::sandbox::{Plugin, Sandbox};
use crate::tasks;

/// How long a file must stay as it is before it is read, in milliseconds.
pub const SETTLE_MS: u64 = 100;

/// The longest text that is kept of what is wrong with a file, in bytes.
const MAX_PROBLEM_BYTES: usize = 4_096;

/// Where plugins come from.
#[derive(Debug, Clone)]
pub struct Stock {
    /// What makes a plugin out of a file.
    pub sandbox: Arc<Sandbox>,
    /// The plugins folder, absolute.
    pub dir: PathBuf,
    /// When a plugin was loaded.
    pub clock: Clock,
}

/// A new shelf and what is different in it.
#[derive(Debug)]
pub struct Refreshed {
    /// The whole shelf, also when nothing changed.
    pub shelf: Shelf,
    /// What changed, by name.
    pub changes: Vec<Change>,
    /// Something was changing while it was looked at and was left as it was: look again after [`SETTLE_MS`].
    pub unsettled: bool,
}

/// One difference between two shelves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A file was loaded and runs from now on.
    Loaded {
        /// Of the plugin.
        name: PluginName,
        /// What runs now.
        digest: Digest,
        /// What ran before.
        previous: Option<Digest>,
    },
    /// A file was not taken. What ran before, if anything, goes on.
    Kept {
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

impl Shelf {
    /// Loads every plugin in the folder.
    pub async fn load_all(stock: &Stock) -> Refreshed {
        Self::default().refresh(stock).await
    }

    /// Looks at the folder and makes the shelf that goes with it.
    ///
    /// Plugins whose files did not change are carried over as they are. Compiling happens away from the async
    /// workers, one file after the other (one compilation uses every core as it is).
    pub async fn refresh(&self, stock: &Stock) -> Refreshed {
        let first = match look(stock).await {
            Ok(look) => look,
            Err(problem) => return self.with_folder_problem(problem),
        };
        let differs = self.names(&first).any(|name| *first.get(name) != self.judged(name));
        if !differs {
            return self.assemble(stock, &first, Trials::default(), &first);
        }
        tokio::time::sleep(Duration::from_millis(SETTLE_MS)).await;
        let trials = {
            let (stock, shelf) = (stock.clone(), self.clone());
            tasks::blocking(move || shelf.try_files(&stock, &first).map(|trials| (first, trials))).await
        };
        let (first, trials) = match trials {
            Ok(both) => both,
            Err(problem) => return self.with_folder_problem(problem),
        };
        match look(stock).await {
            Ok(last) => self.assemble(stock, &first, trials, &last),
            Err(problem) => self.with_folder_problem(problem),
        }
    }

    fn names<'a>(&'a self, look: &'a Look) -> impl Iterator<Item = &'a PluginName> {
        let gone = self.slots.keys().filter(|name| !look.entries.contains_key(*name));
        look.entries.keys().chain(gone)
    }

    fn judged(&self, name: &str) -> Seen {
        self.slots.get(name).map_or(Seen::Absent, |slot| slot.judged.clone())
    }

    /// Compiles every file that is new to the shelf and has not changed since the `first` look.
    fn try_files(&self, stock: &Stock, first: &Look) -> Result<Trials, String> {
        let folder = Folder::open(&stock.dir)?;
        let second = folder.look()?;
        let mut trials = Trials::default();
        for (name, seen) in &first.entries {
            let Seen::File { file_name, stamp } = seen else { continue };
            if second.get(name) == seen && self.judged(name) != *seen {
                let running = self.loaded(name).map(|loaded| loaded.digest);
                if let Some(trial) = try_file(stock, &folder, file_name, stamp, running) {
                    trials.insert(name.clone(), trial);
                }
            }
        }
        Ok(trials)
    }

    /// Puts the new shelf together from what stayed the same between the `first` look and the `last`.
    fn assemble(&self, stock: &Stock, first: &Look, mut trials: Trials, last: &Look) -> Refreshed {
        let mut next = Refreshed { shelf: self.clone(), changes: Vec::new(), unsettled: false };
        for name in self.names(last) {
            let seen = last.get(name);
            if *seen == self.judged(name) {
                continue;
            }
            let trial = trials.remove(name);
            if seen != first.get(name) || (matches!(seen, Seen::File { .. }) && trial.is_none()) {
                next.unsettled = true;
                continue;
            }
            next.put(stock, name, seen, trial);
        }
        next.report_folder(last.misnamed.clone());
        next.forget_missing();
        next
    }

    fn with_folder_problem(&self, problem: String) -> Refreshed {
        let mut next = Refreshed { shelf: self.clone(), changes: Vec::new(), unsettled: false };
        next.report_folder(vec![problem]);
        next
    }
}

/// What came of files that were tried, by plugin name.
type Trials = BTreeMap<PluginName, Trial>;

enum Trial {
    /// It is, byte for byte, what runs already.
    Running,
    /// It can run.
    Good(Box<Plugin>, Digest),
    /// It cannot, and why.
    Bad(String),
}

impl Refreshed {
    fn put(&mut self, stock: &Stock, name: &PluginName, seen: &Seen, trial: Option<Trial>) {
        let slots = &mut self.shelf.slots;
        let slot = slots.entry(name.clone()).or_insert(Slot { loaded: None, problem: None, judged: Seen::Absent });
        slot.judged = seen.clone();
        let previous = slot.loaded.as_ref().map(|loaded| loaded.digest);
        let problem = match (seen, trial) {
            (Seen::File { file_name, .. }, Some(Trial::Good(plugin, digest))) => {
                let path = stock.dir.join(file_name);
                let loaded_at_ms = stock.clock.now_ms();
                slot.loaded =
                    Some(Arc::new(Loaded { name: name.clone(), plugin: *plugin, digest, path, loaded_at_ms }));
                slot.problem = None;
                self.changes.push(Change::Loaded { name: name.clone(), digest, previous });
                return;
            }
            (Seen::File { .. }, Some(Trial::Running)) => {
                let healed = slot.problem.take().is_some();
                if let (true, Some(digest)) = (healed, previous) {
                    self.changes.push(Change::Loaded { name: name.clone(), digest, previous });
                }
                return;
            }
            (Seen::Absent, _) => {
                if slot.loaded.take().is_none() {
                    // It never ran, or is reported as missing already.
                    slots.remove(name);
                    return;
                }
                slot.problem = Some("its file was removed; deliveries wait until it is put back".to_owned());
                self.changes.push(Change::Removed { name: name.clone() });
                return;
            }
            (Seen::Unfit(problem), _) => problem.clone(),
            (Seen::File { .. }, Some(Trial::Bad(problem))) => problem,
            (Seen::File { .. }, None) => return,
        };
        if slot.problem.as_ref() != Some(&problem) {
            slot.problem = Some(problem.clone());
            self.changes.push(Change::Kept { name: name.clone(), problem });
        }
    }

    fn report_folder(&mut self, problems: Vec<String>) {
        let old = std::mem::replace(&mut self.shelf.problems, problems);
        let news = self.shelf.problems.iter().filter(|problem| !old.contains(problem));
        self.changes.extend(news.cloned().map(Change::Folder));
    }

    /// Keeps the number of slots bounded: names that come and go for ever are forgotten at some point.
    fn forget_missing(&mut self) {
        let slots = &mut self.shelf.slots;
        if slots.len() > 2 * MAX_PLUGINS {
            slots.retain(|_, slot| slot.judged != Seen::Absent);
        }
    }
}

async fn look(stock: &Stock) -> Result<Look, String> {
    let dir = stock.dir.clone();
    tasks::blocking(move || Folder::open(&dir)?.look()).await
}

/// Reads and compiles one file; `None` if it changed meanwhile.
fn try_file(stock: &Stock, folder: &Folder, file_name: &str, stamp: &Stamp, running: Option<Digest>) -> Option<Trial> {
    let bytes = match folder.read(file_name, stamp) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return None,
        Err(problem) => return Some(Trial::Bad(problem)),
    };
    let digest = Digest(Sha256::digest(&bytes).into());
    if running == Some(digest) {
        return Some(Trial::Running);
    }
    // A compiler that panics on one strange file must not take the host's other plugins with it.
    let result = catch_unwind(AssertUnwindSafe(|| stock.sandbox.load(&bytes)));
    Some(match result {
        Ok(Ok(plugin)) => Trial::Good(Box::new(plugin), digest),
        Ok(Err(error)) => Trial::Bad(describe(file_name, &error)),
        Err(_) => Trial::Bad(format!("failed to load {file_name}: the compiler panicked")),
    })
}

/// The error and everything that caused it, in one bounded text.
fn describe(file_name: &str, error: &dyn Error) -> String {
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
mod tests;
