//! Patterns of the route table that are likely not what their author means. They are warnings, not
//! errors: a configuration does not say which types there will be.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::pattern::{Pattern, is_separator};
use super::{PatternError, Route, RouteItem, Routes, is_maker};
use crate::config::presets;
use crate::config::raw::did_you_mean;
use crate::config::source::{EventTypes, Pick, Source};
use crate::event::UNIDENTIFIED;
use crate::names::PluginName;

/// The most pairs of lines that are compared, and the most of them that are named.
const MAX_PAIRS: usize = 2_000;
const MAX_DIFFERING: usize = 10;

type SourcesByName = BTreeMap<String, Arc<Source>>;

/// A pattern of the table: that of a line, or one that cancels.
struct TablePattern<'a> {
    text: &'a str,
    /// The source in front of it.
    source: Option<&'a str>,
    /// The line of the deliveries that it cancels, if it cancels some.
    cancels: Option<&'a str>,
}

impl Routes {
    /// A sentence for each doubtful pattern, in the order of the file.
    pub fn doubts(&self, sources: &SourcesByName) -> Vec<String> {
        let patterns = self.routes.iter().flat_map(|route| {
            let items = route.items.iter();
            let cancels = items.flat_map(move |item| cancelling(route, item, sources));
            std::iter::once(TablePattern::of(route)).chain(cancels)
        });
        let doubt = |pattern| misread(&pattern, sources).or_else(|| unmatched(&pattern, sources));
        patterns.filter_map(doubt).chain(self.differing()).collect()
    }

    /// Two lines that name one plugin on different terms, if some event may match both.
    fn differing(&self) -> Vec<String> {
        let mut of_plugins = BTreeMap::<&PluginName, Vec<(&Route, &RouteItem)>>::new();
        for route in &self.routes {
            for item in &route.items {
                of_plugins.entry(item.plugin()).or_default().push((route, item));
            }
        }
        let pairs = of_plugins.values().flat_map(|items| {
            let later = items
                .iter()
                .enumerate()
                .flat_map(|(at, first)| items[at + 1..].iter().map(move |second| (first, second)));
            later.filter(|(first, second)| first.1.differs_from(second.1))
        });
        let both = pairs.take(MAX_PAIRS).filter(|(first, second)| overlap(first.0, second.0));
        both.take(MAX_DIFFERING).map(|(first, second)| differing(first, second.0)).collect()
    }
}

fn differing((first, item): &(&Route, &RouteItem), second: &Route) -> String {
    let fails = if item.when.is_some() { ", unless its `when` is false" } else { "" };
    format!(
        "the routes \"{}\" and \"{}\" name `{}` on different terms: an event that matches both is delivered on \
         the terms of the first{fails}",
        first.pattern,
        second.pattern,
        item.plugin()
    )
}

/// Whether some event may match both lines.
fn overlap(first: &Route, second: &Route) -> bool {
    let from_one_source = match (&first.source, &second.source) {
        (Some(first), Some(second)) => first == second,
        _ => true,
    };
    from_one_source
        && match (TablePattern::of(first).parsed(), TablePattern::of(second).parsed()) {
            (Ok(first), Ok(second)) => first.overlaps(&second),
            _ => false,
        }
}

impl Route {
    /// Whether the line takes events of this source and type.
    pub(super) fn takes_kind(&self, source: &str, kind: &str) -> bool {
        let pattern = TablePattern::of(self);
        pattern.source.is_none_or(|only| only == source)
            && pattern.parsed().is_ok_and(|pattern| pattern.takes(kind))
    }
}

impl<'a> TablePattern<'a> {
    /// The pattern of a line.
    fn of(route: &'a Route) -> Self {
        Self { text: &route.pattern, source: route.source.as_deref(), cancels: None }
    }

    /// The kind of the pattern and its route, for people.
    fn place(&self) -> String {
        match self.cancels {
            Some(line) => format!("the `cancel_on` \"{}\" of the route \"{line}\"", self.text),
            None => format!("the route \"{}\"", self.text),
        }
    }

    /// The pattern, taken apart.
    fn parsed(&self) -> Result<Pattern<'a>, PatternError> {
        Pattern::parse(self.text, |name| self.source == Some(name) || is_maker(name))
    }
}

