//! A layered drawing of a graph: nodes in tiers from left to right, edges as paths. Pure: the same
//! graph is drawn in the same way.
//!
//! `tiers` breaks cycles and gives each node a tier, `order` sorts the tiers so that few edges
//! cross; here both become coordinates. `labels` finds a free place for the label of an edge.

mod labels;
mod line;
mod order;
mod tiers;

pub(in crate::admin::page) use labels::LabelSize;
use line::{GraphLine, GraphPoint};
use order::Slot;

/// The height of a node.
pub(in crate::admin::page) const NODE_HEIGHT: i32 = 38;

/// The space between two nodes of a tier.
const ROW_GAP: i32 = 14;

/// The height of an edge that passes through a tier.
const PASS_HEIGHT: i32 = 10;

/// The space between two tiers.
const TIER_GAP: i32 = 80;

/// How much wider it is where several edges with labels begin: lines that begin together are apart
/// only in a part of it. It is the same for all labels, so that the map does not move with counts.
const LABELS_GAP: i32 = 36;

/// The length of the stub of a node that stands below the others, with its text.
const STUB: i32 = 76;

/// The space around the drawing.
const MARGIN: i32 = 8;

/// The space between two edges that run back below the nodes.
const BACK_GAP: i32 = 12;

/// A drawing.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(in crate::admin::page) struct GraphDrawing {
    pub(in crate::admin::page) width: i32,
    pub(in crate::admin::page) height: i32,
    /// In the order of the nodes.
    pub(in crate::admin::page) boxes: Vec<NodeBox>,
    /// In the order of the edges.
    pub(in crate::admin::page) routes: Vec<EdgeRoute>,
}

/// The place of a node.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(in crate::admin::page) struct NodeBox {
    pub(in crate::admin::page) x: i32,
    pub(in crate::admin::page) y: i32,
    pub(in crate::admin::page) width: i32,
}

/// The way of an edge.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(in crate::admin::page) struct EdgeRoute {
    /// The `d` of an SVG path.
    pub(in crate::admin::page) path: String,
    /// Points that stand for it.
    points: Vec<GraphPoint>,
    /// The place of the middle of its label.
    pub(in crate::admin::page) label: (i32, i32),
    /// Whether it closes a cycle, and runs back below the nodes.
    pub(in crate::admin::page) is_back: bool,
}

/// Draws nodes of these widths, each not left of its least tier, and edges between them by the
/// positions of their ends. The nodes `below` stand below the others of their tier, each with a
/// stub. `label` gives the size of the label of an edge, and is told whether it closes a cycle.
pub(in crate::admin::page) fn draw(
    widths: &[i32],
    least: &[usize],
    below: &[usize],
    edges: &[(usize, usize)],
    label: &dyn Fn(usize, bool) -> Option<LabelSize>,
) -> GraphDrawing {
    if widths.is_empty() {
        return GraphDrawing::default();
    }
    let back = tiers::closing(widths.len(), edges);
    let forward: Vec<_> = edges.iter().zip(&back).map(|(edge, back)| (*edge, !back)).collect();
    let tier = tiers::tiers(least, &forward);
    let layers = order::layers(&tier, below, &forward);
    let labels: Vec<_> = back.iter().enumerate().map(|(at, back)| label(at, *back)).collect();
    let labelled = |tier_of: usize| {
        let begins = |at: &usize| labels[*at].is_some() && !back[*at];
        (0..edges.len()).filter(begins).filter(|at| tier[edges[*at].0] == tier_of).count()
    };
    let wider = |tier: usize| if labelled(tier) > 1 { LABELS_GAP } else { 0 };
    let gaps: Vec<i32> = (0..layers.len()).map(|tier| TIER_GAP + wider(tier)).collect();
    let mut drawing = place(widths, &layers, &gaps);
    let bottom = drawing.boxes.iter().map(|node| node.y + NODE_HEIGHT).max().unwrap_or_default();
    let passes = passes(widths, &layers, &gaps, edges.len());
    let mut backs = 0;
    for (at, (from, to)) in edges.iter().enumerate() {
        let (from, to) = (drawing.boxes[*from], drawing.boxes[*to]);
        let route = if back[at] {
            backs += 1;
            back_route(from, to, bottom + BACK_GAP * backs)
        } else {
            forward_route(from, to, &passes[at])
        };
        drawing.routes.push(route);
    }
    drawing.height = bottom + MARGIN + if backs > 0 { BACK_GAP * (backs + 1) } else { 0 };
    let stub_end = |at: &usize| drawing.boxes[*at].x + drawing.boxes[*at].width + STUB;
    drawing.width = below.iter().map(stub_end).fold(drawing.width, i32::max);
    labels::place(&mut drawing, below, &labels);
    drawing
}

