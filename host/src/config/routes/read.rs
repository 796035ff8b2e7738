//! Reads `[routes]`: patterns against the sources there are, plugin names against the files there are.

use std::collections::BTreeSet;

use toml::de::DeValue;

use super::{Pattern, PatternError, Route, Routes, is_maker};
use crate::config::Config;
use crate::config::raw::{Item, Section, did_you_mean};
use crate::config::server::{MAX_PLUGIN_NAME_BYTES, is_plugin_name, list_plugins};
use crate::config::warnings::Warning;
use crate::event::PluginName;

/// The most lines `[routes]` may have: every request passes all that have a star.
const MAX_ROUTES: usize = 1_000;

/// The most plugins one line may name.
const MAX_PLUGINS: usize = 32;

/// What a line of `[routes]` may name.
#[derive(Debug)]
pub(in crate::config) struct Known<'a> {
    /// Names of `[sources.NAME]`.
    pub(in crate::config) sources: BTreeSet<&'a str>,
    /// Names of the files in the plugins folder; `None` if it could not be read, which is a problem of its own.
    pub(in crate::config) plugins: Option<&'a BTreeSet<String>>,
    /// The plugins folder, for messages.
    pub(in crate::config) plugins_dir: String,
    /// How a name without a file is taken.
    pub(in crate::config) missing: MissingPlugins,
}

/// How a configuration is taken that names a plugin without a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingPlugins {
    /// It is refused, as it is while a host runs that has a better one.
    Refuse,
    /// It is taken with a warning: the plugin's deliveries wait, as they do when its file is removed from under a host.
    Wait,
}

impl Config {
    /// Whether each plugin without a file that this file names is named in the same way by `running`.
    pub fn misses_no_more_than(&self, running: &Self) -> bool {
        let Ok(files) = list_plugins(&self.server.plugins_dir) else { return false };
        let is_there = |name: &str| files.contains(name);
        let has_route = |route: &Route, plugin: &PluginName| {
            running.routes.iter().any(|old| old.pattern == route.pattern && old.plugins.contains(plugin))
        };
        let routes = self.routes.iter().all(|route| {
            let emitter = route.source.as_deref().and_then(|source| source.strip_prefix("plugins/"));
            let comes = emitter.is_none_or(is_there) || running.routes.iter().any(|old| old.pattern == route.pattern);
            comes && route.plugins.iter().all(|plugin| is_there(plugin) || has_route(route, plugin))
        });
        routes && self.plugins.keys().all(|name| is_there(name) || running.plugins.contains_key(name))
    }
}

impl Known<'_> {
    /// The help against a plugin of this name. If it only has no file yet and that may be, there is a warning of `item`
    /// instead, of which `what` is said.
    pub(in crate::config) fn against(&self, item: &Item<'_>, name: &str, what: &str) -> Option<String> {
        let bare = name.strip_suffix(".wasm").or_else(|| name.strip_suffix(".wat"));
        if let Some(bare) = bare.filter(|bare| is_plugin_name(bare)) {
            let plugins = self.plugins.into_iter().flatten().map(String::as_str);
            let near =
                if plugins.clone().any(|name| name == bare) { String::new() } else { did_you_mean(bare, plugins) };
            return Some(format!("{near}a plugin is named without the ending of its file: \"{bare}\""));
        }
        if !is_plugin_name(name) {
            return Some(format!("a plugin's name is 1 to {MAX_PLUGIN_NAME_BYTES} letters, digits, `_` and `-`"));
        }
        let help = self.no_such_plugin(name)?;
        if self.missing == MissingPlugins::Refuse {
            return Some(help);
        }
        item.sink().warn(Warning::new(format!("`{}` {what}: {help}", item.path)));
        None
    }

    fn no_such_plugin(&self, name: &str) -> Option<String> {
        let plugins = self.plugins.filter(|plugins| !plugins.contains(name))?;
        let near = did_you_mean(name, plugins.iter().map(String::as_str));
        Some(format!("{near}there is neither `{name}.wasm` nor `{name}.wat` in {}", self.plugins_dir))
    }

    /// Whether the source that a pattern names is there. Only a plugin can be missing: what is no source's name belongs
    /// to the type.
    fn check_source(&self, item: &Item<'_>, source: &str) -> bool {
        let Some(plugin) = source.strip_prefix("plugins/") else { return true };
        // Without a listing nobody can tell, and that is reported already.
        let Some(why) = self.against(item, plugin, "names a plugin without a file") else { return true };
        let right = "`plugins/NAME` in front of the colon is what the plugin NAME emits";
        item.refuse_key(format_args!("names the unknown source `{source}`"), format!("{why}; {right}"));
        false
    }
}

/// Reads the whole table. What was refused is left out, which does no harm: a file with a problem is never used.
pub(in crate::config) fn read(section: Section<'_>, known: &Known<'_>) -> Routes {
    let items = section.entries();
    if let Some(item) = items.get(MAX_ROUTES) {
        item.refuse_key("is one route too many", format!("a file can have {MAX_ROUTES}; patterns with `*` save lines"));
    }
    let mut lines = Vec::new();
    for item in items.iter().take(MAX_ROUTES) {
        if item.value.is_table() {
            refuse_unquoted(item);
            continue;
        }
        let plugins = read_plugins(item, known);
        match Pattern::parse(item.key, |name| known.sources.contains(name) || is_maker(name)) {
            Ok(pattern) if pattern.source.is_none_or(|source| known.check_source(item, source)) => {
                lines.push((item.key, plugins))
            }
            Ok(_) => {}
            Err(error) => item.refuse_key(error, help(error)),
        }
    }
    Routes::new(lines, |name| known.sources.contains(name)).unwrap_or_default()
}

fn help(error: PatternError) -> &'static str {
    match error {
        PatternError::StarWithin => {
            "a star stands for a whole piece between `.`, `/` and `:`: `video.*` for one, `video.**` for any number"
        }
        PatternError::StarInSource => "name one plugin, or leave the source out to route the events of all sources",
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
    let help = format!("put the pattern in quotes, for TOML takes its dots for tables: \"{name}\" = …");
    item.refuse_key("is a table, not a route", help);
}

fn read_plugins(item: &Item<'_>, known: &Known<'_>) -> Vec<PluginName> {
    let named = item.one_or_many();
    if named.is_empty() {
        item.refuse("names no plugin", "write a plugin's name or a list of names; take the line out to route nowhere");
    }
    if let Some(extra) = named.get(MAX_PLUGINS) {
        extra.refuse("names too many plugins", format!("a route can name {MAX_PLUGINS}"));
    }
    let mut plugins: Vec<PluginName> = Vec::new();
    for item in named.iter().take(MAX_PLUGINS) {
        let Some(name) = item.text("\"audit\"") else { continue };
        if plugins.iter().any(|plugin| **plugin == *name) {
            item.refuse(format_args!("names the plugin `{name}` twice"), "name it once: a plugin gets an event once");
        } else if let Some(help) = known.against(item, name, &format!("names the unknown plugin `{name}`")) {
            item.refuse(format_args!("names the unknown plugin `{name}`"), help);
        } else {
            plugins.push(name.into());
        }
    }
    plugins
}
