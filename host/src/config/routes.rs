//! The route table: event type patterns → plugins.
//!
//! `*` stands for one dotted segment, `**` for any number, also none; `SOURCE:` in front narrows a pattern to one
//! source (`plugins/NAME:` to what a plugin emitted). Every pattern that matches applies; a plugin gets an event once, and
//! one that it emitted itself only by a pattern with `plugins/NAME:`.
//!
//! [`Routes::targets`] runs for every request: patterns without a star are found by hash, the others are split when
//! the table is built and found by what stands before the first one.

use std::collections::HashMap;
use std::str::Split;

use crate::event::{MAX_NAME_BYTES, PluginName};

mod cycles;
pub(super) mod read;

pub use cycles::Cycle;

/// The checked route table, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routes {
    routes: Vec<Route>,
    /// Indexes of the routes without a star, by event type.
    exact: HashMap<String, Vec<usize>>,
    /// The others with their indexes, by the segments before the first star.
    wild: HashMap<String, Vec<(usize, Vec<Segment>)>>,
    /// The longest of these beginnings, in bytes.
    longest: usize,
}

/// One line of `[routes]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// As written.
    pub pattern: String,
    /// The source it is narrowed to.
    pub source: Option<String>,
    /// What it maps to.
    pub plugins: Vec<PluginName>,
}

/// A dotted segment of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    /// `*`
    One,
    /// `**`
    Many,
}

/// Why a text is not a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing before or after the colon.
    #[error("is an empty pattern")]
    Empty,
    /// Longer than any event type.
    #[error("is longer than {MAX_NAME_BYTES} bytes, as no event type is")]
    TooLong,
    /// A space or a control character.
    #[error("contains a space or a control character")]
    BadCharacter,
    /// Two dots in a row, or one at an end.
    #[error("has an empty segment: two dots in a row, or one at an end")]
    EmptySegment,
    /// `vid*` or `***`.
    #[error("has a star within a segment")]
    StarWithin,
    /// `*:…`.
    #[error("has a star in its source")]
    StarInSource,
}

/// A pattern, taken apart.
struct Pattern<'a> {
    source: Option<&'a str>,
    kind: &'a str,
    segments: Vec<Segment>,
}

impl<'a> Pattern<'a> {
    fn parse(text: &'a str) -> Result<Self, PatternError> {
        let (source, kind) = match text.split_once(':') {
            Some((source, kind)) => (Some(source), kind),
            None => (None, text),
        };
        if kind.is_empty() || source == Some("") {
            return Err(PatternError::Empty);
        }
        if kind.len() > MAX_NAME_BYTES {
            return Err(PatternError::TooLong);
        }
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(PatternError::BadCharacter);
        }
        if source.is_some_and(|source| source.contains('*')) {
            return Err(PatternError::StarInSource);
        }
        let segments = kind.split('.').map(Segment::parse).collect::<Result<_, _>>()?;
        Ok(Self { source, kind, segments })
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Self, PatternError> {
        match text {
            "" => Err(PatternError::EmptySegment),
            "*" => Ok(Self::One),
            "**" => Ok(Self::Many),
            _ if text.contains('*') => Err(PatternError::StarWithin),
            _ => Ok(Self::Literal(text.to_owned())),
        }
    }
}

impl Routes {
    /// Builds a table of patterns, in the order in which their plugins are to be named.
    pub fn new<'a>(lines: impl IntoIterator<Item = (&'a str, Vec<PluginName>)>) -> Result<Self, PatternError> {
        let mut table = Self::default();
        for (text, plugins) in lines {
            let pattern = Pattern::parse(text)?;
            let index = table.routes.len();
            if pattern.segments.iter().all(|segment| matches!(segment, Segment::Literal(_))) {
                table.exact.entry(pattern.kind.to_owned()).or_default().push(index);
            } else {
                let before = pattern.kind.split_once('*').map_or("", |(before, _)| before.trim_end_matches('.'));
                table.longest = table.longest.max(before.len());
                table.wild.entry(before.to_owned()).or_default().push((index, pattern.segments));
            }
            let source = pattern.source.map(str::to_owned);
            table.routes.push(Route { pattern: text.to_owned(), source, plugins });
        }
        Ok(table)
    }

    /// The plugins that get an event of this source and type: each once, in the order of the file. The one that emitted it
    /// is among them only if a line names it as the source.
    pub fn targets(&self, source: &str, kind: &str) -> Vec<PluginName> {
        let comes_from = |index: &usize| self.routes[*index].source.as_deref().is_none_or(|only| only == source);
        let exact = self.exact.get(kind).into_iter().flatten().copied().filter(comes_from);
        let beginnings = kind.match_indices('.').map(|(dot, _)| &kind[..dot]).chain([kind]);
        let beginnings = [""].into_iter().chain(beginnings.take_while(|beginning| beginning.len() <= self.longest));
        let wild = beginnings.filter_map(|beginning| self.wild.get(beginning)).flatten();
        let wild = wild.filter(|(index, segments)| comes_from(index) && matches(segments, kind));
        let mut hits: Vec<usize> = exact.chain(wild.map(|(index, _)| *index)).collect();
        hits.sort_unstable();
        let emitter = source.strip_prefix("plugins/");
        let mut targets = Vec::new();
        for route in hits.into_iter().map(|index| &self.routes[index]) {
            for plugin in &route.plugins {
                let returns = route.source.is_none() && emitter == Some(plugin);
                if !returns && !targets.contains(plugin) {
                    targets.push(plugin.clone());
                }
            }
        }
        targets
    }

    /// Every line, in the order of the file.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Route> {
        self.routes.iter()
    }
}