/// The beginnings of the tiers, and the width of the whole.
fn columns(widths: &[i32], layers: &[Vec<Slot>], gaps: &[i32]) -> (Vec<i32>, i32) {
    let (mut x, mut end) = (MARGIN, 0);
    let mut starts = Vec::with_capacity(layers.len());
    for (layer, gap) in layers.iter().zip(gaps) {
        starts.push(x);
        let nodes = layer.iter().filter_map(|slot| slot.node());
        end = x + nodes.map(|node| widths[node]).max().unwrap_or_default();
        x = end + gap;
    }
    (starts, end + MARGIN)
}

/// The top of each slot of a tier; tiers are centred beside each other.
fn rows(layers: &[Vec<Slot>]) -> Vec<Vec<i32>> {
    let height = |slot: &Slot| if slot.node().is_some() { NODE_HEIGHT } else { PASS_HEIGHT };
    let total = |layer: &Vec<Slot>| layer.iter().map(|slot| height(slot) + ROW_GAP).sum::<i32>();
    let highest = layers.iter().map(total).max().unwrap_or_default();
    let tops = layers.iter().map(|layer| {
        let mut y = MARGIN + (highest - total(layer)) / 2;
        let top = |slot| {
            let top = y;
            y += height(slot) + ROW_GAP;
            top
        };
        layer.iter().map(top).collect()
    });
    tops.collect()
}

fn place(widths: &[i32], layers: &[Vec<Slot>], gaps: &[i32]) -> GraphDrawing {
    let (starts, width) = columns(widths, layers, gaps);
    let mut boxes = vec![NodeBox::default(); widths.len()];
    for ((layer, x), tops) in layers.iter().zip(starts).zip(rows(layers)) {
        for (slot, y) in layer.iter().zip(tops) {
            if let Some(node) = slot.node() {
                boxes[node] = NodeBox { x, y, width: widths[node] };
            }
        }
    }
    GraphDrawing { width, height: 0, boxes, routes: Vec::new() }
}

/// Where each edge passes through tiers: the place in the middle of each.
fn passes(
    widths: &[i32],
    layers: &[Vec<Slot>],
    gaps: &[i32],
    edges: usize,
) -> Vec<Vec<(i32, i32, i32)>> {
    let (starts, _) = columns(widths, layers, gaps);
    let mut passes = vec![Vec::new(); edges];
    for ((layer, x), tops) in layers.iter().zip(starts).zip(rows(layers)) {
        let widest = layer.iter().filter_map(|slot| slot.node()).map(|node| widths[node]).max();
        for (slot, y) in layer.iter().zip(tops) {
            if let Slot::Pass(edge) = slot {
                passes[*edge].push((x, x + widest.unwrap_or_default(), y + PASS_HEIGHT / 2));
            }
        }
    }
    passes
}

fn forward_route(from: NodeBox, to: NodeBox, passes: &[(i32, i32, i32)]) -> EdgeRoute {
    let (mut x, mut y) = (from.x + from.width, from.y + NODE_HEIGHT / 2);
    let mut line = GraphLine::from((x, y));
    let end = (to.x, to.x, to.y + NODE_HEIGHT / 2);
    let mut label = None;
    for (enter, leave, at) in passes.iter().copied().chain([end]) {
        let middle = i32::midpoint(x, enter);
        line.curve([(middle, y), (middle, at), (enter, at)]);
        if leave > enter {
            line.across(leave);
        }
        label.get_or_insert((middle, i32::midpoint(y, at)));
        (x, y) = (leave, at);
    }
    let GraphLine { path, points } = line;
    EdgeRoute { path, points, label: label.unwrap_or_default(), is_back: false }
}

