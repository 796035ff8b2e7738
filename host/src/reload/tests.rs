//! The whole loop on real files: what is written is taken, and what is bad changes nothing but the
//! status.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;
use crate::clock::Clock;
use crate::config::MakeSecrets;
use crate::config::source::{Secrets, Verify};
use crate::plugins::Entry;
use crate::sandbox::{Compiler, Sandbox, SandboxOptions};
use crate::status::Condition;
use crate::tasks;

mod links;
mod secrets;

/// How long a state is waited for before a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// No look but for a reason: what a test sees was brought about by an event.
const EVENTS_ONLY: ReloadTiming =
    ReloadTiming { debounce_ms: 20, poll_ms: 600_000, unwatched_poll_ms: 600_000 };

/// A plugin that can be told from another: `mark` is in its bytes.
fn good(mark: u32) -> String {
    format!("{}\n;; {mark}\n", include_str!("../../tests/guests/ok.wat"))
}

fn config_text(routes: &str) -> String {
    format!("[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n[routes]\n{routes}\n")
}

/// A folder with a configuration and plugins, and a reloader that keeps up with it.
struct Site {
    dir: TempDir,
    watched: Watched,
    swaps: Arc<AtomicUsize>,
    shutdown: CancellationToken,
    running: Option<JoinHandle<()>>,
}

impl Site {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let plugins_dir = dir.path().join("plugins");
        fs::create_dir(&plugins_dir).unwrap();
        fs::write(plugins_dir.join("a.wat"), good(1)).unwrap();
        let path = dir.path().join("config.toml");
        fs::write(&path, config_text("\"x.*\" = \"a\"")).unwrap();
        let config = Config::load(&path, MakeSecrets::Yes).unwrap();
        let sandbox = Arc::new(Sandbox::new(SandboxOptions::default()).unwrap());
        let (compiler, clock, approvals) = (Compiler::InProcess, Clock::system(), Arc::default());
        let context =
            LoadContext { sandbox, compiler, dir: plugins_dir, clock, approvals, files: None };
        let registry = Registry::load_all(&context).await.registry;
        let watched = Watched {
            config: Arc::new(ArcSwap::from_pointee(config)),
            registry: Arc::new(ArcSwap::from_pointee(registry)),
            context,
            status: Arc::default(),
            series: Arc::default(),
            reloads: Arc::default(),
        };
        Self {
            dir,
            watched,
            swaps: Arc::default(),
            shutdown: CancellationToken::new(),
            running: None,
        }
    }

    /// Starts the reloader and waits until it watches and has looked once.
    async fn start(&mut self, pace: ReloadTiming) {
        let (watched, swaps, shutdown) =
            (self.watched.clone(), Arc::clone(&self.swaps), self.shutdown.clone());
        let on_change = move || {
            swaps.fetch_add(1, Ordering::SeqCst);
        };
        self.running = Some(tasks::spawn(run(watched, pace, on_change, shutdown)));
        self.until(|condition| condition.generation > 0).await;
    }

    async fn stop(mut self) {
        self.shutdown.cancel();
        self.running.take().unwrap().await.unwrap();
    }

    async fn until(&self, holds: impl FnMut(&Condition) -> bool) {
        let mut follower = self.watched.status.subscribe();
        let waited = tokio::time::timeout(PATIENCE, follower.wait_for(holds)).await;
        waited
            .unwrap_or_else(|_| {
                panic!("stayed at {:?}, {:?}", self.watched.status.get(), self.watched.registry)
            })
            .unwrap();
    }

    async fn until_state(&self, name: &str, state: &str) {
        let registry = Arc::clone(&self.watched.registry);
        self.until(|_| registry.load().entry(name).map(Entry::state) == Some(state)).await;
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts a new file in the place of an old one, as editors and `cp` to a new name and `mv` do.
    fn replace(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path("new"), content).unwrap();
        fs::rename(self.path("new"), self.path(name)).unwrap();
    }

    fn patterns(&self) -> Vec<String> {
        self.watched.config.load().routes.iter().map(|route| route.pattern.clone()).collect()
    }
}

#[tokio::test]
async fn a_replaced_plugin_is_taken_and_garbage_is_only_reported() {
    let mut site = Site::new().await;
    site.start(EVENTS_ONLY).await;
    let first = site.watched.registry.load().loaded("a").unwrap().digest;
    site.replace("plugins/a.wat", good(2));
    let registry = Arc::clone(&site.watched.registry);
    site.until(|_| registry.load().loaded("a").is_some_and(|loaded| loaded.digest != first)).await;
    let second = registry.load().loaded("a").unwrap().digest;
    fs::write(site.path("plugins/a.wat"), "garbage").unwrap();
    site.until_state("a", "stale").await;
    assert_eq!(registry.load().loaded("a").unwrap().digest, second);
    fs::remove_file(site.path("plugins/a.wat")).unwrap();
    site.until_state("a", "missing").await;
    assert!(site.watched.status.get().config.is_none(), "the running configuration stays good");
    assert!(site.swaps.load(Ordering::SeqCst) >= 4);
    site.stop().await;
}

#[tokio::test]
async fn a_configuration_with_a_mistake_keeps_the_last_good_one() {
    let mut site = Site::new().await;
    site.start(EVENTS_ONLY).await;
    fs::write(site.path("config.toml"), config_text("\"y.*\" = \"nobody\"")).unwrap();
    site.until(|condition| condition.config.is_some()).await;
    assert!(site.watched.status.get().config.unwrap().text.contains("nobody"));
    assert_eq!(site.patterns(), ["x.*"]);
    site.replace("config.toml", config_text("\"z.*\" = \"a\""));
    site.until(|condition| condition.config.is_none()).await;
    assert_eq!(site.patterns(), ["z.*"]);
    site.stop().await;
}

