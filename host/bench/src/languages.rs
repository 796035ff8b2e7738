//! `cargo xtask bench --languages`: what a handler costs in each language, and what a large one
//! costs its neighbours.
//!
//! One handler in five languages (`plugins/hello-*`), each with a fresh instance an event and,
//! where it can, with instances that are kept. Throughput is a burst and the time until all of it
//! is settled; latency is that of one attempt (instance, call, verdict) at 50 events a second.
//! Fresh JavaScript is measured once more on one core: if all cores make less than [`MIN_GAIN`] of
//! that on a machine that has more, the benchmark fails. Then a JavaScript component is dropped
//! into the folder of a host that takes 500 events a second for a plugin in Rust; and a host starts
//! twice with all of them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Options;
use super::neighbours::{Sent, percentiles, send_steadily};
use super::receivers::{Receiver, empty, is_built, plugin};
use super::requests::{HANDLED, Requests, Spec, Subjects};
use super::watch::{Accepted, Before, ask, drain, until_loaded};
use super::wrk::{self, Closed};
use hookbox_tools::{Result, install, say};

/// Language, file below `plugins/`, and whether its instances can be kept: a command runs once.
const LANGUAGES: [(&str, &str, bool); 5] = [
    ("Rust", "hello-rust.wasm", true),
    ("C", "hello-c.wasm", true),
    ("JavaScript", "hello-js/hello-js.wasm", true),
    ("Python", "hello-python/hello-python.wasm", true),
    ("Go", "hello-go/hello-go.wasm", false),
];

/// The least that fresh JavaScript gains from cores that nothing else wants (docs/design/cpu.md).
const MIN_GAIN: f64 = 1.6;

/// The file that is dropped in.
const LARGE: &str = "hello-js/hello-js.wasm";

/// Between two events whose attempts are timed.
const EVERY: Duration = Duration::from_millis(20);
/// How long they are sent.
const TIMED: Duration = Duration::from_secs(6);
/// The most rows of a page.
const PAGE: usize = 500;
/// Clients that send 500 events a second together, and what each waits between two.
const SENDERS: u32 = 5;
const SENDER_EVERY: Duration = Duration::from_millis(10);
/// How long they send, before a component is dropped in and while it is compiled.
const FLOW: Duration = Duration::from_secs(12);
/// How often this is done, each time with another file.
const DROPS: u8 = 3;
/// The burst.
const BURST: Closed = Closed { connections: 64, seconds: 1 };
/// The body that is signed for it.
const SIGNED: Spec =
    Spec { kind: HANDLED, body_bytes: 230, subjects: Subjects::Own, first: 0, count: 40_000 };

/// One row of the table.
struct Row {
    language: &'static str,
    instance: &'static str,
    cores: Cores,
    settled_per_second: f64,
    attempt_ms: [f64; 2],
}

/// Measures and prints.
pub(super) fn bench(folder: &Path, options: &Options) -> Result {
    install("wrk")?;
    is_built(LARGE, true)?;
    let requests = Requests::sign(folder.join("requests"), SIGNED)?;
    let (mut rows, mut built) = (Vec::new(), Vec::new());
    for (language, file, reusable) in LANGUAGES {
        if !options.measures(language) || !is_built(file, options.all)? {
            continue;
        }
        built.push((language, file));
        for instance in ["fresh", "reuse"].into_iter().take(1 + usize::from(reusable)) {
            say(&format!("{language}, {instance}"));
            rows.push(measure(folder, &requests, (language, file), instance, Cores::All)?);
        }
        if file == LARGE && std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1)
        {
            say(&format!("{language}, fresh, on one core"));
            rows.push(measure(folder, &requests, (language, file), "fresh", Cores::One)?);
        }
    }
    options.left(&rows)?;
    if !options.only.is_empty() {
        print_rows(&rows, options);
        return judge(&rows);
    }
    say("dropping a component into a running host");
    let dropped = drop_in(folder)?;
    say("starting twice with all of them");
    let starts = starts(folder, &built)?;
    print(&rows, dropped, starts, options);
    judge(&rows)
}

/// Which cores the host may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cores {
    All,
    One,
}

