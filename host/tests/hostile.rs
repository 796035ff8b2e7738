//! The gallery of hostile plugins: each ends as `hostile/gallery.toml` says, the host goes on, a
//! good plugin is served beside it, and nothing of it is left behind.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hookbox::config::Limits;
use hookbox::sandbox::{Call, Contract, Plugin, Sandbox, SandboxOptions, Verdict};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

mod compiling;
mod flooded;
mod gallery;
mod site;

use gallery::Guest;

use crate::support::{Kv, call};

/// Attempts of one guest that run at once.
const AT_ONCE: usize = 4;

/// Memory that the process may gain over all rounds but the first, in KiB: 1 MiB for each memory of
/// the pool, which keeps the pages that a guest wrote, and the allocator's own.
const MAX_GROWTH_KIB: u64 = (2 * gallery::MAX_INSTANCES as u64 + 16) << 10;

/// Kinds of attack for which there is a guest.
const ROWS: [&str; 25] = [
    "D1", "D2", "D3", "D4", "D5", "D6", "D7", "D8", "D9", "D10", "D11", "D13", "D14", "D15", "D16",
    "D17", "D18", "D19", "D23", "D24", "D26", "D27", "D28", "D29", "D30",
];

/// The file of a guest, for tests of other things that need one.
pub(crate) fn file(name: &str) -> Vec<u8> {
    gallery::guest(name).file()
}

/// An attempt with what the gallery gives a guest.
fn attempt(guest: &Guest) -> Call {
    let limits = Limits {
        timeout_ms: guest.timeout_ms(),
        memory_bytes: guest.memory_mib() << 20,
        ..Limits::default()
    };
    let kv = if guest.needs_a_bug() { Kv::Panics } else { Kv::Slow(1) };
    Call { limits, kv: Arc::new(kv), ..call() }
}

/// A guest, ready to be called.
type Loaded = (Guest, Arc<Plugin>);

/// Two workers, as a host has them on two cores.
fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads")
}

fn load(sandbox: &Sandbox, contract: Contract) -> Vec<Loaded> {
    let guests = gallery::guests()
        .into_iter()
        .filter(|guest| guest.contract() == contract && !guest.is_refused());
    let loaded = guests.map(|guest| {
        let plugin =
            sandbox.load(&guest.file()).unwrap_or_else(|error| panic!("{}: {error}", guest.name));
        assert_eq!(plugin.contract(), contract, "{}", guest.name);
        (guest, Arc::new(plugin))
    });
    loaded.collect()
}

async fn is_served(good: &Plugin, after: &str) {
    let verdict = good.invoke(call()).await.verdict;
    assert_eq!(verdict, Verdict::Ok(Vec::new()), "after {after}");
}

