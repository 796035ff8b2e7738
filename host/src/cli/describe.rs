//! Describes a configuration and its plugins in lines for people: `serve` at start, and `check`.

use std::sync::Arc;

use super::output::{Ink, Printout, printable};
use crate::clock::{Clock, rfc3339};
use crate::config::routes::{Gathering, Route, RouteItem};
use crate::config::schedules::NO_TICK_MS;
use crate::config::source::{DedupeBy, Secrets, Source, Verify};
use crate::config::{Config, Schedule, shared_buckets};
use crate::plugins::{Entry, Registry, warnings};

/// Sources, routes and plugins.
pub(super) fn describe(out: &mut Printout, config: &Config, registry: &Registry) {
    sources(out, config);
    routes(out, config);
    gatherings(out, config);
    schedules(out, config);
    plugins(out, config, registry);
    buckets(out, config, registry);
}

/// Writes what deserves a warning. Says how many warnings there are.
pub(super) fn warn(out: &mut Printout, config: &Config, registry: &Registry) -> usize {
    let warnings = all_warnings(config, registry);
    for warning in &warnings {
        let label = out.ink(Ink::Yellow, "warning:");
        out.line(format!("{label} {}", printable(warning)));
    }
    warnings.len()
}

fn all_warnings(config: &Config, registry: &Registry) -> Vec<String> {
    let mut all = registry.problems().to_vec();
    all.extend(config.warnings.iter().map(|warning| warning.text.clone()));
    let loaded =
        registry.entries().filter_map(|(name, entry)| Some((name, entry.loaded.as_ref()?)));
    all.extend(
        loaded.flat_map(|(name, loaded)| warnings(name, &config.plugin(name), &loaded.plugin)),
    );
    for (name, held) in registry.entries().filter_map(|(name, entry)| Some((name, entry.held()?))) {
        let (asks_for, command) = (held.asks_for(), held.command());
        all.push(format!(
            "the newest file of `{name}` asks for {asks_for} and waits; `{command}` lets it in"
        ));
        all.extend(held.trouble.clone());
    }
    for cycle in config.routes.cycles() {
        all.push(format!(
            "the routes make a cycle: {cycle}; an event that goes round it ends at the hop limit or at \
             `server.tree_events`"
        ));
    }
    all.extend(config.routes.doubts(&config.sources));
    let open = config.sources.values().filter(|source| matches!(source.verify, Verify::None));
    all.extend(open.map(|source| {
        format!("source `{}` has scheme `none`: anyone who reaches it can make events", source.name)
    }));
    all
}

fn heading(out: &mut Printout, text: &str) {
    out.line(out.ink(Ink::Bold, text));
}

fn sources(out: &mut Printout, config: &Config) {
    heading(out, if config.sources.is_empty() { "no source" } else { "sources" });
    let rows: Vec<_> = config
        .sources
        .values()
        .map(|source| {
            let (name, path) =
                (format!("  {}", source.name), format!("POST /webhook/{}", source.name));
            vec![name, path, format!("dedupe: {}", source.dedupe), secrets(config, source)]
        })
        .collect();
    out.rows(&rows);
    for source in
        config.sources.values().filter(|source| source.dedupe.is_body_for_want_of_better())
    {
        let label = out.ink(Ink::Yellow, "note:");
        let (why, help) = if source.dedupe.keys == [DedupeBy::Body] {
            ("signs neither an id nor a time", "say where its `id` is, or choose with `dedupe`")
        } else {
            ("goes by the body beside other keys", "choose with `dedupe` if that may be")
        };
        out.line(format!(
            "{label} source `{}` {why}, so events of equal type and body count as one within \
             `store.dedupe_window`; {help}",
            source.name
        ));
    }
}

fn secrets(config: &Config, source: &Source) -> String {
    let Verify::Signature(signature) = &source.verify else { return "not verified".to_owned() };
    match &source.secrets {
        Secrets::Set(_) if !signature.has_secrets() => {
            format!("public keys: {}", signature.public_keys.len())
        }
        Secrets::Set(secrets) if secrets.len() == 1 => "secret set".to_owned(),
        Secrets::Set(secrets) => format!("{} secrets set", secrets.len()),
        Secrets::Generated { path, .. } => {
            format!("secret made by this host, in {}", path.display())
        }
        Secrets::Pair { path, .. } => format!("a pair of keys for tests, in {}", path.display()),
        // A warning below names the places in which it was looked for.
        Secrets::Missing(_) if config.degrades(&source.name) => {
            "no secret yet: answers 503".to_owned()
        }
        Secrets::Missing(_) => "no secret yet: `hookbox serve` makes one for tests".to_owned(),
    }
}

