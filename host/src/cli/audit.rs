//! `hookbox audit`: who changed what on a running host.

use std::io::stdout;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::Common;
use super::client::{HostArg, Param};
use super::failure::Failure;
use super::listing::{Listed, ListingArgs};
use super::output::{Printout, text};
use super::since::time;

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Every change of an operator has an entry, newest first; it is made together with the change, and kept for \
store.audit_retention. Events that are made with `hookbox emit` are events of source api/local instead.

Examples:
  hookbox audit
  hookbox audit --action deliveries --since 1h
  hookbox audit --target dlv_1a209349a4f00000_0 --json
  hookbox audit export > audit.ndjson"
)]
pub(super) struct Audit {
    #[command(subcommand)]
    verb: Option<AuditVerb>,
    #[command(flatten)]
    filter: AuditFilterArgs,
    #[command(flatten)]
    listing: ListingArgs,
    /// Answer in JSON
    #[arg(long, display_order = 880)]
    json: bool,
    #[command(flatten)]
    host: HostArg,
}

#[derive(Debug, Args)]
struct AuditFilterArgs {
    /// By exactly this client: the name of its token, or local
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// This action, or all that begin with it and a dot
    #[arg(long)]
    action: Option<String>,
    /// With this text in the target or the details
    #[arg(long, value_name = "TEXT")]
    target: Option<String>,
    /// At or after: RFC 3339, Unix seconds, or 90s, 15m, 2h, 3d ago
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<String>,
    /// Before: RFC 3339, Unix seconds, or 90s, 15m, 2h, 3d ago
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<String>,
}

#[derive(Debug, Subcommand)]
enum AuditVerb {
    /// Write every entry that matches as lines of JSON
    #[command(after_help = "\
The newest first. An answer that breaks off is a failure.

Examples:
  hookbox audit export > audit.ndjson
  hookbox audit export --action deliveries --since 30d")]
    Export {
        #[command(flatten)]
        filter: AuditFilterArgs,
    },
}

impl AuditFilterArgs {
    fn query(&self) -> [Param<'_>; 5] {
        [
            ("actor", self.actor.as_deref()),
            ("action", self.action.as_deref()),
            ("target", self.target.as_deref()),
            ("since", self.since.as_deref()),
            ("until", self.until.as_deref()),
        ]
    }
}

impl Audit {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        const LISTED: Listed =
            Listed { path: "/api/v1/audit", none: "no entry: nothing was changed", table };
        let client = self.host.client(common)?;
        match &self.verb {
            Some(AuditVerb::Export { filter }) => {
                client.copy("/api/v1/audit/export", &filter.query(), &mut stdout().lock())?;
            }
            None => self.listing.print(&client, &LISTED, &self.filter.query(), self.json)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn table(out: &mut Printout, entries: &[Value]) {
    let head = ["TIME", "WHO", "ROLE", "BY", "ACTION", "ON", "RESULT"];
    let head = head.map(str::to_owned).to_vec();
    out.table(&std::iter::once(head).chain(entries.iter().map(row)).collect::<Vec<_>>());
}

fn row(entry: &Value) -> Vec<String> {
    let cell = |name: &str| text(&entry[name]);
    let on = match entry["detail"].as_str() {
        None | Some("") => cell("target"),
        Some(detail) => format!("{}, {detail}", cell("target")),
    };
    let result = match &entry["result"] {
        Value::Null => "done".to_owned(),
        Value::Array(made) => made.iter().map(text).collect::<Vec<_>>().join(" "),
        other => text(other),
    };
    vec![cell("at"), cell("actor"), cell("role"), cell("via"), cell("action"), on, result]
}
