//! Lines: each as an SVG path, and as points that stand for it where labels are placed.

use std::fmt::Write as _;

/// A position in the drawing, to the right and down.
pub(super) type GraphPoint = (i32, i32);

/// The straight pieces that stand for a curve.
const PIECES: i32 = 12;

/// A line that is being drawn.
#[derive(Debug)]
pub(super) struct GraphLine {
    /// The `d` of an SVG path.
    pub(super) path: String,
    /// Its beginning, and the end of each straight piece.
    pub(super) points: Vec<GraphPoint>,
}

impl GraphLine {
    pub(super) fn from((x, y): GraphPoint) -> Self {
        Self { path: format!("M{x} {y}"), points: vec![(x, y)] }
    }

    fn end(&self) -> GraphPoint {
        self.points.last().copied().unwrap_or_default()
    }

    /// Goes on with a cubic curve: its two control points, and its end.
    pub(super) fn curve(&mut self, [first, second, end]: [GraphPoint; 3]) {
        // Writing to a string cannot fail.
        let _ = write!(
            self.path,
            "C{} {} {} {} {} {}",
            first.0, first.1, second.0, second.1, end.0, end.1
        );
        let start = self.end();
        for piece in 1..=PIECES {
            let part = f64::from(piece) / f64::from(PIECES);
            let at = |four: [i32; 4]| on_curve(four, part);
            let x = at([start.0, first.0, second.0, end.0]);
            self.points.push((x, at([start.1, first.1, second.1, end.1])));
        }
    }

    /// Goes on straight to the right or to the left.
    pub(super) fn across(&mut self, x: i32) {
        // Writing to a string cannot fail.
        let _ = write!(self.path, "H{x}");
        self.points.push((x, self.end().1));
    }
}

/// One coordinate of a cubic curve, `part` of it from its beginning.
fn on_curve(points: [i32; 4], part: f64) -> i32 {
    let rest = 1.0 - part;
    let weights = [rest.powi(3), 3.0 * rest * rest * part, 3.0 * rest * part * part, part.powi(3)];
    let sum: f64 = points.into_iter().zip(weights).map(|(at, weight)| f64::from(at) * weight).sum();
    sum.round() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_follow_the_path() {
        let mut line = GraphLine::from((0, 0));
        line.curve([(40, 0), (40, 60), (80, 60)]);
        line.across(100);
        assert_eq!(line.path, "M0 0C40 0 40 60 80 60H100");
        assert_eq!(line.points.len(), 14);
        assert_eq!(
            (line.points[6], line.points[12], line.points[13]),
            ((40, 30), (80, 60), (100, 60))
        );
    }
}
