//! The configuration that is in force, key by key: each value, and the line it comes from.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use super::raw::{key_text, looks_secret};
use super::source::{Secrets, Source, Verify};
use super::units::{show_bytes, show_ms};
use super::{Config, PluginSettings};
use crate::retry::Jitter;

/// The longest value that is shown, in characters.
const MAX_VALUE: usize = 200;

/// A key that the file has, and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The value as it stands in the file, on one line; `None` if it may be a secret.
    pub value: Option<String>,
    /// The line, from 1.
    pub line: usize,
}

/// A key and the value that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectiveKey {
    /// The key with its sections, as it would be written.
    pub key: String,
    /// The value as it would be written; of secrets whether they are set.
    pub value: String,
    /// The line of the file that says so, from 1; `None` for a default.
    pub line: Option<usize>,
}

/// The tokens of clients, of which names and roles are shown.
const ADMIN_TOKENS: &str = "server.admin_tokens";

/// Keys of plugins, joins and batches that say by what events belong together.
const NAME_EVENTS: [&str; 4] = ["key", "per_key", "key_rate", "max_waiting_per_key"];

/// Every key of a file.
pub(super) fn read(text: &str, table: &DeTable<'_>) -> BTreeMap<String, Written> {
    let mut starts = vec![0];
    starts.extend(text.match_indices('\n').map(|(at, _)| at + 1));
    let mut found = BTreeMap::new();
    collect(text, &starts, table, "", &mut found);
    found
}

fn collect(
    text: &str,
    starts: &[usize],
    table: &DeTable<'_>,
    path: &str,
    found: &mut BTreeMap<String, Written>,
) {
    for (key, value) in table {
        let name = key_text(key.get_ref());
        let path = if path.is_empty() { name } else { format!("{path}.{name}") };
        // A table in braces is a value; one with a heading, or of dotted keys, has keys of its own.
        let shown = text.get(value.span()).unwrap_or_default();
        match value.get_ref() {
            DeValue::Table(below) if !shown.starts_with('{') => {
                collect(text, starts, below, &path, found);
            }
            DeValue::Table(_) if is_secret(key.get_ref(), &path) && !is_param(&path) => {}
            DeValue::Table(below) if !is_own(&path) && hides(below, &path) => {
                collect(text, starts, below, &path, found);
            }
            value => {
                let names_place = value.is_table() && is_param(&path);
                let may_be_secret = is_secret(key.get_ref(), &path) && !names_place
                    || is_own(&path)
                    || is_hiding(value, &path);
                let one_line = shown.split_whitespace().collect::<Vec<_>>().join(" ");
                let value = (!may_be_secret).then(|| one_line.chars().take(MAX_VALUE).collect());
                let line = starts.partition_point(|start| *start <= key.span().start);
                found.insert(path, Written { value, line });
            }
        }
    }
}

/// Whether a key is of a plugin's own `config`, where any may be a secret.
fn is_own(path: &str) -> bool {
    path.contains(".config")
}

/// Whether a table in braces has a key whose value is not shown.
fn hides(table: &DeTable<'_>, path: &str) -> bool {
    table.iter().any(|(key, value)| {
        let path = format!("{path}.{}", key_text(key.get_ref()));
        let is_hidden = is_secret(key.get_ref(), &path) || is_own(&path) || path == ADMIN_TOKENS;
        is_hidden || is_hiding(value.get_ref(), &path)
    })
}

fn is_hiding(value: &DeValue<'_>, path: &str) -> bool {
    match value {
        DeValue::Table(below) => hides(below, path),
        DeValue::Array(items) => items.iter().any(|item| is_hiding(item.get_ref(), path)),
        _ => false,
    }
}

/// Whether a key is a parameter of a source, or in the table of one.
fn is_param(path: &str) -> bool {
    let mut names = path.split('.');
    names.next() == Some("sources") && names.nth(1) == Some("params") && names.next().is_some()
}

/// Whether the value of a key may be a secret.
fn is_secret(key: &str, path: &str) -> bool {
    if is_param(path) {
        let names_place = path.split('.').count() > 4 && ["env", "file"].contains(&key);
        return !names_place;
    }
    let names_events = NAME_EVENTS.contains(&key)
        && ["plugins.", "joins.", "batches."].iter().any(|section| path.starts_with(section));
    looks_secret(key) && !names_events && path != ADMIN_TOKENS
}

impl Config {
    /// Every key that is in force, by its name: what the file says, and the defaults of `[server]`,
    /// `[store]`, `[telemetry]` and plugins with a section, and `dedupe` of sources.
    pub fn effective(&self) -> Vec<EffectiveKey> {
        let mut found = BTreeMap::new();
        for (key, value) in self.usual() {
            let line = self.line_of_table(&key);
            found.insert(key, (value, line));
        }
        for (key, written) in &self.written {
            let value = written.value.clone().unwrap_or_else(|| "set, not shown".to_owned());
            found.insert(key.clone(), (value, Some(written.line)));
        }
        for (key, value) in self.secrets() {
            let line = self.written.get(&key).map(|written| written.line);
            found.insert(key, (value, line));
        }
        let key = |(key, (value, line))| EffectiveKey { key, value, line };
        found.into_iter().map(key).collect()
    }

