//! Tiers: the longest path to each node, over the edges that close no cycle.

use std::collections::VecDeque;

/// Which edges close a cycle: those that a search in depth finds to lead back. It begins at nodes
/// that nothing leads to.
pub(super) fn closing(nodes: usize, edges: &[(usize, usize)]) -> Vec<bool> {
    let mut leaving = vec![Vec::new(); nodes];
    let mut reached = vec![false; nodes];
    for (at, (from, to)) in edges.iter().enumerate() {
        leaving[*from].push(at);
        reached[*to] = true;
    }
    let mut closing = vec![false; edges.len()];
    let mut seen = vec![false; nodes];
    let mut on_path = vec![false; nodes];
    let mut starts: Vec<usize> = (0..nodes).collect();
    starts.sort_by_key(|node| reached[*node]);
    for start in starts {
        if seen[start] {
            continue;
        }
        (seen[start], on_path[start]) = (true, true);
        let mut path = vec![(start, 0)];
        while let Some((node, next)) = path.last_mut() {
            let Some(edge) = leaving[*node].get(*next).copied() else {
                on_path[*node] = false;
                path.pop();
                continue;
            };
            *next += 1;
            let to = edges[edge].1;
            if on_path[to] {
                closing[edge] = true;
            } else if !seen[to] {
                (seen[to], on_path[to]) = (true, true);
                path.push((to, 0));
            }
        }
    }
    closing
}

/// The tier of each node, at least that given; only edges that are marked count, and they form no
/// cycle. Tiers that no node is in are left out.
pub(super) fn tiers(least: &[usize], edges: &[((usize, usize), bool)]) -> Vec<usize> {
    let nodes = least.len();
    let counted = || edges.iter().filter(|(_, counts)| *counts).map(|(edge, _)| *edge);
    let mut leaving = vec![Vec::new(); nodes];
    let mut missing = vec![0_usize; nodes];
    for (from, to) in counted() {
        leaving[from].push(to);
        missing[to] += 1;
    }
    let mut tiers = least.to_vec();
    let mut ready: VecDeque<usize> = (0..nodes).filter(|node| missing[*node] == 0).collect();
    while let Some(node) = ready.pop_front() {
        for to in &leaving[node] {
            tiers[*to] = tiers[*to].max(tiers[node] + 1);
            missing[*to] -= 1;
            if missing[*to] == 0 {
                ready.push_back(*to);
            }
        }
    }
    let mut used = tiers.clone();
    used.sort_unstable();
    used.dedup();
    tiers.iter().map(|tier| used.partition_point(|known| known < tier)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_is_the_longest_path() {
        let edges = [(0, 1), (1, 2), (0, 2), (3, 2)].map(|edge| (edge, true));
        assert_eq!(tiers(&[0; 4], &edges), [0, 1, 2, 0]);
        assert_eq!(tiers(&[0, 0, 0, 1], &edges), [0, 1, 2, 1]);
        assert_eq!(tiers(&[3, 5], &[]), [0, 1]);
    }

    #[test]
    fn each_cycle_has_an_edge_that_closes_it() {
        let edges = [(0, 1), (1, 2), (2, 1), (2, 0), (3, 3)];
        let closing = closing(4, &edges);
        assert_eq!(closing, [false, false, true, true, true]);
        let rest: Vec<_> = edges.iter().zip(&closing).map(|(edge, back)| (*edge, !back)).collect();
        assert_eq!(tiers(&[0; 4], &rest), [0, 1, 2, 0]);
    }
}
