//! Operations: a row for each, and a row for each delivery that one has found.
//!
//! A step searches beside the writer and then changes a bounded number of rows in one transaction.
//! The row of a delivery is changed in the transaction of its action, so nothing is done twice,
//! whatever crashes. The results of retries are read from the deliveries afterwards: a settlement
//! knows nothing of operations, and costs what it did.

use rusqlite::{Connection, OptionalExtension};

use std::sync::Arc;

use self::replays::{made_for, matching, replay_results};
use self::rows::{changed_by, found, is_replay, items, newest, operation, results, running};
use super::Sqlite;
use super::command::WriteCommand;
use super::operation_work::OperationWork;
use super::{noted, read, search};
use crate::event::{DeliveryId, EventId, Target};
use crate::store::model::{looked_until, read_walk};
use crate::store::{
    Action, AuditNote, DeliveryView, FoundOperation, ItemResult, NewOperation, Operation,
    OperationDeed, OperationId, OperationScope, OperationState, Operations, Pending, Progress,
    Steer, StoreError,
};

mod replays;
mod rows;
mod steer;
mod work;

/// Since version 8: operations, and the deliveries of each. `walk` is where the search goes on;
/// `attempt` is the number of attempts that a delivery had before.
pub(super) const SCHEMA: &str = "
    CREATE TABLE operations (
        id         INTEGER PRIMARY KEY AUTOINCREMENT,
        action     TEXT NOT NULL,
        scope      TEXT NOT NULL,
        as_of_ms   INTEGER NOT NULL,
        planned_ms INTEGER NOT NULL,
        started_ms INTEGER,
        ended_ms   INTEGER,
        state      INTEGER NOT NULL,
        reason     TEXT,
        first      INTEGER NOT NULL,
        pace       INTEGER,
        stop_after INTEGER,
        total      INTEGER NOT NULL,
        exact      INTEGER NOT NULL,
        found      INTEGER NOT NULL,
        open       INTEGER NOT NULL,
        ok         INTEGER NOT NULL,
        failed     INTEGER NOT NULL,
        skipped    INTEGER NOT NULL,
        walk       TEXT,
        is_found   INTEGER NOT NULL,
        actor      TEXT NOT NULL,
        via        TEXT NOT NULL
    ) STRICT;
    CREATE INDEX operations_state ON operations (state, planned_ms);
    CREATE TABLE operation_items (
        operation INTEGER NOT NULL,
        event     INTEGER NOT NULL,
        ordinal   INTEGER NOT NULL,
        result    INTEGER NOT NULL,
        attempt   INTEGER NOT NULL,
        PRIMARY KEY (operation, event, ordinal)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX operation_items_result ON operation_items (operation, result, event, ordinal);
";

/// The most deliveries whose results one call looks at.
const MAX_COLLECTED: usize = 1_000;

impl Operations for Sqlite {
    fn plan(&self, note: AuditNote, operation: NewOperation) -> Pending<'_, OperationId> {
        self.operate(Some(note), OperationWork::Plan(Box::new(operation)))
    }

    fn steer(&self, note: AuditNote, id: OperationId, steer: Steer) -> Pending<'_, OperationId> {
        self.operate(Some(note), OperationWork::Steer(id, steer))
    }

    fn undo(&self, note: AuditNote, id: OperationId) -> Pending<'_, OperationId> {
        let actor = note.actor.clone();
        self.operate(Some(note), OperationWork::Undo(id, actor))
    }

    fn find_more(&self, id: OperationId) -> Pending<'_, ()> {
        Box::pin(async move {
            let Some((found, next)) = self.search_for(id).await? else { return Ok(()) };
            self.operate(None, OperationWork::Find(id, found, next)).await.map(drop)
        })
    }

    fn act(&self, id: OperationId, most: usize) -> Pending<'_, ()> {
        Box::pin(async move {
            let next = move |connection: &_| items(connection, id, ItemResult::Found, None, most);
            let next = self.readers.ask(next).await?;
            self.operate(None, OperationWork::Act(id, next)).await.map(drop)
        })
    }

    fn replay_items(
        &self,
        id: OperationId,
        events: Vec<(EventId, Vec<Arc<Target>>)>,
    ) -> Pending<'_, ()> {
        let replayed = self.operate(None, OperationWork::Replay(id, events));
        Box::pin(async move { replayed.await.map(drop) })
    }

    fn item_ids(
        &self,
        id: OperationId,
        result: ItemResult,
        after: Option<DeliveryId>,
        limit: usize,
    ) -> Pending<'_, Vec<DeliveryId>> {
        let find = move |connection: &_| items(connection, id, result, after, limit);
        Box::pin(self.readers.ask(find))
    }

    fn collect(&self, id: OperationId) -> Pending<'_, ()> {
        Box::pin(async move {
            let known = move |connection: &_| match is_replay(connection, id)? {
                true => replay_results(connection, id),
                false => results(connection, id),
            };
            let results = self.readers.ask(known).await?;
            if results.is_empty() {
                return Ok(());
            }
            self.operate(None, OperationWork::Collect(id, results)).await.map(drop)
        })
    }

    fn finish(&self, id: OperationId, reason: Option<String>) -> Pending<'_, ()> {
        let finished = self.operate(None, OperationWork::Finish(id, reason));
        Box::pin(async move { finished.await.map(drop) })
    }

    fn operation(&self, id: OperationId) -> Pending<'_, Option<Operation>> {
        Box::pin(async move {
            self.found_operation(id).await?.map(FoundOperation::readable).transpose()
        })
    }

    fn found_operation(&self, id: OperationId) -> Pending<'_, Option<FoundOperation>> {
        Box::pin(self.readers.ask(move |connection: &_| found(connection, id)))
    }

    fn running_operations(&self) -> Pending<'_, Vec<Operation>> {
        Box::pin(async move { Ok(self.unreadable.readable(self.readers.ask(running).await?)) })
    }

    fn operations(
        &self,
        before: Option<OperationId>,
        limit: usize,
    ) -> Pending<'_, Vec<FoundOperation>> {
        Box::pin(self.readers.ask(move |connection: &_| newest(connection, before, limit)))
    }

    fn operation_items(
        &self,
        id: OperationId,
        result: ItemResult,
        after: Option<DeliveryId>,
        limit: usize,
    ) -> Pending<'_, Vec<DeliveryView>> {
        let read = move |connection: &Connection| {
            let found = match is_replay(connection, id)? {
                true => made_for(connection, id, result, after, limit)?,
                false => items(connection, id, result, after, limit)?,
            };
            found.into_iter().filter_map(|id| read::delivery(connection, id).transpose()).collect()
        };
        let found = self.listings.ask(read);
        Box::pin(async move {
            let mut found: Vec<DeliveryView> = found.await?;
            self.by_wall_clock(&mut found);
            Ok(found)
        })
    }
}

