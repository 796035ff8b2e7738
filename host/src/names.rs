//! Names of plugins and sources, and what a mistyped name is likely to mean.
//!
//! Both kinds of name have 1 to [`MAX_NAME_BYTES`] bytes. A plugin's name is that of its file, a
//! source's is a part of its URL. The rule for types and subjects of events is in
//! [`event::name`](crate::event::name).

use std::sync::Arc;

/// The longest name of a plugin or a source, in bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// The name of a plugin: its file's name in the plugins folder, without the ending.
pub type PluginName = Arc<str>;

/// The name of a source of events: a section `[sources.NAME]`, or a part of the host that makes
/// events, such as `plugins/NAME`.
pub type SourceName = Arc<str>;

/// Whether a plugin can have this name: letters, digits, `_` and `-`.
pub fn is_plugin_name(name: &str) -> bool {
    fits(name) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || is_joiner(byte))
}

/// Whether this names one of the host's own plugins, such as `hookbox/dead-letters`: those have a
/// slash, which no file's name has.
pub fn is_built_in(plugin: &str) -> bool {
    plugin.contains('/')
}

/// Whether a section `[sources.NAME]` can have this name: small letters, digits, `_` and `-`.
pub fn is_source_name(name: &str) -> bool {
    fits(name)
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9') || is_joiner(byte))
}

fn fits(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
}

fn is_joiner(byte: u8) -> bool {
    matches!(byte, b'_' | b'-')
}

/// The name that a mistyped word is likely to mean, if one is much alike; names with an equal
/// beginning count as more alike.
pub fn closest<'n>(word: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    const ALIKE: f64 = 0.7;
    let likeness = names.into_iter().map(|name| (strsim::jaro_winkler(word, name), name));
    let best =
        likeness.filter(|(likeness, _)| *likeness >= ALIKE).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map(|(_, name)| name)
}

/// The name that few slips of the keyboard lead to, `slips` at most. It is stricter than
/// [`closest`], for a caller that takes a near name as a sign of a mistake.
pub fn closest_within<'n>(
    word: &str,
    names: impl IntoIterator<Item = &'n str>,
    slips: usize,
) -> Option<&'n str> {
    let distances = names.into_iter().map(|name| (strsim::damerau_levenshtein(word, name), name));
    distances.filter(|(distance, _)| *distance <= slips).min().map(|(_, name)| name)
}

/// The question whether a name was meant, for every message that asks it.
pub fn did_you_mean(name: &str) -> String {
    format!("did you mean `{name}`?")
}

/// The end of a message about an unknown name: ``; did you mean `NAME`?``, or nothing.
pub fn hint<'n>(word: &str, names: impl IntoIterator<Item = &'n str>) -> String {
    hint_at(closest(word, names))
}

/// The same with the name that was found, if one was.
pub fn hint_at(near: Option<&str>) -> String {
    near.map(|name| format!("; {}", did_you_mean(name))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_named_like_a_file_and_a_source_like_a_part_of_a_url() {
        for name in ["audit", "video-orders_2", "7"] {
            assert!(is_plugin_name(name) && is_source_name(name), "{name}");
        }
        assert!(is_plugin_name("Audit") && !is_source_name("Audit"));
        let longest = "a".repeat(MAX_NAME_BYTES);
        assert!(is_plugin_name(&longest) && is_source_name(&longest));
        for name in ["", "a b", "a.b", "a/b", "ä", &format!("{longest}a")] {
            assert!(!is_plugin_name(name) && !is_source_name(name), "{name}");
        }
    }

    #[test]
    fn a_name_that_is_much_alike_is_suggested() {
        let names = ["audit", "orders", "video-orders"];
        for (word, expected) in [
            ("audti", Some("audit")),
            ("order", Some("orders")),
            ("vidoe-order", Some("video-orders")),
            ("au", Some("audit")),
            ("mail", None),
        ] {
            assert_eq!(closest(word, names), expected, "{word}");
        }
        assert_eq!(hint("audti", names), "; did you mean `audit`?");
        assert_eq!(hint("mail", names), "");
    }

    #[test]
    fn a_name_within_few_slips_is_suggested_the_first_by_alphabet_of_equals() {
        let names = ["audit", "orders"];
        assert_eq!(closest_within("audti", names, 1), Some("audit"));
        assert_eq!(closest_within("au", names, 2), None);
        assert_eq!(closest_within("cat", ["hat", "bat"], 1), Some("bat"));
    }
}
