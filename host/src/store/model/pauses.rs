//! Pauses: plugins whose deliveries are not leased, and schedules that do not tick, because an
//! operator said so.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The kinds of things that an operator pauses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pausable {
    /// A plugin: its deliveries stay where they are.
    Plugin,
    /// A schedule: what it would have ticked is missed.
    Schedule,
}

impl Pausable {
    /// Its number in a store.
    pub(in crate::store) fn code(self) -> u8 {
        match self {
            Self::Plugin => 0,
            Self::Schedule => 1,
        }
    }

    /// The kind of this number.
    pub(in crate::store) fn of_code(code: u8) -> Option<Self> {
        [Self::Plugin, Self::Schedule].into_iter().find(|kind| kind.code() == code)
    }
}

/// A pause that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Since when, Unix ms of the wall clock.
    pub since_ms: i64,
    /// The client that asked for it.
    pub by: String,
    /// Why, as that person said.
    pub reason: String,
}

impl Pause {
    /// The client and the reason, for people.
    pub fn text(&self) -> String {
        if self.reason.is_empty() {
            return format!("paused by {}", self.by);
        }
        format!("paused by {}: {}", self.by, self.reason)
    }
}

/// All pauses that are in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pauses(BTreeMap<(Pausable, Arc<str>), Pause>);

impl Pauses {
    /// The pause of a thing, if it is paused.
    pub fn of(&self, kind: Pausable, name: &str) -> Option<&Pause> {
        // Mostly there are none, and this is asked for every delivery.
        if self.0.is_empty() {
            return None;
        }
        self.0.get(&(kind, Arc::from(name)))
    }

    /// The pauses of one kind, by name.
    pub fn all(&self, kind: Pausable) -> impl Iterator<Item = (&Arc<str>, &Pause)> {
        let all = self.0.iter().filter(move |((its, _), _)| *its == kind);
        all.map(|((_, name), pause)| (name, pause))
    }

    /// Adds a pause.
    pub(in crate::store) fn insert(&mut self, kind: Pausable, name: Arc<str>, pause: Pause) {
        self.0.insert((kind, name), pause);
    }

    /// Takes a pause away; says whether there was one.
    #[cfg(test)]
    pub(in crate::store) fn remove(&mut self, kind: Pausable, name: &Arc<str>) -> bool {
        self.0.remove(&(kind, Arc::clone(name))).is_some()
    }
}

/// A change of what is paused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PauseChange {
    /// The thing is paused. If it is already, the reason is another one, and the time stays.
    Pause {
        /// The kind of the thing.
        kind: Pausable,
        /// Its name.
        name: Arc<str>,
        /// The client that asks for it.
        by: String,
        /// Why.
        reason: String,
    },
    /// The thing goes on.
    Resume {
        /// The kind of the thing.
        kind: Pausable,
        /// Its name.
        name: Arc<str>,
    },
}
