//! The route table: event type patterns → plugins.
//!
//! `*` and `**` in a pattern stand for pieces of a type (see [`pattern`]); `SOURCE:` in front
//! narrows it to one source (`plugins/NAME:` to what a plugin emitted). Every pattern that matches
//! applies; a plugin gets an event once, and one that it emitted itself only by a pattern with
//! `plugins/NAME:`.
//!
//! [`Routes::targets`] runs for every request: patterns without a star are found by hash, the
//! others are taken apart when the table is built and found by what stands before the first one.

use std::collections::HashMap;
use std::sync::Arc;

use crate::event::{MAX_NAME_BYTES, Target};
use crate::names::PluginName;

mod cycles;
mod doubts;
pub(super) mod gatherings;
mod pattern;
pub(super) mod read;
mod routing;

pub use cycles::Cycle;
pub use gatherings::{Gathering, Gatherings, KeepMembers};
pub use routing::{Facts, Routing};

use pattern::{Matcher, Pattern, is_separator};

/// The checked route table, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routes {
    routes: Vec<Route>,
    /// Indexes of the routes without a star, by event type.
    exact: HashMap<String, Vec<usize>>,
    /// The others with their indexes, by the text before the first star without the separator
    /// between them.
    wild: HashMap<String, Vec<(usize, Matcher)>>,
    /// The longest of these beginnings, in bytes.
    longest: usize,
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
    /// The plugins that get what it matches.
    pub targets: Vec<Arc<Target>>,
}

impl Route {
    /// The plugins it leads to.
    pub fn plugins(&self) -> impl Iterator<Item = &PluginName> {
        self.targets.iter().map(|target| &target.plugin)
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
        let mut table = Self::default();
        for (text, targets) in lines {
            let pattern = Pattern::parse(text, |name| is_source(name) || is_maker(name))?;
            let source = pattern.source.map(str::to_owned);
            let index = table.routes.len();
            if pattern.is_exact() {
                table.exact.entry(pattern.kind.to_owned()).or_default().push(index);
            } else {
                let (beginning, matcher) = pattern.into_matcher();
                table.longest = table.longest.max(beginning.len());
                table.wild.entry(beginning).or_default().push((index, matcher));
            }
            table.routes.push(Route { pattern: text.to_owned(), source, targets });
        }
        Ok(table)
    }

    /// The targets of an event of this source and type: each plugin once, in the order of the file.
    /// The plugin that emitted it is among them only if a line names it as the source.
    pub fn targets(&self, source: &str, kind: &str) -> Vec<Arc<Target>> {
        let comes_from =
            |index: &usize| self.routes[*index].source.as_deref().is_none_or(|only| only == source);
        let exact = self.exact.get(kind).into_iter().flatten().copied().filter(comes_from);
        let ends = kind
            .bytes()
            .enumerate()
            .skip(1)
            .filter(|(_, byte)| is_separator(*byte))
            .map(|(at, _)| at);
        let ends =
            [0].into_iter().chain(ends).chain([kind.len()]).take_while(|end| *end <= self.longest);
        let wild = ends.filter_map(|end| Some((end, self.wild.get(&kind[..end])?)));
        let wild = wild.flat_map(|(end, routes)| {
            routes.iter().map(move |(index, matcher)| (end, index, matcher))
        });
        let wild =
            wild.filter(|(end, index, matcher)| comes_from(index) && matcher.fits(kind, *end));
        let mut hits: Vec<usize> = exact.chain(wild.map(|(_, index, _)| *index)).collect();
        hits.sort_unstable();
        let emitter = source.strip_prefix("plugins/");
        let mut targets: Vec<Arc<Target>> = Vec::new();
        for route in hits.into_iter().map(|index| &self.routes[index]) {
            for target in &route.targets {
                let returns = route.source.is_none() && emitter == Some(&target.plugin);
                if !returns && !targets.iter().any(|known| known.plugin == target.plugin) {
                    targets.push(Arc::clone(target));
                }
            }
        }
        targets
    }

    /// Whether a line names this type itself, without a star, for this source or for all.
    pub fn names(&self, source: &str, kind: &str) -> bool {
        let mut lines =
            self.exact.get(kind).into_iter().flatten().map(|index| &self.routes[*index]);
        lines.any(|route| route.source.as_deref().is_none_or(|only| only == source))
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
}
