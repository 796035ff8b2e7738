//! Taking up what a run held that is over.

use tokio_postgres::Error;
use tokio_postgres::types::ToSql;

use super::client::SqlTransaction as Transaction;
use super::keys::know_plugins_of;
use super::lease::RunningRows;
use crate::store::{MAX_CRASHES, PluginPolicies, Recovered};

/// The record of an attempt that ran when this host died, for people.
pub(super) const CRASH: &str = "the host died while it ran";

/// Makes due again what the run `gone` held, in a transaction of the caller. Attempts that were
/// `running` count as crashes.
pub(super) async fn recover(
    transaction: &Transaction<'_>,
    (at, gone): (Option<i64>, i64),
    running: &RunningRows,
    policies: &dyn PluginPolicies,
) -> Result<Recovered, Error> {
    know_plugins_of(transaction, gone, policies).await?;
    let most = i32::try_from(MAX_CRASHES).unwrap_or(i32::MAX);
    let parameters: [&(dyn ToSql + Sync); 8] = [
        &at,
        &gone,
        &running.all,
        &running.events,
        &running.ordinals,
        &running.attempts,
        &most,
        &CRASH,
    ];
    let sql = "SELECT held, running FROM hookbox.recover_v1($1, $2, $3, $4, $5, $6, $7, $8)";
    let row = transaction.query_one(sql, &parameters).await?;
    let count = |column| usize::try_from(row.get::<_, i64>(column)).unwrap_or(0);
    Ok(Recovered { held: count(0), running: count(1) })
}
