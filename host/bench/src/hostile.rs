//! `cargo xtask bench --hostile`: every guest of the gallery of hostile plugins, by what it costs a
//! good plugin beside it and by how much it outlives its deadline.
//!
//! One host has all of them and a good plugin. For each guest, rounds in which the good events are
//! alone and rounds in which events for that guest are beside them take turns, so that whatever
//! else the machine does meets both alike. A percentile of some hundred events is at the mercy of a
//! single slow fsync, so a guest that is beyond the limits is measured again, longer each time. It
//! stays beyond them only if it was so every time. Then the benchmark fails.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::Options;
use super::neighbours::{Latencies, MAX_ROWS, measure, most_beside_ms, percentiles, send_steadily};
use super::receivers::{Receiver, Running, plugin};
use super::watch::{ask, drain, until_loaded};
use hookbox_tools::{Result, cargo, output, say};

/// For each guest, unless something else is said.
const SECONDS: u32 = 3;
/// Rounds of each kind, for each guest.
const ROUNDS: u32 = 3;
/// How many times more there are each time that it is measured again.
const MORE: u32 = 3;
/// How often a guest that is beyond the limits is measured before that is believed.
const TRIES: u32 = 3;
/// Between two good events.
const GOOD_EVERY: Duration = Duration::from_millis(4);
/// Between two events for a guest: two that take all their time are done as fast as they come.
const GUEST_EVERY: Duration = Duration::from_millis(30);
/// The most that it may make of the worst round, which the median does not see; a slow fsync alone
/// makes less of it.
const MAX_WORST_RATIO: f64 = 10.0;
/// How long a guest may outlive its deadline, in milliseconds.
const MAX_OVERSHOOT_MS: f64 = 50.0;

/// A guest of the gallery, as `host/examples/gallery.rs` lists it.
#[derive(Debug, Deserialize)]
struct Guest {
    name: String,
    /// Which kind of attack it is.
    row: String,
    timeout_ms: u64,
    memory_mib: u64,
}

/// Measurements of one guest, in milliseconds.
#[derive(Debug)]
struct Measured {
    attempts: usize,
    overshoot_ms: f64,
    /// 99th percentiles of the good plugin, to the acknowledgement and to the verdict: medians of
    /// the rounds.
    alone: [f64; 2],
    beside: [f64; 2],
    /// The worst round alone, and beside it.
    worst: [f64; 2],
    tries: u32,
}

impl Measured {
    fn ratios(&self) -> [f64; 2] {
        std::array::from_fn(|which| self.beside[which] / self.alone[which])
    }

    fn is_beyond(&self) -> bool {
        let stalls = self.worst[1] > MAX_WORST_RATIO * self.worst[0];
        let slow = (0..2).any(|which| self.beside[which] > most_beside_ms(self.alone[which]));
        stalls || slow || self.overshoot_ms > MAX_OVERSHOOT_MS
    }
}

/// Starts a host, measures every guest, prints. An error if one is beyond the limits.
pub(super) fn bench(folder: &Path, options: &Options) -> Result {
    let round = Duration::from_secs(options.seconds.unwrap_or(SECONDS).into()) / (2 * ROUNDS);
    let longest = GOOD_EVERY * MAX_ROWS as u32;
    if round > longest {
        let most = (longest * 2 * ROUNDS).as_secs();
        return Err(format!("a round of {round:?} is too long: at most --seconds {most}"));
    }
    let (guests, host) = start(folder)?;
    until_loaded(host.admin()?)?;
    // The first one warms up the pool and the connection.
    measure(
        &host.url(),
        host.admin()?,
        GOOD_EVERY,
        Duration::from_secs(1),
        &mut Latencies::default(),
    )?;
    let (mut rows, mut overslept) = (Vec::new(), [Vec::new(), Vec::new()]);
    let wanted: Vec<&Guest> = guests.iter().filter(|guest| options.measures(&guest.name)).collect();
    options.left(&wanted)?;
    for guest in wanted {
        say(&guest.name);
        let mut measured = look(&host, guest, round, 1, &mut overslept)?;
        while measured.is_beyond() && measured.tries < TRIES {
            let again = look(&host, guest, round, measured.tries + 1, &mut overslept)?;
            // A slow fsync excuses a latency, and nothing a deadline.
            measured =
                Measured { overshoot_ms: measured.overshoot_ms.max(again.overshoot_ms), ..again };
        }
        rows.push((guest, measured));
    }
    print(&rows, overslept.map(|mut all| percentiles(&mut all)[1]), options);
    let beyond: Vec<&str> =
        rows.iter().filter(|row| row.1.is_beyond()).map(|row| row.0.name.as_str()).collect();
    if beyond.is_empty() {
        Ok(())
    } else {
        Err(format!("beyond the limits {TRIES} times: {}", beyond.join(", ")))
    }
}

/// A host with the gallery and a good plugin.
fn start(folder: &Path) -> Result<(Vec<Guest>, Running)> {
    let gallery = folder.join("gallery");
    super::receivers::empty(&gallery)?;
    let mut write = cargo("run --quiet --release --locked -p hookbox --example gallery --");
    let list = output(write.arg(&gallery))?;
    let guests: Vec<Guest> =
        serde_json::from_str(&list).map_err(|error| format!("{error}: {list}"))?;
    let files =
        std::fs::read_dir(&gallery).map_err(|error| format!("{}: {error}", gallery.display()))?;
    let files: Vec<_> = files
        .flatten()
        .map(|file| (file.file_name().to_string_lossy().into_owned(), file.path()))
        .collect();
    let mut plugins = vec![("good.wasm", plugin("audit.wasm"))];
    plugins.extend(files.iter().map(|(name, path)| (name.as_str(), path.clone())));
    let mut routes = "[routes]\n\"good.one\" = \"good\"\n".to_owned();
    let mut sections = String::new();
    for Guest { name, timeout_ms, memory_mib, .. } in &guests {
        routes.push_str(&format!("\"hostile.{name}\" = \"{name}\"\n"));
        sections.push_str(&format!(
            "[plugins.{name}]\ntimeout = \"{timeout_ms}ms\"\nmemory = \"{memory_mib}MiB\"\nconcurrency = 2\n\
             breaker = false\nretry = {{ max_attempts = 1 }}\nmax_again = 3\n"
        ));
    }
    let host = Receiver::hookbox(&folder.join("site"), &plugins, &(routes + &sections))?.start()?;
    Ok((guests, host))
}

