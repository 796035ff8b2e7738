//! `hookbox store`: moves a store from a SQLite file into a Postgres database.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::Common;
use super::failure::Failure;
use super::output::{Printout, print_json, printable};
use super::progress::ProgressLine;
use crate::clock::Clock;
use crate::config::{holds_password, is_postgres, without_user};
use crate::store::{CopiedRows, StoreCopy, copy_store};
use crate::text::grouped;
use crate::{env, tasks};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hookbox store copy data/hookbox.db env:DATABASE_URL --dry-run")]
pub(super) struct StoreArgs {
    #[command(subcommand)]
    verb: StoreVerb,
}

#[derive(Debug, Subcommand)]
enum StoreVerb {
    /// Copy the store of a stopped host from SQLite into an empty Postgres database
    Copy(CopyArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Everything goes over: events, deliveries and attempts, dedupe keys, values, steps, joins, keys, schedules, failures, pauses, \
approvals and the audit log. It is one transaction: the database has all of it, or is as before. Secrets and compiled plugins \
are files of `data_dir`, and stay where they are. See docs/many-hosts.md, \"Moving a store\".

Examples:
  hookbox store copy data/hookbox.db env:DATABASE_URL --dry-run
  hookbox store copy data/hookbox.db env:DATABASE_URL
  hookbox store copy data/hookbox.db file:/run/secrets/database-url
  hookbox store copy data/hookbox.db postgres://hookbox@db.internal/hookbox")]
struct CopyArgs {
    /// The SQLite file, whose host is stopped
    #[arg(value_name = "FROM")]
    from: String,
    /// The address of the database: env:NAME, file:PATH, or itself if it has no password
    #[arg(value_name = "TO")]
    to: String,
    /// The PEM file of the authority of the server's certificate [default: the public ones]
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Look at both, and count what would be copied
    #[arg(long)]
    dry_run: bool,
    /// Answer in JSON
    #[arg(long, display_order = 880)]
    json: bool,
}

impl StoreArgs {
    pub(super) fn run(&self, _: &Common) -> Result<ExitCode, Failure> {
        let StoreVerb::Copy(copy) = &self.verb;
        copy.run()
    }
}

impl CopyArgs {
    fn run(&self) -> Result<ExitCode, Failure> {
        let (from, to) = (sqlite_file(&self.from)?, address(&self.to)?);
        let place = without_user(to.expose_secret());
        let copy = StoreCopy {
            from: from.clone(),
            to,
            ca_file: self.ca_file.clone(),
            dry_run: self.dry_run,
            clock: Clock::system(),
        };
        let rows = self.copy(copy).map_err(|why| {
            Failure::failed(format!("nothing was copied from {} to {place}: {why}", from.display()))
        })?;
        if self.json {
            let items = rows.iter().map(|it| json!({ "name": it.name, "rows": it.rows }));
            let items: Vec<_> = items.collect();
            let from = from.display().to_string();
            print_json(&json!({
                "from": from, "to": place, "dry_run": self.dry_run, "items": items,
            }))?;
        } else {
            self.print(&from, &place, &rows)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Copies behind a bar.
    fn copy(&self, copy: StoreCopy) -> Result<Vec<CopiedRows>, String> {
        let runtime = tasks::runtime("hookbox-copy", 2)
            .map_err(|error| format!("failed to start threads: {error}"))?;
        let mut bar: Option<(&str, ProgressLine)> = None;
        runtime.block_on(copy_store(copy, |progress| {
            let same = bar.as_ref().is_some_and(|(name, _)| *name == progress.name);
            if !same {
                bar = None;
            }
            let (_, line) = bar.get_or_insert_with(|| {
                (progress.name, ProgressLine::new(progress.name, progress.of))
            });
            let (done, of) = (grouped(progress.done), grouped(progress.of));
            line.show(progress.done, format!("{done} of {of}"));
        }))
    }

    fn print(&self, from: &Path, place: &str, rows: &[CopiedRows]) -> Result<(), Failure> {
        let mut out = Printout::new();
        let head = vec!["ROWS".to_owned(), String::new()];
        let row = |it: &CopiedRows| vec![grouped(it.rows), it.name.to_owned()];
        let some = rows.iter().filter(|it| it.rows > 0).map(row);
        out.table(&std::iter::once(head).chain(some).collect::<Vec<_>>());
        let from = printable(&from.display().to_string());
        if self.dry_run {
            out.line(format!("would be copied from {from} to {place}; nothing was changed"));
        } else {
            out.line(format!("copied from {from} to {place}, and counted there"));
            out.remark(format!(
                "start no host on {from} any more: it would handle the same deliveries again"
            ));
        }
        out.print()
    }
}

/// The path of the file that is copied.
fn sqlite_file(from: &str) -> Result<PathBuf, Failure> {
    if is_postgres(from) {
        return Err(Failure::usage(
            "FROM is a Postgres database, and stores are copied from SQLite to Postgres only; pg_dump copies a database",
        ));
    }
    let path = from.strip_prefix("sqlite:").unwrap_or(from);
    let path = path.strip_prefix("//").unwrap_or(path);
    match path.is_empty() {
        true => Err(Failure::usage("FROM names no file: write data/hookbox.db")),
        false => Ok(PathBuf::from(path)),
    }
}

/// The address that `to` is or names.
fn address(to: &str) -> Result<SecretString, Failure> {
    if is_postgres(to) {
        if holds_password(to) {
            return Err(Failure::usage(
                "TO holds a password, which other users of this machine can see: put the address into an environment \
                 variable or a file, and write env:NAME or file:PATH",
            ));
        }
        return Ok(to.into());
    }
    let (named, found) = if let Some(name) = to.strip_prefix("env:") {
        let value = env::var(name).and_then(|value| value.into_string().ok());
        (format!("the environment variable `{name}`"), value.unwrap_or_default())
    } else if let Some(path) = to.strip_prefix("file:") {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::usage(format!("TO: cannot read `{path}`: {error}")))?;
        (format!("the file {path}"), text)
    } else {
        return Err(Failure::usage(
            "TO is not the address of a Postgres database: write env:NAME, file:PATH or postgres://USER@HOST/DATABASE",
        ));
    };
    let url = found.trim();
    if !is_postgres(url) {
        return Err(Failure::usage(format!(
            "TO: {named} holds no address of a Postgres database: it is to read postgres://USER:PASSWORD@HOST:PORT/DATABASE"
        )));
    }
    Ok(url.into())
}
