//! What the end-to-end tests share: a folder with a configuration and plugins, the real binary run on it, and clients.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

/// The secret of every source in these tests.
pub(crate) const SECRET: &str = "whsec_a_secret_for_the_tests";

/// How long a state is waited for before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The source `test`, as configuration text.
pub(crate) const SOURCE: &str = r#"
[sources.test]
secrets = [{ env = "TEST_SECRET" }]
verify = { scheme = "hmac-sha256", header = "X-Signature", encoding = "hex", signed = "{body}" }
type = { json = "/event_type" }
subject = { json = "/event_data/callback_id" }
"#;

/// A folder that a host can be started on, removed with its last user.
pub(crate) struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    /// A configuration (ports are chosen by the system) and plugin files: name with ending, content.
    pub(crate) fn new(config: &str, plugins: &[(&str, &[u8])]) -> Self {
        let site = Self { dir: tempfile::tempdir().unwrap() };
        std::fs::create_dir(site.path("plugins")).unwrap();
        for (name, content) in plugins {
            site.put_plugin(name, content);
        }
        site.put_config(config);
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes `config.toml`: the two addresses and then `rest`.
    pub(crate) fn put_config(&self, rest: &str) {
        let text = format!("[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n{rest}");
        replace(&self.path("config.toml"), text.as_bytes());
    }

    pub(crate) fn put_plugin(&self, name: &str, content: &[u8]) {
        replace(&self.path("plugins").join(name), content);
    }
}

/// Replaces a file as careful programs do: whole, by renaming.
pub(crate) fn replace(path: &Path, content: &[u8]) {
    let new = path.with_extension("new");
    std::fs::write(&new, content).unwrap();
    std::fs::rename(&new, path).unwrap();
}

/// A running host; killed when dropped.
pub(crate) struct Host {
    child: Child,
    pub(crate) public: SocketAddr,
    pub(crate) admin: SocketAddr,
}

/// Starts the binary on a site and waits until its plugins are compiled.
pub(crate) fn start(site: &Site) -> Host {
    let host = start_with(site, &[]).expect("the host starts");
    wait_for("the plugins to be compiled", || {
        let plugins = host.api("/api/v1/plugins");
        plugins["items"].as_array().unwrap().iter().all(|plugin| plugin["state"] != "compiling").then_some(())
    });
    host
}

/// Starts the binary with environment variables and waits until it has printed its addresses; `None` if it ended before.
pub(crate) fn start_with(site: &Site, env: &[(&str, &str)]) -> Option<Host> {
    start_as(site, Command::new(env!("CARGO_BIN_EXE_hookbox")).arg("serve"), env)
}

/// The same for a command that becomes a host.
pub(crate) fn start_as(site: &Site, command: &mut Command, env: &[(&str, &str)]) -> Option<Host> {
    let log = std::fs::File::options().create(true).append(true).open(site.path("host.log")).unwrap();
    let mut child = command
        .current_dir(site.path("."))
        .env("TEST_SECRET", SECRET)
        .env_remove("HEYGEN_WEBHOOK_SECRET")
        .env_remove("HOOKBOX_CONFIG")
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap();
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
    // What the host prints later must not block it.
    std::thread::spawn(move || lines.for_each(drop));
    Some(Host { child, public: found["webhooks"], admin: found["admin"] })
}

impl Host {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and wait for the end.
    pub(crate) fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Whether it has ended by itself, and how.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> ExitStatus {
        wait_for("the host to end", || self.ended())
    }

    /// A GET of the admin API that answers 200.
    pub(crate) fn api(&self, path: &str) -> Value {
        let (status, body) = self.api_status("GET", path, None);
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// A request to the admin API: status and JSON body.
    pub(crate) fn api_status(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let url = format!("http://{}{path}", self.admin);
        let request = ureq::http::Request::builder().method(method).uri(url).header("content-type", "application/json");
        let request = request.body(body.map_or_else(Vec::new, |body| body.to_string().into_bytes())).unwrap();
        let mut response = agent().run(request).unwrap();
        let status = response.status().as_u16();
        let text = response.body_mut().read_to_string().unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Posts a body signed for the source `test`: status and JSON body, or why there is no answer.
    pub(crate) fn post(&self, body: &str) -> Result<(u16, Value), String> {
        post(&agent(), self.public, body)
    }

    /// Posts as a provider does: what the host has not stored in time is sent again, until it is acknowledged. The reply,
    /// which is of a duplicate if it was stored all the same.
    pub(crate) fn provide(&self, body: &str) -> Value {
        wait_for("an acknowledgement", || {
            let (status, reply) = self.post(body).unwrap();
            let late = status == 503 && reply["detail"] == "Storing the event took too long; send it again.";
            assert!(status == 200 || late, "{status}: {reply}");
            (status == 200).then_some(reply)
        })
    }

    /// Waits until nothing is ready, leased or waiting, and returns the stats.
    pub(crate) fn settled(&self) -> Value {
        self.none_in(&["ready", "leased", "waiting"])
    }

    /// Waits until no delivery is in any of these states, and returns the stats.
    pub(crate) fn none_in(&self, states: &[&str]) -> Value {
        wait_for("everything to be settled", || {
            let stats = self.api("/api/v1/stats");
            let open: u64 = states.iter().map(|state| stats["deliveries"][state].as_u64().unwrap()).sum();
            (open == 0).then_some(stats)
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client that keeps its connections.
pub(crate) fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
    ureq::Agent::new_with_config(config.build())
}

/// Posts a signed body to the source `test`.
pub(crate) fn post(agent: &ureq::Agent, to: SocketAddr, body: &str) -> Result<(u16, Value), String> {
    let response = agent
        .post(format!("http://{to}/webhook/test"))
        .header("content-type", "application/json")
        .header("x-signature", sign(body.as_bytes()))
        .send(body);
    let mut response = response.map_err(|error| error.to_string())?;
    let status = response.status().as_u16();
    let text = response.body_mut().read_to_string().map_err(|error| error.to_string())?;
    Ok((status, serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?))
}

/// Lower-case hex HMAC-SHA256 with [`SECRET`].
pub(crate) fn sign(body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

/// Resident memory of a process, in KiB.
pub(crate) fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}

/// Waits for a state, looking often; fails the test when it does not come.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