/// The patterns of events that cancel what an item delays.
fn cancelling<'a>(
    route: &'a Route,
    item: &'a RouteItem,
    sources: &'a SourcesByName,
) -> impl Iterator<Item = TablePattern<'a>> {
    item.cancel_on.iter().map(move |text| {
        let pattern = Pattern::parse(text, |name| sources.contains_key(name) || is_maker(name));
        let source = pattern.ok().and_then(|pattern| pattern.source);
        TablePattern { text, source, cancels: Some(&route.pattern) }
    })
}

/// A pattern whose author likely takes the text in front of the colon for a source.
fn misread(pattern: &TablePattern<'_>, sources: &SourcesByName) -> Option<String> {
    if pattern.source.is_some() {
        return None;
    }
    let (before, after) = pattern.text.split_once(':')?;
    let names = || sources.keys().map(String::as_str);
    let near = did_you_mean(before, names());
    let longer = |long: &str, short: &str| {
        long.strip_prefix(short).is_some_and(|rest| rest.starts_with(['-', '_']))
    };
    let alike = |name: &str| longer(name, before) || longer(before, name);
    // Dots or a star behind the colon are how a line for one source looks: the source may have had
    // this name before.
    let is_shaped = !before.contains(['.', '/', ' ']) && after.contains(['.', '*']);
    if near.is_empty() && !is_shaped && !names().any(alike) && !presets::NAMES.contains(&before) {
        return None;
    }
    let help = match near.trim_end().strip_prefix("did") {
        Some(near) => format!("Did{near}"),
        None => format!(
            "A source in front of a colon has to be a section of the file: [sources.{before}]"
        ),
    };
    Some(format!(
        "{} takes types that begin with `{before}:`, for there is no source `{before}`. {help}",
        pattern.place()
    ))
}

/// A pattern that no type of its source can match, as far as that is known; without a source, one
/// that is meant for types which its sources do not send. A plugin may emit types of any kind.
fn unmatched(pattern: &TablePattern<'_>, sources: &SourcesByName) -> Option<String> {
    if let Some(name) = pattern.source {
        let source = sources.get(name).filter(|source| !takes(pattern, source))?;
        return Some(format!("{} can match nothing: {}", pattern.place(), types_of(source)));
    }
    if sources.is_empty() || sources.values().any(|source| takes(pattern, source)) {
        return None;
    }
    let meant = sources.values().find(|source| is_meant_for(pattern.text, source))?;
    Some(format!(
        "{} can match no event but those of plugins: {}",
        pattern.place(),
        types_of(meant)
    ))
}

/// Whether a pattern matches some type that this source may send, or that is not known.
fn takes(pattern: &TablePattern<'_>, source: &Source) -> bool {
    let fits = |test: &dyn Fn(Pattern<'_>) -> bool| pattern.parsed().is_ok_and(test);
    match (&source.kind, &source.types) {
        (Pick::Fixed(fixed), _) => fits(&|pattern| pattern.takes(fixed)),
        (_, EventTypes::Any) => true,
        (_, EventTypes::Words { .. }) => {
            fits(&|pattern| pattern.takes_words()) || fits(&|pattern| pattern.takes(UNIDENTIFIED))
        }
    }
}

/// The types of a source, described in a sentence.
fn types_of(source: &Source) -> String {
    let name = &source.name;
    match (&source.kind, &source.types) {
        (Pick::Fixed(fixed), _) => format!("every event of `{name}` has the type `{fixed}`"),
        (_, EventTypes::Words { more, .. }) => {
            format!("types of `{name}` are single words without dots or blanks; {more}")
        }
        (_, EventTypes::Any) => format!("of the types of `{name}` nothing is known"),
    }
}

/// Whether a pattern that the source's types do not match looks as if it should.
fn is_meant_for(pattern: &str, source: &Source) -> bool {
    match (&source.kind, &source.types) {
        (Pick::Fixed(fixed), _) => !did_you_mean(pattern, [fixed.as_str()]).is_empty(),
        (_, EventTypes::Words { known, .. }) => {
            let first = pattern
                .split(|c| u8::try_from(c).is_ok_and(is_separator))
                .next()
                .unwrap_or_default();
            known.iter().any(|known| known == first)
        }
        (_, EventTypes::Any) => false,
    }
}
