//! `hookbox backup`: copies the store into a file, also while a host runs.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::Common;
use super::failure::Failure;
use super::known::partial;
use super::output::{Printout, bytes, print_json, printable};
use crate::config::StorePlace;
use crate::store::backup;
use crate::text::grouped;

#[derive(Debug, Args)]
#[command(after_help = "\
The copy is the store at one moment, with all that was acknowledged until then. It reads the file of `store.url`, so it is run \
where the host runs, by the same user. To restore it, put it in place of the store's file while no host runs: see \
docs/operations.md, \"Backup\".

Not in the copy are `secrets/` of the data folder (secrets and tokens that the host has made or `hookbox provider` has registered), \
the configuration and the plugins: keep copies of them as well.

Examples:
  hookbox backup /backups/hookbox-2026-11-29.db")]
pub(super) struct Backup {
    /// The new file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Answer in JSON
    #[arg(long, display_order = 880)]
    json: bool,
}

impl Backup {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        let store = match partial(common)?.store {
            StorePlace::Sqlite(path) => path,
            StorePlace::Postgres(place) => {
                return Err(Failure::usage(format!(
                    "the store is {}, which Postgres' own tools copy: pg_dump, or pg_basebackup for the whole server",
                    place.shown()
                )));
            }
        };
        let made = backup(&store, &self.file).map_err(Failure::failed)?;
        let file = self.file.display().to_string();
        if self.json {
            print_json(&json!({ "file": file, "events": made.events, "bytes": made.bytes }))?;
        } else {
            let mut out = Printout::new();
            out.line(format!(
                "{} events, {} in {}",
                grouped(made.events),
                bytes(made.bytes),
                printable(&file)
            ));
            out.remark("not in it: `secrets/`, the configuration and the plugins".to_owned());
            out.print()?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
