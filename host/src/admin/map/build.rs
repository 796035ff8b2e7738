//! The graph of what is configured and of what was seen.

use std::collections::BTreeSet;

use super::graph::MapGraph;
use crate::admin::paused;
use crate::admin::state::Admin;
use crate::config::routes::{Gathering, Route, TypePattern};
use crate::config::source::{EventTypes, Secrets};
use crate::config::{Config, Source, presets};
use crate::event::GatheringKind;
use crate::names::is_built_in;
use crate::plugins::Registry;
use crate::series::{Burst, Meter, OwnerKind, PairKind, PairTotal, SeriesOwner};
use crate::store::Pausable;

/// A route without a source leads from no more sources than these on the map, until an event has
/// come that it takes.
const MAX_GUESSED: usize = 6;

/// A source of events, as events name it, and a type.
type Origin = (String, String);

/// Builds the graph.
pub(super) fn build(admin: &Admin, totals: Vec<PairTotal>) -> MapGraph {
    let (config, registry) = (admin.config.load(), admin.registry.load());
    let mut map =
        MapBuilder { config: &config, graph: MapGraph::default(), known: BTreeSet::new() };
    map.parts(admin, &registry);
    map.configured_types();
    let (handled, came): (Vec<_>, Vec<_>) =
        totals.into_iter().partition(|total| total.kind == PairKind::Handled);
    map.came(&came);
    map.routed();
    map.handled(&handled);
    map.unseen_routes();
    map.unseen_gatherings();
    map.graph
}

/// The source of the events of a pair, as they name it.
pub(super) fn source_of(total: &PairTotal) -> String {
    match total.kind {
        PairKind::Emitted if !is_built_in(&total.from) => format!("plugins/{}", total.from),
        _ => total.from.to_string(),
    }
}

struct MapBuilder<'a> {
    config: &'a Config,
    graph: MapGraph,
    /// Types, each with the sources from which it came or is to come.
    known: BTreeSet<Origin>,
}

impl MapBuilder<'_> {
    /// Sources, schedules, joins and plugins.
    fn parts(&mut self, admin: &Admin, registry: &Registry) {
        for source in self.config.sources.values() {
            let id = self.graph.node("source", &source.name);
            if let Some(node) = self.graph.nodes.get_mut(&id) {
                node.state = is_closed(source).then_some("missing");
                (node.refused, node.refusing) = refused(admin, &source.name);
            }
        }
        for schedule in self.config.schedules.values() {
            let id = self.graph.node("schedule", &schedule.name);
            let is_paused = paused::of(admin, Pausable::Schedule, &schedule.name).is_some();
            if let Some(node) = self.graph.nodes.get_mut(&id) {
                node.state = is_paused.then_some("paused");
            }
        }
        for gathering in self.config.routes.gatherings.iter() {
            self.origin(&gathering.terms.plugin);
        }
        let routed = self.config.routes.iter().flat_map(Route::plugins);
        let names = registry.entries().map(|(name, _)| name).chain(routed);
        for name in names.filter(|name| !is_built_in(name)) {
            let id = self.graph.node("plugin", name);
            if let Some(node) = self.graph.nodes.get_mut(&id) {
                let is_paused = paused::of(admin, Pausable::Plugin, name).is_some();
                let state = registry.entry(name).map_or("missing", |entry| entry.state());
                node.state = Some(if is_paused { "paused" } else { state });
            }
        }
    }

    /// The node of a source, as events name it.
    fn origin(&mut self, source: &str) -> String {
        let (kind, name) = match source.split_once('/') {
            Some(("plugins", name)) => ("plugin", name),
            Some(("schedules", name)) => ("schedule", name),
            Some(("joins", name)) => ("join", name),
            Some(("batches", name)) => ("batch", name),
            Some(("api", name)) => ("api", name),
            _ => ("source", source),
        };
        self.graph.node(kind, name)
    }

    /// The types that schedules, joins and batches are to emit.
    fn configured_types(&mut self) {
        let config = self.config;
        for schedule in config.schedules.values() {
            self.is_known(&schedule.source(), &schedule.emit, "received");
        }
        for gathering in config.routes.gatherings.iter() {
            for kind in [&gathering.emit, &gathering.late] {
                // A batch is never late.
                if !kind.is_empty() {
                    self.is_known(&gathering.terms.plugin, kind, "emitted");
                }
            }
        }
    }

    fn is_known(&mut self, source: &str, kind: &str, edge: &'static str) -> (String, String) {
        let (from, to) = (self.origin(source), self.graph.node("type", kind));
        self.graph.edge(&from, &to, edge);
        self.known.insert((source.to_owned(), kind.to_owned()));
        (from, to)
    }

    /// Adds received and emitted events.
    fn came(&mut self, totals: &[PairTotal]) {
        for total in totals {
            let source = source_of(total);
            let edge = if total.kind == PairKind::Emitted { "emitted" } else { "received" };
            let (from, to) = self.is_known(&source, &total.to, edge);
            self.graph.edge(&from, &to, edge).add_total(total);
        }
    }

    /// Where the types that are known go.
    fn routed(&mut self) {
        let routes = &self.config.routes;
        let patterns = patterns(routes.iter());
        for (source, kind) in self.known.clone() {
            let from = self.graph.node("type", &kind);
            for target in routes.targets(&source, &kind) {
                let to = self.graph.node("plugin", &target.plugin);
                let mut fitting = patterns.iter().filter(|(route, pattern)| {
                    is_from(route, &source)
                        && pattern.takes(&kind)
                        && route.leads_to(&target.plugin)
                });
                let pattern = fitting.next().map(|(route, _)| route.pattern.clone());
                self.graph.edge(&from, &to, "routed").pattern = pattern;
            }
            let gatherings: Vec<_> = routes.gatherings.of(&source, &kind).cloned().collect();
            for gathering in gatherings {
                let to = self.origin(&gathering.terms.plugin);
                self.graph.edge(&from, &to, "gathered");
            }
            if !routes.takes(&source, &kind)
                && let Some(node) = self.graph.nodes.get_mut(&from)
            {
                node.unrouted = true;
            }
        }
    }

    /// Attempts, also of types that came before the window.
    fn handled(&mut self, totals: &[PairTotal]) {
        for total in totals {
            let from = self.graph.node("type", &total.from);
            let to = match is_built_in(&total.to) {
                true => self.origin(&total.to),
                false => self.graph.node("plugin", &total.to),
            };
            self.graph.edge(&from, &to, "routed").add_total(total);
        }
    }

    /// Routes that take no type that is known: their patterns stand for types.
    fn unseen_routes(&mut self) {
        let config = self.config;
        for (route, pattern) in patterns(config.routes.iter()) {
            let is_seen = self
                .known
                .iter()
                .any(|(source, kind)| is_from(route, source) && pattern.takes(kind));
            if is_seen {
                continue;
            }
            let id = self.graph.node("type", kind_of(route));
            match &route.source {
                Some(source) => {
                    let is_emitter = source.contains('/') && !source.starts_with("schedules/");
                    let kind = if is_emitter { "emitted" } else { "received" };
                    let from = self.origin(source);
                    self.graph.edge(&from, &id, kind);
                }
                None => self.guess_sources(&id, &pattern),
            }
            for plugin in route.plugins() {
                let to = self.graph.node("plugin", plugin);
                self.graph.edge(&id, &to, "routed").pattern = Some(route.pattern.clone());
            }
        }
    }

    /// Draws edges from the sources that may send a type of this pattern.
    fn guess_sources(&mut self, id: &str, pattern: &TypePattern) {
        let fitting = self.config.sources.values().filter(|source| may_send(source, pattern));
        let names: Vec<_> = fitting.map(|source| source.name.to_string()).collect();
        if names.len() <= MAX_GUESSED {
            for name in names {
                let from = self.graph.node("source", &name);
                self.graph.edge(&from, id, "received");
            }
        }
    }

    /// Joins and batches that no type is known for.
    fn unseen_gatherings(&mut self) {
        let config = self.config;
        for gathering in config.routes.gatherings.iter() {
            let to = self.origin(&gathering.terms.plugin);
            if self.graph.edges.keys().any(|(_, end)| *end == to) {
                continue;
            }
            for pattern in wanted(gathering) {
                let from = self.graph.node("type", pattern);
                self.graph.edge(&from, &to, "gathered").pattern = Some(pattern.clone());
            }
        }
    }
}

