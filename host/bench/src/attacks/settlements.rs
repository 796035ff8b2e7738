//! Attacks by what an attempt leaves behind: events, retries, logs, keys, and memory until it is
//! written.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::backlog::Backlog;
use super::client::{Load, send};
use super::host::{ATTACKED, Binary, FAR, Host, Site};
use super::turn::Turn;
use super::{Attack, Beside, Good};
use crate::figures::{Figure, Wanted};
use crate::process::resident_mib;
use crate::watch::ask;
use hookbox_tools::Result;

/// Retries for as long as anybody looks.
const FOREVER: &str = "retry = { max_attempts = 1000, initial = \"1s\", factor = 1.0 }\n";

/// A plugin that does nothing wrong but what it is made for.
const PLAIN: Backlog = Backlog {
    name: "",
    what: "",
    guest: "",
    waiting: 10_000,
    settings: "",
    unbroken: false,
    fails: false,
    breaks: false,
};

const BACKLOGS: [Backlog; 8] = [
    Backlog {
        name: "retries",
        what: "30,000 deliveries that ask for a retry within 5 s",
        guest: "retry-soon",
        waiting: 30_000,
        settings: FOREVER,
        fails: true,
        ..PLAIN
    },
    Backlog {
        name: "retries-unbroken",
        what: "30,000 that fail, retried after up to 1 s, the breaker off",
        guest: "retry-always",
        waiting: 30_000,
        settings: FOREVER,
        unbroken: true,
        fails: true,
        ..PLAIN
    },
    Backlog {
        name: "fails",
        what: "30,000 for a plugin that only traps",
        guest: "trap",
        waiting: 30_000,
        settings: FOREVER,
        fails: true,
        breaks: true,
        ..PLAIN
    },
    Backlog {
        name: "logs",
        what: "64 KiB of log an attempt, then done",
        guest: "log-full",
        ..PLAIN
    },
    Backlog {
        name: "logs-retried",
        what: "64 KiB of log an attempt, retried after 1 ms",
        guest: "log-retry",
        waiting: 4_000,
        settings: FOREVER,
        fails: true,
        ..PLAIN
    },
    Backlog { name: "keys", what: "128 keys an attempt", guest: "keys-most", ..PLAIN },
    Backlog {
        name: "emits",
        what: "256 empty unrouted events an attempt",
        guest: "emit-most",
        ..PLAIN
    },
    LARGE,
];

const LARGE: Backlog = Backlog {
    name: "emits-large",
    what: "an event of 4 MB an attempt",
    guest: "emit-large",
    waiting: 2_000,
    ..PLAIN
};

/// The attacks of this file.
pub(super) fn attacks() -> Vec<Box<dyn Attack>> {
    let mut all: Vec<Box<dyn Attack>> = vec![Box::new(Storm::default())];
    all.extend(BACKLOGS.map(|backlog| Box::new(backlog) as Box<dyn Attack>));
    let waiting = Backlog {
        name: "memory",
        what: "4,000 deliveries that emit 4 MB each, in 768 MiB",
        waiting: 4_000,
        ..LARGE
    };
    all.push(Box::new(Memory { waiting, peak_mib: AtomicU64::new(0) }));
    all
}

/// The type of a storm.
const STORM: &str = "t.storm";

/// Descendants that an event may have, and how many more come of the attempt that goes beyond.
const TREE_EVENTS: usize = 10_000 + 256;

/// Events that are sent at most, one each second.
const ROOTS: usize = 60;

/// Attempts by which a storm has risen, and how long that may take.
const RISEN: u64 = 30;
const RISING: Duration = Duration::from_secs(2);

/// Between two looks at whether the trees have ended, and for how long.
const LOOK_EVERY: Duration = Duration::from_millis(200);
const ENDING: Duration = Duration::from_secs(15);

/// A plugin that returns 256 events of its own type for each; somebody sends one each second.
#[derive(Debug, Default)]
struct Storm {
    roots: AtomicUsize,
}

impl Attack for Storm {
    fn name(&self) -> String {
        "storm".to_owned()
    }

    fn what(&self) -> String {
        "an event each second whose plugin returns 256 of the same type".to_owned()
    }

