//! The route table: event type patterns → plugins.
//!
//! `*` and `**` in a pattern stand for pieces of a type (see [`pattern`]); `SOURCE:` in front
//! narrows it to one source (`plugins/NAME:` to what a plugin emitted). Every pattern that matches
//! applies; a plugin gets an event once, by the first item of the file whose condition holds, and
//! one that it emitted itself only by a pattern with `plugins/NAME:`.

use std::sync::Arc;

use super::units::show_ms;
use crate::event::{MAX_NAME_BYTES, Target};
use crate::names::PluginName;

mod cycles;
mod doubts;
mod facts;
pub(super) mod gatherings;
mod lost;
mod pattern;
pub(super) mod read;
mod routing;
mod table;
mod when;

pub use cycles::Cycle;
pub use facts::Facts;
pub use gatherings::{Gathering, Gatherings, KeepMembers};
pub use pattern::TypePattern;
pub use routing::Routing;
pub use when::When;

use pattern::Pattern;
use table::PatternTable;

/// The checked route table, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routes {
    routes: Vec<Route>,
    table: PatternTable,
    /// The events that cancel deliveries: the patterns of every `cancel_on`.
    cancelling: PatternTable,
    /// The tag of the item that each of these patterns belongs to.
    cancelled: Vec<i64>,
    /// `[joins]` and `[batches]`.
    pub gatherings: Gatherings,
}

/// One line of `[routes]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// As written.
    pub pattern: String,
    /// The source it is narrowed to.
    pub source: Option<String>,
    /// The plugins that get what it matches, and on which terms.
    pub items: Vec<RouteItem>,
}

/// An item of a line: a plugin that gets what the line matches, and on which terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteItem {
    /// The plugin, with the terms of a delivery.
    pub target: Arc<Target>,
    /// The condition for the event.
    pub when: Option<Arc<When>>,
    /// The patterns of events that cancel deliveries of this item, as written.
    pub cancel_on: Vec<String>,
}

impl From<Arc<Target>> for RouteItem {
    /// An item without a condition.
    fn from(target: Arc<Target>) -> Self {
        Self { target, when: None, cancel_on: Vec::new() }
    }
}

impl RouteItem {
    /// The plugin's name.
    pub fn plugin(&self) -> &PluginName {
        &self.target.plugin
    }

    /// Its terms beside the plugin, for people; `None` if there are none.
    pub fn terms(&self) -> Option<String> {
        let delay_ms = self.target.options.delay_ms;
        let terms = [
            self.when.as_ref().map(|when| format!("when {when}")),
            (delay_ms > 0).then(|| format!("after {}", show_ms(delay_ms))),
            (!self.cancel_on.is_empty())
                .then(|| format!("cancelled by {}", self.cancel_on.join(", "))),
        ];
        let terms: Vec<String> = terms.into_iter().flatten().collect();
        (!terms.is_empty()).then(|| terms.join("; "))
    }

    /// Whether it is on the terms of another item. Its tag is its own, and does not count.
    fn differs_from(&self, other: &Self) -> bool {
        self.when != other.when
            || self.cancel_on != other.cancel_on
            || self.target.options.delay_ms != other.target.options.delay_ms
    }
}

impl Route {
    /// The plugins it leads to.
    pub fn plugins(&self) -> impl Iterator<Item = &PluginName> {
        self.items.iter().map(RouteItem::plugin)
    }

    /// Whether it leads to this plugin.
    pub fn leads_to(&self, plugin: &str) -> bool {
        self.plugins().any(|name| **name == *plugin)
    }
}

/// The reason why a text is not a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing before or after the colon.
    #[error("is an empty pattern")]
    Empty,
    /// Longer than any event type.
    #[error("is longer than {MAX_NAME_BYTES} bytes, as no event type is")]
    TooLong,
    /// See [`crate::event::name`].
    #[error("has blanks or characters that no event type has")]
    BadCharacter,
    /// Two dots in a row, or one at an end.
    #[error("has an empty segment: two dots in a row, or one at an end")]
    EmptySegment,
    /// `vid*` or `***`.
    #[error("has a star within a segment")]
    StarWithin,
    /// `plugins/*:…`.
    #[error("has a star in its source")]
    StarInSource,
}

/// Sources that are no section of the file: parts of the host that make events.
const MAKERS: [&str; 5] = ["plugins/", "joins/", "batches/", "schedules/", "api/"];

/// Whether this is `plugins/NAME` or alike.
fn is_maker(text: &str) -> bool {
    let named = |name: &str| !name.is_empty() && !name.contains(['.', '/']);
    MAKERS.iter().any(|maker| text.strip_prefix(maker).is_some_and(named))
}

