//! The shelf: name → loaded plugin, one immutable snapshot that is swapped whole.
//!
//! Invariant: a plugin that was loaded stays until a newer file of it has been loaded or its file is removed; a bad
//! file changes nothing but what is reported.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::event::{Digest, PluginName};
use crate::sandbox::Plugin;

/// Every plugin the host knows of, at one moment.
#[derive(Debug, Default)]
pub struct Shelf {
    slots: BTreeMap<PluginName, Slot>,
}

/// What is known of one plugin.
#[derive(Debug, Clone)]
pub struct Slot {
    /// What runs; `None` if no good file has been seen, or the file was removed.
    pub loaded: Option<Arc<Loaded>>,
    /// Why the newest file was not taken, whole, for people.
    pub problem: Option<String>,
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
}

impl Shelf {
    /// What runs under this name.
    pub fn loaded(&self, name: &str) -> Option<&Arc<Loaded>> {
        self.slots.get(name).and_then(|slot| slot.loaded.as_ref())
    }

    /// Every slot, by name.
    pub fn slots(&self) -> impl Iterator<Item = (&PluginName, &Slot)> {
        self.slots.iter()
    }
}
