//! The report, for people and for machines. Figures that `cargo xtask bench` has too bear its
//! names.

use serde_json::{Value, json};

use super::audit::DeliveryAudit;
use crate::cli::output::{Printout, printable};
use crate::cli::send::load::{LoadResult, MAX_EVENTS};
use crate::event::EventId;
use crate::tasks;
use crate::text::duration;

/// A loader that takes more than this share of the machine is what limits it, or takes what the
/// host would need.
const MUCH: f64 = 0.4;

/// Everything that was measured.
#[derive(Debug)]
pub(super) struct BenchReport {
    pub(super) connections: u16,
    pub(super) seen: LoadResult,
    /// Events that are said to be durable, without duplicates.
    pub(super) acknowledged: u64,
    pub(super) audit: DeliveryAudit,
    /// Deliveries that failed for good: id and why.
    pub(super) failures: Vec<(String, String)>,
    /// p50 and p99.
    pub(super) fdatasync_ms: Option<[f64; 2]>,
    /// Events that the rate asked for.
    pub(super) wanted: Option<f64>,
}

impl BenchReport {
    /// Every event that was sent was acknowledged and is stored, and all its deliveries are done.
    pub(super) fn is_fine(&self) -> bool {
        let sent = self.seen.counts.sent();
        sent > 0 && self.audit.settled == sent && self.audit.dead == 0
    }

    /// Answers of success that name no event.
    fn strange(&self) -> u64 {
        self.seen.counts.successes - self.seen.counts.duplicates - self.acknowledged
    }

    /// Cores that the loader took.
    fn loader_cores(&self) -> f64 {
        self.seen.cpu.as_secs_f64() / self.seen.took.as_secs_f64().max(f64::EPSILON)
    }

    /// A sentence about the acknowledged events; the worst comes first.
    fn check(&self) -> String {
        let (acknowledged, audit) = (self.acknowledged, &self.audit);
        if acknowledged == 0 {
            return "nothing was acknowledged".to_owned();
        }
        let mut said = Vec::new();
        if audit.lost > 0 {
            let hint = if audit.stored == 0 {
                "; does --admin mean the host that --url means?"
            } else {
                ""
            };
            let (lost, ids) = (audit.lost, listed(&audit.missing));
            said.push(format!(
                "LOST: {lost} of {acknowledged} acknowledged events are not stored ({ids}){hint}"
            ));
        }
        if audit.same_id > 0 {
            said.push(format!(
                "TAKEN FOR ANOTHER: {} of {acknowledged} acknowledged events were given the id of another event ({}), \
                 which is stored in their place at best",
                audit.same_id,
                listed(&audit.shared)
            ));
        }
        if let Some(reason) = &audit.unknown_reason {
            let unknown = audit.unknown;
            said.push(format!(
                "UNKNOWN: {unknown} of {acknowledged} acknowledged events: {}",
                printable(reason)
            ));
        }
        let settled = if audit.settled == audit.stored && audit.unrouted < audit.stored {
            " and settled"
        } else {
            ""
        };
        said.push(match audit.stored {
            all if all == acknowledged => format!("all {all} are stored{settled}"),
            some => format!("{some} of {acknowledged} are known to be stored{settled}"),
        });
        if audit.open > 0 {
            said.push(format!("{} were not settled in the time that --settle gives", audit.open));
        }
        if audit.waiting > 0 {
            said.push(format!("{} wait for another attempt", audit.waiting));
        }
        if audit.dead > 0 {
            said.push(format!("a delivery of {} failed for good", audit.dead));
        }
        if audit.unrouted > 0 {
            let which = if audit.unrouted == audit.stored {
                "them".to_owned()
            } else {
                audit.unrouted.to_string()
            };
            said.push(format!("no route of the host takes {which}"));
        }
        said.join("; ")
    }