/// Whether a pattern matches a type: each `**` takes as few segments as will do, and one more whenever what follows it
/// does not fit. Only the last `**` passed needs to be reconsidered, so the work is at most pattern times type.
fn matches(pattern: &[Segment], kind: &str) -> bool {
    let mut left = kind.split('.');
    let mut at = 0;
    let mut last_many: Option<(usize, Split<'_, char>)> = None;
    loop {
        let fits = match pattern.get(at) {
            Some(Segment::Many) => {
                last_many = Some((at + 1, left.clone()));
                true
            }
            Some(Segment::One) => left.next().is_some(),
            Some(Segment::Literal(text)) => left.next() == Some(text),
            None if left.clone().next().is_none() => return true,
            None => false,
        };
        if fits {
            at += 1;
            continue;
        }
        let Some((resume, taken)) = &mut last_many else { return false };
        if taken.next().is_none() {
            return false;
        }
        at = *resume;
        left = taken.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(lines: &[(&str, &[&str])]) -> Routes {
        let lines =
            lines.iter().map(|(pattern, plugins)| (*pattern, plugins.iter().map(|name| (*name).into()).collect()));
        Routes::new(lines).unwrap()
    }

    fn targets(routes: &Routes, source: &str, kind: &str) -> Vec<String> {
        routes.targets(source, kind).iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn a_star_is_one_segment_and_two_are_any_number() {
        let routes = table(&[("a.*", &["one"]), ("a.**", &["many"]), ("**.z", &["tail"]), ("a.**.z", &["both"])]);
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
        let routes = table(&[("**", &["last", "first"]), ("a.b", &["first", "middle"]), ("a.*", &["last", "end"])]);
        assert_eq!(targets(&routes, "s", "a.b"), ["last", "first", "middle", "end"]);
    }

    #[test]
    fn a_source_narrows_a_pattern() {
        let routes = table(&[("acme:a.b", &["acme"]), ("plugins/audit:**", &["emitted"]), ("a.b", &["all"])]);
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
    fn what_is_not_a_pattern_is_refused() {
        let cases = [
            ("", PatternError::Empty),
            ("acme:", PatternError::Empty),
            (":a", PatternError::Empty),
            ("a..b", PatternError::EmptySegment),
            (".a", PatternError::EmptySegment),
            ("a.", PatternError::EmptySegment),
            ("a.vid*", PatternError::StarWithin),
            ("a.***", PatternError::StarWithin),
            ("a b", PatternError::BadCharacter),
            ("*:a", PatternError::StarInSource),
        ];
        for (text, error) in cases {
            assert_eq!(Routes::new([(text, vec![])]), Err(error), "{text}");
        }
        let long = "a".repeat(MAX_NAME_BYTES + 1);
        assert_eq!(Routes::new([(long.as_str(), vec![])]), Err(PatternError::TooLong));
    }

    #[test]
    fn a_pattern_full_of_stars_is_matched_in_reasonable_time() {
        let pattern = ["**", "a"].repeat(100).join(".");
        let routes = table(&[(&pattern, &["p"])]);
        assert_eq!(targets(&routes, "s", &"a.".repeat(255)), Vec::<String>::new());
    }

    /// The definition, word by word.
    fn naive(pattern: &[&str], kind: &[&str]) -> bool {
        match (pattern.split_first(), kind.split_first()) {
            (None, None) => true,
            (Some((&"**", rest)), _) => (0..=kind.len()).any(|taken| naive(rest, &kind[taken..])),
            (Some((&"*", rest)), Some((_, others))) => naive(rest, others),
            (Some((first, rest)), Some((segment, others))) => first == segment && naive(rest, others),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn the_matcher_agrees_with_the_definition(
            patterns in prop::collection::vec(("(s:|t:|)", prop::collection::vec("(a|b|\\*|\\*\\*)", 1..6)), 1..5),
            kind in prop::collection::vec("(a|b|c|)", 1..7),
        ) {
            let texts: Vec<String> = patterns.iter().map(|(source, parts)| source.clone() + &parts.join(".")).collect();
            let names: Vec<String> = (0..texts.len()).map(|index| format!("p{index}")).collect();
            let lines = texts.iter().zip(&names).map(|(text, name)| (text.as_str(), vec![name.as_str().into()]));
            let routes = Routes::new(lines).unwrap();
            let kind: Vec<&str> = kind.iter().map(String::as_str).collect();
            let fits = |(source, parts): &(String, Vec<String>)| {
                source != "t:" && naive(&parts.iter().map(String::as_str).collect::<Vec<_>>(), &kind)
            };
            let hits = patterns.iter().zip(&names).filter(|(pattern, _)| fits(pattern));
            let expected: Vec<String> = hits.map(|(_, name)| name.clone()).collect();
            prop_assert_eq!(targets(&routes, "s", &kind.join(".")), expected);
        }
    }
}
