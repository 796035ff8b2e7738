//! `hookbox hosts`: the hosts that share a store.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::Common;
use super::client::HostArg;
use super::failure::Failure;
use super::listing::elements;
use super::output::{Printout, print_json, printable, text};
use crate::text::differences;

#[derive(Debug, Args)]
#[command(after_help = "\
A host is known for some seconds after it has died. A plugin differs if hosts run different files of it, or one runs none: \
its deliveries are handled by those that have it.

Examples:
  hookbox hosts
  hookbox hosts --json")]
pub(super) struct HostsArgs {
    /// Answer in JSON
    #[arg(long, display_order = 880)]
    json: bool,
    #[command(flatten)]
    host: HostArg,
}

impl HostsArgs {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        let found = self.host.client(common)?.get("/api/v1/hosts", &[])?;
        if self.json {
            print_json(&found)?;
            return Ok(ExitCode::SUCCESS);
        }
        let hosts = elements(&found["items"]);
        let head = ["NAME", "VERSION", "SINCE", "SEEN", "LEASES", "PLUGINS", ""];
        let head = head.map(str::to_owned).to_vec();
        let mut out = Printout::new();
        out.table(&std::iter::once(head).chain(hosts.iter().map(row)).collect::<Vec<_>>());
        for name in elements(&found["plugins_that_differ"]).iter().filter_map(Value::as_str) {
            let files =
                hosts.iter().map(|host| (text(&host["name"]), host["plugins"][name].as_str()));
            let lines = differences(name, &files.collect::<Vec<_>>());
            lines.iter().for_each(|line| out.line(printable(line)));
        }
        if found["acknowledged"].is_string() {
            out.line(format!("acknowledged: {}", text(&found["acknowledged"])));
        }
        out.print()?;
        Ok(ExitCode::SUCCESS)
    }
}

fn row(host: &Value) -> Vec<String> {
    let cell = |name: &str| text(&host[name]);
    let plugins = host["plugins"].as_object().map_or(0, serde_json::Map::len);
    let this = if host["this"] == true { "asked" } else { "" };
    vec![
        cell("name"),
        cell("version"),
        cell("since"),
        cell("seen"),
        host["leases"].to_string(),
        plugins.to_string(),
        this.to_owned(),
    ]
}
