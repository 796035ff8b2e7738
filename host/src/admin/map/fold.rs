//! Types of one prefix as one node, where there are too many.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::graph::{MapEdge, MapGraph, MapNode};

/// Folds the largest groups of types of one prefix until `most` nodes are left, if that is
/// possible; how many types were folded.
pub(super) fn fold(graph: &mut MapGraph, most: usize) -> usize {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (id, node) in graph.nodes.iter().filter(|(_, node)| node.kind == "type") {
        let prefix = node.label.split(['.', '/', ':']).next().unwrap_or_default();
        groups.entry(prefix.to_owned()).or_default().push(id.clone());
    }
    let mut groups: Vec<_> = groups.into_iter().filter(|(_, ids)| ids.len() > 1).collect();
    groups.sort_by_key(|(_, ids)| Reverse(ids.len()));
    let mut folded = 0;
    for (prefix, ids) in groups {
        if graph.nodes.len() <= most {
            break;
        }
        folded += ids.len();
        fold_group(graph, &prefix, &ids);
    }
    folded
}

fn fold_group(graph: &mut MapGraph, prefix: &str, ids: &[String]) {
    let unrouted = ids.iter().any(|id| graph.nodes.get(id).is_some_and(|node| node.unrouted));
    graph.nodes.retain(|id, _| !ids.contains(id));
    let id = graph.node("type", &format!("{prefix}.*"));
    if let Some(node) = graph.nodes.get_mut(&id) {
        *node = MapNode { unrouted, types: Some(ids.len()), ..node.clone() };
    }
    let all = std::mem::take(&mut graph.edges);
    let place = |end: String| if ids.contains(&end) { id.clone() } else { end };
    for ((from, to), edge) in all {
        let sum = graph.edge(&place(from), &place(to), edge.kind);
        sum.add(&edge);
        // Several patterns are none.
        let MapEdge { pattern, count, .. } = edge;
        let is_first = sum.count == count && sum.pattern.is_none();
        sum.pattern = pattern.filter(|pattern| is_first || sum.pattern.as_ref() == Some(pattern));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(graph: &mut MapGraph, prefix: &str, count: usize) {
        let source = graph.node("source", "acme");
        for n in 0..count {
            let id = graph.node("type", &format!("{prefix}.t{n}"));
            let seen =
                MapEdge { count: 2, failed: 1, last_ms: Some(n as i64), ..MapEdge::default() };
            graph.edge(&source, &id, "received").add(&seen);
        }
    }

    #[test]
    fn the_largest_groups_are_folded_until_it_fits() {
        let mut graph = MapGraph::default();
        types(&mut graph, "order", 40);
        types(&mut graph, "video", 15);
        types(&mut graph, "user", 10);
        assert_eq!(fold(&mut graph, 60), 40);
        assert_eq!(graph.nodes.len(), 27);
        let node = &graph.nodes["type:order.*"];
        assert_eq!((node.types, node.label.as_str()), (Some(40), "order.*"));
        let edge = &graph.edges[&("source:acme".to_owned(), "type:order.*".to_owned())];
        assert_eq!((edge.count, edge.failed, edge.last_ms), (80, 40, Some(39)));
    }

    #[test]
    fn what_fits_is_not_folded() {
        let mut graph = MapGraph::default();
        types(&mut graph, "order", 59);
        assert_eq!(fold(&mut graph, 60), 0);
        assert_eq!(graph.nodes.len(), 60);
    }

    #[test]
    fn types_that_have_nothing_in_common_stay() {
        let mut graph = MapGraph::default();
        for n in 0..70 {
            types(&mut graph, &format!("p{n}"), 1);
        }
        assert_eq!(fold(&mut graph, 60), 0);
        assert!(graph.cut(60));
        assert_eq!(graph.nodes.len(), 60);
    }
}
