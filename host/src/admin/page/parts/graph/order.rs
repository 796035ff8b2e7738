//! The order within tiers: each node near the middle of those that it is connected with.

/// The times that the tiers are sorted, forth and back.
const SWEEPS: usize = 6;

/// A place in a tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// A node.
    Node(usize),
    /// An edge that passes through.
    Pass(usize),
}

impl Slot {
    pub(super) fn node(self) -> Option<usize> {
        match self {
            Self::Node(node) => Some(node),
            Self::Pass(_) => None,
        }
    }
}

/// A connection between places of neighbouring tiers.
type SlotPair = (Slot, Slot);

/// The tiers from left to right, each from top to bottom; the nodes `below` are the last of theirs.
pub(super) fn layers(
    tier: &[usize],
    below: &[usize],
    edges: &[((usize, usize), bool)],
) -> Vec<Vec<Slot>> {
    let count = tier.iter().max().map_or(0, |most| most + 1);
    let mut layers = vec![Vec::new(); count];
    for (node, tier) in tier.iter().enumerate() {
        layers[*tier].push(Slot::Node(node));
    }
    let mut links: Vec<Vec<SlotPair>> = vec![Vec::new(); count];
    for (edge, ((from, to), counts)) in edges.iter().enumerate() {
        if !counts {
            continue;
        }
        let mut last = Slot::Node(*from);
        for passed in tier[*from] + 1..tier[*to] {
            layers[passed].push(Slot::Pass(edge));
            links[passed - 1].push((last, Slot::Pass(edge)));
            last = Slot::Pass(edge);
        }
        links[tier[*to] - 1].push((last, Slot::Node(*to)));
    }
    let is_below = |slot: &Slot| slot.node().is_some_and(|node| below.contains(&node));
    layers.iter_mut().for_each(|layer| layer.sort_by_key(is_below));
    let mut best = layers.clone();
    for sweep in 0..SWEEPS {
        if sweep % 2 == 0 {
            for at in 1..count {
                let (left, right) = layers.split_at_mut(at);
                let towards = links[at - 1].iter().map(|(from, to)| (*to, *from));
                sort(&mut right[0], &left[at - 1], &towards.collect::<Vec<_>>());
                right[0].sort_by_key(is_below);
            }
        } else {
            for at in (1..count).rev() {
                let (left, right) = layers.split_at_mut(at);
                sort(&mut left[at - 1], &right[0], &links[at - 1]);
                left[at - 1].sort_by_key(is_below);
            }
        }
        if crossings(&layers, &links) < crossings(&best, &links) {
            best.clone_from(&layers);
        }
    }
    best
}

/// Sorts a tier by the mean place of each slot's neighbours in another one.
fn sort(tier: &mut [Slot], other: &[Slot], links: &[SlotPair]) {
    let place = |slot: &Slot| other.iter().position(|known| known == slot).unwrap_or_default();
    let mut means: Vec<(Slot, f64)> = Vec::with_capacity(tier.len());
    for (at, slot) in tier.iter().enumerate() {
        let near = links.iter().filter(|(own, _)| own == slot).map(|(_, other)| place(other));
        let (sum, count) = near.fold((0, 0), |(sum, count), place| (sum + place, count + 1));
        // One without neighbours there stays about where it is.
        let mean = if count == 0 { at as f64 } else { sum as f64 / f64::from(count) };
        means.push((*slot, mean));
    }
    means.sort_by(|(_, a), (_, b)| a.total_cmp(b));
    for (slot, (sorted, _)) in tier.iter_mut().zip(means) {
        *slot = sorted;
    }
}

/// The number of pairs of links that cross.
fn crossings(layers: &[Vec<Slot>], links: &[Vec<SlotPair>]) -> usize {
    let mut count = 0;
    for (at, links) in links.iter().enumerate() {
        let Some(right) = layers.get(at + 1) else { continue };
        let place = |tier: &[Slot], slot| tier.iter().position(|known| *known == slot);
        let ends: Vec<_> =
            links.iter().map(|(a, b)| (place(&layers[at], *a), place(right, *b))).collect();
        for (n, (a, b)) in ends.iter().enumerate() {
            let crosses =
                |(c, d): &&(Option<usize>, Option<usize>)| (a < c && b > d) || (a > c && b < d);
            count += ends[n + 1..].iter().filter(crosses).count();
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crossings_that_can_be_avoided_are() {
        let edges = [(0, 5), (1, 4), (2, 3)].map(|edge| (edge, true));
        let layers = layers(&[0, 0, 0, 1, 1, 1], &[], &edges);
        let nodes =
            |at: usize| layers[at].iter().filter_map(|slot| slot.node()).collect::<Vec<_>>();
        let partner = |node: &usize| 5 - node;
        assert_eq!(nodes(0).iter().map(partner).collect::<Vec<_>>(), nodes(1));
    }

    #[test]
    fn nodes_that_are_to_stand_below_do_and_the_others_are_ordered_around_them() {
        let edges = [(0, 3), (1, 4), (1, 5), (2, 6)].map(|edge| (edge, true));
        let layers = layers(&[0, 0, 0, 1, 1, 1, 1], &[3, 5], &edges);
        let nodes: Vec<_> = layers[1].iter().filter_map(|slot| slot.node()).collect();
        assert!(nodes[2..] == [3, 5] || nodes[2..] == [5, 3], "{nodes:?}");
        let sources: Vec<_> = layers[0].iter().filter_map(|slot| slot.node()).collect();
        assert_eq!(sources[0], 2, "the one that leads to none of them is at the top");
    }

    #[test]
    fn a_long_edge_has_a_place_in_each_tier_between() {
        let edges = [(0, 1), (1, 2), (0, 2)].map(|edge| (edge, true));
        let layers = layers(&[0, 1, 2], &[], &edges);
        assert!(layers[1].contains(&Slot::Pass(2)) && layers[1].contains(&Slot::Node(1)));
    }
}
