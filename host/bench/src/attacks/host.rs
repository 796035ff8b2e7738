//! A host under attack: started on a folder of its own, asked, and ended without being asked.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::client::{Answer, Load, send};
use super::group::Group;
use crate::neighbours::SENDER_NICE;
use crate::receivers::{Receiver, Running, plugin};
use crate::requests::{SECRET, sign};
use crate::watch::{Counts, ask, counts};
use hookbox_tools::{Result, root, target_dir};

/// The plugin and the source of an attack.
pub(super) const ATTACKER: &str = "attacker";
pub(super) const ATTACKED: &str = "heygen";

/// The source of the good client, and the plugin behind it.
pub(super) const GOOD: &str = "good";
pub(super) const GOOD_TYPE: &str = "good.one";

/// Padding of the bodies of good requests: they are as long as webhooks are.
const GOOD_FILLING: usize = 400;

/// Where attacks come from, and where the good client is.
pub(super) const FAR: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
pub(super) const NEAR: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// How long a plugin may take to be loaded.
const LOADING: Duration = Duration::from_secs(30);

/// The connections that a backlog is sent over.
const FILLING: usize = 64;

/// A binary, and which of the newer keys it knows.
#[derive(Debug)]
pub(super) struct Binary {
    path: PathBuf,
    folder: PathBuf,
    pub(super) breaker: bool,
    pub(super) max_size: bool,
}

/// Plugins and settings of a host beside the good plugin.
#[derive(Debug, Default)]
pub(super) struct Site {
    /// Names of files below `plugins/`, and the guests of the gallery in them.
    pub(super) plugins: Vec<(String, &'static str)>,
    /// Lines of `[routes]`.
    pub(super) routes: String,
    /// Other sections.
    pub(super) sections: String,
    /// The most memory that it may have, in MiB.
    pub(super) memory_mib: Option<u64>,
}

/// A host that runs.
#[derive(Debug)]
pub(super) struct Host {
    running: Running,
    site: PathBuf,
    log: PathBuf,
    next: AtomicUsize,
    /// The group that it is in, or why it is in none.
    pub(super) group: Option<Result<Group>>,
}

impl Binary {
    /// The binary, and a folder for its sites.
    pub(super) fn new(path: Option<&Path>, folder: &Path) -> Result<Self> {
        let path = path.map_or_else(|| target_dir().join("release/hookbox"), Path::to_owned);
        let mut binary = Self { path, folder: folder.to_owned(), breaker: false, max_size: false };
        if !binary.takes("")? {
            return Err(format!(
                "{} does not take the configuration of this benchmark",
                binary.path.display()
            ));
        }
        binary.breaker = binary.takes("[plugins.good]\nbreaker = false\n")?;
        binary.max_size = binary.takes("[store]\nmax_size = \"64MiB\"\n")?;
        Ok(binary)
    }

    /// Whether it takes a configuration with these sections.
    fn takes(&self, sections: &str) -> Result<bool> {
        let site = self.folder.join("probe");
        drop(self.receiver(&site, &Site { sections: sections.to_owned(), ..Site::default() })?);
        let mut check = Command::new(&self.path);
        check
            .arg("check")
            .arg("--config")
            .arg(site.join("config.toml"))
            .env("HEYGEN_WEBHOOK_SECRET", SECRET);
        let checked =
            check.output().map_err(|error| format!("{}: {error}", self.path.display()))?;
        Ok(checked.status.success())
    }

    fn receiver(&self, folder: &Path, site: &Site) -> Result<Receiver> {
        let Site { plugins, routes, sections, .. } = site;
        let mut files = vec![("good.wasm".to_owned(), plugin("audit.wasm"))];
        for (name, guest) in plugins {
            let stem = Path::new(guest).file_name().unwrap_or_default();
            let file = self.folder.join(stem).with_extension("wat");
            let text = guest_text(guest)?;
            std::fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
            files.push((name.clone(), file));
        }
        let files: Vec<(&str, PathBuf)> =
            files.iter().map(|(name, file)| (name.as_str(), file.clone())).collect();
        let config = format!(
            "[sources.{GOOD}]\npreset = \"heygen\"\nsecrets = [{{ env = \"HEYGEN_WEBHOOK_SECRET\" }}]\n{sections}\
             [routes]\n\"{GOOD}:{GOOD_TYPE}\" = \"{GOOD}\"\n{routes}"
        );
        Ok(Receiver::hookbox(folder, &files, &config)?.of(&self.path))
    }

    /// Starts a host with nothing stored, and waits until its plugins are loaded but for those that
    /// wait to be let in.
    pub(super) fn start(&self, site: &Site) -> Result<Host> {
        let (folder, log) = (self.folder.join("site"), self.folder.join("log"));
        let mut receiver = self.receiver(&folder, site)?;
        let group = site.memory_mib.map(Group::new);
        if let Some(Ok(group)) = &group {
            receiver = receiver.within(&group.processes());
        }
        for (name, _) in site.plugins.iter().filter(|(name, _)| is_parked(name)) {
            // A file that is none: what comes for it waits.
            let file = folder.join("plugins").join(name);
            let parked = std::fs::rename(&file, folder.join(name))
                .and_then(|()| std::fs::write(&file, "(component"));
            parked.map_err(|error| format!("{}: {error}", file.display()))?;
        }
        let running = receiver.logging_to(&log)?.start()?;
        let host = Host { running, site: folder, log, next: AtomicUsize::new(0), group };
        let names =
            site.plugins.iter().map(|(name, _)| name.as_str()).filter(|name| !is_parked(name));
        names.chain(["good.wasm"]).try_for_each(|name| host.until_loaded(stem(name)))?;
        Ok(host)
    }
}

/// Whether a plugin is let in only when its backlog is there.
fn is_parked(file: &str) -> bool {
    stem(file) == ATTACKER
}

fn stem(file: &str) -> &str {
    file.split('.').next().unwrap_or_default()
}

/// The whole text of a guest of the gallery.
fn guest_text(name: &str) -> Result<String> {
    let folder = root().join("host/tests/hostile");
    let read = |file: PathBuf| {
        std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))
    };
    let text = read(folder.join(format!("{name}.wat")))?;
    if text.contains("(component") {
        return Ok(text);
    }
    Ok(read(folder.join("frames/host.wat"))?.replace("  ;; GUEST", &text))
}

