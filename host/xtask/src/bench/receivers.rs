//! Who is measured: each started for its own run, on a port of its own, and ended after it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::load::{Load, Measured, SECRET};
use crate::run::Result;

/// How long the backlog may take to drain after the load before the run counts as failed.
const DRAIN: Duration = Duration::from_secs(120);

/// A program that takes webhooks.
#[derive(Debug)]
pub(super) struct Receiver {
    command: Command,
    /// What the lines start with that name its addresses.
    public: &'static str,
    admin: Option<&'static str>,
    routed: bool,
}

/// One that runs; ended when dropped.
pub(super) struct Running {
    child: Child,
    pub(super) public: String,
    pub(super) admin: Option<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Receiver {
    pub(super) fn echo(release: &Path) -> Result<Self> {
        let command = Command::new(release.join("examples/echo"));
        Ok(Self { command, public: "echo", admin: None, routed: false })
    }

    pub(super) fn express(script: &Path) -> Result<Self> {
        let mut command = Command::new("node");
        command.arg(script).env("NODE_ENV", "production");
        Ok(Self { command, public: "express", admin: None, routed: false })
    }

    /// hookbox on the fresh folder `site`, with these plugins (a file name and what to copy) and `rest` of the
    /// configuration.
    pub(super) fn hookbox(release: &Path, site: &Path, plugins: &[(&str, PathBuf)], rest: &str) -> Result<Self> {
        let fail = |error: std::io::Error| format!("{}: {error}", site.display());
        if site.exists() {
            std::fs::remove_dir_all(site).map_err(fail)?;
        }
        std::fs::create_dir_all(site.join("plugins")).map_err(fail)?;
        let config = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\
             [sources.heygen]\npreset = \"heygen\"\nsecrets = [{{ env = \"HEYGEN_WEBHOOK_SECRET\" }}]\n{rest}"
        );
        for (name, file) in plugins {
            std::fs::copy(file, site.join("plugins").join(name)).map_err(fail)?;
        }
        std::fs::write(site.join("config.toml"), config).map_err(fail)?;
        let mut command = Command::new(release.join("hookbox"));
        command.arg("serve").arg("--config").arg(site.join("config.toml")).env("HOOKBOX_LOG", "error");
        Ok(Self { command, public: "webhooks", admin: Some("admin"), routed: !plugins.is_empty() })
    }

    /// The same once more, on the folder as the first one leaves it.
    pub(super) fn again(&self) -> Self {
        let mut command = Command::new(self.command.get_program());
        command.args(self.command.get_args());
        command.envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Self { command, ..*self }
    }

    /// Starts it, loads it, ends it.
    pub(super) fn measure(self, load: &Load) -> Result<Measured> {
        let routed = self.routed;
        let running = self.start()?;
        let mut measured = load.send(&running.public)?;
        let Some(admin) = &running.admin else { return Ok(measured) };
        let at_end = stats(admin)?;
        if routed {
            measured.settled_per_second = Some(count(&at_end, "done") as f64 / measured.seconds);
            measured.open_at_end = Some(open(&at_end));
        }
        let drained = drain(admin)?;
        let stored = drained["events"].as_u64().unwrap_or(0);
        let repeated = measured.requests.saturating_sub(load.distinct());
        if repeated > 0 {
            return Err(format!("the load was too short by {repeated} bodies: duplicates took the shorter road"));
        }
        // wrk does not count answers that were on their way when it stopped.
        if stored < measured.requests {
            return Err(format!("{} requests were accepted and {stored} are stored", measured.requests));
        }
        if routed && count(&drained, "done") != stored {
            return Err(format!("{stored} events are stored and not all of them done: {drained}"));
        }
        Ok(measured)
    }

    pub(super) fn start(mut self) -> Result<Running> {
        self.command.env("HEYGEN_WEBHOOK_SECRET", SECRET).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = self.command.spawn().map_err(|error| format!("failed to start {:?}: {error}", self.command))?;
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut running = Running { child, public: String::new(), admin: None };
        while running.public.is_empty() || (self.admin.is_some() && running.admin.is_none()) {
            let Some(Ok(line)) = lines.next() else { return Err(format!("{:?} ended at once", self.command)) };
            let Some((_, rest)) = line.split_once("http://") else { continue };
            let address = rest.split(['/', ' ']).next().unwrap_or_default().to_owned();
            if line.trim_start().starts_with(self.public) {
                running.public = address;
            } else if self.admin.is_some_and(|admin| line.trim_start().starts_with(admin)) {
                running.admin = Some(address);
            }
        }
        std::thread::spawn(move || lines.for_each(drop));
        Ok(running)
    }
}

/// What the admin API answers.
pub(super) fn ask(admin: &str, path: &str) -> Result<Value> {
    let url = format!("http://{admin}/api/v1/{path}");
    let fail = |error: ureq::Error| format!("{url}: {error}");
    ureq::get(&url).call().map_err(fail)?.body_mut().read_json().map_err(fail)
}

fn stats(admin: &str) -> Result<Value> {
    ask(admin, "stats")
}

fn count(stats: &Value, state: &str) -> u64 {
    stats["deliveries"][state].as_u64().unwrap_or(0)
}

fn open(stats: &Value) -> u64 {
    ["ready", "leased", "waiting"].iter().map(|state| count(stats, state)).sum()
}

/// Waits until nothing is open.
pub(super) fn drain(admin: &str) -> Result<Value> {
    let started = Instant::now();
    loop {
        let stats = stats(admin)?;
        if open(&stats) == 0 {
            return Ok(stats);
        }
        if started.elapsed() > DRAIN {
            return Err(format!("the backlog does not drain: {stats}"));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}
