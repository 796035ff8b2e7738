//! The shelf: name → loaded plugin, one immutable snapshot that is swapped whole.
//!
//! `folder` looks at the plugins folder without trusting it, `work` compiles what is new there, `held` sets aside what asks
//! for more than it may (`approvals` knows what that is), `refresh` makes a new shelf out of the old one, what the folder
//! holds now and what came of the work. Nothing here watches: `reload` says when to look.
//!
//! Invariant: a plugin that was loaded stays until a newer file of it has been loaded or its file is removed; a bad
//! file, or one that is held, changes nothing but what is reported.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::event::{Digest, PluginName};
use crate::sandbox::Plugin;

mod approvals;
mod folder;
mod grants;
mod held;
mod missing;
mod refresh;
mod used;
mod work;

pub use approvals::{Approvals, LetIn, NotApproved};
use folder::Seen;
pub use folder::{MAX_FILE_BYTES, MAX_PLUGINS};
pub use grants::{grants, warnings};
pub use held::Held;
pub use refresh::{Change, Refreshed, SETTLE_MS, Stock};
pub use used::{Used, UsedNow};
pub use work::Work;

/// Every plugin the host knows of, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Shelf {
    slots: BTreeMap<PluginName, Slot>,
    problems: Vec<String>,
}

/// What is known of one plugin.
#[derive(Debug, Clone, Default)]
pub struct Slot {
    /// What runs; `None` if no good file has been seen, or the file was removed.
    pub loaded: Option<Arc<Loaded>>,
    /// Why the newest file was not taken, whole, for people.
    pub problem: Option<String>,
    /// The newest file, if it waits to be approved.
    pub held: Option<Held>,
    /// Since when a file of it is being compiled, or waits for that, Unix ms; what runs goes on meanwhile.
    pub compiling_since_ms: Option<i64>,
    /// Whether a route leads to it: it is known then, also if it never had a file.
    routed: bool,
    /// What the folder held under this name when the slot was last changed.
    judged: Seen,
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
    /// What it has used of what it may, with the files before it.
    pub used: Arc<Used>,
}

impl Shelf {
    /// A shelf that holds these plugins and knows of no file, for a host without a folder.
    pub fn of(plugins: impl IntoIterator<Item = Loaded>) -> Self {
        let slot = |loaded| Slot { loaded: Some(Arc::new(loaded)), ..Slot::default() };
        let slots = plugins.into_iter().map(|loaded| (loaded.name.clone(), slot(loaded))).collect();
        Self { slots, problems: Vec::new() }
    }

    /// What runs under this name.
    pub fn loaded(&self, name: &str) -> Option<&Arc<Loaded>> {
        self.slots.get(name).and_then(|slot| slot.loaded.as_ref())
    }

    /// What is known of this name.
    pub fn slot(&self, name: &str) -> Option<&Slot> {
        self.slots.get(name)
    }

    /// The plugins of which a file has been begun to compile since `older`.
    pub fn newly_compiling<'a>(&'a self, older: &'a Self) -> impl Iterator<Item = (&'a PluginName, &'a Slot)> {
        let begun = |name: &str, slot: &Slot| {
            slot.compiling_since_ms.is_some() && older.slot(name).is_none_or(|slot| slot.compiling_since_ms.is_none())
        };
        self.slots().filter(move |(name, slot)| begun(name, slot))
    }

    /// Every slot, by name.
    pub fn slots(&self) -> impl Iterator<Item = (&PluginName, &Slot)> {
        self.slots.iter()
    }

    /// What is wrong with the folder itself: it cannot be read, holds too much, or files no plugin can have.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl Slot {
    /// Whether there is more to it than a file that was seen.
    fn is_known(&self) -> bool {
        self.routed
            || self.loaded.is_some()
            || self.held.is_some()
            || self.problem.is_some()
            || self.judged != Seen::Absent
    }

    /// Where the plugin stands, in the word the API uses: `loaded`; `stale`, when an older good file runs because the
    /// newest one is bad; `held`, when the newest one waits to be approved and an older one, if there is one, runs;
    /// `compiling`, when nothing runs yet; `failed`, when nothing runs; `missing`, when the file was removed, or a route leads
    /// to it and there never was one. While a newer file is compiled, what runs goes on and keeps its word.
    pub fn state(&self) -> &'static str {
        match (&self.loaded, &self.problem, &self.judged) {
            _ if self.held.is_some() => "held",
            (Some(_), None, _) => "loaded",
            (Some(_), Some(_), _) => "stale",
            (None, ..) if self.compiling_since_ms.is_some() => "compiling",
            (None, _, Seen::Absent) => "missing",
            (None, _, _) => "failed",
        }
    }
}
