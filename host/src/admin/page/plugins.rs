//! Plugins: what runs, what may it do, what changed?

use std::sync::Arc;

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::asked::Asked;
use super::form::{FormFields, ONCE, once, see_other};
use super::frame::PageFrame;
use super::moves;
use super::parts::html::{Html, coded, coded_lines, shown};
use super::parts::link::{Link, word};
use super::parts::measure::{bytes, duration};
use super::parts::state::{OLD_RUNS, badge};
use super::parts::when::when_text;
use super::pauses;
use super::trail::Trail;
use super::{html, params};
use crate::admin::by::By;
use crate::admin::params::{Id, NoQuery};
use crate::admin::plugins::{HeldJson, PluginJson, list_plugins, load_plugin, show_plugin};
use crate::admin::problem::ProblemJson;
use crate::admin::state::Admin;
use crate::text::grouped;

pub(super) mod approve;
mod reloads;

#[derive(Template)]
#[template(path = "plugins.html")]
struct PluginsPage {
    frame: PageFrame,
    rows: Vec<PluginLine>,
    folder: String,
}

/// A plugin in the list.
#[derive(Debug)]
struct PluginLine {
    name: String,
    path: String,
    state: Html,
    contract: String,
    digest: String,
    loaded: Option<Html>,
    ready: String,
    waiting: String,
    dead: String,
    dead_path: String,
    remark: Option<Html>,
}

/// Lists plugins.
pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    asked.query::<NoQuery>()?;
    let Json(found) = list_plugins(State(Arc::clone(&admin)), params(NoQuery {})).await?;
    let now_ms = admin.clock.now_ms();
    let frame = PageFrame::of(&admin, &asked, "plugins", "Plugins").await;
    let page = PluginsPage {
        frame: frame
            .live("stats,plugins")
            .same_as("hookbox plugins".to_owned(), "/api/v1/plugins".to_owned()),
        rows: found.items.into_iter().map(|plugin| PluginLine::of(plugin, now_ms)).collect(),
        folder: admin.config.load().server.plugins_dir.display().to_string(),
    };
    html(StatusCode::OK, &page)
}

impl PluginLine {
    fn of(plugin: PluginJson, now_ms: i64) -> Self {
        let dead_path = Link::to("/deliveries").with("state", "dead").with("plugin", &plugin.name);
        Self {
            path: Link::to("/plugins").segment(&plugin.name).into_text(),
            state: state(&plugin),
            remark: remark(&plugin, now_ms),
            contract: plugin.contract.unwrap_or_default(),
            digest: plugin.digest.map(|digest| short(&digest)).unwrap_or_default(),
            loaded: plugin.loaded_at.map(|at| when_text(&at, now_ms)),
            ready: grouped(plugin.deliveries.ready),
            waiting: grouped(plugin.deliveries.waiting),
            dead: grouped(plugin.deliveries.dead),
            dead_path: dead_path.into_text(),
            name: plugin.name,
        }
    }
}

/// Its state, and whether it is paused.
fn state(plugin: &PluginJson) -> Html {
    let mut html = badge(plugin.state);
    if plugin.held.is_some() && plugin.digest.is_some() {
        html.text(": ").text(OLD_RUNS);
    }
    if plugin.paused.is_some() {
        html.text(" ").raw(badge("paused"));
    }
    html
}

fn remark(plugin: &PluginJson, now_ms: i64) -> Option<Html> {
    let paused = plugin.paused.as_ref().map(|paused| pauses::line(paused, now_ms));
    paused.or_else(|| plugin.error.as_deref().map(first_line))
}

fn first_line(text: &str) -> Html {
    let line: String = text.lines().next().unwrap_or_default().chars().take(200).collect();
    shown(&line)
}

/// The beginning of a digest.
pub(super) fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
}

#[derive(Template)]
#[template(path = "plugin.html")]
struct PluginShown {
    frame: PageFrame,
    name: String,
    state: Html,
    paused: Option<Html>,
    /// Where it is paused, or let go on.
    pause_path: String,
    try_path: String,
    /// Where what waits is given to another plugin, if there is one.
    move_path: Option<String>,
    error: Option<Html>,
    /// Where its file is loaded again, if there is one that was not taken.
    load_path: Option<String>,
    warnings: Vec<Html>,
    held: Option<HeldPart>,
    /// Headings, and under each the names and values that belong there.
    groups: Vec<(&'static str, Vec<(&'static str, Html)>)>,
    links: Vec<(&'static str, String, String)>,
    trail: Trail,
    failures: Vec<reloads::FailureLine>,
    emits: Vec<reloads::EmitsLine>,
    reloads: Vec<reloads::ReloadLine>,
}

impl PluginShown {
    /// The name of a form.
    fn once(&self) -> String {
        once()
    }
}

/// A file that waits.
#[derive(Debug)]
struct HeldPart {
    digest: String,
    since: Html,
    runs: Option<String>,
    /// Sizes and capabilities of the file that runs, and of the one that waits.
    sizes: [String; 2],
    uses: [String; 2],
    capabilities: Vec<&'static str>,
    imports: Vec<String>,
    path: String,
    command: String,
}

