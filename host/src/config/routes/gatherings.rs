//! Reads `[joins.NAME]` and `[batches.NAME]`: events that are gathered by a key.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::{Facts, PatternError, Routes};
use crate::config::key_source;
use crate::config::known::KnownNames;
use crate::config::raw::{Item, Section};
use crate::event::name::{self, RESERVED};
use crate::event::{
    Counted, GatheringKind, GatheringTerms, KeySource, MAX_MEMBERS, NewMember, Target,
};
use crate::names::{PluginName, is_source_name};

/// The most sections of joins and batches together.
const MAX_GATHERINGS: usize = 200;

/// The most patterns or types of one section.
const MAX_PATTERNS: usize = 32;

const WITHIN_BOUNDS_MS: RangeInclusive<u64> = 1..=365 * 24 * 3_600_000;
const SIZE_BOUNDS: RangeInclusive<u32> = 1..=MAX_MEMBERS;
const KEEPS: [(&str, KeepMembers); 4] = [
    ("all", KeepMembers::All),
    ("last", KeepMembers::Last),
    ("first", KeepMembers::First),
    ("ids", KeepMembers::Ids),
];

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
    /// The types of which one event each is needed.
    pub types: Vec<String>,
    /// The types of events that complete it.
    pub close: Vec<String>,
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
    /// Those that take an event of this source and type. None takes what it emits itself.
    pub fn of(&self, source: &str, kind: &str) -> impl Iterator<Item = &Arc<Gathering>> {
        let hits = self.table.as_ref().map(|table| table.targets(source, kind)).unwrap_or_default();
        hits.into_iter()
            .filter(move |hit| *hit.plugin != *source)
            .filter_map(|hit| self.by_plugin.get(&hit.plugin))
    }

    /// That of a plugin of the host, `joins/NAME` or `batches/NAME`.
    pub fn get(&self, plugin: &str) -> Option<&Arc<Gathering>> {
        self.by_plugin.get(plugin)
    }

    /// All of them, by plugin.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Gathering>> {
        self.by_plugin.values()
    }
}

/// Reads both tables.
pub(in crate::config) fn read(
    joins: Section<'_>,
    batches: Section<'_>,
    known: &KnownNames<'_>,
) -> Gatherings {
    let mut found = Gatherings::default();
    let mut lines: Vec<(String, Vec<Arc<Target>>)> = Vec::new();
    let sections = joins.entries().into_iter().map(|item| (GatheringKind::Join, item));
    let sections = sections.chain(batches.entries().into_iter().map(|i| (GatheringKind::Batch, i)));
    for (kind, item) in sections {
        if found.by_plugin.len() == MAX_GATHERINGS {
            let help = format!("a file can have {MAX_GATHERINGS} joins and batches");
            item.refuse_key("is one section too many", help);
            break;
        }
        if !is_source_name(item.key) {
            item.refuse_key("is no name", "a name has letters, digits, `_` and `-`");
            continue;
        }
        let Some(section) = item.section("{ on = \"order.paid\", within = \"1h\" }") else {
            continue;
        };
        let (patterns, gathering) = match kind {
            GatheringKind::Join => read_join(&item, section),
            GatheringKind::Batch => read_batch(&item, section),
        };
        for (pattern, item) in patterns {
            let line = (pattern.clone(), vec![Target::to(gathering.terms.plugin.clone())]);
            let one = Routes::new([(&*pattern, Vec::new())], |name| known.sources.contains(name));
            match one {
                Ok(_) => lines.push(line),
                Err(error) => refuse_pattern(&item, error),
            }
        }
        found.by_plugin.insert(gathering.terms.plugin.clone(), Arc::new(gathering));
    }
    let lines = lines.iter().map(|(pattern, targets)| (&**pattern, targets.clone()));
    found.table = Routes::new(lines, |name| known.sources.contains(name)).ok().map(Box::new);
    found
}

