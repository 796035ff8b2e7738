//! Patterns, found by the source and the type that they match.
//!
//! A table is asked for every event: patterns without a star are found by hash, the others are
//! taken apart when the table is built and found by what stands before the first one.

use std::collections::HashMap;

use super::pattern::{Matcher, Pattern, is_separator};
use crate::event::UNIDENTIFIED;
use crate::event::name::RESERVED;

/// Patterns with numbers, in the order in which they are inserted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PatternTable {
    /// The sources that they are narrowed to.
    sources: Vec<Option<String>>,
    /// Numbers of the patterns without a star, by event type.
    exact: HashMap<String, Vec<usize>>,
    /// The others with their numbers, by the text before the first star without the separator
    /// between them.
    wild: HashMap<String, Vec<(usize, Matcher)>>,
    /// The longest of these beginnings, in bytes.
    longest: usize,
}

impl PatternTable {
    /// Adds a pattern, with the next number.
    pub(super) fn insert(&mut self, pattern: Pattern<'_>) {
        let number = self.sources.len();
        self.sources.push(pattern.source.map(str::to_owned));
        if pattern.is_exact() {
            self.exact.entry(pattern.kind.to_owned()).or_default().push(number);
        } else {
            let (beginning, matcher) = pattern.into_matcher();
            self.longest = self.longest.max(beginning.len());
            self.wild.entry(beginning).or_default().push((number, matcher));
        }
    }

    /// Whether it has no pattern.
    pub(super) fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    fn comes_from(&self, number: usize, source: &str) -> bool {
        self.sources[number].as_deref().is_none_or(|only| only == source)
    }

    /// The numbers of the patterns that match, in their order.
    pub(super) fn hits(&self, source: &str, kind: &str) -> Vec<usize> {
        let exact = self.exact.get(kind).into_iter().flatten().copied();
        let exact = exact.filter(|number| self.comes_from(*number, source));
        // The text before a star ends in front of a separator, so only these lengths are looked up.
        let ends = kind
            .bytes()
            .enumerate()
            .skip(1)
            .filter(|(_, byte)| is_separator(*byte))
            .map(|(at, _)| at);
        // A pattern for the host's own types begins with their first segment, written out.
        let least = if is_reserved(kind) { RESERVED.len() - 1 } else { 0 };
        let ends = [0].into_iter().chain(ends).chain([kind.len()]);
        let ends = ends.take_while(|end| *end <= self.longest).filter(|end| *end >= least);
        let wild = ends.filter_map(|end| Some((end, self.wild.get(&kind[..end])?)));
        let wild = wild.flat_map(|(end, patterns)| {
            patterns.iter().map(move |(number, matcher)| (end, *number, matcher))
        });
        let wild = wild.filter(|(end, number, matcher)| {
            self.comes_from(*number, source) && matcher.fits(kind, *end)
        });
        let mut hits: Vec<usize> = exact.chain(wild.map(|(_, number, _)| number)).collect();
        hits.sort_unstable();
        hits
    }

    /// Whether a pattern is this type itself, without a star, for this source or for all.
    pub(super) fn names(&self, source: &str, kind: &str) -> bool {
        let mut exact = self.exact.get(kind).into_iter().flatten();
        exact.any(|number| self.comes_from(*number, source))
    }
}

/// Whether a type is one that the host gives to events of its own. Events whose type cannot be read
/// come from outside all the same.
fn is_reserved(kind: &str) -> bool {
    kind.starts_with(RESERVED) && kind != UNIDENTIFIED
}
