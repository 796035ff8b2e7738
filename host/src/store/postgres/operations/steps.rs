//! The steps of an operation: find, act, collect.

use std::collections::{BTreeMap, BTreeSet};

use super::marks::note_tried;
use super::replays::{matching, replay_results};
use super::rows::{changed_by, items, locked_operation, result_code, results};
use crate::event::DeliveryId;
use crate::store::model::{looked_until, read_walk};
use crate::store::postgres::Postgres;
use crate::store::postgres::change::{DeliveryRows, change_those, delivery_id};
use crate::store::postgres::changed_keys::lock_changed;
use crate::store::postgres::moves::WorkMoves;
use crate::store::postgres::search::find;
use crate::store::postgres::settle::small;
use crate::store::postgres::work::{Work, WorkError};
use crate::store::{
    Action, DeliveryFilter, EventFilter, ItemResult, Operation, OperationDeed, OperationId,
    OperationScope, OperationState, Progress, TriedItem,
};

impl Postgres {
    /// Looks for the next deliveries of a running operation.
    pub(super) async fn find_once(&self, id: OperationId) -> Result<(), WorkError> {
        let work = self.work.begin().await?;
        let found = locked_operation(&work, id).await?;
        let is_wanted = |it: &Operation| it.state == OperationState::Running && !it.is_found;
        let Some(of) = found.filter(is_wanted) else { return Ok(()) };
        let row =
            work.query_one("SELECT walk FROM hookbox.operations WHERE id = $1", &[&id.0]).await?;
        let walk: Option<String> = row.get(0);
        let from = read_walk(id, walk.as_deref())?;
        let is_replay = of.action.is_replay();
        let (found, next) = search(&work, of, from).await?;
        note_found(&work, (id, is_replay), &found, next).await?;
        Ok(work.commit().await?)
    }

    /// Acts on the next deliveries that were found, as far as they stand as they should.
    pub(super) async fn act_once(&self, id: OperationId, most: usize) -> Result<(), WorkError> {
        let work = self.work.begin().await?;
        let found = locked_operation(&work, id).await?;
        let Some(of) = found.filter(Operation::may_act) else {
            return Ok(());
        };
        let most = if of.tries_first() { most.min(1) } else { most };
        let next = items(&work, id, ItemResult::Found, None, most).await?;
        if next.is_empty() {
            return Ok(());
        }
        let OperationDeed::Change(action) = &of.action else { return Ok(()) };
        let states = match &of.scope {
            OperationScope::Filter(filter) => action.meant(filter.state),
            _ => action.takes().to_vec(),
        };
        let rows = DeliveryRows::of(&next);
        lock_changed(&work, &self.shared, (&rows.events, &rows.ordinals)).await?;
        // A delivery that is to be cancelled is cancelled also if it was tried again meanwhile.
        let as_of_ms = if *action == Action::Cancel { i64::MAX } else { of.as_of_ms };
        let attempts = attempts_of(&work, &next, as_of_ms).await?;
        let untouched: Vec<DeliveryId> = attempts.keys().copied().collect();
        let mut moves = WorkMoves::default();
        let (_, changed) =
            change_those(&work, &self.shared, action, &states, &untouched, &mut moves).await?;
        let changed: BTreeSet<DeliveryId> = changed.into_iter().collect();
        let done = if action.is_retry() { ItemResult::Open } else { ItemResult::Ok };
        let result = |id: &DeliveryId| match changed.contains(id) {
            true => done,
            false => ItemResult::Skipped,
        };
        let acted: Vec<_> =
            next.iter().map(|id| (*id, result(id), attempts.get(id).copied())).collect();
        set_results(&work, id, &acted).await?;
        let opened = acted.iter().find(|(_, result, _)| *result == ItemResult::Open);
        let opened = opened.map(|(id, _, attempts)| TriedItem {
            id: *id,
            number: attempts.unwrap_or_default().unsigned_abs(),
        });
        note_tried(&work, &of, opened).await?;
        moves.count(&work).await?;
        work.commit().await?;
        moves.tell(&self.shared);
        Ok(())
    }

    /// Notes what came of deliveries that were acted on.
    pub(super) async fn collect_once(&self, id: OperationId) -> Result<(), WorkError> {
        let work = self.work.begin().await?;
        let Some(of) = locked_operation(&work, id).await? else { return Ok(()) };
        let known = match of.action.is_replay() {
            true => replay_results(&work, id).await?,
            false => results(&work, id).await?,
        };
        if known.is_empty() {
            return Ok(());
        }
        let known: Vec<_> = known.into_iter().map(|(item, result)| (item, result, None)).collect();
        set_results(&work, id, &known).await?;
        Ok(work.commit().await?)
    }
}

/// The next deliveries of an operation, and where the search goes on.
async fn search(
    work: &Work<'_>,
    of: Operation,
    from: Option<Progress>,
) -> Result<(Vec<DeliveryId>, Option<Progress>), WorkError> {
    match of.scope {
        OperationScope::Ids(ids) => Ok((ids, None)),
        OperationScope::EventIds(ids) => {
            Ok((ids.into_iter().map(|event| DeliveryId { event, ordinal: 0 }).collect(), None))
        }
        OperationScope::Events(filter) => {
            let until_ms = Some(looked_until(of.as_of_ms, filter.until_ms));
            matching(work, &EventFilter { until_ms, ..filter }, from).await
        }
        OperationScope::Undo(undone) => Ok(changed_by(work, undone, from.as_ref()).await?),
        OperationScope::Filter(filter) => {
            let OperationDeed::Change(action) = of.action else { return Ok((Vec::new(), None)) };
            let changed = from.as_ref().is_some_and(|from| from.changed);
            let until_ms = Some(looked_until(of.as_of_ms, filter.until_ms));
            let filter = DeliveryFilter { until_ms, ..filter };
            let found = find(work, &action, &filter, from.as_ref()).await?;
            let before = found.before;
            let next = match found.rest {
                None if action != Action::Cancel => None,
                // The end of a pass: as in `bulk.rs`, the next one may find more.
                at => Some(Progress { before, at, changed }),
            };
            Ok((found.deliveries, next))
        }
    }
}