/// Runs each guest once; then the good one.
async fn visit(guests: &[Loaded], good: &Plugin) {
    let mut complaints = Vec::new();
    for (guest, plugin) in guests {
        complaints.extend(guest.complaint(&plugin.invoke(attempt(guest)).await));
        is_served(good, &guest.name).await;
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// Runs each guest `runs` times, some of them at once.
async fn crowd(guests: &[Loaded], runs: impl Fn(&Guest) -> usize) {
    for (guest, plugin) in guests {
        let mut attempts = JoinSet::new();
        for _ in 0..runs(guest) {
            if attempts.len() == AT_ONCE {
                attempts.join_next().await;
            }
            let (guest, plugin) = (guest.clone(), plugin.clone());
            attempts.spawn(async move {
                let complaint = guest.complaint(&plugin.invoke(attempt(&guest)).await);
                assert_eq!(complaint, None);
            });
        }
        while let Some(attempt) = attempts.join_next().await {
            attempt.expect("every run is like the first");
        }
    }
}

/// A well-behaved plugin that is served all the time.
struct Neighbour {
    served: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Neighbour {
    fn move_in(good: Arc<Plugin>) -> Self {
        let (served, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let task = tokio::spawn({
            let (served, stop) = (served.clone(), stop.clone());
            async move {
                while !stop.load(Ordering::Relaxed) {
                    is_served(&good, "hostile ones").await;
                    served.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
            }
        });
        Self { served, stop, task }
    }

    async fn move_out(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("it was served to the end");
        self.served.load(Ordering::Relaxed)
    }
}

/// The whole test of the guests of one contract.
fn hold_out(contract: Contract) {
    let runtime = runtime();
    let sandbox = gallery::sandbox();
    let good = Arc::new(gallery::good(&sandbox));
    let guests = load(&sandbox, contract);
    runtime.block_on(async {
        // On a worker, not on the thread of the test.
        let (guests, good) = (Arc::new(guests), good.clone());
        let round = |runs: fn(&Guest) -> usize| {
            let guests = guests.clone();
            tokio::spawn(async move { crowd(&guests, runs).await })
        };
        visit(&guests, &good).await;
        // Touches what is touched in the rounds that count.
        round(|_| AT_ONCE).await.unwrap();
        let before = site::Held::now();
        let neighbour = Neighbour::move_in(good.clone());
        round(Guest::runs).await.unwrap();
        let served = neighbour.move_out().await;
        let after = before.assert_kept(MAX_GROWTH_KIB);
        let runs: usize = guests.iter().map(|(guest, _)| guest.runs()).sum();
        println!(
            "{} {contract} guests, {runs} runs beside {served} of a good one: {before:?} → {after:?}",
            guests.len()
        );
        assert!(served > guests.len(), "the good one was served all the while: {served}");
    });
}

#[test]
fn every_hostile_handler_ends_as_it_should_and_leaves_nothing_behind() {
    hold_out(Contract::Handler);
}

#[test]
fn every_hostile_http_handler_ends_as_it_should_and_leaves_nothing_behind() {
    hold_out(Contract::Http);
}

#[test]
fn every_hostile_command_ends_as_it_should_and_leaves_nothing_behind() {
    hold_out(Contract::Command);
}

#[tokio::test]
async fn computing_in_bites_counts_like_computing_at_once() {
    let guest = gallery::guest("kv-bites");
    let plugin = gallery::sandbox().load(&guest.file()).unwrap();
    let mut call = attempt(&guest);
    (call.limits.timeout_ms, call.limits.cpu_ms) = (60_000, 20);
    let Verdict::Timeout(text) = plugin.invoke(call).await.verdict else { panic!("not stopped") };
    assert!(text.starts_with("it computed for more than 20 ms"), "{text}");
}

#[test]
fn there_is_a_guest_for_every_kind_of_attack() {
    let guests = gallery::guests();
    let rows: BTreeSet<&str> = guests.iter().map(|guest| guest.row.as_str()).collect();
    let missing: Vec<_> = ROWS.iter().filter(|row| !rows.contains(*row)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let names: BTreeSet<&str> = guests.iter().map(|guest| guest.name.as_str()).collect();
    assert_eq!(names.len(), guests.len(), "a name stands twice");
    let on_disk = site::guests_on_disk();
    let forgotten: Vec<_> = on_disk.iter().filter(|name| !names.contains(name.as_str())).collect();
    assert!(forgotten.is_empty(), "no row runs {forgotten:?}");
    let by_attacks = guests.iter().filter(|guest| guest.is_measured_in_numbers()).count();
    assert!(by_attacks > 0, "`bench --attacks` measures none of them");
    println!("{} hostile guests", names.len());
    assert!(names.len() >= 45);
}

#[test]
fn a_guest_that_the_benchmark_of_guests_leaves_out_is_in_that_of_attacks() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/src/attacks");
    let files = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
    let files = files.filter(|file| file.extension().is_some_and(|ending| ending == "rs"));
    let attacks: String = files.map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let guests = gallery::guests().into_iter().filter(Guest::is_measured_in_numbers);
    let forgotten: Vec<_> = guests
        .map(|guest| guest.name)
        .filter(|name| !attacks.contains(&format!("\"{name}\"")))
        .collect();
    assert!(forgotten.is_empty(), "no attack has {forgotten:?}");
}

/// A sleeper with eight memories takes as much of the pool as four ordinary plugins.
#[tokio::test]
async fn who_finds_the_pool_used_up_is_not_to_blame() {
    let sandbox =
        Sandbox::new(SandboxOptions { max_instances: 4, ..SandboxOptions::default() }).unwrap();
    let good = gallery::good(&sandbox);
    let guest = gallery::guest("memories-hold");
    let hoarder = sandbox.load(&guest.file()).unwrap();
    let mut hoards = std::pin::pin!(hoarder.invoke(attempt(&guest)));
    std::future::poll_fn(|cx| {
        assert!(hoards.as_mut().poll(cx).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
    let verdict = good.invoke(call()).await.verdict;
    assert_eq!(verdict, Verdict::NoCapacity, "it is given back without spending the attempt");
    assert_eq!(guest.complaint(&hoards.await), None);
    is_served(&good, "the hoarder's time was up").await;
}

/// The libraries behind WASI have a word for some of what a guest does, as often as it does it.
#[test]
fn no_guest_writes_to_the_log_of_its_host() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("event.json"), "{}").unwrap();
    for name in ["send-nowhere", "command-sockets"] {
        std::fs::write(dir.path().join("guest.wat"), file(name)).unwrap();
        let mut run = std::process::Command::new(env!("CARGO_BIN_EXE_hookbox"));
        run.args([
            "run",
            "guest.wat",
            "--event",
            "event.json",
            "--type",
            "a.b",
            "--timeout-ms",
            "50",
        ]);
        let output = run.current_dir(dir.path()).output().unwrap();
        assert!(
            String::from_utf8_lossy(&output.stdout).contains("within 50 ms"),
            "{name}: {output:?}"
        );
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{name}");
    }
}
