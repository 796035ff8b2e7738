//! The steering of operations within a transaction of the writer, and the removal of old ones.

use rusqlite::{OptionalExtension, params};

use super::rows::{found, operation};
use crate::store::sqlite::batch::WriteBatch;
use crate::store::{
    Action, Actor, AuditNote, FoundOperation, NewOperation, OPERATION_KEPT_FOR_MS,
    OPERATION_PLANNED_FOR_MS, Operation, OperationId, OperationMarks, OperationOptions,
    OperationScope, OperationState, Steer, StoreError, UnreadableOperation, Via,
};

/// The most rows of deliveries that one sweep deletes.
const MAX_SWEPT: usize = 500;

impl WriteBatch<'_> {
    pub(super) fn plan(&self, new: &NewOperation) -> Result<OperationId, rusqlite::Error> {
        self.connection
            .prepare_cached(
                "INSERT INTO operations (action, scope, as_of_ms, planned_ms, state, first, total, exact, found,
                                         open, ok, failed, skipped, is_found, actor, via)
                 VALUES (?1, ?2, ?9, ?3, ?4, 0, ?5, ?6, 0, 0, 0, 0, 0, 0, ?7, ?8)",
            )?
            .execute(params![
                new.action.text(),
                new.scope.text(OperationMarks::default()),
                self.wall_ms,
                OperationState::Planned.code(),
                new.total,
                new.exact,
                new.actor.name,
                new.actor.via.name(),
                new.as_of_ms.map_or(self.wall_ms, |as_of_ms| as_of_ms.min(self.wall_ms)),
            ])?;
        Ok(OperationId(self.connection.last_insert_rowid()))
    }

    pub(super) fn steer(
        &self,
        id: OperationId,
        steer: Steer,
    ) -> Result<Result<OperationId, StoreError>, rusqlite::Error> {
        let found = match found(self.connection, id)? {
            Some(FoundOperation::Whole(found)) => *found,
            Some(FoundOperation::Unreadable(found)) => {
                return self.steer_unreadable(&found, steer);
            }
            None => return Ok(Err(StoreError::NotFound(format!("operation `{id}`")))),
        };
        if found.state == steer.to() {
            return Ok(Ok(id));
        }
        let is_late = self.wall_ms - found.planned_ms > OPERATION_PLANNED_FOR_MS;
        if found.state == OperationState::Planned
            && is_late
            && steer.to() == OperationState::Running
        {
            let text = format!("operation `{id}` was planned more than an hour ago: plan it anew");
            return Ok(Err(StoreError::Conflict(text)));
        }
        if !steer.takes(found.state) {
            let (verb, state) = (steer.name(), found.state.name());
            let text = format!("operation `{id}` is {state}: one cannot {verb} it");
            return Ok(Err(StoreError::Conflict(text)));
        }
        let options = match steer {
            Steer::Start(options) => options,
            // It goes on in spite of what it has stopped for.
            Steer::Resume if found.state == OperationState::Stopped => {
                OperationOptions { first: false, stop_after: None, ..found.options }
            }
            _ => found.options,
        };
        let ended_ms = steer.to().is_over().then_some(self.wall_ms);
        self.mark(&found, found.marks.at(steer.to(), self.wall_ms))?;
        self.connection
            .prepare_cached(
                "UPDATE operations SET state = ?2, reason = NULL, first = ?3, pace = ?4, stop_after = ?5,
                        started_ms = CASE WHEN ?6 THEN coalesce(started_ms, ?7) ELSE started_ms END, ended_ms = ?8
                 WHERE id = ?1",
            )?
            .execute(params![
                id.0,
                steer.to().code(),
                options.first,
                options.pace,
                options.stop_after,
                steer.to() == OperationState::Running,
                self.wall_ms,
                ended_ms,
            ])?;
        Ok(Ok(id))
    }

    /// The same for one whose row cannot be read: it is ended, or left as it is.
    fn steer_unreadable(
        &self,
        found: &UnreadableOperation,
        steer: Steer,
    ) -> Result<Result<OperationId, StoreError>, rusqlite::Error> {
        match found.is_changed_by(steer) {
            Err(refused) => return Ok(Err(refused)),
            Ok(false) => {}
            Ok(true) => {
                let sql = "UPDATE operations SET state = ?2, reason = NULL, ended_ms = ?3
                           WHERE id = ?1";
                let ended = params![found.id.0, steer.to().code(), self.wall_ms];
                self.connection.prepare_cached(sql)?.execute(ended)?;
            }
        }
        Ok(Ok(found.id))
    }

    pub(super) fn undo(
        &self,
        id: OperationId,
        actor: &Actor,
    ) -> Result<Result<OperationId, StoreError>, rusqlite::Error> {
        let found = match found(self.connection, id)? {
            Some(FoundOperation::Whole(found)) => *found,
            Some(FoundOperation::Unreadable(found)) => return Ok(Err(found.refusal())),
            None => return Ok(Err(StoreError::NotFound(format!("operation `{id}`")))),
        };
        if !found.can_be_undone() {
            let text = format!(
                "operation `{id}` cannot be undone: only a discard can that has changed something \
                 and does not run"
            );
            return Ok(Err(StoreError::Conflict(text)));
        }
        let undo = self.plan(&NewOperation {
            action: Action::Undiscard.into(),
            scope: OperationScope::Undo(id),
            total: found.ok,
            exact: true,
            as_of_ms: None,
            actor: actor.clone(),
        })?;
        self.steer(undo, Steer::Start(OperationOptions::default()))
    }

    /// Ends a running operation, or stops it for a reason. Its end is in the audit log.
    pub(super) fn finish(
        &self,
        id: OperationId,
        reason: Option<&str>,
    ) -> Result<(), rusqlite::Error> {
        let runs = |found: &Operation| found.state == OperationState::Running;
        let Some(ended) = operation(self.connection, id)?.filter(runs) else { return Ok(()) };
        let state = if reason.is_some() { OperationState::Stopped } else { OperationState::Done };
        self.connection
            .prepare_cached(
                "UPDATE operations SET state = ?2, reason = ?3, ended_ms = ?4 WHERE id = ?1",
            )?
            .execute(params![
                id.0,
                state.code(),
                reason,
                state.is_over().then_some(self.wall_ms)
            ])?;
        self.mark(&ended, ended.marks.at(state, self.wall_ms))?;
        let actor = Actor { name: ended.actor.as_str().into(), role: "operator", via: Via::Api };
        let action = if reason.is_some() { "operations.stopped" } else { "operations.done" };
        let detail = reason.map_or_else(|| ended.action.name().to_owned(), str::to_owned);
        let note = AuditNote::new(actor, action, &id.to_string(), &detail);
        let result = serde_json::json!({
            "ok": ended.ok, "failed": ended.failed, "skipped": ended.skipped,
        });
        self.make_entry(&note, &result.to_string())
    }

    /// Deletes operations that nobody has started, and those that ended or, if they have stopped or
    /// are paused, began long ago; says whether there may be more.
    pub(in crate::store::sqlite) fn sweep_operations(&self) -> Result<bool, rusqlite::Error> {
        for (state, kept_ms) in [
            (OperationState::Planned, OPERATION_PLANNED_FOR_MS),
            (OperationState::Paused, OPERATION_KEPT_FOR_MS),
            (OperationState::Stopped, OPERATION_KEPT_FOR_MS),
            (OperationState::Done, OPERATION_KEPT_FOR_MS),
            (OperationState::Cancelled, OPERATION_KEPT_FOR_MS),
        ] {
            let old: Option<i64> = self
                .connection
                .prepare_cached(
                    "SELECT id FROM operations WHERE state = ?1 AND planned_ms < ?2
                     AND coalesce(ended_ms, started_ms, planned_ms) < ?2 ORDER BY planned_ms LIMIT 1",
                )?
                .query_row(params![state.code(), self.wall_ms - kept_ms], |row| row.get(0))
                .optional()?;
            let Some(old) = old else { continue };
            let items = self
                .connection
                .prepare_cached(
                    "DELETE FROM operation_items WHERE (operation, event, ordinal) IN
                     (SELECT operation, event, ordinal FROM operation_items WHERE operation = ?1 LIMIT ?2)",
                )?
                .execute(params![old, MAX_SWEPT])?;
            if items < MAX_SWEPT {
                self.connection
                    .prepare_cached("DELETE FROM operations WHERE id = ?1")?
                    .execute([old])?;
            }
            return Ok(true);
        }
        Ok(false)
    }
}
