//! Cycles among plugins and batches that the configuration is sure to close.
//!
//! Nobody can tell from a table what a plugin emits. Two kinds of line say that another plugin gets
//! it all the same: one that names the emitting plugin as its source, and one without a source that
//! takes every type. The events of a batch are known. A cycle of such lines is shown to the author;
//! it ends at the hop limit or at the tree's budget. A plugin that is routed to itself by name is
//! meant to be, and a join ends every cycle: its key is closed.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;

use super::{Route, Routes};
use crate::names::{PluginName, is_built_in};

/// The most cycles that are named.
const MAX_CYCLES: usize = 10;

/// A cycle of at least two plugins or batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cycle(Vec<CycleStep>);

/// A step of a cycle: by this line events of `plugin` go to the next plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CycleStep {
    plugin: PluginName,
    pattern: String,
}

impl fmt::Display for Cycle {
    /// `a → ("plugins/a:x.*") b → ("**") a`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.0 {
            write!(f, "{} → (\"{}\") ", step.plugin, step.pattern)?;
        }
        f.write_str(&self.0[0].plugin)
    }
}

impl Routes {
    /// The shortest cycle through each plugin that is in one, each once.
    pub fn cycles(&self) -> Vec<Cycle> {
        let mut seen: BTreeSet<BTreeSet<PluginName>> = BTreeSet::new();
        let mut cycles = Vec::new();
        let lines = self.routes.iter().chain(self.gatherings.lines());
        let plugins: BTreeSet<&PluginName> = lines.flat_map(Route::plugins).collect();
        for plugin in plugins {
            let Some(cycle) = self.shortest_cycle(plugin) else { continue };
            if seen.insert(cycle.0.iter().map(|step| step.plugin.clone()).collect()) {
                cycles.push(cycle);
            }
            if cycles.len() == MAX_CYCLES {
                break;
            }
        }
        cycles
    }

    fn shortest_cycle(&self, start: &PluginName) -> Option<Cycle> {
        let mut reached = BTreeSet::from([start]);
        let mut paths = VecDeque::from([Vec::<CycleStep>::new()]);
        let mut ends = VecDeque::from([start]);
        // Breadth first, so that the first way back is the shortest.
        while let (Some(end), Some(path)) = (ends.pop_front(), paths.pop_front()) {
            for (pattern, next) in self.steps_from(end) {
                let step = CycleStep { plugin: end.clone(), pattern: pattern.to_owned() };
                let longer: Vec<CycleStep> = path.iter().cloned().chain([step]).collect();
                if next == start {
                    return Some(Cycle(longer));
                }
                if reached.insert(next) {
                    paths.push_back(longer);
                    ends.push_back(next);
                }
            }
        }
        None
    }

    /// The plugins and batches that are sure to get something that `from` emits, each with the
    /// pattern by which they do.
    fn steps_from(&self, from: &PluginName) -> Vec<(&str, &PluginName)> {
        let batch = self.gatherings.batch(from);
        let takes = |route: &&Route| match batch {
            Some(batch) => route.takes_kind(from, &batch.emit),
            None => self.takes_from(route, from),
        };
        let goes_on = |plugin: &&PluginName| {
            *plugin != from && (!is_built_in(plugin) || self.gatherings.batch(plugin).is_some())
        };
        let lines = self.routes.iter().chain(self.gatherings.lines()).filter(takes);
        let steps = lines.flat_map(|route| {
            route.plugins().filter(goes_on).map(move |next| (&*route.pattern, next))
        });
        steps.collect()
    }

    /// Whether this line is sure to take something that `plugin` emits.
    fn takes_from(&self, route: &Route, plugin: &str) -> bool {
        match &route.source {
            Some(source) => source.strip_prefix("plugins/") == Some(plugin),
            None => route.pattern == "**",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Target;

    fn cycles(lines: &[(&str, &[&str])]) -> Vec<String> {
        let lines = lines.iter().map(|(pattern, plugins)| {
            (*pattern, plugins.iter().map(|name| Target::to(*name)).collect())
        });
        Routes::new(lines, |_| false).unwrap().cycles().iter().map(Cycle::to_string).collect()
    }

    #[test]
    fn a_cycle_of_named_sources_is_shown_once_with_its_lines() {
        let lines: &[(&str, &[&str])] = &[
            ("plugins/a:x.*", &["b"]),
            ("plugins/b:y", &["c", "d"]),
            ("plugins/c:**", &["a"]),
            ("z", &["a"]),
        ];
        assert_eq!(
            cycles(lines),
            ["a → (\"plugins/a:x.*\") b → (\"plugins/b:y\") c → (\"plugins/c:**\") a"]
        );
    }

    #[test]
    fn a_line_that_takes_every_type_closes_a_cycle() {
        assert_eq!(
            cycles(&[("**", &["b"]), ("plugins/b:y", &["a"])]),
            ["a → (\"**\") b → (\"plugins/b:y\") a"]
        );
        assert_eq!(cycles(&[("**", &["a", "b"])]), ["a → (\"**\") b → (\"**\") a"]);
    }

    #[test]
    fn a_plugin_that_is_routed_to_itself_or_may_emit_something_else_is_no_cycle() {
        assert_eq!(cycles(&[("plugins/a:x", &["a"]), ("**", &["a"])]), Vec::<String>::new());
        assert_eq!(cycles(&[("order.**", &["a", "b"]), ("video.*", &["b"])]), Vec::<String>::new());
    }
}