fn refuse_pattern(item: &Item<'_>, error: PatternError) {
    item.refuse(
        error,
        "write a pattern as in [routes], such as \"order.*\" or \"shop:order.paid\"",
    );
}

type Patterns<'a> = Vec<(String, Item<'a>)>;

fn read_join<'a>(item: &Item<'a>, mut section: Section<'a>) -> (Patterns<'a>, Gathering) {
    let mut patterns = texts(section.take("on"), "\"order.created\"");
    let on = patterns.iter().map(|(text, _)| text.clone()).collect();
    let key = read_key(item, &mut section);
    let member =
        section.take("member").and_then(|item| key_source::read_json(&item, "{ json = \"/id\" }"));
    let need = section.take("need");
    let (types, close) = (
        texts(section.take("types"), "[\"order.paid\", \"order.packed\"]"),
        texts(section.take("close"), "[\"approval.granted\", \"approval.denied\"]"),
    );
    let ways = [need.is_some(), !types.is_empty(), !close.is_empty()];
    match ways.iter().filter(|way| **way).count() {
        1 => {}
        0 => item.refuse_key(
            "says nothing of when it is complete",
            "add `need` (a number, or { json = \"/videos\" }), `types` or `close`",
        ),
        _ => item.refuse_key(
            "says in several ways when it is complete",
            "keep one of `need`, `types` and `close`; two joins can take the same events",
        ),
    }
    let (need_number, need_at) = match &need {
        Some(need) if need.value.is_table() => {
            (None, key_source::read_json(need, "{ json = \"/videos\" }"))
        }
        Some(need) => (need.whole(0..=MAX_MEMBERS), None),
        None => (None, None),
    };
    let within = read_within(item, &mut section);
    let emit = read_type(item, &mut section, "emit", None);
    let late = read_type(item, &mut section, "late", Some("hookbox.late"));
    section.finish();
    patterns.extend(types.iter().chain(&close).cloned());
    let names = |texts: Patterns<'_>| texts.into_iter().map(|(text, _)| text).collect::<Vec<_>>();
    let (types, close) = (names(types), names(close));
    let bits = u64::MAX.checked_shr(64 - u32::try_from(types.len()).unwrap_or(0)).unwrap_or(0);
    let terms = GatheringTerms {
        plugin: format!("joins/{}", item.key).into(),
        kind: GatheringKind::Join,
        within,
        quiet: None,
        need: need_number,
        types: bits,
    };
    let keep = KeepMembers::All;
    let terms = Arc::new(terms);
    (patterns, Gathering { terms, key, on, member, need: need_at, types, close, emit, late, keep })
}

fn read_batch<'a>(item: &Item<'a>, mut section: Section<'a>) -> (Patterns<'a>, Gathering) {
    let patterns = texts(section.take("on"), "\"contact.updated\"");
    let on = patterns.iter().map(|(text, _)| text.clone()).collect();
    let key = read_key(item, &mut section);
    let member =
        section.take("member").and_then(|item| key_source::read_json(&item, "{ json = \"/id\" }"));
    let size = section.take("size").and_then(|item| item.whole(SIZE_BOUNDS));
    let quiet = section.take("quiet").and_then(|item| item.duration_ms(WITHIN_BOUNDS_MS));
    let within = read_within(item, &mut section);
    let keep = section.take("keep").and_then(|item| item.word(&KEEPS)).unwrap_or_default();
    let emit = read_type(item, &mut section, "emit", None);
    section.finish();
    let terms = Arc::new(GatheringTerms {
        plugin: format!("batches/{}", item.key).into(),
        kind: GatheringKind::Batch,
        within,
        quiet: quiet.map(Duration::from_millis),
        need: size,
        types: 0,
    });
    let (types, close, late) = (Vec::new(), Vec::new(), String::new());
    (patterns, Gathering { terms, key, on, member, need: None, types, close, emit, late, keep })
}

