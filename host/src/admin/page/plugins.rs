//! Plugins: what runs, what may it do, what changed?

use std::sync::Arc;

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::form::{FormFields, ONCE, once, see_other};
use super::frame::PageFrame;
use super::moves;
use super::parts::html::{Html, coded, coded_lines, shown};
use super::parts::link::{Link, word};
use super::parts::measure::bytes;
use super::parts::state::{OLD_RUNS, badge};
use super::parts::when::when_text;
use super::pauses;
use super::request::Asked;
use super::trail::Trail;
use super::{html, params};
use crate::admin::by::By;
use crate::admin::params::{Id, NoQuery};
use crate::admin::plugins::{PluginJson, list_plugins, load_plugin, show_plugin};
use crate::admin::problem::ProblemJson;
use crate::admin::state::Admin;
use crate::text::grouped;
use pending_approval::HeldPart;

pub(super) mod approve;
mod facts;
mod lately;
mod pending_approval;
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
    /// Its attempts of the last minute, and the most memory of an attempt.
    calls: String,
    succeeded: String,
    percentiles: String,
    memory: String,
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
            calls: lately::per_second(&plugin.recent),
            succeeded: lately::succeeded(&plugin.recent),
            percentiles: lately::percentiles(&plugin.recent),
            memory: bytes(plugin.peak.memory_bytes),
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
    groups: facts::Groups,
    links: Vec<(&'static str, String, String)>,
    trail: Trail,
    hours: lately::Hours,
    /// Key, value and line of its configuration.
    settings: Vec<(String, String, Option<usize>)>,
    /// Where its dead letters are retried, if there are any.
    retry: Option<String>,
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
        groups: facts::groups(&plugin, now_ms),
        hours: lately::Hours::of(&admin, &plugin.name).await,
        settings: lately::settings(&admin, &plugin.name),
        retry: (counts.dead > 0).then(|| {
            let new = Link::to("/operations/new").with("action", "retry").with("state", "dead");
            new.with("plugin", &plugin.name).into_text()
        }),
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