impl Routes {
    /// Builds a table of patterns with their targets, in the order of the file. `is_source` tells
    /// the names of sources from what is part of a type.
    ///
    /// # Errors
    /// The first text that is not a pattern.
    pub fn new<'a>(
        lines: impl IntoIterator<Item = (&'a str, Vec<Arc<Target>>)>,
        is_source: impl Fn(&str) -> bool,
    ) -> Result<Self, PatternError> {
        let items = |targets: Vec<Arc<Target>>| targets.into_iter().map(RouteItem::from).collect();
        Self::of_items(lines.into_iter().map(|(text, targets)| (text, items(targets))), is_source)
    }

    /// Does the same with items. The target of an item with `cancel_on` has a tag.
    ///
    /// # Errors
    /// The first text that is not a pattern.
    fn of_items<'a>(
        lines: impl IntoIterator<Item = (&'a str, Vec<RouteItem>)>,
        is_source: impl Fn(&str) -> bool,
    ) -> Result<Self, PatternError> {
        let is_source = |name: &str| is_source(name) || is_maker(name);
        let mut table = Self::default();
        for (text, items) in lines {
            let pattern = Pattern::parse(text, is_source)?;
            let source = pattern.source.map(str::to_owned);
            table.table.insert(pattern);
            for item in &items {
                let Some(tag) = item.target.options.cancel_tag else { continue };
                for pattern in &item.cancel_on {
                    table.cancelling.insert(Pattern::parse(pattern, is_source)?);
                    table.cancelled.push(tag);
                }
            }
            table.routes.push(Route { pattern: text.to_owned(), source, items });
        }
        Ok(table)
    }

    /// The targets of an event of this source and type if every condition holds: each plugin once,
    /// in the order of the file. The plugin that emitted it is among them only if a line names it
    /// as the source.
    pub fn targets(&self, source: &str, kind: &str) -> Vec<Arc<Target>> {
        self.chosen(source, kind, |_| true)
    }

    /// The targets of an event whose items pass `admits`, which is asked only about items that
    /// would count: for each plugin in the order of the file, until it passes one.
    fn chosen(
        &self,
        source: &str,
        kind: &str,
        mut admits: impl FnMut(&RouteItem) -> bool,
    ) -> Vec<Arc<Target>> {
        let emitter = source.strip_prefix("plugins/");
        let mut targets: Vec<Arc<Target>> = Vec::new();
        for route in self.table.hits(source, kind).into_iter().map(|index| &self.routes[index]) {
            for item in &route.items {
                let plugin = item.plugin();
                let returns = route.source.is_none() && emitter == Some(plugin);
                let is_chosen = targets.iter().any(|known| known.plugin == *plugin);
                if !returns && !is_chosen && admits(item) {
                    targets.push(Arc::clone(&item.target));
                }
            }
        }
        targets
    }

    /// Whether an event of this source and type may lead to anything: a delivery, if the conditions
    /// of its items hold, a gathering, or a cancelled delivery.
    pub fn takes(&self, source: &str, kind: &str) -> bool {
        !self.targets(source, kind).is_empty()
            || self.gatherings.of(source, kind).next().is_some()
            || !self.cancelling.hits(source, kind).is_empty()
    }

    /// Whether a line names this type itself, without a star, for this source or for all.
    pub fn names(&self, source: &str, kind: &str) -> bool {
        self.table.names(source, kind)
    }

    /// Every line, in the order of the file.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Route> {
        self.routes.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(lines: &[(&str, &[&str])]) -> Routes {
        let lines = lines.iter().map(|(pattern, plugins)| {
            (*pattern, plugins.iter().map(|name| Target::to(*name)).collect())
        });
        Routes::new(lines, |name| ["s", "acme"].contains(&name)).unwrap()
    }

    fn targets(routes: &Routes, source: &str, kind: &str) -> Vec<String> {
        routes.targets(source, kind).iter().map(|target| target.plugin.to_string()).collect()
    }

    #[test]
    fn a_star_is_one_segment_and_two_are_any_number() {
        let routes = table(&[
            ("a.*", &["one"]),
            ("a.**", &["many"]),
            ("**.z", &["tail"]),
            ("a.**.z", &["both"]),
        ]);
        assert_eq!(targets(&routes, "s", "a"), ["many"]);
        assert_eq!(targets(&routes, "s", "a.b"), ["one", "many"]);
        assert_eq!(targets(&routes, "s", "a.b.c"), ["many"]);
        assert_eq!(targets(&routes, "s", "a.z"), ["one", "many", "tail", "both"]);
        assert_eq!(targets(&routes, "s", "a.b.z.c.z"), ["many", "tail", "both"]);
        assert_eq!(targets(&routes, "s", "z"), ["tail"]);
        assert_eq!(targets(&routes, "s", "ab"), Vec::<String>::new());
    }

