//! What was measured, for people and for machines. What `cargo xtask bench` measures too has the names it has there.

use serde_json::{Value, json};

use super::fate::Fate;
use crate::cli::output::{Page, printable};
use crate::cli::send::load::{MAX_EVENTS, Seen};
use crate::event::EventId;
use crate::tasks;

/// A loader that takes more than this share of the machine is what limits it, or takes what the host would need.
const MUCH: f64 = 0.4;

/// Everything that was measured.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) connections: u16,
    pub(super) seen: Seen,
    /// Events that are said to be durable, without duplicates.
    pub(super) acknowledged: u64,
    pub(super) fate: Fate,
    /// Deliveries that failed for good: id and why.
    pub(super) failures: Vec<(String, String)>,
    /// p50 and p99.
    pub(super) fdatasync_ms: Option<[f64; 2]>,
    /// Events that the rate asked for.
    pub(super) wanted: Option<f64>,
}

impl Report {
    /// Every event that was sent was acknowledged and is stored, and all its deliveries are done.
    pub(super) fn is_fine(&self) -> bool {
        let sent = self.seen.tally.sent();
        sent > 0 && self.fate.settled == sent && self.fate.dead == 0
    }

    /// Answers of success that name no event.
    fn strange(&self) -> u64 {
        self.seen.tally.successes - self.seen.tally.duplicates - self.acknowledged
    }

    /// Cores that the loader took.
    fn loader_cores(&self) -> f64 {
        self.seen.cpu.as_secs_f64() / self.seen.took.as_secs_f64().max(f64::EPSILON)
    }

    /// What is to be said of what became of the events; what is bad comes first.
    fn check(&self) -> String {
        let (acknowledged, fate) = (self.acknowledged, &self.fate);
        if acknowledged == 0 {
            return "nothing was acknowledged".to_owned();
        }
        let mut said = Vec::new();
        if fate.lost > 0 {
            let hint = if fate.stored == 0 { "; does --admin mean the host that --url means?" } else { "" };
            let (lost, ids) = (fate.lost, listed(&fate.missing));
            said.push(format!("LOST: {lost} of {acknowledged} acknowledged events are not stored ({ids}){hint}"));
        }
        if fate.same_id > 0 {
            said.push(format!(
                "TAKEN FOR ANOTHER: {} of {acknowledged} acknowledged events were given the id of another event ({}), \
                 which is stored in their place at best",
                fate.same_id,
                listed(&fate.shared)
            ));
        }
        if let Some(reason) = &fate.unknown_reason {
            let unknown = fate.unknown;
            said.push(format!("UNKNOWN: {unknown} of {acknowledged} acknowledged events: {}", printable(reason)));
        }
        let settled = if fate.settled == fate.stored && fate.unrouted < fate.stored { " and settled" } else { "" };
        said.push(match fate.stored {
            all if all == acknowledged => format!("all {all} are stored{settled}"),
            some => format!("{some} of {acknowledged} are known to be stored{settled}"),
        });
        if fate.open > 0 {
            said.push(format!("{} were not settled in the time that --settle gives", fate.open));
        }
        if fate.waiting > 0 {
            said.push(format!("{} wait for another attempt", fate.waiting));
        }
        if fate.dead > 0 {
            said.push(format!("a delivery of {} failed for good", fate.dead));
        }
        if fate.unrouted > 0 {
            let which = if fate.unrouted == fate.stored { "them".to_owned() } else { fate.unrouted.to_string() };
            said.push(format!("no route of the host takes {which}"));
        }
        said.join("; ")
    }

    /// What should be known before the figures are believed.
    fn hints(&self) -> Vec<String> {
        let (mut hints, tally) = (Vec::new(), &self.seen.tally);
        if self.strange() > 0 {
            hints.push(format!(
                "{} answers of success name no event: is {} a hookbox host?",
                self.strange(),
                printable(&self.seen.url)
            ));
        }
        if tally.duplicates > 0 {
            hints.push(format!(
                "{} were answered as duplicates: no two bodies are alike, so the source's `id` is the same in all, or was \
                 used before",
                tally.duplicates
            ));
        }
        if let Some(wanted) = self.wanted.filter(|wanted| (tally.sent() as f64) < wanted * 0.99) {
            let sent = tally.sent();
            hints.push(format!("fell behind: {sent} of {wanted:.0} were sent in time, latency is a lower bound"));
        }
        if self.wanted.is_none() && tally.sent() >= MAX_EVENTS.into() {
            hints.push(format!("ended early, with the {MAX_EVENTS} events whose fate can be kept in memory"));
        }
        let cores = tasks::cores();
        if self.loader_cores() > MUCH * cores as f64 {
            hints.push(format!(
                "this loader took {:.1} of the {cores} cores here: a host that is loaded from elsewhere does more",
                self.loader_cores()
            ));
        }
        hints
    }

