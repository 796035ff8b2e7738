//! The steering of operations, and the removal of old ones.

use tokio_postgres::types::ToSql;

use super::marks::mark;
use super::rows::{found_locked, locked_operation};
use crate::store::postgres::Postgres;
use crate::store::postgres::audit::{known, note_in, note_text};
use crate::store::postgres::shared::PostgresShared;
use crate::store::postgres::work::{Work, WorkError};
use crate::store::{
    Action, Actor, AuditNote, FoundOperation, NewOperation, OPERATION_KEPT_FOR_MS,
    OPERATION_PLANNED_FOR_MS, Operation, OperationId, OperationMarks, OperationOptions,
    OperationScope, OperationState, Steer, StoreError, UnreadableOperation, Via,
};

/// The most rows of deliveries that one sweep deletes.
const MAX_SWEPT: i64 = 500;

impl Postgres {
    pub(super) async fn plan_once(
        &self,
        note: &AuditNote,
        new: &NewOperation,
    ) -> Result<OperationId, WorkError> {
        let work = self.work.begin().await?;
        if let Some(id) = known(&work, &self.shared, Some(note)).await? {
            return Ok(id);
        }
        let id = plan(&work, &self.shared, new).await?;
        note_in(&work, &self.shared, Some(note), &id).await?;
        work.commit().await?;
        Ok(id)
    }

    pub(super) async fn steer_once(
        &self,
        note: &AuditNote,
        id: OperationId,
        to: Steer,
    ) -> Result<OperationId, WorkError> {
        let work = self.work.begin().await?;
        if let Some(id) = known(&work, &self.shared, Some(note)).await? {
            return Ok(id);
        }
        steer(&work, &self.shared, id, to).await?;
        note_in(&work, &self.shared, Some(note), &id).await?;
        work.commit().await?;
        Ok(id)
    }

    pub(super) async fn undo_once(
        &self,
        note: &AuditNote,
        id: OperationId,
    ) -> Result<OperationId, WorkError> {
        let work = self.work.begin().await?;
        if let Some(id) = known(&work, &self.shared, Some(note)).await? {
            return Ok(id);
        }
        let found = match locked(&work, id).await? {
            FoundOperation::Whole(found) => found,
            FoundOperation::Unreadable(found) => return Err(found.refusal().into()),
        };
        if !found.can_be_undone() {
            let text = format!(
                "operation `{id}` cannot be undone: only a discard can that has changed something \
                 and does not run"
            );
            return Err(StoreError::Conflict(text).into());
        }
        let new = NewOperation {
            action: Action::Undiscard.into(),
            scope: OperationScope::Undo(id),
            total: found.ok,
            exact: true,
            as_of_ms: None,
            actor: note.actor.clone(),
        };
        let undo = plan(&work, &self.shared, &new).await?;
        let start = Steer::Start(OperationOptions::default());
        steer(&work, &self.shared, undo, start).await?;
        note_in(&work, &self.shared, Some(note), &undo).await?;
        work.commit().await?;
        Ok(undo)
    }

    /// Ends a running operation, or stops it for a reason. Its end is in the audit log.
    pub(super) async fn finish_once(
        &self,
        id: OperationId,
        reason: Option<&str>,
    ) -> Result<(), WorkError> {
        let work = self.work.begin().await?;
        let runs = |found: &Operation| found.state == OperationState::Running;
        let Some(ended) = locked_operation(&work, id).await?.filter(runs) else { return Ok(()) };
        let state = if reason.is_some() { OperationState::Stopped } else { OperationState::Done };
        let (code, over) = (state_code(state), state.is_over());
        let sql = "UPDATE hookbox.operations SET state = $2, reason = $3,
                       ended_ms = CASE WHEN $4 THEN hookbox.now_ms_v1($5) END
                   WHERE id = $1";
        work.execute(sql, &[&id.0, &code, &reason, &over, &self.shared.at()]).await?;
        mark(&work, &ended, ended.marks.at(state, now_ms(&work, &self.shared).await?)).await?;
        let actor = Actor { name: ended.actor.as_str().into(), role: "operator", via: Via::Api };
        let action = if reason.is_some() { "operations.stopped" } else { "operations.done" };
        let detail = reason.map_or_else(|| ended.action.name().to_owned(), str::to_owned);
        let note = AuditNote::new(actor, action, &id.to_string(), &detail);
        let result = serde_json::json!({
            "ok": ended.ok, "failed": ended.failed, "skipped": ended.skipped,
        });
        note_text(&work, &self.shared, &note, &result.to_string()).await?;
        Ok(work.commit().await?)
    }
}

fn state_code(state: OperationState) -> i16 {
    i16::try_from(state.code()).unwrap_or(i16::MAX)
}

async fn locked(work: &Work<'_>, id: OperationId) -> Result<FoundOperation, WorkError> {
    let found = found_locked(work, id).await?;
    Ok(found.ok_or_else(|| StoreError::NotFound(format!("operation `{id}`")))?)
}

async fn now_ms(work: &Work<'_>, shared: &PostgresShared) -> Result<i64, WorkError> {
    Ok(work.query_one("SELECT hookbox.now_ms_v1($1)", &[&shared.at()]).await?.get(0))
}

