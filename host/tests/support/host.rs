//! Running hosts, and clients that send them events and ask them what became of these.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hookbox::app::{self, Observed};
use hookbox::clock::Clock;
use hookbox::config::{Config, MakeSecrets};
use hookbox::sandbox::{ChildCompiler, CompileLimits, Compiler};
use hookbox::series::Series;
use hookbox::store::OnLoss;
use hookbox::telemetry::{self, otlp};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{PATIENCE, Site, agent, body, post, provide, wait_for};

/// A running host. Dropping it ends it, once no delivery is leased any more; the test fails if one
/// stays leased. A test that means to leave something running says so: it kills the host.
pub(crate) struct Host {
    runs: Runs,
    pub(crate) public: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) public_url: String,
    pub(crate) admin_url: String,
    /// The token that requests to the admin API show.
    token: Option<&'static str>,
}

/// The host's own binary.
const BINARY: &str = env!("CARGO_BIN_EXE_hookbox");

/// Where a host runs.
enum Runs {
    Process(Child),
    /// In this process, until it is told to end.
    Thread(CancellationToken, Option<JoinHandle<()>>),
}

impl Host {
    /// Starts the binary on a site and waits until its plugins are compiled.
    pub(crate) fn start(site: &Site) -> Self {
        Self::start_guarded(site, None)
    }

    /// The same for a host whose admin API asks for a token.
    pub(crate) fn start_guarded(site: &Site, token: Option<&'static str>) -> Self {
        let mut host = Self::start_with(site, &[]).expect("the host starts");
        host.token = token;
        wait_for("the plugins to be compiled", || {
            let plugins = host.api("/api/v1/plugins");
            plugins["items"]
                .as_array()
                .unwrap()
                .iter()
                .all(|plugin| plugin["state"] != "compiling")
                .then_some(())
        });
        host
    }

    /// Starts the binary with environment variables and waits until it has printed its addresses;
    /// `None` if it ended before.
    pub(crate) fn start_with(site: &Site, env: &[(&str, &str)]) -> Option<Self> {
        Self::start_as(site, site.command(&["serve"]).envs(env.iter().copied()))
    }

    /// The same for a command that becomes a host.
    pub(crate) fn start_as(site: &Site, command: &mut Command) -> Option<Self> {
        let log = File::options().create(true).append(true).open(site.path("host.log")).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut found: HashMap<&str, SocketAddr> = HashMap::new();
        while found.len() < 2 {
            let Some(Ok(line)) = lines.next() else {
                let _ = child.wait();
                return None;
            };
            for key in ["webhooks", "admin"] {
                if line.trim_start().starts_with(key)
                    && let Some((_, rest)) = line.split_once("http://")
                {
                    let address = rest.split(['/', ' ']).next().unwrap();
                    found.insert(key, address.parse().unwrap());
                }
            }
        }
        // Later output must not block the host.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self::of(Runs::Process(child), found["webhooks"], found["admin"]))
    }

    /// Starts a host in this process that goes by this clock.
    pub(crate) fn start_by(site: &Site, clock: &Clock) -> Self {
        Self::start_observed(site, clock, Observed::default(), BINARY)
    }

    /// Starts a host in this process whose plugins are compiled by the program at `path`.
    pub(crate) fn start_compiled_by(site: &Site, path: &Path) -> Self {
        Self::start_observed(site, &Clock::system(), Observed::default(), path.to_str().unwrap())
    }

    /// The same for a host that is measured, with its series. The recorder of metrics exists once
    /// in a process, so a test starts one such host.
    pub(crate) fn start_measured_by(site: &Site, clock: &Clock) -> (Self, Arc<Series>) {
        let series = Arc::<Series>::default();
        let render_metrics = telemetry::metrics(series.clone()).expect("the one of this process");
        let observed = Observed { render_metrics, series: series.clone(), ..Observed::default() };
        (Self::start_observed(site, clock, observed, BINARY), series)
    }

