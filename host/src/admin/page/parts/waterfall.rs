//! The waterfall: one axis of time for an event and all that followed, on which long waits are cut.
//!
//! Positions are in percent, so that a drawing has any width and its letters keep their shape.

use super::html::Html;
use super::stretches::{Piece, place, stretches};
use crate::text::duration;

/// A gap between bars that is so many times longer than their median is cut.
const LONG_GAP: f64 = 10.0;

/// The most cuts of an axis: the longest gaps. More could not be told apart.
const MAX_CUTS: usize = 8;

/// The room that the length of a wait takes, in percent.
const WAIT_LABEL_PART: f64 = 7.0;

/// Bars shorter than this take as much room, in percent.
const LEAST_WIDTH: f64 = 0.5;

/// The width of a character, in percent.
const CHAR_PART: f64 = 1.2;

/// A cut is hatched: it is no part of the axis.
const HATCH: &str = "<defs><pattern id=\"cut\" width=\"6\" height=\"6\" \
                     patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
                     <path class=\"hatch\" d=\"M0 0V6\"/></pattern></defs>";

/// The parts of a drawing: class, width and height of a sample, and its meaning.
pub(in crate::admin::page) const LEGEND: [(&str, u32, u32, &str); 6] = [
    ("b-came", 5, 12, "an event was stored"),
    ("b-wait", 26, 6, "waited"),
    ("b-ok", 16, 12, "attempt that succeeded"),
    ("b-bad", 16, 12, "failed: r retry, x reject, t trap, z timeout, m memory, e error, c crash"),
    ("b-call", 16, 4, "HTTP request"),
    ("cut", 26, 12, "// a long wait, cut out of the axis: its length is written in it"),
];

/// How a bar is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::admin::page) enum BarKind {
    /// An event came in or was emitted.
    Came,
    /// An attempt, with its outcome.
    Attempt(&'static str),
    /// A wait.
    Wait,
    /// An HTTP request of an attempt.
    Call,
}

/// Something on the axis, in milliseconds after the root.
#[derive(Debug, Clone)]
pub(in crate::admin::page) struct Bar {
    pub(in crate::admin::page) kind: BarKind,
    pub(in crate::admin::page) from_ms: f64,
    pub(in crate::admin::page) to_ms: f64,
    /// Its meaning, in words.
    pub(in crate::admin::page) title: String,
    /// Where it leads.
    pub(in crate::admin::page) path: Option<String>,
}

/// The axis.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::admin::page) struct Axis {
    pieces: Vec<Piece>,
}

