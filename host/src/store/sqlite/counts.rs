//! How many there are of what: changed with every batch, committed with it, readable without the
//! database.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, params};

use crate::event::{PluginName, State};
use crate::store::{Hint, Stats};

/// The index of the bytes of keys and values, behind the deliveries by the code of their state.
const KV_BYTES: usize = State::ALL.len();
const KINDS: usize = KV_BYTES + 1;

/// How the file names [`KV_BYTES`], so that there may be more states one day.
const STORED_KV_BYTES: usize = 100;

/// The plugin name of the row that counts events: no plugin is called so.
const EVENTS: &str = "";

/// Everything counted at one moment.
#[derive(Debug, Default)]
pub(super) struct LiveCounts {
    pub(super) stats: Stats,
    kv_bytes: HashMap<PluginName, u64>,
}

impl LiveCounts {
    /// Reads what the last batch left.
    pub(super) fn read(connection: &Connection) -> Result<Self, rusqlite::Error> {
        let mut counts = Self::default();
        let mut statement = connection.prepare("SELECT plugin, what, n FROM counts")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (plugin, what, n): (String, usize, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let mut delta = Delta::default();
            if plugin == EVENTS {
                delta.events = n;
            } else if what == STORED_KV_BYTES {
                delta.plugin(&plugin.into())[KV_BYTES] = n;
            } else if what < KV_BYTES {
                delta.plugin(&plugin.into())[what] = n;
            }
            counts.add(&delta);
        }
        Ok(counts)
    }

    /// Adds what a committed batch changed.
    pub(super) fn add(&mut self, delta: &Delta) {
        self.stats.events = self.stats.events.saturating_add_signed(delta.events);
        self.stats.duplicates += delta.duplicates;
        for (plugin, changes) in &delta.plugins {
            let (moved, kv_bytes) = (&changes[..KV_BYTES], changes[KV_BYTES]);
            // A bucket may have a name that no plugin has.
            if moved.iter().any(|change| *change != 0) {
                let counts = self.stats.plugins.entry(plugin.clone()).or_default();
                for (count, change) in counts.0.iter_mut().zip(moved) {
                    *count = count.saturating_add_signed(*change);
                }
            }
            if kv_bytes != 0 {
                let bytes = self.kv_bytes.entry(plugin.clone()).or_default();
                *bytes = bytes.saturating_add_signed(kv_bytes);
            }
        }
    }

    pub(super) fn kv_bytes(&self, bucket: &str) -> u64 {
        self.kv_bytes.get(bucket).copied().unwrap_or(0)
    }

    /// The buckets that hold anything.
    pub(super) fn kv_buckets(&self) -> BTreeMap<PluginName, u64> {
        let filled = self.kv_bytes.iter().filter(|(_, bytes)| **bytes > 0);
        filled.map(|(bucket, bytes)| (bucket.clone(), *bytes)).collect()
    }
}

/// The changes of a batch.
#[derive(Debug, Default)]
pub(super) struct Delta {
    pub(super) events: i64,
    pub(super) duplicates: u64,
    /// Whether an event was emptied.
    pub(super) emptied: bool,
    plugins: HashMap<PluginName, [i64; KINDS]>,
}

impl Delta {
    fn plugin(&mut self, plugin: &PluginName) -> &mut [i64; KINDS] {
        self.plugins.entry(plugin.clone()).or_default()
    }

    /// Something of `plugin` changed that is not counted.
    pub(super) fn touch(&mut self, plugin: &PluginName) {
        self.plugin(plugin);
    }

    /// The hint for listeners.
    pub(super) fn hint(&self) -> Hint {
        let events = self.events != 0 || self.duplicates > 0 || self.emptied;
        Hint { events, plugins: self.plugins.keys().cloned().collect(), ..Hint::default() }
    }

    /// A delivery of `plugin` came to be in state `to`, having been in `from` if it was there
    /// before.
    pub(super) fn moved(&mut self, plugin: &PluginName, from: Option<State>, to: Option<State>) {
        let changes = self.plugin(plugin);
        if let Some(from) = from {
            changes[usize::from(from.code())] -= 1;
        }
        if let Some(to) = to {
            changes[usize::from(to.code())] += 1;
        }
    }

    /// The key-value bytes of a bucket changed by this much.
    pub(super) fn kv_bytes(&mut self, bucket: &PluginName, change: i64) {
        self.plugin(bucket)[KV_BYTES] += change;
    }

    /// Writes the changes within the batch's transaction.
    pub(super) fn write(&self, connection: &Connection) -> Result<(), rusqlite::Error> {
        let mut statement = connection.prepare_cached(
            "INSERT INTO counts (plugin, what, n) VALUES (?1, ?2, ?3)
             ON CONFLICT (plugin, what) DO UPDATE SET n = n + excluded.n",
        )?;
        if self.events != 0 {
            statement.execute(params![EVENTS, 0, self.events])?;
        }
        for (plugin, changes) in &self.plugins {
            for (what, change) in changes.iter().enumerate().filter(|(_, change)| **change != 0) {
                let what = if what == KV_BYTES { STORED_KV_BYTES } else { what };
                statement.execute(params![plugin, what, change])?;
            }
        }
        Ok(())
    }
}
