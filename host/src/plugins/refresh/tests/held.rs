//! Files that ask for more: what is held, what lets it in, and what a restart makes of it.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::mpsc::channel;
use std::task::Poll;

use arc_swap::ArcSwap;

use super::*;
use crate::config::{Config, Grants, HostPattern, HttpRule, MakeSecrets, PluginSettings};
use crate::plugins::{Admission, Approvals, NotApproved};
use crate::sandbox::Cache;
use crate::store::{Read, Sqlite, SqliteOptions};

mod former;
mod restart;

/// A plugin that asks for these capabilities.
fn asks(mark: u32, capabilities: &[&str]) -> String {
    let imports: String = capabilities
        .iter()
        .map(|name| match *name {
            "http" => "(import \"wasi:http/outgoing-handler@0.2.0\" (instance))",
            "kv" => "(import \"hookbox:plugin/kv@0.1.0\" (instance))",
            "config" => "(import \"hookbox:plugin/config@0.1.0\" (instance))",
            other => panic!("{other}"),
        })
        .collect();
    good(mark).replacen("(component", &format!("(component {imports}"), 1)
}

/// A host's folder of plugins, with what it stores of them.
struct Host {
    bench: Bench,
    data: TempDir,
    store: Arc<Sqlite>,
    config: Arc<ArcSwap<Config>>,
}

impl Host {
    async fn new() -> Self {
        let (bench, data) = (Bench::new(), tempfile::tempdir().unwrap());
        bench.write("config.toml", "[server]\nplugins_dir = \".\"\n");
        let config = Config::load(&bench.path("config.toml"), MakeSecrets::No).unwrap();
        let options = SqliteOptions::at(data.path().join("hookbox.db"), Clock::manual(7_000));
        let store = Arc::new(Sqlite::open(options).unwrap());
        let mut host = Self { bench, data, store, config: Arc::new(ArcSwap::from_pointee(config)) };
        host.open().await;
        host
    }

    fn files(&self) -> Cache {
        Cache::at(self.data.path().join("compiled"))
    }

    fn former(&self) -> PathBuf {
        self.data.path().join("approved")
    }

    async fn try_open(&self) -> Result<Approvals, String> {
        Approvals::open(self.store.clone(), &self.former(), self.files(), self.config.clone()).await
    }

    async fn open(&mut self) {
        self.bench.context.approvals = Arc::new(self.try_open().await.unwrap());
        self.bench.context.files = Some(self.files());
    }

    /// Nothing but what is on disk is left.
    async fn restart(&mut self) -> Vec<Change> {
        self.open().await;
        self.bench.registry = Registry::begin(&self.bench.context).await.registry;
        self.bench.queue = LoadQueue::new(Arc::new(Notify::new()));
        self.bench.refresh().await
    }

    async fn put(&mut self, content: &str) -> Vec<Change> {
        self.bench.write("new", content);
        fs::rename(self.bench.path("new"), self.bench.path("a.wat")).unwrap();
        self.bench.refresh().await
    }

    async fn approve(&self, content: &str) -> Result<Digest, NotApproved> {
        self.bench.context.approvals.approve(None, "a".into(), Some(sha(content))).await
    }

    fn settings(&self, settings: PluginSettings) {
        let mut config = Config::clone(&self.config.load());
        config.plugins = [("a".to_owned(), Arc::new(settings))].into();
        self.config.store(Arc::new(config));
    }

    /// The stored files of plugins, and whether each was admitted.
    async fn rows(&self) -> Vec<(Digest, bool)> {
        let rows = self.store.approvals().await.unwrap().into_iter();
        rows.map(|row| (row.approval.digest, row.admitted)).collect()
    }

    /// Where a file is kept.
    fn kept(&self, content: &str) -> PathBuf {
        self.data.path().join(format!("compiled/{}.plugin", sha(content)))
    }

