//! A host that comes back after the others have taken it for dead: it registers anew, with another
//! slot and another incarnation.

use tokio_postgres::Error;
use tokio_postgres::types::ToSql;

use super::client::SqlClient as Client;
use super::lease::RunningRows;
use super::recover::recover;
use super::shared::{HostRun, PostgresShared};
use super::tail::NewestMarkers;

/// The version that hosts see of each other.
pub(super) const HOST_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Calls `register_v1`.
pub(super) const REGISTER: &str = "SELECT slot, incarnation, before, last_id, now_ms \
     FROM hookbox.register_v1($1, $2, $3, $4)";

/// The names of a host.
#[derive(Debug, Clone)]
pub(super) struct HostNames {
    /// That of its folder.
    pub(super) identity: String,
    /// That for people.
    pub(super) title: String,
}

/// The result of a registration.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rejoined {
    Yes,
    /// All slots are taken.
    NoSlot,
    /// Another process has the identity of this host.
    Twice,
}

/// Registers this host anew. With `again` an earlier call has had no answer, so that it may be
/// registered already, under a run that nobody knows.
///
/// The run that is over may have leased something after it was off the list. None of it is held any
/// more when this is committed, and no batch of that run is after it (`mark_v1`). So nothing is
/// leased by a run that is not on the list, and whatever it still holds is lost when it is settled.
pub(super) async fn rejoin(
    client: &mut Client,
    shared: &PostgresShared,
    names: &HostNames,
    again: bool,
) -> Result<Rejoined, Error> {
    let (over, at) = (shared.run().incarnation, shared.at());
    let plugins = shared.noted_plugins().clone();
    let transaction = client.transaction().await?;
    let parameters: [&(dyn ToSql + Sync); 4] = [&names.identity, &names.title, &HOST_VERSION, &at];
    let Some(row) = transaction.query_opt(REGISTER, &parameters).await? else {
        return Ok(Rejoined::NoSlot);
    };
    let before: Option<i64> = row.get(2);
    // A run before the one that is over is one of this host's that a failover has brought back.
    if before.is_some_and(|before| before > over) && !again {
        return Ok(Rejoined::Twice);
    }
    for gone in before.into_iter().chain([over]) {
        // Nothing counts as a crash: this host lives, and ends what still runs.
        recover(&transaction, (at, gone), &RunningRows::default(), &*shared.policies).await?;
    }
    let (mut runs, acked) = (shared.tail.runs(), shared.acked());
    runs.insert(over);
    let newest = NewestMarkers::read(&transaction, &Vec::from_iter(runs)).await?;
    let run = HostRun { slot: row.get(0), incarnation: row.get(1) };
    let sql = "UPDATE hookbox.hosts SET plugins = $2 WHERE incarnation = $1";
    transaction.execute(sql, &[&run.incarnation, &plugins]).await?;
    transaction.commit().await?;
    let lost = shared.tail.after(&newest);
    let of_over = newest.of(over);
    if of_over.iter().zip(&acked).any(|(newest, acked)| newest < acked) {
        // The writers send again what is kept, when they connect.
        let kept = lost.iter().filter(|batch| batch.run == over).count();
        shared.loss.count(of_over, acked, kept, shared.host_ms());
    } else if lost.iter().all(|batch| batch.is_empty()) {
        shared.tail.keep_of(run.incarnation);
    }
    tracing::warn!(
        slot = run.slot,
        "other hosts took this one for dead: it has registered anew, and what it held is theirs"
    );
    shared.go_on_as(run, row.get(3));
    Ok(Rejoined::Yes)
}
