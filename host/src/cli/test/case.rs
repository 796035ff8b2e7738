//! One case: its three files, and the comparison of its result with the expected one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::expected::{Expected, MAX_CALLS};
use super::folder::{CaseFolder, EVENT};
use crate::cli::failure::Failure;
use crate::cli::runner::calls::{Bound, Calls};
use crate::cli::runner::event;
use crate::cli::runner::run_store::{Values, read_values};
use crate::event::Event;

/// The expected result.
const EXPECTED: &str = "expected.json";
/// The plugin's settings, as it reads them through `hookbox:plugin/config`.
const CONFIG: &str = "config.json";
/// The values of its key-value store at first.
const KV: &str = "kv.json";

/// A case that was read.
#[derive(Debug)]
pub(super) struct TestCase {
    pub(super) name: String,
    pub(super) event: Event,
    pub(super) config: BTreeMap<String, String>,
    /// The values of its key-value store at first.
    pub(super) kv: Values,
    /// None for a new case, which is yet to be written down.
    pub(super) expected: Option<Expected>,
    path: PathBuf,
}

/// The result of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CaseResult {
    /// The result is as expected.
    Ok,
    /// The result differs.
    Failed,
    /// There was no expectation; now there is.
    New,
    /// The result differed, and is expected now.
    Updated,
}

impl TestCase {
    /// Reads them all, or says everything that is wrong with them.
    pub(super) fn read_all(folders: &[CaseFolder], may_be_new: bool) -> Result<Vec<Self>, String> {
        let (mut cases, mut problems) = (Vec::new(), Vec::new());
        for folder in folders {
            match Self::read(folder, may_be_new) {
                Ok(case) => cases.push(case),
                Err(found) => problems.extend(found),
            }
        }
        if problems.is_empty() { Ok(cases) } else { Err(problems.join("\n")) }
    }

    fn read(folder: &CaseFolder, may_be_new: bool) -> Result<Self, Vec<String>> {
        let event = event(&folder.path.join(EVENT));
        let config = config(&folder.path.join(CONFIG));
        let kv = kv(&folder.path.join(KV));
        let expected = expected(&folder.path.join(EXPECTED), may_be_new);
        match (event, config, kv, expected) {
            (Ok(event), Ok(config), Ok(kv), Ok(expected)) => Ok(Self {
                name: folder.name.clone(),
                event,
                config,
                kv,
                expected,
                path: folder.path.clone(),
            }),
            (event, config, kv, expected) => {
                let problems = [event.err(), config.err(), kv.err(), expected.err()];
                Err(problems.into_iter().flatten().collect())
            }
        }
    }

    /// How often the handler is called. A new case goes on while it asks to be called again.
    pub(super) fn bound(&self) -> Bound {
        match &self.expected {
            None => Bound { most: MAX_CALLS, retries: false },
            Some(expected) => Bound { most: expected.calls(), retries: true },
        }
    }

    /// The compared part of the result, and the verdict on it.
    pub(super) fn judge(&self, calls: &Calls, update: bool) -> (Expected, CaseResult) {
        let Some(expected) = &self.expected else {
            return (Expected::all_of(calls), CaseResult::New);
        };
        let actual = expected.same_of(calls);
        let mark = match (actual == *expected, update) {
            (true, _) => CaseResult::Ok,
            (false, true) => CaseResult::Updated,
            (false, false) => CaseResult::Failed,
        };
        (actual, mark)
    }

    /// Makes `actual` the expectation.
    pub(super) fn write(&self, actual: &Expected) -> Result<(), Failure> {
        let file = self.path.join(EXPECTED);
        fs::write(&file, format!("{}\n", actual.text())).map_err(|error| {
            Failure::failed(format!("failed to write {}: {error}", file.display()))
        })
    }
}

fn event(file: &Path) -> Result<Event, String> {
    if !file.exists() {
        return Err(format!(
            "{} is missing: the event of the case, a CloudEvents JSON document",
            file.display()
        ));
    }
    event::read_document(file)
}

fn expected(file: &Path, may_be_new: bool) -> Result<Option<Expected>, String> {
    let shown = file.display();
    match (json(file)?, may_be_new) {
        (Some(value), _) => {
            Expected::read(value).map(Some).map_err(|reason| format!("{shown}: {reason}"))
        }
        (None, true) => Ok(None),
        (None, false) => Err(format!(
            "{shown} is missing: write at least {{\"outcome\": \"ok\"}}, or let --update write it"
        )),
    }
}

/// The values at first; none if there is no file.
fn kv(file: &Path) -> Result<Values, String> {
    let Some(value) = json(file)? else { return Ok(Values::new()) };
    read_values(value).map_err(|why| format!("{}: {why}", file.display()))
}

/// Strings as they are, other values as JSON: as in `config.toml`.
fn config(file: &Path) -> Result<BTreeMap<String, String>, String> {
    match json(file)? {
        None => Ok(BTreeMap::new()),
        Some(Value::Object(members)) => {
            Ok(members.into_iter().map(|(key, value)| (key, plain(value))).collect())
        }
        Some(_) => {
            Err(format!("{} is not an object: write {{\"currency\": \"EUR\"}}", file.display()))
        }
    }
}

fn plain(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// The content of a file; none if there is no file.
fn json(file: &Path) -> Result<Option<Value>, String> {
    let shown = file.display();
    match fs::read(file) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| format!("{shown} is not JSON: {error}")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("failed to read {shown}: {error}")),
    }
}
