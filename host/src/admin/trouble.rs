//! Problems that `/readyz` names: what wants an operator's attention although the host serves.

use serde::Serialize;
use utoipa::ToSchema;

use super::plugins::known_plugins;
use super::state::Admin;
use crate::clock::rfc3339;
use crate::dispatch::BreakerView;
use crate::event::DEAD_LETTERS;
use crate::event::UNIDENTIFIED;
use crate::ingest::Lately;
use crate::names::is_built_in;
use crate::plugins::Entry;
use crate::status::{Condition, Trouble};
use crate::store::{Pausable, Pause, PluginCounts, Stats};
use crate::text;

/// Something that wants an operator's attention.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Trouble)]
pub(super) struct TroubleJson {
    /// `store`, `clock`, `config`, `restart`, `watch`, `plugins_dir`, `source` or `plugin`.
    pub(super) part: &'static str,
    /// The name, where there are several.
    pub(super) name: Option<String>,
    /// The problem.
    pub(super) detail: String,
    /// When it began, RFC 3339 with milliseconds; null if that is not known or the text says it.
    pub(super) since: Option<String>,
    /// Tells apart the remedies.
    #[serde(skip)]
    pub(super) kind: ProblemKind,
}

/// Kinds of problems that differ in what follows from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProblemKind {
    /// Of the host, or of a source.
    General,
    /// The file of a plugin is not as it should be.
    File,
    /// A file waits to be approved, and none runs.
    Held,
    /// The attempts of a plugin are begun slowly.
    Slowed,
    /// An operator has paused a plugin.
    Paused,
}

impl TroubleJson {
    pub(super) fn of(part: &'static str, name: Option<&str>, detail: String) -> Self {
        let (name, kind) = (name.map(str::to_owned), ProblemKind::General);
        Self { part, name, detail, since: None, kind }
    }

    /// A problem of a plugin.
    fn of_plugin(name: &str, kind: ProblemKind, detail: String) -> Self {
        Self { kind, ..Self::of("plugin", Some(name), detail) }
    }

    fn since(self, since_ms: Option<i64>) -> Self {
        Self { since: since_ms.map(rfc3339), ..self }
    }

    /// A trouble that has a time.
    fn timed(part: &'static str, name: Option<&str>, trouble: Trouble) -> Self {
        Self::of(part, name, trouble.text).since(Some(trouble.since_ms))
    }
}

/// Everything that is wrong although the host serves. The last good configuration and plugins stay
/// in use.
pub(super) fn all(admin: &Admin, stats: &Stats, condition: Condition) -> Vec<TroubleJson> {
    let mut found = Vec::new();
    of_host(admin, condition, &mut found);
    let (registry, config) = (admin.registry.load(), admin.config.load());
    found.extend(
        registry
            .problems()
            .iter()
            .map(|problem| TroubleJson::of("plugins_dir", None, problem.clone())),
    );
    for warning in config.warnings.iter().filter(|warning| warning.degrades) {
        let subject = warning.about.as_ref();
        found
            .extend(subject.map(|it| {
                TroubleJson::of(it.kind(), Some(it.name()), warning.matter().to_owned())
            }));
    }
    for (name, entry) in known_plugins(&registry, stats) {
        let open = stats.plugins.get(name).map_or(0, PluginCounts::open);
        let is_routed = config.routes.iter().any(|route| route.leads_to(name));
        let detail = of_plugin(name, entry, open, is_routed);
        let since_ms = || Some(admin.reloads.last(name)?.at_ms);
        let is_held = entry.held().is_some() && entry.problem().is_none();
        let kind = if is_held { ProblemKind::Held } else { ProblemKind::File };
        let problem = |detail| TroubleJson::of_plugin(name, kind, detail).since(since_ms());
        found.extend(detail.map(problem));
    }
    for (name, counts) in stats.plugins.iter().filter(|(name, _)| is_built_in(name)) {
        let is_there = **name == *DEAD_LETTERS || config.routes.gatherings.get(name).is_some();
        let open = counts.open();
        let gone = (!is_there && open > 0).then(|| {
            format!("its section is gone from the configuration, and {open} of its deliveries wait for it")
        });
        found.extend(gone.map(|detail| TroubleJson::of_plugin(name, ProblemKind::File, detail)));
    }
    for (name, _) in registry.entries() {
        let detail = admin.breakers.of(name).and_then(|view| slowed_down(name, &view));
        let slowed = |detail| TroubleJson::of_plugin(name, ProblemKind::Slowed, detail);
        found.extend(detail.map(slowed));
    }
    for (name, pause) in admin.store.pauses().borrow().all(Pausable::Plugin) {
        let open = stats.plugins.get(name).map_or(0, PluginCounts::open);
        let detail = paused(name, pause, open);
        found.push(TroubleJson::of_plugin(name, ProblemKind::Paused, detail));
    }
    for (source, lately) in &admin.unidentified.lately() {
        found.push(TroubleJson::of("source", Some(source), without_type(source, lately)));
    }
    found
}

