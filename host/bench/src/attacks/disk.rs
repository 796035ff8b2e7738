//! Attacks on the disk: with `[store] max_size`, what is on it has an end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::backlog::Backlog;
use super::client::{Load, send};
use super::host::{ATTACKED, ATTACKER, Binary, FAR, Host, Site};
use super::turn::Turn;
use super::{Attack, Beside, Good};
use crate::figures::{Figure, Wanted};
use crate::watch::Counts;
use hookbox_tools::Result;

/// `max_size`, and the most that there may be on the disk: a quarter more, and the WAL
/// until its checkpoint.
const MAX_SIZE_MIB: f64 = 64.0;
const ON_DISK_MIB: f64 = MAX_SIZE_MIB * 1.25 + 16.0;

/// Events that are sent to fill it, and the length of their bodies.
const EVENTS: usize = 800;
const BODY_BYTES: usize = 256 << 10;

/// Small events for a plugin that logs 64 KiB for each.
const LOGGED: usize = 3_000;

/// How long all of it may take to be settled.
const SETTLING: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The attacks of this file.
pub(super) fn attacks() -> Vec<Box<dyn Attack>> {
    vec![
        Box::new(Full {
            by_log: false,
            refused: AtomicBool::new(false),
            told: AtomicBool::new(false),
        }),
        Box::new(Full {
            by_log: true,
            refused: AtomicBool::new(false),
            told: AtomicBool::new(false),
        }),
    ]
}

/// Fills the disk as far as it may be filled.
#[derive(Debug)]
struct Full {
    /// By what a plugin logs; otherwise by events.
    by_log: bool,
    /// An event got 503, and `/readyz` told why.
    refused: AtomicBool,
    told: AtomicBool,
}

impl Full {
    fn backlog(&self) -> Backlog {
        Backlog {
            name: "",
            what: "",
            guest: if self.by_log { "log-full" } else { "../guests/ok" },
            waiting: LOGGED,
            settings: "",
            unbroken: false,
            fails: false,
            breaks: false,
        }
    }

    /// Sends large events until all are sent, and notes whether some were refused.
    fn send(&self, host: &Host) -> Result {
        let requests = host.requests(ATTACKED, "attack.one", EVENTS, BODY_BYTES);
        let load = Load {
            from: FAR,
            requests: &requests,
            count: EVENTS,
            rate: None,
            connections: 8,
            fresh: false,
        };
        let answers = send(host.public(), load, &AtomicBool::new(false))?;
        self.refused
            .store(answers.iter().any(|answer| answer.status == Some(503)), Ordering::Relaxed);
        Ok(())
    }
}

impl Attack for Full {
    fn name(&self) -> String {
        if self.by_log { "disk-log" } else { "disk-events" }.to_owned()
    }

    fn what(&self) -> String {
        let by = if self.by_log {
            "64 KiB of log for each of 3,000 events"
        } else {
            "200 MiB of events"
        };
        format!("{by}, with `max_size = \"64MiB\"`")
    }

    fn site(&self, binary: &Binary) -> Site {
        let mut site = self.backlog().site_of(binary);
        if binary.max_size {
            site.sections.push_str("[store]\nmax_size = \"64MiB\"\n");
        }
        site
    }

    fn prepare(&self, host: &Host) -> Result {
        if self.by_log {
            self.backlog().prepare(host)?
        } else {
            self.send(host)?
        }
        self.told.store(host.is_told_by_readyz("max_size")?, Ordering::Relaxed);
        // Whatever the disk has, what is stored is settled.
        host.let_in()
    }

    fn attack(&self, _: &Host, _: &Turn) -> Result {
        Ok(())
    }

    fn good(&self) -> Option<Good> {
        None
    }

    fn figures(&self, host: &Host, _: &Beside) -> Result<Vec<Figure>> {
        let started = Instant::now();
        let (mut counts, mut most_mib) = (host.counts(ATTACKER)?, 0.0f64);
        while counts.open > 0 && started.elapsed() < SETTLING {
            most_mib = most_mib.max(host.store_mib()?);
            std::thread::sleep(LOOK_EVERY);
            counts = host.counts(ATTACKER)?;
        }
        let Counts { open, done, .. } = counts;
        let most_mib = most_mib.max(host.store_mib()?);
        let mut figures = vec![
            Figure::new("on the disk", most_mib, "MiB", Wanted::AtMost(ON_DISK_MIB)),
            Figure::new("settled", done as f64, "", Wanted::AtLeast(1.0)),
            Figure::new("open", open as f64, "", Wanted::AtMost(0.0)),
        ];
        if !self.by_log {
            let (refused, told) =
                (self.refused.load(Ordering::Relaxed), self.told.load(Ordering::Relaxed));
            figures.push(Figure::new(
                "new events get 503",
                f64::from(refused),
                "",
                Wanted::AtLeast(1.0),
            ));
            figures.push(Figure::new(
                "`/readyz` names `max_size`",
                f64::from(told),
                "",
                Wanted::AtLeast(1.0),
            ));
        }
        Ok(figures)
    }

    fn notes(&self, binary: &Binary, _: &Host) -> Vec<String> {
        (!binary.max_size)
            .then(|| "this host does not know `max_size`".to_owned())
            .into_iter()
            .collect()
    }
}
