//! The registry after changes of the folder, also in the middle of a scan.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use sha2::{Digest as _, Sha256};

use super::*;
use crate::clock::Clock;
use crate::config::Routes;
use crate::event::{Digest, Target};
use crate::sandbox::{Compiler, Sandbox, SandboxOptions};

mod held;
mod places;
mod queue;

/// A plugin that can be told from another: `mark` is in its bytes.
fn good(mark: u32) -> String {
    format!("{}\n;; {mark}\n", include_str!("../../../tests/guests/ok.wat"))
}

struct Bench {
    dir: TempDir,
    context: LoadContext,
    registry: Registry,
    queue: LoadQueue,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let sandbox = Arc::new(Sandbox::new(SandboxOptions::default()).unwrap());
        let (compiler, clock) = (Compiler::InProcess, Clock::manual(7_000));
        let (dir_path, approvals) = (dir.path().to_owned(), Arc::default());
        let context =
            LoadContext { sandbox, compiler, dir: dir_path, clock, approvals, files: None };
        Self {
            dir,
            context,
            registry: Registry::default(),
            queue: LoadQueue::new(Arc::new(Notify::new())),
        }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    fn write(&self, file: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(file), content).unwrap();
    }

    /// Refreshes until nothing is left to do. Where a change's machine code came from is left out.
    async fn refresh(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        loop {
            let refreshed = self.once().await;
            assert!(!refreshed.unsettled);
            changes.extend(refreshed.changes.into_iter().map(|change| match change {
                Change::Loaded { name, digest, previous, admission, .. } => {
                    Change::Loaded { name, digest, previous, source: None, admission }
                }
                other => other,
            }));
            if !self.queue.is_busy() {
                return changes;
            }
            self.queue.progress().await;
        }
    }

    async fn once(&mut self) -> Refreshed {
        let refreshed = self.registry.refresh(&self.context, &mut self.queue).await;
        self.registry = refreshed.registry.clone();
        refreshed
    }

    fn state(&self, name: &str) -> &'static str {
        self.registry.entry(name).map_or("unknown", Entry::state)
    }

    fn digest(&self, name: &str) -> Option<Digest> {
        self.registry.loaded(name).map(|loaded| loaded.digest)
    }

    fn problem(&self, name: &str) -> String {
        self.registry.entry(name).and_then(Entry::problem).unwrap_or_default().to_owned()
    }
}

fn sha(content: &str) -> Digest {
    Digest(Sha256::digest(content).into())
}

#[tokio::test]
async fn every_plugin_in_the_folder_is_loaded() {
    let mut bench = Bench::new();
    bench.write("a.wat", good(1));
    bench.write("b.wat", good(2));
    assert_eq!(bench.refresh().await.len(), 2);
    let loaded = bench.registry.loaded("a").unwrap();
    assert_eq!(
        (loaded.digest, loaded.loaded_at_ms, &loaded.path),
        (sha(&good(1)), 7_000, &bench.path("a.wat"))
    );
    assert_eq!(
        (bench.state("a"), bench.state("b"), bench.state("c")),
        ("loaded", "loaded", "unknown")
    );
}

#[tokio::test]
async fn an_unchanged_file_is_not_compiled_again() {
    let mut bench = Bench::new();
    bench.write("a.wat", good(1));
    bench.refresh().await;
    let before = Arc::clone(bench.registry.loaded("a").unwrap());
    assert_eq!(bench.refresh().await, []);
    // The same content under another time of modification and another inode.
    bench.write("new", good(1));
    fs::rename(bench.path("new"), bench.path("a.wat")).unwrap();
    assert_eq!(bench.refresh().await, []);
    assert!(Arc::ptr_eq(&before, bench.registry.loaded("a").unwrap()));
}

#[tokio::test]
async fn a_replaced_file_is_taken() {
    let mut bench = Bench::new();
    bench.write("a.wat", good(1));
    bench.refresh().await;
    bench.write("new", good(2));
    fs::rename(bench.path("new"), bench.path("a.wat")).unwrap();
    let (name, digest, previous) = ("a".into(), sha(&good(2)), Some(sha(&good(1))));
    let change = Change::Loaded { name, digest, previous, source: None, admission: None };
    assert_eq!(bench.refresh().await, [change]);
    assert_eq!(bench.digest("a"), Some(sha(&good(2))));
}

