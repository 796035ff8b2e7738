//! `cargo xtask bench`: every receiver under the same loads in one run, and what that makes of the
//! targets.

use std::path::Path;

use serde_json::{Value, json};

use super::figures::{self, Figure, Wanted};
use super::measured::Measured;
use super::receivers::{Receiver, is_built, plugin};
use super::requests::{HANDLED, Requests, Spec, Subjects};
use super::rivals::Rivals;
use super::rows::{Bodies, PLUGIN, Plan, Row};
use super::{Options, Scratch, disk};
use hookbox_tools::{Result, install, say};

/// Length of the bodies.
const SMALL_BYTES: usize = 230;
const LARGE_BYTES: usize = 4 << 10;

/// Requests signed for each second, and for each of the load that is to be sustained: more than a
/// receiver that knows a repeated one can take. The others are sent the first ones again when they
/// have had all.
const SIGNED_PER_SECOND: usize = 60_000;
const SUSTAINED_PER_SECOND: usize = 40_000;

/// Seconds of each load, and of the one that is to be sustained.
const SECONDS: u32 = 4;
const SUSTAINED: u32 = 30;

/// Events for a plugin that brings an interpreter: a fresh one for each event, and one that is
/// kept.
const FEW: usize = 1_000;
const MANY: usize = 10_000;

/// By this share of what is accepted a backlog that stands may seem to grow.
const STANDS: f64 = 0.01;

const ECHO: &str = "axum echo";
const COMMIT: &str = "group commit alone";
const ACK: &str = "durable ack, no route";
const ROAD: &str = "whole road, fresh plugin";
const EXPRESS: &str = "Express, in memory";
const EXPRESS_INSERT: &str = "Express, an insert each";
const FLASK: &str = "Flask, in memory";

/// Measures and prints.
pub(super) fn bench(folder: &Path, options: &Options) -> Result {
    install("wrk")?;
    let rivals = Rivals::install(folder)?;
    let scratch = Scratch::new(folder.join("sites"))?;
    let sites = &scratch.0;
    let seconds = options.seconds.unwrap_or(SECONDS);
    let sustained = options.sustained.unwrap_or(SUSTAINED);
    let mut rows = rows(sites, rivals, sustained, options.all)?;
    rows.retain(|row| options.measures(row.name));
    options.left(&rows)?;
    let sign = |name: &str, body_bytes, count| {
        Requests::sign(
            sites.join(name),
            Spec { kind: HANDLED, body_bytes, subjects: Subjects::Own, first: 0, count },
        )
    };
    let each = seconds as usize * SIGNED_PER_SECOND;
    let small = sign("small", SMALL_BYTES, each.max(sustained as usize * SUSTAINED_PER_SECOND))?;
    let bodies = Bodies { small, large: sign("large", LARGE_BYTES, each)? };
    say("timing fdatasync");
    let fdatasync_ms = disk::fdatasync_ms(sites)?;
    let mut measured = Vec::new();
    for row in &rows {
        measured.push(row.measure(&bodies, seconds)?);
    }
    let targets = targets(&measured, fdatasync_ms);
    if options.json {
        let rows: Vec<Value> = measured.iter().map(Measured::json).collect();
        let targets: Vec<Value> = targets.iter().map(Figure::json).collect();
        println!("{}", json!({ "fdatasync_ms": fdatasync_ms, "rows": rows, "targets": targets }));
    } else {
        print(&measured, (seconds, sustained), fdatasync_ms);
        figures::print(&targets);
    }
    Ok(())
}

/// The measured receivers, in the order of the table.
fn rows(sites: &Path, rivals: Rivals, sustained: u32, all: bool) -> Result<Vec<Row>> {
    let rivals = std::rc::Rc::new(rivals);
    let bare = |name, plan, fresh: Box<dyn Fn() -> Result<Receiver>>| Row {
        name,
        plan,
        fresh,
        emits: None,
    };
    let at = |name: &str| sites.join(name);
    let (commit, ack, insert) = (at("commit"), at("ack"), at("express"));
    let mut rows = vec![
        bare(ECHO, Plan::Closed, Box::new(|| Ok(Receiver::bare(&["echo"])))),
        bare("verify alone", Plan::Closed, Box::new(|| Ok(Receiver::bare(&["verify"])))),
        bare(COMMIT, Plan::Latency, Box::new(move || Receiver::commit(&commit))),
        bare(ACK, Plan::Latency, Box::new(move || Receiver::hookbox(&ack, &[], ""))),
        handled(ROAD, Plan::Sustained(sustained), sites, "audit.wasm", "fresh"),
        handled("whole road, kept instances", Plan::Latency, sites, "audit.wasm", "reuse"),
    ];
    for (name, file, instance, count) in [
        ("JavaScript plugin, fresh", "hello-js/hello-js.wasm", "fresh", FEW),
        ("JavaScript plugin, kept", "hello-js/hello-js.wasm", "reuse", MANY),
        ("Python plugin, fresh", "hello-python/hello-python.wasm", "fresh", FEW),
        ("Python plugin, kept", "hello-python/hello-python.wasm", "reuse", MANY),
    ] {
        if is_built(file, all)? {
            rows.push(handled(name, Plan::Burst(count), sites, file, instance));
        }
    }
    let (express, express_insert, flask) = (rivals.clone(), rivals.clone(), rivals);
    rows.push(bare(EXPRESS, Plan::Latency, Box::new(move || express.express())));
    rows.push(bare(
        EXPRESS_INSERT,
        Plan::Latency,
        Box::new(move || express_insert.express_insert(&insert)),
    ));
    rows.push(bare(FLASK, Plan::Latency, Box::new(move || Ok(flask.flask()))));
    Ok(rows)
}