    /// The line of a table in braces that a key is in.
    fn line_of_table(&self, key: &str) -> Option<usize> {
        let tables = key.rmatch_indices('.').map(|(at, _)| &key[..at]);
        tables.filter_map(|table| self.written.get(table)).map(|written| written.line).next()
    }

    /// Values that there are also without a line of the file.
    fn usual(&self) -> Vec<(String, String)> {
        let (server, store) = (&self.server, &self.store);
        let quoted = |text: &dyn std::fmt::Display| format!("{:?}", text.to_string());
        let none = || "none".to_owned();
        let mut found: Vec<(String, String)> = [
            ("server.name", quoted(&server.name)),
            ("server.listen", quoted(&server.listen)),
            ("server.admin", quoted(&server.admin)),
            ("server.admin_tokens", none()),
            ("server.admin_url", none()),
            ("server.public_url", none()),
            ("server.trusted_proxies", "[]".to_owned()),
            ("server.keep_alive", quoted(&show_ms(server.keep_alive_ms))),
            ("server.plugins_dir", quoted(&server.plugins_dir.display())),
            ("server.data_dir", quoted(&server.data_dir.display())),
            ("server.max_body", quoted(&show_bytes(server.max_body_bytes as u64))),
            ("server.plugin_stack", quoted(&show_bytes(server.plugin_stack_bytes as u64))),
            ("server.tree_events", server.tree_events.to_string()),
            ("server.tree_size", quoted(&show_bytes(server.tree_bytes))),
            ("store.url", quoted(&store.place)),
            ("store.retention", quoted(&show_ms(store.retention_ms))),
            (
                "store.payload_retention",
                store.payload_retention_ms.map_or_else(none, |it| quoted(&show_ms(it))),
            ),
            ("store.dedupe_window", quoted(&show_ms(store.dedupe_window_ms))),
            ("store.audit_retention", quoted(&show_ms(store.audit_retention_ms))),
            ("store.max_size", store.max_bytes.map_or_else(none, |it| quoted(&show_bytes(it)))),
            ("telemetry.otlp", none()),
            ("telemetry.ca_file", none()),
            ("telemetry.subjects", self.telemetry.subjects.to_string()),
            ("telemetry.join", quoted(&show_ms(self.telemetry.join_ms))),
            ("telemetry.trace_url", none()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        for (name, settings) in &self.plugins {
            let of = |(key, value)| (format!("plugins.{}.{key}", key_text(name)), value);
            found.extend(of_plugin(name, settings).into_iter().map(of));
        }
        for (name, source) in &self.sources {
            found.push((format!("sources.{}.dedupe", key_text(name)), dedupe(source)));
        }
        found
    }

    /// Keys whose values are secrets: whether they are set.
    fn secrets(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        if !self.server.admin_tokens.is_empty() {
            let tokens = self.server.admin_tokens.iter();
            let names: Vec<_> =
                tokens.map(|it| format!("{} ({})", it.name, it.role.name())).collect();
            found.push(("server.admin_tokens".to_owned(), names.join(", ")));
        }
        if self.store.secret_key.is_some() {
            found.push(("store.secret_key".to_owned(), "set, not shown".to_owned()));
        }
        for (name, source) in &self.sources {
            if matches!(source.verify, Verify::None) {
                continue;
            }
            let state = match &source.secrets {
                Secrets::Set(secrets) => format!("{} set, not shown", secrets.len()),
                Secrets::Generated { .. } => "made by the host, not shown".to_owned(),
                Secrets::Pair { .. } => "a pair of keys, not shown".to_owned(),
                Secrets::Missing(_) => "not set".to_owned(),
            };
            found.push((format!("sources.{}.secrets", key_text(name)), state));
        }
        found
    }
}

/// The settings of a plugin, by its name.
fn of_plugin(name: &str, settings: &PluginSettings) -> Vec<(&'static str, String)> {
    let (limits, retry) = (&settings.limits, &settings.retry);
    let ms = |ms| format!("{:?}", show_ms(ms));
    let size = |bytes: usize| format!("{:?}", show_bytes(bytes as u64));
    let none = || "none".to_owned();
    let jitter = match retry.jitter {
        Jitter::Full => "\"full\"",
        Jitter::Equal => "\"equal\"",
        Jitter::None => "\"none\"",
    };
    let bucket = settings.kv.bucket.as_deref().unwrap_or(name);
    let mut found = vec![
        ("timeout", ms(limits.timeout_ms)),
        ("memory", size(limits.memory_bytes)),
        ("concurrency", settings.concurrency.to_string()),
        ("instance", if settings.reuse { "\"reuse\"" } else { "\"fresh\"" }.to_owned()),
        ("path", format!("{:?}", settings.path)),
        ("rate", settings.rate.map_or_else(none, |rate| format!("{:?}", rate.to_string()))),
        ("kv.bucket", format!("{bucket:?}")),
        ("kv.ttl", settings.kv.ttl_ms.map_or_else(none, ms)),
        ("max_again", settings.again.max.to_string()),
        ("again_for", ms(settings.again.for_ms)),
        ("retry.max_attempts", retry.max_attempts.to_string()),
        ("retry.initial", ms(retry.initial_ms)),
        ("retry.factor", retry.factor.to_string()),
        ("retry.max", ms(retry.max_ms)),
        ("retry.jitter", jitter.to_owned()),
        ("limits.cpu", ms(limits.cpu_ms)),
        ("limits.table_elements", limits.table_elements.to_string()),
        ("limits.handles", limits.handles.to_string()),
        ("limits.call_size", size(limits.call_bytes)),
        ("limits.emitted", limits.emitted.to_string()),
        ("limits.emitted_size", size(limits.emitted_bytes)),
        ("limits.log_lines", limits.log_lines.to_string()),
        ("limits.log_size", size(limits.log_bytes)),
        ("limits.random_size", size(limits.random_bytes)),
        ("limits.http_requests", limits.http_requests.to_string()),
        ("limits.http_open", limits.http_open.to_string()),
        ("limits.http_sent", format!("{:?}", show_bytes(limits.http_sent_bytes))),
        ("limits.http_received", format!("{:?}", show_bytes(limits.http_received_bytes))),
    ];
    match settings.breaker {
        Some(breaker) => found.extend([
            ("breaker.failures", breaker.failures.to_string()),
            ("breaker.pause", ms(breaker.pause_ms)),
        ]),
        None => found.push(("breaker", "false".to_owned())),
    }
    found
}

/// The keys by which requests of a source are duplicates.
fn dedupe(source: &Source) -> String {
    let keys: Vec<_> = source.dedupe.keys.iter().map(|key| format!("{:?}", key.name())).collect();
    if keys.is_empty() { "\"none\"".to_owned() } else { format!("[{}]", keys.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_line_and_a_secret_is_not_shown() {
        let text = "[server]\nname = \"acme\" # here\n\n[plugins.audit]\ntimeout = \"5s\"\n\
                    config = { api = \"s3cret\" }\nlimits.cpu = \"1s\"\n[plugins.audit.retry]\n\
                    max_attempts = 3\n[joins.a]\nkey = { json = \"/id\" }\napi_key = \"s3cret\"\n[routes]\n\"a.*\" = [\n  \"audit\",\n  \"b\",\n]\n";
        let (table, errors) = DeTable::parse_recoverable(text);
        assert!(errors.is_empty());
        let found = read(text, table.get_ref());
        let row = |key: &str| {
            let written = &found[key];
            (written.line, written.value.as_deref())
        };
        assert_eq!(row("server.name"), (2, Some("\"acme\"")));
        assert_eq!(row("plugins.audit.timeout"), (5, Some("\"5s\"")));
        assert_eq!(row("plugins.audit.config"), (6, None));
        assert_eq!(row("plugins.audit.limits.cpu"), (7, Some("\"1s\"")));
        assert_eq!(row("plugins.audit.retry.max_attempts"), (9, Some("3")));
        assert_eq!(row("joins.a.key"), (11, Some("{ json = \"/id\" }")));
        assert_eq!(row("joins.a.api_key"), (12, None));
        assert_eq!(row("routes.\"a.*\""), (14, Some("[ \"audit\", \"b\", ]")));
        assert_eq!(found.len(), 8, "{found:?}");
    }

    #[test]
    fn a_table_in_braces_shows_no_secret_of_those_within() {
        let text = "server = { name = \"acme\", admin_tokens = [\"s3cret\"] }\n[plugins]\n\
                    audit = { timeout = \"5s\", config = { api = \"s3cret\" } }\n\
                    plain = { timeout = \"5s\" }\n[sources]\n\
                    a = [{ deep = { secret = \"s3cret\" } }]\nb = { c = { api_key = \"s3cret\" } }\n";
        let (table, errors) = DeTable::parse_recoverable(text);
        assert!(errors.is_empty());
        let mut found = read(text, table.get_ref());
        // `Config::effective` has the names and the roles in its place.
        assert!(found.remove(ADMIN_TOKENS).is_some());
        let row = |key: &str| (found[key].line, found[key].value.as_deref());
        assert_eq!(row("server.name"), (1, Some("\"acme\"")));
        assert_eq!(row("plugins.audit.timeout"), (3, Some("\"5s\"")));
        assert_eq!(row("plugins.audit.config"), (3, None));
        assert_eq!(row("plugins.plain"), (4, Some("{ timeout = \"5s\" }")));
        assert_eq!((row("sources.a"), row("sources.b.c.api_key")), ((6, None), (7, None)));
        assert!(!format!("{found:?}").contains("s3cret"), "{found:?}");
    }
}
