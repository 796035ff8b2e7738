//! `hookbox kv set` and `delete`.

use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use crate::cli::client::{AdminClient, encoded};
use crate::cli::failure::Failure;
use crate::cli::output::{Printout, print_json, printable, text};

/// The stored value that the operator expects.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Believed {
    /// Only if the value has this version, as `hookbox kv BUCKET KEY --json` shows it
    #[arg(long, value_name = "VERSION")]
    if_version: Option<String>,
    /// Whatever is there
    #[arg(long)]
    force: bool,
}

/// Set a value
#[derive(Debug, Args)]
#[command(after_help = "\
The value is the text as it is given, byte for byte. Plugins that have read the key meanwhile run their attempt again.

Examples:
  hookbox kv set orders order_1/state open --if-absent
  hookbox kv set orders seen --number 0 --force
  hookbox kv set orders order_1 --file order.json --if-version 124")]
// clap would put what is required first.
#[command(
    override_usage = "hookbox kv set [OPTIONS] <BUCKET> <KEY> <VALUE|--file <FILE>|--number <N>> \
                            <--if-version <VERSION>|--if-absent|--force>"
)]
#[command(group = clap::ArgGroup::new("there").required(true).args(["if_version", "if_absent", "force"]))]
#[command(group = clap::ArgGroup::new("given").required(true).args(["value", "file", "number"]))]
pub(super) struct SetArgs {
    /// The bucket
    #[arg(value_name = "BUCKET")]
    bucket: String,
    /// The key
    #[arg(value_name = "KEY")]
    key: String,
    /// The value
    #[arg(value_name = "VALUE")]
    value: Option<String>,
    /// The value from a file; `-` is stdin
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// A number as plugins add to it: 8 bytes
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    number: Option<i64>,
    /// Only if the value has this version, as `hookbox kv BUCKET KEY --json` shows it
    #[arg(long, value_name = "VERSION")]
    if_version: Option<String>,
    /// Only if there is no value
    #[arg(long)]
    if_absent: bool,
    /// Whatever is there
    #[arg(long)]
    force: bool,
}

/// Delete a value
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hookbox kv delete orders order_1/state --if-version 124
  hookbox kv delete orders order_1/state --force")]
pub(super) struct DeleteArgs {
    /// The bucket
    #[arg(value_name = "BUCKET")]
    bucket: String,
    /// The key
    #[arg(value_name = "KEY")]
    key: String,
    #[command(flatten)]
    believed: Believed,
}

fn path(bucket: &str) -> String {
    format!("/api/v1/kv/{}/value", encoded(bucket))
}

impl SetArgs {
    pub(super) fn run(&self, client: &AdminClient, json: bool) -> Result<(), Failure> {
        let value = self.value()?;
        let query = [
            ("key", Some(self.key.as_str())),
            ("if_version", self.if_version.as_deref()),
            ("if_absent", self.if_absent.then_some("true")),
            ("force", self.force.then_some("true")),
        ];
        said(&client.put(&path(&self.bucket), &query, &value)?, json)
    }

    fn value(&self) -> Result<Vec<u8>, Failure> {
        let Some(file) = &self.file else {
            let number = self.number.map(|number| number.to_le_bytes().to_vec());
            return Ok(number.unwrap_or_else(|| self.value.clone().unwrap_or_default().into()));
        };
        let mut bytes = Vec::new();
        let read = match file.to_str() {
            Some("-") => io::stdin().lock().read_to_end(&mut bytes).map(drop),
            _ => fs::read(file).map(|read| bytes = read),
        };
        let shown = printable(&file.display().to_string());
        read.map_err(|error| Failure::usage(format!("failed to read {shown}: {error}")))?;
        Ok(bytes)
    }
}

impl DeleteArgs {
    pub(super) fn run(&self, client: &AdminClient, json: bool) -> Result<(), Failure> {
        let query = [
            ("key", Some(self.key.as_str())),
            ("if_version", self.believed.if_version.as_deref()),
            ("force", self.believed.force.then_some("true")),
        ];
        said(&client.delete(&path(&self.bucket), &query)?, json)
    }
}

fn said(answer: &Value, json: bool) -> Result<(), Failure> {
    if json {
        return print_json(answer);
    }
    let mut out = Printout::new();
    let key = text(&answer["key"]);
    match answer["version"].is_null() {
        true => out.line(format!("{key} is deleted")),
        false => out.line(format!("{key} is set, version {}", text(&answer["version"]))),
    }
    out.print()
}
