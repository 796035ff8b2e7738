//! Files that ask for more: what is held, what lets it in, and what a restart makes of it.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::mpsc::channel;
use std::task::Poll;

use arc_swap::ArcSwap;

use super::*;
use crate::config::{Config, Grants, HostPattern, HttpRule, MakeSecrets, PluginSettings};
use crate::plugins::NotApproved;

mod folder;

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

/// A host's folder of plugins, with what it remembers of them.
struct Host {
    bench: Bench,
    config: Arc<ArcSwap<Config>>,
}

impl Host {
    fn new() -> Self {
        let bench = Bench::new();
        bench.write("config.toml", "[server]\nplugins_dir = \".\"\n");
        let config = Config::load(&bench.path("config.toml"), MakeSecrets::No).unwrap();
        let mut host = Self { bench, config: Arc::new(ArcSwap::from_pointee(config)) };
        host.open();
        host
    }

    fn notes(&self) -> PathBuf {
        self.bench.path("approved")
    }

    fn open(&mut self) {
        let approvals = Approvals::open(self.notes(), self.config.clone()).unwrap();
        self.bench.stock.approvals = Arc::new(approvals);
    }

    /// Nothing but what is on disk is left.
    async fn restart(&mut self) -> Vec<Change> {
        self.open();
        self.bench.shelf = Shelf::begin(&self.bench.stock).await.shelf;
        self.bench.work = Work::new(Arc::new(Notify::new()));
        self.bench.refresh().await
    }

    async fn put(&mut self, content: &str) -> Vec<Change> {
        self.bench.write("new", content);
        fs::rename(self.bench.path("new"), self.bench.path("a.wat")).unwrap();
        self.bench.refresh().await
    }

    fn approve(&self, content: &str) -> Result<Digest, NotApproved> {
        self.bench.stock.approvals.approve("a", Some(sha(content)))
    }

    fn settings(&self, settings: PluginSettings) {
        let mut config = Config::clone(&self.config.load());
        config.plugins = [("a".to_owned(), Arc::new(settings))].into();
        self.config.store(Arc::new(config));
    }

    #[track_caller]
    fn is(&self, state: &str, runs: Option<&str>, held: Option<&str>) {
        let slot = self.bench.shelf.slot("a").unwrap();
        let found = slot.held.as_ref().map(|held| held.candidate.digest);
        assert_eq!((slot.state(), self.bench.digest("a"), found), (state, runs.map(sha), held.map(sha)), "{slot:?}");
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
        authorities: None,
    };
    PluginSettings { grants: Arc::new(Grants { http: vec![Arc::new(rule)] }), ..PluginSettings::default() }
}

#[tokio::test]
async fn a_file_that_asks_for_more_is_held_and_the_old_one_goes_on() {
    let mut host = Host::new();
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
    let slot = host.bench.shelf.slot("a").unwrap();
    let held = slot.held.as_ref().unwrap();
    assert_eq!(held.imports_added, ["hookbox:plugin/config@0.1.0", "wasi:http/outgoing-handler@0.2.0"]);
    assert_eq!((held.asks_for().as_str(), held.since_ms, &held.trouble), ("http, config", 7_000, &None));
    // Said once, also when the same file is written again; garbage and what asks for no more take its place.
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
    let mut host = Host::new();
    let first = asks(1, &["http", "kv", "config"]);
    host.put(&first).await;
    host.is("loaded", Some(&first), None);
    let next = asks(2, &["kv", "http"]);
    host.put(&next).await;
    host.is("loaded", Some(&next), None);
}