/// Stores what was found, once each. A walk that has come to its end begins anew if it has found
/// anything: deliveries that were leased when it passed may be open again behind it. The item of an
/// event that was replayed has another ordinal by then, and is still that of the event.
async fn note_found(
    work: &Work<'_>,
    (id, is_replay): (OperationId, bool),
    found: &[DeliveryId],
    next: Option<Progress>,
) -> Result<(), WorkError> {
    let rows = DeliveryRows::of(found);
    let new = work
        .execute(
            "INSERT INTO hookbox.operation_items (operation, event, ordinal, result, attempt)
             SELECT $1, i.event, i.ordinal, 0, 0
             FROM unnest($2::bigint[], $3::integer[]) AS i (event, ordinal)
             WHERE NOT ($4 AND EXISTS (SELECT FROM hookbox.operation_items k
                 WHERE k.operation = $1 AND k.event = i.event))
             ON CONFLICT DO NOTHING",
            &[&id.0, &rows.events, &rows.ordinals, &is_replay],
        )
        .await?;
    let next = next.and_then(|next| match (&next.at, next.changed || new > 0) {
        (None, false) => None,
        (at, changed) => {
            Some(Progress { before: next.before, at: at.clone(), changed: at.is_some() && changed })
        }
    });
    let walk = next.as_ref().map(|next| serde_json::to_string(next).unwrap_or_default());
    let new = i64::try_from(new).unwrap_or(i64::MAX);
    // The number that was counted may be less than what is there.
    work.execute(
        "UPDATE hookbox.operations SET found = found + $2, walk = $3, is_found = $4,
             total = CASE WHEN $4 THEN found + $2 ELSE greatest(total, found + $2) END,
             exact = exact OR $4
         WHERE id = $1",
        &[&id.0, &new, &walk, &next.is_none()],
    )
    .await?;
    Ok(())
}

/// The number of attempts of each of these deliveries that is there and whose last attempt did not
/// end after that time.
async fn attempts_of(
    work: &Work<'_>,
    ids: &[DeliveryId],
    as_of_ms: i64,
) -> Result<BTreeMap<DeliveryId, i32>, WorkError> {
    let rows = DeliveryRows::of(ids);
    let found = work
        .query(
            "SELECT d.event, d.ordinal, d.attempt
             FROM unnest($1::bigint[], $2::integer[]) AS i (event, ordinal)
             JOIN LATERAL (
                 SELECT o.event, o.ordinal, o.attempt, NULL::bigint AS ended_ms
                 FROM hookbox.open o WHERE o.event = i.event AND o.ordinal = i.ordinal
                 UNION ALL
                 SELECT s.event, s.ordinal, s.attempt, s.started_ms + s.duration_us / 1000
                 FROM hookbox.settled s WHERE s.event = i.event AND s.ordinal = i.ordinal
             ) d ON true
             WHERE coalesce(d.ended_ms, (
                 SELECT a.started_ms + a.duration_us / 1000 FROM hookbox.attempts a
                 WHERE a.event = d.event AND a.ordinal = d.ordinal
                 ORDER BY a.number DESC LIMIT 1), $3) <= $3",
            &[&rows.events, &rows.ordinals, &as_of_ms],
        )
        .await?;
    Ok(found.iter().map(|row| (delivery_id(row), row.get(2))).collect())
}

/// Notes results with the number of attempts before, if that is given, and counts them.
async fn set_results(
    work: &Work<'_>,
    id: OperationId,
    results: &[(DeliveryId, ItemResult, Option<i32>)],
) -> Result<(), WorkError> {
    let events: Vec<i64> = results.iter().map(|(item, ..)| item.event.row()).collect();
    let ordinals: Vec<i32> = results.iter().map(|(item, ..)| small(item.ordinal)).collect();
    let codes: Vec<i16> = results.iter().map(|(_, result, _)| result_code(*result)).collect();
    let attempts: Vec<Option<i32>> = results.iter().map(|(.., attempt)| *attempt).collect();
    work.execute(
        "WITH old AS (
             SELECT i.event, i.ordinal, i.result FROM hookbox.operation_items i
             WHERE i.operation = $1 AND i.result < 2 AND (i.event, i.ordinal) IN (
                 SELECT * FROM unnest($2::bigint[], $3::integer[]))
         ), put AS (
             UPDATE hookbox.operation_items i
             SET result = u.result, attempt = coalesce(u.attempt, i.attempt)
             FROM unnest($2::bigint[], $3::integer[], $4::smallint[], $5::integer[])
                 AS u (event, ordinal, result, attempt), old o
             WHERE i.operation = $1 AND i.event = u.event AND i.ordinal = u.ordinal
                 AND o.event = u.event AND o.ordinal = u.ordinal
             RETURNING o.result AS before, i.result AS now
         )
         UPDATE hookbox.operations p SET
             open = p.open + (SELECT count(*) FROM put WHERE put.now = 1)
                 - (SELECT count(*) FROM put WHERE put.before = 1),
             ok = p.ok + (SELECT count(*) FROM put WHERE put.now = 2),
             failed = p.failed + (SELECT count(*) FROM put WHERE put.now = 3),
             skipped = p.skipped + (SELECT count(*) FROM put WHERE put.now = 4)
         WHERE p.id = $1",
        &[&id.0, &events, &ordinals, &codes, &attempts],
    )
    .await?;
    Ok(())
}
