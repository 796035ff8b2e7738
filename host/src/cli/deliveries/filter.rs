//! The deliveries that a command means: one by its id, or all that match.

use clap::Args;

use crate::cli::client::Param;
use crate::cli::output::printable;
use crate::cli::since::time;
use crate::event::DeliveryId;

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
    /// Of events received at or after: RFC 3339, Unix seconds, or 90s, 15m, 2h, 3d ago
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<String>,
    /// Of events received before: RFC 3339, Unix seconds, or 90s, 15m, 2h, 3d ago
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<String>,
}

impl DeliveryFilterArgs {
    pub(super) fn query(&self) -> [Param<'_>; 7] {
        [
            ("state", self.state.as_deref()),
            ("plugin", self.plugin.as_deref()),
            ("type", self.kind.as_deref()),
            ("source", self.source.as_deref()),
            ("subject", self.subject.as_deref()),
            ("since", self.since.as_deref()),
            ("until", self.until.as_deref()),
        ]
    }
}

/// A delivery's id; of an event's it says where that one is shown.
pub(super) fn delivery_id(text: &str) -> Result<DeliveryId, String> {
    let elsewhere = text
        .starts_with("evt_")
        .then(|| format!("; `hookbox events {}` shows an event", printable(text)));
    text.parse().map_err(|error| format!("{error}{}", elsewhere.unwrap_or_default()))
}