/// A host with one plugin, to which everything goes. The greeters return an event for each.
fn handled(
    name: &'static str,
    plan: Plan,
    sites: &Path,
    file: &'static str,
    instance: &'static str,
) -> Row {
    let site = sites.join(file.split(['/', '.']).next().unwrap_or(file));
    let rest = format!(
        "[routes]\n\"{HANDLED}\" = \"{PLUGIN}\"\n[plugins.{PLUGIN}]\ninstance = \"{instance}\"\n"
    );
    let fresh = move || Receiver::hookbox(&site, &[("handler.wasm", plugin(file))], &rest);
    Row { name, plan, fresh: Box::new(fresh), emits: Some(u64::from(file.starts_with("hello"))) }
}

/// Targets of the figures, as ratios within the run, for the rows that were measured.
fn targets(rows: &[Measured], fdatasync_ms: [f64; 2]) -> Vec<Figure> {
    let row = |name: &str| rows.iter().find(|row| row.name == name);
    let ratio = |(name, other, least): (&str, &str, f64)| {
        let ratio = row(name)?.rate() / row(other)?.rate();
        Some(Figure::new(format!("{name} / {other}"), ratio, "", Wanted::AtLeast(least)))
    };
    let ratios = [
        (ACK, ECHO, 0.33),
        (ACK, COMMIT, 0.8),
        (ROAD, ECHO, 0.2),
        (ROAD, EXPRESS, 4.0),
        (ROAD, EXPRESS_INSERT, 8.0),
        (ROAD, FLASK, 8.0),
    ];
    let mut figures: Vec<Figure> = ratios.into_iter().filter_map(ratio).collect();
    if let Some(growth) = row(ROAD).and_then(|row| row.peak()?.growth) {
        let name = format!("{ROAD}, growth of the backlog / accepted");
        figures.push(Figure::new(name, growth, "", Wanted::AtMost(STANDS)));
    }
    let most = Wanted::AtMost(3.0 * fdatasync_ms[1] + 5.0);
    for name in [ACK, ROAD] {
        let Some(half) = row(name).and_then(|row| row.half_peak.as_ref()) else { continue };
        figures.push(Figure::new(
            format!("{name}, ack p99 at half the peak"),
            half.p99_ms,
            "ms",
            most,
        ));
    }
    if let Some([p50_ms, _]) = row(ROAD).and_then(|row| row.attempt_ms) {
        figures.push(Figure::new(
            "a fresh sandbox and its handler, median",
            p50_ms * 1e3,
            "µs",
            Wanted::AtMost(45.0),
        ));
    }
    figures
}

fn print(rows: &[Measured], seconds: (u32, u32), fdatasync_ms: [f64; 2]) {
    let (each, sustained) = seconds;
    let [p50, p99] = fdatasync_ms;
    println!(
        "\nRequests a second over so many connections, {each} s each, and the whole road over 256 for {sustained} s; \
         settled, of the echo, CPU time a request and half the peak for 230 bytes over 256. fdatasync here: p50 {p50:.2} ms, p99 {p99:.2} ms.\n"
    );
    println!(
        "| receiver | 230 B, 64 | 230 B, 256 | 4 KiB, 64 | 4 KiB, 256 | of the echo | settled/s | waiting | CPU \
         µs | half the peak, p50 ms | p99 ms |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let ceiling = rows.iter().find(|row| row.name == ECHO).map(Measured::rate);
    for row in rows {
        let answered = |body_bytes, connections| {
            let run = row
                .runs
                .iter()
                .find(|run| run.body_bytes == body_bytes && run.connections == connections);
            run.map_or(String::new(), |run| format!("{:.0}", run.per_second))
        };
        let peak = row.peak();
        let settled = peak
            .and_then(|run| run.settled_per_second)
            .map_or(String::new(), |rate| format!("{rate:.0}"));
        let waiting = peak.and_then(|run| Some((run.growth?, run.backlog.last()?)));
        let waiting = waiting.map_or(String::new(), |(growth, last)| {
            format!("{last}, {}", if growth > STANDS { "growing" } else { "not growing" })
        });
        let of_echo =
            ceiling.map_or(String::new(), |ceiling| format!("{:.3}", row.rate() / ceiling));
        let cpu = peak.and_then(|run| run.cpu_us).map_or(String::new(), |us| format!("{us:.0}"));
        let half = row.half_peak.as_ref();
        let [p50, p99] = half.map_or([String::new(), String::new()], |run| {
            [run.p50_ms, run.p99_ms].map(|ms| format!("{ms:.2}"))
        });
        println!(
            "| {} | {} | {} | {} | {} | {of_echo} | {settled} | {waiting} | {cpu} | {p50} | {p99} |",
            row.name,
            answered(SMALL_BYTES, 64),
            answered(SMALL_BYTES, 256),
            answered(LARGE_BYTES, 64),
            answered(LARGE_BYTES, 256),
        );
    }
}
