//! Shared parts of the integration tests: a folder to start hosts on, hosts, events and calls; and
//! how a state is waited for.

use std::path::Path;
use std::time::{Duration, Instant};

mod call;
mod client;
mod cluster;
mod collector;
mod event;
mod heygen;
mod host;
mod senders;
mod server;
mod site;

pub(crate) use call::{KeptSteps, Kv, call, call_with, log};
pub(crate) use client::{agent, post, provide, sign};
pub(crate) use cluster::{asked, cluster, shared_site, show_as_file};
pub(crate) use collector::{Answers, Collector, any_text, attribute};
pub(crate) use event::{NOW_MS, attributes, body, event, new_event};
pub(crate) use heygen::{API_KEY, HeyGen};
pub(crate) use host::Host;
pub(crate) use senders::Senders;
pub(crate) use server::{Answer, Request, serve};
pub(crate) use site::{ROUTE, Ran, SECRET, SOURCE, Site, replace};

/// How long a state is waited for before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A guest of `tests/guests`, by its name without the ending.
pub(crate) fn guest(name: &str) -> Vec<u8> {
    file(&format!("tests/guests/{name}.wat"))
}

/// A file below `host/`.
pub(crate) fn file(path: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A component below the target folder that `cargo xtask test` builds, or `None` (said aloud).
pub(crate) fn built(name: &str) -> Option<Vec<u8>> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let found = std::fs::read(target.join(name)).ok();
    if found.is_none() {
        println!("SKIPPED: there is no {name} (`cargo xtask test` makes it)");
    }
    found
}

/// Waits for a state, looking often; fails the test when it does not come.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// The same, where looking is asynchronous.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, looking)
        .await
        .unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// Resident memory of a process, in KiB.
pub(crate) fn resident_kib(pid: u32) -> u64 {
    status_kib(pid, "VmRSS:")
}

/// Resident memory of a process that it wrote itself, in KiB: without the pages of its own code,
/// which come as they are run.
pub(crate) fn written_kib(pid: u32) -> u64 {
    status_kib(pid, "RssAnon:")
}

fn status_kib(pid: u32, name: &str) -> u64 {
    let status =
        std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}