impl HeldPart {
    fn of(plugin: &PluginJson, held: &HeldJson, now_ms: i64) -> Self {
        let HeldJson { digest, imports_added, capabilities_added, since, .. } = held;
        let path = Link::to("/plugins").segment(&plugin.name).segment("approve");
        Self {
            digest: digest.clone(),
            since: when_text(since, now_ms),
            runs: plugin.digest.clone(),
            sizes: [plugin.size.map(bytes).unwrap_or_default(), bytes(held.size)],
            uses: [plugin.capabilities.join(", "), held.capabilities.join(", ")],
            capabilities: capabilities_added.clone(),
            imports: imports_added.clone(),
            path: path.with("digest", digest).into_text(),
            command: format!("hookbox plugins approve {} --digest {digest}", word(&plugin.name)),
        }
    }
}

/// Shows one plugin.
pub(super) async fn one(
    State(admin): State<Arc<Admin>>,
    Id(name): Id<String>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    asked.query::<NoQuery>()?;
    let shared = State(Arc::clone(&admin));
    let Json(plugin) = show_plugin(shared, params(NoQuery {}), Id(name)).await?;
    let now_ms = admin.clock.now_ms();
    let reloads = reloads::lines(&admin, &plugin.name, now_ms).await?;
    let frame = PageFrame::of(&admin, &asked, "plugins", plugin.name.clone()).await;
    let own = Link::to("/plugins").segment(&plugin.name);
    let api = Link::to("/api/v1/plugins").segment(&plugin.name).into_text();
    let of = |state: &str| {
        let link = Link::to("/deliveries").with("state", state).with("plugin", &plugin.name);
        link.into_text()
    };
    let counts = &plugin.deliveries;
    let links = vec![
        ("ready", grouped(counts.ready), of("ready")),
        ("leased", grouped(counts.leased), of("leased")),
        ("waiting", grouped(counts.waiting), of("waiting")),
        ("done", grouped(counts.done), of("done")),
        ("dead", grouped(counts.dead), of("dead")),
        ("discarded", grouped(counts.discarded), of("discarded")),
        ("cancelled", grouped(counts.cancelled), of("cancelled")),
    ];
    let page = PluginShown {
        frame: frame
            .live("stats,plugins")
            .same_as(format!("hookbox plugins {}", word(&plugin.name)), api),
        state: state(&plugin),
        paused: plugin.paused.as_ref().map(|paused| pauses::line(paused, now_ms)),
        load_path: (plugin.state != "missing").then(|| own.clone().segment("load").into_text()),
        try_path: own.clone().segment("try").into_text(),
        move_path: moves::is_possible(&admin, &plugin.name)
            .then(|| own.clone().segment("move").into_text()),
        pause_path: own
            .segment(if plugin.paused.is_some() { "resume" } else { "pause" })
            .into_text(),
        error: plugin.error.as_deref().map(coded_lines),
        warnings: plugin.warnings.iter().map(|warning| coded(warning)).collect(),
        held: plugin.held.as_ref().map(|held| HeldPart::of(&plugin, held, now_ms)),
        groups: groups(&plugin, now_ms),
        failures: reloads::failures(&plugin),
        emits: reloads::emits(&plugin, now_ms),
        reloads,
        links,
        trail: Trail::of_name(&admin, asked.sees(), &plugin.name, "plugins").await?,
        name: plugin.name,
    };
    html(StatusCode::OK, &page)
}

/// Has its file loaded again.
pub(super) async fn load(
    State(admin): State<Arc<Admin>>,
    by: By,
    Id(name): Id<String>,
    mut form: FormFields,
) -> Result<Response, ProblemJson> {
    let by = by.once(form.take(ONCE));
    let load = load_plugin(State(admin), by, Id(name.clone()), params(NoQuery {}));
    let (_, Json(_)) = load.await?;
    Ok(see_other(&Link::to("/plugins").segment(&name).into_text()))
}

type Pairs = Vec<(&'static str, Html)>;

fn groups(plugin: &PluginJson, now_ms: i64) -> Vec<(&'static str, Pairs)> {
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
    let used = &plugin.used;
    let http = &used.http;
    let mut may = vec![
        ("imports", list(&plugin.imports)),
        ("granted", list(&plugin.grants)),
        (
            "requests",
            shown(&format!(
                "{} answered, {} refused, {} unanswered, since the start of the host",
                grouped(http.answered),
                grouped(http.refused),
                grouped(http.unanswered)
            )),
        ),
        (
            "keys",
            shown(&format!("{} read, {} written", grouped(used.kv.reads), grouped(used.kv.writes))),
        ),
        ("bucket", bucket(&plugin.kv.bucket)),
    ];
    if let Some(last) = &http.last_unanswered {
        may.push(("last without an answer", shown(&format!("{}: {}", last.url, last.error))));
    }
    vec![
        ("File", file),
        ("What it may do, and did", may),
        ("How it is called", calls(plugin, now_ms)),
        ("Limits of an attempt: used at most since the start of the host", limits(plugin)),
    ]
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
                duration(retry.initial_ms as f64),
                duration(retry.max_ms as f64)
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
        ("time", of(duration(peak.duration_ms), duration(limits.timeout_ms as f64))),
        ("CPU", of(duration(peak.cpu_ms), duration(limits.cpu_ms as f64))),
        ("memory", of(bytes(peak.memory_bytes), bytes(limits.memory_bytes as u64))),
        ("events emitted", count(peak.emitted, limits.emitted)),
        ("lines of the log", count(peak.log_lines, limits.log_lines)),
        ("requests", count(peak.http_requests, limits.http_requests)),
        ("sent", of(bytes(peak.http_sent_bytes), bytes(limits.http_sent_bytes))),
        ("received", of(bytes(peak.http_received_bytes), bytes(limits.http_received_bytes))),
    ]
}
