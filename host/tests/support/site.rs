//! A folder with a configuration and plugins, and the binary run in it.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The smallest plugin.
pub(super) const OK: &str = include_str!("../guests/ok.wat");

/// A plugin that refuses everything.
pub(super) const REJECT: &str = include_str!("../guests/reject.wat");

/// How long a state is waited for before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

const CONFIG: &str = r#"
[server]
listen = "127.0.0.1:0"
admin = "127.0.0.1:0"

[sources.heygen]
preset = "heygen"
secrets = [{ env = "HEYGEN_WEBHOOK_SECRET" }]

[routes]
"avatar_video.success" = "fine"
"avatar_video.fail" = "refuses"
"#;

pub(super) struct Site {
    dir: tempfile::TempDir,
}

/// What a command came to.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) err: String,
}

impl Ran {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A running host; killed when dropped.
pub(super) struct Host {
    child: Child,
    pub(super) public: String,
    pub(super) admin: String,
}

impl Site {
    pub(super) fn new() -> Self {
        let site = Self { dir: tempfile::tempdir().unwrap() };
        std::fs::create_dir(site.path("plugins")).unwrap();
        site.put("plugins/fine.wat", OK);
        site.put("plugins/refuses.wat", REJECT);
        site.put("config.toml", CONFIG);
        site
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hookbox"));
        command.current_dir(self.dir.path()).args(arguments).stdin(Stdio::null());
        command.env_remove("HEYGEN_WEBHOOK_SECRET").env_remove("HOOKBOX_LOG").env_remove("NO_COLOR");
        for variable in ["HOOKBOX_CONFIG", "HOOKBOX_ADMIN", "CLICOLOR", "CLICOLOR_FORCE"] {
            command.env_remove(variable);
        }
        command.env("XDG_CACHE_HOME", self.path("users-cache"));
        command
    }

    /// Runs a command to its end.
    pub(super) fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, "")
    }

    /// The same with a text on stdin.
    pub(super) fn run_with(&self, arguments: &[&str], stdin: &str) -> Ran {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that does not read its stdin closes it.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Starts the host and waits until it has said where it is.
    pub(super) fn serve(&self) -> Host {
        let mut child = self.command(&["serve"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address = |what: &str| {
            let line = lines.by_ref().map(Result::unwrap).find(|line| line.trim_start().starts_with(what));
            let line = line.expect("the host says where it is");
            let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap();
            format!("http://{address}")
        };
        let (public, admin) = (address("webhooks"), address("admin"));
        lines.find(|line| line.as_ref().unwrap().contains("ctrl-c")).unwrap().unwrap();
        let host = Host { child, public, admin };
        wait_for("the plugins to be compiled", || {
            let listed = self.run(&["plugins", "--json", "--admin", &host.admin]);
            (!listed.out.contains("\"compiling\"")).then_some(())
        });
        host
    }
}

impl Host {
    pub(super) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    pub(super) fn wait(mut self) -> ExitStatus {
        wait_for("the host to end", || self.child.try_wait().unwrap())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a state, looking often; fails the test when it does not come.
pub(super) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