    fn start_observed(site: &Site, clock: &Clock, observed: Observed, program: &str) -> Self {
        let config = Config::load(&site.path("config.toml"), MakeSecrets::No).unwrap();
        let (shutdown, clock) = (CancellationToken::new(), clock.clone());
        let (say, said) = std::sync::mpsc::channel();
        let (stopping, compiler) = (shutdown.clone(), compiler(program));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let exporter = otlp::start(&config.telemetry);
                let tracer = exporter.as_ref().map(otlp::Exporter::tracer).unwrap_or_default();
                let app = app::build_by(config, compiler, OnLoss::Refuse, clock).await.unwrap();
                say.send(app.addresses()).unwrap();
                app.run(stopping, Observed { tracer, ..observed }).await.unwrap();
                if let Some(exporter) = exporter {
                    exporter.flush().await;
                }
            });
        });
        let addresses = said.recv().expect("the host starts");
        Self::of(Runs::Thread(shutdown, Some(thread)), addresses.public, addresses.admin)
    }

    fn of(runs: Runs, public: SocketAddr, admin: SocketAddr) -> Self {
        let [public_url, admin_url] = [public, admin].map(|address| format!("http://{address}"));
        Self { runs, public, admin, public_url, admin_url, token: None }
    }

    fn child(&mut self) -> &mut Child {
        match &mut self.runs {
            Runs::Process(child) => child,
            Runs::Thread(..) => panic!("the host has no process of its own"),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        match &self.runs {
            Runs::Process(child) => child.id(),
            Runs::Thread(..) => std::process::id(),
        }
    }

    /// SIGKILL, and wait for the end, whatever runs.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let sent =
            Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Whether it has ended by itself, and how.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child().try_wait().unwrap()
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> ExitStatus {
        wait_for("the host to end", || self.ended())
    }

    /// Ends it as an operator does; it stops as it should.
    pub(crate) fn stop(mut self) {
        match &mut self.runs {
            Runs::Process(_) => {
                self.signal("TERM");
                assert!(self.wait().success());
            }
            Runs::Thread(shutdown, thread) => {
                shutdown.cancel();
                thread.take().unwrap().join().unwrap();
            }
        }
    }

    /// Ends it at once, as far as it has not ended.
    fn end(&mut self) {
        match &mut self.runs {
            Runs::Process(child) => {
                let _ = child.kill();
                let _ = child.wait();
            }
            Runs::Thread(shutdown, thread) => {
                shutdown.cancel();
                let ended = thread.take().is_none_or(|thread| thread.join().is_ok());
                assert!(ended || std::thread::panicking(), "the host panicked");
            }
        }
    }

    fn is_running(&mut self) -> bool {
        match &mut self.runs {
            Runs::Process(child) => child.try_wait().is_ok_and(|status| status.is_none()),
            Runs::Thread(_, thread) => thread.is_some(),
        }
    }

    /// Waits until no delivery is leased; what there is instead.
    fn comes_to_rest(&self) -> Result<(), String> {
        let started = Instant::now();
        loop {
            let (_, stats) = self.ask("GET", "/api/v1/stats", None)?;
            if stats["deliveries"]["leased"] == 0 {
                return Ok(());
            }
            if started.elapsed() > PATIENCE {
                return Err(format!("a delivery is left leased: {stats}"));
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// A GET of the admin API that answers 200.
    #[track_caller]
    pub(crate) fn api(&self, path: &str) -> Value {
        let (status, body) = self.api_status("GET", path, None);
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// A request to the admin API: status and JSON body.
    #[track_caller]
    pub(crate) fn api_status(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        self.ask(method, path, body).unwrap()
    }

    fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Result<(u16, Value), String> {
        let url = format!("{}{path}", self.admin_url);
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(url)
            .header("content-type", "application/json");
        let request = match self.token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        };
        let request =
            request.body(body.map_or_else(Vec::new, |body| body.to_string().into_bytes())).unwrap();
        let mut response = agent().run(request).map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        // An answer may be larger than what the client reads by itself: a delivery with many logs.
        let body = response.body_mut().with_config().limit(u64::MAX).read_to_string();
        let text = body.map_err(|error| error.to_string())?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    /// Posts a body signed for the source `test`: status and JSON body, or why there is no answer.
    pub(crate) fn post(&self, body: &str) -> Result<(u16, Value), String> {
        post(&agent(), self.public, body)
    }

    /// Posts as a provider does: what the host has not stored in time is sent again, until it is
    /// acknowledged. The reply, which is of a duplicate if it was stored all the same.
    pub(crate) fn provide(&self, body: &str) -> Value {
        provide(&agent(), self.public, body)
    }

    /// Sends an event as a provider does; its id.
    pub(crate) fn send(&self, kind: &str, key: impl std::fmt::Display) -> String {
        self.provide(&body(kind, key))["id"].as_str().unwrap().to_owned()
    }

    /// An event and what became of it.
    #[track_caller]
    pub(crate) fn event(&self, id: &str) -> Value {
        self.api(&format!("/api/v1/events/{id}"))
    }

    /// Waits until the first delivery of an event is done.
    pub(crate) fn until_done(&self, event: &str) {
        wait_for("the delivery", || {
            (self.event(event)["deliveries"][0]["state"] == "done").then_some(())
        });
    }

    /// Waits until nothing is ready, leased or waiting, and returns the stats.
    pub(crate) fn settled(&self) -> Value {
        self.none_in(&["ready", "leased", "waiting"])
    }

    /// Waits until no delivery is in any of these states, and returns the stats.
    pub(crate) fn none_in(&self, states: &[&str]) -> Value {
        wait_for("everything to be settled", || {
            let stats = self.api("/api/v1/stats");
            let open: u64 =
                states.iter().map(|state| stats["deliveries"][state].as_u64().unwrap()).sum();
            (open == 0).then_some(stats)
        })
    }

    /// How many deliveries are in a state.
    #[track_caller]
    pub(crate) fn count(&self, state: &str) -> u64 {
        self.api("/api/v1/stats")["deliveries"][state].as_u64().unwrap()
    }

    #[track_caller]
    pub(crate) fn plugin(&self, name: &str) -> Value {
        self.api(&format!("/api/v1/plugins/{name}"))
    }

    /// Waits until a plugin is in a state, and returns it.
    pub(crate) fn until_plugin(&self, name: &str, state: &str) -> Value {
        let plugin = || Some(self.plugin(name)).filter(|plugin| plugin["state"] == state);
        wait_for(&format!("{name} to be {state}"), plugin)
    }

    /// The value of a metric, named with its labels.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let metrics = self.api("/metrics");
        let mut lines = metrics.as_str().unwrap().lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        Some(value.parse().unwrap())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let asks = !std::thread::panicking() && self.is_running();
        let rest = if asks { self.comes_to_rest() } else { Ok(()) };
        self.end();
        if let Err(why) = rest {
            panic!("{why}");
        }
    }
}

/// The compiler of a host, without a cache.
fn compiler(program: &str) -> Compiler {
    Compiler::Child(Arc::new(ChildCompiler {
        program: program.into(),
        cache: None,
        temp_dir: std::env::temp_dir(),
        limits: CompileLimits::default(),
    }))
}
