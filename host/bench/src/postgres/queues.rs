//! Queues in Postgres behind Express, as people would run them. Everything is installed beside the
//! build, by npm.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hookbox_tools::{Result, command, run, say};
use serde_json::Value;

use crate::receivers::Receiver;

/// The packages: the newest that run on Node.js 20.
const PACKAGES: [&str; 4] = ["express@5", "pg@8", "pg-boss@10", "graphile-worker@0.17"];

/// The endpoints, ready to be started.
#[derive(Debug)]
pub(super) struct Queues {
    folder: PathBuf,
}

impl Queues {
    /// Installs what is missing and writes the endpoints.
    pub(super) fn install(folder: &Path) -> Result<Self> {
        let folder = folder.join("queues");
        std::fs::create_dir_all(&folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        for (name, text) in [
            ("pg-boss.js", include_str!("pg-boss.js")),
            ("graphile-worker.js", include_str!("graphile-worker.js")),
        ] {
            let file = folder.join(name);
            std::fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        for package in PACKAGES {
            let name = package.split('@').next().unwrap_or(package);
            if !folder.join("node_modules").join(name).exists() {
                say(&format!("installing {package} from npm"));
                let install = format!("install --no-audit --no-fund --silent {package}");
                run(command("npm", &install).current_dir(&folder))?;
            }
        }
        Ok(Self { folder })
    }

    /// The endpoint of this name.
    pub(super) fn receiver(&self, name: &str) -> Result<Receiver> {
        Receiver::express(&self.folder.join(name).with_extension("js"), None)
    }
}

/// Waits until its worker has handled so many, and no more than that.
pub(super) fn until_handled(address: &str, count: u64, within: Duration) -> Result {
    let url = format!("http://{address}/handled");
    let started = Instant::now();
    loop {
        let fail = |error: ureq::Error| format!("{url}: {error}");
        let answer: Value =
            ureq::get(&url).call().map_err(fail)?.body_mut().read_json().map_err(fail)?;
        let handled = answer["handled"].as_u64().ok_or(format!("{url}: no count: {answer}"))?;
        if handled == count {
            return Ok(());
        }
        if handled > count || started.elapsed() > within {
            return Err(format!("{count} jobs were stored, and {handled} are handled"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
