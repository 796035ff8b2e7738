//! `cargo xtask bench --postgres`: the road on Postgres beside that on SQLite, one host beside two,
//! and beside what people would pick instead, on one machine and in one run.
//!
//! Each case gets a fixed number of webhooks, as fast as they are acknowledged, and its time ends
//! when the last one is handled. The server is a cluster of the bench's own with `fsync` on; every
//! run has a database of its own. Its CPU time is that of all its processes, and its log is
//! measured in bytes.

use std::path::Path;
use std::time::{Duration, Instant};

use hookbox_tools::cluster::Cluster;
use hookbox_tools::{Result, say};
use serde_json::{Value, json};

use self::model::scaling;
use self::queues::Queues;
use super::Options;
use super::figures::{self, Figure, Wanted, median};
use super::process;
use super::receivers::{Receiver, Running, plugin};
use super::requests::{HANDLED, Requests, Spec, Subjects};
use super::rows::PLUGIN;
use super::steady::{self, Steady};
use super::watch::{until_done, until_loaded};

mod model;
mod queues;

/// Turns; every other one measures the cases in the opposite order.
const ROUNDS: usize = 3;

/// Seconds of each load, if the receiver is as fast as [`Case::per_second`] expects.
const SECONDS: u32 = 4;

/// Connections of the load.
const CONNECTIONS: usize = 256;

/// Length of every body.
const BODY_BYTES: usize = 230;

/// How long a queue may take to handle what is left after the load.
const DRAIN: Duration = Duration::from_secs(120);

/// The settings of the server, beside those that it has by itself.
const SETTINGS: [&str; 3] = ["shared_buffers=512MB", "max_wal_size=4GB", "max_connections=200"];

/// The variable that has the address of the database.
const DATABASE: &str = "DATABASE_URL";

/// A case that is measured: a receiver with its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    /// One host on SQLite.
    Sqlite,
    /// So many hosts on Postgres, which share the load.
    Hosts(usize),
    /// One host on Postgres without a route.
    Acks,
    /// pg-boss behind Express.
    PgBoss,
    /// graphile-worker behind Express.
    Graphile,
}

const CASES: [Case; 6] =
    [Case::Sqlite, Case::Hosts(1), Case::Hosts(2), Case::Acks, Case::PgBoss, Case::Graphile];

/// One run: of an event, but for the rate.
#[derive(Debug, Clone, Copy)]
struct Cost {
    /// Events a second, from the first request until the last one is handled.
    per_second: f64,
    receiver_cpu_us: f64,
    postgres_cpu_us: f64,
    wal_bytes: f64,
}

/// The server and all that is stored beside it.
struct Bench<'b> {
    folder: &'b Path,
    cluster: Cluster,
    queues: Queues,
    seconds: u32,
}

/// Measures and prints.
pub(super) fn bench(folder: &Path, options: &Options) -> Result {
    let wanted: Vec<Case> =
        CASES.into_iter().filter(|case| options.measures(case.name())).collect();
    options.left(&wanted)?;
    let cluster = Cluster::start(&SETTINGS)
        .ok_or("there is no Postgres: install it, on Debian the package postgresql")?;
    let queues = Queues::install(folder.parent().unwrap_or(folder))?;
    let seconds = options.seconds.unwrap_or(SECONDS);
    let bench = Bench { folder, cluster, queues, seconds };
    let mut runs = vec![Vec::new(); wanted.len()];
    for round in 0..ROUNDS {
        say(&format!("round {} of {ROUNDS}", round + 1));
        let mut order: Vec<usize> = (0..wanted.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for at in order {
            runs[at].push(bench.measure(wanted[at])?);
        }
    }
    let rows: Vec<(Case, Cost)> =
        wanted.into_iter().zip(runs.iter().map(|of| middle(of))).collect();
    print(&rows, options);
    Ok(())
}

impl Case {
    fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "whole road on SQLite",
            Self::Hosts(1) => "whole road on Postgres",
            Self::Hosts(_) => "whole road on Postgres, two hosts",
            Self::Acks => "durable ack on Postgres, no route",
            Self::PgBoss => "pg-boss behind Express",
            Self::Graphile => "graphile-worker behind Express",
        }
    }

    /// Webhooks for each second that is asked for.
    fn per_second(self) -> usize {
        match self {
            Self::Sqlite => 10_000,
            Self::Hosts(_) | Self::Acks => 5_000,
            Self::PgBoss => 1_000,
            Self::Graphile => 500,
        }
    }
}