    /// Remarks that put the figures into doubt.
    fn hints(&self) -> Vec<String> {
        let (mut hints, counts) = (Vec::new(), &self.seen.counts);
        if self.strange() > 0 {
            hints.push(format!(
                "{} answers of success name no event: is {} a hookbox host?",
                self.strange(),
                printable(&self.seen.url)
            ));
        }
        if counts.duplicates > 0 {
            hints.push(format!(
                "{} were answered as duplicates: no two bodies are alike, so the source's `id` is the same in all, or was \
                 used before",
                counts.duplicates
            ));
        }
        if let Some(wanted) = self.wanted.filter(|wanted| (counts.sent() as f64) < wanted * 0.99) {
            let sent = counts.sent();
            hints.push(format!(
                "fell behind: {sent} of {wanted:.0} were sent in time, latency is a lower bound"
            ));
        }
        if self.wanted.is_none() && counts.sent() >= MAX_EVENTS.into() {
            hints.push(format!(
                "ended early, with the {MAX_EVENTS} events whose outcome can be kept in memory"
            ));
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

    pub(super) fn printout(&self) -> Printout {
        let (counts, audit) = (&self.seen.counts, &self.audit);
        let mut out = Printout::new();
        let mut speed = Figures::default();
        speed.add("connections", self.connections.to_string());
        speed.add("sent", counts.sent().to_string());
        speed.add("requests/s", format!("{:.0}", self.seen.rate()));
        speed.add("settled/s", format!("{:.0}", audit.rate()));
        if let Some(latency_ms) = counts.latency_ms() {
            for (name, ms) in ["p50 ms", "p90 ms", "p99 ms", "max ms"].into_iter().zip(latency_ms) {
                speed.add(name, format!("{ms:.2}"));
            }
        }
        let mut check = Figures::default();
        let checked = [
            self.acknowledged,
            audit.stored,
            audit.settled,
            audit.dead,
            counts.duplicates,
            audit.lost,
            audit.unknown,
        ];
        for (name, count) in COUNTS.into_iter().zip(checked) {
            check.add(name, count.to_string());
        }
        speed.print(&mut out);
        out.line("");
        check.print(&mut out);
        out.line("");
        let took = duration(audit.took.as_secs_f64() * 1000.0);
        out.line(format!("after {took}: {}", self.check()));
        for (label, count) in counts.answers.iter().filter(|(label, _)| !label.starts_with('2')) {
            out.line(format!("{count} times {label}"));
        }
        if let Some([p50, p99]) = self.fdatasync_ms {
            let (p50, p99) = (duration(p50), duration(p99));
            out.line(format!("fdatasync here: p50 {p50}, p99 {p99}"));
        }
        self.hints().into_iter().for_each(|hint| out.line(hint));
        for (id, why) in &self.failures {
            out.line(format!("dead: {}  {}", printable(id), printable(why)));
        }
        if let Some(failure) = &counts.first_failure {
            out.line(format!("first failure: {}", printable(failure)));
        }
        out
    }

    pub(super) fn json(&self) -> Value {
        let (counts, audit) = (&self.seen.counts, &self.audit);
        let [p50_ms, p90_ms, p99_ms, max_ms] =
            counts.latency_ms().map_or([None; 4], |all| all.map(Some));
        json!({
            "connections": self.connections, "seconds": self.seen.took.as_secs_f64(), "sent": counts.sent(),
            "wanted": self.wanted, "answers": counts.answers, "loader_cores": self.loader_cores(),
            "requests_per_second": self.seen.rate(), "settled_per_second": audit.rate(),
            "p50_ms": p50_ms, "p90_ms": p90_ms, "p99_ms": p99_ms, "max_ms": max_ms,
            "fdatasync_ms": self.fdatasync_ms, "settled_after_seconds": audit.took.as_secs_f64(),
            "acknowledged": self.acknowledged, "stored": audit.stored, "settled": audit.settled, "dead": audit.dead,
            "duplicates": counts.duplicates, "lost": audit.lost, "same_id": audit.same_id,
            "unknown": audit.unknown, "unknown_reason": audit.unknown_reason,
            "waiting": audit.waiting, "open": audit.open, "unrouted": audit.unrouted,
            "failures": self.failures.iter().map(|(id, why)| json!({"id": id, "error": why})).collect::<Vec<_>>(),
            "check": self.check(), "hints": self.hints(),
        })
    }
}

/// The counts of events, in the order of the table.
const COUNTS: [&str; 7] =
    ["acknowledged", "stored", "settled", "dead", "duplicates", "lost", "unknown"];

fn listed(ids: &[EventId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A table of one row.
#[derive(Debug, Default)]
struct Figures {
    names: Vec<String>,
    cells: Vec<String>,
}

impl Figures {
    fn add(&mut self, name: &str, cell: String) {
        self.names.push(name.to_owned());
        self.cells.push(cell);
    }

    fn print(self, out: &mut Printout) {
        out.table(&[self.names, self.cells]);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::send::load::LoadCounts;

    /// A change to what became of the events, and what is said of it.
    type Case<'a> = (&'a dyn Fn(&mut DeliveryAudit), &'a [&'a str]);

    /// Of ten events that went well, but for the change.
    fn report(change: impl FnOnce(&mut BenchReport)) -> BenchReport {
        let mut counts = LoadCounts::default();
        counts.answers.insert("200 OK".to_owned(), 10);
        counts.successes = 10;
        let seen = LoadResult {
            counts,
            took: Duration::from_secs(1),
            cpu: Duration::ZERO,
            url: "http://127.0.0.1:1".to_owned(),
        };
        let audit =
            DeliveryAudit { stored: 10, settled: 10, deliveries: 10, ..DeliveryAudit::default() };
        let (failures, fdatasync_ms, wanted) = (Vec::new(), None, None);
        let mut report = BenchReport {
            connections: 1,
            seen,
            acknowledged: 10,
            audit,
            failures,
            fdatasync_ms,
            wanted,
        };
        change(&mut report);
        report
    }

    #[test]
    fn a_run_is_fine_if_every_event_that_was_sent_went_well() {
        let fine = report(|_| {});
        assert_eq!(
            (fine.is_fine(), fine.check()),
            (true, "all 10 are stored and settled".to_owned())
        );
        let unrouted = report(|report| report.audit.unrouted = 10);
        assert!(
            unrouted.is_fine()
                && unrouted.check() == "all 10 are stored; no route of the host takes them"
        );
    }

    #[test]
    fn whatever_did_not_go_well_is_named_and_not_fine() {
        let id = EventId::from_row(1);
        let cases: [Case<'_>; 7] = [
            (
                &|audit| (audit.lost, audit.missing) = (1, vec![id]),
                &["LOST: 1 of 10 acknowledged events are not stored (evt_"],
            ),
            (
                &|audit| (audit.same_id, audit.shared) = (2, vec![id]),
                &["TAKEN FOR ANOTHER: 2 of 10", "the id of another event (evt_"],
            ),
            (
                &|audit| (audit.unknown, audit.unknown_reason) = (3, Some("busy".to_owned())),
                &["UNKNOWN: 3 of 10", "busy"],
            ),
            (&|audit| audit.open = 4, &["4 were not settled in the time that --settle gives"]),
            (&|audit| audit.waiting = 5, &["5 wait for another attempt"]),
            (
                &|audit| (audit.open, audit.waiting) = (1, 2),
                &["1 were not settled", "2 wait for another attempt"],
            ),
            (
                &|audit| {
                    (audit.lost, audit.same_id, audit.unknown, audit.unknown_reason) =
                        (1, 1, 1, Some(String::new()))
                },
                &["LOST", "TAKEN FOR", "UNKNOWN", "7 of 10 are known to be stored"],
            ),
        ];
        for (change, said) in cases {
            let report = report(|report| {
                let audit = &mut report.audit;
                change(audit);
                audit.stored -= audit.lost + audit.same_id + audit.unknown;
                audit.settled = audit.stored - audit.open - audit.waiting;
            });
            let check = report.check();
            assert!(
                !report.is_fine() && said.iter().all(|said| check.contains(said)),
                "{said:?}: {check}"
            );
        }
        let dead = report(|report| report.audit.dead = 1);
        assert!(
            !dead.is_fine() && dead.check().ends_with("; a delivery of 1 failed for good"),
            "{}",
            dead.check()
        );
    }

    #[test]
    fn an_event_that_was_not_acknowledged_as_new_is_not_fine() {
        // Sent in vain, but the others went well.
        let one_less = |change: &dyn Fn(&mut LoadCounts)| {
            report(|report| {
                change(&mut report.seen.counts);
                report.acknowledged = 9;
                (report.audit.stored, report.audit.settled) = (9, 9);
            })
        };
        let duplicate = one_less(&|counts| counts.duplicates = 1);
        assert!(
            !duplicate.is_fine()
                && duplicate.hints()[0].starts_with("1 were answered as duplicates")
        );
        let strange = one_less(&|_| {});
        assert!(
            !strange.is_fine()
                && strange.hints()[0].starts_with("1 answers of success name no event")
        );
        let refused = one_less(&|counts| {
            counts.successes = 9;
            counts.answers =
                [("200 OK".to_owned(), 9), ("503 Service Unavailable".to_owned(), 1)].into();
        });
        assert!(!refused.is_fine() && refused.check() == "all 9 are stored and settled");
        let nothing = report(|report| (report.seen.counts, report.audit) = Default::default());
        assert!(!nothing.is_fine());
    }

    #[test]
    fn a_run_that_ended_with_the_events_it_can_keep_says_so() {
        let full = |wanted| {
            report(|report| {
                report.seen.counts.answers.insert("200 OK".to_owned(), MAX_EVENTS.into());
                report.wanted = wanted;
            })
        };
        assert!(
            full(None)
                .hints()
                .iter()
                .any(|hint| hint.starts_with("ended early, with the 10000000 events"))
        );
        assert!(
            !full(Some(MAX_EVENTS.into()))
                .hints()
                .iter()
                .any(|hint| hint.starts_with("ended early"))
        );
    }
}
