//! How a host opens the store.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use crate::clock::Clock;
use crate::store::{PluginPolicies, TreeBudget};

/// How a host opens the store.
#[derive(Debug)]
pub struct PostgresOptions {
    /// The address of the database: `postgres://USER:PASSWORD@HOST:PORT/DATABASE`.
    pub url: SecretString,
    /// The PEM file of the authorities that the server's certificate is checked against; the public
    /// ones if there is none.
    pub ca_file: Option<PathBuf>,
    /// Whether events are only acknowledged when they are on a standby as well.
    pub needs_standby: bool,
    /// The bytes of acknowledged batches that are kept to be sent again after a failover.
    pub tail_bytes: usize,
    /// Whether a pooler is between that lends connections for one transaction at a time. It is
    /// found out if nobody says so.
    pub pooler: Option<bool>,
    /// The folder of this host's own small files. Of two hosts each has its own.
    pub folder: PathBuf,
    /// The name by which people know this host.
    pub host_name: String,
    /// The clock of this host. A clock that a test sets stands in the place of the database's.
    pub clock: Clock,
    /// The time for which a host is not seen until the others take over what it holds.
    pub host_timeout: Duration,
    /// How often a host looks for what is due that nobody told it of, a fifth more or less.
    pub poll_every: Duration,
    /// How often a host looks for what it holds by the database and no part of it has.
    pub orphans_every: Duration,
    /// The time for which a snapshot may be held until operators are told.
    pub snapshot_bound: Duration,
    /// The most appends that wait for the database.
    pub max_waiting_appends: usize,
    /// The most that may descend from one webhook's event.
    pub tree: TreeBudget,
    /// The policies of plugins.
    pub policies: Arc<dyn PluginPolicies>,
}
