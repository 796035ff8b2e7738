//! The map: how sources, types and plugins hang together, and what flows between them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use self::fold::fold;
use self::graph::{MapEdge, MapNode};
use super::params::{MapQuery, Params};
use super::problem::ProblemJson;
use super::state::Admin;
use crate::clock::rfc3339;
use crate::names::hint;
use crate::series::{Burst, PairKind, PairWindow};

mod build;
mod fold;
mod graph;

/// The most nodes of an answer.
pub(in crate::admin) const MAX_NODES: usize = 60;

/// Sources, types, plugins, and what goes from one to the other.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Map)]
pub(super) struct MapJson {
    /// The window, as in the query.
    pub(super) window: &'static str,
    /// At most 60 nodes.
    pub(super) nodes: Vec<NodeJson>,
    /// The edges between them.
    pub(super) edges: Vec<EdgeJson>,
    /// How many types are shown as one of their prefix.
    pub(super) folded: usize,
    /// Whether there are more nodes than are shown: the least busy are left out.
    pub(super) truncated: bool,
}

/// A part of the host, or a type of events.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MapNode)]
pub(super) struct NodeJson {
    /// Its kind and name, as `focus` takes it.
    pub(super) id: String,
    /// `source`, `schedule`, `api`, `type`, `plugin`, `join`, `batch` or `host`.
    pub(super) kind: &'static str,
    /// Its name; a pattern for types that no event had, and for those that are shown as one.
    pub(super) label: String,
    /// The state of a plugin, `paused` for what an operator has paused, or `missing` for a source
    /// without a secret.
    pub(super) state: Option<&'static str>,
    /// Whether it is a type that came and that no route takes.
    pub(super) unrouted: bool,
    /// Requests of a source that were refused within the last hour.
    pub(super) refused: u64,
    /// Since when they were refused, without an earlier burst; null if none was.
    pub(super) refused_from: Option<String>,
    /// When one was refused last, RFC 3339 with milliseconds.
    pub(super) refused_to: Option<String>,
    /// How many types are shown as this one.
    pub(super) types: Option<usize>,
}

/// The flow from one node to another.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MapEdge)]
pub(super) struct EdgeJson {
    /// The node that it leaves.
    pub(super) from: String,
    /// The node that it reaches.
    pub(super) to: String,
    /// `received`, `routed`, `gathered` or `emitted`.
    pub(super) kind: &'static str,
    /// The pattern of the route, as written.
    pub(super) pattern: Option<String>,
    /// Events in the window; of `routed` attempts. Members of joins are not counted.
    pub(super) count: u64,
    /// The same a second.
    pub(super) per_s: f64,
    /// Attempts that failed.
    pub(super) failed: u64,
    /// About since when they failed, without an earlier burst; null if none did.
    pub(super) failed_from: Option<String>,
    /// About when one failed last, RFC 3339 with milliseconds.
    pub(super) failed_to: Option<String>,
    /// About when it was last used, RFC 3339 with milliseconds.
    pub(super) last_at: Option<String>,
}

/// Show what is configured and what flows: the map of this host.
#[utoipa::path(get, path = "/api/v1/map", tag = "health", params(MapQuery), responses(
    (status = 200, description = "Nodes and edges", body = MapJson),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn show_map(
    State(admin): State<Arc<Admin>>,
    Params(query): Params<MapQuery>,
) -> Result<Json<MapJson>, ProblemJson> {
    let (name, window) = query.window()?;
    let totals = admin.series.pairs().totals(window, admin.clock.now_ms());
    let mut graph = build::build(&admin, totals);
    if let Some(focus) = &query.focus {
        if !graph.nodes.contains_key(focus) {
            let hint = hint(focus, graph.nodes.keys().map(String::as_str));
            let focus: String = focus.chars().take(80).collect();
            let detail = format!(
                "`focus`: there is no `{focus}` on the map{hint}: write a kind and a name, such as plugin:NAME"
            );
            return Err(ProblemJson::bad_request(detail));
        }
        graph.focus(focus);
    }
    let folded = fold(&mut graph, MAX_NODES);
    let truncated = graph.cut(MAX_NODES);
    let seconds = f64::from(window.seconds());
    Ok(Json(MapJson {
        window: name,
        nodes: graph.nodes.into_iter().map(NodeJson::of).collect(),
        edges: graph.edges.into_iter().map(|edge| EdgeJson::of(edge, seconds)).collect(),
        folded,
        truncated,
    }))
}

/// Events of the last hour that no route takes.
#[derive(Debug, Default)]
pub(super) struct Unrouted {
    /// Their types, each with the number of its events.
    pub(super) types: BTreeMap<String, u64>,
    /// The minute in which the first of them came.
    pub(super) first_ms: Option<i64>,
    /// About when the last one came.
    pub(super) last_ms: Option<i64>,
}

/// Events of the last hour that no route takes.
pub(super) fn unrouted(admin: &Admin) -> Unrouted {
    let config = admin.config.load();
    let totals = admin.series.pairs().totals(PairWindow::Hour, admin.clock.now_ms());
    let mut found = Unrouted::default();
    for total in totals.iter().filter(|total| total.kind != PairKind::Handled && total.count > 0) {
        if !config.routes.takes(&build::source_of(total), &total.to) {
            *found.types.entry(total.to.to_string()).or_default() += total.count;
            found.first_ms = total.first_ms.into_iter().chain(found.first_ms).min();
            found.last_ms = found.last_ms.max(total.last_ms);
        }
    }
    found
}

impl NodeJson {
    fn of((id, node): (String, MapNode)) -> Self {
        let MapNode { kind, label, state, unrouted, refused, refusing, types } = node;
        let (refused_from, refused_to) = times(refusing);
        Self { id, kind, label, state, unrouted, refused, refused_from, refused_to, types }
    }
}

impl EdgeJson {
    fn of(((from, to), edge): ((String, String), MapEdge), seconds: f64) -> Self {
        let MapEdge { kind, pattern, count, failed, last_ms, failing } = edge;
        let per_s = (count as f64 / seconds * 1e4).round() / 1e4;
        let last_at = last_ms.map(rfc3339);
        let (failed_from, failed_to) = times(failing);
        Self { from, to, kind, pattern, count, per_s, failed, failed_from, failed_to, last_at }
    }
}

/// The beginning and the end of a burst, if there was one.
fn times(burst: Option<Burst>) -> (Option<String>, Option<String>) {
    burst.map(|burst| (rfc3339(burst.from_ms), rfc3339(burst.to_ms))).unzip()
}
