//! The next shelf, made from the last one and from what the folder holds now.
//!
//! Whatever differs from what a slot was made of is looked at three times: before and after a short wait, and once
//! more after it was read and compiled. Only what was the same each time is acted upon, so a file that is still being
//! written is neither loaded nor called bad, and a file that is replaced by removing it first is not taken for removed.
//!
//! A refresh waits for no compiler: it begins the work, and a later one takes what came of it, plugin by plugin.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::folder::{Folder, Look, MAX_PLUGINS, Seen};
use super::work::{Trial, Trials, Work, try_kept};
use super::{Loaded, Shelf};
use crate::clock::Clock;
use crate::event::{Digest, PluginName};
use crate::sandbox::{Compiler, Origin, Sandbox};
use crate::tasks;

/// How long a file must stay as it is before it is read, in milliseconds.
pub const SETTLE_MS: u64 = 100;

/// Where plugins come from.
#[derive(Debug, Clone)]
pub struct Stock {
    /// What plugins run in.
    pub sandbox: Arc<Sandbox>,
    /// What makes a plugin out of a file.
    pub compiler: Compiler,
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
        /// Where its machine code came from; `None` if it ran already.
        origin: Option<Origin>,
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
    /// What a host begins with: every plugin in the folder that need not be compiled. The others are `compiling`, which
    /// the first refresh sees to.
    pub async fn begin(stock: &Stock) -> Refreshed {
        let its_stock = stock.clone();
        let kept = tasks::blocking(move || {
            let folder = Folder::open(&its_stock.dir)?;
            let look = folder.look()?;
            let mut trials = Trials::new();
            for (name, seen) in &look.entries {
                let Seen::File { file_name, stamp } = seen else { continue };
                trials.insert(name.clone(), (seen.clone(), try_kept(&its_stock, &folder, file_name, stamp)));
            }
            Ok::<_, String>((look, trials))
        });
        match kept.await {
            Ok((look, trials)) => Self::default().with_kept(stock, &look, trials),
            Err(problem) => Self::default().with_folder_problem(problem),
        }
    }

    /// Loads every plugin in the folder, however long that takes.
    pub async fn load_all(stock: &Stock) -> Refreshed {
        let (mut work, mut changes) = (Work::new(Arc::new(Notify::new())), Vec::new());
        let mut refreshed = Self::default().refresh(stock, &mut work).await;
        while work.is_busy() {
            work.progress().await;
            changes.append(&mut refreshed.changes);
            refreshed = refreshed.shelf.refresh(stock, &mut work).await;
        }
        changes.append(&mut refreshed.changes);
        Refreshed { changes, ..refreshed }
    }

    /// Looks at the folder, takes what `work` has finished, begins what is new, and makes the shelf that goes with it.
    ///
    /// Plugins whose files did not change are carried over as they are.
    pub async fn refresh(&self, stock: &Stock, work: &mut Work) -> Refreshed {
        // Before the look, which therefore comes after whatever is finished.
        let trials = work.take_finished();
        let first = match look(stock).await {
            Ok(look) => look,
            Err(problem) => return self.give_up(work, problem),
        };
        let is_new = |name: &PluginName| {
            let seen = first.get(name);
            let tried = work.is_on(name, seen) || trials.get(name).is_some_and(|(tried, _)| tried == seen);
            *seen != self.judged(name) && !tried
        };
        if !self.names(&first).any(is_new) {
            return self.assemble(stock, &first, trials, &first, work);
        }
        tokio::time::sleep(Duration::from_millis(SETTLE_MS)).await;
        match look(stock).await {
            Ok(second) => self.assemble(stock, &first, trials, &second, work),
            Err(problem) => self.give_up(work, problem),
        }
    }

    /// Nothing can be said of any file: what is under way begins again when something can.
    fn give_up(&self, work: &mut Work, problem: String) -> Refreshed {
        work.keep_only(|_, _| false);
        self.with_folder_problem(problem)
    }

    fn names<'a>(&'a self, look: &'a Look) -> impl Iterator<Item = &'a PluginName> {
        let gone = self.slots.keys().filter(|name| !look.entries.contains_key(*name));
        look.entries.keys().chain(gone)
    }

    fn judged(&self, name: &str) -> Seen {
        self.slots.get(name).map_or(Seen::Absent, |slot| slot.judged.clone())
    }

