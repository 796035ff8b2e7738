//! A change of many deliveries that goes on by steps on the host: planned, started and watched.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::question::confirmed;
use crate::cli::client::{AdminClient, Param};
use crate::cli::failure::Failure;
use crate::cli::listing::elements;
use crate::cli::operations::{report, watch};
use crate::cli::output::text;
use crate::store::Action;

/// How an operation goes on.
#[derive(Debug, Args)]
pub(super) struct OperationArgs {
    /// Try one first, and go on only if that succeeds
    #[arg(long, conflicts_with_all = ["id", "dry_run"])]
    first: bool,
    /// So many a second at most
    #[arg(
        long, value_name = "PER_SECOND", conflicts_with_all = ["id", "dry_run"],
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pace: Option<u32>,
    /// Stop after so many that failed again
    #[arg(
        long, value_name = "FAILURES", conflicts_with_all = ["id", "dry_run"],
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    stop_after: Option<u32>,
}

impl OperationArgs {
    /// Whether an operation is asked for.
    pub(super) fn is_given(&self) -> bool {
        self.first || self.pace.is_some() || self.stop_after.is_some()
    }

    /// Plans it, asks if that is wanted, starts it, and watches it to its end.
    pub(super) fn run(
        &self,
        action: &Action,
        filter: &[Param<'_>],
        client: &AdminClient,
        (asks, as_json): (bool, bool),
    ) -> Result<ExitCode, Failure> {
        let mut query = filter.to_vec();
        query.push(("action", Some(action.name())));
        query.extend((*action == Action::RetryFresh).then_some(("fresh", Some("true"))));
        let planned = client.post("/api/v1/operations", &query)?;
        let path = format!("/api/v1/operations/{}", text(&planned["id"]));
        let wanted = if asks { ask(action, &planned) } else { Ok(true) };
        if !matches!(wanted, Ok(true)) {
            // It could be started within the hour.
            let ended = client.post(&format!("{path}/cancel"), &[])?;
            return wanted.and_then(|_| report(&ended, as_json).map(|_| ExitCode::SUCCESS));
        }
        let [pace, stop_after] =
            [self.pace, self.stop_after].map(|number| number.map(|number| number.to_string()));
        let options = [
            ("first", self.first.then_some("true")),
            ("pace", pace.as_deref()),
            ("stop_after", stop_after.as_deref()),
        ];
        let started = client.post(&format!("{path}/start"), &options)?;
        let now = watch(client, &path, started)?;
        report(&now, as_json)
    }
}

/// Asks whether what was planned is to be done.
fn ask(action: &Action, planned: &Value) -> Result<bool, Failure> {
    let matched = planned["total"].as_u64().unwrap_or(0);
    let as_of = format!(", as of {}: what fails later is not touched", text(&planned["as_of"]));
    let sample = elements(&planned["sample"]);
    confirmed(action, (matched, planned["exact"] == true), &as_of, sample)
}
