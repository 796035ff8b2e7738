//! A folder in which the built binary is run as a user runs it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::plugins::hookbox;
use hookbox_tools::{Result, output, root, run, target_dir};

/// How long an event may take to be handled, a first compilation included.
const PATIENCE: Duration = Duration::from_secs(120);

/// A folder with a configuration.
pub(crate) struct Site(pub(crate) PathBuf);

/// Ended when dropped.
pub(crate) struct Host(Child);

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Site {
    /// A fresh one, at this path below the target folder.
    pub(crate) fn new(path: &str) -> Result<Self> {
        let site = Self(target_dir().join(path));
        let fail = |error: std::io::Error| site.failed(&error);
        if site.0.exists() {
            fs::remove_dir_all(&site.0).map_err(fail)?;
        }
        fs::create_dir_all(site.0.join("plugins")).map_err(fail)?;
        let bind = || TcpListener::bind("127.0.0.1:0");
        // Both are held until both are known: they must not be the same.
        let (listen, admin) = (bind().map_err(fail)?, bind().map_err(fail)?);
        let address = |listener: &TcpListener| listener.local_addr().map_err(fail);
        let config = format!(
            "[server]\nlisten = \"{}\"\nadmin = \"{}\"\n\
             [sources.heygen]\npreset = \"heygen\"\nsecrets = [{{ env = \"HEYGEN_WEBHOOK_SECRET\" }}]\n[routes]\n",
            address(&listen)?,
            address(&admin)?
        );
        drop((listen, admin));
        fs::write(site.config(), config).map_err(fail)?;
        Ok(site)
    }

    /// A host with two of the example plugins, one of which emits events for the other, that has
    /// handled some events.
    pub(crate) fn pipeline(path: &str) -> Result<(Self, Host)> {
        let site = Self::new(path)?;
        let fail = |error: std::io::Error| site.failed(&error);
        for name in ["video-orders.wasm", "audit.wasm"] {
            fs::copy(root().join("plugins").join(name), site.0.join("plugins").join(name))
                .map_err(fail)?;
        }
        let routes = "\"avatar_video.*\" = \"video-orders\"\n\"order.**\" = \"audit\"\n";
        let config = fs::read_to_string(site.config()).map_err(fail)?;
        fs::write(site.config(), config + routes).map_err(fail)?;
        let host = site.serve()?;
        for _ in 0..3 {
            run(&mut site.hookbox(&["send", "heygen", "avatar_video.success"]))?;
        }
        site.wait_for(&["events", "--type", "order.video_ready", "--json"], "order.video_ready")?;
        Ok((site, host))
    }

    /// The address of its admin API.
    pub(crate) fn admin(&self) -> Result<String> {
        let config = fs::read_to_string(self.config()).map_err(|error| self.failed(&error))?;
        let admin = config.lines().find_map(|line| line.strip_prefix("admin = "));
        Ok(admin.unwrap_or_default().trim_matches('"').to_owned())
    }

    /// The configuration.
    pub(crate) fn config(&self) -> PathBuf {
        self.0.join("config.toml")
    }

    /// The error of something that was tried there.
    pub(crate) fn failed(&self, error: &std::io::Error) -> String {
        format!("failed in {}: {error}", self.0.display())
    }

    /// A command of the binary, with this configuration.
    pub(crate) fn hookbox(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(hookbox());
        command
            .args(arguments)
            .arg("--config")
            .arg(self.config())
            .env("HOOKBOX_LOG", "error")
            .env_remove("HEYGEN_WEBHOOK_SECRET");
        command
    }

    /// Starts the host and waits until it is up.
    pub(crate) fn serve(&self) -> Result<Host> {
        let mut serve = self.hookbox(&["serve"]);
        serve.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut host = Host(serve.spawn().map_err(|error| self.failed(&error))?);
        let mut lines = BufReader::new(host.0.stdout.take().expect("it is piped"))
            .lines()
            .map_while(std::result::Result::ok);
        if !lines.any(|line| line.contains("ctrl-c")) {
            return Err("the host ended at once".to_owned());
        }
        std::thread::spawn(move || lines.for_each(drop));
        Ok(host)
    }

    /// Asks until the answer has `mark` in it.
    pub(crate) fn wait_for(&self, question: &[&str], mark: &str) -> Result {
        let started = Instant::now();
        loop {
            let answer = output(&mut self.hookbox(question))?;
            if answer.contains(mark) {
                return Ok(());
            }
            if started.elapsed() > PATIENCE {
                return Err(format!("waited in vain for {mark}: {}", self.deliveries()));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The result of the event instead.
    fn deliveries(&self) -> String {
        output(&mut self.hookbox(&["deliveries"])).unwrap_or_else(|error| error)
    }
}
