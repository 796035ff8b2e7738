//! What a shelf becomes when the folder changes, also in the middle of a look.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::sandbox::SandboxOptions;

/// A plugin that can be told from another: `mark` is in its bytes.
fn good(mark: u32) -> String {
    format!("{}\n;; {mark}\n", include_str!("../../../tests/guests/ok.wat"))
}

struct Bench {
    dir: TempDir,
    stock: Stock,
    shelf: Shelf,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let sandbox = Arc::new(Sandbox::new(SandboxOptions::default()).unwrap());
        let stock = Stock { sandbox, dir: dir.path().to_owned(), clock: Clock::manual(7_000) };
        Self { dir, stock, shelf: Shelf::default() }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    fn write(&self, file: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(file), content).unwrap();
    }

    async fn refresh(&mut self) -> Vec<Change> {
        let refreshed = self.shelf.refresh(&self.stock).await;
        assert!(!refreshed.unsettled);
        self.shelf = refreshed.shelf;
        refreshed.changes
    }

    fn state(&self, name: &str) -> &'static str {
        self.shelf.slot(name).map_or("unknown", Slot::state)
    }

    fn digest(&self, name: &str) -> Option<Digest> {
        self.shelf.loaded(name).map(|loaded| loaded.digest)
    }

    fn problem(&self, name: &str) -> String {
        self.shelf.slot(name).and_then(|slot| slot.problem.clone()).unwrap_or_default()
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
    let loaded = bench.shelf.loaded("a").unwrap();
    assert_eq!((loaded.digest, loaded.loaded_at_ms, &loaded.path), (sha(&good(1)), 7_000, &bench.path("a.wat")));
    assert_eq!((bench.state("a"), bench.state("b"), bench.state("c")), ("loaded", "loaded", "unknown"));
}

#[tokio::test]
async fn an_unchanged_file_is_not_compiled_again() {
    let mut bench = Bench::new();
    bench.write("a.wat", good(1));
    bench.refresh().await;
    let before = Arc::clone(bench.shelf.loaded("a").unwrap());
    assert_eq!(bench.refresh().await, []);
    // The same content under another time of modification and another inode.
    bench.write("new", good(1));
    fs::rename(bench.path("new"), bench.path("a.wat")).unwrap();
    assert_eq!(bench.refresh().await, []);
    assert!(Arc::ptr_eq(&before, bench.shelf.loaded("a").unwrap()));
}

#[tokio::test]
async fn a_replaced_file_is_taken() {
    let mut bench = Bench::new();
    bench.write("a.wat", good(1));
    bench.refresh().await;
    bench.write("new", good(2));
    fs::rename(bench.path("new"), bench.path("a.wat")).unwrap();
    let change = Change::Loaded { name: "a".into(), digest: sha(&good(2)), previous: Some(sha(&good(1))) };
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
    assert!(matches!(&changes[..], [Change::Kept { problem, .. }] if problem.contains("a.wat")), "{changes:?}");
    assert_eq!((bench.state("a"), bench.digest("a")), ("stale", Some(sha(&good(1)))));
    // Said once, also when the same garbage is written again.
    bench.write("a.wat", "garbage");
    assert_eq!(bench.refresh().await, []);
    // Put back as it was, it is what runs: nothing is compiled.
    let before = Arc::clone(bench.shelf.loaded("a").unwrap());
    bench.write("a.wat", good(1));
    assert!(matches!(&bench.refresh().await[..], [Change::Loaded { .. }]));
    assert!(bench.state("a") == "loaded" && Arc::ptr_eq(&before, bench.shelf.loaded("a").unwrap()));
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
    fs::rename(bench.path("a.wat"), bench.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink(bench.path("elsewhere"), bench.path("a.wat")).unwrap();
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
    assert_eq!((bench.state("a"), bench.shelf.problems().len()), ("loaded", 1));
    fs::rename(&away, bench.dir.path()).unwrap();
    bench.refresh().await;
    assert_eq!((bench.state("a"), bench.shelf.problems().len()), ("loaded", 0));
}

/// Plays the three looks of a refresh with something happening between them.
fn step(bench: &Bench, between: impl FnOnce(&Path), after: impl FnOnce(&Path)) -> Refreshed {
    let folder = Folder::open(bench.dir.path()).unwrap();
    let first = folder.look().unwrap();
    between(bench.dir.path());
    let trials = bench.shelf.try_files(&bench.stock, &first).unwrap();
    after(bench.dir.path());
    bench.shelf.assemble(&bench.stock, &first, trials, &folder.look().unwrap())
}

#[test]
fn a_half_written_file_is_neither_loaded_nor_called_bad() {
    let bench = Bench::new();
    let whole = good(1);
    let (half, rest) = whole.split_at(20);
    bench.write("a.wat", half);
    let finish = |dir: &Path| fs::write(dir.join("a.wat"), format!("{half}{rest}")).unwrap();
    // Finished while it settles, and finished while it is being compiled.
    for refreshed in [step(&bench, finish, |_| ()), {
        bench.write("a.wat", half);
        step(&bench, |_| (), finish)
    }] {
        assert!(refreshed.unsettled && refreshed.changes.is_empty(), "{:?}", refreshed.changes);
        assert!(refreshed.shelf.slot("a").is_none());
    }
    let refreshed = step(&bench, |_| (), |_| ());
    assert!(!refreshed.unsettled);
    assert_eq!(refreshed.shelf.slot("a").map(Slot::state), Some("loaded"));
}

#[test]
fn a_valid_beginning_of_a_file_that_goes_on_is_not_loaded() {
    let bench = Bench::new();
    bench.write("a.wat", good(1));
    let refreshed = step(&bench, |_| (), |dir| fs::write(dir.join("a.wat"), good(1) + " garbage").unwrap());
    assert!(refreshed.unsettled && refreshed.shelf.loaded("a").is_none());
}

#[tokio::test]
async fn a_file_that_is_removed_to_be_replaced_is_not_taken_for_removed() {
    let mut bench = Bench::new();
    bench.write("a.wat", good(1));
    bench.refresh().await;
    fs::remove_file(bench.path("a.wat")).unwrap();
    let refreshed = step(&bench, |_| (), |dir| fs::write(dir.join("a.wat"), good(2)).unwrap());
    assert!(refreshed.unsettled && refreshed.changes.is_empty(), "{:?}", refreshed.changes);
    assert_eq!(refreshed.shelf.loaded("a").map(|loaded| loaded.digest), Some(sha(&good(1))));
}

#[test]
fn a_problem_names_its_causes_and_is_bounded() {
    #[derive(Debug, thiserror::Error)]
    #[error("it is bad")]
    struct Outer(#[source] std::io::Error);
    let error = |text: &str| Outer(std::io::Error::other(text.to_owned()));
    assert_eq!(describe("a.wasm", &error("a byte")), "failed to load a.wasm: it is bad: a byte");
    let long = describe("a.wasm", &error(&"é".repeat(MAX_PROBLEM_BYTES)));
    assert!(long.len() <= MAX_PROBLEM_BYTES + '…'.len_utf8() && long.ends_with("é…"));
}