impl Axis {
    /// The axis on which these bars lie; waits do not count, they span what lies between, and
    /// requests are parts of attempts.
    pub(in crate::admin::page) fn of<'b>(bars: impl IntoIterator<Item = &'b Bar>) -> Self {
        let counts = |bar: &&Bar| !matches!(bar.kind, BarKind::Wait | BarKind::Call);
        let mut spans: Vec<(f64, f64)> =
            bars.into_iter().filter(counts).map(|bar| (bar.from_ms, bar.to_ms)).collect();
        spans.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut lengths: Vec<f64> = spans.iter().map(|(from, to)| to - from).collect();
        lengths.retain(|length| *length > 0.0);
        lengths.sort_by(f64::total_cmp);
        let median = lengths.get(lengths.len() / 2).copied().unwrap_or(1.0);
        let long = LONG_GAP * median;
        let mut gaps: Vec<f64> = stretches(&spans, long)
            .into_iter()
            .filter_map(|(from, to, is_cut)| is_cut.then_some(to - from))
            .collect();
        gaps.sort_by(|a, b| b.total_cmp(a));
        let long = gaps.get(MAX_CUTS).copied().unwrap_or(long);
        Self { pieces: place(stretches(&spans, long)) }
    }

    /// Where a time lies, in percent.
    pub(in crate::admin::page) fn at(&self, ms: f64) -> f64 {
        let piece = self.pieces.iter().find(|piece| ms <= piece.to_ms);
        let Some(piece) = piece.or(self.pieces.last()) else { return 0.0 };
        let length = piece.to_ms - piece.from_ms;
        let part = if length > 0.0 { (ms - piece.from_ms) / length } else { 0.0 };
        (piece.left + part.clamp(0.0, 1.0) * (piece.right - piece.left)).min(100.0)
    }

    /// The head of the axis: the times at which its pieces begin and end, and its cuts.
    pub(in crate::admin::page) fn head(&self) -> Html {
        let mut html = Html::default();
        html.raw("<svg class=\"ticks\" width=\"100%\" height=\"18\" aria-hidden=\"true\">")
            .raw(HATCH);
        let mut free = 0.0;
        for (at, piece) in self.pieces.iter().enumerate() {
            if piece.is_cut {
                let (left, width) = (piece.left, piece.right - piece.left);
                html.raw(cut(left, width));
                let (text, begin) = cut_label(piece);
                if begin >= free {
                    tick(&mut html, (piece.left + piece.right) / 2.0, "middle", &text);
                    free = begin + width_of(&text);
                }
            } else if piece.left >= free {
                let text = duration(piece.from_ms);
                // The length of a cut goes before the time at which a piece begins.
                let next = self.pieces.get(at + 1).map_or(f64::MAX, |next| cut_label(next).1);
                if piece.left + width_of(&text) > next {
                    continue;
                }
                let is_at_end = piece.left + width_of(&text) > 100.0;
                match is_at_end {
                    true => tick(&mut html, 100.0, "end", &text),
                    false => tick(&mut html, piece.left, "start", &text),
                }
                free = if is_at_end { 100.0 } else { piece.left + width_of(&text) };
            }
        }
        if let Some(last) = self.pieces.last().filter(|last| !last.is_cut) {
            let text = duration(last.to_ms);
            if free + width_of(&text) <= 100.0 {
                tick(&mut html, 100.0, "end", &text);
            }
        }
        html.raw("</svg>");
        html
    }

    /// The bars of one row.
    pub(in crate::admin::page) fn row(&self, bars: &[Bar]) -> Html {
        let mut html = Html::default();
        html.raw("<svg width=\"100%\" height=\"18\" role=\"group\">");
        for piece in self.pieces.iter().filter(|piece| piece.is_cut) {
            let (left, width) = (piece.left, piece.right - piece.left);
            html.raw(cut(left, width));
        }
        for bar in bars {
            self.bar(bar, &mut html);
        }
        // Letters and lengths lie above all bars.
        for bar in bars {
            self.label(bar, &mut html);
        }
        html.raw("</svg>");
        html
    }

    /// Where a bar begins, and its width, in percent.
    fn place(&self, bar: &Bar) -> (f64, f64) {
        let (left, right) = (self.at(bar.from_ms), self.at(bar.to_ms));
        let width = (right - left).max(LEAST_WIDTH);
        (left.min(100.0 - width), width)
    }

    /// The length of a wait or an attempt where there is room, and the letter of one that failed.
    fn label(&self, bar: &Bar, html: &mut Html) {
        let (left, width) = self.place(bar);
        match bar.kind {
            BarKind::Wait if width >= WAIT_LABEL_PART => {
                let text = duration(bar.to_ms - bar.from_ms);
                tick(html, left + width / 2.0, "middle", &text);
            }
            // The letter stands behind the bar, so that the shortest one can be read.
            BarKind::Attempt(outcome) => {
                let text = duration(bar.to_ms - bar.from_ms);
                if width >= width_of(&text) {
                    tick(html, left + width / 2.0, "middle", &text);
                }
                if let Some(letter) = letter(outcome) {
                    tick(html, (left + width + 0.2).min(98.5), "start", letter);
                }
            }
            _ => {}
        }
    }

    fn bar(&self, bar: &Bar, html: &mut Html) {
        let (left, width) = self.place(bar);
        if let Some(path) = &bar.path {
            html.raw("<a href=\"").text(path).raw("\" aria-label=\"").text(&bar.title).raw("\">");
        }
        let (class, y, height) = match bar.kind {
            BarKind::Came => ("b-came", 3, 12),
            BarKind::Wait => ("b-wait", 6, 6),
            BarKind::Call => ("b-call", 13, 4),
            BarKind::Attempt("ok") => ("b-ok", 2, 14),
            BarKind::Attempt("again") => ("b-again", 2, 14),
            BarKind::Attempt(_) => ("b-bad", 2, 14),
        };
        html.raw(format_args!(
            "<rect class=\"{class}\" x=\"{left:.2}%\" y=\"{y}\" width=\"{width:.2}%\" height=\"{height}\"><title>"
        ))
        .text(&bar.title)
        .raw("</title></rect>");
        if bar.path.is_some() {
            html.raw("</a>");
        }
    }
}

