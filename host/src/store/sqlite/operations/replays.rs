//! Replays of many events: which they are, and what came of them.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::MAX_COLLECTED;
use super::rows::{delivery_id, operation};
use crate::event::{DeliveryId, EventId, Outcome, State, Target};
use crate::store::model::MAX_EVENTS_FOUND;
use crate::store::sqlite::batch::WriteBatch;
use crate::store::sqlite::eras::Span;
use crate::store::sqlite::pages;
use crate::store::{EventFilter, ItemResult, OperationId, OperationState, Progress, TriedItem};

/// The next events that match, the oldest first, and where the search goes on.
pub(super) fn matching(
    connection: &Connection,
    filter: &EventFilter,
    span: &Span,
    from: Option<&Progress>,
) -> Result<(Vec<DeliveryId>, Option<Progress>), rusqlite::Error> {
    let from = from.and_then(Progress::event);
    let (found, next) = pages::events_onward(connection, filter, span, from, MAX_EVENTS_FOUND)?;
    let found = found.into_iter().map(|event| DeliveryId { event, ordinal: 0 });
    Ok((found.collect(), next.map(Progress::at_event)))
}

/// A delivery that was made of an event, as it stands.
struct MadeDelivery {
    ordinal: u32,
    result: Option<ItemResult>,
}

/// The deliveries that were made for an item.
fn made(
    connection: &Connection,
    first: DeliveryId,
    number: u32,
) -> Result<Vec<MadeDelivery>, rusqlite::Error> {
    let sql = "SELECT d.ordinal, d.state, d.attempt,
                      (SELECT outcome FROM attempts a WHERE a.event = d.event AND a.ordinal = d.ordinal
                       ORDER BY number DESC LIMIT 1)
               FROM deliveries d
               WHERE d.event = ?1 AND d.ordinal >= ?2 AND d.ordinal < ?3 ORDER BY d.ordinal";
    let end = first.ordinal.saturating_add(number);
    connection
        .prepare_cached(sql)?
        .query_map(params![first.event.row(), first.ordinal, end], |row| {
            let state = State::from_code(row.get(1)?);
            let outcome = row.get::<_, Option<u8>>(3)?.and_then(Outcome::from_code);
            let attempts: u32 = row.get(2)?;
            let result = state.and_then(|state| ItemResult::of(state, attempts > 0, outcome));
            Ok(MadeDelivery { ordinal: row.get(0)?, result })
        })?
        .collect()
}

/// The items with a result, and how many deliveries were made for each.
fn replayed(
    connection: &Connection,
    id: OperationId,
    result: ItemResult,
    after: Option<DeliveryId>,
    limit: usize,
) -> Result<Vec<(DeliveryId, u32)>, rusqlite::Error> {
    let sql = "SELECT event, ordinal, attempt FROM operation_items
               WHERE operation = ?1 AND result = ?2 AND (event, ordinal) > (?3, ?4)
               ORDER BY event, ordinal LIMIT ?5";
    let (event, ordinal) =
        after.map_or((-1, 0), |after| (after.event.row(), i64::from(after.ordinal)));
    let key = params![id.0, result.code(), event, ordinal, limit];
    let read = |row: &rusqlite::Row<'_>| Ok((delivery_id(row)?, row.get(2)?));
    connection.prepare_cached(sql)?.query_map(key, read)?.collect()
}

/// The replayed events of an operation whose result has come to be known.
pub(super) fn replay_results(
    connection: &Connection,
    id: OperationId,
) -> Result<Vec<(DeliveryId, ItemResult)>, rusqlite::Error> {
    let mut known = Vec::new();
    for (item, number) in replayed(connection, id, ItemResult::Open, None, MAX_COLLECTED)? {
        let results = made(connection, item, number)?.into_iter().map(|made| made.result);
        known.extend(ItemResult::of_all(results).map(|result| (item, result)));
    }
    Ok(known)
}

/// The deliveries that tell of replayed events with this result: the first one that is not done.
pub(super) fn made_for(
    connection: &Connection,
    id: OperationId,
    result: ItemResult,
    after: Option<DeliveryId>,
    limit: usize,
) -> Result<Vec<DeliveryId>, rusqlite::Error> {
    let mut found = Vec::new();
    for (first, number) in replayed(connection, id, result, after, limit)? {
        let made = made(connection, first, number)?;
        let telling = made.iter().find(|made| made.result != Some(ItemResult::Ok));
        if let Some(telling) = telling.or(made.first()) {
            found.push(DeliveryId { event: first.event, ordinal: telling.ordinal });
        }
    }
    Ok(found)
}

impl WriteBatch<'_> {
    /// Replays these events, as far as they were found and not replayed yet.
    pub(super) fn replay_items(
        &mut self,
        id: OperationId,
        events: &[(EventId, Vec<Arc<Target>>)],
    ) -> Result<(), rusqlite::Error> {
        let Some(of) = operation(self.connection, id)? else { return Ok(()) };
        if of.state != OperationState::Running {
            return Ok(());
        }
        let (mut counts, mut opened) = ([0_i64; 3], None);
        for (event, targets) in events {
            if !self.is_due(id, *event)? {
                continue;
            }
            // An event that is gone, erased, damaged or has too many deliveries is skipped.
            let made = match targets.is_empty() {
                true => Vec::new(),
                false => self.replay(*event, targets)?.unwrap_or_default(),
            };
            let first = made.first().copied();
            // A notice of a dead letter may stand between two of them.
            let last = made.last().map_or(0, |last| last.ordinal + 1);
            let number = last - first.map_or(0, |first| first.ordinal);
            let (count, result) = match first {
                Some(first) => {
                    opened = opened.or(Some(TriedItem { id: first, number }));
                    (0, ItemResult::Open)
                }
                None => (2, ItemResult::Skipped),
            };
            counts[count] += 1;
            let ordinal = first.map_or(0, |first| first.ordinal);
            self.connection
                .prepare_cached(
                    "UPDATE operation_items SET ordinal = ?3, result = ?4, attempt = ?5
                     WHERE operation = ?1 AND event = ?2 AND result = 0",
                )?
                .execute(params![id.0, event.row(), ordinal, result.code(), number])?;
        }
        self.count_acted(&of, counts, opened)
    }

    fn is_due(&self, id: OperationId, event: EventId) -> Result<bool, rusqlite::Error> {
        let sql =
            "SELECT 1 FROM operation_items WHERE operation = ?1 AND event = ?2 AND result = 0";
        let key = params![id.0, event.row()];
        Ok(self.connection.prepare_cached(sql)?.query_row(key, |_| Ok(())).optional()?.is_some())
    }
}
