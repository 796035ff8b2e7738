//! Patterns of the route table that are likely not what their author means. They are warnings, not
//! errors: a configuration does not say which types there will be.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::pattern::{Pattern, is_separator};
use super::{Gathering, PatternError, Route, RouteItem, Routes, is_maker};
use crate::config::presets;
use crate::config::raw::did_you_mean;
use crate::config::source::{EventTypes, Pick, Source};
use crate::event::UNIDENTIFIED;
use crate::names::{PluginName, closest_within};

/// The most pairs of lines that are compared, and the most of them that are named.
const MAX_PAIRS: usize = 2_000;
const MAX_DIFFERING: usize = 10;

/// The longest word that is another one once a letter differs: `paid` and `said`.
const SHORT_WORD: usize = 4;

type SourcesByName = BTreeMap<String, Arc<Source>>;

/// A pattern of the table: that of a line, or one that cancels.
struct TablePattern<'a> {
    text: &'a str,
    /// The source in front of it.
    source: Option<&'a str>,
    place: PatternPlace<'a>,
}

/// The place of a pattern in the file.
enum PatternPlace<'a> {
    /// A line of the table.
    Line,
    /// The `cancel_on` of this line.
    Cancels(&'a str),
    /// A join or a batch, `joins/NAME` or `batches/NAME`.
    Gathers(&'a PluginName),
}

impl Routes {
    /// A sentence for each doubtful pattern, in the order of the file.
    pub fn doubts(&self, sources: &SourcesByName) -> Vec<String> {
        let patterns = self.routes.iter().flat_map(|route| {
            let items = route.items.iter();
            let cancels = items.flat_map(move |item| cancelling(route, item, sources));
            std::iter::once(TablePattern::of(route)).chain(cancels)
        });
        let gathers = self.gatherings.lines().flat_map(|line| {
            let of = move |plugin| TablePattern {
                place: PatternPlace::Gathers(plugin),
                ..TablePattern::of(line)
            };
            line.plugins().map(of)
        });
        let doubt = |pattern: TablePattern<'_>| {
            let certain = misread(&pattern, sources).or_else(|| unmatched(&pattern, sources));
            certain.or_else(|| self.misspelt(&pattern, sources))
        };
        let patterns = patterns.chain(gathers);
        patterns.filter_map(doubt).chain(self.differing()).collect()
    }

    /// A pattern of one type that no source is known to send, if it is nearly one that is known.
    fn misspelt(&self, pattern: &TablePattern<'_>, sources: &SourcesByName) -> Option<String> {
        let parsed = pattern.parsed().ok().filter(Pattern::is_exact)?;
        let kind = parsed.kind;
        let is_emitted =
            |found: &Arc<Gathering>| [&found.emit, &found.late].into_iter().any(|it| *it == kind);
        let may_be_own = pattern.source.is_none() && self.gatherings.iter().any(is_emitted);
        if may_be_own || kind == UNIDENTIFIED {
            return None;
        }
        let its = sources.values().filter(|it| pattern.source.is_none_or(|name| *it.name == *name));
        let known: Vec<(&str, &str)> = its
            .flat_map(|source| {
                types_known(source).into_iter().map(move |known| (&*source.name, known))
            })
            .collect();
        if known.iter().any(|(_, known)| *known == kind) {
            return None;
        }
        let (source, near) = known.into_iter().find(|(_, known)| is_slip(kind, known))?;
        Some(format!(
            "{} matches none of the types of `{source}` that are known here; did you mean `{near}`?",
            pattern.place()
        ))
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
        Self { text: &route.pattern, source: route.source.as_deref(), place: PatternPlace::Line }
    }

    /// The kind of the pattern and its route, for people.
    fn place(&self) -> String {
        match self.place {
            PatternPlace::Line => format!("the route \"{}\"", self.text),
            PatternPlace::Cancels(line) => {
                format!("the `cancel_on` \"{}\" of the route \"{line}\"", self.text)
            }
            PatternPlace::Gathers(plugin) => format!("the \"{}\" of `{plugin}`", self.text),
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
        TablePattern { text, source, place: PatternPlace::Cancels(&route.pattern) }
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

/// The types of a source that are known by name.
fn types_known(source: &Source) -> Vec<&str> {
    // The preset says nothing of what `type` of the section takes in its place.
    let preset = source.preset.as_deref().filter(|preset| {
        presets::find(preset).is_some_and(|template| template.kind.as_ref() == Some(&source.kind))
    });
    let words: &[String] = match &source.types {
        EventTypes::Words { known, .. } => known,
        EventTypes::Any => &[],
    };
    let mut known: Vec<&str> = presets::types(preset.unwrap_or_default()).collect();
    known.extend(words.iter().map(String::as_str));
    known
}

/// Whether a type is another one with slips of the keyboard, and not a neighbour of it: at most one
/// slip in each word, or one between them. Numbers that differ are versions.
fn is_slip(kind: &str, known: &str) -> bool {
    let bare = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "");
    if bare(kind) == bare(known) {
        return false;
    }
    let words = |text| str::split(text, ['.', '/', ':', '_', '-', ' ']).collect::<Vec<_>>();
    let (ours, theirs) = (words(kind), words(known));
    match ours.len() == theirs.len() {
        true => ours.iter().zip(theirs).all(|(our, its)| *our == its || is_slip_of_word(our, its)),
        false => closest_within(kind, [known], 1).is_some(),
    }
}

fn is_slip_of_word(word: &str, known: &str) -> bool {
    let sorted = |text: &str| {
        let mut letters: Vec<char> = text.chars().collect();
        letters.sort_unstable();
        letters
    };
    let is_likely = word.len() > SHORT_WORD
        || word.len() != known.len() && word.len() > 2
        || sorted(word) == sorted(known);
    word.eq_ignore_ascii_case(known) || is_likely && closest_within(word, [known], 1).is_some()
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
