//! Labels of edges: each lies on the line of its edge, at the place nearest to the usual one where
//! no node, no other label and no other line is. If there is none, where the fewest are.

use super::line::GraphPoint;
use super::{EdgeRoute, GraphDrawing, NODE_HEIGHT, STUB};

/// The space around a label.
const CLEAR: i32 = 2;

/// The distance of two places of a line that are tried.
const STEP: i32 = 3;

/// The most labels that look for a free place: with more of them each stays at the usual one.
const MAX_PLACED: usize = 60;

/// The size of a label.
#[derive(Debug, Clone, Copy)]
pub(in crate::admin::page) struct LabelSize {
    pub(in crate::admin::page) width: i32,
    pub(in crate::admin::page) height: i32,
}

/// The area of a node or label.
#[derive(Debug, Clone, Copy)]
struct Covered {
    left: i32,
    top: i32,
    right: i32,
    bottom: i32,
}

impl Covered {
    fn label((x, y): GraphPoint, size: LabelSize) -> Self {
        let (width, height) = (size.width / 2 + CLEAR, size.height / 2 + CLEAR);
        Self { left: x - width, top: y - height, right: x + width, bottom: y + height }
    }

    /// The area around all points of a line.
    fn line(points: &[GraphPoint]) -> Self {
        let (x, y) = (points.iter().map(|(x, _)| *x), points.iter().map(|(_, y)| *y));
        Self {
            left: x.clone().min().unwrap_or_default(),
            top: y.clone().min().unwrap_or_default(),
            right: x.max().unwrap_or_default(),
            bottom: y.max().unwrap_or_default(),
        }
    }

    /// Whether a drawing of this size shows all of it.
    fn is_within(&self, width: i32, height: i32) -> bool {
        self.left >= 0 && self.top >= 0 && self.right <= width && self.bottom <= height
    }

    /// Whether it is beside the other one, and they have not even a border in common.
    fn is_beside(&self, other: &Self) -> bool {
        other.right < self.left
            || other.left > self.right
            || other.bottom < self.top
            || other.top > self.bottom
    }

    fn meets(&self, other: &Self) -> bool {
        self.left < other.right
            && other.left < self.right
            && self.top < other.bottom
            && other.top < self.bottom
    }

    /// Whether a straight piece of a line touches it.
    fn touches(&self, from: GraphPoint, to: GraphPoint) -> bool {
        // On which side of the piece a corner is.
        let side = |x: i32, y: i32| (to.0 - from.0) * (y - from.1) - (to.1 - from.1) * (x - from.0);
        let corners = [
            side(self.left, self.top),
            side(self.right, self.top),
            side(self.left, self.bottom),
            side(self.right, self.bottom),
        ];
        !self.is_beside(&Self::line(&[from, to]))
            && corners.iter().any(|side| *side >= 0)
            && corners.iter().any(|side| *side <= 0)
    }
}

/// Places the labels of a drawing, in the order of its edges. The nodes `below` have a stub.
pub(super) fn place(drawing: &mut GraphDrawing, below: &[usize], labels: &[Option<LabelSize>]) {
    if labels.iter().flatten().count() > MAX_PLACED {
        return;
    }
    let mut covered = Vec::with_capacity(drawing.boxes.len() + labels.len());
    for (at, node) in drawing.boxes.iter().enumerate() {
        let stub = if below.contains(&at) { STUB } else { 0 };
        let (right, bottom) = (node.x + node.width + stub, node.y + NODE_HEIGHT);
        covered.push(Covered { left: node.x, top: node.y, right, bottom });
    }
    let around: Vec<_> = drawing.routes.iter().map(|route| Covered::line(&route.points)).collect();
    for (edge, size) in labels.iter().enumerate() {
        let Some(size) = *size else { continue };
        let label = best(drawing, &around, (edge, size), &covered);
        drawing.routes[edge].label = label;
        covered.push(Covered::label(label, size));
    }
}

