//! Deliveries that this host holds by the database, and that no part of it has: a settlement that
//! was refused leaves one. Nobody else would lease them as long as this host lives.

use std::collections::BTreeSet;

use tokio_postgres::Error;

use super::client::SqlClient as Client;
use super::lease::RunningRows;
use super::recover::recover;
use super::settle::small;
use super::shared::PostgresShared;
use crate::event::{DeliveryId, EventId};

/// Finds orphans: what nobody had twice in a row. Once is no proof, because a lease is in the
/// database before the answer to its batch is here.
#[derive(Debug, Default)]
pub(super) struct OrphanSearch {
    /// The run that was scanned last, and the leases of which nobody had any.
    last: (i64, BTreeSet<(DeliveryId, u32)>),
}

impl OrphanSearch {
    /// Scans again, and makes due again the leases that nobody has for the second time. Returns how
    /// many.
    pub(super) async fn scan(
        &mut self,
        client: &mut Client,
        shared: &PostgresShared,
    ) -> Result<usize, Error> {
        let me = shared.run().incarnation;
        let sql = "SELECT event, ordinal, attempt FROM hookbox.open WHERE holder = $1";
        let rows = client.query(sql, &[&me]).await?;
        let mut missing = BTreeSet::new();
        for row in &rows {
            let event = EventId::from_row(row.get(0));
            let delivery = DeliveryId { event, ordinal: row.get::<_, i32>(1).unsigned_abs() };
            let attempt = row.get::<_, i32>(2).unsigned_abs();
            if !shared.held.has(delivery, attempt) {
                missing.insert((delivery, attempt));
            }
        }
        let (before, last) = std::mem::replace(&mut self.last, (me, missing));
        if before != me {
            return Ok(0);
        }
        let orphans: Vec<_> = last.intersection(&self.last.1).copied().collect();
        if orphans.is_empty() { Ok(0) } else { give_back(client, shared, (me, &orphans)).await }
    }
}

/// Gives them to a run that never was, and takes up what that run held: an attempt's number is not
/// used again, so that a holder who was overlooked has lost its lease.
async fn give_back(
    client: &mut Client,
    shared: &PostgresShared,
    (me, orphans): (i64, &[(DeliveryId, u32)]),
) -> Result<usize, Error> {
    let events: Vec<i64> = orphans.iter().map(|(it, _)| it.event.row()).collect();
    let ordinals: Vec<i32> = orphans.iter().map(|(it, _)| small(it.ordinal)).collect();
    let attempts: Vec<i32> = orphans.iter().map(|(_, attempt)| small(*attempt)).collect();
    let transaction = client.transaction().await?;
    let nobody: i64 =
        transaction.query_one("SELECT nextval('hookbox.incarnations')", &[]).await?.get(0);
    let sql = "UPDATE hookbox.open o SET holder = $2
        FROM unnest($3::bigint[], $4::integer[], $5::integer[]) AS u (event, ordinal, attempt)
        WHERE o.event = u.event AND o.ordinal = u.ordinal AND o.holder = $1
            AND o.attempt = u.attempt";
    transaction.execute(sql, &[&me, &nobody, &events, &ordinals, &attempts]).await?;
    let (at, running) = (shared.at(), RunningRows::default());
    let recovered = recover(&transaction, (at, nobody), &running, &*shared.policies).await?;
    transaction.commit().await?;
    if recovered.held > 0 {
        tracing::warn!(deliveries = recovered.held, "giving back leases that nobody has");
        shared.floors.forget();
    }
    Ok(recovered.held)
}
