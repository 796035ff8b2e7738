//! Nodes and edges by their ids, and the parts of a graph that are shown.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::series::{Burst, PairTotal};

/// Steps around the node that is in focus.
const FOCUS_STEPS: usize = 2;

/// A part of the host, or a type of events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct MapNode {
    pub(super) kind: &'static str,
    pub(super) label: String,
    pub(super) state: Option<&'static str>,
    pub(super) unrouted: bool,
    pub(super) refused: u64,
    /// When the newest of these were refused.
    pub(super) refusing: Option<Burst>,
    /// How many types are shown as this one.
    pub(super) types: Option<usize>,
}

/// The flow from one node to another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct MapEdge {
    pub(super) kind: &'static str,
    pub(super) pattern: Option<String>,
    pub(super) count: u64,
    pub(super) failed: u64,
    pub(super) last_ms: Option<i64>,
    /// When the newest attempts failed.
    pub(super) failing: Option<Burst>,
}

/// Nodes by id, and edges by the ids of their ends.
#[derive(Debug, Default)]
pub(super) struct MapGraph {
    pub(super) nodes: BTreeMap<String, MapNode>,
    pub(super) edges: BTreeMap<(String, String), MapEdge>,
}

impl MapGraph {
    /// The id of a node, which is made if it is new.
    pub(super) fn node(&mut self, kind: &'static str, name: &str) -> String {
        let id = format!("{kind}:{name}");
        let new = || MapNode { kind, label: name.to_owned(), ..MapNode::default() };
        self.nodes.entry(id.clone()).or_insert_with(new);
        id
    }

    /// An edge, which is made if it is new.
    pub(super) fn edge(&mut self, from: &str, to: &str, kind: &'static str) -> &mut MapEdge {
        let edge = self.edges.entry((from.to_owned(), to.to_owned()));
        edge.or_insert_with(|| MapEdge { kind, ..MapEdge::default() })
    }

    /// Keeps what is at most two steps from a node.
    pub(super) fn focus(&mut self, id: &str) {
        let mut kept = BTreeSet::from([id.to_owned()]);
        for _ in 0..FOCUS_STEPS {
            let ends = self.edges.keys().filter(|(a, b)| kept.contains(a) || kept.contains(b));
            let near: Vec<_> = ends.flat_map(|(a, b)| [a.clone(), b.clone()]).collect();
            kept.extend(near);
        }
        self.keep(&kept);
    }

    /// Leaves the least busy nodes out, so that `most` are left; whether there were more.
    pub(super) fn cut(&mut self, most: usize) -> bool {
        if self.nodes.len() <= most {
            return false;
        }
        let mut busy: BTreeMap<&str, u64> = BTreeMap::new();
        for ((from, to), edge) in &self.edges {
            for end in [from, to] {
                *busy.entry(end).or_default() += edge.count.max(1);
            }
        }
        let mut ids: Vec<_> = self.nodes.keys().cloned().collect();
        ids.sort_by_key(|id| Reverse(busy.get(id.as_str()).copied().unwrap_or_default()));
        let kept = ids.into_iter().take(most).collect();
        self.keep(&kept);
        true
    }

    fn keep(&mut self, kept: &BTreeSet<String>) {
        self.nodes.retain(|id, _| kept.contains(id));
        self.edges.retain(|(from, to), _| kept.contains(from) && kept.contains(to));
    }
}

impl MapEdge {
    /// Adds what another edge between the same nodes did.
    pub(super) fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.failed += other.failed;
        self.last_ms = self.last_ms.max(other.last_ms);
        self.failing = Burst::newest(self.failing, other.failing);
    }

    /// Adds what a pair did.
    pub(super) fn add_total(&mut self, total: &PairTotal) {
        let PairTotal { count, failed, last_ms, failing, .. } = *total;
        self.add(&Self { count, failed, last_ms, failing, ..Self::default() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(names: &[&str]) -> MapGraph {
        let mut graph = MapGraph::default();
        let ids: Vec<_> = names.iter().map(|name| graph.node("type", name)).collect();
        for (at, pair) in ids.windows(2).enumerate() {
            graph.edge(&pair[0], &pair[1], "routed").count = 10 * at as u64;
        }
        graph
    }

    fn labels(graph: &MapGraph) -> Vec<&str> {
        graph.nodes.values().map(|node| node.label.as_str()).collect()
    }

    #[test]
    fn the_focus_shows_two_steps_around_a_node() {
        let mut graph = chain(&["a", "b", "c", "d", "e", "f"]);
        graph.focus("type:c");
        assert_eq!(labels(&graph), ["a", "b", "c", "d", "e"]);
        assert_eq!(graph.edges.len(), 4);
    }

    #[test]
    fn what_is_least_busy_is_left_out() {
        let mut graph = chain(&["a", "b", "c", "d"]);
        assert!(!graph.cut(4));
        assert!(graph.cut(2));
        assert_eq!(labels(&graph), ["c", "d"]);
        assert_eq!(graph.edges.len(), 1);
    }
}