#[tokio::test]
async fn garbage_changes_nothing_but_what_is_reported() {
    let mut bench = Bench::new();
    bench.write("a.wat", good(1));
    bench.refresh().await;
    bench.write("a.wat", "garbage");
    let changes = bench.refresh().await;
    assert!(
        matches!(&changes[..], [Change::Failed { problem, .. }] if problem.contains("a.wat")),
        "{changes:?}"
    );
    assert_eq!((bench.state("a"), bench.digest("a")), ("stale", Some(sha(&good(1)))));
    // Said once, also when the same garbage is written again.
    bench.write("a.wat", "garbage");
    assert_eq!(bench.refresh().await, []);
    // Put back as it was, it is what runs: nothing is compiled.
    let before = Arc::clone(bench.registry.loaded("a").unwrap());
    bench.write("a.wat", good(1));
    assert!(matches!(&bench.refresh().await[..], [Change::Loaded { .. }]));
    assert!(
        bench.state("a") == "loaded" && Arc::ptr_eq(&before, bench.registry.loaded("a").unwrap())
    );
}

#[tokio::test]
async fn a_file_that_was_never_good_is_failed_and_healed_by_a_good_one() {
    let mut bench = Bench::new();
    bench.write("a.wat", "(component");
    bench.refresh().await;
    assert_eq!(bench.state("a"), "failed");
    bench.write("a.wat", good(1));
    bench.refresh().await;
    assert_eq!((bench.state("a"), bench.problem("a")), ("loaded", String::new()));
    bench.write("b.wat", "(component");
    bench.refresh().await;
    fs::remove_file(bench.path("b.wat")).unwrap();
    assert_eq!(bench.refresh().await, []);
    assert_eq!(bench.state("b"), "unknown");
}

#[tokio::test]
async fn a_removed_file_leaves_a_visible_gap() {
    let mut bench = Bench::new();
    bench.write("a.wat", good(1));
    bench.refresh().await;
    fs::remove_file(bench.path("a.wat")).unwrap();
    assert_eq!(bench.refresh().await, [Change::Removed { name: "a".into() }]);
    assert_eq!((bench.state("a"), bench.digest("a")), ("missing", None));
    assert!(bench.problem("a").contains("removed"));
    assert_eq!(bench.refresh().await, []);
    bench.write("a.wat", good(1));
    bench.refresh().await;
    assert_eq!(bench.state("a"), "loaded");
}

#[tokio::test]
async fn a_twin_or_a_link_in_its_place_keeps_the_last_good_one() {
    let mut bench = Bench::new();
    bench.write("a.wat", good(1));
    bench.refresh().await;
    bench.write("a.wasm", "x");
    bench.refresh().await;
    assert_eq!((bench.state("a"), bench.digest("a")), ("stale", Some(sha(&good(1)))));
    fs::remove_file(bench.path("a.wasm")).unwrap();
    bench.refresh().await;
    assert_eq!(bench.state("a"), "loaded");
    let elsewhere = tempfile::tempdir().unwrap();
    fs::rename(bench.path("a.wat"), elsewhere.path().join("a.wat")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path().join("a.wat"), bench.path("a.wat")).unwrap();
    bench.refresh().await;
    assert_eq!((bench.state("a"), bench.digest("a")), ("stale", Some(sha(&good(1)))));
    assert!(bench.problem("a").contains("symbolic link"));
}

#[tokio::test]
async fn a_folder_that_cannot_be_read_changes_nothing() {
    let mut bench = Bench::new();
    bench.write("a.wat", good(1));
    bench.refresh().await;
    let away = bench.dir.path().with_extension("away");
    fs::rename(bench.dir.path(), &away).unwrap();
    assert!(matches!(&bench.refresh().await[..], [Change::Folder(_)]));
    assert_eq!(bench.refresh().await, [], "said once");
    assert_eq!((bench.state("a"), bench.registry.problems().len()), ("loaded", 1));
    fs::rename(&away, bench.dir.path()).unwrap();
    bench.refresh().await;
    assert_eq!((bench.state("a"), bench.registry.problems().len()), ("loaded", 0));
}

/// Plays the two scans of a refresh with something happening between them.
async fn step(bench: &mut Bench, between: impl FnOnce(&Path)) -> Refreshed {
    let outcomes = bench.queue.take_finished();
    let first = Directory::open(bench.dir.path()).unwrap().scan().unwrap();
    between(bench.dir.path());
    let second = Directory::open(bench.dir.path()).unwrap().scan().unwrap();
    let steps = bench.registry.decide(&bench.context, outcomes, [&first, &second]).await;
    let refreshed =
        bench.registry.assemble(&bench.context, [&first, &second], steps, &mut bench.queue);
    bench.registry = refreshed.registry.clone();
    refreshed
}