/// The best place for the label of an edge within the drawing; `around` has the areas of the lines.
fn best(
    drawing: &GraphDrawing,
    around: &[Covered],
    (edge, size): (usize, LabelSize),
    covered: &[Covered],
) -> GraphPoint {
    let routes = &drawing.routes;
    let usual = routes[edge].label;
    let mut places = places(&routes[edge].points);
    places.retain(|at| Covered::label(*at, size).is_within(drawing.width, drawing.height));
    places.sort_by_key(|(x, y)| x.abs_diff(usual.0) + y.abs_diff(usual.1));
    let (mut best, mut least) = (usual, (usize::MAX, usize::MAX));
    for at in places {
        let label = Covered::label(at, size);
        let near = |other: &usize| *other != edge && !label.is_beside(&around[*other]);
        let others = (0..routes.len()).filter(near).map(|other| &routes[other]);
        let is_on = |route: &&EdgeRoute| {
            route.points.windows(2).any(|piece| label.touches(piece[0], piece[1]))
        };
        let lines = others.filter(is_on).count();
        // A node would hide it, and two labels hide each other: a line only goes behind it.
        let hits = (covered.iter().filter(|other| label.meets(other)).count(), lines);
        if hits < least {
            (best, least) = (at, hits);
        }
        if hits == (0, 0) {
            break;
        }
    }
    best
}

/// Places along a line, close to each other.
fn places(points: &[GraphPoint]) -> Vec<GraphPoint> {
    let mut places = Vec::new();
    for piece in points.windows(2) {
        let (from, to) = (piece[0], piece[1]);
        let count = (from.0.abs_diff(to.0).max(from.1.abs_diff(to.1)) as i32) / STEP + 1;
        let along = |step| {
            let on = |from: i32, to: i32| from + (to - from) * step / count;
            (on(from.0, to.0), on(from.1, to.1))
        };
        places.extend((0..count).map(along));
    }
    places
}

#[cfg(test)]
mod tests {
    use super::super::draw;
    use super::*;

    const SMALL: LabelSize = LabelSize { width: 24, height: 13 };

    /// The nodes, labels and lines that the label of each edge lies on.
    fn overlaps(drawing: &GraphDrawing, labels: &[Option<LabelSize>]) -> Vec<usize> {
        let size =
            |edge: usize| labels[edge].map(|size| Covered::label(drawing.routes[edge].label, size));
        let nodes: Vec<Covered> = drawing
            .boxes
            .iter()
            .map(|node| Covered {
                left: node.x,
                top: node.y,
                right: node.x + node.width,
                bottom: node.y + NODE_HEIGHT,
            })
            .collect();
        let count = |edge: usize| {
            let Some(label) = size(edge) else { return 0 };
            assert!(label.is_within(drawing.width, drawing.height), "{label:?} {drawing:?}");
            let others = || (0..labels.len()).filter(|other| *other != edge);
            let is_on = |other: &usize| {
                let pieces = drawing.routes[*other].points.windows(2);
                pieces.into_iter().any(|piece| label.touches(piece[0], piece[1]))
            };
            let beneath = others().filter_map(size).filter(|other| label.meets(other)).count();
            nodes.iter().filter(|node| label.meets(node)).count()
                + beneath
                + others().filter(is_on).count()
        };
        (0..labels.len()).map(count).collect()
    }

    #[test]
    fn labels_of_edges_that_cross_lie_on_no_other_line_and_not_on_each_other() {
        let edges = [(0, 2), (0, 3), (1, 2), (1, 3)];
        let labels = [Some(SMALL); 4];
        let drawing = draw(&[100; 4], &[0, 0, 1, 1], &[], &edges, &|edge, _| labels[edge]);
        assert_eq!(overlaps(&drawing, &labels), [0; 4], "{drawing:?}");
    }

