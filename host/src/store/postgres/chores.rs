//! Work that any host does for all: it takes dead hosts off the list, and finds what is due that
//! nobody was told of.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_postgres::Error;
use tokio_postgres::types::ToSql;

use super::client::SqlClient as Client;
use super::keys::NamedPlugins;
use super::shared::PostgresShared;
use crate::event::PluginName;
use crate::store::MAX_CRASHES;

/// The record of an attempt that ran when its host was taken for dead, for people.
const GONE: &str = "the host was not seen any more while it ran";

/// Takes hosts off the list that are dead, and makes due again what nobody holds; returns how many
/// deliveries that were.
pub(super) async fn reap(client: &Client, shared: &PostgresShared) -> Result<i64, Error> {
    // After an outage each host has that time to come back.
    if shared.reach.reached_for() < shared.host_timeout {
        return Ok(0);
    }
    let most = i32::try_from(MAX_CRASHES).unwrap_or(i32::MAX);
    let timeout_ms = i64::try_from(shared.host_timeout.as_millis()).unwrap_or(i64::MAX);
    let sql = "SELECT cut_us, plugins, is_needed FROM hookbox.orphans_v1($1)";
    let orphans = client.query_one(sql, &[&timeout_ms]).await?;
    if !orphans.get::<_, bool>(2) {
        return Ok(0);
    }
    let mut plugins = NamedPlugins::default();
    orphans.get::<_, Vec<String>>(1).iter().for_each(|it| plugins.add(&it.as_str().into()));
    let policies = plugins.policies(&*shared.policies).unwrap_or_default();
    let (at, cut_us): (_, i64) = (shared.at(), orphans.get(0));
    let parameters: [&(dyn ToSql + Sync); 5] = [&at, &cut_us, &most, &GONE, &policies];
    let sql = "SELECT hosts, held FROM hookbox.reap_v1($1, $2, $3, $4, $5)";
    // There is no row while another host does it.
    let Some(row) = client.query_opt(sql, &parameters).await? else { return Ok(0) };
    let (hosts, held): (Option<Vec<String>>, i64) = (row.get(0), row.get(1));
    if hosts.is_some() || held > 0 {
        let hosts = hosts.unwrap_or_default().join(", ");
        tracing::warn!(hosts, deliveries = held, "taking over from hosts that are not seen");
    }
    Ok(held)
}

/// Does what is due of the chores of the table, and learns whether all days have partitions.
pub(super) async fn do_due(client: &Client, shared: &PostgresShared) -> Result<(), Error> {
    let (at, sql) = (shared.at(), "SELECT hookbox.chore_v1($1)");
    while client.query_one(sql, &[&at]).await?.get::<_, Option<String>>(0).is_some() {}
    let row = client.query_one("SELECT hookbox.has_astray_days_v1()", &[]).await?;
    shared.has_astray_days.store(row.get(0), Ordering::Relaxed);
    Ok(())
}

/// Tells the dispatcher of plugins that have something due. Other hosts leave work, and so do hosts
/// that die.
pub(super) async fn look_for_due(client: &Client, shared: &PostgresShared) -> Result<(), Error> {
    let Some(dispatch) = shared.dispatch.get() else { return Ok(()) };
    let (plugins, floors) = shared.floors.for_poll();
    let sql = "SELECT plugin, is_quarantined FROM hookbox.due_v1($1, $2, $3)";
    for row in client.query(sql, &[&shared.at(), &plugins, &floors]).await? {
        let plugin = PluginName::from(row.get::<_, String>(0));
        if row.get(1) {
            dispatch.notify_quarantine(&plugin);
        } else {
            dispatch.notify(&plugin, Duration::ZERO);
        }
    }
    Ok(())
}
