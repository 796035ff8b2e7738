//! Charts as inline SVG: sizes are attributes of the drawing, never styles.

use std::fmt;

use super::html::Html;
use crate::text::{duration, three_digits};

/// The size of the drawing, in its own units.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 90.0;

/// A coordinate in as few characters as it has: a page has thousands of them.
struct Short(f64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.1}", self.0);
        f.write_str(text.strip_suffix(".0").unwrap_or(&text))
    }
}

/// One quantity over time.
#[derive(Debug)]
pub(in crate::admin::page) struct Curve {
    /// The word for it, in the legend and the table.
    pub(in crate::admin::page) name: &'static str,
    /// The class that colours it.
    pub(in crate::admin::page) class: &'static str,
    /// A value for each step.
    pub(in crate::admin::page) values: Vec<Option<f64>>,
}

/// A change that may be the cause of what happens after it.
#[derive(Debug)]
pub(in crate::admin::page) struct ChartMark {
    /// The step in which it was.
    pub(in crate::admin::page) at: usize,
    /// The change in words.
    pub(in crate::admin::page) title: String,
}

/// How curves are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::admin::page) enum Drawing {
    /// Counts, one on top of the other.
    Bars,
    /// Lines, each for itself.
    Lines,
}

/// A chart and the table of the same numbers.
#[derive(Debug)]
pub(in crate::admin::page) struct Chart {
    /// Identifies it in the page.
    pub(in crate::admin::page) id: &'static str,
    /// Its heading.
    pub(in crate::admin::page) title: &'static str,
    /// The unit of its values; of counts the time that each is of.
    pub(in crate::admin::page) unit: String,
    /// The length of a step.
    pub(in crate::admin::page) step: String,
    /// How it is drawn.
    pub(in crate::admin::page) drawing: Drawing,
    /// The curves that it shows.
    pub(in crate::admin::page) curves: Vec<Curve>,
    /// The beginning of each step, for people.
    pub(in crate::admin::page) steps: Vec<String>,
    /// The address that a step leads to; none if it is empty.
    pub(in crate::admin::page) links: Vec<String>,
    /// Changes.
    pub(in crate::admin::page) marks: Vec<ChartMark>,
}

impl Chart {
    /// The largest value, or sum of values, of a step.
    pub(in crate::admin::page) fn top(&self) -> f64 {
        let of_step = |step: usize| {
            let values = self.curves.iter().filter_map(|curve| *curve.values.get(step)?);
            match self.drawing {
                Drawing::Bars => values.sum(),
                Drawing::Lines => values.fold(0.0, f64::max),
            }
        };
        (0..self.steps.len()).map(of_step).fold(0.0, f64::max)
    }

    /// The mean of the steps that are known, all curves together.
    fn mean(&self) -> f64 {
        let at = |step: usize| {
            let values = self.curves.iter().filter_map(|curve| curve.values.get(step).copied());
            values.flatten().reduce(|a, b| a + b)
        };
        let known: Vec<f64> = (0..self.steps.len()).filter_map(at).collect();
        known.iter().sum::<f64>() / known.len().max(1) as f64
    }

    /// The newest value, the mean and the largest one, in words.
    pub(in crate::admin::page) fn says(&self) -> String {
        let last = |curve: &Curve| curve.values.last().copied().flatten();
        match self.drawing {
            Drawing::Bars => {
                let now = self.curves.iter().filter_map(last).sum();
                let [now, mean, top] = [now, self.mean(), self.top()].map(three_digits);
                format!("now {now} {}, mean {mean}, peak {top}", self.unit)
            }
            Drawing::Lines => {
                let (Some(first), Some(most)) = (self.curves.first(), self.curves.last()) else {
                    return String::new();
                };
                let now = |curve| last(curve).map_or("–".to_owned(), duration);
                let (of_first, of_most, peak) = (now(first), now(most), duration(self.top()));
                let (first, most) = (first.name, most.name);
                format!("now {first} {of_first}, {most} {of_most}; peak of {most} {peak}")
            }
        }
    }