fn routes(out: &mut Printout, config: &Config) {
    heading(out, if config.routes.iter().len() == 0 { "no route" } else { "routes" });
    let rows: Vec<_> = config.routes.iter().flat_map(route).collect();
    out.rows(&rows);
}

/// The rows of a route: one, or one for each item if any is on terms of its own.
fn route(route: &Route) -> Vec<Vec<String>> {
    let first = format!("  {}", route.pattern);
    if route.items.iter().all(|item| item.terms().is_none()) {
        let plugins = route.plugins().map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
        return vec![vec![first, format!("→ {plugins}")]];
    }
    let patterns = std::iter::once(first).chain(std::iter::repeat(String::new()));
    let row = |(pattern, item): (String, &RouteItem)| {
        let terms = item.terms().map(|terms| printable(&terms)).unwrap_or_default();
        vec![pattern, format!("→ {}", item.plugin()), terms]
    };
    patterns.zip(&route.items).map(row).collect()
}

/// The joins and batches as they were understood.
fn gatherings(out: &mut Printout, config: &Config) {
    let found = config.routes.gatherings.iter();
    if found.len() == 0 {
        return;
    }
    heading(out, "joins and batches");
    let row = |found: &Arc<Gathering>| {
        let name = format!("  {}", found.terms.plugin);
        let emits = match found.late.as_str() {
            "" => format!("→ {}", found.emit),
            late => format!("→ {}, or {late}", found.emit),
        };
        vec![name, printable(&found.summary()), emits]
    };
    out.rows(&found.map(row).collect::<Vec<_>>());
}

/// Each schedule with its next three ticks.
fn schedules(out: &mut Printout, config: &Config) {
    if config.schedules.is_empty() {
        return;
    }
    heading(out, "schedules");
    let now_ms = Clock::system().now_ms();
    let row = |schedule: &Arc<Schedule>| {
        let next = std::iter::successors(Some(schedule.next_after(now_ms)), |ms| {
            Some(schedule.next_after(*ms))
        });
        let next = next.take_while(|ms| *ms != NO_TICK_MS).take(3).map(rfc3339);
        let next = match schedule.enabled {
            true => format!("next {}", next.collect::<Vec<_>>().join(", ")),
            false => "disabled".to_owned(),
        };
        vec![format!("  {}", schedule.name), schedule.spec(), format!("→ {}", schedule.emit), next]
    };
    out.rows(&config.schedules.values().map(row).collect::<Vec<_>>());
}

fn plugins(out: &mut Printout, config: &Config, registry: &Registry) {
    heading(out, if registry.entries().next().is_none() { "no plugin" } else { "plugins" });
    let rows: Vec<_> = registry
        .entries()
        .map(|(name, entry)| {
            let pace = config.plugin(name).pace();
            [format!("  {name}"), contract(entry)].into_iter().chain(pace).collect()
        })
        .collect();
    out.rows(&rows);
}

/// The buckets that are not just a plugin's own, with the plugins that have them.
fn buckets(out: &mut Printout, config: &Config, registry: &Registry) {
    let settings: Vec<_> =
        registry.entries().map(|(name, _)| (name.as_ref(), config.plugin(name))).collect();
    let shared = shared_buckets(settings.iter().map(|(name, settings)| (*name, &settings.kv)));
    if shared.is_empty() {
        return;
    }
    heading(out, "key-value buckets");
    let row = |(bucket, plugins): (&Arc<str>, &Vec<&str>)| {
        vec![format!("  {bucket}"), format!("of {}", plugins.join(", "))]
    };
    out.rows(&shared.iter().map(row).collect::<Vec<_>>());
}

fn contract(entry: &Entry) -> String {
    let runs = entry.loaded.as_deref().map(|loaded| {
        let digest: String = loaded.digest.to_string().chars().take(12).collect();
        format!("{}@{}  {digest}", loaded.plugin.contract(), loaded.plugin.interface_version())
    });
    if let Some(held) = entry.held() {
        let runs = runs.unwrap_or_else(|| "nothing runs, its deliveries wait".to_owned());
        return format!("{runs}  (held: the newest file asks for {})", held.asks_for());
    }
    match (runs, entry.problem()) {
        (Some(runs), None) => runs,
        (Some(runs), Some(problem)) => format!("{runs}  (stale: {problem})"),
        (None, Some(problem)) => format!("{}: {problem}", entry.state()),
        (None, None) if entry.state() == "compiling" => {
            "compiling; its deliveries wait until it is loaded".to_owned()
        }
        (None, None) => entry.state().to_owned(),
    }
}