    pub(super) fn page(&self) -> Page {
        let (tally, fate) = (&self.seen.tally, &self.fate);
        let mut page = Page::new();
        let mut speed = Columns::default();
        speed.add("connections", self.connections.to_string());
        speed.add("sent", tally.sent().to_string());
        speed.add("requests/s", format!("{:.0}", self.seen.rate()));
        speed.add("settled/s", format!("{:.0}", fate.rate()));
        if let Some(latency_ms) = tally.latency_ms() {
            for (name, ms) in ["p50 ms", "p90 ms", "p99 ms", "max ms"].into_iter().zip(latency_ms) {
                speed.add(name, format!("{ms:.2}"));
            }
        }
        let mut check = Columns::default();
        let counts =
            [self.acknowledged, fate.stored, fate.settled, fate.dead, tally.duplicates, fate.lost, fate.unknown];
        for (name, count) in COUNTS.into_iter().zip(counts) {
            check.add(name, count.to_string());
        }
        speed.print(&mut page);
        page.line("");
        check.print(&mut page);
        page.line("");
        page.line(format!("after {:.2} s: {}", fate.took.as_secs_f64(), self.check()));
        for (label, count) in tally.answers.iter().filter(|(label, _)| !label.starts_with('2')) {
            page.line(format!("{count} times {label}"));
        }
        if let Some([p50, p99]) = self.fdatasync_ms {
            page.line(format!("fdatasync here: p50 {p50:.2} ms, p99 {p99:.2} ms"));
        }
        self.hints().into_iter().for_each(|hint| page.line(hint));
        for (id, why) in &self.failures {
            page.line(format!("dead: {}  {}", printable(id), printable(why)));
        }
        if let Some(failure) = &tally.first_failure {
            page.line(format!("first failure: {}", printable(failure)));
        }
        page
    }

    pub(super) fn json(&self) -> Value {
        let (tally, fate) = (&self.seen.tally, &self.fate);
        let [p50_ms, p90_ms, p99_ms, max_ms] = tally.latency_ms().map_or([None; 4], |all| all.map(Some));
        json!({
            "connections": self.connections, "seconds": self.seen.took.as_secs_f64(), "sent": tally.sent(),
            "wanted": self.wanted, "answers": tally.answers, "loader_cores": self.loader_cores(),
            "requests_per_second": self.seen.rate(), "settled_per_second": fate.rate(),
            "p50_ms": p50_ms, "p90_ms": p90_ms, "p99_ms": p99_ms, "max_ms": max_ms,
            "fdatasync_ms": self.fdatasync_ms, "settled_after_seconds": fate.took.as_secs_f64(),
            "acknowledged": self.acknowledged, "stored": fate.stored, "settled": fate.settled, "dead": fate.dead,
            "duplicates": tally.duplicates, "lost": fate.lost, "same_id": fate.same_id,
            "unknown": fate.unknown, "unknown_reason": fate.unknown_reason,
            "waiting": fate.waiting, "open": fate.open, "unrouted": fate.unrouted,
            "failures": self.failures.iter().map(|(id, why)| json!({"id": id, "error": why})).collect::<Vec<_>>(),
            "check": self.check(), "hints": self.hints(),
        })
    }
}

/// What is counted of the events, in the order of the table.
const COUNTS: [&str; 7] = ["acknowledged", "stored", "settled", "dead", "duplicates", "lost", "unknown"];

