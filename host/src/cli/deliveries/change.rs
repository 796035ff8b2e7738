//! `hookbox deliveries retry | cancel | discard | move`: one delivery by its id, or all that match.
//!
//! A change of many is asked about, unless `--yes` is given. The host works for a bounded time and
//! gives a cursor; this asks until there are no more. A change that was made when it is stopped
//! stays, and the same command goes on with the rest.

use std::process::{ExitCode, exit};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::filter::{DeliveryFilterArgs, delivery_id};
use super::operation::OperationArgs;
use super::question::confirmed;
use crate::cli::asking::somebody_is_there;
use crate::cli::client::{AdminClient, Param};
use crate::cli::failure::Failure;
use crate::cli::listing::{delivery_table, elements};
use crate::cli::output::{Ink, Printout, print_json, text};
use crate::cli::progress::ProgressLine;
use crate::event::DeliveryId;
use crate::store::Action;
use crate::tasks;

/// The exit code of a process that ctrl-c has ended, as shells count.
const INTERRUPTED: i32 = 128 + 2;

#[derive(Debug, Args)]
pub(super) struct ChangeArgs {
    /// The delivery
    #[arg(value_name = "ID", value_parser = delivery_id, conflicts_with_all = ["state", "plugin", "kind", "source", "subject", "failure", "outcome", "min_attempts", "since", "until"])]
    id: Option<DeliveryId>,
    #[command(flatten)]
    filter: DeliveryFilterArgs,
    /// Change nothing: say how many there are and show the first few
    #[arg(long, conflicts_with = "id")]
    dry_run: bool,
    /// Do not ask, however many there are
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    operation: OperationArgs,
}

impl ChangeArgs {
    /// A change by filter needs one.
    pub(super) fn check(&self, action: &Action) -> Result<(), Failure> {
        if self.id.is_some() || self.filter.query().iter().any(|(_, value)| value.is_some()) {
            return Ok(());
        }
        let all = match action {
            Action::Retry | Action::RetryFresh | Action::Discard => {
                "`--state dead` for every dead delivery"
            }
            Action::Undiscard => "`--state discarded` for every discarded delivery",
            Action::Cancel => "`--state open` for every delivery that is ready, leased or waiting",
            Action::Move(_) => {
                "`--plugin NAME` for every delivery of that plugin that is ready or waiting"
            }
        };
        Err(Failure::usage(format!("which ones? Give an ID, a filter, or {all}")))
    }

    pub(super) fn run(
        &self,
        action: &Action,
        client: &AdminClient,
        as_json: bool,
    ) -> Result<ExitCode, Failure> {
        match &self.id {
            Some(id) => one(action, *id, client, as_json),
            None if self.dry_run => self.preview(action, client, as_json),
            None if self.operation.is_given() && matches!(action, Action::Move(_)) => {
                Err(Failure::usage(
                    "a move is no operation: leave --first, --pace and --stop-after out",
                ))
            }
            None => {
                let asks = !self.yes;
                // An operation is counted when it is planned, which needs somebody to start it.
                let counts = asks && (!self.operation.is_given() || !somebody_is_there());
                if counts && !self.ask(action, client)? {
                    return changed(0, action.done(), &Value::Null, as_json);
                }
                match self.operation.is_given() {
                    true => {
                        self.operation.run(action, &self.filter.query(), client, (asks, as_json))
                    }
                    false => self.all(action, client, as_json),
                }
            }
        }
    }

    /// Asks whether all that match are meant.
    fn ask(&self, action: &Action, client: &AdminClient) -> Result<bool, Failure> {
        let answer = self.step(action, client, &[("dry_run", Some("true"))], None)?;
        let (matched, is_all) = (count(&answer, "matched"), !answer["next_cursor"].is_string());
        if !somebody_is_there() {
            let at_least = if is_all { "" } else { "at least " };
            return Err(Failure::usage(format!(
                "{at_least}{matched} would be {}, and nobody can be asked here: add --yes, or --dry-run to see them",
                action.done()
            )));
        }
        confirmed(action, (matched, is_all), "", elements(&answer["first"]))
    }

    fn all(
        &self,
        action: &Action,
        client: &AdminClient,
        as_json: bool,
    ) -> Result<ExitCode, Failure> {
        let (mut number, done) = (0, action.done());
        let progress = ProgressLine::new(action.name(), self.at_most(action, client)?);
        let next = self.steps(action, client, &[], |answer| {
            number += count(answer, done);
            progress.show(number, format!("{number} {done}"));
        });
        drop(progress);
        let next = next.map_err(|failure| match number {
            0 => failure,
            _ => Failure::failed(format!("{number} {done}, then: {failure}")),
        })?;
        changed(number, done, &next, as_json)
    }

