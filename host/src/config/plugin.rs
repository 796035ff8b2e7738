//! Reads `[plugins.NAME]`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::breaker::{self, BreakerPolicy};
use super::grants::{self, Grants};
use super::json::{json, refuse_number};
use super::known::KnownNames;
use super::kv::{self, AgainPolicy, KvSettings};
use super::limits::{self, Limits};
use super::order;
use super::rate::{self, Rate};
use super::raw::{Item, Section};
use super::secrets::Places;
use super::units::show_ms;
use super::warnings::Warning;
use crate::event::KeyPolicy;
use crate::retry::{Jitter, MAX_DELAY_MS, RetryPolicy};

const CONCURRENCY_BOUNDS: RangeInclusive<u32> = 1..=256;
const MAX_ATTEMPTS_BOUNDS: RangeInclusive<u32> = 1..=1_000;
const BACKOFF_BOUNDS_MS: RangeInclusive<u64> = 1..=MAX_DELAY_MS;
const MAX_PATH_BYTES: usize = 1_024;
const APPROVALS: [(&str, Approve); 2] = [("ask", Approve::Ask), ("auto", Approve::Auto)];
const LOGS: [(&str, PluginLog); 2] = [("store", PluginLog::Store), ("forward", PluginLog::Forward)];
const FACTOR_BOUNDS: RangeInclusive<f64> = 1.0..=100.0;

/// The treatment of a new file that asks for a capability without a grant, which the last file did
/// not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Approve {
    /// The file is held until an operator approves it.
    #[default]
    Ask,
    /// The file is taken up at once.
    Auto,
}

/// The destination of a plugin's log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PluginLog {
    /// The record of the attempt.
    #[default]
    Store,
    /// The record of the attempt, and the host's own log.
    Forward,
}

impl PluginLog {
    /// The word of the configuration.
    pub fn name(self) -> &'static str {
        LOGS.iter().find(|(_, log)| *log == self).map_or("", |(name, _)| name)
    }
}

/// `[plugins.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginSettings {
    /// Limits of one attempt.
    pub limits: Limits,
    /// Its grants beyond the sandbox.
    pub grants: Arc<Grants>,
    /// The treatment of a new file that asks for more than the last one.
    pub approve: Approve,
    /// Attempts that run at once.
    pub concurrency: usize,
    /// Whether an instance may serve one event after the other.
    pub reuse: bool,
    /// The path and query of an HTTP handler's requests.
    pub path: Arc<str>,
    /// The settings that the plugin reads through `hookbox:plugin/config`: strings as they are,
    /// other values as JSON.
    pub config: Arc<BTreeMap<String, String>>,
    /// The retry policy.
    pub retry: RetryPolicy,
    /// The limits at which a plugin that only fails is slowed down; `None` if it never is.
    pub breaker: Option<BreakerPolicy>,
    /// The order of its deliveries by a key; `None` if they are in no order.
    pub key: Option<KeyPolicy>,
    /// How many of its attempts may start in a time, on each host; `None` if there is no limit.
    pub rate: Option<Rate>,
    /// Its key-value store.
    pub kv: KvSettings,
    /// How often its handler may ask to be called again.
    pub again: AgainPolicy,
    /// The destination of its log lines.
    pub log: PluginLog,
}

impl Default for PluginSettings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            grants: Arc::default(),
            approve: Approve::default(),
            concurrency: 16,
            reuse: false,
            path: "/".into(),
            config: Arc::default(),
            retry: RetryPolicy::default(),
            breaker: Some(BreakerPolicy::default()),
            key: None,
            rate: None,
            kv: KvSettings::default(),
            again: AgainPolicy::default(),
            log: PluginLog::default(),
        }
    }
}

