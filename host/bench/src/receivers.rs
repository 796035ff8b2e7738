//! Receivers to be measured: each started for its own run, on a port of its own, and ended after
//! it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::requests::SECRET;
use super::rivals;
use hookbox_tools::{Result, root, say, target_dir};

/// How long one may take to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(15);

/// The binary of the host: the one that is built, if `--host` named no other.
pub(super) static HOST: OnceLock<PathBuf> = OnceLock::new();

/// A program that takes webhooks.
#[derive(Debug)]
pub(super) struct Receiver {
    command: Command,
    /// The beginning of the lines that name its addresses.
    public: &'static str,
    admin: Option<&'static str>,
}

/// A running receiver; ended when dropped.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    /// Kills it when this program ends in a way that drops nothing.
    guard: Child,
    pub(super) public: String,
    /// Only hookbox has one.
    pub(super) admin: Option<String>,
}

impl Receiver {
    /// A receiver of `host/examples/bare.rs`.
    pub(super) fn bare(arguments: &[&str]) -> Self {
        let mut command = Command::new(target_dir().join("release/examples/bare"));
        command.args(arguments);
        Self { command, public: "bare", admin: None }
    }

    /// A receiver that only commits, to a new file in the new folder `site`.
    pub(super) fn commit(site: &Path) -> Result<Self> {
        empty(site)?;
        Ok(Self::bare(&["commit", &site.join("bare.db").to_string_lossy()]))
    }

    /// The Express endpoint; it inserts into a new file in the new folder `site`, or keeps nothing.
    pub(super) fn express(script: &Path, site: Option<&Path>) -> Result<Self> {
        let mut command = Command::new("node");
        command.arg(script).env("NODE_ENV", "production");
        if let Some(site) = site {
            empty(site)?;
            command.arg(site.join("express.db"));
        }
        Ok(Self { command, public: "express", admin: None })
    }

    /// A Flask endpoint.
    pub(super) fn flask(folder: &Path) -> Self {
        let mut command = Command::new("sh");
        // Its log goes to stderr, and says where it listens.
        command.args(["-c", &format!("exec {} 2>&1", rivals::GUNICORN)]).current_dir(folder);
        Self { command, public: "Listening at", admin: None }
    }

    /// hookbox on the folder `site`, emptied but for what was compiled, with these plugins (a file
    /// name and what to copy) and `rest` of the configuration.
    pub(super) fn hookbox(site: &Path, plugins: &[(&str, PathBuf)], rest: &str) -> Result<Self> {
        let fail = |error: std::io::Error| format!("{}: {error}", site.display());
        let (cache, kept) = (site.join("data/compiled"), site.with_extension("compiled"));
        if cache.exists() {
            std::fs::rename(&cache, &kept).map_err(fail)?;
        }
        empty(site)?;
        std::fs::create_dir_all(site.join("plugins")).map_err(fail)?;
        if kept.exists() {
            std::fs::create_dir_all(site.join("data"))
                .and_then(|()| std::fs::rename(&kept, &cache))
                .map_err(fail)?;
            // A plugin file that ran is a trace of an earlier store.
            for entry in std::fs::read_dir(&cache).map_err(fail)? {
                let path = entry.map_err(fail)?.path();
                if path.extension().is_some_and(|ending| ending == "plugin") {
                    std::fs::remove_file(path).map_err(fail)?;
                }
            }
        }
        let config = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\
             [sources.heygen]\npreset = \"heygen\"\nsecrets = [{{ env = \"HEYGEN_WEBHOOK_SECRET\" }}]\n{rest}"
        );
        for (name, file) in plugins {
            let copied = std::fs::copy(file, site.join("plugins").join(name));
            copied.map_err(|error| format!("{}: {error}", file.display()))?;
        }
        std::fs::write(site.join("config.toml"), config).map_err(fail)?;
        let mut command = Command::new(HOST.get_or_init(|| target_dir().join("release/hookbox")));
        // A plugin that is not taken is noticed without the log, and one of them is not meant to
        // be.
        let log = "error,hookbox::reload=off";
        command.arg("serve").arg("--config").arg(site.join("config.toml")).env("HOOKBOX_LOG", log);
        Ok(Self { command, public: "webhooks", admin: Some("admin") })
    }

    /// The same with a variable of the environment.
    pub(super) fn on(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// The same once more, on the folder as the first one leaves it.
    pub(super) fn again(&self) -> Self {
        self.with(Command::new(self.command.get_program()))
    }

    /// The same, run by another binary.
    pub(super) fn of(&self, binary: &Path) -> Self {
        self.with(Command::new(binary))
    }

    /// The same on one core.
    pub(super) fn on_one_core(&self) -> Self {
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]).arg(self.command.get_program());
        self.with(command)
    }

    /// The same, from its start in the control group that takes its processes in this file.
    pub(super) fn within(&self, processes: &Path) -> Self {
        let mut command = Command::new("sh");
        command
            .args(["-c", "echo $$ >\"$0\" && exec \"$@\""])
            .arg(processes)
            .arg(self.command.get_program());
        self.with(command)
    }

    /// The same with the log that it has by default, in a file.
    pub(super) fn logging_to(mut self, file: &Path) -> Result<Self> {
        let file =
            std::fs::File::create(file).map_err(|error| format!("{}: {error}", file.display()))?;
        self.command.env("HOOKBOX_LOG", "info").stderr(file);
        Ok(self)
    }

    /// The same, its arguments behind those of `command`.
    fn with(&self, mut command: Command) -> Self {
        command.args(self.command.get_args());
        command.envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Self { command, ..*self }
    }

    /// Starts it, and returns when it has said where it listens.
    pub(super) fn start(mut self) -> Result<Running> {
        self.command
            .env("HEYGEN_WEBHOOK_SECRET", SECRET)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = self
            .command
            .spawn()
            .map_err(|error| format!("failed to start {:?}: {error}", self.command))?;
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let guard = guard(&mut child)?;
        let mut running = Running { child, guard, public: String::new(), admin: None };
        while running.public.is_empty() || (self.admin.is_some() && running.admin.is_none()) {
            let Some(Ok(line)) = lines.next() else {
                return Err(format!("{:?} ended at once", self.command));
            };
            let Some((before, rest)) = line.split_once("http://") else { continue };
            let address = rest.split(['/', ' ']).next().unwrap_or_default().to_owned();
            // gunicorn puts the time and more before it, each in brackets.
            let label = before.rsplit("] ").next().unwrap_or_default().trim_start();
            if label.starts_with(self.public) {
                running.public = address;
            } else if self.admin.is_some_and(|admin| label.starts_with(admin)) {
                running.admin = Some(address);
            }
        }
        std::thread::spawn(move || lines.for_each(drop));
        Ok(running)
    }
}

