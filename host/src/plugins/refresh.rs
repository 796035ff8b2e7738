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
use super::work::{Good, Known, Trial, Trials, Work, try_kept};
use super::{Approvals, Held, LetIn, Loaded, Shelf, Slot};
use crate::clock::Clock;
use crate::event::{Digest, PluginName};
use crate::sandbox::{CodeSource, Compiler, Plugin, Sandbox};
use crate::tasks;

/// How long a file must stay as it is before it is read, in milliseconds.
pub const SETTLE_MS: u64 = 100;

/// How often a folder is looked at again, by who waits for all of it, because something in it was changing.
const MAX_RESTLESS_LOOKS: u32 = 50;

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
    /// What each of them may do.
    pub approvals: Arc<Approvals>,
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
        origin: Option<CodeSource>,
        /// Why it may ask for more than the last one, if it does.
        let_in: Option<LetIn>,
    },
    /// A file can run, asks for more than it may, and waits. What ran before, if anything, goes on.
    Held {
        /// Of the plugin.
        name: PluginName,
        /// What waits.
        digest: Digest,
        /// What it asks for, for people.
        asks_for: String,
        /// What lets it in.
        command: String,
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
                trials.insert(name.clone(), (seen.clone(), try_kept(&its_stock, &folder, name, file_name, stamp)));
            }
            its_stock.approvals.keep_files_of(&look.entries.keys().cloned().collect());
            Ok::<_, String>((look, trials))
        });
        match kept.await {
            Ok((look, trials)) => {
                let trials = Self::default().decide(stock, trials, [&look; 2]).await;
                Self::default().with_kept(stock, &look, trials)
            }
            Err(problem) => Self::default().with_folder_problem(problem),
        }
    }

    /// Loads every plugin in the folder, however long that takes. Only what never comes to rest is left as it was.
    pub async fn load_all(stock: &Stock) -> Refreshed {
        let (mut work, mut changes) = (Work::new(Arc::new(Notify::new())), Vec::new());
        let mut refreshed = Self::default().refresh(stock, &mut work).await;
        let mut looks_left = MAX_RESTLESS_LOOKS;
        while work.is_busy() || refreshed.unsettled && looks_left > 0 {
            if refreshed.unsettled && looks_left > 0 {
                looks_left -= 1;
                tokio::time::sleep(Duration::from_millis(SETTLE_MS)).await;
            } else {
                work.progress().await;
            }
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
        let second = if self.names(&first).any(is_new) {
            tokio::time::sleep(Duration::from_millis(SETTLE_MS)).await;
            match look(stock).await {
                Ok(second) => Some(second),
                Err(problem) => return self.give_up(work, problem),
            }
        } else {
            None
        };
        let second = second.as_ref().unwrap_or(&first);
        let trials = self.decide(stock, trials, [&first, second]).await;
        let next = self.assemble(stock, &first, trials, second, work);
        next.settle(stock).await;
        next
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

    fn known(&self, name: &str) -> Known {
        self.slots.get(name).map_or_else(Known::default, |slot| Known {
            running: slot.loaded.as_ref().map(|loaded| loaded.digest),
            held: slot.held.as_ref().map(|held| held.candidate.digest),
        })
    }

    /// Puts the new shelf together from what stayed the same in both looks, and begins what is left to be done.
    fn assemble(&self, stock: &Stock, first: &Look, mut trials: Trials, second: &Look, work: &mut Work) -> Refreshed {
        let mut next = Refreshed { shelf: self.clone(), changes: Vec::new(), unsettled: false };
        work.keep_only(|name, tried| second.get(name) == tried);
        for name in self.names(second) {
            let seen = second.get(name);
            let trial = trials.remove(name).filter(|(tried, _)| tried == seen).map(|(_, trial)| trial);
            if *seen == self.judged(name) && !matches!(trial, Some(Trial::Released(_))) || work.is_on(name, seen) {
                continue;
            }
            match (seen, trial) {
                _ if seen != first.get(name) => next.unsettled = true,
                (Seen::File { .. }, Some(Trial::Changed)) => next.unsettled = true,
                (Seen::File { .. }, None) => work.add(name, seen, self.known(name)),
                (_, trial) => next.put(stock, name, seen, trial),
            }
        }
        work.advance(stock);
        next.mark_compiling(second, stock.clock.now_ms(), |name, seen| work.is_on(name, seen));
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
        next.mark_compiling(look, stock.clock.now_ms(), |name, seen| {
            matches!(seen, Seen::File { .. }) && judged.judged(name) != *seen
        });
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
            (Seen::File { file_name, .. }, Some(Trial::Good(good))) => {
                let path = stock.dir.join(file_name);
                self.changes.push(slot.take(stock, name, path, *good));
                return;
            }
            (Seen::File { file_name, .. }, Some(Trial::Held(mut good, added, trouble))) => {
                if let (None, Some(last)) = (&slot.loaded, good.last.take()) {
                    let (path, last) = *last;
                    self.changes.push(slot.take(stock, name, path, last));
                }
                let candidate = Arc::new(slot.load(stock, name, stock.dir.join(file_name), good.plugin, good.digest));
                let held = Held::new(candidate, slot.loaded.as_deref(), added, trouble);
                let (digest, asks_for, command) = (good.digest, held.asks_for(), held.command());
                (slot.held, slot.problem) = (Some(held), None);
                self.changes.push(Change::Held { name: name.clone(), digest, asks_for, command });
                return;
            }
            (Seen::File { .. }, Some(Trial::Released(let_in))) => {
                if let Some(held) = slot.held.take() {
                    let digest = held.candidate.digest;
                    slot.loaded = Some(held.candidate);
                    self.changes.push(Change::Loaded { name: name.clone(), digest, previous, origin: None, let_in });
                }
                return;
            }
            (Seen::File { .. }, Some(Trial::Running)) => {
                let healed = slot.problem.take().is_some() | slot.held.take().is_some();
                if let (true, Some(digest)) = (healed, previous) {
                    let (name, origin, let_in) = (name.clone(), None, None);
                    self.changes.push(Change::Loaded { name, digest, previous, origin, let_in });
                }
                return;
            }
            (Seen::Absent, _) => {
                let waited = slot.held.take().is_some();
                if slot.loaded.take().is_none() && !waited {
                    // It never ran, or is reported as missing already.
                    slot.problem = None;
                    if !slot.routed {
                        slots.remove(name);
                    }
                    return;
                }
                slot.problem = Some("its file was removed; deliveries wait until it is put back".to_owned());
                self.changes.push(Change::Removed { name: name.clone() });
                return;
            }
            (Seen::Unfit(problem), _) => problem.clone(),
            (Seen::File { .. }, Some(Trial::Bad(problem))) => problem,
            (Seen::File { .. }, Some(Trial::NotNoted(problem))) => {
                // To be tried again at every look.
                slot.judged = Seen::Unfit(problem.clone());
                problem
            }
            (Seen::File { .. }, Some(Trial::Waiting | Trial::Changed) | None) => return,
        };
        slot.held = None;
        if slot.problem.as_ref() != Some(&problem) {
            slot.problem = Some(problem.clone());
            self.changes.push(Change::Kept { name: name.clone(), problem });
        }
    }

    /// Says what is held now to those who may approve it, and forgets the files of plugins that are gone.
    async fn settle(&self, stock: &Stock) {
        let slots = || self.shelf.slots.iter();
        let held = slots().filter_map(|(name, slot)| Some((name.clone(), slot.held.as_ref()?.candidate.digest)));
        // Of one that is still to be compiled, or cannot be read, nothing is known yet.
        let compiles = |slot: &Slot| slot.compiling_since_ms.is_some();
        let unknown = |slot: &Slot| compiles(slot) || matches!(slot.judged, Seen::Unfit(_)) || slot.never_had_a_file();
        let known = slots().filter(|(_, slot)| !unknown(slot));
        let there = slots().filter(|(_, slot)| compiles(slot) || slot.judged != Seen::Absent);
        let gone = self.changes.iter().any(|change| matches!(change, Change::Removed { .. }));
        let held = held.collect();
        let [known, there] =
            [known.map(|(name, _)| name.clone()).collect(), there.map(|(name, _)| name.clone()).collect()];
        let approvals = Arc::clone(&stock.approvals);
        // It writes, and waits for whoever is writing.
        tasks::blocking(move || {
            approvals.holding(&held, &known);
            if gone {
                approvals.keep_files_of(&there);
            }
        })
        .await;
    }

    /// Notes which plugins are waited for, also where nothing else is known of them yet.
    fn mark_compiling(&mut self, look: &Look, now_ms: i64, is_on: impl Fn(&str, &Seen) -> bool) {
        let slots = &mut self.shelf.slots;
        for (name, seen) in &look.entries {
            if is_on(name, seen) {
                slots.entry(name.clone()).or_default();
            }
        }
        for (name, slot) in slots.iter_mut() {
            let since_ms = slot.compiling_since_ms.unwrap_or(now_ms);
            slot.compiling_since_ms = is_on(name, look.get(name)).then_some(since_ms);
            slot.say_what_is_missing();
        }
        // Their file changed or went before anything came of it.
        slots.retain(|_, slot| slot.compiling_since_ms.is_some() || slot.is_known());
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
            let is_kept = |slot: &Slot| slot.compiling_since_ms.is_some() || slot.routed;
            slots.retain(|_, slot| is_kept(slot) || slot.judged != Seen::Absent);
        }
    }
}

impl Slot {
    fn load(&self, stock: &Stock, name: &PluginName, path: PathBuf, plugin: Plugin, digest: Digest) -> Loaded {
        let used = self.loaded.as_ref().map(|loaded| Arc::clone(&loaded.used)).unwrap_or_default();
        Loaded { name: name.clone(), plugin, digest, path, loaded_at_ms: stock.clock.now_ms(), used }
    }

    /// Runs a file from now on.
    fn take(&mut self, stock: &Stock, name: &PluginName, path: PathBuf, good: Good) -> Change {
        let Good { plugin, digest, origin, let_in, .. } = good;
        let previous = self.loaded.as_ref().map(|loaded| loaded.digest);
        self.loaded = Some(Arc::new(self.load(stock, name, path, plugin, digest)));
        (self.held, self.problem) = (None, None);
        Change::Loaded { name: name.clone(), digest, previous, origin: Some(origin), let_in }
    }
}

async fn look(stock: &Stock) -> Result<Look, String> {
    let dir = stock.dir.clone();
    tasks::blocking(move || Folder::open(&dir)?.look()).await
}

#[cfg(test)]
mod tests;
