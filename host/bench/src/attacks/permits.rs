//! Attacks by plugins that do nothing, with as many permits for attempts as they get.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;

use super::host::{ATTACKED, Binary, GOOD, Host, Site};
use super::turn::Turn;
use super::{Attack, Beside, Good};
use crate::figures::{Figure, Wanted};
use crate::neighbours::{MAX_ROWS, percentiles};
use crate::watch::ask;
use hookbox_tools::Result;

/// Events for each of them: four times what it may run at once.
const EVENTS: usize = 64;

/// How long a good event may wait for its attempt, at the 99th percentile.
const BEGUN_MS: f64 = 50.0;

/// How long after the last one it is waited for that all have begun.
const BEGINNING: Duration = Duration::from_secs(10);

/// Of which the start of an attempt is told, and half of it, which is added.
const HALF_MS: f64 = 0.5;

/// The attacks of this file.
pub(super) fn attacks() -> Vec<Box<dyn Attack>> {
    vec![Box::new(Sleepers { count: 16 }), Box::new(Sleepers { count: 40 })]
}

/// So many plugins that sleep for nine seconds in each attempt.
#[derive(Debug)]
struct Sleepers {
    count: usize,
}

impl Sleepers {
    /// Names and types. A route has at most 32 plugins, so each has its own.
    fn plugins(&self) -> impl Iterator<Item = (String, String)> {
        (0..self.count).map(|number| (format!("sleeper-{number}"), format!("sleep.s{number}")))
    }
}

impl Attack for Sleepers {
    fn name(&self) -> String {
        format!("sleepers-{}", self.count)
    }

    fn what(&self) -> String {
        format!("{} plugins that sleep with all their permits", self.count)
    }

    fn site(&self, _: &Binary) -> Site {
        let plugins =
            self.plugins().map(|(name, _)| (format!("{name}.wat"), "sleep-long")).collect();
        let routes = self
            .plugins()
            .map(|(name, kind)| format!("\"{ATTACKED}:{kind}\" = \"{name}\"\n"))
            .collect();
        Site { plugins, routes, ..Site::default() }
    }

    fn attack(&self, host: &Host, turn: &Turn) -> Result {
        self.plugins().try_for_each(|(_, kind)| host.fill(&kind, EVENTS))?;
        turn.begin();
        turn.until_over(Duration::from_millis(100), || Ok(()))
    }

    fn good(&self) -> Option<Good> {
        Some(Good { acks: None, fresh: false })
    }

    fn figures(&self, host: &Host, beside: &Beside) -> Result<Vec<Figure>> {
        let started = Instant::now();
        while host.counts(GOOD)?.open > 0 && started.elapsed() < BEGINNING {
            std::thread::sleep(Duration::from_millis(50));
        }
        let page = ask(host.admin()?, &format!("deliveries?plugin={GOOD}&limit={MAX_ROWS}"))?;
        let mut waits = waits(&page, beside)?;
        let [p50, p99] = percentiles(&mut waits);
        let lost = beside.answers.iter().filter(|answer| !answer.is_ack()).count();
        Ok(vec![
            Figure::new("begun p50", p50, "ms", Wanted::Known),
            Figure::new("begun p99", p99, "ms", Wanted::AtMost(BEGUN_MS)),
            Figure::new("not acknowledged", lost as f64, "", Wanted::AtMost(0.0)),
        ])
    }
}

/// How long each good event waited for its attempt, in milliseconds; for ever if that has not
/// begun.
fn waits(page: &Value, beside: &Beside) -> Result<Vec<f64>> {
    let rows = page["items"].as_array().ok_or(format!("no listing: {page}"))?;
    let rows: HashMap<_, _> =
        rows.iter().map(|row| (row["event_id"].as_str().unwrap_or_default(), row)).collect();
    let acks = beside.answers.iter().filter_map(|answer| Some((answer, answer.id.as_deref()?)));
    let waits: Vec<f64> = acks
        .filter_map(|(answer, id)| {
            let started = rows.get(id)?["attempts"][0]["started_at"]
                .as_str()
                .and_then(|text| text.parse().ok());
            let due = beside.began + answer.due;
            let ms = |started: Timestamp| {
                (started.as_microsecond() - due.as_microsecond()) as f64 / 1e3 + HALF_MS
            };
            Some(started.map_or(f64::INFINITY, ms))
        })
        .collect();
    if waits.is_empty() { Err(format!("no good event is listed: {page}")) } else { Ok(waits) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attacks::client::Answer;

    #[test]
    fn an_event_waits_from_when_it_was_due_until_its_attempt_begins() {
        let answer = |id: &str, due| Answer {
            due: Duration::from_millis(due),
            status: Some(200),
            latency: Duration::from_millis(3),
            id: Some(id.to_owned()),
        };
        let beside = Beside {
            began: "2026-01-01T00:00:00Z".parse().unwrap(),
            answers: vec![answer("evt_1", 20), answer("evt_2", 40), answer("evt_3", 60)],
            ..Beside::none()
        };
        let page = serde_json::json!({ "items": [
            { "event_id": "evt_1", "attempts": [{ "started_at": "2026-01-01T00:00:00.025Z" }] },
            { "event_id": "evt_2", "attempts": [] },
        ] });
        let waits = waits(&page, &beside).unwrap();
        assert_eq!(
            waits,
            [5.5, f64::INFINITY],
            "one that is not listed is not known to have waited"
        );
    }
}
