//! `hookbox joins`: open joins and batches of a running host.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::Common;
use super::client::HostArg;
use super::failure::Failure;
use super::listing::{Listed, ListingArgs};
use super::output::{Printout, text};

#[derive(Debug, Args)]
#[command(after_help = "\
Shows what has come and what is still needed, the one that ends first before the others. Those that have ended are events: \
see `hookbox events --source joins/NAME`, and `hookbox events tree ID` for the members of one.

Examples:
  hookbox joins
  hookbox joins --name joins/order-videos
  hookbox joins --key order_1 --json")]
pub(super) struct Joins {
    /// Of this section: joins/NAME or batches/NAME
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// With exactly this key
    #[arg(long)]
    key: Option<String>,
    #[command(flatten)]
    listing: ListingArgs,
    /// Answer in JSON
    #[arg(long, display_order = 880)]
    json: bool,
    #[command(flatten)]
    host: HostArg,
}

impl Joins {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        const LISTED: Listed =
            Listed { path: "/api/v1/joins", none: "no open join or batch", table };
        let filter = [("name", self.name.as_deref()), ("key", self.key.as_deref())];
        self.listing.print(&self.host.client(common)?, &LISTED, &filter, self.json)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn table(out: &mut Printout, joins: &[Value]) {
    let head = ["NAME", "KEY", "COUNT", "WAITS FOR", "SINCE", "UNTIL", "FIRST"];
    let head = head.map(str::to_owned).to_vec();
    out.table(&std::iter::once(head).chain(joins.iter().map(row)).collect::<Vec<_>>());
}

fn row(join: &Value) -> Vec<String> {
    let count = match join["need"].as_u64() {
        Some(need) => format!("{}/{need}", join["count"]),
        None => join["count"].to_string(),
    };
    let needs = if join["ending"] == true {
        "its end, in a moment".to_owned()
    } else {
        text(&join["needs"])
    };
    let cell = |name: &str| text(&join[name]);
    let first = cell("first_event_id");
    vec![cell("name"), cell("key"), count, needs, cell("since"), cell("until"), first]
}
