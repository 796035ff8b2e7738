//! The measure of `cargo xtask bench --hostile`: what each guest of the gallery costs a good plugin beside it, and by how
//! much it outlives its deadline.
//!
//! Good and hostile plugins share a sandbox and two workers, as on a host with two cores. For each guest, rounds in which
//! the good one is alone and rounds in which it is beside the guest take turns, so that whatever else the machine does
//! meets both alike. The good one is called every millisecond, and its latency is taken from when it was due; the guest is
//! called every 20 ms, as long as no more than two are at it.
//!
//! Takes the seconds for each guest, and `json` for a line of JSON instead of a table; names after that are the guests to
//! measure. Ends with 1 if a guest is beyond the limits.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hookbox::sandbox::{Invocation, Plugin, Verdict};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

#[path = "../tests/hostile/gallery.rs"]
#[expect(dead_code, reason = "the tests use all of it")]
mod gallery;

use gallery::Guest;

/// Rounds of each kind, for each guest.
const ROUNDS: u32 = 5;
/// Between two calls of the good plugin.
const GOOD_EVERY: Duration = Duration::from_millis(1);
/// Between two calls of a guest.
const GUEST_EVERY: Duration = Duration::from_millis(20);
/// Calls of a guest at once.
const AT_ONCE: usize = 2;
/// The most that a guest may make of the good plugin's 99th percentile.
const MAX_RATIO: f64 = 1.5;
/// How long a guest may outlive its deadline, in milliseconds.
const MAX_OVERSHOOT_MS: f64 = 50.0;

/// What was measured of one guest.
struct Measured {
    guest: Guest,
    calls: usize,
    overshoot_ms: f64,
    /// 99th percentiles of the good plugin, in milliseconds.
    alone_ms: f64,
    beside_ms: f64,
}

impl Measured {
    fn ratio(&self) -> f64 {
        self.beside_ms / self.alone_ms
    }

    fn is_beyond(&self) -> bool {
        self.ratio() > MAX_RATIO || self.overshoot_ms > MAX_OVERSHOOT_MS
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let seconds = arguments.first().and_then(|text| text.parse().ok()).unwrap_or(2.0);
    let json = arguments.get(1).is_some_and(|word| word == "json");
    let named = arguments.get(2..).unwrap_or_default();
    let round = Duration::from_secs_f64(seconds) / (2 * ROUNDS);
    let attempts = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    // The one who measures has a thread of its own.
    let measuring = Builder::new_current_thread().enable_time().build().expect("a runtime");
    let sandbox = gallery::sandbox();
    let good = Arc::new(gallery::good(&sandbox));
    let mut rows = Vec::new();
    for guest in gallery::guests().into_iter().filter(|guest| named.is_empty() || named.contains(&guest.name)) {
        if guest.is_refused() {
            continue;
        }
        eprintln!("{}", guest.name);
        let plugin = Arc::new(sandbox.load(&guest.file()).expect("it becomes a plugin"));
        rows.push(measuring.block_on(measure(&attempts, &good, guest, &plugin, round)));
    }
    if json {
        print_json(&rows)
    } else {
        print_table(&rows)
    }
    if rows.iter().any(Measured::is_beyond) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

async fn measure(
    attempts: &Runtime,
    good: &Arc<Plugin>,
    guest: Guest,
    plugin: &Arc<Plugin>,
    round: Duration,
) -> Measured {
    let (mut alone, mut beside, mut overshoots) = (Vec::new(), Vec::new(), Vec::new());
    // The first one fills what is filled once.
    serve(attempts, good, round, |_| ()).await;
    for _ in 0..ROUNDS {
        alone.extend(serve(attempts, good, round, |_| ()).await);
        let (mut hostile, mut next) = (JoinSet::new(), Duration::ZERO);
        let latencies = serve(attempts, good, round, |at| {
            while let Some(done) = hostile.try_join_next() {
                overshoots.push(overshoot_ms(&guest, &done.expect("an attempt does not panic")));
            }
            if at >= next && hostile.len() < AT_ONCE {
                next = at + GUEST_EVERY;
                let (call, plugin) = (guest.call(), plugin.clone());
                hostile.spawn_on(async move { plugin.invoke(call).await }, attempts.handle());
            }
        });
        beside.extend(latencies.await);
        while let Some(done) = hostile.join_next().await {
            overshoots.push(overshoot_ms(&guest, &done.expect("an attempt does not panic")));
        }
    }
    Measured {
        guest,
        calls: overshoots.len(),
        overshoot_ms: overshoots.into_iter().fold(0.0, f64::max),
        alone_ms: percentile(alone),
        beside_ms: percentile(beside),
    }
}

/// Calls the good plugin for as long as a round: its latencies, in milliseconds. Says before each call how far it is.
async fn serve(attempts: &Runtime, good: &Arc<Plugin>, round: Duration, mut each: impl FnMut(Duration)) -> Vec<f64> {
    let started = Instant::now();
    let mut latencies = Vec::new();
    for number in 0u32.. {
        let due = GOOD_EVERY * number;
        if due >= round {
            break;
        }
        std::thread::sleep(due.saturating_sub(started.elapsed()));
        each(due);
        let good = good.clone();
        let served = attempts.spawn(async move { good.invoke(gallery::call(60_000, 16)).await.verdict });
        assert_eq!(served.await.expect("an attempt does not panic"), Verdict::Ok(Vec::new()));
        latencies.push((started.elapsed() - due).as_secs_f64() * 1e3);
    }
    latencies
}

fn overshoot_ms(guest: &Guest, came: &Invocation) -> f64 {
    came.duration_us as f64 / 1e3 - guest.timeout_ms() as f64
}

/// The 99th.
fn percentile(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[((samples.len() - 1) as f64 * 0.99).round() as usize]
}

fn print_table(rows: &[Measured]) {
    println!("\n| guest | | calls | deadline ms | overshoot ms | p99 alone ms | p99 beside ms | ratio | |");
    println!("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |");
    for row in rows {
        let Measured { guest, calls, overshoot_ms, alone_ms, beside_ms } = row;
        let beyond = if row.is_beyond() { "beyond" } else { "" };
        println!(
            "| {} | {} | {calls} | {} | {overshoot_ms:.1} | {alone_ms:.2} | {beside_ms:.2} | {:.2} | {beyond} |",
            guest.name,
            guest.row,
            guest.timeout_ms(),
            row.ratio(),
        );
    }
    let beyond: Vec<&str> = rows.iter().filter(|row| row.is_beyond()).map(|row| row.guest.name.as_str()).collect();
    println!(
        "\n{} guests; a ratio above {MAX_RATIO} or an overshoot above {MAX_OVERSHOOT_MS} ms: {beyond:?}",
        rows.len()
    );
}

fn print_json(rows: &[Measured]) {
    let rows: Vec<serde_json::Value> = rows
        .iter()
        .map(|row| {
            serde_json::json!({
                "guest": row.guest.name,
                "row": row.guest.row,
                "calls": row.calls,
                "deadline_ms": row.guest.timeout_ms(),
                "overshoot_ms": row.overshoot_ms,
                "p99_alone_ms": row.alone_ms,
                "p99_beside_ms": row.beside_ms,
                "ratio": row.ratio(),
                "beyond": row.is_beyond(),
            })
        })
        .collect();
    println!("{}", serde_json::Value::from(rows));
}