impl Bench<'_> {
    fn measure(&self, case: Case) -> Result<Cost> {
        let count = case.per_second() * self.seconds as usize;
        say(&format!("{}: {count} webhooks", case.name()));
        self.cluster.sql("CREATE DATABASE measured");
        let running = self.start(case)?;
        let mut loads = Vec::new();
        let each = count / running.len();
        for (number, receiver) in running.iter().enumerate() {
            let first = number * each;
            let spec = Spec {
                kind: HANDLED,
                body_bytes: BODY_BYTES,
                subjects: Subjects::Own,
                first,
                count: each,
            };
            let path = self.folder.join(format!("requests-{number}"));
            loads.push((Requests::sign(path, spec)?, receiver.public.clone()));
        }
        let before = self.look(&running)?;
        let started = Instant::now();
        send(&loads)?;
        until_handled(case, &running[0], (each * running.len()) as u64)?;
        let took = started.elapsed().as_secs_f64();
        let after = self.look(&running)?;
        drop(running);
        self.cluster.sql("DROP DATABASE measured WITH (FORCE)");
        self.cluster.sql("CHECKPOINT");
        let of = |figure: &dyn Fn(&Look) -> f64| (figure(&after) - figure(&before)) / count as f64;
        Ok(Cost {
            per_second: count as f64 / took,
            receiver_cpu_us: of(&|look| look.receiver.as_secs_f64() * 1e6),
            postgres_cpu_us: of(&|look| look.postgres.as_secs_f64() * 1e6),
            wal_bytes: of(&|look| look.wal_bytes),
        })
    }

    /// Starts what is measured, with nothing stored.
    fn start(&self, case: Case) -> Result<Vec<Running>> {
        let url = self.cluster.url_of("measured", "?sslmode=disable");
        let host = |number: usize, route: bool, store: &str| {
            let site = self.folder.join(format!("site-{number}"));
            let routes = if route {
                format!("[routes]\n\"{HANDLED}\" = \"{PLUGIN}\"\n")
            } else {
                String::new()
            };
            let plugins = [("handler.wasm", plugin("audit.wasm"))];
            let plugins = if route { &plugins[..] } else { &[] };
            let receiver = Receiver::hookbox(&site, plugins, &format!("{store}{routes}"))?;
            let running = receiver.on(DATABASE, &url).start()?;
            until_loaded(running.admin()?)?;
            Ok(running)
        };
        let postgres = format!("[store]\nurl = {{ env = \"{DATABASE}\" }}\n");
        match case {
            Case::Sqlite => Ok(vec![host(0, true, "")?]),
            Case::Hosts(count) => (0..count).map(|number| host(number, true, &postgres)).collect(),
            Case::Acks => Ok(vec![host(0, false, &postgres)?]),
            Case::PgBoss | Case::Graphile => {
                let script = if case == Case::PgBoss { "pg-boss" } else { "graphile-worker" };
                Ok(vec![self.queues.receiver(script)?.on(DATABASE, &url).start()?])
            }
        }
    }

    fn look(&self, running: &[Running]) -> Result<Look> {
        let receivers = running.iter().map(|running| process::cpu(running.pid()));
        let wal = self.cluster.sql("SELECT pg_current_wal_insert_lsn() - '0/0'");
        Ok(Look {
            receiver: receivers.sum::<Result<Duration>>()?,
            postgres: process::family_cpu(self.cluster.postmaster())?,
            wal_bytes: wal.parse().map_err(|_| format!("`{wal}` is no number of bytes"))?,
        })
    }
}

/// CPU time and WAL that were used until a moment.
struct Look {
    receiver: Duration,
    postgres: Duration,
    wal_bytes: f64,
}

/// Sends each load to its address, all at once.
fn send(loads: &[(Requests, String)]) -> Result {
    let connections = CONNECTIONS / loads.len();
    std::thread::scope(|scope| {
        let senders: Vec<_> = loads
            .iter()
            .map(|(requests, address)| {
                let steady = Steady { connections, count: requests.spec.count, rate: None };
                scope.spawn(move || steady::send(requests, address, steady))
            })
            .collect();
        senders
            .into_iter()
            .try_for_each(|sender| sender.join().expect("sending does not panic").map(drop))
    })
}

/// Waits until so many events are handled, or with no route are stored.
fn until_handled(case: Case, running: &Running, count: u64) -> Result {
    match case {
        Case::PgBoss | Case::Graphile => queues::until_handled(&running.public, count, DRAIN),
        Case::Acks => stored(running.admin()?, &[], count),
        Case::Sqlite | Case::Hosts(_) => stored(running.admin()?, &[(PLUGIN, count)], count),
    }
}

