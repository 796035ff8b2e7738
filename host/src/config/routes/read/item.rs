//! Reads an item of a route: a plugin's name, or a table that says on which terms it gets events.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::help;
use crate::config::known::KnownNames;
use crate::config::plugin::PluginSettings;
use crate::config::raw::{Item, kind};
use crate::config::routes::pattern::Pattern;
use crate::config::routes::{RouteItem, When, is_maker};
use crate::config::target;
use crate::config::units::DAY_MS;
use crate::event::TargetOptions;

/// As long as a plugin may delay what it emits.
const DELAY_BOUNDS_MS: RangeInclusive<u64> = 0..=366 * DAY_MS;

/// The most patterns of one `cancel_on`.
const MAX_CANCEL_PATTERNS: usize = 32;

const KEYS: [&str; 4] = ["plugin", "when", "delay", "cancel_on"];
const EXAMPLE: &str = "{ plugin = \"audit\", delay = \"1h\" }";

/// Whether a table is likely meant as an item, not as what TOML makes of a pattern without quotes.
pub(super) fn is_item(item: &Item<'_>) -> bool {
    let keys = item.value.as_table().into_iter().flat_map(|table| table.keys());
    item.key.contains(['.', '*', ':', '/'])
        || keys.map(|key| key.get_ref().as_ref()).any(|key| KEYS.contains(&key))
}

/// Reads an item of the line `written` stands in; `None` if it is refused.
pub(super) fn read(
    written: &Item<'_>,
    known: &KnownNames<'_>,
    plugins: &BTreeMap<String, Arc<PluginSettings>>,
) -> Option<RouteItem> {
    if let Some(name) = written.value.as_str() {
        check_plugin(written, name, known)?;
        return Some(target(plugins, name.into(), TargetOptions::default()).into());
    }
    if !written.value.is_table() {
        let what = format!("is {}, but must be a string or a table", kind(written.value));
        written.refuse(what, format!("write a plugin's name in quotes, or {EXAMPLE}"));
        return None;
    }
    let mut section = written.section(EXAMPLE)?;
    let plugin = section.take("plugin");
    let when = section.take("when").and_then(|item| read_when(&item));
    let delay_ms = section.take("delay").and_then(|item| item.duration_ms(DELAY_BOUNDS_MS));
    let cancel_on = section.take("cancel_on").map(|item| read_cancel_on(&item, known));
    section.finish();
    let Some(plugin) = plugin else {
        written.refuse("has an item without a plugin", format!("write for example {EXAMPLE}"));
        return None;
    };
    let name = plugin.text("\"audit\"")?;
    check_plugin(&plugin, name, known)?;
    let cancel_on = cancel_on.unwrap_or_default();
    let options = TargetOptions {
        delay_ms: delay_ms.unwrap_or(0),
        cancel_tag: (!cancel_on.is_empty()).then(|| cancel_tag(written.key, name)),
        key: None,
    };
    Some(RouteItem { target: target(plugins, name.into(), options), when, cancel_on })
}

fn check_plugin(item: &Item<'_>, name: &str, known: &KnownNames<'_>) -> Option<()> {
    let what = format!("names the unknown plugin `{name}`");
    match known.against(item, name, &what) {
        Some(help) => {
            item.refuse(what, help);
            None
        }
        None => Some(()),
    }
}

fn read_when(item: &Item<'_>) -> Option<Arc<When>> {
    let text = item.text("\"data.total > 100\"")?;
    match When::compile(text) {
        Ok(when) => Some(Arc::new(when)),
        Err(error) => {
            item.refuse(error.what, error.help);
            None
        }
    }
}

fn read_cancel_on(item: &Item<'_>, known: &KnownNames<'_>) -> Vec<String> {
    let written = item.one_or_many();
    if written.is_empty() {
        item.refuse("names no event", "write a pattern or a list of patterns, or take it out");
    }
    if let Some(extra) = written.get(MAX_CANCEL_PATTERNS) {
        extra.refuse("has too many patterns", format!("it can have {MAX_CANCEL_PATTERNS}"));
    }
    let mut patterns = Vec::new();
    for item in written.iter().take(MAX_CANCEL_PATTERNS) {
        let Some(text) = item.text("\"order.cancelled\"") else { continue };
        match Pattern::parse(text, |name| known.sources.contains(name) || is_maker(name)) {
            Ok(pattern) if pattern.source.is_none_or(|source| known.check_source(item, source)) => {
                patterns.push(text.to_owned());
            }
            Ok(_) => {}
            Err(error) => item.refuse(format_args!("has \"{text}\", which {error}"), help(error)),
        }
    }
    patterns
}

/// The tag of an item: it stays the same as long as the line's pattern and the plugin do, so that
/// deliveries from before a restart can be cancelled.
fn cancel_tag(pattern: &str, plugin: &str) -> i64 {
    let digest = Sha256::new().chain_update(pattern).chain_update([0]).chain_update(plugin);
    let digest = digest.finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_that_of_the_pattern_and_the_plugin_and_of_nothing_else() {
        let hex = hex::encode(Sha256::digest(b"order.paid\0reminder"));
        let tag = cancel_tag("order.paid", "reminder");
        assert_eq!(format!("{tag:016x}"), hex[..16]);
        for (pattern, plugin) in [("order.pai", "dreminder"), ("order.*", "reminder")] {
            assert_ne!(cancel_tag(pattern, plugin), tag);
        }
    }
}
