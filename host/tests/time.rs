//! A host whose clock is wrong: it runs in this process, by a clock that is moved by hand.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use hookbox::app;
use hookbox::clock::Clock;
use hookbox::config::{Config, MakeSecrets};
use hookbox::sandbox::{ChildCompiler, CompileLimits, Compiler};
use hookbox::store::OnLoss;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::harness::{Site, agent, wait_for};

const START_MS: i64 = 1_770_000_000_000;
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

const CONFIG: &str = r#"
[store]
retention = "48h"
dedupe_window = "47h"
[sources.test]
verify = { scheme = "none" }
type = { json = "/type" }
id = { json = "/id" }
[routes]
"step" = "worker"
"#;

/// The compiler of a host, without a cache.
fn compiler() -> Compiler {
    Compiler::Child(Arc::new(ChildCompiler {
        program: env!("CARGO_BIN_EXE_hookbox").into(),
        cache: None,
        temp_dir: std::env::temp_dir(),
        limits: CompileLimits::default(),
    }))
}

/// A host in a thread of its own.
struct Host {
    public: SocketAddr,
    admin: SocketAddr,
    shutdown: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Host {
    fn start(site: &Site, clock: &Clock) -> Self {
        let config = Config::load(&site.path("config.toml"), MakeSecrets::No).unwrap();
        let (shutdown, clock) = (CancellationToken::new(), clock.clone());
        let (say, said) = std::sync::mpsc::channel();
        let stopping = shutdown.clone();
        let thread = std::thread::Builder::new().spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let app = app::build_by(config, compiler(), OnLoss::Refuse, clock).await.unwrap();
                say.send(app.addresses()).unwrap();
                app.run(stopping, Arc::new(String::new)).await.unwrap();
            });
        });
        let addresses = said.recv().expect("the host starts");
        Self { public: addresses.public, admin: addresses.admin, shutdown, thread: Some(thread.unwrap()) }
    }

    fn stop(mut self) {
        self.shutdown.cancel();
        self.thread.take().unwrap().join().unwrap();
    }

    fn api(&self, path: &str) -> Value {
        let mut response = agent().get(format!("http://{}{path}", self.admin)).call().unwrap();
        serde_json::from_str(&response.body_mut().read_to_string().unwrap()).unwrap()
    }

    /// Sends an event with an id of the provider's own: what it is to the host.
    fn send(&self, id: &str) -> String {
        let body = format!(r#"{{"type":"step","id":"{id}"}}"#);
        let request = agent().post(format!("http://{}/webhook/test", self.public));
        let mut response = request.header("content-type", "application/json").send(body).unwrap();
        let reply: Value = serde_json::from_str(&response.body_mut().read_to_string().unwrap()).unwrap();
        reply["status"].as_str().unwrap_or_else(|| panic!("{reply}")).to_owned()
    }

    fn events(&self) -> usize {
        self.api("/api/v1/events")["items"].as_array().unwrap().len()
    }

    fn is_done(&self, deliveries: u64) {
        let done = || self.api("/api/v1/stats")["deliveries"]["done"].as_u64();
        wait_for("deliveries to be done", || (done() == Some(deliveries)).then_some(()));
    }

    /// Waits until `/readyz` says this; what is wrong with the clock then.
    fn is(&self, status: &str) -> Option<String> {
        let health = wait_for("the health", || {
            let health = self.api("/readyz");
            (health["status"] == status).then_some(health)
        });
        let problem = health["problems"].as_array().unwrap().first()?.clone();
        assert_eq!(problem["part"], "clock", "{health}");
        Some(problem["detail"].as_str().unwrap().to_owned())
    }

    fn command(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hookbox"));
        let ran = command.args(arguments).args(["--admin", &format!("http://{}", self.admin)]).output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
        String::from_utf8(ran.stdout).unwrap()
    }
}

fn site() -> Site {
    Site::new(CONFIG, &[("worker.wat", include_bytes!("guests/ok.wat"))])
}

fn moves(clock: &Clock, ms: i64) {
    clock.step(clock.now_ms() + ms);
}

