//! `kv` of `[plugins.NAME]`: the bucket of a plugin's keys and how long values live. Also how often
//! a handler may ask to be called again.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::raw::{Item, Section};
use super::units::{DAY_MS, SECOND_MS, show_ms};
use super::warnings::Warning;
use crate::names::{MAX_NAME_BYTES, is_plugin_name};

const EXAMPLE: &str = "{ bucket = \"orders\", ttl = \"90d\" }";
const TTL_BOUNDS_MS: RangeInclusive<u64> = 60 * SECOND_MS..=3_660 * DAY_MS;
const MAX_AGAIN_BOUNDS: RangeInclusive<u32> = 0..=1_000_000;
const AGAIN_FOR_BOUNDS_MS: RangeInclusive<u64> = SECOND_MS..=366 * DAY_MS;

/// The bucket of a plugin's keys, and how long its values live.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KvSettings {
    /// The bucket, which several plugins may name; the plugin's own one, of its name, if absent.
    pub bucket: Option<Arc<str>>,
    /// The time after its last write when a value goes, in milliseconds; absent if it stays.
    pub ttl_ms: Option<u64>,
}

impl KvSettings {
    /// The bucket of a plugin of this name.
    pub fn bucket_of(&self, plugin: &Arc<str>) -> Arc<str> {
        self.bucket.as_ref().unwrap_or(plugin).clone()
    }
}

/// How often and for how long the handler of one delivery may ask to be called again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgainPolicy {
    /// The number of times.
    pub max: u32,
    /// The time after the first one, in milliseconds.
    pub for_ms: u64,
}

impl Default for AgainPolicy {
    fn default() -> Self {
        Self { max: 10_000, for_ms: 30 * DAY_MS }
    }
}

impl AgainPolicy {
    /// The time as the configuration writes it.
    pub fn shown_for(&self) -> String {
        show_ms(self.for_ms)
    }
}

/// Reads `max_again` and `again_for`.
pub(super) fn read_again(section: &mut Section<'_>) -> AgainPolicy {
    let mut policy = AgainPolicy::default();
    if let Some(max) = section.take("max_again").and_then(|item| item.whole(MAX_AGAIN_BOUNDS)) {
        policy.max = max;
    }
    if let Some(for_ms) =
        section.take("again_for").and_then(|item| item.duration_ms(AGAIN_FOR_BOUNDS_MS))
    {
        policy.for_ms = for_ms;
    }
    policy
}

/// Reads the value of `kv`.
pub(super) fn read(item: &Item<'_>) -> KvSettings {
    let mut settings = KvSettings::default();
    let Some(mut section) = item.section(EXAMPLE) else { return settings };
    if let Some(bucket) = section.take("bucket").and_then(|item| read_bucket(&item)) {
        settings.bucket = Some(bucket.into());
    }
    if let Some(ttl_ms) = section.take("ttl").and_then(|item| item.duration_ms(TTL_BOUNDS_MS)) {
        settings.ttl_ms = Some(ttl_ms);
    }
    section.finish();
    settings
}

fn read_bucket<'a>(item: &Item<'a>) -> Option<&'a str> {
    let bucket = item.text("\"orders\"")?;
    let fits = is_plugin_name(bucket);
    if !fits {
        let help = format!("a bucket's name is 1 to {MAX_NAME_BYTES} letters, digits, `_` and `-`");
        item.refuse(format_args!("is \"{bucket}\", which is no name"), help);
    }
    fits.then_some(bucket)
}

/// The buckets that a plugin names which is not called so, or several plugins have, with these
/// plugins. A plugin that names none has a bucket of its own name.
pub fn shared_buckets<'p>(
    plugins: impl Iterator<Item = (&'p str, &'p KvSettings)>,
) -> BTreeMap<Arc<str>, Vec<&'p str>> {
    let mut buckets: BTreeMap<Arc<str>, Vec<&str>> = BTreeMap::new();
    for (name, settings) in plugins {
        let bucket = settings.bucket.clone().unwrap_or_else(|| name.into());
        buckets.entry(bucket).or_default().push(name);
    }
    buckets.retain(|bucket, names| names.len() > 1 || names.iter().any(|name| **name != **bucket));
    buckets
}

/// Warns of plugins whose values in one bucket live for different times.
pub(super) fn warn_of_times(sections: &[(Item<'_>, KvSettings)]) {
    for (item, settings) in sections {
        let Some(bucket) = &settings.bucket else { continue };
        let other = sections.iter().find(|(other, theirs)| {
            other.key < item.key
                && theirs.bucket.as_ref() == Some(bucket)
                && theirs.ttl_ms != settings.ttl_ms
        });
        if let Some((other, _)) = other {
            let text = format!(
                "values that it writes to the bucket `{bucket}` live for another time than those of plugin `{}`: \
                 write the same `ttl` for both",
                other.key
            );
            item.sink().warn(Warning::of_plugin(item.key, &text));
        }
    }
}