/// The label of a cut, and where it begins in percent.
fn cut_label(piece: &Piece) -> (String, f64) {
    let text = format!("// {}", duration(piece.to_ms - piece.from_ms));
    let begin = (piece.left + piece.right - width_of(&text)) / 2.0;
    (text, begin)
}

/// A cut in a row or in the head, in percent.
fn cut(left: f64, width: f64) -> String {
    format!(
        "<rect class=\"cut\" fill=\"url(#cut)\" x=\"{left:.2}%\" width=\"{width:.2}%\" height=\"18\"/>"
    )
}

/// A letter for an outcome that is no success.
fn letter(outcome: &str) -> Option<&'static str> {
    Some(match outcome {
        "retry" => "r",
        "reject" => "x",
        "trap" => "t",
        "timeout" => "z",
        "memory" => "m",
        "error" => "e",
        "crash" => "c",
        _ => return None,
    })
}

/// The width of a text on the axis, in percent.
fn width_of(text: &str) -> f64 {
    text.chars().count() as f64 * CHAR_PART
}

fn tick(html: &mut Html, x: f64, anchor: &str, text: &str) {
    html.raw(format_args!("<text x=\"{x:.2}%\" y=\"12\" text-anchor=\"{anchor}\">"))
        .text(text)
        .raw("</text>");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(kind: BarKind, from_ms: f64, to_ms: f64) -> Bar {
        Bar { kind, from_ms, to_ms, title: "attempt <1>".to_owned(), path: Some("#a".to_owned()) }
    }

    #[test]
    fn a_millisecond_and_an_hour_are_both_readable() {
        let bars = [
            bar(BarKind::Attempt("trap"), 0.0, 1.0),
            bar(BarKind::Wait, 1.0, 3_600_000.0),
            bar(BarKind::Attempt("ok"), 3_600_000.0, 3_600_001.0),
        ];
        let axis = Axis::of(&bars);
        let cuts: Vec<_> = axis.pieces.iter().filter(|piece| piece.is_cut).collect();
        assert_eq!(cuts.len(), 1);
        assert_eq!((cuts[0].from_ms, cuts[0].to_ms), (1.0, 3_600_000.0));
        assert!(axis.at(1.0) > 40.0 && axis.at(3_600_000.0) < 60.0, "{axis:?}");
        assert_eq!((axis.at(-5.0), axis.at(1e9)), (0.0, 100.0));
        let head = axis.head().to_string();
        assert!(head.contains("// 1.00 h"), "{head}");
    }

    #[test]
    fn a_long_wait_between_short_attempts_is_broader_than_they_are_and_says_its_length() {
        let mut bars = Vec::new();
        for n in 0..4 {
            let at = f64::from(n) * 30_000.0;
            bars.push(bar(BarKind::Attempt("retry"), at, at + 3.0));
            bars.push(bar(BarKind::Wait, at + 3.0, at + 30_000.0));
        }
        bars.pop();
        let axis = Axis::of(&bars);
        let width = |from, to| axis.at(to) - axis.at(from);
        assert!(width(3.0, 30_000.0) > 1.5 * width(0.0, 3.0), "{axis:?}");
        let row = axis.row(&bars).to_string();
        assert_eq!(row.matches(">30.0 s</text>").count(), 3, "{row}");
        assert_eq!(row.matches(">3 ms</text>").count(), 4, "an attempt says its own: {row}");
        let head = axis.head().to_string();
        assert!(head.contains("text-anchor=\"start\">90 s<"), "it is not cut off: {head}");
        let letter = row.find(">r</text>").unwrap();
        assert!(row.rfind("<rect").unwrap() < letter, "no bar hides a letter: {row}");
    }

    #[test]
    fn a_short_gap_is_not_cut_and_the_axis_is_true() {
        let bars =
            [bar(BarKind::Attempt("ok"), 0.0, 10.0), bar(BarKind::Attempt("ok"), 90.0, 100.0)];
        let axis = Axis::of(&bars);
        assert!(axis.pieces.iter().all(|piece| !piece.is_cut));
        assert!((axis.at(50.0) - 50.0).abs() < 1e-9, "{axis:?}");
    }

    #[test]
    fn of_many_gaps_the_longest_are_cut_and_no_label_covers_another() {
        let bars: Vec<_> = (0..40)
            .map(|n| {
                let at = f64::from(n * n) * 20.0;
                bar(BarKind::Attempt("ok"), at, at + 1.0)
            })
            .collect();
        let axis = Axis::of(&bars);
        let cuts: Vec<_> = axis.pieces.iter().filter(|piece| piece.is_cut).collect();
        assert_eq!(cuts.len(), MAX_CUTS);
        assert!(cuts.iter().all(|cut| cut.to_ms - cut.from_ms > 1_200.0), "{cuts:?}");
        let head = axis.head().to_string();
        let at = |text: &str| text.split_once('%').unwrap().0.parse::<f64>().unwrap();
        let places: Vec<f64> = head.split("<text x=\"").skip(1).map(at).collect();
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= 3.0), "{head}");
        assert!(head.matches("// ").count() > 2, "{head}");
    }

    #[test]
    fn positions_grow_with_time_and_stay_within_the_axis() {
        let starts = [0.0, 3.0, 500.0, 500.0, 90_000.0, 91_000.0, 1e7];
        let bars: Vec<_> =
            starts.iter().map(|at| bar(BarKind::Attempt("retry"), *at, at + 2.0)).collect();
        let axis = Axis::of(&bars);
        let mut last = 0.0;
        for ms in [0.0, 1.0, 4.0, 250.0, 501.0, 45_000.0, 90_500.0, 5e6, 1e7 + 2.0] {
            let at = axis.at(ms);
            assert!(at >= last && at <= 100.0 + 1e-9, "{ms}: {at} after {last}");
            last = at;
        }
    }

    #[test]
    fn nothing_and_no_time_at_all_can_be_drawn() {
        assert_eq!(Axis::of(&[]).at(5.0), 0.0);
        let came = [bar(BarKind::Came, 0.0, 0.0)];
        let row = Axis::of(&came).row(&came).to_string();
        assert!(row.contains("width=\"0.50%\"") && !row.contains("NaN"), "{row}");
    }

    #[test]
    fn every_bar_is_a_link_with_its_words() {
        let mut bars = vec![bar(BarKind::Attempt("trap"), 0.0, 1.0)];
        let axis = Axis::of(&bars);
        bars.push(Bar { path: None, ..bar(BarKind::Call, 0.5, 9.0) });
        assert_eq!(Axis::of(&bars), axis, "a request makes no room for itself");
        let row = axis.row(&bars).to_string();
        assert!(
            row.contains("<rect class=\"b-call\" x=\"50.00%\"") && row.matches("<a ").count() == 1
        );
        assert!(row.contains("<a href=\"#a\" aria-label=\"attempt &lt;1&gt;\">"), "{row}");
        assert!(row.contains("<title>attempt &lt;1&gt;</title>") && row.contains(">t</text>"));
        assert!(!row.contains("style="), "{row}");
    }
}