impl Host {
    pub(super) fn public(&self) -> &str {
        &self.running.public
    }

    pub(super) fn admin(&self) -> Result<&str> {
        self.running.admin()
    }

    pub(super) fn pid(&self) -> u32 {
        self.running.pid()
    }

    pub(super) fn is_alive(&mut self) -> bool {
        self.running.is_alive()
    }

    /// Ends it at once.
    pub(super) fn end(self) {
        self.running.kill();
    }

    /// A file below its folder.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.site.join(name)
    }

    /// Length of its log, in KiB.
    pub(super) fn log_kib(&self) -> f64 {
        std::fs::metadata(&self.log).map_or(0.0, |file| file.len() as f64 / 1024.0)
    }

    /// Signed requests, each with another body of 100 bytes and `filling`.
    pub(super) fn requests(
        &self,
        source: &str,
        kind: &str,
        count: usize,
        filling: usize,
    ) -> Vec<Vec<u8>> {
        let first = self.next.fetch_add(count, Ordering::Relaxed);
        (first..first + count).map(|number| request(source, kind, number, filling)).collect()
    }

    /// Has that many events of `kind` acknowledged.
    pub(super) fn fill(&self, kind: &str, count: usize) -> Result {
        let requests = self.requests(ATTACKED, kind, count, 0);
        let load = Load {
            from: FAR,
            requests: &requests,
            count,
            rate: None,
            connections: FILLING,
            fresh: false,
        };
        let answers = send(self.public(), load, &AtomicBool::new(false))?;
        let acks = answers.iter().filter(|answer| answer.is_ack()).count();
        if acks == count {
            Ok(())
        } else {
            Err(format!("{acks} of {count} events were acknowledged with nothing else to do"))
        }
    }

    /// Sends good requests: 50 a second for so long.
    pub(super) fn send_good(&self, how_long: Duration, fresh: bool) -> Result<Vec<Answer>> {
        let count = (how_long.as_secs_f64() * super::GOOD_RATE) as usize;
        let mut requests = self.requests(GOOD, GOOD_TYPE, count, GOOD_FILLING);
        if fresh {
            requests.iter_mut().for_each(close_after);
        }
        let load = Load {
            from: NEAR,
            requests: &requests,
            count,
            rate: Some(super::GOOD_RATE),
            connections: 400,
            fresh,
        };
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| {
                // As if it had a machine of its own; not every user may say so to the kernel.
                let _ = rustix::process::setpriority_process(None, SENDER_NICE);
                send(self.public(), load, &AtomicBool::new(false))
            });
            sender.join().expect("a sender does not panic")
        })
    }

    /// Deliveries of a plugin.
    pub(super) fn counts(&self, plugin: &str) -> Result<Counts> {
        Ok(counts(self.admin()?, plugin)?.1)
    }

    /// Whether `/readyz` says this word.
    pub(super) fn is_told_by_readyz(&self, word: &str) -> Result<bool> {
        let url = format!("http://{}/readyz", self.admin()?);
        let fail = |error: ureq::Error| format!("{url}: {error}");
        // It may well answer with 503.
        let asked = ureq::get(&url).config().http_status_as_error(false).build().call();
        Ok(asked.map_err(fail)?.body_mut().read_to_string().map_err(fail)?.contains(word))
    }

    /// Size of its database and WAL on the disk, in MiB.
    pub(super) fn store_mib(&self) -> Result<f64> {
        let length = |name: &str| std::fs::metadata(self.file(name)).map_or(0, |file| file.len());
        Ok((length("data/hookbox.db") + length("data/hookbox.db-wal")) as f64 / f64::from(1 << 20))
    }

    /// Lets the plugin in whose backlog is there.
    pub(super) fn let_in(&self) -> Result {
        let name = format!("{ATTACKER}.wat");
        let (from, to) = (self.site.join(&name), self.site.join("plugins").join(&name));
        std::fs::rename(&from, &to).map_err(|error| format!("{}: {error}", from.display()))?;
        self.until_loaded(ATTACKER)
    }

    fn until_loaded(&self, plugin: &str) -> Result {
        let started = Instant::now();
        loop {
            // A file that is replaced may be missing for a moment, and so may the plugin.
            let found = ask(self.admin()?, &format!("plugins/{plugin}"));
            if found.as_ref().is_ok_and(|found| found["state"] == "loaded") {
                return Ok(());
            }
            if started.elapsed() > LOADING {
                return Err(format!("`{plugin}` is not loaded: {found:?}"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn request(source: &str, kind: &str, number: usize, filling: usize) -> Vec<u8> {
    let filling = "x".repeat(filling);
    let body = format!(
        r#"{{"event_type":"{kind}","event_data":{{"callback_id":"order_{number:012}","title":"{filling}"}}}}"#
    );
    let (length, signature) = (body.len(), sign(&body));
    format!(
        "POST /webhook/{source} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         heygen-signature: {signature}\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Has the connection of a request closed after its answer.
fn close_after(request: &mut Vec<u8>) {
    const FIELD: &[u8] = b"connection: close\r\n";
    let first_line = request.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    request.splice(first_line..first_line, FIELD.iter().copied());
}