impl PluginSettings {
    /// The order and the pace of its deliveries, for people; `None` if there is neither.
    pub fn pace(&self) -> Option<String> {
        let rate = self.rate.map(|rate| format!("at most {rate} on this host"));
        let parts: Vec<String> = self.key.as_ref().map(shown).into_iter().chain(rate).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

fn shown(key: &KeyPolicy) -> String {
    let mut shown = format!("ordered by {}, {} of a key at once", key.source, key.per_key);
    if !key.interval.is_zero() {
        let interval_ms = u64::try_from(key.interval.as_millis()).unwrap_or(u64::MAX);
        shown += &format!(", {} apart", show_ms(interval_ms));
    }
    if key.hold {
        shown += ", a dead letter holds its key";
    }
    shown
}

/// Reads every `[plugins.NAME]`.
pub(super) fn read_all(
    section: Section<'_>,
    known: &KnownNames<'_>,
    places: &Places<'_>,
) -> BTreeMap<String, Arc<PluginSettings>> {
    let (mut plugins, mut stores) = (BTreeMap::new(), Vec::new());
    for item in section.entries() {
        if let Some(help) = known.against(&item, item.key, "is a section for an unknown plugin") {
            item.refuse_key("is a section for an unknown plugin", help);
        }
        if let Some(section) = item.section("{ timeout = \"10s\" }") {
            let settings = read(section, places);
            warn_of_unset(&item, &settings);
            let (name, kv) = (item.key.to_owned(), settings.kv.clone());
            stores.push((item, kv));
            plugins.insert(name, Arc::new(settings));
        }
    }
    kv::warn_of_times(&stores);
    plugins
}

/// A credential that is not set is found here, not by the first request that needs it.
fn warn_of_unset(item: &Item<'_>, settings: &PluginSettings) {
    for rule in &settings.grants.http {
        let unset = rule
            .headers
            .iter()
            .filter_map(|header| Some((&header.name, header.value.as_ref().err()?)));
        for (header, place) in unset {
            let text = format!(
                "the header `{header}` of its rule for {} has no value, because {place} is empty or absent: requests by \
                 that rule are refused until it is set",
                rule.host
            );
            item.sink().warn(Warning::of_plugin(item.key, &text));
        }
    }
}

fn read(mut section: Section<'_>, places: &Places<'_>) -> PluginSettings {
    let mut settings =
        PluginSettings { limits: limits::read(&mut section), ..PluginSettings::default() };
    let concurrency = section.take("concurrency").and_then(|item| item.whole(CONCURRENCY_BOUNDS));
    if let Some(places) = concurrency.and_then(|places| usize::try_from(places).ok()) {
        settings.concurrency = places;
    }
    if let Some(reuse) =
        section.take("instance").and_then(|item| item.word(&[("fresh", false), ("reuse", true)]))
    {
        settings.reuse = reuse;
    }
    if let Some(path) = section.take("path").and_then(|item| read_path(&item)) {
        settings.path = path.into();
    }
    settings.config =
        Arc::new(read_config(section.take_section("config", "{ currency = \"EUR\" }")));
    settings.retry = read_retry(section.take_section("retry", "{ max_attempts = 8 }"));
    if let Some(item) = section.take("breaker") {
        settings.breaker = breaker::read(&item);
    }
    settings.key = order::read(&mut section);
    settings.rate = section.take("rate").and_then(|item| rate::read(&item));
    if let Some(item) = section.take("kv") {
        settings.kv = kv::read(&item);
    }
    settings.again = kv::read_again(&mut section);
    if let Some(approve) = section.take("approve").and_then(|item| item.word(&APPROVALS)) {
        settings.approve = approve;
    }
    if let Some(log) = section.take("log").and_then(|item| item.word(&LOGS)) {
        settings.log = log;
    }
    if let Some(item) = section.take("http") {
        settings.grants = Arc::new(grants::read(&item, places));
    }
    section.finish();
    settings
}

fn read_path<'a>(item: &Item<'a>) -> Option<&'a str> {
    let path = item.text("\"/webhook\"")?;
    let fits = is_path(path);
    if !fits {
        let help = format!(
            "write a path that begins with `/`, with or without a query, of at most {MAX_PATH_BYTES} characters, and \
             escape what is no visible ASCII"
        );
        item.refuse(format_args!("is \"{path}\", which is no path"), help);
    }
    fits.then_some(path)
}

/// Whether a text can be where an HTTP handler's requests go: a path, with or without a query.
pub fn is_path(text: &str) -> bool {
    text.len() <= MAX_PATH_BYTES && text.starts_with('/') && text.bytes().all(is_path_byte)
}

/// Visible ASCII but what RFC 3986 leaves out of paths and queries.
fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_graphic()
        && !matches!(byte, b'#' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')
}

fn read_retry(mut section: Section<'_>) -> RetryPolicy {
    let mut policy = RetryPolicy::default();
    if let Some(attempts) =
        section.take("max_attempts").and_then(|item| item.whole(MAX_ATTEMPTS_BOUNDS))
    {
        policy.max_attempts = attempts;
    }
    let initial = section.take("initial");
    if let Some(initial_ms) = initial.as_ref().and_then(|item| item.duration_ms(BACKOFF_BOUNDS_MS))
    {
        policy.initial_ms = initial_ms;
    }
    if let Some(factor) = section.take("factor").and_then(|item| item.number(FACTOR_BOUNDS)) {
        policy.factor = factor;
    }
    let max = section.take("max");
    if let Some(max_ms) = max.as_ref().and_then(|item| item.duration_ms(BACKOFF_BOUNDS_MS)) {
        policy.max_ms = max_ms;
    }
    if let Some(item) = max.or(initial)
        && policy.max_ms < policy.initial_ms
    {
        let (initial, max) = (show_ms(policy.initial_ms), show_ms(policy.max_ms));
        let help = format!(
            "the backoff starts at `initial` ({initial}) and grows up to `max` ({max}): write a `max` of at least \
                {initial}"
        );
        item.refuse("makes `max` shorter than `initial`", help);
    }
    let jitters = [("full", Jitter::Full), ("equal", Jitter::Equal), ("none", Jitter::None)];
    if let Some(jitter) = section.take("jitter").and_then(|item| item.word(&jitters)) {
        policy.jitter = jitter;
    }
    section.finish();
    policy
}

/// The settings as a plugin reads them: strings as they are, other values as JSON.
fn read_config(section: Section<'_>) -> BTreeMap<String, String> {
    let mut config = BTreeMap::new();
    for item in section.entries() {
        match (item.value.as_str(), json(item.value)) {
            (Some(text), _) => {
                config.insert(item.key.to_owned(), text.to_owned());
            }
            (None, Some(value)) => {
                config.insert(item.key.to_owned(), value.to_string());
            }
            (None, None) => refuse_number(&item),
        }
    }
    config
}