    /// The drawing.
    pub(in crate::admin::page) fn svg(&self) -> Html {
        let (mut html, top) = (Html::default(), self.top());
        let label = format!("{}: {}", self.title, self.says());
        html.raw(format_args!(
            "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
             preserveAspectRatio=\"none\" role=\"group\" aria-label=\""
        ))
        .text(&label)
        .raw("\">");
        let scale = if top > 0.0 { (HEIGHT - 4.0) / top } else { 0.0 };
        match self.drawing {
            Drawing::Bars => self.bars(scale, &mut html),
            Drawing::Lines => self.lines(scale, &mut html),
        }
        for mark in &self.marks {
            let x = self.left(mark.at);
            html.raw(format_args!("<g class=\"mark\"><path d=\"M{x:.1} 0V{HEIGHT}\"/><title>"))
                .text(&mark.title)
                .raw("</title></g>");
        }
        self.columns(&mut html);
        html.raw("</svg>");
        html
    }

    fn width(&self) -> f64 {
        WIDTH / self.steps.len().max(1) as f64
    }

    fn left(&self, step: usize) -> f64 {
        step as f64 * self.width()
    }

    fn bars(&self, scale: f64, html: &mut Html) {
        let mut below = vec![0.0; self.steps.len()];
        for curve in &self.curves {
            html.raw(format_args!("<path class=\"{}\" d=\"", curve.class));
            for (step, value) in curve.values.iter().enumerate() {
                let Some(value) = value.filter(|value| *value > 0.0) else { continue };
                let Some(bottom) = below.get_mut(step) else { continue };
                // A value above zero is seen, however little it is.
                let height = (value * scale).max(1.0);
                let (x, y) = (Short(self.left(step)), Short(HEIGHT - *bottom));
                let (width, tall) = (Short((self.width() - 1.0).max(0.5)), Short(height));
                html.raw(format_args!("M{x} {y}v-{tall}h{width}v{tall}z"));
                *bottom += height;
            }
            html.raw("\"/>");
        }
    }

    fn lines(&self, scale: f64, html: &mut Html) {
        // The last curve is the broadest and lies below, so that an equal one is seen on it.
        for curve in self.curves.iter().rev() {
            html.raw(format_args!("<path class=\"{} line\" d=\"", curve.class));
            let mut drawn = false;
            for (step, value) in curve.values.iter().enumerate() {
                let Some(value) = value else {
                    drawn = false;
                    continue;
                };
                let (x, y) = (Short(self.left(step)), Short(HEIGHT - value * scale - 1.0));
                let width = Short(self.width());
                let how = if drawn { 'L' } else { 'M' };
                html.raw(format_args!("{how}{x} {y}h{width}"));
                drawn = true;
            }
            html.raw("\"/>");
        }
    }

    /// A column over each step, with its numbers, and a link if it leads somewhere.
    fn columns(&self, html: &mut Html) {
        let width = Short(self.width());
        // For the pointer alone: the table below has the same for everybody else.
        html.raw(format_args!("<g class=\"hits\" aria-hidden=\"true\" stroke-width=\"{width}\">"));
        for (step, time) in self.steps.iter().enumerate() {
            let link = self.links.get(step);
            if let Some(link) = link {
                html.raw("<a tabindex=\"-1\" href=\"").text(link).raw("\">");
            }
            let middle = Short(self.left(step) + self.width() / 2.0);
            html.raw(format_args!("<path d=\"M{middle} 0v{HEIGHT}\"><title>")).text(time);
            let values = self.curves.iter().filter_map(|curve| {
                // In a stack nothing stands for nothing.
                let value = curve.values.get(step).copied().flatten();
                let value = value.filter(|value| *value > 0.0 || self.drawing == Drawing::Lines)?;
                Some((curve.name, value))
            });
            for (name, value) in values {
                html.text(&format!(" · {name} {}", three_digits(value)));
            }
            html.raw("</title></path>");
            if link.is_some() {
                html.raw("</a>");
            }
        }
        html.raw("</g>");
    }

    /// The rows of the table: only those of steps in which there was something.
    pub(in crate::admin::page) fn rows(&self) -> Vec<(String, Vec<String>)> {
        let mut rows = Vec::new();
        for (step, time) in self.steps.iter().enumerate() {
            let values: Vec<_> =
                self.curves.iter().map(|curve| curve.values.get(step).copied().flatten()).collect();
            if values.iter().any(|value| value.is_some_and(|value| value > 0.0)) {
                let shown = |value: &Option<f64>| value.map_or("–".to_owned(), three_digits);
                rows.push((time.clone(), values.iter().map(shown).collect()));
            }
        }
        rows
    }
}

