//! What was measured, for people and for machines. What `cargo xtask bench` measures too has the names it has there.

use serde_json::{Value, json};

use super::fate::Fate;
use crate::cli::output::{Page, printable};
use crate::cli::send::load::Seen;
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
    pub(super) fn is_fine(&self) -> bool {
        let all_answered = !self.seen.tally.answers.contains_key("no answer");
        self.acknowledged > 0 && self.fate.lost == 0 && self.strange() == 0 && all_answered
    }

    /// Answers of success that name no event.
    fn strange(&self) -> u64 {
        self.seen.tally.successes - self.seen.tally.duplicates - self.acknowledged
    }

    /// Cores that the loader took.
    fn loader_cores(&self) -> f64 {
        self.seen.cpu.as_secs_f64() / self.seen.took.as_secs_f64().max(f64::EPSILON)
    }

    /// What is to be said of what became of the events.
    fn check(&self) -> String {
        let (acknowledged, fate) = (self.acknowledged, &self.fate);
        if fate.lost > 0 {
            let ids: Vec<String> = fate.missing.iter().map(ToString::to_string).collect();
            let hint = if fate.stored == 0 { "; does --admin mean the host that --url means?" } else { "" };
            return format!(
                "LOST: {} of {acknowledged} acknowledged events are not stored ({}){hint}",
                fate.lost,
                ids.join(", ")
            );
        }
        if acknowledged == 0 {
            return "nothing was acknowledged".to_owned();
        }
        let settled = match fate {
            Fate { open, .. } if *open > 0 => format!("; {open} were not settled in the time that --settle gives"),
            Fate { waiting, .. } if *waiting > 0 => format!("; {waiting} wait for another attempt"),
            Fate { unrouted, stored, .. } if unrouted == stored => "; no route of the host takes them".to_owned(),
            _ => " and settled".to_owned(),
        };
        format!("all {acknowledged} are stored{settled}")
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
        let counts = [self.acknowledged, fate.stored, fate.settled, fate.dead, tally.duplicates, fate.lost];
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
            "duplicates": tally.duplicates, "lost": fate.lost,
            "waiting": fate.waiting, "open": fate.open, "unrouted": fate.unrouted,
            "failures": self.failures.iter().map(|(id, why)| json!({"id": id, "error": why})).collect::<Vec<_>>(),
            "check": self.check(), "hints": self.hints(),
        })
    }
}

/// What is counted of the events, in the order of the table.
const COUNTS: [&str; 6] = ["acknowledged", "stored", "settled", "dead", "duplicates", "lost"];

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