#[tokio::test]
async fn a_half_written_file_is_neither_loaded_nor_called_bad() {
    let mut bench = Bench::new();
    let whole = good(1);
    let (half, _) = whole.split_at(20);
    let finish = |dir: &Path| fs::write(dir.join("a.wat"), &whole).unwrap();
    // Finished while it settles.
    bench.write("a.wat", half);
    let refreshed = step(&mut bench, finish).await;
    assert!(
        refreshed.unsettled && refreshed.changes.is_empty() && !bench.queue.is_busy(),
        "{:?}",
        refreshed.changes
    );
    assert!(bench.registry.entry("a").is_none());
    // Finished while it is being compiled.
    bench.write("a.wat", half);
    let refreshed = step(&mut bench, |_| ()).await;
    assert!(
        !refreshed.unsettled && refreshed.changes.is_empty() && bench.state("a") == "compiling"
    );
    bench.queue.progress().await;
    finish(bench.dir.path());
    let refreshed = step(&mut bench, |_| ()).await;
    assert_eq!((refreshed.changes.len(), bench.state("a")), (0, "compiling"), "the whole file is");
    bench.queue.progress().await;
    step(&mut bench, |_| ()).await;
    assert_eq!((bench.state("a"), bench.digest("a")), ("loaded", Some(sha(&whole))));
}

#[tokio::test]
async fn a_valid_beginning_of_a_file_that_goes_on_is_not_loaded() {
    let mut bench = Bench::new();
    bench.write("a.wat", good(1));
    step(&mut bench, |_| ()).await;
    bench.queue.progress().await;
    let refreshed =
        step(&mut bench, |dir| fs::write(dir.join("a.wat"), good(1) + " garbage").unwrap()).await;
    assert!(refreshed.unsettled && bench.registry.loaded("a").is_none());
}

#[tokio::test]
async fn a_file_that_is_removed_to_be_replaced_is_not_taken_for_removed() {
    let mut bench = Bench::new();
    bench.write("a.wat", good(1));
    bench.refresh().await;
    fs::remove_file(bench.path("a.wat")).unwrap();
    let refreshed = step(&mut bench, |dir| fs::write(dir.join("a.wat"), good(2)).unwrap()).await;
    assert!(refreshed.unsettled && refreshed.changes.is_empty(), "{:?}", refreshed.changes);
    assert_eq!(bench.digest("a"), Some(sha(&good(1))));
}

#[tokio::test]
async fn a_file_that_goes_while_it_is_being_compiled_leaves_nothing_behind() {
    let mut bench = Bench::new();
    bench.write("a.wat", good(1));
    step(&mut bench, |_| ()).await;
    assert!(bench.queue.is_busy() && bench.state("a") == "compiling");
    fs::remove_file(bench.path("a.wat")).unwrap();
    assert!(bench.refresh().await.is_empty() && !bench.queue.is_busy());
    assert_eq!(bench.state("a"), "unknown");
}

#[tokio::test]
async fn a_running_plugin_goes_on_while_its_new_file_is_compiled() {
    let mut bench = Bench::new();
    bench.write("a.wat", good(1));
    bench.refresh().await;
    bench.write("a.wat", good(2));
    bench.once().await;
    assert!(bench.queue.is_busy());
    assert_eq!((bench.state("a"), bench.digest("a")), ("loaded", Some(sha(&good(1)))));
    bench.refresh().await;
    assert_eq!(bench.digest("a"), Some(sha(&good(2))));
}

#[tokio::test]
async fn whoever_loads_everything_waits_for_a_file_that_is_still_being_written() {
    let bench = Bench::new();
    bench.write("a.wat", good(0));
    let mut file = fs::OpenOptions::new().append(true).open(bench.path("a.wat")).unwrap();
    let writer = tasks::thread("writer", move || {
        let started = std::time::Instant::now();
        // More often than a file has to be at rest, for as long as several looks take.
        for mark in 1.. {
            // At its end: what is there is a plugin at every moment.
            writeln!(file, ";; {mark}").unwrap();
            if started.elapsed() > Duration::from_millis(5 * SETTLE_MS) {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(SETTLE_MS / 20));
        }
    })
    .unwrap();
    let refreshed = Registry::load_all(&bench.context).await;
    writer.join().unwrap();
    assert!(
        refreshed.registry.loaded("a").is_some() && !refreshed.unsettled,
        "{:?}",
        refreshed.registry
    );
}