    /// The names of all files that are kept.
    fn all_kept(&self) -> BTreeSet<PathBuf> {
        let entries = fs::read_dir(self.data.path().join("compiled")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    #[track_caller]
    fn is(&self, state: &str, runs: Option<&str>, held: Option<&str>) {
        let entry = self.bench.registry.entry("a").unwrap();
        let found = entry.held().map(|held| held.candidate.digest);
        assert_eq!(
            (entry.state(), self.bench.digest("a"), found),
            (state, runs.map(sha), held.map(sha)),
            "{entry:?}"
        );
    }

    fn trouble(&self) -> String {
        self.bench.registry.entry("a").unwrap().held().unwrap().trouble.clone().unwrap()
    }
}

fn http_rule() -> PluginSettings {
    let rule = HttpRule {
        tls: true,
        host: HostPattern::Name("api.example.com".to_owned()),
        port: 443,
        methods: None,
        path: "/".to_owned(),
        private: false,
        headers: Vec::new(),
        idempotency_key: true,
        traceparent: true,
        authorities: None,
    };
    PluginSettings {
        grants: Arc::new(Grants { http: vec![Arc::new(rule)] }),
        ..PluginSettings::default()
    }
}

#[tokio::test]
async fn a_file_that_asks_for_more_is_held_and_the_old_one_goes_on() {
    let mut host = Host::new().await;
    let (old, new) = (asks(1, &["kv"]), asks(2, &["kv", "http", "config"]));
    host.put(&old).await;
    host.is("loaded", Some(&old), None);
    let held = Change::Held {
        name: "a".into(),
        digest: sha(&new),
        asks_for: "http, config".to_owned(),
        command: format!("hookbox plugins approve a --digest {}", sha(&new)),
    };
    assert_eq!(host.put(&new).await, [held]);
    host.is("held", Some(&old), Some(&new));
    let entry = host.bench.registry.entry("a").unwrap();
    let held = entry.held().unwrap();
    assert_eq!(
        held.imports_added,
        ["hookbox:plugin/config@0.1.0", "wasi:http/outgoing-handler@0.2.0"]
    );
    assert_eq!(
        (held.asks_for().as_str(), held.since_ms, &held.trouble),
        ("http, config", 7_000, &None)
    );
    // Said once, also when the same file is written again; garbage and what asks for no more take
    // its place.
    assert_eq!(host.put(&new).await, []);
    host.is("held", Some(&old), Some(&new));
    host.put("garbage").await;
    host.is("stale", Some(&old), None);
    assert!(matches!(&host.put(&new).await[..], [Change::Held { .. }]));
    assert!(matches!(&host.put(&old).await[..], [Change::Loaded { .. }]), "it is what runs");
    host.is("loaded", Some(&old), None);
}

#[tokio::test]
async fn the_first_file_of_a_plugin_is_taken_whatever_it_asks_for() {
    let mut host = Host::new().await;
    let first = asks(1, &["http", "kv", "config"]);
    host.put(&first).await;
    host.is("loaded", Some(&first), None);
    let next = asks(2, &["kv", "http"]);
    host.put(&next).await;
    host.is("loaded", Some(&next), None);
}

#[tokio::test]
async fn an_approval_lets_exactly_that_file_in() {
    let mut host = Host::new().await;
    let (old, new) = (asks(1, &[]), asks(2, &["kv"]));
    host.put(&old).await;
    assert_eq!(host.approve(&new).await, Err(NotApproved::NothingHeld));
    host.put(&new).await;
    assert_eq!(host.approve("another").await, Err(NotApproved::OtherHeld(sha(&new))));
    assert_eq!(host.bench.refresh().await, [], "nothing was approved");
    assert_eq!(
        (host.approve(&new).await, host.approve(&new).await),
        (Ok(sha(&new)), Ok(sha(&new))),
        "twice is as good as once"
    );
    let changes = host.bench.refresh().await;
    let [Change::Loaded { previous, admission: Some(admission), .. }] = &changes[..] else {
        panic!("{changes:?}")
    };
    assert_eq!(
        (*previous, admission.reason, admission.added.len()),
        (Some(sha(&old)), "approved", 1)
    );
    host.is("loaded", Some(&new), None);
    assert_eq!(host.approve("another").await, Err(NotApproved::NothingHeld));
    assert_eq!(host.approve(&new).await, Ok(sha(&new)), "whoever comes late is told the same");
    assert_eq!(host.rows().await, [(sha(&new), true)]);
    assert_eq!(host.all_kept(), [host.kept(&new)].into(), "only the file that runs is kept");
}

#[tokio::test]
async fn a_file_that_changes_between_the_look_and_the_approval_is_not_let_in() {
    let mut host = Host::new().await;
    let (old, shown, other) = (asks(1, &[]), asks(2, &["kv"]), asks(3, &["kv"]));
    host.put(&old).await;
    host.put(&shown).await;
    // It is written, and not yet seen, when the operator approves what was shown.
    host.bench.write("a.wat", &other);
    assert_eq!(host.approve(&shown).await, Ok(sha(&shown)));
    assert!(matches!(&host.bench.refresh().await[..], [Change::Held { .. }]));
    host.is("held", Some(&old), Some(&other));
    assert_eq!(host.approve(&shown).await, Err(NotApproved::OtherHeld(sha(&other))));
    // The approval is over: it does not wait for the file to come back, here or after a restart.
    host.put(&shown).await;
    host.is("held", Some(&old), Some(&shown));
    host.restart().await;
    host.is("held", Some(&old), Some(&shown));
}

#[tokio::test]
async fn an_approval_that_is_over_counts_for_nothing_also_while_that_cannot_be_stored() {
    let mut host = Host::new().await;
    let (old, shown, other) = (asks(1, &[]), asks(2, &["kv"]), asks(3, &["kv"]));
    host.put(&old).await;
    host.put(&shown).await;
    host.approve(&shown).await.unwrap();
    host.store.refuse_writes(true);
    host.bench.write("a.wat", &other);
    host.bench.refresh().await;
    assert!(host.rows().await.contains(&(sha(&shown), false)), "it could not be withdrawn");
    host.put(&shown).await;
    host.is("held", Some(&old), Some(&shown));
    host.bench.refresh().await;
    host.is("held", Some(&old), Some(&shown));
    // The next refresh that can store it does, though the folder is as it was.
    host.store.refuse_writes(false);
    host.bench.refresh().await;
    assert_eq!(host.rows().await, [(sha(&old), true)]);
    host.restart().await;
    host.is("held", Some(&old), Some(&shown));
    host.approve(&shown).await.unwrap();
    host.bench.refresh().await;
    host.is("loaded", Some(&shown), None);
}

#[test]
fn a_refresh_keeps_no_thread_waiting_while_an_approval_is_being_stored() {
    let host = tasks::runtime("host", 1).unwrap().block_on(Host::new());
    let context = host.bench.context.clone();
    let storing = host.bench.context.approvals.storing();
    let (polled, was_pending) = channel();
    let refreshes = tasks::thread("refresh", move || {
        let refreshed =
            Refreshed { registry: Registry::default(), changes: Vec::new(), unsettled: false };
        tasks::runtime("refresh", 1).unwrap().block_on(async {
            let queue = LoadQueue::new(Arc::new(Notify::new()));
            let mut settles = pin!(refreshed.settle(&context, &queue));
            let is_pending =
                poll_fn(|cx| Poll::Ready(settles.as_mut().poll(cx).is_pending())).await;
            polled.send(is_pending).unwrap();
            settles.await;
        });
    });
    assert_eq!(
        was_pending.recv_timeout(Duration::from_secs(30)),
        Ok(true),
        "the thread itself waits"
    );
    drop(storing);
    refreshes.unwrap().join().unwrap();
}

#[tokio::test]
async fn asking_for_less_is_taken_at_once_and_asking_for_more_again_is_held_again() {
    let mut host = Host::new().await;
    let (old, new) = (asks(1, &[]), asks(2, &["kv"]));
    host.put(&old).await;
    host.put(&new).await;
    host.approve(&new).await.unwrap();
    host.bench.refresh().await;
    host.put(&old).await;
    host.is("loaded", Some(&old), None);
    host.put(&new).await;
    host.is("held", Some(&old), Some(&new));
    host.restart().await;
    host.is("held", Some(&old), Some(&new));
}

#[tokio::test]
async fn what_the_configuration_grants_is_let_in_and_auto_lets_everything_in() {
    let mut host = Host::new().await;
    let (old, new) = (asks(1, &[]), asks(2, &["http"]));
    host.put(&old).await;
    host.put(&new).await;
    host.is("held", Some(&old), Some(&new));
    host.settings(http_rule());
    let changes = host.bench.refresh().await;
    assert!(
        matches!(
            &changes[..],
            [Change::Loaded { admission: Some(Admission { reason: "granted", .. }), .. }]
        ),
        "{changes:?}"
    );
    host.is("loaded", Some(&new), None);
    let more = asks(3, &["http", "kv"]);
    host.put(&more).await;
    host.is("held", Some(&new), Some(&more));
    host.settings(PluginSettings { approve: crate::config::Approve::Auto, ..http_rule() });
    let changes = host.bench.refresh().await;
    assert!(
        matches!(
            &changes[..],
            [Change::Loaded { admission: Some(Admission { reason: "auto", .. }), .. }]
        ),
        "{changes:?}"
    );
    host.is("loaded", Some(&more), None);
}

#[tokio::test]
async fn a_plugin_that_is_removed_and_put_back_is_no_new_one() {
    let mut host = Host::new().await;
    let (old, new) = (asks(1, &[]), asks(2, &["kv"]));
    host.put(&old).await;
    fs::remove_file(host.bench.path("a.wat")).unwrap();
    host.bench.refresh().await;
    host.is("missing", None, None);
    assert!(host.all_kept().is_empty(), "its files are not kept");
    host.put(&new).await;
    host.is("held", None, Some(&new));
    fs::remove_file(host.bench.path("a.wat")).unwrap();
    host.bench.refresh().await;
    host.is("missing", None, None);
    assert_eq!(host.approve(&new).await, Err(NotApproved::NothingHeld));
    host.put(&old).await;
    host.is("loaded", Some(&old), None);
}

#[tokio::test]
async fn who_only_looks_sees_what_would_be_held_and_changes_nothing() {
    let mut host = Host::new().await;
    let (old, new) = (asks(1, &[]), asks(2, &["kv"]));
    host.put(&old).await;
    host.bench.write("a.wat", &new);
    let kept = host.all_kept();
    let stored = crate::store::peek_approvals(&host.data.path().join("hookbox.db")).unwrap();
    let peeked = Approvals::peek(stored, &host.former(), host.config.clone()).unwrap();
    let files = Cache::read_only(host.data.path().join("compiled"));
    let context = LoadContext {
        approvals: Arc::new(peeked),
        files: Some(files),
        ..host.bench.context.clone()
    };
    let registry = Registry::load_all(&context).await.registry;
    let entry = registry.entry("a").unwrap();
    assert_eq!(
        (entry.state(), entry.loaded.as_ref().map(|loaded| loaded.digest)),
        ("held", Some(sha(&old))),
        "{entry:?}"
    );
    assert_eq!((host.all_kept(), host.rows().await), (kept, vec![(sha(&old), true)]));
}

#[tokio::test]
async fn what_cannot_be_stored_is_not_admitted_and_tried_again() {
    let mut host = Host::new().await;
    host.store.refuse_writes(true);
    let file = asks(1, &["kv"]);
    host.put(&file).await;
    host.is("failed", None, None);
    assert!(host.bench.problem("a").contains("cannot be stored"), "{}", host.bench.problem("a"));
    host.store.refuse_writes(false);
    host.bench.refresh().await;
    host.is("loaded", Some(&file), None);
    assert_eq!(host.bench.problem("a"), "");
}
