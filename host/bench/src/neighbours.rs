//! `cargo xtask bench --neighbours`: whether a good plugin keeps its latency beside hostile ones.
//!
//! One host, and one client that sends good events at a steady rate. Three kinds of round take
//! turns, so that whatever else the machine does meets all alike. In the first, the good events are
//! alone. In the second, as many others are beside them, for a plugin that does nothing. In the
//! third, these others go to loops, traps, memory growers and log floods. The second kind costs the
//! price of more events on the same disk; what the third costs beyond it is the neighbours' doing.
//! Two latencies are taken: to the acknowledgement, and to the verdict of the plugin. The API tells
//! the start of an attempt to the millisecond, rounded down; half of one is added to every verdict.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Options;
use super::receivers::Receiver;
use super::requests::sign;
use super::watch::{ask, drain};
use hookbox_tools::{Result, root, say};

/// Twice a round, in seconds.
const SECONDS: u32 = 10;

/// Rounds of each kind.
const ROUNDS: usize = 6;

/// Between two good events.
const GOOD_EVERY: Duration = Duration::from_micros(12_500);

/// The most rows of a listing, and so the most good events of a round.
pub(super) const MAX_ROWS: usize = 500;

/// Hostile plugins, and how often each gets an event: often enough that two of them always run. It
/// is no oftener than they end, so that no backlog is left when the round is over.
const HOSTILE: [(&str, &str, Duration); 4] = [
    ("loops", "loop.wat", Duration::from_millis(500)),
    ("traps", "trap.wat", Duration::from_millis(20)),
    ("grows", "memory.wat", Duration::from_millis(20)),
    ("floods", "flood.wat", Duration::from_millis(500)),
];

/// Lets the thread that sends have its core as soon as it wants it.
pub(super) const SENDER_NICE: i32 = -10;

/// Measurements of the rounds of one kind, in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Latencies {
    pub(super) acks: Vec<f64>,
    pub(super) verdicts: Vec<f64>,
    /// By how much the sender overslept, which is part of neither.
    pub(super) overslept: Vec<f64>,
}

/// Starts a host, measures, prints.
pub(super) fn bench(folder: &Path, options: &Options) -> Result {
    let round = Duration::from_secs(options.seconds.unwrap_or(SECONDS).into()) / 2;
    if round.as_micros() / GOOD_EVERY.as_micros() > MAX_ROWS as u128 {
        return Err(format!("a round of {round:?} is too long: at most --seconds 12"));
    }
    let host = site(folder)?.start()?;
    let (admin, url) = (host.admin()?, host.url());
    let mut kinds =
        [None, Some("harmless"), Some("hostile")].map(|beside| (beside, Latencies::default()));
    // The first one warms up the pool and the connection.
    measure(&url, admin, GOOD_EVERY, Duration::from_secs(1), &mut Latencies::default())?;
    for number in 1..=ROUNDS {
        say(&format!("round {number} of {ROUNDS}"));
        for (beside, latencies) in &mut kinds {
            std::thread::scope(|scope| {
                let mut senders = Vec::new();
                if let Some(beside) = beside {
                    for (name, _, every) in HOSTILE {
                        let (url, kind) = (&url, format!("{beside}.{name}"));
                        senders.push(
                            scope.spawn(move || send_steadily(url, &kind, every, round).map(drop)),
                        );
                    }
                }
                measure(&url, admin, GOOD_EVERY, round, latencies)?;
                senders
                    .into_iter()
                    .try_for_each(|sender| sender.join().expect("a sender does not panic"))
            })?;
            for plugin in ["good", "ok"]
                .into_iter()
                .chain(HOSTILE.map(|(_, file, _)| file.trim_end_matches(".wat")))
            {
                drain(admin, plugin)?;
            }
        }
    }
    print(kinds, options)
}

/// The most that a good plugin's 99th percentile may be beside a hostile one, in milliseconds:
/// three times what it is alone, or 5 ms more, whichever is more (docs/design/cpu.md).
pub(super) fn most_beside_ms(alone_ms: f64) -> f64 {
    (3.0 * alone_ms).max(alone_ms + 5.0)
}

fn site(folder: &Path) -> Result<Receiver> {
    let tests = root().join("host/tests");
    let mut plugins = vec![
        ("good.wasm", root().join("plugins/audit.wasm")),
        ("ok.wat", tests.join("guests/ok.wat")),
    ];
    let mut routes = "[routes]\n\"good.one\" = \"good\"\n\"harmless.*\" = \"ok\"\n".to_owned();
    let mut sections = String::new();
    for (name, file, _) in HOSTILE {
        plugins.push((file, tests.join("hostile").join(file)));
        let plugin = file.trim_end_matches(".wat");
        routes.push_str(&format!("\"hostile.{name}\" = \"{plugin}\"\n"));
        sections.push_str(&format!(
            "[plugins.{plugin}]\ntimeout = \"1s\"\nmemory = \"8MiB\"\nconcurrency = 2\nbreaker = false\n\
             retry = {{ max_attempts = 1 }}\n"
        ));
    }
    Receiver::hookbox(&folder.join("site"), &plugins, &(routes + &sections))
}

