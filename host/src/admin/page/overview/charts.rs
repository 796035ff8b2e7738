//! The charts: what came, what became of it, and how long that took.

use crate::admin::history::{HistoryJson, MarkJson};
use crate::admin::page::parts::chart::{Chart, ChartMark, Curve, Drawing, fewer};
use crate::admin::page::parts::link::Link;
use crate::text::duration;

/// The most steps of a chart: more are joined, so that a page stays small.
const MAX_STEPS: usize = 60;

/// The most steps of the backlog, which changes more slowly than what moves it.
const MAX_BACKLOG_STEPS: usize = 30;

/// Outcomes of attempts that failed, for now or for good.
const FAILED: [&str; 7] = ["retry", "reject", "trap", "timeout", "memory", "error", "crash"];

/// The charts of a window.
pub(super) fn of(history: HistoryJson) -> Vec<Chart> {
    let sums = |names: &[&str]| fewer(&series(&history, names), MAX_STEPS, |a, b| a + b);
    let most = |name: &str| fewer(&series(&history, &[name]), MAX_STEPS, f64::max);
    let curve = |name, class, values| Curve { name, class, values };
    let percentiles = |of: &str| {
        vec![
            curve("p50", "c-calm", most(&format!("{of}_p50_ms"))),
            curve("p95", "c-good", most(&format!("{of}_p95_ms"))),
            curve("p99", "c-warn", most(&format!("{of}_p99_ms"))),
        ]
    };
    let requests = vec![
        curve("accepted", "c-good", sums(&["accepted"])),
        curve("duplicate", "c-calm", sums(&["duplicate"])),
        curve("refused", "c-bad", sums(&["refused"])),
    ];
    let attempts = vec![
        curve("succeeded", "c-good", sums(&["ok", "again"])),
        curve("failed", "c-bad", sums(&FAILED)),
    ];
    let time = Time::of(&history, MAX_STEPS);
    let step = time.step();
    let by_step = || match step.strip_prefix("1 ") {
        Some(one) => format!("a {}", singular(one)),
        None => format!("in {step}"),
    };
    let chart = |(id, title), drawing, curves| Chart {
        id,
        title,
        unit: if drawing == Drawing::Bars { by_step() } else { "in ms".to_owned() },
        step: step.clone(),
        drawing,
        curves,
        steps: time.names(),
        links: if drawing == Drawing::Bars { time.links() } else { Vec::new() },
        marks: time.marks(&history),
    };
    vec![
        chart(("requests", "Requests"), Drawing::Bars, requests),
        chart(("attempts", "Attempts"), Drawing::Bars, attempts),
        chart(("ack", "Time to acknowledge"), Drawing::Lines, percentiles("ack")),
        chart(("handler", "Time of attempts"), Drawing::Lines, percentiles("handler")),
        backlog(&history),
    ]
}

/// How many deliveries were open at most.
fn backlog(history: &HistoryJson) -> Chart {
    let most = |name| fewer(&series(history, &[name]), MAX_BACKLOG_STEPS, f64::max);
    let time = Time::of(history, MAX_BACKLOG_STEPS);
    Chart {
        id: "backlog",
        title: "Backlog",
        unit: "ready or waiting".to_owned(),
        step: time.step(),
        drawing: Drawing::Bars,
        curves: vec![
            Curve { name: "ready", class: "c-good", values: most("ready") },
            Curve { name: "waiting", class: "c-warn", values: most("waiting") },
        ],
        steps: time.names(),
        links: Vec::new(),
        marks: time.marks(history),
    }
}

/// The word for one of a unit of time.
fn singular(unit: &str) -> &str {
    match unit {
        "min" => "minute",
        "h" => "hour",
        "d" => "day",
        other => other,
    }
}

/// The sum of several series, step by step. Steps before the host began to count are not known.
fn series(history: &HistoryJson, names: &[&str]) -> Vec<Option<f64>> {
    let found: Vec<_> = names.iter().filter_map(|name| history.series.get(*name)).collect();
    let count = found.first().map_or(0, |values| values.len());
    let unknown = unknown_steps(history);
    let at = |step: usize| found.iter().filter_map(|values| values[step]).reduce(|a, b| a + b);
    (0..count).map(|step| if step >= unknown { at(step) } else { None }).collect()
}

/// The steps that lie wholly before the host began to count.
fn unknown_steps(history: &HistoryJson) -> usize {
    let ms = |at: &str| at.parse::<jiff::Timestamp>().ok().map(|at| at.as_millisecond());
    let since = history.since.as_deref().and_then(ms);
    let before = since.zip(ms(&history.from)).map_or(0, |(since, from)| since - 1 - from);
    usize::try_from(before / (history.step_s * 1_000).max(1)).unwrap_or(0)
}

