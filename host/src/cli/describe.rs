//! What a configuration and a shelf of plugins come to, in lines for people: said by `serve` at start and by `check`.

use super::output::{Ink, Page, printable};
use crate::config::Config;
use crate::config::source::{Secrets, Source, Verify};
use crate::plugins::{Entry, Registry, warnings};

/// Sources, routes, plugins, and what deserves a warning. Says how many warnings there are.
pub(super) fn describe(page: &mut Page, config: &Config, shelf: &Registry) -> usize {
    sources(page, config);
    routes(page, config);
    plugins(page, shelf);
    let warnings = all_warnings(config, shelf);
    for warning in &warnings {
        let label = page.ink(Ink::Yellow, "warning:");
        page.line(format!("{label} {}", printable(warning)));
    }
    warnings.len()
}

fn all_warnings(config: &Config, shelf: &Registry) -> Vec<String> {
    let mut all = shelf.problems().to_vec();
    all.extend(config.warnings.iter().map(|warning| warning.text.clone()));
    let loaded = shelf.entries().filter_map(|(name, slot)| Some((name, slot.loaded.as_ref()?)));
    all.extend(loaded.flat_map(|(name, loaded)| warnings(name, &config.plugin(name), &loaded.plugin)));
    for (name, held) in shelf.entries().filter_map(|(name, slot)| Some((name, slot.held()?))) {
        let (asks_for, command) = (held.asks_for(), held.command());
        all.push(format!("the newest file of `{name}` asks for {asks_for} and waits; `{command}` lets it in"));
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
    all.extend(
        open.map(|source| format!("source `{}` has scheme `none`: anyone who reaches it can make events", source.name)),
    );
    all
}

fn heading(page: &mut Page, text: &str) {
    page.line(page.ink(Ink::Bold, text));
}

fn sources(page: &mut Page, config: &Config) {
    heading(page, if config.sources.is_empty() { "no source" } else { "sources" });
    let rows: Vec<_> = config
        .sources
        .values()
        .map(|source| {
            let (name, path) = (format!("  {}", source.name), format!("POST /webhook/{}", source.name));
            vec![name, path, format!("dedupe: {}", source.dedupe), secrets(source)]
        })
        .collect();
    page.rows(&rows);
    for source in config.sources.values().filter(|source| source.dedupe.is_body_for_want_of_better()) {
        let label = page.ink(Ink::Yellow, "note:");
        page.line(format!(
            "{label} source `{}` signs neither an id nor a time, so events of equal type and body count as one within \
             `store.dedupe_window`; say where its `id` is, or choose with `dedupe`",
            source.name
        ));
    }
}

fn secrets(source: &Source) -> String {
    let Verify::Signature(signature) = &source.verify else { return "not verified".to_owned() };
    if !signature.scheme.has_secrets() {
        return format!("public keys: {}", signature.public_keys.len());
    }
    match &signature.secrets {
        Secrets::Set(secrets) if secrets.len() == 1 => "secret set".to_owned(),
        Secrets::Set(secrets) => format!("{} secrets set", secrets.len()),
        Secrets::Generated { path, .. } => format!("secret made by this host, in {}", path.display()),
        Secrets::Missing(what) => format!("refuses posts: {what}"),
    }
}

fn routes(page: &mut Page, config: &Config) {
    heading(page, if config.routes.iter().len() == 0 { "no route" } else { "routes" });
    let rows: Vec<_> = config
        .routes
        .iter()
        .map(|route| vec![format!("  {}", route.pattern), format!("→ {}", route.plugins.join(", "))])
        .collect();
    page.rows(&rows);
}

fn plugins(page: &mut Page, shelf: &Registry) {
    heading(page, if shelf.entries().next().is_none() { "no plugin" } else { "plugins" });
    let rows: Vec<_> = shelf.entries().map(|(name, slot)| vec![format!("  {name}"), contract(slot)]).collect();
    page.rows(&rows);
}

fn contract(slot: &Entry) -> String {
    let runs = slot.loaded.as_deref().map(|loaded| {
        let digest: String = loaded.digest.to_string().chars().take(12).collect();
        format!("{}@{}  {digest}", loaded.plugin.contract(), loaded.plugin.interface_version())
    });
    if let Some(held) = slot.held() {
        let runs = runs.unwrap_or_else(|| "nothing runs, its deliveries wait".to_owned());
        return format!("{runs}  (held: the newest file asks for {})", held.asks_for());
    }
    match (runs, slot.problem()) {
        (Some(runs), None) => runs,
        (Some(runs), Some(problem)) => format!("{runs}  (stale: {problem})"),
        (None, Some(problem)) => format!("{}: {problem}", slot.state()),
        (None, None) if slot.state() == "compiling" => "compiling; its deliveries wait until it is loaded".to_owned(),
        (None, None) => slot.state().to_owned(),
    }
}
