//! The deliveries that a command means: one by its id, or all that match.

use clap::Args;

use crate::cli::client::Param;
use crate::cli::output::printable;
use crate::cli::since::time;
use crate::event::{DeliveryId, FailureId};

#[derive(Debug, Args)]
pub(super) struct DeliveryFilterArgs {
    /// In this state: ready, leased, waiting, done, dead, cancelled, discarded
    #[arg(long)]
    pub(super) state: Option<String>,
    /// Of this plugin
    #[arg(long, value_name = "NAME")]
    pub(super) plugin: Option<String>,
    /// Of events of exactly this type
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Of events of exactly this source
    #[arg(long)]
    source: Option<String>,
    /// Of events with exactly this subject
    #[arg(long)]
    subject: Option<String>,
    /// Whose last attempt failed in this group: see `hookbox failures`
    #[arg(long, value_name = "GROUP", value_parser = failure_id)]
    failure: Option<String>,
    /// Whose last attempt had this outcome, such as retry, reject, trap, timeout or error
    #[arg(long)]
    outcome: Option<String>,
    /// With at least so many attempts
    #[arg(long, value_name = "N")]
    min_attempts: Option<String>,
    /// Of events received at or after: RFC 3339, Unix seconds, or 90s, 15m, 2h, 3d ago
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<String>,
    /// Of events received before: RFC 3339, Unix seconds, or 90s, 15m, 2h, 3d ago
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<String>,
}

impl DeliveryFilterArgs {
    pub(super) fn query(&self) -> [Param<'_>; 10] {
        [
            ("state", self.state.as_deref()),
            ("plugin", self.plugin.as_deref()),
            ("type", self.kind.as_deref()),
            ("source", self.source.as_deref()),
            ("subject", self.subject.as_deref()),
            ("failure", self.failure.as_deref()),
            ("outcome", self.outcome.as_deref()),
            ("min_attempts", self.min_attempts.as_deref()),
            ("since", self.since.as_deref()),
            ("until", self.until.as_deref()),
        ]
    }
}

/// The id of a group of failures.
pub(in crate::cli) fn failure_id(text: &str) -> Result<String, String> {
    let id: Result<FailureId, _> = text.parse();
    id.map(|id| id.to_string()).map_err(|error| format!("{error}, as `hookbox failures` shows it"))
}

/// A delivery's id; of an event's it says where that one is shown.
pub(super) fn delivery_id(text: &str) -> Result<DeliveryId, String> {
    let elsewhere = text
        .starts_with("evt_")
        .then(|| format!("; `hookbox events {}` shows an event", printable(text)));
    text.parse().map_err(|error| format!("{error}{}", elsewhere.unwrap_or_default()))
}