    #[test]
    fn a_plugin_gets_an_event_once_and_in_the_order_of_the_file() {
        let routes = table(&[
            ("**", &["last", "first"]),
            ("a.b", &["first", "middle"]),
            ("a.*", &["last", "end"]),
        ]);
        assert_eq!(targets(&routes, "s", "a.b"), ["last", "first", "middle", "end"]);
    }

    #[test]
    fn a_source_narrows_a_pattern() {
        let routes = table(&[
            ("acme:a.b", &["acme"]),
            ("plugins/audit:**", &["emitted"]),
            ("a.b", &["all"]),
        ]);
        assert_eq!(targets(&routes, "acme", "a.b"), ["acme", "all"]);
        assert_eq!(targets(&routes, "other", "a.b"), ["all"]);
        assert_eq!(targets(&routes, "plugins/audit", "a.b"), ["emitted", "all"]);
    }

    #[test]
    fn a_plugin_gets_back_what_it_emitted_only_where_a_line_says_so() {
        let routes = table(&[("a.*", &["audit", "other"]), ("**", &["audit"])]);
        assert_eq!(targets(&routes, "plugins/audit", "a.b"), ["other"]);
        assert_eq!(targets(&routes, "plugins/other", "a.b"), ["audit"]);
        let routes = table(&[("a.*", &["audit", "other"]), ("plugins/audit:a.b", &["audit"])]);
        assert_eq!(targets(&routes, "plugins/audit", "a.b"), ["other", "audit"]);
    }

    #[test]
    fn a_colon_belongs_to_the_type_unless_a_source_stands_before_it() {
        let routes = table(&[
            ("repo:push", &["push"]),
            ("repo:*", &["repo"]),
            ("s:repo:push", &["s"]),
            ("acme:x", &["x"]),
        ]);
        assert_eq!(targets(&routes, "s", "repo:push"), ["push", "repo", "s"]);
        assert_eq!(targets(&routes, "repo", "push"), Vec::<String>::new());
        assert_eq!(targets(&routes, "acme", "repo:push"), ["push", "repo"]);
        assert_eq!(targets(&routes, "acme", "x"), ["x"]);
        let makers = ["joins/a", "batches/a", "schedules/a", "api/a"];
        for maker in makers {
            let routes =
                table(&[(&format!("{maker}:x"), &["x"]), (&format!("{maker}/b:x"), &["type"])]);
            assert_eq!(targets(&routes, maker, "x"), ["x"]);
            assert_eq!(targets(&routes, "s", &format!("{maker}/b:x")), ["type"]);
        }
    }

    #[test]
    fn a_line_names_the_types_that_it_is_itself() {
        let routes = table(&[("s:a", &["x"]), ("b", &["x"]), ("**", &["x"])]);
        assert!(routes.names("s", "a") && routes.names("t", "b"));
        assert!(!routes.names("t", "a") && !routes.names("s", "c"));
    }

    #[test]
    fn a_pattern_full_of_stars_is_matched_in_reasonable_time() {
        let pattern = ["**", "a"].repeat(100).join(".");
        let routes = table(&[(&pattern, &["p"])]);
        assert_eq!(targets(&routes, "s", &"a.".repeat(255)), Vec::<String>::new());
    }

    #[test]
    fn a_type_of_the_host_is_matched_only_where_its_first_segment_is_written() {
        let routes = table(&[
            ("**", &["all"]),
            ("*.*", &["two"]),
            ("**.dead", &["tail"]),
            ("*.dead", &["starred"]),
            ("hookbox.*", &["written"]),
            ("hookbox.**", &["many"]),
            ("hookbox.dead", &["exact"]),
            ("s:hookbox.*", &["of-s"]),
        ]);
        assert_eq!(
            targets(&routes, "s", "hookbox.dead"),
            ["written", "many", "exact", "of-s"],
            "stars do not take it"
        );
        assert_eq!(
            targets(&routes, "s", "hookbox.unidentified"),
            ["all", "two", "written", "many", "of-s"],
            "an event from outside is taken as any other"
        );
        assert_eq!(targets(&routes, "s", "hookboxes.dead"), ["all", "two", "tail", "starred"]);
        assert_eq!(targets(&routes, "s", "hookbox"), ["all", "many"]);
    }
}
