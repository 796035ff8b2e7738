//! `hookbox deliveries`: deliveries of a running host, listed and shown; `change` retries, cancels,
//! discards and moves them.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use self::change::ChangeArgs;
use self::filter::{DeliveryFilterArgs, delivery_id};
use super::Common;
use super::client::{AdminClient, HostArg};
use super::failure::Failure;
use super::listing::{Listed, ListingArgs, attempts, delivery_table};
use super::output::{Printout, print_json};
use crate::event::DeliveryId;
use crate::store::Action;

mod change;
pub(super) mod filter;
mod operation;
mod question;

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
A change by filter says how many there are and asks first. Where nobody can be asked, as in a script, it needs --yes.

Examples:
  hookbox deliveries --state dead --since 1d
  hookbox deliveries dlv_019a…_0                     one, with attempts and logs
  hookbox deliveries retry dlv_019a…_0
  hookbox deliveries retry --state dead --plugin video-orders
  hookbox deliveries cancel --plugin video-orders --dry-run
  hookbox deliveries discard --type avatar_video.fail --until 7d --yes"
)]
pub(super) struct Deliveries {
    #[command(subcommand)]
    verb: Option<DeliveriesVerb>,
    /// Show this delivery
    #[arg(value_name = "ID", value_parser = delivery_id)]
    id: Option<DeliveryId>,
    #[command(flatten)]
    filter: DeliveryFilterArgs,
    #[command(flatten)]
    listing: ListingArgs,
    /// Answer in JSON
    #[arg(long, global = true, display_order = 880)]
    json: bool,
    #[command(flatten)]
    host: HostArg,
}

#[derive(Debug, Subcommand)]
enum DeliveriesVerb {
    /// Make deliveries due at once: one by its id, or all that match
    #[command(after_help = "\
By filter it takes dead deliveries, and begins them anew; with --state waiting, cancelled or discarded those. One that \
waits keeps the count of its attempts. A delivery that a plugin has delayed on purpose waits as well. By filter it says how \
many there are and asks, unless --yes is given; --yes is needed where nobody can be asked. With --first it says of the \
first one whether it is fixed.

Examples:
  hookbox deliveries retry dlv_019a…_0                 this one
  hookbox deliveries retry --plugin video-orders       all that is dead
  hookbox deliveries retry --failure f_7c1a90b2d3e4   of a group of failures
  hookbox deliveries retry --plugin video-orders --first --pace 50
  hookbox deliveries retry --state dead --yes          every dead one, unasked
  hookbox deliveries retry --state waiting --since 1h  at once, before it is due")]
    Retry {
        /// Drop the steps that they have recorded: without it, they go on where they failed
        #[arg(long)]
        fresh: bool,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// End open deliveries (ready, leased, waiting): one by its id, or all that match
    #[command(after_help = "\
Of an attempt that is running only its record is stored: no events, no values. By filter it says how many there are and \
asks, unless --yes is given; --yes is needed where nobody can be asked.

Examples:
  hookbox deliveries cancel --plugin video-orders --dry-run
  hookbox deliveries cancel --state open              all that is not settled
  hookbox deliveries cancel --state waiting --type order.reminder --yes")]
    Cancel(ChangeArgs),
    /// Put dead letters away: one by its id, or all that match
    #[command(after_help = "\
A discarded delivery is deleted with its event after `store.retention`. Until then it can be retried. By filter it says \
how many there are and asks, unless --yes is given; --yes is needed where nobody can be asked.

Examples:
  hookbox deliveries discard dlv_019a…_0
  hookbox deliveries discard --state dead --until 7d   those older than a week
  hookbox deliveries discard --plugin audit --yes      all of its dead, unasked")]
    Discard(ChangeArgs),
    /// Make a dead letter again of one that was discarded
    #[command(after_help = "\
Examples:
  hookbox deliveries undiscard dlv_019a…_0
  hookbox operations undo op_12   all that one has discarded")]
    Undiscard {
        /// The delivery
        #[arg(value_name = "ID", value_parser = delivery_id)]
        id: DeliveryId,
    },
    /// Give what is ready or waits to another plugin: one by its id, or all that match
    #[command(after_help = "\
A delivery keeps its time and its id, and with the id its idempotency key; its attempts are counted anew. It stays where it is \
if the other plugin has a delivery of the same event, because a plugin gets an event once. Values that a plugin keeps stay its \
own. By filter it says how many there are and asks, unless --yes is given; --yes is needed where nobody can be asked.

Examples:
  hookbox deliveries move --plugin video-orders --to orders --dry-run
  hookbox deliveries move --plugin video-orders --to orders   after a renaming
  hookbox deliveries move --plugin video-orders --to orders --yes
  hookbox deliveries move dlv_019a…_0 --to orders")]
    Move {
        /// The plugin that gets them
        #[arg(long, value_name = "PLUGIN")]
        to: String,
        #[command(flatten)]
        change: ChangeArgs,
    },
}

impl DeliveriesVerb {
    fn parts(&self) -> Option<(Action, &ChangeArgs)> {
        Some(match self {
            Self::Undiscard { .. } => return None,
            Self::Retry { fresh: false, change } => (Action::Retry, change),
            Self::Retry { fresh: true, change } => (Action::RetryFresh, change),
            Self::Cancel(change) => (Action::Cancel, change),
            Self::Discard(change) => (Action::Discard, change),
            Self::Move { to, change } => (Action::Move(to.as_str().into()), change),
        })
    }
}

impl Deliveries {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        if let Some((action, change)) = self.verb.as_ref().and_then(DeliveriesVerb::parts) {
            change.check(&action)?;
            return change.run(&action, &self.host.client(common)?, self.json);
        }
        if let Some(DeliveriesVerb::Undiscard { id }) = self.verb {
            return change::one(&Action::Undiscard, id, &self.host.client(common)?, self.json);
        }
        const LISTED: Listed =
            Listed { path: "/api/v1/deliveries", none: "no delivery", table: delivery_table };
        let client = &self.host.client(common)?;
        match self.id {
            Some(id) => self.show(client, id)?,
            None => self.listing.print(client, &LISTED, &self.filter.query(), self.json)?,
        }
        Ok(ExitCode::SUCCESS)
    }

    fn show(&self, client: &AdminClient, id: DeliveryId) -> Result<(), Failure> {
        let delivery = client.get(&format!("/api/v1/deliveries/{id}"), &[])?;
        if self.json {
            return print_json(&delivery);
        }
        let mut out = Printout::new();
        for name in ["event_id", "type", "subject"] {
            out.field(name, &delivery[name]);
        }
        attempts(&mut out, &delivery);
        out.print()
    }
}