/// Problems of store, clock and configuration.
fn of_host(admin: &Admin, condition: Condition, found: &mut Vec<TroubleJson>) {
    found.extend(
        admin.store.warnings().into_iter().map(|detail| TroubleJson::of("store", None, detail)),
    );
    let clock = super::clock::trouble(&admin.clock, admin.config.load().store.dedupe_window_ms);
    found.extend(clock.map(|detail| TroubleJson::of("clock", None, detail)));
    found.extend(condition.config.map(|it| TroubleJson::timed("config", None, it)));
    for key in &condition.restart_needed {
        let detail = format!("a change of `{key}` waits for a restart");
        found.push(TroubleJson::of("restart", Some(key), detail));
    }
    for (source, trouble) in condition.logs {
        found.push(TroubleJson::timed("source", Some(&source), trouble));
    }
    found.extend(condition.watch.map(|it| TroubleJson::timed("watch", None, it)));
}

/// The problem of a plugin with so many open deliveries, if there is one.
fn of_plugin(name: &str, entry: &Entry, open: u64, is_routed: bool) -> Option<String> {
    let is_fine = match entry.state() {
        "loaded" | "compiling" => true,
        "held" => entry.loaded.is_some(),
        // Nobody misses a plugin that has neither a route nor a delivery.
        "missing" => open == 0 && !is_routed,
        _ => false,
    };
    if is_fine {
        return None;
    }
    let held = entry.held().map(|held| {
        let (asks_for, command) = (held.asks_for(), held.command());
        format!("its file asks for {asks_for} and nothing runs: let it in with `{command}`")
    });
    let detail = entry
        .problem()
        .map(str::to_owned)
        .or(held)
        .unwrap_or_else(|| format!("it is {}", entry.state()));
    if entry.state() != "missing" || open == 0 {
        return Some(detail);
    }
    Some(format!(
        "{detail}; {open} wait: put its file back, hand them on with `hookbox deliveries move --plugin \
         {name} --to PLUGIN`, or end them with `hookbox deliveries cancel --plugin {name}`: both \
         say how many there are and ask first, and in a script need `--yes`"
    ))
}

/// Describes a pause of a plugin with so many open deliveries.
fn paused(name: &str, pause: &Pause, open: u64) -> String {
    let (since, said, open) = (rfc3339(pause.since_ms), pause.text(), text::grouped(open));
    format!(
        "it is {said} (since {since}); {open} of its deliveries are open, and none is begun: let \
         it go on with `hookbox plugins resume {name}`"
    )
}

/// Describes the events of a source that have no type.
fn without_type(source: &str, lately: &Lately) -> String {
    let Lately { events, since_ms, last_ms, reason } = lately;
    let (events, since, last) = (text::grouped(*events), rfc3339(*since_ms), rfc3339(*last_ms));
    format!(
        "the type of {events} of its events since {since} cannot be read, so they are stored as \
         `{UNIDENTIFIED}`; the last one came at {last}: {reason}. See `type` under \
         [sources.{source}]; a route \"{source}:{UNIDENTIFIED}\" says that this is expected. Shown \
         for an hour after the last one"
    )
}

/// The state of an open circuit breaker.
fn slowed_down(name: &str, view: &BreakerView) -> Option<String> {
    let (open, policy) = (view.open?, view.policy?);
    let (since, failures, pause) = (rfc3339(open.since_ms), view.failures_in_a_row, policy.pause());
    let last = view
        .last_error
        .as_ref()
        .map(|error| format!(", the last one with \"{error}\""))
        .unwrap_or_default();
    Some(format!(
        "it only fails, so its circuit breaker is open since {since}: {failures} attempts in a row \
         failed{last}; one attempt is begun every {pause} until one is ok, and its deliveries wait; \
         mend what it needs, or put a new file of it in place, which is tried at once (`breaker` \
         under [plugins.{name}] sets the limits)"
    ))
}
