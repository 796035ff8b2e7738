//! Replays of many events: which they are, their deliveries, and what came of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio_postgres::Row;

use super::marks::note_tried;
use super::rows::{locked_operation, result_code, standing, stands};
use crate::event::{DeliveryId, EventId, Target};
use crate::store::model::MAX_EVENTS_FOUND;
use crate::store::postgres::Postgres;
use crate::store::postgres::change::delivery_id;
use crate::store::postgres::client::SqlClient as Client;
use crate::store::postgres::listing;
use crate::store::postgres::moves::WorkMoves;
use crate::store::postgres::replay_terms::{has_terms, lock_replayed};
use crate::store::postgres::settle::small;
use crate::store::postgres::work::{Work, WorkError};
use crate::store::{
    EventFilter, ItemResult, Operation, OperationId, Progress, StoreError, TriedItem,
};

/// The most events whose results one call looks at.
const MAX_COLLECTED: usize = 1_000;

/// The next events that match, the oldest first, and where the search goes on.
pub(super) async fn matching(
    work: &Work<'_>,
    filter: &EventFilter,
    from: Option<Progress>,
) -> Result<(Vec<DeliveryId>, Option<Progress>), WorkError> {
    let from = from.as_ref().and_then(Progress::event);
    let (found, next) = listing::events_onward(work, filter, from, MAX_EVENTS_FOUND).await?;
    let found = found.into_iter().map(|event| DeliveryId { event, ordinal: 0 });
    Ok((found.collect(), next.map(Progress::at_event)))
}

/// The most events that one transaction replays if it locks keys, which others wait for meanwhile.
const MAX_LOCKED: usize = if cfg!(test) { 2 } else { 10 };

/// These events by parts, each of which is replayed in a transaction of its own.
pub(super) fn parts(
    events: &[(EventId, Vec<Arc<Target>>)],
) -> std::slice::Chunks<'_, (EventId, Vec<Arc<Target>>)> {
    let locks = events.iter().any(|(_, targets)| targets.iter().any(|target| has_terms(target)));
    events.chunks(if locks { MAX_LOCKED } else { events.len().max(1) })
}

impl Postgres {
    /// Replays these events, as far as they were found and not replayed yet.
    pub(super) async fn replay_items_once(
        &self,
        id: OperationId,
        events: &[(EventId, Vec<Arc<Target>>)],
    ) -> Result<(), WorkError> {
        let work = self.work.begin().await?;
        let found = locked_operation(&work, id).await?;
        let Some(of) = found.filter(Operation::may_act) else {
            return Ok(());
        };
        let events = if of.tries_first() { &events[..events.len().min(1)] } else { events };
        let due = due(&work, id, events).await?;
        let mut events: Vec<(EventId, &[Arc<Target>])> =
            events.iter().map(|(event, targets)| (*event, &targets[..])).collect();
        events.retain(|(event, _)| due.contains(&event.row()));
        events.sort_unstable_by_key(|(event, _)| event.row());
        lock_replayed(&work, &self.shared, &events).await?;
        let (mut moves, mut counts, mut opened) = (WorkMoves::default(), [0_i64; 2], None);
        for (event, targets) in events {
            let made = match targets.is_empty() {
                true => Ok(Vec::new()),
                false => self.replay_in(&work, event, targets, &mut moves).await,
            };
            let made = match made {
                // An event that is gone, erased or has too many deliveries is skipped.
                Err(WorkError::Answer(StoreError::NotFound(_) | StoreError::Conflict(_))) => {
                    Vec::new()
                }
                made => made?,
            };
            let first = made.first().map_or(0, |first| first.ordinal);
            let number = made.last().map_or(0, |last| last.ordinal + 1 - first);
            let result = if made.is_empty() { ItemResult::Skipped } else { ItemResult::Open };
            counts[usize::from(made.is_empty())] += 1;
            opened = opened.or(made.first().map(|id| TriedItem { id: *id, number }));
            work.execute(
                "UPDATE hookbox.operation_items SET ordinal = $3, result = $4, attempt = $5
                 WHERE operation = $1 AND event = $2 AND result = 0",
                &[&id.0, &event.row(), &small(first), &result_code(result), &small(number)],
            )
            .await?;
        }
        work.execute(
            "UPDATE hookbox.operations SET open = open + $2, skipped = skipped + $3 WHERE id = $1",
            &[&id.0, &counts[0], &counts[1]],
        )
        .await?;
        note_tried(&work, &of, opened).await?;
        moves.count(&work).await?;
        work.commit().await?;
        moves.tell(&self.shared);
        Ok(())
    }
}