/// Measures a guest, for the first time or again, and by how much the sender overslept alone and
/// beside it.
fn look(
    host: &Running,
    guest: &Guest,
    round: Duration,
    tries: u32,
    overslept: &mut [Vec<f64>; 2],
) -> Result<Measured> {
    let (url, admin) = (host.url(), host.admin()?);
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    let (mut attempts, mut overshoot_ms) = (0, 0.0f64);
    let kind = format!("hostile.{}", guest.name);
    for _ in 0..ROUNDS * MORE.pow(tries - 1) {
        alone.push(p99s(&url, admin, round, &mut overslept[0])?);
        let sent = std::thread::scope(|scope| {
            let sender = scope
                .spawn(|| send_steadily(&url, &kind, GUEST_EVERY, round).map(|sent| sent.len()));
            beside.push(p99s(&url, admin, round, &mut overslept[1])?);
            sender.join().expect("a sender does not panic")
        })?;
        drain(admin, &guest.name)?;
        attempts += sent;
        overshoot_ms = overshoot_ms.max(longest_ms(admin, guest, sent)? - guest.timeout_ms as f64);
    }
    let median = |rounds: Vec<[f64; 2]>| {
        [0, 1].map(|which| {
            percentiles(&mut rounds.iter().map(|round| round[which]).collect::<Vec<_>>())[0]
        })
    };
    let worst =
        [&alone, &beside].map(|rounds| rounds.iter().flatten().copied().fold(0.0, f64::max));
    let (alone, beside) = (median(alone), median(beside));
    Ok(Measured { attempts, overshoot_ms: overshoot_ms.max(0.0), alone, beside, worst, tries })
}

/// A round of good events: the 99th percentiles to the acknowledgement and to the verdict.
fn p99s(url: &str, admin: &str, round: Duration, overslept: &mut Vec<f64>) -> Result<[f64; 2]> {
    let mut latencies = Latencies::default();
    measure(url, admin, GOOD_EVERY, round, &mut latencies)?;
    overslept.append(&mut latencies.overslept);
    Ok([percentiles(&mut latencies.acks)[1], percentiles(&mut latencies.verdicts)[1]])
}

/// The longest of the guest's last attempts, in milliseconds.
fn longest_ms(admin: &str, guest: &Guest, sent: usize) -> Result<f64> {
    let page =
        ask(admin, &format!("deliveries?plugin={}&limit={}", guest.name, sent.clamp(1, MAX_ROWS)))?;
    let rows = page["items"].as_array().ok_or(format!("no listing: {page}"))?;
    let attempts = rows.iter().filter_map(|row| row["attempts"].as_array()).flatten();
    Ok(attempts.filter_map(|attempt| attempt["duration_ms"].as_f64()).fold(0.0, f64::max))
}

fn print(rows: &[(&Guest, Measured)], overslept: [f64; 2], options: &Options) {
    if options.json {
        let rows = rows.iter().map(|(guest, measured)| {
            json!({
                "guest": guest.name, "row": guest.row, "deadline_ms": guest.timeout_ms,
                "attempts": measured.attempts, "overshoot_ms": measured.overshoot_ms, "tries": measured.tries,
                "p99_alone_ms": measured.alone, "p99_beside_ms": measured.beside, "ratios": measured.ratios(),
                "worst_rounds_ms": measured.worst,
                "beyond": measured.is_beyond(),
            })
        });
        println!("{}", json!({ "rows": rows.collect::<Vec<_>>(), "overslept_ms": overslept }));
        return;
    }
    println!(
        "\n99th percentiles of a good plugin, to the acknowledgement and to its verdict, in milliseconds:\n"
    );
    println!(
        "| beside | kind | attempts | outlives its deadline by | ack alone | beside | ratio | verdict alone | beside | ratio | worst alone | beside | tries | |"
    );
    println!(
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |"
    );
    for (guest, measured) in rows {
        let Measured { attempts, overshoot_ms, alone, beside, worst, tries } = measured;
        let ([ack, verdict], beyond) =
            (measured.ratios(), if measured.is_beyond() { "beyond" } else { "" });
        println!(
            "| {} | {} | {attempts} | {overshoot_ms:.1} | {:.2} | {:.2} | {ack:.2} | {:.2} | {:.2} | {verdict:.2} | {:.2} | {:.2} | {tries} | {beyond} |",
            guest.name, guest.row, alone[0], beside[0], alone[1], beside[1], worst[0], worst[1],
        );
    }
    let worst = rows.iter().map(|row| row.1.overshoot_ms).fold(0.0, f64::max);
    println!("\n{} guests; none outlived its deadline by more than {worst:.1} ms", rows.len());
    let [alone, beside] = overslept;
    println!(
        "The sender overslept by {alone:.2} ms alone and {beside:.2} beside them (99th percentiles), which is not counted"
    );
}