#[tokio::test]
async fn an_approval_lets_exactly_that_file_in() {
    let mut host = Host::new();
    let (old, new) = (asks(1, &[]), asks(2, &["kv"]));
    host.put(&old).await;
    assert_eq!(host.approve(&new), Err(NotApproved::NothingHeld));
    host.put(&new).await;
    assert_eq!(host.approve("another"), Err(NotApproved::OtherHeld(sha(&new))));
    assert_eq!(host.bench.refresh().await, [], "nothing was approved");
    assert_eq!((host.approve(&new), host.approve(&new)), (Ok(sha(&new)), Ok(sha(&new))), "twice is as good as once");
    let changes = host.bench.refresh().await;
    let [Change::Loaded { previous, let_in: Some(let_in), .. }] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!((*previous, let_in.why, let_in.added.len()), (Some(sha(&old)), "approved", 1));
    host.is("loaded", Some(&new), None);
    assert_eq!(host.approve("another"), Err(NotApproved::NothingHeld));
    assert_eq!(host.approve(&new), Ok(sha(&new)), "whoever comes late is told the same");
    let kept: Vec<_> = fs::read_dir(host.notes()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(kept.len(), 2, "one note and one file: {kept:?}");
}

#[tokio::test]
async fn a_file_that_changes_between_the_look_and_the_approval_is_not_let_in() {
    let mut host = Host::new();
    let (old, shown, other) = (asks(1, &[]), asks(2, &["kv"]), asks(3, &["kv"]));
    host.put(&old).await;
    host.put(&shown).await;
    // It is written, and not yet seen, when the operator approves what was shown.
    host.bench.write("a.wat", &other);
    assert_eq!(host.approve(&shown), Ok(sha(&shown)));
    assert!(matches!(&host.bench.refresh().await[..], [Change::Held { .. }]));
    host.is("held", Some(&old), Some(&other));
    assert_eq!(host.approve(&shown), Err(NotApproved::OtherHeld(sha(&other))));
    // The approval is over: it does not wait for the file to come back, here or after a restart.
    host.put(&shown).await;
    host.is("held", Some(&old), Some(&shown));
    host.restart().await;
    host.is("held", Some(&old), Some(&shown));
}

#[tokio::test]
async fn an_approval_that_is_over_counts_for_nothing_also_while_that_cannot_be_noted() {
    let mut host = Host::new();
    let (old, shown, other) = (asks(1, &[]), asks(2, &["kv"]), asks(3, &["kv"]));
    host.put(&old).await;
    host.put(&shown).await;
    host.approve(&shown).unwrap();
    let note = host.notes().join("a.json");
    let approved = sha(&shown).to_string();
    let in_the_way = host.notes().join("a.json.draft");
    fs::create_dir(&in_the_way).unwrap();
    host.bench.write("a.wat", &other);
    host.bench.refresh().await;
    assert!(fs::read_to_string(&note).unwrap().contains(&approved), "it could not be struck out");
    host.put(&shown).await;
    host.is("held", Some(&old), Some(&shown));
    host.bench.refresh().await;
    host.is("held", Some(&old), Some(&shown));
    // The next look that can write it does, though the folder is as it was.
    fs::remove_dir(&in_the_way).unwrap();
    host.bench.refresh().await;
    assert!(!fs::read_to_string(&note).unwrap().contains(&approved));
    host.restart().await;
    host.is("held", Some(&old), Some(&shown));
    host.approve(&shown).unwrap();
    host.bench.refresh().await;
    host.is("loaded", Some(&shown), None);
}

#[test]
fn a_look_keeps_no_thread_waiting_while_an_approval_is_being_written() {
    let host = Host::new();
    let stock = host.bench.stock.clone();
    let writing = host.bench.stock.approvals.writing();
    let (polled, was_pending) = channel();
    let looks = tasks::thread("look", move || {
        let refreshed = Refreshed { shelf: Shelf::default(), changes: Vec::new(), unsettled: false };
        tasks::runtime("look", 1).unwrap().block_on(async {
            let mut settles = pin!(refreshed.settle(&stock));
            let is_pending = poll_fn(|cx| Poll::Ready(settles.as_mut().poll(cx).is_pending())).await;
            polled.send(is_pending).unwrap();
            settles.await;
        });
    });
    assert_eq!(was_pending.recv_timeout(Duration::from_secs(30)), Ok(true), "the thread itself waits");
    drop(writing);
    looks.unwrap().join().unwrap();
}

#[tokio::test]
async fn asking_for_less_is_taken_at_once_and_asking_for_more_again_is_held_again() {
    let mut host = Host::new();
    let (old, new) = (asks(1, &[]), asks(2, &["kv"]));
    host.put(&old).await;
    host.put(&new).await;
    host.approve(&new).unwrap();
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
    let mut host = Host::new();
    let (old, new) = (asks(1, &[]), asks(2, &["http"]));
    host.put(&old).await;
    host.put(&new).await;
    host.is("held", Some(&old), Some(&new));
    host.settings(http_rule());
    let changes = host.bench.refresh().await;
    assert!(matches!(&changes[..], [Change::Loaded { let_in: Some(LetIn { why: "granted", .. }), .. }]), "{changes:?}");
    host.is("loaded", Some(&new), None);
    let more = asks(3, &["http", "kv"]);
    host.put(&more).await;
    host.is("held", Some(&new), Some(&more));
    host.settings(PluginSettings { approve: crate::config::Approve::Auto, ..http_rule() });
    let changes = host.bench.refresh().await;
    assert!(matches!(&changes[..], [Change::Loaded { let_in: Some(LetIn { why: "auto", .. }), .. }]), "{changes:?}");
    host.is("loaded", Some(&more), None);
}

#[tokio::test]
async fn a_restart_runs_what_was_kept_while_its_new_file_is_held() {
    let mut host = Host::new();
    let (old, new) = (asks(1, &[]), asks(2, &["kv"]));
    host.put(&old).await;
    host.put(&new).await;
    let changes = host.restart().await;
    assert!(matches!(&changes[..], [Change::Loaded { .. }, Change::Held { .. }]), "{changes:?}");
    host.is("held", Some(&old), Some(&new));
    // Also if it is the second time, and the file was replaced while the host was down.
    let other = asks(3, &["kv", "http"]);
    host.bench.write("a.wat", &other);
    host.restart().await;
    host.is("held", Some(&old), Some(&other));
    host.approve(&other).unwrap();
    host.restart().await;
    host.is("loaded", Some(&other), None);
}

#[tokio::test]
async fn a_restart_without_what_was_kept_runs_nothing_until_the_new_file_is_approved() {
    let mut host = Host::new();
    let (old, new) = (asks(1, &[]), asks(2, &["kv"]));
    host.put(&old).await;
    host.put(&new).await;
    let kept = host.notes().join(format!("a.{}", sha(&old)));
    // One that is damaged is as good as none.
    for damage in [|path: &Path| fs::write(path, "(component)").unwrap(), |path: &Path| fs::remove_file(path).unwrap()]
    {
        damage(&kept);
        assert!(matches!(&host.restart().await[..], [Change::Held { .. }]));
        host.is("held", None, Some(&new));
    }
    host.approve(&new).unwrap();
    host.bench.refresh().await;
    host.is("loaded", Some(&new), None);
}

#[tokio::test]
async fn a_note_that_is_garbage_allows_nothing() {
    let mut host = Host::new();
    let (file, harmless) = (asks(1, &["kv"]), asks(2, &[]));
    host.put(&file).await;
    host.bench.write("b.wat", &harmless);
    host.bench.refresh().await;
    let digest = sha(&file);
    for garbage in [
        String::new(),
        "garbage".to_owned(),
        "{}".to_owned(),
        format!(r#"{{"digest":"{digest}","capabilities":["kv","everything"],"approved":null}}"#),
        r#"{"digest":"abc","capabilities":["kv"],"approved":null}"#.to_owned(),
        format!(r#"{{"digest":"{digest}","capabilities":["kv"],"approved":null,"more":1}}"#),
    ] {
        for name in ["a", "b"] {
            fs::write(host.notes().join(format!("{name}.json")), &garbage).unwrap();
        }
        host.restart().await;
        host.is("held", None, Some(&file));
        let trouble = host.bench.shelf.slot("a").unwrap().held.as_ref().unwrap().trouble.clone().unwrap();
        assert!(trouble.contains("a.json"), "{trouble}");
        assert_eq!(host.bench.state("b"), "loaded", "it asks for nothing");
    }
    host.approve(&file).unwrap();
    host.restart().await;
    host.is("loaded", Some(&file), None);
}

#[tokio::test]
async fn a_plugin_that_is_removed_and_put_back_is_no_new_one() {
    let mut host = Host::new();
    let (old, new) = (asks(1, &[]), asks(2, &["kv"]));
    host.put(&old).await;
    fs::remove_file(host.bench.path("a.wat")).unwrap();
    host.bench.refresh().await;
    host.is("missing", None, None);
    assert!(!host.notes().join(format!("a.{}", sha(&old))).exists(), "its files are not kept");
    host.put(&new).await;
    host.is("held", None, Some(&new));
    fs::remove_file(host.bench.path("a.wat")).unwrap();
    host.bench.refresh().await;
    host.is("missing", None, None);
    assert_eq!(host.approve(&new), Err(NotApproved::NothingHeld));
    host.put(&old).await;
    host.is("loaded", Some(&old), None);
}

#[tokio::test]
async fn who_only_looks_sees_what_would_be_held_and_changes_nothing() {
    let mut host = Host::new();
    let (old, new) = (asks(1, &[]), asks(2, &["kv"]));
    host.put(&old).await;
    host.bench.write("a.wat", &new);
    fs::write(host.notes().join("a.json.draft"), "of a host that is writing it").unwrap();
    let names =
        || -> BTreeSet<_> { fs::read_dir(host.notes()).unwrap().map(|entry| entry.unwrap().file_name()).collect() };
    let before = names();
    let looks = Approvals::look(host.notes(), host.config.clone()).unwrap();
    let shelf = Shelf::load_all(&Stock { approvals: Arc::new(looks), ..host.bench.stock.clone() }).await.shelf;
    let slot = shelf.slot("a").unwrap();
    assert_eq!((slot.state(), slot.loaded.as_ref().map(|loaded| loaded.digest)), ("held", Some(sha(&old))), "{slot:?}");
    assert_eq!(names(), before);
    let after = fs::read_to_string(host.notes().join("a.json")).unwrap();
    assert!(after.contains(&sha(&old).to_string()), "{after}");
}

#[tokio::test]
async fn what_cannot_be_noted_is_not_taken_up_and_tried_again() {
    let mut host = Host::new();
    fs::write(host.notes(), "in the way").unwrap();
    let file = asks(1, &["kv"]);
    host.put(&file).await;
    host.is("failed", None, None);
    assert!(host.bench.problem("a").contains("cannot be noted"), "{}", host.bench.problem("a"));
    fs::remove_file(host.notes()).unwrap();
    host.bench.refresh().await;
    host.is("loaded", Some(&file), None);
    assert_eq!(host.bench.problem("a"), "");
}