#[tokio::test]
async fn a_route_to_a_plugin_that_comes_later_is_taken_when_it_comes() {
    let mut site = Site::new().await;
    site.start(EVENTS_ONLY).await;
    site.replace("config.toml", config_text("\"y.*\" = \"b\""));
    site.until(|condition| condition.config.is_some()).await;
    site.replace("plugins/b.wat", good(2));
    site.until(|condition| condition.config.is_none()).await;
    assert_eq!(site.patterns(), ["y.*"]);
    site.until_state("b", "loaded").await;
    site.stop().await;
}

#[tokio::test]
async fn a_plugin_and_its_route_that_come_together_are_both_taken() {
    let mut site = Site::new().await;
    site.start(EVENTS_ONLY).await;
    site.replace("config.toml", config_text("\"y.*\" = \"b\""));
    site.replace("plugins/b.wat", good(2));
    let config = Arc::clone(&site.watched.config);
    site.until(|_| config.load().routes.iter().any(|route| route.pattern == "y.*")).await;
    site.until_state("b", "loaded").await;
    assert!(site.watched.status.get().config.is_none());
    site.stop().await;
}

#[tokio::test]
async fn a_listener_that_waits_for_a_restart_takes_no_secret_away() {
    let mut site = Site::new().await;
    site.start(EVENTS_ONLY).await;
    let source =
        "[sources.s]\npreset = \"heygen\"\nsecrets = [{ env = \"HOOKBOX_TEST_NEVER_SET\" }]\n";
    let text = format!("{}\n{source}", config_text("\"x.*\" = \"a\""));
    let config = Arc::clone(&site.watched.config);
    let made = |config: &Config| {
        let source = &config.sources["s"];
        assert!(matches!(source.verify, Verify::Signature(_)), "it is verified");
        matches!(source.secrets, Secrets::Generated { .. })
    };
    site.replace("config.toml", text.clone());
    site.until(|_| config.load().sources.contains_key("s")).await;
    assert!(made(&config.load()));
    site.replace("config.toml", text.replace("listen = \"127.0.0.1:0\"", "listen = \"0.0.0.0:0\""));
    site.until(|condition| condition.restart_needed == ["server.listen"]).await;
    assert!(made(&config.load()), "the host still listens on loopback");
    let said =
        config.load().warnings.iter().map(|warning| warning.text.clone()).collect::<String>();
    assert!(said.contains("this host made is used instead") && !said.contains("503"), "{said}");
    // Webhooks that a proxy brings are of others, wherever the host listens.
    let proxied = "listen = \"0.0.0.0:0\"\npublic_url = \"https://hooks.example.com\"";
    site.replace("config.toml", text.replace("listen = \"127.0.0.1:0\"", proxied));
    site.until(|_| config.load().server.public_url.is_some()).await;
    assert!(!made(&config.load()));
    site.stop().await;
}

#[tokio::test]
async fn a_key_that_needs_a_restart_says_so_until_it_is_taken_back() {
    let mut site = Site::new().await;
    site.start(EVENTS_ONLY).await;
    let text = config_text("\"x.*\" = \"a\"");
    site.replace(
        "config.toml",
        text.replace("listen = \"127.0.0.1:0\"", "listen = \"127.0.0.1:1\""),
    );
    site.until(|condition| condition.restart_needed == ["server.listen"]).await;
    // Another change does not make it forget.
    site.replace(
        "config.toml",
        text.replace("listen = \"127.0.0.1:0\"", "listen = \"127.0.0.1:2\""),
    );
    let config = Arc::clone(&site.watched.config);
    site.until(|_| config.load().server.listen.port() == 2).await;
    assert_eq!(site.watched.status.get().restart_needed, ["server.listen"]);
    site.replace("config.toml", text);
    site.until(|condition| condition.restart_needed.is_empty()).await;
    site.stop().await;
}

#[tokio::test]
async fn a_folder_put_in_the_place_of_the_old_one_is_watched() {
    let mut site = Site::new().await;
    site.start(EVENTS_ONLY).await;
    fs::create_dir(site.path("next")).unwrap();
    fs::write(site.path("next/a.wat"), good(2)).unwrap();
    fs::write(site.path("next/b.wat"), good(3)).unwrap();
    fs::rename(site.path("plugins"), site.path("old")).unwrap();
    fs::rename(site.path("next"), site.path("plugins")).unwrap();
    site.until_state("b", "loaded").await;
    fs::write(site.path("plugins/c.wat"), good(4)).unwrap();
    site.until_state("c", "loaded").await;
    site.stop().await;
}

#[tokio::test]
async fn what_cannot_be_watched_is_looked_at_now_and_then() {
    let mut site = Site::new().await;
    fs::rename(site.path("plugins"), site.path("away")).unwrap();
    site.start(ReloadTiming { unwatched_poll_ms: 5, ..EVENTS_ONLY }).await;
    let trouble = site.watched.status.get().watch.unwrap();
    assert!(trouble.text.contains("plugins"), "{}", trouble.text);
    assert!(site.watched.registry.load().loaded("a").is_some(), "what was loaded stays");
    fs::write(site.path("away/b.wat"), good(2)).unwrap();
    fs::rename(site.path("away"), site.path("plugins")).unwrap();
    site.until(|condition| condition.watch.is_none()).await;
    site.until_state("b", "loaded").await;
    site.stop().await;
}

#[tokio::test]
async fn a_hangup_reads_the_configuration_again() {
    let mut site = Site::new().await;
    site.start(EVENTS_ONLY).await;
    let before = site.watched.status.get().generation;
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::HUP).unwrap();
    site.until(|condition| condition.generation > before).await;
    site.stop().await;
}