async fn plan(
    work: &Work<'_>,
    shared: &PostgresShared,
    new: &NewOperation,
) -> Result<OperationId, WorkError> {
    let now_ms = now_ms(work, shared).await?;
    let parameters: [&(dyn ToSql + Sync); 9] = [
        &new.action.text(),
        &new.scope.text(OperationMarks::default()),
        &new.as_of_ms.map_or(now_ms, |as_of_ms| as_of_ms.min(now_ms)),
        &now_ms,
        &state_code(OperationState::Planned),
        &i64::try_from(new.total).unwrap_or(i64::MAX),
        &new.exact,
        &&*new.actor.name,
        &new.actor.via.name(),
    ];
    let row = work
        .query_one(
            "INSERT INTO hookbox.operations (action, scope, as_of_ms, planned_ms, state, total,
                 exact, actor, via)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING id",
            &parameters,
        )
        .await?;
    Ok(OperationId(row.get(0)))
}

async fn steer(
    work: &Work<'_>,
    shared: &PostgresShared,
    id: OperationId,
    steer: Steer,
) -> Result<(), WorkError> {
    let found = match locked(work, id).await? {
        FoundOperation::Whole(found) => found,
        FoundOperation::Unreadable(found) => {
            return steer_unreadable(work, shared, &found, steer).await;
        }
    };
    if found.state == steer.to() {
        return Ok(());
    }
    let now_ms = now_ms(work, shared).await?;
    let is_late = now_ms - found.planned_ms > OPERATION_PLANNED_FOR_MS;
    let starts = steer.to() == OperationState::Running;
    if found.state == OperationState::Planned && is_late && starts {
        let text = format!("operation `{id}` was planned more than an hour ago: plan it anew");
        return Err(StoreError::Conflict(text).into());
    }
    if !steer.takes(found.state) {
        let (verb, state) = (steer.name(), found.state.name());
        let text = format!("operation `{id}` is {state}: one cannot {verb} it");
        return Err(StoreError::Conflict(text).into());
    }
    let options = match steer {
        Steer::Start(options) => options,
        // It goes on in spite of what it has stopped for.
        Steer::Resume if found.state == OperationState::Stopped => {
            OperationOptions { first: false, stop_after: None, ..found.options }
        }
        _ => found.options,
    };
    mark(work, &found, found.marks.at(steer.to(), now_ms)).await?;
    let parameters: [&(dyn ToSql + Sync); 8] = [
        &id.0,
        &state_code(steer.to()),
        &options.first,
        &options.pace.map(i64::from),
        &options.stop_after.map(i64::from),
        &starts,
        &now_ms,
        &steer.to().is_over().then_some(now_ms),
    ];
    work.execute(
        "UPDATE hookbox.operations SET state = $2, reason = NULL, first = $3, pace = $4,
             stop_after = $5, ended_ms = $8,
             started_ms = CASE WHEN $6 THEN coalesce(started_ms, $7) ELSE started_ms END
         WHERE id = $1",
        &parameters,
    )
    .await?;
    Ok(())
}

/// The same for one whose row cannot be read: it is ended, or left as it is.
async fn steer_unreadable(
    work: &Work<'_>,
    shared: &PostgresShared,
    found: &UnreadableOperation,
    steer: Steer,
) -> Result<(), WorkError> {
    if found.is_changed_by(steer)? {
        let sql = "UPDATE hookbox.operations SET state = $2, reason = NULL,
                       ended_ms = hookbox.now_ms_v1($3)
                   WHERE id = $1";
        work.execute(sql, &[&found.id.0, &state_code(steer.to()), &shared.at()]).await?;
    }
    Ok(())
}

/// Deletes operations that nobody has started, and those that ended or, if they have stopped or are
/// paused, began long ago; says whether there may be more.
pub(in crate::store::postgres) async fn sweep(
    work: &Work<'_>,
    now_ms: i64,
) -> Result<bool, WorkError> {
    for (state, kept_ms) in [
        (OperationState::Planned, OPERATION_PLANNED_FOR_MS),
        (OperationState::Paused, OPERATION_KEPT_FOR_MS),
        (OperationState::Stopped, OPERATION_KEPT_FOR_MS),
        (OperationState::Done, OPERATION_KEPT_FOR_MS),
        (OperationState::Cancelled, OPERATION_KEPT_FOR_MS),
    ] {
        let old = work
            .query_opt(
                "SELECT o.id FROM hookbox.operations o WHERE o.state = $1 AND o.planned_ms < $2
                     AND coalesce(o.ended_ms, o.started_ms, o.planned_ms) < $2
                 ORDER BY o.planned_ms LIMIT 1 FOR UPDATE",
                &[&state_code(state), &(now_ms - kept_ms)],
            )
            .await?;
        let Some(old) = old.map(|row| row.get::<_, i64>(0)) else { continue };
        let items = work
            .execute(
                "DELETE FROM hookbox.operation_items WHERE (operation, event, ordinal) IN (
                     SELECT i.operation, i.event, i.ordinal FROM hookbox.operation_items i
                     WHERE i.operation = $1 LIMIT $2)",
                &[&old, &MAX_SWEPT],
            )
            .await?;
        if items < MAX_SWEPT.unsigned_abs() {
            work.execute("DELETE FROM hookbox.operations WHERE id = $1", &[&old]).await?;
        }
        return Ok(true);
    }
    Ok(false)
}