fn read_key(item: &Item<'_>, section: &mut Section<'_>) -> KeySource {
    let key = section.take("key");
    if key.is_none() {
        let help = "add for example `key = \"subject\"` or `key = { json = \"/order/id\" }`";
        item.refuse_key("has no `key` by which events are gathered", help);
    }
    key.and_then(|key| key_source::read(&key)).unwrap_or(KeySource::Subject)
}

fn read_within(item: &Item<'_>, section: &mut Section<'_>) -> Duration {
    let within = section.take("within");
    if within.is_none() {
        let help =
            "add for example `within = \"48h\"`: the time from the first event after which it ends";
        item.refuse_key("has no `within`", help);
    }
    let ms = within.and_then(|within| within.duration_ms(WITHIN_BOUNDS_MS));
    Duration::from_millis(ms.unwrap_or(0))
}

/// A type of events that the host emits.
fn read_type(
    item: &Item<'_>,
    section: &mut Section<'_>,
    key: &'static str,
    unset: Option<&str>,
) -> String {
    let Some(value) = section.take(key) else {
        if unset.is_none() {
            let help = format!("add for example `{key} = \"order.complete\"`");
            item.refuse_key(format_args!("has no `{key}`"), help);
        }
        return unset.unwrap_or_default().to_owned();
    };
    let Some(text) = value.text("\"order.complete\"") else { return String::new() };
    if let Err(fault) = name::check(text) {
        value.refuse(
            format_args!("is no event type: it {fault}"),
            "write for example \"order.complete\"",
        );
    } else if text.starts_with(RESERVED) && unset != Some(text) {
        let help = "types that begin with `hookbox.` are the host's own: write another one";
        value.refuse(format_args!("is \"{text}\""), help);
    }
    text.to_owned()
}

/// A time in the greatest unit that divides it.
fn friendly(time: Duration) -> String {
    let ms = time.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
    let unit = units.into_iter().find(|(unit, _)| ms.is_multiple_of(*unit));
    unit.map_or_else(String::new, |(unit, name)| format!("{}{name}", ms / unit))
}

/// One text or a list of them, each with its place.
fn texts<'a>(item: Option<Item<'a>>, example: &str) -> Patterns<'a> {
    let items = item.map(|item| item.one_or_many()).unwrap_or_default();
    if let Some(extra) = items.get(MAX_PATTERNS) {
        extra.refuse("is one too many", format!("there can be {MAX_PATTERNS}"));
    }
    let text = |item: Item<'a>| item.text(example).map(|text| (text.to_owned(), item));
    items.into_iter().take(MAX_PATTERNS).filter_map(text).collect()
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
        format!("{} by {key}; ends {}", self.on.join(", "), ends.join(", or "))
    }

    /// The event as its member.
    ///
    /// # Errors
    /// It has no key, and is not gathered; says why, for people.
    pub(super) fn member(&self, facts: &Facts<'_>) -> Result<NewMember, String> {
        let attributes = facts.attributes;
        let at = |pointer: &str| facts.json().and_then(|json| json.pointer(pointer));
        let key = self.key.key(attributes, || facts.json())?;
        let counted = match &self.member {
            None => Counted::Event,
            Some(pointer) => match at(pointer) {
                Some(Value::String(text)) => Counted::Text(text.as_str().into()),
                Some(number @ (Value::Number(_) | Value::Bool(_))) => {
                    Counted::Text(number.to_string().into())
                }
                _ => Counted::Not,
            },
        };
        let need = self.need.as_ref().and_then(|pointer| at(pointer)?.as_u64());
        let seen = self.types.iter().zip(0..u64::BITS);
        let seen = seen.filter(|(kind, _)| **kind == attributes.kind);
        Ok(NewMember {
            terms: Arc::clone(&self.terms),
            key,
            counted,
            need: need.map(|need| u32::try_from(need).unwrap_or(u32::MAX)),
            seen: seen.fold(0, |bits, (_, bit)| bits | 1 << bit),
            closes: self.close.contains(&attributes.kind),
        })
    }
}