    /// Puts the new shelf together from what stayed the same in both looks, and begins what is left to be done.
    fn assemble(&self, stock: &Stock, first: &Look, mut trials: Trials, second: &Look, work: &mut Work) -> Refreshed {
        let mut next = Refreshed { shelf: self.clone(), changes: Vec::new(), unsettled: false };
        work.keep_only(|name, tried| second.get(name) == tried);
        for name in self.names(second) {
            let seen = second.get(name);
            if *seen == self.judged(name) || work.is_on(name, seen) {
                continue;
            }
            let trial = trials.remove(name).filter(|(tried, _)| tried == seen).map(|(_, trial)| trial);
            match (seen, trial) {
                _ if seen != first.get(name) => next.unsettled = true,
                (Seen::File { .. }, Some(Trial::Changed)) => next.unsettled = true,
                (Seen::File { .. }, None) => work.add(name, seen, self.loaded(name).map(|loaded| loaded.digest)),
                (_, trial) => next.put(stock, name, seen, trial),
            }
        }
        work.advance(stock);
        next.mark_compiling(second, |name, seen| work.is_on(name, seen));
        next.report_folder(second.misnamed.clone());
        next.forget_missing();
        next
    }

    /// The first shelf: what was kept, and what is still to be compiled.
    fn with_kept(&self, stock: &Stock, look: &Look, trials: Trials) -> Refreshed {
        let mut next = Refreshed { shelf: self.clone(), changes: Vec::new(), unsettled: false };
        for (name, (seen, trial)) in trials {
            if !matches!(trial, Trial::Changed) {
                next.put(stock, &name, &seen, Some(trial));
            }
        }
        let judged = next.shelf.clone();
        next.mark_compiling(look, |name, seen| matches!(seen, Seen::File { .. }) && judged.judged(name) != *seen);
        next.report_folder(look.misnamed.clone());
        next
    }

    fn with_folder_problem(&self, problem: String) -> Refreshed {
        let mut next = Refreshed { shelf: self.clone(), changes: Vec::new(), unsettled: false };
        next.report_folder(vec![problem]);
        next
    }
}

impl Refreshed {
    fn put(&mut self, stock: &Stock, name: &PluginName, seen: &Seen, trial: Option<Trial>) {
        let slots = &mut self.shelf.slots;
        let slot = slots.entry(name.clone()).or_default();
        slot.judged = seen.clone();
        let previous = slot.loaded.as_ref().map(|loaded| loaded.digest);
        let problem = match (seen, trial) {
            (Seen::File { file_name, .. }, Some(Trial::Good(plugin, digest, origin))) => {
                let path = stock.dir.join(file_name);
                let loaded_at_ms = stock.clock.now_ms();
                slot.loaded =
                    Some(Arc::new(Loaded { name: name.clone(), plugin: *plugin, digest, path, loaded_at_ms }));
                slot.problem = None;
                self.changes.push(Change::Loaded { name: name.clone(), digest, previous, origin: Some(origin) });
                return;
            }
            (Seen::File { .. }, Some(Trial::Running)) => {
                let healed = slot.problem.take().is_some();
                if let (true, Some(digest)) = (healed, previous) {
                    self.changes.push(Change::Loaded { name: name.clone(), digest, previous, origin: None });
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
            (Seen::File { .. }, Some(Trial::Changed) | None) => return,
        };
        if slot.problem.as_ref() != Some(&problem) {
            slot.problem = Some(problem.clone());
            self.changes.push(Change::Kept { name: name.clone(), problem });
        }
    }

    /// Notes which plugins are waited for, also where nothing else is known of them yet.
    fn mark_compiling(&mut self, look: &Look, is_on: impl Fn(&str, &Seen) -> bool) {
        let slots = &mut self.shelf.slots;
        for (name, seen) in &look.entries {
            if is_on(name, seen) {
                slots.entry(name.clone()).or_default();
            }
        }
        for (name, slot) in slots.iter_mut() {
            slot.compiling = is_on(name, look.get(name));
        }
        // Their file changed or went before anything came of it.
        slots.retain(|_, slot| slot.compiling || slot.is_known());
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
            slots.retain(|_, slot| slot.compiling || slot.judged != Seen::Absent);
        }
    }
}

async fn look(stock: &Stock) -> Result<Look, String> {
    let dir = stock.dir.clone();
    tasks::blocking(move || Folder::open(&dir)?.look()).await
}

#[cfg(test)]
mod tests;