fn listed(ids: &[EventId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A table of one row.
#[derive(Debug, Default)]
struct Columns {
    names: Vec<String>,
    cells: Vec<String>,
}

impl Columns {
    fn add(&mut self, name: &str, cell: String) {
        self.names.push(name.to_owned());
        self.cells.push(cell);
    }

    fn print(self, page: &mut Page) {
        page.table(&[self.names, self.cells]);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::send::load::Tally;

    /// A change to what became of the events, and what is said of it.
    type Case<'a> = (&'a dyn Fn(&mut Fate), &'a [&'a str]);

    /// Of ten events that went well, but for the change.
    fn report(change: impl FnOnce(&mut Report)) -> Report {
        let mut tally = Tally::default();
        tally.answers.insert("200 OK".to_owned(), 10);
        tally.successes = 10;
        let seen =
            Seen { tally, took: Duration::from_secs(1), cpu: Duration::ZERO, url: "http://127.0.0.1:1".to_owned() };
        let fate = Fate { stored: 10, settled: 10, deliveries: 10, ..Fate::default() };
        let (failures, fdatasync_ms, wanted) = (Vec::new(), None, None);
        let mut report = Report { connections: 1, seen, acknowledged: 10, fate, failures, fdatasync_ms, wanted };
        change(&mut report);
        report
    }

    #[test]
    fn a_run_is_fine_if_every_event_that_was_sent_went_well() {
        let fine = report(|_| {});
        assert_eq!((fine.is_fine(), fine.check()), (true, "all 10 are stored and settled".to_owned()));
        let unrouted = report(|report| report.fate.unrouted = 10);
        assert!(unrouted.is_fine() && unrouted.check() == "all 10 are stored; no route of the host takes them");
    }

    #[test]
    fn whatever_did_not_go_well_is_named_and_not_fine() {
        let id = EventId::from_row(1);
        let cases: [Case<'_>; 7] = [
            (
                &|fate| (fate.lost, fate.missing) = (1, vec![id]),
                &["LOST: 1 of 10 acknowledged events are not stored (evt_"],
            ),
            (
                &|fate| (fate.same_id, fate.shared) = (2, vec![id]),
                &["TAKEN FOR ANOTHER: 2 of 10", "the id of another event (evt_"],
            ),
            (&|fate| (fate.unknown, fate.unknown_reason) = (3, Some("busy".to_owned())), &["UNKNOWN: 3 of 10", "busy"]),
            (&|fate| fate.open = 4, &["4 were not settled in the time that --settle gives"]),
            (&|fate| fate.waiting = 5, &["5 wait for another attempt"]),
            (&|fate| (fate.open, fate.waiting) = (1, 2), &["1 were not settled", "2 wait for another attempt"]),
            (
                &|fate| (fate.lost, fate.same_id, fate.unknown, fate.unknown_reason) = (1, 1, 1, Some(String::new())),
                &["LOST", "TAKEN FOR", "UNKNOWN", "7 of 10 are known to be stored"],
            ),
        ];
        for (change, said) in cases {
            let report = report(|report| {
                let fate = &mut report.fate;
                change(fate);
                fate.stored -= fate.lost + fate.same_id + fate.unknown;
                fate.settled = fate.stored - fate.open - fate.waiting;
            });
            let check = report.check();
            assert!(!report.is_fine() && said.iter().all(|said| check.contains(said)), "{said:?}: {check}");
        }
        let dead = report(|report| report.fate.dead = 1);
        assert!(!dead.is_fine() && dead.check().ends_with("; a delivery of 1 failed for good"), "{}", dead.check());
    }

    #[test]
    fn an_event_that_was_not_acknowledged_as_new_is_not_fine() {
        // Sent in vain, but the others went well.
        let one_less = |change: &dyn Fn(&mut Tally)| {
            report(|report| {
                change(&mut report.seen.tally);
                report.acknowledged = 9;
                (report.fate.stored, report.fate.settled) = (9, 9);
            })
        };
        let duplicate = one_less(&|tally| tally.duplicates = 1);
        assert!(!duplicate.is_fine() && duplicate.hints()[0].starts_with("1 were answered as duplicates"));
        let strange = one_less(&|_| {});
        assert!(!strange.is_fine() && strange.hints()[0].starts_with("1 answers of success name no event"));
        let refused = one_less(&|tally| {
            tally.successes = 9;
            tally.answers = [("200 OK".to_owned(), 9), ("503 Service Unavailable".to_owned(), 1)].into();
        });
        assert!(!refused.is_fine() && refused.check() == "all 9 are stored and settled");
        let nothing = report(|report| (report.seen.tally, report.fate) = Default::default());
        assert!(!nothing.is_fine());
    }

    #[test]
    fn a_run_that_ended_with_the_events_it_can_keep_says_so() {
        let full = |wanted| {
            report(|report| {
                report.seen.tally.answers.insert("200 OK".to_owned(), MAX_EVENTS.into());
                report.wanted = wanted;
            })
        };
        assert!(full(None).hints().iter().any(|hint| hint.starts_with("ended early, with the 10000000 events")));
        assert!(!full(Some(MAX_EVENTS.into())).hints().iter().any(|hint| hint.starts_with("ended early")));
    }
}
