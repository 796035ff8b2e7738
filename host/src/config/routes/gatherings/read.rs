//! Reads `[joins.NAME]` and `[batches.NAME]`.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::{Gathering, Gatherings, KeepMembers};
use crate::config::key_source;
use crate::config::known::KnownNames;
use crate::config::raw::{Item, Section};
use crate::config::routes::pattern::Pattern;
use crate::config::routes::table::PatternTable;
use crate::config::routes::{PatternError, Routes, is_maker};
use crate::event::name::{self, RESERVED};
use crate::event::{GatheringKind, GatheringTerms, KeySource, MAX_MEMBERS, Target};
use crate::names::is_source_name;

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

/// Reads both tables.
pub(in crate::config) fn read(
    joins: Section<'_>,
    batches: Section<'_>,
    known: &KnownNames<'_>,
) -> Gatherings {
    let mut found = Gatherings::default();
    let mut lines: Vec<(String, Vec<Arc<Target>>)> = Vec::new();
    let is_source = |name: &str| known.sources.contains(name) || is_maker(name);
    let sections = joins.entries().into_iter().map(|item| (GatheringKind::Join, item));
    let sections = sections.chain(batches.entries().into_iter().map(|i| (GatheringKind::Batch, i)));
    for (kind, item) in sections {
        if found.by_plugin.len() == MAX_GATHERINGS {
            let help = format!("a file can have {MAX_GATHERINGS} joins and batches");
            item.refuse_key("is one section too many", help);
            break;
        }
        if !is_source_name(item.key) {
            item.refuse_key("is no name", "a name has small letters, digits, `_` and `-`");
            continue;
        }
        let Some(section) = item.section("{ on = \"order.paid\", within = \"1h\" }") else {
            continue;
        };
        let (patterns, gathering) = match kind {
            GatheringKind::Join => read_join(&item, section, is_source),
            GatheringKind::Batch => read_batch(&item, section),
        };
        for (pattern, item) in patterns {
            match Pattern::parse(&pattern, is_source).map(|parsed| parsed.source) {
                Ok(source) if source.is_none_or(|source| known.check_source(&item, source)) => {
                    lines.push((pattern, vec![Target::to(gathering.terms.plugin.clone())]));
                }
                Ok(_) => {}
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

fn read_join<'a>(
    item: &Item<'a>,
    mut section: Section<'a>,
    is_source: impl Fn(&str) -> bool + Copy,
) -> (Patterns<'a>, Gathering) {
    let on_item = section.take("on");
    let has_on = names_something(on_item.as_ref());
    let mut patterns = texts(on_item, "\"order.created\"");
    let on = patterns.iter().map(|(text, _)| text.clone()).collect();
    let key = read_key(item, &mut section);
    let member =
        section.take("member").and_then(|item| key_source::read_json(&item, "{ json = \"/id\" }"));
    let need = section.take("need");
    let (types, close) = (
        texts(section.take("types"), "[\"order.paid\", \"order.packed\"]"),
        texts(section.take("close"), "[\"approval.granted\", \"approval.denied\"]"),
    );
    check_ways(item, [need.is_some(), !types.is_empty(), !close.is_empty()]);
    if !has_on && types.is_empty() && close.is_empty() {
        refuse_without_on(item);
    }
    let (need_number, need_at) = match &need {
        Some(need) if need.value.is_table() => {
            (None, key_source::read_json(need, "{ json = \"/videos\" }"))
        }
        Some(need) => (need.whole(1..=MAX_MEMBERS), None),
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
    let gathering = Gathering {
        terms: Arc::new(terms),
        key,
        on,
        member,
        need: need_at,
        type_table: table(&types, is_source),
        close_table: table(&close, is_source),
        types,
        close,
        emit,
        late,
        keep: KeepMembers::All,
    };
    (patterns, gathering)
}

/// Refuses a join that is complete in no way, or in several.
fn check_ways(item: &Item<'_>, ways: [bool; 3]) {
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
}

fn read_batch<'a>(item: &Item<'a>, mut section: Section<'a>) -> (Patterns<'a>, Gathering) {
    let on_item = section.take("on");
    if !names_something(on_item.as_ref()) {
        refuse_without_on(item);
    }
    let patterns = texts(on_item, "\"contact.updated\"");
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
    let gathering = Gathering {
        terms,
        key,
        on,
        member,
        need: None,
        types: Vec::new(),
        close: Vec::new(),
        type_table: PatternTable::default(),
        close_table: PatternTable::default(),
        emit,
        late: String::new(),
        keep,
    };
    (patterns, gathering)
}

/// Whether a key is there and is no empty list.
fn names_something(item: Option<&Item<'_>>) -> bool {
    item.is_some_and(|item| !item.one_or_many().is_empty())
}

fn refuse_without_on(item: &Item<'_>) {
    let help = "add for example `on = \"order.*\"`: patterns of events, as in [routes]";
    item.refuse_key("has no `on`, and would gather nothing", help);
}

/// Patterns with their places as numbers, without those that are refused elsewhere.
fn table(texts: &[String], is_source: impl Fn(&str) -> bool + Copy) -> PatternTable {
    let mut table = PatternTable::default();
    for pattern in texts.iter().filter_map(|text| Pattern::parse(text, is_source).ok()) {
        table.insert(pattern);
    }
    table
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

/// One text or a list of them, each with its place.
fn texts<'a>(item: Option<Item<'a>>, example: &str) -> Patterns<'a> {
    let items = item.map(|item| item.one_or_many()).unwrap_or_default();
    if let Some(extra) = items.get(MAX_PATTERNS) {
        extra.refuse("is one too many", format!("there can be {MAX_PATTERNS}"));
    }
    let text = |item: Item<'a>| item.text(example).map(|text| (text.to_owned(), item));
    items.into_iter().take(MAX_PATTERNS).filter_map(text).collect()
}
