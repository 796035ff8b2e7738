//! `hookbox events erase`: deletes the data of events for ever.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::event_id;
use crate::cli::asking::{says_yes, somebody_is_there};
use crate::cli::client::{AdminClient, Param};
use crate::cli::failure::Failure;
use crate::cli::output::{Printout, print_json, printable};
use crate::event::EventId;

#[derive(Debug, Args)]
#[command(after_help = "\
Removes body, headers and subject of the events, and of their deliveries the logs, errors, paths of requests, recorded \
steps and keys; the same of dead letters that tell of them, and of what joins and batches made of them. Open \
deliveries are cancelled first. Counts and tree stay. An event that is erased cannot be replayed. It asks first; where \
nobody can be asked, it needs --yes.

Examples:
  hookbox events erase --subject customer_17 --keys
  hookbox events erase evt_019a… --yes")]
pub(super) struct EraseArgs {
    /// This event
    #[arg(
        value_name = "ID", value_parser = event_id,
        conflicts_with_all = ["subject", "named"],
        required_unless_present_any = ["subject", "named"]
    )]
    id: Option<EventId>,
    /// The same as ID
    #[arg(
        id = "named", long = "id", value_name = "ID", value_parser = event_id, hide = true,
        conflicts_with = "subject"
    )]
    named: Option<EventId>,
    /// All with exactly this subject
    #[arg(long)]
    subject: Option<String>,
    /// Also the values of key-value buckets that their deliveries wrote last
    #[arg(long)]
    keys: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl EraseArgs {
    pub(super) fn run(&self, client: &AdminClient, as_json: bool) -> Result<ExitCode, Failure> {
        if !self.yes && !self.confirmed()? {
            return Err(Failure::failed("nothing was erased"));
        }
        let keys = self.keys.then_some("true");
        let (path, query): (String, Vec<Param<'_>>) = match (self.event(), &self.subject) {
            (Some(id), _) => (format!("/api/v1/events/{id}/erase"), vec![("keys", keys)]),
            (None, subject) => (
                "/api/v1/events/erase".to_owned(),
                vec![("subject", subject.as_deref()), ("keys", keys)],
            ),
        };
        let mut sums = [0; 3];
        let running = loop {
            let answer = client.post(&path, &query)?;
            let count = |name: &str| answer[name].as_u64().unwrap_or(0);
            for (sum, name) in sums.iter_mut().zip(["erased", "ended", "keys"]) {
                *sum += count(name);
            }
            if answer["more"] != Value::Bool(true) {
                // An event whose attempt runs is met by each call until it has ended.
                break count("running");
            }
        };
        report(sums, running, as_json)
    }

    fn event(&self) -> Option<EventId> {
        self.id.or(self.named)
    }

    /// Asks whoever is there.
    fn confirmed(&self) -> Result<bool, Failure> {
        if !somebody_is_there() {
            return Err(Failure::usage("erased data does not come back: add --yes"));
        }
        let what = match (self.event(), &self.subject) {
            (Some(id), _) => id.to_string(),
            (None, subject) => {
                format!("every event of subject {}", printable(subject.as_deref().unwrap_or("")))
            }
        };
        says_yes("", &format!("erase {what}? Erased data does not come back."))
    }
}

fn report(
    [erased, ended, keys]: [u64; 3],
    running: u64,
    as_json: bool,
) -> Result<ExitCode, Failure> {
    if as_json {
        let answer = json!({ "erased": erased, "ended": ended, "running": running, "keys": keys });
        print_json(&answer)?;
    } else {
        let mut out = Printout::new();
        out.line(format!("{erased} erased, {ended} deliveries ended, {keys} keys deleted"));
        if running > 0 {
            out.remark(format!(
                "{running} cancelled, with an attempt that still runs: the same command erases them when it has ended"
            ));
        }
        out.print()?;
    }
    Ok(if running > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
