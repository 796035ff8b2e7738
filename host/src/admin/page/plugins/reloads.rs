//! The parts of a plugin's page that are lists: its failures, what it emits, and its reloads.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::short;
use crate::admin::page::params;
use crate::admin::page::parts::html::{Html, shown};
use crate::admin::page::parts::link::Link;
use crate::admin::page::parts::state::badge;
use crate::admin::page::parts::when::when_text;
use crate::admin::params::{Id, NoQuery};
use crate::admin::plugins::PluginJson;
use crate::admin::plugins::reloads::list_reloads;
use crate::admin::problem::ProblemJson;
use crate::admin::state::Admin;
use crate::text::grouped;

/// A group of failures.
#[derive(Debug)]
pub(super) struct FailureLine {
    pub(super) path: String,
    pub(super) outcome: &'static str,
    pub(super) text: Html,
    pub(super) dead: String,
    pub(super) waiting: String,
}

/// A type that the plugin emits.
#[derive(Debug)]
pub(super) struct EmitsLine {
    pub(super) kind: Html,
    pub(super) path: String,
    pub(super) day: String,
    pub(super) last: Option<Html>,
    pub(super) routed: bool,
}

/// The result of loading a file, as a line.
#[derive(Debug)]
pub(super) struct ReloadLine {
    pub(super) at: Html,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) result: Html,
    pub(super) before: String,
    pub(super) after: String,
    pub(super) detail: Html,
}

pub(super) fn failures(plugin: &PluginJson) -> Vec<FailureLine> {
    let found = plugin.failures.iter().flatten();
    let line = |failure: &crate::admin::failures::FailureJson| FailureLine {
        path: Link::to("/failures").segment(&failure.id).into_text(),
        outcome: failure.outcome.unwrap_or("other"),
        text: shown(&failure.text),
        dead: grouped(failure.dead),
        waiting: grouped(failure.waiting),
    };
    found.map(line).collect()
}

pub(super) fn emits(plugin: &PluginJson, now_ms: i64) -> Vec<EmitsLine> {
    let found = plugin.emits.iter().flatten();
    let source = format!("plugins/{}", plugin.name);
    let line = |emits: &crate::admin::plugins::EmitsJson| EmitsLine {
        kind: shown(&emits.kind),
        path: Link::to("/events").with("type", &emits.kind).with("source", &source).into_text(),
        day: grouped(emits.day),
        last: emits.last_at.as_deref().map(|at| when_text(at, now_ms)),
        routed: emits.routed,
    };
    found.map(line).collect()
}

/// The reloads of a plugin; none of one that has no file.
pub(super) async fn lines(
    admin: &Arc<Admin>,
    plugin: &str,
    now_ms: i64,
) -> Result<Vec<ReloadLine>, ProblemJson> {
    if admin.registry.load().entry(plugin).is_none() {
        return Ok(Vec::new());
    }
    let shared = State(Arc::clone(admin));
    let found = list_reloads(shared, params(NoQuery {}), Id(plugin.to_owned())).await;
    let Json(found) = found?;
    let digest = |digest: &Option<String>| digest.as_deref().map(short).unwrap_or_default();
    let share = |share: Option<f64>| share.map_or_else(String::new, percent);
    Ok(found
        .items
        .iter()
        .map(|reload| ReloadLine {
            at: when_text(&reload.at, now_ms),
            from: digest(&reload.from),
            to: digest(&reload.to),
            result: badge(reload.result),
            before: share(reload.failed_before),
            after: share(reload.failed_after),
            detail: shown(reload.detail.lines().next().unwrap_or_default()),
        })
        .collect())
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
