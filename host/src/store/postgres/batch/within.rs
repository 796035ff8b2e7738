//! An append in a transaction of somebody else.

use tokio_postgres::Error;

use super::super::calls::in_order;
use super::super::client::SqlClient as Client;
use super::super::created::{AppendedAs, CreatedDeliveries};
use super::super::shared::PostgresShared;
use super::super::statements::BatchStatements;
use super::{BatchMarker, BatchResult, BatchResults, BatchRows, ResultPlace};
use crate::event::NewEvent;
use crate::store::Lease;

/// Appends an event in a transaction that the caller has begun, and commits before it tells of what
/// was created and gives back the leases for which there is no memory.
pub(in crate::store::postgres) async fn append_within(
    event: &NewEvent,
    client: &Client,
    shared: &PostgresShared,
) -> Result<(AppendedAs, CreatedDeliveries, Vec<Lease>), Error> {
    client.execute("SELECT hookbox.lives_v1($1)", &[&shared.run().incarnation]).await?;
    let statements = BatchStatements::prepare(client).await?;
    let mut rows = BatchRows::new(shared);
    let place = rows.add_event(event, (None, 0), &mut shared.ids(), shared);
    rows.places.push(ResultPlace::Event(place));
    rows.know_plugins(client, shared).await?;
    let marker = BatchMarker { incarnation: 0, writer: 0, seq: 0, after: 0 };
    let mut calls = rows.calls(client, &statements, shared, marker).list;
    // Neither begun, nor marked, nor committed.
    calls.drain(..2);
    calls.pop();
    let answers = in_order(calls).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    let answers = [Vec::new(), Vec::new()].into_iter().chain(answers).collect();
    let BatchResults { mut each, created, refused, .. } = rows.results(answers, shared);
    match each.pop() {
        Some(BatchResult::Appended(appended)) => Ok((appended, created, refused)),
        _ => unreachable!("an append has a result of its kind"),
    }
}