    fn preview(
        &self,
        action: &Action,
        client: &AdminClient,
        as_json: bool,
    ) -> Result<ExitCode, Failure> {
        let (mut matched, mut first) = (0, Vec::new());
        let dry_run = [("dry_run", Some("true"))];
        let next = self.steps(action, client, &dry_run, |answer| {
            matched += count(answer, "matched");
            first.extend(elements(&answer["first"]).iter().cloned());
        })?;
        if as_json {
            print_json(
                &json!({ "matched": matched, "more": !next.is_null(), "next_cursor": next, "first": first }),
            )?;
            return stopped(&next);
        }
        let mut out = Printout::new();
        let at_least = if next.is_null() { "" } else { "at least " };
        out.line(format!("{at_least}{matched} would be {}", action.done()));
        if !first.is_empty() {
            delivery_table(&mut out, &first);
        }
        if matched > first.len() as u64 {
            out.line(out.ink(Ink::Dim, "…"));
        }
        out.print()?;
        stopped(&next)
    }

    /// Asks until there are no more or ctrl-c is pressed; the cursor to go on with, if so.
    fn steps(
        &self,
        action: &Action,
        client: &AdminClient,
        more: &[Param<'_>],
        mut see: impl FnMut(&Value),
    ) -> Result<Value, Failure> {
        let interrupt = Interrupt::listen()?;
        let mut next = Value::Null;
        loop {
            let mut answer = self.step(action, client, more, next.as_str())?;
            see(&answer);
            next = answer["next_cursor"].take();
            if !next.is_string() || interrupt.is_there() {
                return Ok(next);
            }
        }
    }

    /// One call of the host.
    fn step(
        &self,
        action: &Action,
        client: &AdminClient,
        more: &[Param<'_>],
        cursor: Option<&str>,
    ) -> Result<Value, Failure> {
        let mut query = self.filter.query().to_vec();
        query.extend(to(action));
        query.extend_from_slice(more);
        query.push(("cursor", cursor));
        client.post(&format!("/api/v1/deliveries/{}", action.name()), &query)
    }

    /// A bound for the bar: deliveries of the plugin in states that may be meant.
    fn at_most(&self, action: &Action, client: &AdminClient) -> Result<u64, Failure> {
        let stats = client.get("/api/v1/stats", &[])?;
        let counts = match &self.filter.plugin {
            Some(plugin) => &stats["plugins"][plugin],
            None => &stats["deliveries"],
        };
        let asked = |state: &str| self.filter.state.as_deref().is_some_and(|asked| asked == state);
        let unasked = |state| {
            action.takes_unasked().contains(state)
                && !action.takes().iter().any(|s| asked(s.name()))
        };
        let meant = action.takes().iter().filter(|state| asked(state.name()) || unasked(state));
        Ok(meant.map(|state| count(counts, state.name())).sum())
    }
}

/// The parameter of an action beside its filters.
fn to(action: &Action) -> Option<Param<'_>> {
    match action {
        Action::Move(plugin) => Some(("to", Some(&**plugin))),
        Action::RetryFresh => Some(("fresh", Some("true"))),
        _ => None,
    }
}

/// Changes one.
pub(super) fn one(
    action: &Action,
    id: DeliveryId,
    client: &AdminClient,
    as_json: bool,
) -> Result<ExitCode, Failure> {
    let more: Vec<Param<'_>> = to(action).into_iter().collect();
    let answer = client.post(&format!("/api/v1/deliveries/{id}/{}", action.name()), &more)?;
    if as_json {
        print_json(&answer)?;
    } else {
        let mut out = Printout::new();
        out.line(format!("{} {}", text(&answer[action.done()]), action.done()));
        out.print()?;
    }
    Ok(ExitCode::SUCCESS)
}

fn count(answer: &Value, name: &str) -> u64 {
    answer[name].as_u64().unwrap_or(0)
}

/// Prints how many were changed, and where to go on.
fn changed(number: u64, done: &str, next: &Value, as_json: bool) -> Result<ExitCode, Failure> {
    if as_json {
        print_json(&json!({ done: number, "more": !next.is_null(), "next_cursor": next }))?;
    } else {
        let mut out = Printout::new();
        out.line(format!("{number} {done}"));
        out.print()?;
    }
    stopped(next)
}

/// The end of a command that may have been stopped before its end.
fn stopped(next: &Value) -> Result<ExitCode, Failure> {
    if next.is_null() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::failed("stopped before the end; the same command goes on with the rest"))
}

/// Whether ctrl-c was pressed: the first one lets the step under way end, the second one ends the
/// command.
struct Interrupt {
    there: Arc<AtomicBool>,
    _runtime: Runtime,
}

impl Interrupt {
    fn listen() -> Result<Self, Failure> {
        let failed = |error| Failure::failed(format!("failed to listen for ctrl-c: {error}"));
        let runtime = tasks::runtime("hookbox-signals", 1).map_err(failed)?;
        let there = Arc::new(AtomicBool::new(false));
        let seen = there.clone();
        let mut interrupt = {
            let _within = runtime.enter();
            signal(SignalKind::interrupt()).map_err(failed)?
        };
        tasks::spawn_on(runtime.handle(), async move {
            interrupt.recv().await;
            seen.store(true, Ordering::Relaxed);
            interrupt.recv().await;
            exit(INTERRUPTED);
        });
        Ok(Self { there, _runtime: runtime })
    }

    fn is_there(&self) -> bool {
        self.there.load(Ordering::Relaxed)
    }
}