    fn site(&self, _: &Binary) -> Site {
        let routes = format!("\"{STORM}\" = \"storm\"\n\"plugins/storm:{STORM}\" = \"storm\"\n");
        Site { plugins: vec![("storm.wat".to_owned(), "storm")], routes, ..Site::default() }
    }

    fn attack(&self, host: &Host, turn: &Turn) -> Result {
        let requests = host.requests(ATTACKED, STORM, ROOTS, 0);
        let load = Load {
            from: FAR,
            requests: &requests,
            count: 1,
            rate: Some(1.0),
            connections: 8,
            fresh: false,
        };
        send(host.public(), load, turn.over())?;
        let started = Instant::now();
        while started.elapsed() < RISING && host.counts("storm")?.done < RISEN {
            std::thread::sleep(Duration::from_millis(20));
        }
        turn.begin();
        let answers = send(
            host.public(),
            Load { requests: &requests[1..], count: ROOTS - 1, ..load },
            turn.over(),
        )?;
        // An event may be stored although its answer did not come.
        self.roots.store(1 + answers.len(), Ordering::Relaxed);
        Ok(())
    }

    fn figures(&self, host: &Host, _: &Beside) -> Result<Vec<Figure>> {
        let started = Instant::now();
        let mut counts = host.counts("storm")?;
        while counts.open > 0 && started.elapsed() < ENDING {
            std::thread::sleep(LOOK_EVERY);
            counts = host.counts("storm")?;
        }
        let roots = self.roots.load(Ordering::Relaxed) as f64;
        let events = (counts.open + counts.done + counts.dead) as f64 / roots;
        let dead = ask(host.admin()?, "deliveries?plugin=storm&state=dead&limit=1")?;
        let names_it = dead.to_string().contains("server.tree_events");
        Ok(vec![
            Figure::new("events of a tree", events, "", Wanted::AtMost(TREE_EVENTS as f64)),
            Figure::new("open 15 s later", counts.open as f64, "", Wanted::AtMost(0.0)),
            Figure::new(
                "a dead letter names `server.tree_events`",
                f64::from(names_it),
                "",
                Wanted::AtLeast(1.0),
            ),
        ])
    }
}

/// The host's limit, and how much of it the host may take.
const GROUP_MIB: u64 = 768;
const RESIDENT_MIB: f64 = 512.0;

/// The memory of a host whose plugin emits as much as it may.
#[derive(Debug)]
struct Memory {
    waiting: Backlog,
    /// The most that was resident.
    peak_mib: AtomicU64,
}

impl Attack for Memory {
    fn name(&self) -> String {
        self.waiting.name.to_owned()
    }

    fn what(&self) -> String {
        self.waiting.what.to_owned()
    }

    fn site(&self, binary: &Binary) -> Site {
        Site { memory_mib: Some(GROUP_MIB), ..self.waiting.site_of(binary) }
    }

    fn prepare(&self, host: &Host) -> Result {
        self.waiting.prepare(host)
    }

    fn attack(&self, host: &Host, turn: &Turn) -> Result {
        self.peak_mib.store(0, Ordering::Relaxed);
        host.let_in()?;
        turn.begin();
        turn.until_over(Duration::from_millis(20), || {
            // A dead host has no memory.
            let resident = resident_mib(host.pid()).unwrap_or_default();
            self.peak_mib.fetch_max(resident as u64, Ordering::Relaxed);
            Ok(())
        })
    }

    /// Its acknowledgements are those of `emits-large`; here the host may be busy with giving
    /// memory back.
    fn good(&self) -> Option<Good> {
        Some(Good { acks: None, fresh: false })
    }

    fn figures(&self, host: &Host, _: &Beside) -> Result<Vec<Figure>> {
        let peak = self.peak_mib.load(Ordering::Relaxed) as f64;
        let mut figures = vec![Figure::new("resident", peak, "MiB", Wanted::AtMost(RESIDENT_MIB))];
        if let Some(Ok(group)) = &host.group {
            figures.push(Figure::new(
                "OOM kills",
                group.oom_kills()? as f64,
                "",
                Wanted::AtMost(0.0),
            ));
        }
        Ok(figures)
    }

    fn notes(&self, _: &Binary, host: &Host) -> Vec<String> {
        let failed = host.group.as_ref().and_then(|group| group.as_ref().err());
        failed
            .map(|error| format!("no control group, so that its memory alone is judged: {error}"))
            .into_iter()
            .collect()
    }
}
