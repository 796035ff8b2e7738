//! A file that can run and asks for more than its plugin may do: it waits, and what ran before goes on.
//!
//! This is the step between a file that was tried and the shelf: it asks [`Approvals`](super::Approvals) what is to be done
//! with it. What is held already is asked about again each time, because an approval or the configuration may let it in.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::approvals::{Asked, Ruling};
use super::folder::{Look, Seen};
use super::work::{Good, Trial, Trials};
use super::{Loaded, Shelf, Stock};
use crate::event::{Digest, PluginName};
use crate::sandbox::Capability;
use crate::tasks;

/// A file that waits to be approved.
#[derive(Debug, Clone)]
pub struct Held {
    /// What would run.
    pub candidate: Arc<Loaded>,
    /// What it imports beyond what runs, sorted.
    pub imports_added: Vec<String>,
    /// What it asks for beyond what the plugin may do.
    pub capabilities_added: BTreeSet<Capability>,
    /// Since when, Unix ms.
    pub since_ms: i64,
    /// Why nothing is known of what the plugin may do, for people.
    pub trouble: Option<String>,
}

impl Held {
    pub(super) fn new(candidate: Arc<Loaded>, runs: Option<&Loaded>, added: Asked, trouble: Option<String>) -> Self {
        let imported = runs.map(|loaded| loaded.plugin.imports()).unwrap_or_default();
        let new = candidate.plugin.imports().iter().filter(|import| !imported.contains(import));
        let (imports_added, since_ms) = (new.cloned().collect(), candidate.loaded_at_ms);
        Self { candidate, imports_added, capabilities_added: added, since_ms, trouble }
    }

    /// What it asks for, for people: `http, kv`.
    pub fn asks_for(&self) -> String {
        self.capabilities_added.iter().map(|capability| capability.name()).collect::<Vec<_>>().join(", ")
    }

    /// The command that lets it in.
    pub fn command(&self) -> String {
        format!("hookbox plugins approve {} --digest {}", self.candidate.name, self.candidate.digest)
    }
}

impl Shelf {
    /// Decides what becomes of the files that can run, among those that are the same in both looks.
    pub(super) async fn decide(&self, stock: &Stock, mut trials: Trials, looks: [&Look; 2]) -> Trials {
        let same = |name: &str, seen: &Seen| looks.iter().all(|look| look.get(name) == seen);
        let waiting = self.slots.iter().filter(|(name, slot)| slot.held.is_some() && same(name, &slot.judged));
        for (name, slot) in waiting {
            trials.entry(name.clone()).or_insert_with(|| (slot.judged.clone(), Trial::Waiting));
        }
        let asks = |name: &PluginName, trial: &Trial| match (
            trial,
            self.slots.get(name).and_then(|slot| slot.held.as_ref()),
        ) {
            (Trial::Good(good), _) => Some((good.digest, good.plugin.capabilities())),
            (Trial::Waiting, Some(held)) => Some((held.candidate.digest, held.candidate.plugin.capabilities())),
            _ => None,
        };
        let due = trials.iter().filter(|(name, (tried, _))| same(name, tried));
        let due: Vec<_> = due.filter_map(|(name, (_, trial))| Some((name.clone(), asks(name, trial)?))).collect();
        if !due.is_empty() {
            let approvals = Arc::clone(&stock.approvals);
            let rule = move |(name, (digest, asked)): (PluginName, (Digest, Asked))| {
                let ruling = approvals.admit(&name, digest, &asked);
                (name, ruling)
            };
            // It writes, and waits for the disk.
            let rulings: Vec<_> = tasks::blocking(move || due.into_iter().map(rule).collect()).await;
            for (name, ruling) in rulings {
                if let Some((_, trial)) = trials.get_mut(&name) {
                    let tried = std::mem::replace(trial, Trial::Changed);
                    *trial = ruled(tried, ruling);
                }
            }
        }
        trials
    }
}

/// What a trial has become.
fn ruled(trial: Trial, ruling: Result<Ruling, String>) -> Trial {
    match (trial, ruling) {
        (Trial::Good(good), Ok(Ruling::Take(let_in))) => Trial::Good(Box::new(Good { let_in, ..*good })),
        (Trial::Good(good), Ok(Ruling::Hold { added, trouble })) => Trial::Held(good, added, trouble),
        (Trial::Waiting, Ok(Ruling::Take(let_in))) => Trial::Released(let_in),
        (Trial::Waiting, Ok(Ruling::Hold { .. })) => Trial::Waiting,
        (Trial::Waiting, Err(problem)) => {
            // It is asked about again at the next look.
            tracing::error!(error = problem, "a plugin's file may be let in, and is not yet");
            Trial::Waiting
        }
        (_, Err(problem)) => Trial::NotNoted(problem),
        (trial, _) => trial,
    }
}