    #[test]
    fn labels_of_edges_that_spread_or_meet_lie_on_no_other_line() {
        for spreads in [true, false] {
            let edge = |n| if spreads { (0, n) } else { (n, 0) };
            let edges: Vec<_> = (1..=5).map(edge).collect();
            let least = [[usize::from(!spreads)].as_slice(), &[usize::from(spreads); 5]].concat();
            let labels = [Some(SMALL); 5];
            let drawing = draw(&[100; 6], &least, &[], &edges, &|edge, _| labels[edge]);
            assert_eq!(overlaps(&drawing, &labels), [0; 5], "{drawing:?}");
        }
    }

    #[test]
    fn labels_of_edges_that_run_back_have_a_line_of_their_own() {
        let edges = [(0, 1), (1, 2), (2, 0), (2, 1), (1, 0)];
        let labels = [None, None, Some(SMALL), Some(SMALL), Some(SMALL)];
        let drawing = draw(&[100; 3], &[0; 3], &[], &edges, &|edge, _| labels[edge]);
        assert!(drawing.routes[2..].iter().all(|route| route.is_back), "{drawing:?}");
        assert_eq!(overlaps(&drawing, &labels), [0; 5], "{drawing:?}");
    }

    #[test]
    fn labels_without_a_free_place_hide_each_other_as_little_as_nodes_hide_them() {
        let edges: Vec<_> = (0..3).flat_map(|from| (3..6).map(move |to| (from, to))).collect();
        let large = LabelSize { width: 66, height: 26 };
        let labels: Vec<_> = (0..9).map(|edge| (edge % 4 == 0).then_some(large)).collect();
        let drawing = draw(&[100; 6], &[0, 0, 0, 1, 1, 1], &[], &edges, &|edge, _| labels[edge]);
        let placed = [0, 4, 8].map(|edge: usize| Covered::label(drawing.routes[edge].label, large));
        let (left, right) = (drawing.boxes[0].x + drawing.boxes[0].width, drawing.boxes[3].x);
        for (at, label) in placed.iter().enumerate() {
            assert!(label.left >= left && label.right <= right, "{drawing:?}");
            assert!(label.is_within(drawing.width, drawing.height), "{drawing:?}");
            assert!(!placed[at + 1..].iter().any(|other| label.meets(other)), "{drawing:?}");
        }
    }

    /// A drawing of this many edges on one line, with their usual places at its beginning.
    fn alike(edges: usize) -> GraphDrawing {
        let points = vec![(5, 50), (195, 50)];
        let route = EdgeRoute { points, label: (5, 50), ..EdgeRoute::default() };
        GraphDrawing { width: 200, height: 100, boxes: Vec::new(), routes: vec![route; edges] }
    }

    #[test]
    fn a_label_at_the_border_is_moved_into_the_drawing() {
        let mut drawing = alike(1);
        place(&mut drawing, &[], &[Some(SMALL)]);
        let label = drawing.routes[0].label;
        assert!(Covered::label(label, SMALL).is_within(200, 100), "{label:?}");
        assert!(label.0 < 14 + STEP && label.1 == 50, "near the usual place: {label:?}");
        assert!(!Covered::label((5, 50), SMALL).is_within(200, 100));
        assert!(!Covered::label((50, 95), SMALL).is_within(200, 100));
    }

    #[test]
    fn where_there_are_very_many_labels_they_stay_at_their_usual_places() {
        for (count, stay) in [(MAX_PLACED, false), (MAX_PLACED + 1, true)] {
            let mut drawing = alike(count);
            place(&mut drawing, &[], &vec![Some(SMALL); count]);
            assert_eq!(drawing == alike(count), stay, "{count}");
        }
    }

    #[test]
    fn a_piece_of_a_line_touches_what_it_goes_through() {
        let label = Covered::label((50, 50), SMALL);
        assert!(label.touches((0, 50), (100, 50)), "from side to side");
        assert!(label.touches((0, 0), (100, 100)) && label.touches((50, 50), (51, 51)));
        assert!(!label.touches((0, 60), (100, 60)), "below it");
        assert!(!label.touches((0, 70), (80, 95)), "beside it");
        assert!(!label.touches((30, 44), (46, 28)), "past its corner");
    }
}
