//! A folder with a configuration and plugins, and the binary run in it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::Host;

/// The secret of the source `test`.
pub(crate) const SECRET: &str = "whsec_a_secret_for_the_tests";

/// The source `test`, as configuration text.
pub(crate) const SOURCE: &str = r#"
[sources.test]
secrets = [{ env = "TEST_SECRET" }]
verify = { scheme = "hmac-sha256", header = "X-Signature", encoding = "hex", signed = "{body}" }
type = { json = "/event_type" }
subject = { json = "/event_data/callback_id" }
"#;

/// Events of the type `step.one` go to the plugin `worker`.
pub(crate) const ROUTE: &str = "[routes]\n\"step.one\" = \"worker\"\n";

/// Variables that would change what the binary does.
const VARIABLES: [&str; 8] = [
    "HEYGEN_API_KEY",
    "HEYGEN_WEBHOOK_SECRET",
    "HOOKBOX_LOG",
    "HOOKBOX_CONFIG",
    "HOOKBOX_ADMIN",
    "NO_COLOR",
    "CLICOLOR",
    "CLICOLOR_FORCE",
];

/// A folder that a host can be started on, removed with its last user.
pub(crate) struct Site {
    dir: tempfile::TempDir,
}

/// The result of a command.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code().unwrap(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

impl Ran {
    /// The output of a command that succeeded.
    #[track_caller]
    pub(crate) fn said(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Site {
    /// A configuration (ports are chosen by the system) and plugin files: name with ending,
    /// content.
    pub(crate) fn new(config: &str, plugins: &[(&str, &[u8])]) -> Self {
        let site = Self { dir: tempfile::tempdir().unwrap() };
        std::fs::create_dir(site.path("plugins")).unwrap();
        for (name, content) in plugins {
            site.put_plugin(name, content);
        }
        site.put_config(config);
        site
    }

    /// The source `test`, whose events of the type `step.one` go to this file, the plugin `worker`;
    /// and more of the configuration.
    pub(crate) fn of_worker(file: &[u8], sections: &str) -> Self {
        Self::new(&format!("{SOURCE}{ROUTE}{sections}"), &[("worker.wat", file)])
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    /// Writes `config.toml`: the two addresses and then `rest`.
    pub(crate) fn put_config(&self, rest: &str) {
        let text = format!("[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n{rest}");
        replace(&self.path("config.toml"), text.as_bytes());
    }

    /// Moves the secret to a file, for a host in the test's own process: it has no environment of
    /// its own.
    pub(crate) fn keep_secret_in_file(&self) {
        let path = self.path("config.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let by_file = text.replace("env = \"TEST_SECRET\"", "file = \"secret\"");
        replace(&path, by_file.as_bytes());
        self.put("secret", SECRET);
    }

    /// Has the next host listen for operators where the last one did.
    pub(crate) fn keep_admin_port(&self, port: u16) {
        let path = self.path("config.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let fixed = format!("admin = \"127.0.0.1:{port}\"");
        replace(&path, text.replacen("admin = \"127.0.0.1:0\"", &fixed, 1).as_bytes());
    }

    pub(crate) fn put_plugin(&self, name: &str, content: &[u8]) {
        replace(&self.path("plugins").join(name), content);
    }

    /// The log of this folder's hosts so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("host.log")).unwrap()
    }

    /// The binary, in the folder and in an environment of its own.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hookbox"));
        self.prepare(command.args(arguments));
        command
    }

    /// Has a command run in the folder, in an environment of its own.
    pub(crate) fn prepare(&self, command: &mut Command) {
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        for variable in VARIABLES {
            command.env_remove(variable);
        }
        command.env("TEST_SECRET", SECRET).env("XDG_CACHE_HOME", self.path("users-cache"));
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, "")
    }

    /// The same with a text on stdin.
    pub(crate) fn run_with(&self, arguments: &[&str], stdin: &str) -> Ran {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that does not read its stdin closes it.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        child.wait_with_output().unwrap().into()
    }

    /// Runs a command that asks a host.
    pub(crate) fn ask(&self, host: &Host, arguments: &[&str]) -> Ran {
        self.run(&[arguments, &["--admin", &host.admin_url]].concat())
    }
}

/// Replaces a file as careful programs do: whole, by renaming.
pub(crate) fn replace(path: &Path, content: &[u8]) {
    let new = path.with_extension("new");
    std::fs::write(&new, content).unwrap();
    std::fs::rename(&new, path).unwrap();
}