/// Those of these events that were found and not replayed yet.
async fn due(
    work: &Work<'_>,
    id: OperationId,
    events: &[(EventId, Vec<Arc<Target>>)],
) -> Result<BTreeSet<i64>, WorkError> {
    let events: Vec<i64> = events.iter().map(|(event, _)| event.row()).collect();
    let sql = "SELECT i.event FROM hookbox.operation_items i
               WHERE i.operation = $1 AND i.event = ANY ($2) AND i.result = 0";
    Ok(work.query(sql, &[&id.0, &events]).await?.iter().map(|row| row.get(0)).collect())
}

/// The items of a replay with a result, in their order, each with the deliveries that were made.
async fn replayed(
    client: &Client,
    id: OperationId,
    result: ItemResult,
    after: Option<DeliveryId>,
    limit: usize,
) -> Result<Vec<Row>, WorkError> {
    let made = standing("?.ordinal >= i.ordinal AND ?.ordinal < i.ordinal + i.attempt");
    let sql = format!(
        "SELECT i.event, i.ordinal, d.ordinal, d.state, d.attempt,
             coalesce(d.outcome, (SELECT a.outcome FROM hookbox.attempts a
                 WHERE a.event = i.event AND a.ordinal = d.ordinal
                 ORDER BY a.number DESC LIMIT 1))
         FROM (SELECT event, ordinal, attempt FROM hookbox.operation_items
               WHERE operation = $1 AND result = $2 AND (event, ordinal) > ($3, $4)
               ORDER BY event, ordinal LIMIT $5) i {made}
         ORDER BY i.event, i.ordinal, d.ordinal"
    );
    let (event, ordinal) =
        after.map_or((i64::MIN, 0), |after| (after.event.row(), small(after.ordinal)));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    Ok(client.query(&sql, &[&id.0, &result_code(result), &event, &ordinal, &limit]).await?)
}

/// The result of one delivery that was made.
fn result_of(row: &Row) -> Option<ItemResult> {
    match stands(row, 3) {
        Some((state, attempts, outcome)) => ItemResult::of(state, attempts > 0, outcome),
        None => Some(ItemResult::Skipped),
    }
}

/// The replayed events of an operation whose result has come to be known.
pub(super) async fn replay_results(
    client: &Client,
    id: OperationId,
) -> Result<Vec<(DeliveryId, ItemResult)>, WorkError> {
    let rows = replayed(client, id, ItemResult::Open, None, MAX_COLLECTED).await?;
    let items = rows.chunk_by(|a, b| delivery_id(a) == delivery_id(b));
    let known = items.filter_map(|rows| {
        Some((delivery_id(&rows[0]), ItemResult::of_all(rows.iter().map(result_of))?))
    });
    Ok(known.collect())
}

/// The deliveries that tell of replayed events with this result: the first one that is not done.
pub(super) async fn made_for(
    client: &Client,
    id: OperationId,
    result: ItemResult,
    after: Option<DeliveryId>,
    limit: usize,
) -> Result<Vec<DeliveryId>, WorkError> {
    let rows = replayed(client, id, result, after, limit).await?;
    let telling = rows.chunk_by(|a, b| delivery_id(a) == delivery_id(b)).filter_map(|rows| {
        let telling = rows.iter().find(|row| result_of(row) != Some(ItemResult::Ok));
        let ordinal: Option<i32> = telling.unwrap_or(&rows[0]).get(2);
        let event = delivery_id(&rows[0]).event;
        Some(DeliveryId { event, ordinal: ordinal?.unsigned_abs() })
    });
    Ok(telling.collect())
}