fn stored(admin: &str, wanted: &[(&str, u64)], count: u64) -> Result {
    let stored = until_done(admin, wanted)?;
    if stored == count { Ok(()) } else { Err(format!("{count} webhooks, and {stored} are stored")) }
}

/// The medians of all runs.
fn middle(runs: &[Cost]) -> Cost {
    let of = |figure: &dyn Fn(&Cost) -> f64| median(runs.iter().map(figure).collect());
    Cost {
        per_second: of(&|cost| cost.per_second),
        receiver_cpu_us: of(&|cost| cost.receiver_cpu_us),
        postgres_cpu_us: of(&|cost| cost.postgres_cpu_us),
        wal_bytes: of(&|cost| cost.wal_bytes),
    }
}

/// The figures with their targets.
fn targets(rows: &[(Case, Cost)]) -> Vec<Figure> {
    let of = |case: Case| rows.iter().find(|(it, _)| *it == case).map(|(_, cost)| *cost);
    let ratio = |(case, other, least): (Case, Case, f64)| {
        let ratio = of(case)?.per_second / of(other)?.per_second;
        let name = format!("{} / {}", case.name(), other.name());
        Some(Figure::new(name, ratio, "", Wanted::AtLeast(least)))
    };
    let ratios = [
        (Case::Hosts(1), Case::Sqlite, 0.35),
        (Case::Hosts(1), Case::PgBoss, 4.0),
        (Case::Hosts(1), Case::Graphile, 4.0),
        (Case::Hosts(2), Case::Hosts(1), 0.9),
    ];
    let mut figures: Vec<Figure> = ratios.into_iter().filter_map(ratio).collect();
    if let Some(acks) = of(Case::Acks) {
        let least = Wanted::AtLeast(8_000.0);
        figures.push(Figure::new(Case::Acks.name(), acks.per_second, "/s", least));
    }
    figures
}

impl Cost {
    fn json(&self, case: Case) -> Value {
        json!({ "case": case.name(), "per_second": self.per_second, "receiver_cpu_us": self.receiver_cpu_us,
            "postgres_cpu_us": self.postgres_cpu_us, "wal_bytes": self.wal_bytes })
    }
}

fn print(rows: &[(Case, Cost)], options: &Options) {
    let targets = targets(rows);
    let road = rows.iter().find(|(case, _)| *case == Case::Hosts(1)).map(|(_, cost)| *cost);
    let scaling = road.map(|road| scaling(road.receiver_cpu_us, road.postgres_cpu_us));
    if options.json {
        let rows: Vec<Value> = rows.iter().map(|(case, cost)| cost.json(*case)).collect();
        let targets: Vec<Value> = targets.iter().map(Figure::json).collect();
        println!(
            "{}",
            json!({ "rows": rows, "targets": targets, "scaling": scaling.map(|it| it.json()) })
        );
        return;
    }
    println!("\nMedians of {ROUNDS} rounds, from the first webhook until all are handled:\n");
    println!("| case | events/s | receiver's CPU, µs | Postgres' CPU, µs | log, bytes an event |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    for (case, cost) in rows {
        println!(
            "| {} | {:.0} | {:.0} | {:.0} | {:.0} |",
            case.name(),
            cost.per_second,
            cost.receiver_cpu_us,
            cost.postgres_cpu_us,
            cost.wal_bytes
        );
    }
    figures::print(&targets);
    if let Some(scaling) = scaling {
        println!("\n{scaling}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_ratios_to_what_was_measured_in_the_same_run() {
        let cost = |per_second| Cost {
            per_second,
            receiver_cpu_us: 60.0,
            postgres_cpu_us: 50.0,
            wal_bytes: 2_000.0,
        };
        let rows = [(Case::Sqlite, cost(14_000.0)), (Case::Hosts(1), cost(5_600.0))];
        let figures = targets(&rows);
        assert_eq!(figures.len(), 1);
        assert!((figures[0].value - 0.4).abs() < 1e-9 && figures[0].holds());
        assert_eq!(targets(&rows[..1]).len(), 0);
    }

    #[test]
    fn the_load_of_two_hosts_is_shared_without_a_rest() {
        for case in CASES {
            assert_eq!(case.per_second() % 2, 0, "{}", case.name());
        }
    }
}