/// An error if fresh JavaScript gains too little from more than one core.
fn judge(rows: &[Row]) -> Result {
    let Some(one) = rows.iter().find(|row| row.cores == Cores::One) else { return Ok(()) };
    let all = rows.iter().find(|row| (row.language, row.instance) == (one.language, one.instance));
    let gain = all.map_or(0.0, |all| all.settled_per_second / one.settled_per_second);
    let said =
        format!("fresh {} on all cores makes {gain:.2} times what it makes on one", one.language);
    if gain < MIN_GAIN {
        return Err(format!("{said}, and has to make {MIN_GAIN} times"));
    }
    say(&said);
    Ok(())
}

fn measure(
    folder: &Path,
    requests: &Requests,
    of: (&'static str, &str),
    instance: &'static str,
    cores: Cores,
) -> Result<Row> {
    let config = format!(
        "[routes]\n\"heygen:avatar_video.success\" = \"hello\"\n[plugins.hello]\ninstance = \"{instance}\"\n"
    );
    let host =
        Receiver::hookbox(&folder.join("language"), &[("hello.wasm", plugin(of.1))], &config)?;
    let host = if cores == Cores::One { host.on_one_core() } else { host }.start()?;
    let admin = host.admin()?;
    until_loaded(admin)?;
    send_steadily(&host.url(), HANDLED, EVERY, TIMED)?;
    drain(admin, "hello")?;
    let timed = ask(admin, &format!("deliveries?plugin=hello&limit={PAGE}"))?;
    let mut attempts = attempts(&timed, |attempt| attempt["duration_ms"].as_f64())?;
    let before = Before::look(&host, "hello")?;
    let started = Instant::now();
    let accepted = wrk::send(requests, &host.public, BURST)?.requests;
    drain(admin, "hello")?;
    let took = started.elapsed().as_secs_f64();
    // Each returns one event.
    let run = Accepted { accepted, unread: BURST.connections.into(), emits: Some(1) };
    let settled = before.check(&host, "hello", run)?;
    Ok(Row {
        language: of.0,
        instance,
        cores,
        settled_per_second: settled as f64 / took,
        attempt_ms: percentiles(&mut attempts),
    })
}

/// Something of the first attempt of every delivery, all of which have to be successful.
fn attempts(page: &Value, of: impl Fn(&Value) -> Option<f64>) -> Result<Vec<f64>> {
    let rows = page["items"].as_array().ok_or(format!("no listing: {page}"))?;
    let all: Vec<f64> = rows
        .iter()
        .filter(|row| row["attempts"][0]["outcome"] == "ok")
        .filter_map(|row| of(&row["attempts"][0]))
        .collect();
    if all.is_empty() || all.len() != rows.len() {
        Err(format!("an attempt failed: {page}"))
    } else {
        Ok(all)
    }
}

/// Milliseconds from sending to the verdict at 500 events a second, median and 99th percentile:
/// before and while a large component is dropped in and compiled.
fn drop_in(folder: &Path) -> Result<[[f64; 2]; 2]> {
    let routes = "[routes]\n\"heygen:avatar_video.success\" = \"hello\"\n";
    let site = folder.join("dropped");
    empty(&site)?;
    let host =
        Receiver::hookbox(&site, &[("hello.wasm", plugin("hello-rust.wasm"))], routes)?.start()?;
    let (admin, url) = (host.admin()?, host.url());
    until_loaded(admin)?;
    flow(&url, admin, Duration::from_secs(2))?;
    let component = std::fs::read(plugin(LARGE)).map_err(|error| error.to_string())?;
    let (mut before, mut during) = (Vec::new(), Vec::new());
    for drop in 0..DROPS {
        before.extend(flow(&url, admin, FLOW)?);
        // A custom section without a name and with one byte makes it another file: nothing of it is
        // kept yet.
        let file = [&component[..], &[0, 2, 0, drop]].concat();
        let (new, dropped) = (site.join("large.new"), site.join("plugins/large.wasm"));
        let written = std::fs::write(&new, file).and_then(|()| std::fs::rename(&new, &dropped));
        written.map_err(|error| format!("failed to drop a component in: {error}"))?;
        during.extend(flow(&url, admin, FLOW)?);
        until_loaded(admin)?;
    }
    Ok([percentiles(&mut before), percentiles(&mut during)])
}

/// Sends 500 events a second for a while: the latencies of a sample to the verdict, in
/// milliseconds.
fn flow(url: &str, admin: &str, how_long: Duration) -> Result<Vec<f64>> {
    let sent = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS)
            .map(|_| {
                scope.spawn(|| send_steadily(url, "avatar_video.success", SENDER_EVERY, how_long))
            })
            .collect();
        let sent =
            senders.into_iter().map(|sender| sender.join().expect("a sender does not panic"));
        sent.collect::<Result<Vec<_>>>()
    })?;
    drain(admin, "hello")?;
    let mut latencies = Vec::new();
    // A sample of them is asked for one by one: 20 from each second of each sender.
    for Sent { id, at, .. } in sent.iter().flat_map(|sent| sent.iter().step_by(5)) {
        let event = ask(admin, &format!("events/{id}"))?;
        let attempt = &event["deliveries"][0]["attempts"][0];
        let started: Option<Timestamp> =
            attempt["started_at"].as_str().and_then(|text| text.parse().ok());
        let (Some(started), Some(took_ms)) = (started, attempt["duration_ms"].as_f64()) else {
            return Err(format!("{id} has no attempt: {event}"));
        };
        latencies
            .push((started.as_microsecond() - at.as_microsecond()) as f64 / 1e3 + 0.5 + took_ms);
    }
    Ok(latencies)
}