/// Joins steps two by two until there are at most `most`; `add` joins two values.
pub(in crate::admin::page) fn fewer(
    values: &[Option<f64>],
    most: usize,
    add: fn(f64, f64) -> f64,
) -> Vec<Option<f64>> {
    if values.len() <= most {
        return values.to_vec();
    }
    let join = |pair: &[Option<f64>]| pair.iter().flatten().copied().reduce(add);
    let joined: Vec<_> = values.chunks(2).map(join).collect();
    fewer(&joined, most, add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(drawing: Drawing, values: &[&[f64]]) -> Chart {
        let curve = |values: &&[f64]| Curve {
            name: "done",
            class: "good",
            values: values.iter().map(|value| value.is_finite().then_some(*value)).collect(),
        };
        Chart {
            id: "c",
            title: "attempts",
            unit: "a minute".to_owned(),
            step: "1 min".to_owned(),
            drawing,
            curves: values.iter().map(curve).collect(),
            steps: vec!["10:00".to_owned(), "10:01".to_owned()],
            links: vec!["/events?a=1&b=2".to_owned(), "/events".to_owned()],
            marks: vec![ChartMark { at: 1, title: "plugin <x>".to_owned() }],
        }
    }

    #[test]
    fn bars_stand_on_each_other_and_lines_by_themselves() {
        let bars = chart(Drawing::Bars, &[&[1.0, 2.0], &[3.0, 0.0]]);
        assert_eq!(bars.top(), 4.0);
        let svg = bars.svg().to_string();
        assert!(svg.contains("M0 90v-21.5h299v21.5z"), "{svg}");
        assert!(svg.contains("M0 68.5v-64.5h299v64.5z"), "{svg}");
        assert_eq!(chart(Drawing::Lines, &[&[1.0, 2.0], &[3.0, 0.0]]).top(), 3.0);
    }

    #[test]
    fn a_step_without_a_value_is_a_gap() {
        let svg = chart(Drawing::Lines, &[&[f64::NAN, 2.0]]).svg().to_string();
        assert!(svg.contains("d=\"M300 3h300\""), "{svg}");
        assert!(!svg.contains("NaN"), "{svg}");
    }

    #[test]
    fn every_step_has_a_title_and_its_link_and_marks_are_text() {
        let svg = chart(Drawing::Bars, &[&[1.0, 0.5]]).svg().to_string();
        assert_eq!(svg.matches("<title>").count(), 3);
        assert!(svg.contains("href=\"/events?a=1&amp;b=2\""), "{svg}");
        assert!(svg.contains("plugin &lt;x&gt;") && svg.contains("10:00 · done 1"), "{svg}");
        assert!(!svg.contains("style="), "{svg}");
    }

    #[test]
    fn a_chart_that_is_full_is_light() {
        let values: Vec<f64> = (0..60).map(|step| 1_000.0 + f64::from(step)).collect();
        for drawing in [Drawing::Bars, Drawing::Lines] {
            let mut full = chart(drawing, &[&values, &values, &values]);
            full.steps = (0..60).map(|step| format!("10:{step:02}:00")).collect();
            full.links = vec!["/events?since=1795940115&until=1795940175".to_owned(); 60];
            let cells: usize = full.rows().iter().map(|(_, cells)| cells.len()).sum();
            // A cell of the table is about this long.
            let bytes = full.svg().to_string().len() + cells * 25;
            assert!(bytes < 22_000, "{drawing:?}: {bytes} bytes");
        }
    }

    #[test]
    fn a_chart_says_how_much_it_is_now_and_was_at_its_peak() {
        let says = |drawing, values| chart(drawing, values).says();
        assert_eq!(
            says(Drawing::Bars, &[&[9.0, 2.0], &[3.0, 0.0]]),
            "now 2 a minute, mean 7, peak 12"
        );
        let lines = says(Drawing::Lines, &[&[0.5, 0.2], &[1_200.0, f64::NAN]]);
        assert_eq!(lines, "now done 200 µs, done –; peak of done 1.20 s");
    }

    #[test]
    fn a_stack_does_not_say_what_is_not_there() {
        let svg = chart(Drawing::Bars, &[&[0.0, 0.5]]).svg().to_string();
        assert!(
            svg.contains(">10:00</title>") && svg.contains(">10:01 · done 0.50</title>"),
            "{svg}"
        );
    }

    #[test]
    fn steps_are_joined_until_they_fit() {
        let values: Vec<_> = (0..5).map(|n| Some(f64::from(n))).collect();
        assert_eq!(fewer(&values, 3, |a, b| a + b), [Some(1.0), Some(5.0), Some(4.0)]);
        assert_eq!(fewer(&values, 1, f64::max), [Some(4.0)]);
        assert_eq!(fewer(&[None, None], 1, f64::max), [None]);
    }
}
