//! `hookbox events case`: what an event did becomes a golden test.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::event_id;
use crate::cli::client::AdminClient;
use crate::cli::failure::Failure;
use crate::cli::output::{Printout, print_json};
use crate::event::EventId;

/// Write a case for `hookbox test`: the event, and what its last attempt made of it
#[derive(Debug, Args)]
#[command(after_help = "\
What the handler found in its keys, or got from others, is not part of it: see `hookbox test --help` for kv.json.

Examples:
  hookbox events case evt_019a… --plugin audit --dir plugins/audit/cases/late-order
  hookbox test plugins/audit --case late-order")]
pub(super) struct CaseArgs {
    /// The event
    #[arg(value_parser = event_id)]
    id: EventId,
    /// The plugin, if the event went to several
    #[arg(long, value_name = "NAME")]
    plugin: Option<String>,
    /// The folder of the case; it is made
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

/// The answer of the host, whose numbers stay as they are written.
#[derive(Deserialize)]
struct Case {
    event: Box<RawValue>,
    expected: Box<RawValue>,
}

impl CaseArgs {
    pub(super) fn run(&self, client: &AdminClient, json: bool) -> Result<(), Failure> {
        let path = format!("/api/v1/events/{}/case", self.id);
        let mut answer = Vec::new();
        client.copy(&path, &[("plugin", self.plugin.as_deref())], &mut answer)?;
        let case: Case = serde_json::from_slice(&answer)
            .map_err(|error| Failure::failed(format!("the host's answer is no case: {error}")))?;
        std::fs::create_dir_all(&self.dir)
            .map_err(|error| Failure::failed(format!("{}: {error}", self.dir.display())))?;
        let files = [("event.json", case.event), ("expected.json", case.expected)];
        let paths = files.map(|(name, value)| (self.dir.join(name), value));
        if let Some((path, _)) = paths.iter().find(|(path, _)| path.exists()) {
            let path = path.display();
            return Err(Failure::failed(format!("{path} is there already: name another --dir")));
        }
        for (path, value) in &paths {
            write(path, value.get())
                .map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
        }
        if json {
            return print_json(&serde_json::json!({ "dir": self.dir }));
        }
        let mut out = Printout::new();
        for (path, _) in &paths {
            out.line(format!("wrote {}", path.display()));
        }
        out.print()
    }
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")
}