/// Milliseconds until a host has all of them loaded: with nothing compiled yet, and with all of it
/// kept.
fn starts(folder: &Path, built: &[(&str, &str)]) -> Result<[f64; 2]> {
    let names: Vec<String> =
        built.iter().map(|(language, _)| format!("{}.wasm", language.to_lowercase())).collect();
    let plugins: Vec<(&str, PathBuf)> =
        names.iter().zip(built).map(|(name, (_, file))| (name.as_str(), plugin(file))).collect();
    let site = folder.join("five");
    empty(&site)?;
    let first = Receiver::hookbox(&site, &plugins, "")?;
    let again = first.again();
    let mut both = [0.0; 2];
    for (receiver, ms) in [first, again].into_iter().zip(&mut both) {
        let started = Instant::now();
        let host = receiver.start()?;
        until_loaded(host.admin()?)?;
        *ms = started.elapsed().as_secs_f64() * 1e3;
    }
    Ok(both)
}

fn as_json(rows: &[Row]) -> Value {
    let row = |row: &Row| {
        json!({ "language": row.language, "instance": row.instance, "one_core": row.cores == Cores::One,
            "settled_per_second": row.settled_per_second, "attempt_ms": row.attempt_ms })
    };
    rows.iter().map(row).collect()
}

fn print_rows(rows: &[Row], options: &Options) {
    if options.json {
        println!("{}", json!({ "rows": as_json(rows) }));
        return;
    }
    println!(
        "\n| language | instance | cores | events settled/s | attempt p50 ms | attempt p99 ms |"
    );
    println!("| --- | --- | --- | ---: | ---: | ---: |");
    for Row { language, instance, cores, settled_per_second, attempt_ms: [p50, p99] } in rows {
        let cores = if *cores == Cores::One { "one" } else { "all" };
        println!(
            "| {language} | {instance} | {cores} | {settled_per_second:.0} | {p50:.2} | {p99:.2} |"
        );
    }
}

fn print(rows: &[Row], dropped: [[f64; 2]; 2], starts: [f64; 2], options: &Options) {
    let ratio = dropped[1][1] / dropped[0][1];
    if options.json {
        let rows = as_json(rows);
        println!(
            "{}",
            json!({ "rows": rows, "drop_in_ms": dropped, "drop_in_p99_ratio": ratio, "starts_ms": starts })
        );
        return;
    }
    print_rows(rows, options);
    let [before, during] = dropped;
    println!(
        "\na Rust plugin at 500 events/s, to the verdict: p50 {:.2} ms, p99 {:.2} ms; while a JavaScript component is \
         dropped in: p50 {:.2} ms, p99 {:.2} ms ({ratio:.2} times)",
        before[0], before[1], during[0], during[1]
    );
    println!(
        "all of them loaded: {:.0} ms after a first start, {:.0} ms after a second",
        starts[0], starts[1]
    );
}