/// A process that waits for the end of this one, and then kills that one.
fn guard(child: &mut Child) -> Result<Child> {
    let mut guard = Command::new("sh");
    guard.args(["-c", "read never; kill -9 \"$0\"", &child.id().to_string()]);
    // The other end of its input is closed with this process, whatever ends it.
    guard.stdin(Stdio::piped()).spawn().map_err(|error| {
        let _ = child.kill().and_then(|()| child.wait());
        format!("failed to start a guard: {error}")
    })
}

impl Running {
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it is still there.
    pub(super) fn is_alive(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|ended| ended.is_none())
    }

    /// Ends it without asking.
    pub(super) fn kill(mut self) {
        // An error means that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Where hookbox is asked.
    pub(super) fn admin(&self) -> Result<&str> {
        self.admin.as_deref().ok_or_else(|| "it has no admin address".to_owned())
    }

    /// Where it takes webhooks.
    pub(super) fn url(&self) -> String {
        format!("http://{}/webhook/heygen", self.public)
    }
}

impl Running {
    /// Asks it to end, so that whatever it has started ends as well, and kills it if it does not.
    fn end(&mut self) {
        let asked = Command::new("kill").arg(self.child.id().to_string()).status();
        let started = Instant::now();
        while asked.is_ok() && started.elapsed() < PATIENCE {
            if !self.is_alive() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.is_alive() {
            self.end();
        }
        let _ = self.guard.kill();
        let _ = self.guard.wait();
    }
}

/// A file below `plugins/`.
pub(super) fn plugin(file: &str) -> PathBuf {
    root().join("plugins").join(file)
}

/// Whether a plugin is built; if not, it is left out with a word, or an error with `--all`.
pub(super) fn is_built(file: &str, all: bool) -> Result<bool> {
    let built = plugin(file).exists();
    let missing = format!("plugins/{file} is not built: `cargo xtask plugins` does");
    if !built && all {
        return Err(missing);
    }
    if !built {
        say(&format!("left out: {missing}"));
    }
    Ok(built)
}

/// Makes the folder, with nothing in it: a host has nothing compiled there.
pub(super) fn empty(site: &Path) -> Result {
    let fail = |error: std::io::Error| format!("{}: {error}", site.display());
    if site.exists() {
        std::fs::remove_dir_all(site).map_err(fail)?;
    }
    std::fs::create_dir_all(site).map_err(fail)
}