/// Requests of a source that were refused within the hour that is in memory, and when the newest
/// were.
fn refused(admin: &Admin, source: &str) -> (u64, Option<Burst>) {
    let owner = SeriesOwner { kind: OwnerKind::Source, name: Some(source.into()) };
    let (mut refused, mut refusing, mut begun_ms) = (0, None, None);
    for step in admin.series.window(&owner) {
        let count = step.point.counts[Meter::REFUSED];
        if count > 0 {
            refused += u64::from(count);
            refusing = Some(Burst::seen(refusing, begun_ms.unwrap_or(step.at_ms), step.at_ms));
        }
        begun_ms = Some(step.at_ms);
    }
    (refused, refusing)
}

fn is_closed(source: &Source) -> bool {
    matches!(source.secrets, Secrets::Missing(_))
}

/// The part of a line's pattern that is about the type.
fn kind_of(route: &Route) -> &str {
    match &route.source {
        Some(source) => route.pattern.get(source.len() + 1..).unwrap_or_default(),
        None => &route.pattern,
    }
}

/// The lines with their patterns of types.
fn patterns<'a>(routes: impl Iterator<Item = &'a Route>) -> Vec<(&'a Route, TypePattern)> {
    routes.filter_map(|route| Some((route, TypePattern::parse(kind_of(route)).ok()?))).collect()
}

fn is_from(route: &Route, source: &str) -> bool {
    route.source.as_deref().is_none_or(|only| only == source)
}

/// Whether a source may send a type of this pattern, as far as its types are known.
fn may_send(source: &Source, pattern: &TypePattern) -> bool {
    if let EventTypes::Words { known, .. } = &source.types {
        return known.iter().any(|word| pattern.takes(word));
    }
    let samples = source.preset.as_deref().map_or(&[][..], presets::samples);
    let mut types = samples.iter().map(|(kind, _)| kind).filter(|kind| !kind.contains('*'));
    samples.is_empty() || types.any(|kind| pattern.takes(kind))
}

/// The patterns of what a gathering waits for.
fn wanted(gathering: &Gathering) -> impl Iterator<Item = &String> {
    let is_join = gathering.terms.kind == GatheringKind::Join;
    let ends = is_join.then(|| gathering.types.iter().chain(&gathering.close));
    gathering.on.iter().chain(ends.into_iter().flatten())
}
