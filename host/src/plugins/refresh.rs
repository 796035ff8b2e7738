//! Refreshing: makes the next registry out of the last one and a scan of the folder.
//!
//! A file that differs from its entry is observed three times: before and after a short wait, and
//! once more after it was compiled. A refresh acts only on a file that was the same each time. So a
//! file that is still being written is neither loaded nor reported as bad, and a file that is
//! replaced by removing it first does not count as removed.
//!
//! A refresh never waits for the compiler: it queues the file, and a later refresh takes the
//! outcome.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::admission::Decision;
use super::directory::{Directory, ObservedFile, Scan};
use super::loader::{LoadContext, LoadOutcome, LoadOutcomes, LoadQueue, load_compiled};
use super::registry::{Change, Entry, NextStep, Registry};
use crate::event::PluginName;
use crate::tasks;

/// The time a file must stay unchanged before it is read, in milliseconds.
pub const SETTLE_MS: u64 = 100;

/// The most scans that [`Registry::load_all`] repeats because a file was changing.
const MAX_RESTLESS_SCANS: u32 = 50;

/// A new registry and its changes.
#[derive(Debug)]
pub struct Refreshed {
    /// The whole registry, also when nothing changed.
    pub registry: Registry,
    /// The changes, by name.
    pub changes: Vec<Change>,
    /// A file was changing and was left as it was: refresh again after [`SETTLE_MS`].
    pub unsettled: bool,
}

/// The next step of each loaded file, by plugin name; `None` if the file changed while it was read.
type NextSteps = BTreeMap<PluginName, (ObservedFile, Option<NextStep>)>;

impl Registry {
    /// Makes a host's first registry: it runs every plugin that need not be compiled. The others
    /// are `compiling`, and the first refresh queues them.
    pub async fn begin(context: &LoadContext) -> Refreshed {
        let mut next = Refreshed::of(&Self::default());
        let its_context = context.clone();
        let scanned = tasks::blocking(move || {
            let directory = Directory::open(&its_context.dir)?;
            let scan = directory.scan()?;
            let load = |(name, observed): (&PluginName, &ObservedFile)| {
                let outcome = load_compiled(&its_context, &directory, name, observed)?;
                Some((name.clone(), (observed.clone(), outcome)))
            };
            let outcomes = scan.entries.iter().filter_map(load).collect();
            Ok::<(Scan, LoadOutcomes), String>((scan, outcomes))
        });
        let (scan, mut outcomes) = match scanned.await {
            Ok(scanned) => scanned,
            Err(problem) => {
                next.set_problems(vec![problem]);
                return next;
            }
        };
        for name in scan.entries.keys() {
            if let Some((_, LoadOutcome::Loaded(file, _))) = outcomes.get(name)
                && context.approvals.holds(name, file.digest, &file.plugin.capabilities()).await
            {
                // Then the file that ran last is needed too, and may have to be compiled.
                outcomes.remove(name);
            }
        }
        let now_ms = context.clock.now_ms();
        for (name, (observed, step)) in
            next.registry.clone().decide(context, outcomes, [&scan, &scan]).await
        {
            next.apply(&name, &observed, step, now_ms);
        }
        let is_file = |observed: &ObservedFile| matches!(observed, ObservedFile::File { .. });
        let left = scan
            .entries
            .iter()
            .filter(|(name, observed)| next.registry.observed(name) != *observed);
        let compiling =
            left.filter(|(_, observed)| is_file(observed)).map(|(name, _)| name.clone()).collect();
        next.registry.mark_compiling(&compiling, now_ms);
        next.set_problems(scan.misnamed);
        next.keep_needed_files(context).await;
        next
    }

    /// Loads every plugin in the folder, however long that takes. Files that never come to rest are
    /// left as they were.
    pub async fn load_all(context: &LoadContext) -> Refreshed {
        let (mut queue, mut changes) = (LoadQueue::new(Arc::new(Notify::new())), Vec::new());
        let mut refreshed = Self::default().refresh(context, &mut queue).await;
        let mut scans_left = MAX_RESTLESS_SCANS;
        while queue.is_busy() || refreshed.unsettled && scans_left > 0 {
            if refreshed.unsettled && scans_left > 0 {
                scans_left -= 1;
                tokio::time::sleep(Duration::from_millis(SETTLE_MS)).await;
            } else {
                queue.progress().await;
            }
            changes.append(&mut refreshed.changes);
            refreshed = refreshed.registry.refresh(context, &mut queue).await;
        }
        changes.append(&mut refreshed.changes);
        Refreshed { changes, ..refreshed }
    }

