//! `[joins.NAME]` and `[batches.NAME]`: events that are gathered by a key.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::table::PatternTable;
use super::{Route, Routes};
use crate::event::{GatheringKind, GatheringTerms, KeySource};
use crate::names::PluginName;

mod member;
mod read;

pub(in crate::config) use read::read;

/// The members of a batch that its event has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeepMembers {
    /// All of them.
    #[default]
    All,
    /// The last one.
    Last,
    /// The first one.
    First,
    /// The ids of all of them.
    Ids,
}

/// `[joins.NAME]` or `[batches.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gathering {
    /// The terms for the store.
    pub terms: Arc<GatheringTerms>,
    /// The part of an event that it is gathered by.
    pub key: KeySource,
    /// The patterns of the events that it takes.
    pub on: Vec<String>,
    /// Where a member says what it is counted as; absent if each event counts.
    pub member: Option<Arc<str>>,
    /// Where a member says how many there are to be.
    pub need: Option<Arc<str>>,
    /// The patterns of which one event each is needed.
    pub types: Vec<String>,
    /// The patterns of events that complete it.
    pub close: Vec<String>,
    /// Finds the patterns of `types`: their numbers are the bits of the terms.
    type_table: PatternTable,
    /// Finds the patterns of `close`.
    close_table: PatternTable,
    /// The type of the event of a complete one.
    pub emit: String,
    /// The type of the event of a join whose time is over.
    pub late: String,
    /// The members that the event has.
    pub keep: KeepMembers,
}

/// Every section, and the table that finds those that take an event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gatherings {
    by_plugin: BTreeMap<PluginName, Arc<Gathering>>,
    /// Routes to the host's plugins.
    table: Option<Box<Routes>>,
}

impl Gatherings {
    /// The gatherings that take an event of this source and type. None takes what it emits itself.
    pub fn of(&self, source: &str, kind: &str) -> impl Iterator<Item = &Arc<Gathering>> {
        let hits = self.table.as_ref().map(|table| table.targets(source, kind)).unwrap_or_default();
        hits.into_iter()
            .filter(move |hit| *hit.plugin != *source)
            .filter_map(|hit| self.by_plugin.get(&hit.plugin))
    }

    /// The gathering of a plugin of the host, `joins/NAME` or `batches/NAME`.
    pub fn get(&self, plugin: &str) -> Option<&Arc<Gathering>> {
        self.by_plugin.get(plugin)
    }

    /// A batch by the name of its plugin.
    pub(super) fn batch(&self, plugin: &str) -> Option<&Arc<Gathering>> {
        self.get(plugin).filter(|found| found.terms.kind == GatheringKind::Batch)
    }

    /// Their patterns, as lines that lead to their plugins.
    pub(super) fn lines(&self) -> impl Iterator<Item = &Route> {
        self.table.iter().flat_map(|table| table.iter())
    }

    /// All of them, by plugin.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Gathering>> {
        self.by_plugin.values()
    }
}

/// A time in the greatest unit that divides it.
fn friendly(time: Duration) -> String {
    let ms = time.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
    let unit = units.into_iter().find(|(unit, _)| ms.is_multiple_of(*unit));
    unit.map_or_else(String::new, |(unit, name)| format!("{}{name}", ms / unit))
}

impl Gathering {
    /// Its members and its end, in words for people.
    pub fn summary(&self) -> String {
        let key = match &self.key {
            KeySource::Subject => "subject".to_owned(),
            KeySource::Root => "root".to_owned(),
            KeySource::Source => "source".to_owned(),
            KeySource::Json(pointer) => pointer.to_string(),
        };
        let members = match &self.member {
            Some(pointer) => format!("different {pointer}"),
            None => "events".to_owned(),
        };
        let mut ends = Vec::new();
        match (self.terms.need, &self.need) {
            (Some(need), _) => ends.push(format!("with {need} {members}")),
            (None, Some(pointer)) => ends.push(format!("with as many {members} as {pointer} says")),
            (None, None) => {}
        }
        if !self.types.is_empty() {
            ends.push(format!("with each of {}", self.types.join(", ")));
        }
        if !self.close.is_empty() {
            ends.push(format!("with one of {}", self.close.join(", ")));
        }
        if let Some(quiet) = self.terms.quiet {
            ends.push(format!("after {} without one", friendly(quiet)));
        }
        ends.push(format!("after {}", friendly(self.terms.within)));
        let on: Vec<&str> = self.on.iter().map(String::as_str).collect();
        let named: Vec<&str> = self.types.iter().chain(&self.close).map(String::as_str).collect();
        let on = if on.is_empty() { named } else { on };
        format!("{} by {key}; ends {}", on.join(", "), ends.join(", or "))
    }
}
