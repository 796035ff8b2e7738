//! The facts of a plugin, by heading.

use super::lately;
use crate::admin::page::parts::html::{Html, coded, shown};
use crate::admin::page::parts::link::Link;
use crate::admin::page::parts::measure::bytes;
use crate::admin::page::parts::when::when_text;
use crate::admin::plugins::PluginJson;
use crate::text::{duration, exact_duration, grouped};

type Pairs = Vec<(&'static str, Html)>;

/// Headings, and under each the names and values that belong there.
pub(super) type Groups = Vec<(&'static str, Pairs)>;

/// Its file, what it may do and did, how it is called, and its limits.
pub(super) fn groups(plugin: &PluginJson, now_ms: i64) -> Groups {
    let mut file: Pairs = Vec::new();
    let mut add = |label, value: Option<&str>| {
        file.extend(value.map(|value| (label, shown(value))));
    };
    add("contract", plugin.contract.as_deref());
    add("instances", plugin.instance);
    add("file", plugin.path.as_deref());
    add("digest", plugin.digest.as_deref());
    let size = plugin.size.map(bytes);
    add("size", size.as_deref());
    let compiled = match (plugin.compile_ms, plugin.compiled) {
        (Some(ms), _) => Some(format!("in {}", duration(ms as f64))),
        (None, compiled) => compiled.map(|when| format!("{when} it was loaded")),
    };
    add("compiled", compiled.as_deref());
    if let Some(at) = &plugin.loaded_at {
        file.push(("loaded", when_text(at, now_ms)));
    }
    if let Some(at) = &plugin.compiling_since {
        file.push(("compiling since", when_text(at, now_ms)));
    }
    let list = |items: &[String]| match items.is_empty() {
        true => shown("none"),
        false => shown(&items.join(", ")),
    };
    let kv = &plugin.used.kv;
    let mut may = vec![("imports", list(&plugin.imports)), ("granted", list(&plugin.grants))];
    may.extend(requests(plugin));
    may.push((
        "keys",
        shown(&format!("{} read, {} written", grouped(kv.reads), grouped(kv.writes))),
    ));
    may.push(("bucket", bucket(&plugin.kv.bucket)));
    vec![
        ("In the last minute", minute(plugin)),
        ("File", file),
        ("Permissions, and what it did with them", may),
        ("How it is called", calls(plugin, now_ms)),
        ("Limits of an attempt: used at most since the start of the host", limits(plugin)),
    ]
}

/// Its attempts of the last minute, or since the start if that is less.
fn minute(plugin: &PluginJson) -> Pairs {
    let recent = &plugin.recent;
    let of = match recent.span_s {
        0 => "nothing was measured yet".to_owned(),
        span_s => format!("{} attempts in {span_s} s", grouped(recent.attempts)),
    };
    vec![
        ("attempts a second", shown(&format!("{}, {of}", lately::per_second(recent)))),
        ("succeeded", shown(&lately::succeeded(recent))),
        ("took, 50 / 95 / 99 of 100", shown(&lately::percentiles(recent))),
    ]
}

/// Its requests: those without an answer and those that were refused, each with the last reason.
fn requests(plugin: &PluginJson) -> Pairs {
    let http = &plugin.used.http;
    let mut pairs = vec![(
        "requests answered",
        shown(&format!("{} since the start of the host", grouped(http.answered))),
    )];
    let unanswered = &http.last_unanswered;
    for (label, count, last) in [
        ("requests refused", http.refused, &http.last_refused),
        ("requests unanswered", http.unanswered, unanswered),
    ] {
        let mut html = shown(&grouped(count));
        if let Some(last) = last {
            html.text(", the last one: ").raw(shown(&last.url)).text(": ").raw(coded(&last.error));
        }
        pairs.push((label, html));
    }
    pairs
}

fn bucket(name: &str) -> Html {
    let mut html = Html::default();
    let path = Link::to("/kv").segment(name).into_text();
    html.raw("<a href=\"").text(&path).raw("\">").text(name).raw("</a>");
    html
}

fn calls(plugin: &PluginJson, now_ms: i64) -> Pairs {
    let retry = &plugin.retry;
    let mut pairs = vec![
        (
            "routes",
            match plugin.routes.is_empty() {
                true => shown("no route leads here"),
                false => shown(&plugin.routes.join(", ")),
            },
        ),
        ("at once", shown(&plugin.concurrency.to_string())),
        (
            "retries",
            shown(&format!(
                "{} attempts, the first after {}, at most {} apart",
                retry.max_attempts,
                exact_duration(retry.initial_ms),
                exact_duration(retry.max_ms)
            )),
        ),
    ];
    pairs.extend(plugin.rate.as_deref().map(|rate| ("rate", shown(rate))));
    pairs.extend(plugin.key.as_ref().map(|key| {
        ("ordered by", shown(&format!("{}, {} of a key at once", key.by, key.per_key)))
    }));
    if let Some(breaker) = &plugin.breaker {
        let mut html =
            shown(&format!("{}, {} failures in a row", breaker.state, breaker.failures_in_a_row));
        if let Some(next) = &breaker.next_attempt_at {
            html.text("; next attempt ").raw(when_text(next, now_ms));
        }
        pairs.push(("circuit breaker", html));
    }
    pairs
}

/// The limits, each beside the most that an attempt used of it.
fn limits(plugin: &PluginJson) -> Pairs {
    let (limits, peak) = (&plugin.limits, &plugin.peak);
    let of = |used: String, limit: String| shown(&format!("{used} of {limit}"));
    let count = |used: u64, limit: usize| of(grouped(used), grouped(limit as u64));
    vec![
        ("time", of(duration(peak.duration_ms), exact_duration(limits.timeout_ms))),
        ("CPU", of(duration(peak.cpu_ms), exact_duration(limits.cpu_ms))),
        ("memory", of(bytes(peak.memory_bytes), bytes(limits.memory_bytes as u64))),
        ("events emitted", count(peak.emitted, limits.emitted)),
        ("lines of the log", count(peak.log_lines, limits.log_lines)),
        ("requests", count(peak.http_requests, limits.http_requests)),
        ("sent", of(bytes(peak.http_sent_bytes), bytes(limits.http_sent_bytes))),
        ("received", of(bytes(peak.http_received_bytes), bytes(limits.http_received_bytes))),
    ]
}