fn back_route(from: NodeBox, to: NodeBox, below: i32) -> EdgeRoute {
    let (x, y) = (from.x + from.width, from.y + NODE_HEIGHT / 2);
    let (right, left) = (x + TIER_GAP / 3, to.x - TIER_GAP / 3);
    let end = to.y + NODE_HEIGHT / 2;
    let mut line = GraphLine::from((x, y));
    line.curve([(right, y), (right, below), (x, below)]);
    line.across(to.x);
    line.curve([(left, below), (left, end), (to.x, end)]);
    let GraphLine { path, points } = line;
    EdgeRoute { path, points, label: (i32::midpoint(x, to.x), below), is_back: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A graph without any order to it.
    fn tangled(nodes: usize) -> (Vec<i32>, Vec<(usize, usize)>) {
        let widths = (0..nodes).map(|n| 60 + (n as i32 * 37) % 120).collect();
        let edges = (0..2 * nodes).map(|n| (n * 7 % nodes, (n * 13 + 5) % nodes));
        let mut edges: Vec<_> = edges.filter(|(a, b)| a != b).collect();
        edges.sort_unstable();
        edges.dedup();
        (widths, edges)
    }

    #[test]
    fn no_two_nodes_overlap_and_all_are_within_the_drawing() {
        for nodes in [1, 2, 7, 30, 60] {
            let (widths, edges) = tangled(nodes);
            let drawing = draw(&widths, &vec![0; widths.len()], &[], &edges, &|_, _| None);
            assert_eq!((drawing.boxes.len(), drawing.routes.len()), (nodes, edges.len()));
            for (at, a) in drawing.boxes.iter().enumerate() {
                assert!(a.x >= 0 && a.x + a.width <= drawing.width, "{a:?}");
                assert!(a.y >= 0 && a.y + NODE_HEIGHT <= drawing.height, "{a:?}");
                for b in &drawing.boxes[at + 1..] {
                    let apart = a.x + a.width <= b.x
                        || b.x + b.width <= a.x
                        || a.y + NODE_HEIGHT <= b.y
                        || b.y + NODE_HEIGHT <= a.y;
                    assert!(apart, "{a:?} {b:?}");
                }
            }
        }
    }

    #[test]
    fn the_same_graph_is_drawn_in_the_same_way() {
        let (widths, edges) = tangled(40);
        assert_eq!(
            draw(&widths, &vec![0; widths.len()], &[], &edges, &|_, _| None),
            draw(&widths, &vec![0; widths.len()], &[], &edges, &|_, _| None)
        );
    }

    #[test]
    fn edges_lead_to_the_right_unless_they_close_a_cycle() {
        let (widths, edges) = tangled(50);
        let drawing = draw(&widths, &vec![0; widths.len()], &[], &edges, &|_, _| None);
        for ((from, to), route) in edges.iter().zip(&drawing.routes) {
            let is_right = drawing.boxes[*from].x < drawing.boxes[*to].x;
            assert!(is_right || route.is_back, "{from} {to}");
        }
        let line = draw(&[50; 4], &[0; 4], &[], &[(0, 1), (1, 2), (2, 3), (3, 1)], &|_, _| None);
        let back: Vec<_> = line.routes.iter().map(|route| route.is_back).collect();
        assert_eq!(back, [false, false, false, true]);
        let below = line.boxes.iter().map(|node| node.y + NODE_HEIGHT).max().unwrap();
        assert!(line.routes[3].label.1 >= below && line.height > below, "{line:?}");
    }

    #[test]
    fn an_edge_over_several_tiers_passes_between_their_nodes() {
        let drawing = draw(&[50; 4], &[0; 4], &[], &[(0, 1), (1, 2), (2, 3), (0, 3)], &|_, _| None);
        assert_eq!(drawing.routes[3].path.matches('H').count(), 2, "{drawing:?}");
        let mut parts: Vec<_> = drawing.routes[3].path.split('H').collect();
        parts.pop();
        let last = |part: &&str| part.rsplit(' ').next().unwrap().parse::<i32>().unwrap();
        let passes: Vec<i32> = parts.iter().map(last).collect();
        for node in &drawing.boxes[1..3] {
            assert!(passes.iter().all(|y| *y < node.y || *y > node.y + NODE_HEIGHT), "{passes:?}");
        }
    }

    #[test]
    fn a_node_that_leads_to_itself_and_an_empty_graph_are_drawn() {
        assert!(draw(&[40], &[0], &[], &[(0, 0)], &|_, _| None).routes[0].is_back);
        assert_eq!(draw(&[], &[], &[], &[], &|_, _| None), GraphDrawing::default());
    }
}
