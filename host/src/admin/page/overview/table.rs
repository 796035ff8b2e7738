//! The table of plugins.

use crate::admin::attention::HostFacts;
use crate::admin::page::parts::html::Html;
use crate::admin::page::parts::link::Link;
use crate::admin::page::parts::measure::percent;
use crate::admin::page::parts::state::{OLD_RUNS, badge};
use crate::admin::page::parts::when::when;
use crate::admin::paused;
use crate::admin::plugins::known_plugins;
use crate::admin::recent::RateSpan;
use crate::admin::state::Admin;
use crate::event::State;
use crate::store::{Pausable, Stats};
use crate::text::{duration, grouped};

/// A plugin in the table.
#[derive(Debug)]
pub(super) struct PluginRow {
    pub(super) name: String,
    pub(super) path: String,
    pub(super) attempts: String,
    pub(super) succeeded: String,
    pub(super) p95: Option<String>,
    pub(super) leased: String,
    pub(super) waiting: String,
    pub(super) dead: String,
    pub(super) dead_path: Option<String>,
    /// How long its oldest ready delivery has been due.
    pub(super) oldest: Option<String>,
    pub(super) state: Html,
    pub(super) loaded: Option<Html>,
}

/// The state of a plugin, and whether it is paused.
fn state(admin: &Admin, name: &str, entry: &crate::plugins::Entry) -> Html {
    let mut html = badge(entry.state());
    if entry.state() == "held" && entry.loaded.is_some() {
        html.text(": ").text(OLD_RUNS);
    }
    if paused::of(admin, Pausable::Plugin, name).is_some() {
        html.text(" ").raw(badge("paused"));
    }
    html
}

/// Every plugin, by name.
pub(super) fn rows(
    admin: &Admin,
    stats: &Stats,
    facts: &HostFacts,
    span: RateSpan,
) -> Vec<PluginRow> {
    let (registry, now_ms) = (admin.registry.load(), admin.clock.now_ms());
    let row = |(name, entry): (&crate::event::PluginName, &crate::plugins::Entry)| {
        let recent = span.of_plugin(admin, name);
        let (good, bad) = recent.attempts();
        let counts = stats.plugins.get(name).copied().unwrap_or_default();
        let count = |state: State| counts.0[usize::from(state.code())];
        let dead = count(State::Dead);
        let oldest_ms = facts.due.value.as_ref().and_then(|due| due.get(name)?.oldest_ready_ms);
        let dead_path =
            || Link::to("/deliveries").with("state", "dead").with("plugin", name).into_text();
        PluginRow {
            name: name.to_string(),
            path: Link::to("/plugins").segment(name).into_text(),
            attempts: span.count(good + bad),
            succeeded: percent(good, good + bad),
            p95: recent.p95_ms().map(duration),
            leased: grouped(count(State::Leased)),
            waiting: grouped(count(State::Waiting)),
            dead: grouped(dead),
            dead_path: (dead > 0).then(dead_path),
            oldest: oldest_ms.map(|ms| duration((now_ms - ms).max(0) as f64)),
            state: state(admin, name, entry),
            loaded: entry.loaded.as_ref().map(|loaded| when(loaded.loaded_at_ms, now_ms)),
        }
    };
    known_plugins(&registry, stats).into_iter().map(row).collect()
}
