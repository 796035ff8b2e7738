//! Reads the gallery, for whoever runs it: the tests, which check what each guest comes to, and the
//! benchmark, which measures what it costs others. `gallery.toml` says what the columns mean.

use std::path::{Path, PathBuf};

use hookbox::sandbox::{Contract, Invocation, Plugin, Sandbox, SandboxOptions, Verdict};
use serde::Deserialize;

#[path = "made.rs"]
mod made;

/// Instances in the pool of the gallery's sandbox: two memories each, enough for four guests of
/// eight memories and a good one. Each memory keeps up to 512 KiB of the pages that guests wrote,
/// so a larger pool grows for longer.
pub(crate) const MAX_INSTANCES: u32 = 17;
/// The line of a frame that gives way to a guest's text.
const GUEST: &str = "  ;; GUEST";
/// The ending of a file that does not become a plugin.
const REFUSED: &str = "refused";

/// One guest, and what is to come of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Guest {
    pub(crate) name: String,
    pub(crate) row: String,
    frame: Option<String>,
    contract: Option<String>,
    ends: String,
    #[serde(default)]
    says: String,
    #[serde(default)]
    log: String,
    timeout_ms: Option<u64>,
    memory_mib: Option<usize>,
    kv: Option<String>,
    runs: Option<usize>,
    measured: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Gallery {
    guests: Vec<Guest>,
}

/// Every guest there is.
pub(crate) fn guests() -> Vec<Guest> {
    let text = text("gallery.toml");
    let gallery: Gallery =
        toml::from_str(&text).unwrap_or_else(|error| panic!("gallery.toml: {error}"));
    gallery.guests
}

/// The guest of this name.
pub(crate) fn guest(name: &str) -> Guest {
    guests()
        .into_iter()
        .find(|guest| guest.name == name)
        .unwrap_or_else(|| panic!("there is no guest {name}"))
}

/// A sandbox of the gallery.
pub(crate) fn sandbox() -> Sandbox {
    let options = SandboxOptions { max_instances: MAX_INSTANCES, ..SandboxOptions::default() };
    Sandbox::new(options).expect("an engine and its pool")
}

/// The good plugin.
pub(crate) fn good(sandbox: &Sandbox) -> Plugin {
    sandbox.load(text("../guests/ok.wat").as_bytes()).expect("the good one is loaded")
}

impl Guest {
    /// The file, as it would lie in the plugins folder.
    pub(crate) fn file(&self) -> Vec<u8> {
        let own = || text(&format!("{}.wat", self.name));
        match self.frame.as_deref() {
            None => own().into_bytes(),
            Some("made") => made::file(&self.name),
            Some(frame) => text(&format!("frames/{frame}.wat")).replace(GUEST, &own()).into_bytes(),
        }
    }

    /// Whether it is not to become a plugin.
    pub(crate) fn is_refused(&self) -> bool {
        self.ends == REFUSED
    }

    /// How it is to be called.
    pub(crate) fn contract(&self) -> Contract {
        match self.contract.as_deref() {
            None | Some("handler") => Contract::Handler,
            Some("http") => Contract::Http,
            Some("command") => Contract::Command,
            Some(other) => panic!("{}: `{other}` is no contract", self.name),
        }
    }

    /// Whether it takes all the time there is.
    pub(crate) fn takes_its_time(&self) -> bool {
        self.ends == "timeout"
    }

    /// Its time limit, in milliseconds.
    pub(crate) fn timeout_ms(&self) -> u64 {
        self.timeout_ms.unwrap_or(if self.takes_its_time() { 50 } else { 60_000 })
    }

    /// The memory it has, in MiB.
    pub(crate) fn memory_mib(&self) -> usize {
        self.memory_mib.unwrap_or(16)
    }

    /// Whether it shows nothing without a bug of the host.
    pub(crate) fn needs_a_bug(&self) -> bool {
        self.kv.as_deref() == Some("panics")
    }

    /// Whether `cargo xtask bench --attacks` measures it, and `--hostile` does not.
    pub(crate) fn is_measured_in_numbers(&self) -> bool {
        match self.measured.as_deref() {
            None => false,
            Some("attacks") => true,
            Some(other) => panic!("{}: nothing is measured by `{other}`", self.name),
        }
    }

    /// How often the tests run it.
    pub(crate) fn runs(&self) -> usize {
        self.runs.unwrap_or(if self.takes_its_time() { 12 } else { 200 })
    }

    /// The difference between its result and the expected one; none if all is well.
    pub(crate) fn complaint(&self, came: &Invocation) -> Option<String> {
        let (ends, said) = match &came.verdict {
            Verdict::Ok(_) => ("ok", ""),
            Verdict::Retry { reason, .. } => ("retry", reason.as_str()),
            Verdict::Reject(reason) => ("reject", reason.as_str()),
            Verdict::Trap(text) => ("trap", text.as_str()),
            Verdict::Timeout(text) => ("timeout", text.as_str()),
            Verdict::Memory(text) => ("memory", text.as_str()),
            Verdict::Error(text) => ("error", text.as_str()),
            Verdict::NoCapacity => ("no capacity", ""),
        };
        if let Some(complaint) = self.differs(ends, said) {
            return Some(complaint);
        }
        let logged =
            self.log.is_empty() || came.logs.iter().any(|line| line.message.contains(&self.log));
        (!logged).then(|| format!("{}: no line of its log says `{}`", self.name, self.log))
    }

    /// The same of a file that was refused with these words.
    pub(crate) fn complaint_of_refusal(&self, said: &str) -> Option<String> {
        self.differs(REFUSED, said)
    }

    fn differs(&self, ends: &str, said: &str) -> Option<String> {
        let (name, expected, part) = (&self.name, &self.ends, &self.says);
        let as_expected = ends == expected && said.contains(part.as_str());
        (!as_expected).then(|| format!("{name}: {ends} `{said}`, not {expected} `{part}`"))
    }
}

fn text(name: &str) -> String {
    let path = folder().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Where the gallery is.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile")
}