    /// Scans the folder, takes the outcomes from `queue`, queues new files, and makes the next
    /// registry. Plugins whose files did not change are carried over.
    pub async fn refresh(&self, context: &LoadContext, queue: &mut LoadQueue) -> Refreshed {
        // Before the scan: each file is observed once more after it was compiled.
        let outcomes = queue.take_finished();
        let first = match scan(context).await {
            Ok(scan) => scan,
            Err(problem) => return self.give_up(queue, problem),
        };
        // A file that is queued or was compiled has been observed before. Only others cost a wait.
        let is_new = |name: &PluginName| {
            let observed = first.get(name);
            let tried = queue.has(name, observed)
                || outcomes.get(name).is_some_and(|(tried, _)| tried == observed);
            observed != self.observed(name) && !tried
        };
        let second = if self.names(&first).any(is_new) {
            tokio::time::sleep(Duration::from_millis(SETTLE_MS)).await;
            match scan(context).await {
                Ok(second) => Some(second),
                Err(problem) => return self.give_up(queue, problem),
            }
        } else {
            None
        };
        let scans = [&first, second.as_ref().unwrap_or(&first)];
        context.approvals.learn().await;
        let steps = self.decide(context, outcomes, scans).await;
        let next = self.assemble(context, scans, steps, queue);
        next.settle(context, queue).await;
        next
    }

    /// Reports that the folder cannot be scanned. All jobs begin anew once it can.
    fn give_up(&self, queue: &mut LoadQueue, problem: String) -> Refreshed {
        queue.keep_only(|_, _| false);
        let mut next = Refreshed::of(self);
        next.set_problems(vec![problem]);
        next
    }

    fn names<'a>(&'a self, scan: &'a Scan) -> impl Iterator<Item = &'a PluginName> {
        let gone = self.entries.keys().filter(|name| !scan.entries.contains_key(*name));
        scan.entries.keys().chain(gone)
    }

    /// Decides on the next step of the loaded and the held files that are the same in both scans.
    async fn decide(
        &self,
        context: &LoadContext,
        mut outcomes: LoadOutcomes,
        scans: [&Scan; 2],
    ) -> NextSteps {
        // Since the last refresh, an approval or the configuration may admit a held file.
        for (name, entry) in self.entries.iter().filter(|(_, entry)| entry.held().is_some()) {
            outcomes
                .entry(name.clone())
                .or_insert_with(|| (entry.observed.clone(), LoadOutcome::Held));
        }
        let mut steps = NextSteps::new();
        for (name, (observed, outcome)) in outcomes {
            if scans.iter().all(|scan| *scan.get(&name) == observed) {
                let step = self.step(context, &name, outcome).await;
                steps.insert(name, (observed, step));
            }
        }
        steps
    }

    async fn step(
        &self,
        context: &LoadContext,
        name: &PluginName,
        outcome: LoadOutcome,
    ) -> Option<NextStep> {
        let approvals = &context.approvals;
        Some(match outcome {
            LoadOutcome::Changed => return None,
            LoadOutcome::Failed(problem) => NextStep::Fail(problem),
            LoadOutcome::Running => NextStep::Restore,
            LoadOutcome::Loaded(file, last) => {
                match approvals.admit(name, file.digest, &file.plugin.capabilities()).await {
                    Ok(Decision::Admit(admission)) => NextStep::Admit(file, admission),
                    Ok(Decision::Hold { added, trouble }) => {
                        NextStep::Hold { file, last, added, trouble }
                    }
                    Err(problem) => NextStep::Postpone(problem),
                }
            }
            LoadOutcome::Held => {
                let Some(held) = self.entry(name).and_then(Entry::held) else {
                    return Some(NextStep::Wait);
                };
                let candidate = &held.candidate;
                match approvals
                    .admit(name, candidate.digest, &candidate.plugin.capabilities())
                    .await
                {
                    Ok(Decision::Admit(admission)) => NextStep::Release(admission),
                    Ok(Decision::Hold { .. }) => NextStep::Wait,
                    Err(problem) => {
                        // The next refresh tries again.
                        tracing::error!(plugin.name = %name, error = problem, "a held file cannot be admitted yet");
                        NextStep::Wait
                    }
                }
            }
        })
    }