#[test]
fn a_clock_that_jumps_while_the_host_runs_is_shown_and_nothing_is_deleted_until_it_is_accepted() {
    let (site, clock) = (site(), Clock::manual(START_MS));
    let host = Host::start(&site, &clock);
    assert_eq!(host.is("ready"), None);
    assert_eq!(host.send("first"), "accepted");
    host.is_done(1);
    moves(&clock, 30 * DAY_MS);
    let detail = host.is("degraded").unwrap();
    assert!(detail.contains("forward by 30 d 0 h") && detail.contains("`hookbox clock accept`"), "{detail}");
    assert_eq!((host.send("first").as_str(), host.send("second").as_str()), ("duplicate", "accepted"));
    host.is_done(2);
    // Long enough for a sweep, and for the window of neither.
    clock.set(clock.now_ms() + 11 * MINUTE_MS);
    assert_eq!((host.send("first").as_str(), host.events()), ("duplicate", 2));
    let shown = host.command(&["clock"]);
    assert!(shown.contains("jumped") && shown.contains("forward by 30 d"), "{shown}");
    assert!(host.command(&["clock", "accept"]).starts_with("accepted: it is 2026-"));
    assert_eq!(host.is("ready"), None);
    assert_eq!(host.command(&["clock", "accept"]), "there was nothing to accept: the clock is right\n");
    // The next sweep goes by it.
    clock.set(clock.now_ms() + 11 * MINUTE_MS);
    wait_for("retention", || (host.events() == 1).then_some(()));
    assert_eq!((host.send("first").as_str(), host.send("second").as_str()), ("accepted", "duplicate"));
    host.stop();
}

#[test]
fn a_jump_that_is_over_is_forgotten() {
    let (site, clock) = (site(), Clock::manual(START_MS));
    let host = Host::start(&site, &clock);
    host.send("first");
    for by_ms in [34 * 365 * DAY_MS, -DAY_MS] {
        moves(&clock, by_ms);
        assert!(host.is("degraded").is_some());
        moves(&clock, -by_ms);
        assert_eq!(host.is("ready"), None);
    }
    assert_eq!(
        (host.send("first").as_str(), host.api("/api/v1/clock")["state"].as_str()),
        ("duplicate", Some("right"))
    );
    host.stop();
}

#[test]
fn a_host_that_was_off_for_long_deletes_nothing_in_its_first_minute() {
    let (site, clock) = (site(), Clock::manual(START_MS));
    let host = Host::start(&site, &clock);
    host.send("first");
    host.is_done(1);
    host.stop();
    // For so long that all would be gone: somebody should look.
    clock.set(START_MS + 40 * DAY_MS);
    let host = Host::start(&site, &clock);
    let detail = host.is("degraded").unwrap();
    assert!(detail.starts_with("the host was off for 40 d") && detail.contains("`hookbox clock accept`"), "{detail}");
    assert_eq!((host.events(), host.send("first").as_str()), (1, "duplicate"));
    host.stop();
    let host = Host::start(&site, &clock);
    assert!(host.is("degraded").is_some(), "another start changes nothing");
    for hours in 1..=24 {
        assert_eq!((hours, host.events()), (hours, 1));
        clock.set(clock.now_ms() + HOUR_MS);
    }
    assert_eq!(host.is("ready"), None);
    clock.set(clock.now_ms() + 11 * MINUTE_MS);
    wait_for("retention", || (host.events() == 0).then_some(()));
    host.stop();
}

#[test]
fn a_load_is_traced_on_a_host_whose_clock_was_set_back() {
    let (site, clock) = (site(), Clock::manual(START_MS));
    let host = Host::start(&site, &clock);
    moves(&clock, -DAY_MS);
    let (public, config) = (format!("http://{}", host.public), site.path("config.toml"));
    let load =
        ["bench", "test", "step", "--seconds", "1", "--connections", "2", "--json", "--url", &public, "--config"];
    let report = host.command(&[&load[..], &[config.to_str().unwrap()]].concat());
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["unknown"], &report["lost"]), (&0.into(), &0.into()), "{report}");
    assert!(report["settled"].as_u64().unwrap() > 0, "{report}");
    host.stop();
}

#[test]
fn what_was_never_tried_is_done_at_once_although_the_clock_went_back() {
    let (site, clock) = (site(), Clock::manual(START_MS));
    let host = Host::start(&site, &clock);
    let is = |state: &str| {
        let plugins = || host.api("/api/v1/plugins")["items"].as_array().unwrap().clone();
        wait_for(state, || plugins().iter().any(|plugin| plugin["state"] == state).then_some(()));
    };
    let file = site.path("plugins/worker.wat");
    is("loaded");
    std::fs::rename(&file, site.path("away")).unwrap();
    is("missing");
    for number in 0..5 {
        host.send(&format!("event_{number}"));
    }
    moves(&clock, -DAY_MS);
    std::fs::rename(site.path("away"), &file).unwrap();
    host.is_done(5);
    host.stop();
}
