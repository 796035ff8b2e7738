//! Hosts that tick on a store, by a clock that is moved by hand.

use std::fs;

use tempfile::TempDir;

use super::*;
use crate::config::{MakeSecrets, Surroundings};
use crate::event::{EventId, State};
use crate::store::memory::MemoryStore;
use crate::store::{DeliveryFilter, EventFilter, Page, Sqlite, SqliteOptions, Store};

mod years;

const DAY_MS: i64 = 24 * 3_600_000;

/// 2026-03-28, a day before the clocks of Berlin change.
const START_MS: i64 = 1_774_656_000_000;

/// A folder with a plugin.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("plugins")).unwrap();
    fs::write(folder.path().join("plugins/report.wat"), "").unwrap();
    folder
}

fn config(folder: &TempDir, text: &str) -> Arc<Config> {
    let surroundings = Surroundings { make_secrets: MakeSecrets::No, env: &|_| None };
    let parsed = Config::parse(&folder.path().join("config.toml"), text, surroundings);
    Arc::new(parsed.unwrap_or_else(|problems| panic!("{}", problems.render(false))))
}