/// Sends good events for as long as a round, and takes their latencies when all is done.
pub(super) fn measure(
    url: &str,
    admin: &str,
    every: Duration,
    round: Duration,
    into: &mut Latencies,
) -> Result {
    let sent = send_steadily(url, "good.one", every, round)?;
    drain(admin, "good")?;
    let page = ask(admin, &format!("deliveries?plugin=good&limit={MAX_ROWS}"))?;
    let rows = page["items"].as_array().ok_or(format!("no listing: {page}"))?;
    let rows: HashMap<_, _> =
        rows.iter().map(|row| (row["event_id"].as_str().unwrap_or_default(), row)).collect();
    for Sent { id, at, ack_ms, overslept_ms } in sent {
        let row = rows.get(id.as_str()).ok_or(format!("{id} is not listed"))?;
        let attempt = &row["attempts"][0];
        let started: Option<Timestamp> =
            attempt["started_at"].as_str().and_then(|text| text.parse().ok());
        let (Some(started), Some(took_ms)) = (started, attempt["duration_ms"].as_f64()) else {
            return Err(format!("{id} has no attempt: {row}"));
        };
        let waited_ms = (started.as_microsecond() - at.as_microsecond()) as f64 / 1e3 + 0.5;
        into.acks.push(ack_ms);
        into.verdicts.push(waited_ms + took_ms);
        into.overslept.push(overslept_ms);
    }
    Ok(())
}

/// An event that was sent.
pub(super) struct Sent {
    pub(super) id: String,
    /// When: or when it was due, if the sender was still at the one before it.
    pub(super) at: Timestamp,
    /// From then to the acknowledgement, in milliseconds.
    ack_ms: f64,
    /// How much later than due the sender woke up, in milliseconds.
    overslept_ms: f64,
}

/// Sends an event of `kind` every so often.
pub(super) fn send_steadily(
    url: &str,
    kind: &str,
    every: Duration,
    round: Duration,
) -> Result<Vec<Sent>> {
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            // A sender of webhooks has a machine of its own; not every user may say so to the
            // kernel. All that this thread starts has its priority, and it starts nothing.
            let _ = rustix::process::setpriority_process(None, SENDER_NICE);
            send(url, kind, every, round)
        });
        sender.join().expect("a sender does not panic")
    })
}

fn send(url: &str, kind: &str, every: Duration, round: Duration) -> Result<Vec<Sent>> {
    let (agent, started, began) =
        (ureq::Agent::new_with_defaults(), Instant::now(), Timestamp::now());
    let mut sent = Vec::new();
    for number in 0u32.. {
        let due = every * number;
        if due >= round {
            break;
        }
        let subject = format!("{kind}_{}_{number}", (began + due).as_nanosecond());
        let body = format!(
            r#"{{"event_type":"{kind}","event_data":{{"callback_id":"{subject}","video_url":"https://files.example/v.mp4"}}}}"#
        );
        let request = agent
            .post(url)
            .header("content-type", "application/json")
            .header("heygen-signature", sign(&body));
        let ahead = due.checked_sub(started.elapsed());
        std::thread::sleep(ahead.unwrap_or_default());
        // The time of the event before it counts; a core of this machine is nothing that a sender
        // elsewhere waits for.
        let from = if ahead.is_some() { started.elapsed() } else { due };
        let fail = |error: ureq::Error| format!("{url}: {error}");
        let mut reply = request.send(&body).map_err(fail)?;
        let ack_ms = started.elapsed().saturating_sub(from).as_secs_f64() * 1e3;
        let reply: Value = reply.body_mut().read_json().map_err(fail)?;
        let id = reply["id"].as_str().ok_or(format!("{url} answered {reply}"))?;
        let overslept_ms = (from - due).as_secs_f64() * 1e3;
        sent.push(Sent { id: id.to_owned(), at: began + from, ack_ms, overslept_ms });
    }
    Ok(sent)
}

/// Median and 99th percentile.
pub(super) fn percentiles(samples: &mut [f64]) -> [f64; 2] {
    samples.sort_by(f64::total_cmp);
    [0.5, 0.99].map(|share| samples[((samples.len() - 1) as f64 * share).round() as usize])
}

/// Prints, and fails if a 99th percentile beside hostile plugins is beyond the line.
fn print(kinds: [(Option<&str>, Latencies); 3], options: &Options) -> Result {
    let count = kinds[0].1.acks.len();
    let overslept = kinds.each_ref().map(|(_, of)| percentiles(&mut of.overslept.clone())[1]);
    let rows = kinds.map(|(beside, mut of)| {
        let name = beside.map_or("alone".to_owned(), |beside| format!("beside {beside} ones"));
        (name, [percentiles(&mut of.acks), percentiles(&mut of.verdicts)].concat())
    });
    let beyond = [1, 3].into_iter().any(|p99| rows[2].1[p99] > most_beside_ms(rows[0].1[p99]));
    let judged = || {
        if beyond {
            Err("a good plugin is beyond the line beside hostile ones".to_owned())
        } else {
            Ok(())
        }
    };
    let ratios: Vec<f64> =
        rows[2].1.iter().zip(&rows[0].1).map(|(hostile, alone)| hostile / alone).collect();
    if options.json {
        let rows = rows.map(|(name, row)| json!({ "name": name, "ms": row }));
        println!(
            "{}",
            json!({ "events_each": count, "rows": rows, "hostile_to_alone": ratios, "overslept_ms": overslept })
        );
        return judged();
    }
    println!(
        "\n{count} good events each, in {ROUNDS} rounds of each kind, on this machine; milliseconds:\n"
    );
    println!("| a good plugin | ack p50 | ack p99 | verdict p50 | verdict p99 |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    for (name, row) in rows.into_iter().chain([("hostile to alone".to_owned(), ratios)]) {
        println!("| {name} | {:.2} | {:.2} | {:.2} | {:.2} |", row[0], row[1], row[2], row[3]);
    }
    let [alone, harmless, hostile] = overslept;
    println!(
        "\nThe sender overslept by {alone:.2}, {harmless:.2} and {hostile:.2} ms (99th percentiles), which is not counted."
    );
    judged()
}