impl Sqlite {
    fn operate(&self, note: Option<AuditNote>, work: OperationWork) -> Pending<'_, OperationId> {
        self.ask(|reply| noted(note, WriteCommand::Operate { work, reply }))
    }

    /// The next deliveries of an operation, and where the search goes on; `None` if there is
    /// nothing to look for.
    async fn search_for(
        &self,
        id: OperationId,
    ) -> Result<Option<(Vec<DeliveryId>, Option<Progress>)>, StoreError> {
        let read = move |connection: &Connection| {
            let walk = connection
                .prepare_cached("SELECT walk FROM operations WHERE id = ?1")?
                .query_row([id.0], |row| row.get::<_, Option<String>>(0))
                .optional()?;
            Ok(operation(connection, id)?.zip(walk))
        };
        let Some((operation, walk)) = self.readers.ask(read).await? else { return Ok(None) };
        if operation.state != OperationState::Running || operation.is_found {
            return Ok(None);
        }
        let from = read_walk(id, walk.as_deref())?;
        Ok(Some(match operation.scope {
            OperationScope::Ids(ids) => (ids, None),
            OperationScope::EventIds(ids) => {
                (ids.into_iter().map(|event| DeliveryId { event, ordinal: 0 }).collect(), None)
            }
            OperationScope::Events(mut filter) => {
                filter.until_ms = Some(looked_until(operation.as_of_ms, filter.until_ms));
                let span = self.span(filter.since_ms, filter.until_ms);
                let find =
                    move |connection: &_| matching(connection, &filter, &span, from.as_ref());
                self.listings.ask(find).await?
            }
            OperationScope::Undo(of) => {
                let find = move |connection: &_| changed_by(connection, of, from.as_ref());
                self.listings.ask(find).await?
            }
            OperationScope::Filter(filter) => {
                let OperationDeed::Change(action) = operation.action else { return Ok(None) };
                let changed = from.as_ref().is_some_and(|from| from.changed);
                let until_ms = looked_until(operation.as_of_ms, filter.until_ms);
                let span = self.span(filter.since_ms, Some(until_ms));
                let is_cancel = action == Action::Cancel;
                let find = move |connection: &_| {
                    search::find(connection, &action, &filter, &span, from.as_ref())
                };
                let found = self.listings.ask(find).await?;
                let before = found.before;
                let next = match found.rest {
                    None if !is_cancel => None,
                    // The end of a pass: as in `bulk.rs`, the next one may find more.
                    at => Some(Progress { before, at, changed }),
                };
                (found.deliveries, next)
            }
        }))
    }
}