    /// Makes the new registry out of the files that are the same in both scans, and queues the new
    /// ones.
    fn assemble(
        &self,
        context: &LoadContext,
        [first, second]: [&Scan; 2],
        mut steps: NextSteps,
        queue: &mut LoadQueue,
    ) -> Refreshed {
        let (mut next, now_ms) = (Refreshed::of(self), context.clock.now_ms());
        // A job is of no use once its file has changed.
        queue.keep_only(|name, observed| second.get(name) == observed);
        for name in self.names(second) {
            let observed = second.get(name);
            let step =
                steps.remove(name).filter(|(tried, _)| tried == observed).map(|(_, step)| step);
            // An approval changes nothing in the folder, so the file looks as before.
            let is_released = matches!(step, Some(Some(NextStep::Release(_))));
            if observed == self.observed(name) && !is_released || queue.has(name, observed) {
                continue;
            }
            let step = match (observed, step) {
                // It changed during the wait.
                _ if observed != first.get(name) => None,
                (ObservedFile::Absent, _) => Some(NextStep::Remove),
                (ObservedFile::Unfit(problem), _) => Some(NextStep::Fail(problem.clone())),
                (ObservedFile::File { .. }, Some(step)) => step,
                (ObservedFile::File { .. }, None) => {
                    queue.add(name, observed, self.current_digests(name));
                    continue;
                }
            };
            next.apply(name, observed, step, now_ms);
        }
        queue.advance(context, |name| next.registry.is_routed(name));
        let queued = second.entries.iter().filter(|(name, observed)| queue.has(name, observed));
        next.registry.mark_compiling(&queued.map(|(name, _)| name.clone()).collect(), now_ms);
        next.set_problems(second.misnamed.clone());
        next.registry.forget_missing();
        next
    }
}

impl Refreshed {
    /// Starts from a registry, with no change yet.
    fn of(registry: &Registry) -> Self {
        Self { registry: registry.clone(), changes: Vec::new(), unsettled: false }
    }

    /// Applies a step to the newest file of a plugin; `None` means that the file was changing.
    fn apply(
        &mut self,
        name: &PluginName,
        observed: &ObservedFile,
        step: Option<NextStep>,
        now_ms: i64,
    ) {
        match step {
            Some(step) => self.changes.extend(self.registry.apply(name, observed, step, now_ms)),
            None => self.unsettled = true,
        }
    }

    fn set_problems(&mut self, problems: Vec<String>) {
        self.changes.extend(self.registry.set_problems(problems));
    }

    /// Tells the approvals which files are held now, and drops the kept files that no start needs.
    async fn settle(&self, context: &LoadContext, queue: &LoadQueue) {
        let held = self.registry.entries().filter_map(|(name, entry)| {
            let candidate = &entry.held()?.candidate;
            Some((name.clone(), (candidate.digest, candidate.plugin.capabilities())))
        });
        let known = self.registry.entries().filter(|(_, entry)| entry.knows_its_file());
        let known = known.map(|(name, _)| name.clone()).collect();
        context.approvals.holding(held.collect(), &known).await;
        // A file that is being compiled may have been kept a moment ago.
        if !self.changes.is_empty() && !queue.is_busy() {
            self.keep_needed_files(context).await;
        }
    }

    /// Drops the kept files that no start needs: those of plugins that are gone, and those that ran
    /// before the last one.
    async fn keep_needed_files(&self, context: &LoadContext) {
        let there = self.registry.entries().filter(|(_, entry)| entry.has_file());
        let there: BTreeSet<PluginName> = there.map(|(name, _)| name.clone()).collect();
        let mut needed = context.approvals.admitted(&there).await;
        for (_, entry) in self.registry.entries() {
            needed.extend(entry.loaded.as_ref().map(|loaded| loaded.digest));
            needed.extend(entry.held().map(|held| held.candidate.digest));
        }
        if let Some(files) = context.files.clone() {
            tasks::blocking(move || files.keep_only(&needed)).await;
        }
        context.approvals.forget_all_but(&there).await;
    }
}

async fn scan(context: &LoadContext) -> Result<Scan, String> {
    let dir = context.dir.clone();
    tasks::blocking(move || Directory::open(&dir)?.scan()).await
}

#[cfg(test)]
mod tests;