/// The steps that are drawn.
struct Time {
    from_ms: i64,
    step_ms: i64,
    steps: i64,
}

impl Time {
    fn of(history: &HistoryJson, most: usize) -> Self {
        let from = history.from.parse::<jiff::Timestamp>().unwrap_or_default();
        let mut steps = history.series.values().map(Vec::len).max().unwrap_or(0);
        let mut step_ms = history.step_s * 1_000;
        while steps > most {
            steps = steps.div_ceil(2);
            step_ms *= 2;
        }
        Self { from_ms: from.as_millisecond(), step_ms, steps: steps as i64 }
    }

    /// The beginning of a step.
    fn at(&self, step: i64) -> i64 {
        self.from_ms + step * self.step_ms
    }

    /// The length of a step, for people.
    fn step(&self) -> String {
        duration(self.step_ms as f64)
    }

    /// The beginnings of all steps, for people.
    fn names(&self) -> Vec<String> {
        (0..self.steps).map(|step| clock(self.at(step), self.step_ms)).collect()
    }

    /// The events of each step.
    fn links(&self) -> Vec<String> {
        let seconds = |step| (self.at(step) / 1_000).to_string();
        let link = |step| {
            let link = Link::to("/events").with("since", &seconds(step));
            link.with("until", &seconds(step + 1)).into_text()
        };
        (0..self.steps).map(link).collect()
    }

    /// The steps in which something was changed.
    fn marks(&self, history: &HistoryJson) -> Vec<ChartMark> {
        let mark = |mark: &MarkJson| {
            let at = mark.at.parse::<jiff::Timestamp>().ok()?;
            let time = clock(at.as_millisecond(), self.step_ms);
            let step = (at.as_millisecond() - self.from_ms).div_euclid(self.step_ms);
            if step >= self.steps {
                return None;
            }
            let at = usize::try_from(step).ok()?;
            let title = format!("{} {}: {} at {time} UTC", mark.what, mark.name, mark.result);
            Some(ChartMark { at, title })
        };
        history.marks.iter().filter_map(mark).collect()
    }
}

/// The time of a step, UTC: with the day where a step is long.
fn clock(at_ms: i64, step_ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(at_ms).unwrap_or_default();
    match step_ms {
        ..300_000 => time.strftime("%H:%M:%S"),
        300_000..3_600_000 => time.strftime("%H:%M"),
        _ => time.strftime("%d %b %H:%M"),
    }
    .to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_window_has_at_most_sixty_steps_and_each_is_of_its_time() {
        let values = |n: f64| vec![Some(n); 120];
        let series = BTreeMap::from([
            ("accepted", values(1.0)),
            ("ack_p99_ms", values(3.0)),
            ("ready", values(4.0)),
        ]);
        let history = HistoryJson {
            window: "1h",
            step_s: 30,
            from: "2026-02-02T02:00:00.000Z".to_owned(),
            since: None,
            series,
            marks: Vec::new(),
        };
        let charts = of(history);
        assert_eq!(charts.len(), 5);
        let backlog = &charts[4];
        assert_eq!((backlog.steps.len(), backlog.step.as_str()), (30, "2 min"));
        assert_eq!(
            backlog.says(),
            "now 4 ready or waiting, mean 4, peak 4",
            "the most of each step"
        );
        assert_eq!(charts[0].steps.len(), 60);
        assert_eq!(charts[0].steps[1], "02:01:00");
        assert_eq!(charts[0].curves[0].values[0], Some(2.0), "counts are added");
        assert_eq!((charts[0].unit.as_str(), charts[2].unit.as_str()), ("a minute", "in ms"));
        assert_eq!(charts[0].says(), "now 2 a minute, mean 2, peak 2");
        assert_eq!(charts[2].step, "1 min");
        assert_eq!(charts[2].curves[2].values[0], Some(3.0), "times are not");
        assert!(charts[0].links[0].starts_with("/events?since=1769997600&until=1769997660"));
    }

    #[test]
    fn the_mean_does_not_count_the_time_before_the_host_began() {
        let mut accepted = vec![Some(0.0); 60];
        accepted[50..].fill(Some(4.0));
        let history = HistoryJson {
            window: "1h",
            step_s: 60,
            from: "2026-02-02T02:00:00.000Z".to_owned(),
            since: Some("2026-02-02T02:40:30.000Z".to_owned()),
            series: BTreeMap::from([("accepted", accepted)]),
            marks: Vec::new(),
        };
        assert_eq!(unknown_steps(&history), 40);
        assert_eq!(of(history)[0].says(), "now 4 a minute, mean 2, peak 4");
    }
}
