//! Reads `[routes]`: patterns against the sources there are, plugin names against the files there
//! are.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::de::DeValue;

use super::{Pattern, PatternError, RouteItem, Routes, is_maker};
use crate::config::known::KnownNames;
use crate::config::plugin::PluginSettings;
use crate::config::raw::{Item, Section};

mod item;

/// The most lines `[routes]` may have: every request passes all that have a star.
const MAX_ROUTES: usize = 1_000;

/// The most plugins one line may name.
const MAX_PLUGINS: usize = 32;

/// Reads the whole table. Refused lines are left out, which does no harm: a file with a problem is
/// never used.
pub(in crate::config) fn read(
    section: Section<'_>,
    known: &KnownNames<'_>,
    plugins: &BTreeMap<String, Arc<PluginSettings>>,
) -> Routes {
    let items = section.entries();
    if let Some(item) = items.get(MAX_ROUTES) {
        item.refuse_key(
            "is one route too many",
            format!("a file can have {MAX_ROUTES}; patterns with `*` save lines"),
        );
    }
    let mut lines = Vec::new();
    for item in items.iter().take(MAX_ROUTES) {
        if item.value.is_table() && !item::is_item(item) {
            refuse_unquoted(item);
            continue;
        }
        let items = read_items(item, known, plugins);
        let pattern =
            Pattern::parse(item.key, |name| known.sources.contains(name) || is_maker(name));
        match pattern {
            Ok(pattern) if pattern.source.is_none_or(|source| known.check_source(item, source)) => {
                lines.push((item.key, items))
            }
            Ok(_) => {}
            Err(error) => item.refuse_key(error, help(error)),
        }
    }
    Routes::of_items(lines, |name| known.sources.contains(name)).unwrap_or_default()
}

fn help(error: PatternError) -> &'static str {
    match error {
        PatternError::StarWithin => {
            "a star stands for a whole piece between `.`, `/` and `:`: `video.*` for one, `video.**` for any number"
        }
        PatternError::StarInSource => {
            "name one plugin, or leave the source out to route the events of all sources"
        }
        PatternError::BadCharacter => {
            "types have single spaces between other characters, and no control, bidi or line-break characters: such \
             ones from outside are percent-escaped"
        }
        _ => {
            "a pattern is an event type such as \"order.paid\", with `*` for one piece and `**` for any number, \
                and possibly `SOURCE:` in front"
        }
    }
}

/// `a.b = "x"` without quotes is the key `b` in the table `a` to TOML.
fn refuse_unquoted(item: &Item<'_>) {
    let mut name = item.key.to_owned();
    let mut inner = item.value;
    while let DeValue::Table(table) = inner {
        let Some((key, value)) = table.iter().next() else { break };
        name = format!("{name}.{}", key.get_ref());
        inner = value.get_ref();
    }
    let help =
        format!("put the pattern in quotes, for TOML takes its dots for tables: \"{name}\" = …");
    item.refuse_key("is a table, not a route", help);
}

fn read_items(
    item: &Item<'_>,
    known: &KnownNames<'_>,
    plugins: &BTreeMap<String, Arc<PluginSettings>>,
) -> Vec<RouteItem> {
    let written = item.one_or_many();
    if written.is_empty() {
        item.refuse(
            "names no plugin",
            "write a plugin's name or a list of names; take the line out to route nowhere",
        );
    }
    if let Some(extra) = written.get(MAX_PLUGINS) {
        extra.refuse("names too many plugins", format!("a route can name {MAX_PLUGINS}"));
    }
    let mut items: Vec<RouteItem> = Vec::new();
    for written in written.iter().take(MAX_PLUGINS) {
        let Some(read) = item::read(written, known, plugins) else { continue };
        let name = read.plugin();
        if items.iter().any(|known| known.plugin() == name) {
            written.refuse(
                format_args!("names the plugin `{name}` twice"),
                "name it once: a plugin gets an event once",
            );
        } else {
            items.push(read);
        }
    }
    items
}
