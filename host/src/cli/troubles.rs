//! `hookbox troubles`: what wants attention on a running host.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::Common;
use super::client::HostArg;
use super::failure::Failure;
use super::listing::elements;
use super::output::{Printout, print_json, printable, text};

#[derive(Debug, Args)]
#[command(after_help = "\
The gravest comes first, as on the page `/`. `hookbox health` asks whether the host serves, and names \
problems of the host alone.

Examples:
  hookbox troubles
  hookbox troubles --json")]
pub(super) struct Troubles {
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    host: HostArg,
}

impl Troubles {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        let answer = self.host.client(common)?.get("/api/v1/troubles", &[])?;
        if self.json {
            print_json(&answer)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut out = Printout::new();
        match elements(&answer["items"]) {
            [] => out.line("nothing wants attention"),
            troubles => {
                let head = ["PART", "NAME", "SINCE", "WHAT", "EFFECT"].map(str::to_owned).to_vec();
                let rows = std::iter::once(head).chain(troubles.iter().map(row));
                out.table(&rows.collect::<Vec<_>>());
            }
        }
        for unknown in elements(&answer["not_known"]) {
            out.remark(not_known(unknown));
        }
        out.print()?;
        Ok(ExitCode::SUCCESS)
    }
}

fn row(trouble: &Value) -> Vec<String> {
    let cell = |name: &str| text(&trouble[name]);
    let since = match trouble["until"].as_str() {
        Some(until) => format!("{} to {until}", cell("since")),
        None => cell("since"),
    };
    vec![cell("part"), cell("name"), since, cell("detail"), cell("effect")]
}

/// Something that the store did not say in time.
fn not_known(unknown: &Value) -> String {
    let what = printable(&text(&unknown["what"]));
    match unknown["as_of"].as_str() {
        Some(at) => format!("not known now: {what} (as of {at} is shown)"),
        None => format!("not known now: {what}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_trouble_that_is_over_has_its_end() {
        let mut trouble = json!({
            "part": "source", "name": "acme", "detail": "refused", "effect": "lost",
            "since": "2026-02-02T02:40:00.000Z", "until": null
        });
        assert_eq!(row(&trouble)[2], "2026-02-02T02:40:00.000Z");
        trouble["until"] = json!("2026-02-02T02:50:00.000Z");
        assert_eq!(row(&trouble)[2], "2026-02-02T02:40:00.000Z to 2026-02-02T02:50:00.000Z");
    }

    #[test]
    fn what_is_not_known_has_the_time_of_which_it_is_known() {
        let unknown = json!({ "what": "why attempts fail", "as_of": null });
        assert_eq!(not_known(&unknown), "not known now: why attempts fail");
        let unknown = json!({ "what": "why attempts fail", "as_of": "02:40" });
        assert_eq!(not_known(&unknown), "not known now: why attempts fail (as of 02:40 is shown)");
    }
}
