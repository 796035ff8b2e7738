//! Steps of operations within a transaction of the writer.

use rusqlite::{OptionalExtension, params};

use super::rows::{is_replay, operation};
use crate::event::DeliveryId;
use crate::store::sqlite::batch::WriteBatch;
use crate::store::sqlite::operation_work::OperationWork;
use crate::store::{
    Action, ItemResult, Operation, OperationDeed, OperationId, OperationMarks, OperationScope,
    OperationState, Progress, StoreError, TriedItem,
};

impl WriteBatch<'_> {
    /// Does a part of an operation.
    pub(in crate::store::sqlite) fn operate(
        &mut self,
        work: &OperationWork,
    ) -> Result<Result<OperationId, StoreError>, rusqlite::Error> {
        match work {
            OperationWork::Plan(new) => self.plan(new).map(Ok),
            OperationWork::Steer(id, steer) => self.steer(*id, *steer),
            OperationWork::Undo(id, actor) => self.undo(*id, actor),
            OperationWork::Find(id, found, next) => {
                self.note_found(*id, found, next.as_ref()).map(|()| Ok(*id))
            }
            OperationWork::Act(id, items) => self.act(*id, items).map(|()| Ok(*id)),
            OperationWork::Replay(id, events) => self.replay_items(*id, events).map(|()| Ok(*id)),
            OperationWork::Collect(id, results) => {
                self.note_results(*id, results).map(|()| Ok(*id))
            }
            OperationWork::Finish(id, reason) => {
                self.finish(*id, reason.as_deref()).map(|()| Ok(*id))
            }
        }
    }

    /// Stores what was found, once each. A walk that has come to its end begins anew if it has
    /// found anything: deliveries that were leased when it passed may be open again behind it. The
    /// item of an event that was replayed has another ordinal by then, and is still that of the
    /// event.
    fn note_found(
        &self,
        id: OperationId,
        found: &[DeliveryId],
        next: Option<&Progress>,
    ) -> Result<(), rusqlite::Error> {
        let mut insert = self.connection.prepare_cached(
            "INSERT OR IGNORE INTO operation_items (operation, event, ordinal, result, attempt)
             SELECT ?1, ?2, ?3, 0, 0 WHERE NOT (?4 AND EXISTS (
                 SELECT 1 FROM operation_items WHERE operation = ?1 AND event = ?2))",
        )?;
        let (is_replay, mut new) = (is_replay(self.connection, id)?, 0);
        for delivery in found {
            let item = params![id.0, delivery.event.row(), delivery.ordinal, is_replay];
            new += insert.execute(item)?;
        }
        let next = next.and_then(|next| match (&next.at, next.changed || new > 0) {
            (None, false) => None,
            (at, changed) => {
                Some(Progress { at: at.clone(), changed: at.is_some() && changed, ..next.clone() })
            }
        });
        let walk = next.as_ref().map(|next| serde_json::to_string(next).unwrap_or_default());
        // The number that was counted may be less than what is there.
        self.connection
            .prepare_cached(
                "UPDATE operations SET found = found + ?2, walk = ?3, is_found = ?4,
                        total = CASE WHEN ?4 THEN found + ?2 ELSE max(total, found + ?2) END,
                        exact = max(exact, ?4)
                 WHERE id = ?1",
            )?
            .execute(params![id.0, new, walk, next.is_none()])?;
        Ok(())
    }

    /// Acts on these, as far as nothing was done to them yet and they stand as they should.
    fn act(&mut self, id: OperationId, items: &[DeliveryId]) -> Result<(), rusqlite::Error> {
        let Some(found) = operation(self.connection, id)? else { return Ok(()) };
        if found.state != OperationState::Running {
            return Ok(());
        }
        let OperationDeed::Change(action) = &found.action else { return Ok(()) };
        let states = match &found.scope {
            OperationScope::Filter(filter) => action.meant(filter.state),
            _ => action.takes().to_vec(),
        };
        let has_result = action.is_retry();
        let (counts, opened) = self.holding_keys(|work| {
            let (mut counts, mut opened) = ([0_i64; 3], None);
            for item in items {
                if !work.is_untouched(id, *item)? {
                    continue;
                }
                // A delivery that is to be cancelled is cancelled also if it was tried again
                // meanwhile.
                let as_of_ms = if *action == Action::Cancel { i64::MAX } else { found.as_of_ms };
                let attempt = work.attempts_of(*item, as_of_ms)?;
                let acted = match attempt {
                    Some(_) => work.change_if(action, &states, *item)?,
                    None => false,
                };
                let result = match (acted, has_result) {
                    (false, _) => ItemResult::Skipped,
                    (true, true) => ItemResult::Open,
                    (true, false) => ItemResult::Ok,
                };
                let count = match result {
                    ItemResult::Open => {
                        let number = attempt.unwrap_or_default();
                        opened = opened.or(Some(TriedItem { id: *item, number }));
                        0
                    }
                    ItemResult::Ok => 1,
                    _ => 2,
                };
                counts[count] += 1;
                work.set_result(id, *item, result, attempt)?;
            }
            Ok((counts, opened))
        })?;
        self.count_acted(&found, counts, opened)
    }

    /// Adds what is open, well and skipped, and notes the one that was tried first.
    pub(super) fn count_acted(
        &self,
        of: &Operation,
        [open, ok, skipped]: [i64; 3],
        opened: Option<TriedItem>,
    ) -> Result<(), rusqlite::Error> {
        if let Some(tried) = opened
            && of.notes_first()
        {
            self.mark(of, OperationMarks { tried: Some(tried), ..of.marks })?;
        }
        self.connection
            .prepare_cached(
                "UPDATE operations SET open = open + ?2, ok = ok + ?3, skipped = skipped + ?4 WHERE id = ?1",
            )?
            .execute(params![of.id.0, open, ok, skipped])?;
        Ok(())
    }

    pub(super) fn mark(
        &self,
        of: &Operation,
        marks: OperationMarks,
    ) -> Result<(), rusqlite::Error> {
        if marks != of.marks {
            self.connection
                .prepare_cached("UPDATE operations SET scope = ?2 WHERE id = ?1")?
                .execute(params![of.id.0, of.scope.text(marks)])?;
        }
        Ok(())
    }

    fn is_untouched(&self, id: OperationId, item: DeliveryId) -> Result<bool, rusqlite::Error> {
        let sql = "SELECT 1 FROM operation_items
                   WHERE operation = ?1 AND event = ?2 AND ordinal = ?3 AND result = 0";
        let key = params![id.0, item.event.row(), item.ordinal];
        Ok(self.connection.prepare_cached(sql)?.query_row(key, |_| Ok(())).optional()?.is_some())
    }

    /// The number of attempts of a delivery; `None` if it is gone, or its last attempt ended after
    /// that time.
    fn attempts_of(&self, item: DeliveryId, as_of_ms: i64) -> Result<Option<u32>, rusqlite::Error> {
        let sql = "SELECT attempt,
                          (SELECT started_ms + duration_us / 1000 FROM attempts a
                           WHERE a.event = d.event AND a.ordinal = d.ordinal ORDER BY number DESC LIMIT 1)
                   FROM deliveries d WHERE event = ?1 AND ordinal = ?2";
        let found: Option<(u32, Option<i64>)> = self
            .connection
            .prepare_cached(sql)?
            .query_row(params![item.event.row(), item.ordinal], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        Ok(found
            .filter(|(_, ended_ms)| ended_ms.is_none_or(|ended_ms| ended_ms <= as_of_ms))
            .map(|(attempt, _)| attempt))
    }

    fn set_result(
        &self,
        id: OperationId,
        item: DeliveryId,
        result: ItemResult,
        attempt: Option<u32>,
    ) -> Result<usize, rusqlite::Error> {
        self.connection
            .prepare_cached(
                "UPDATE operation_items SET result = ?4, attempt = coalesce(?5, attempt)
                 WHERE operation = ?1 AND event = ?2 AND ordinal = ?3 AND result < 2",
            )?
            .execute(params![id.0, item.event.row(), item.ordinal, result.code(), attempt])
    }

    fn note_results(
        &self,
        id: OperationId,
        results: &[(DeliveryId, ItemResult)],
    ) -> Result<(), rusqlite::Error> {
        let mut counts = [0_usize; ItemResult::ALL.len()];
        for (item, result) in results {
            counts[*result as usize] += self.set_result(id, *item, *result, None)?;
        }
        let [_, _, ok, failed, skipped] = counts;
        self.connection
            .prepare_cached(
                "UPDATE operations SET open = open - ?2 - ?3 - ?4, ok = ok + ?2, failed = failed + ?3,
                        skipped = skipped + ?4 WHERE id = ?1",
            )?
            .execute(params![id.0, ok, failed, skipped])?;
        Ok(())
    }
}
