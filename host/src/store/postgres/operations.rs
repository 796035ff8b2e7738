//! Operations: a row for each, and a row for each delivery that one has found.
//!
//! A step locks the row of its operation first, so that any host may do it and two never do the
//! same. The row of a delivery is changed in the transaction of its action, so nothing is done
//! twice, whatever crashes. The results of retries are read from the deliveries afterwards: a
//! settlement knows nothing of operations, and costs what it did.

use std::sync::Arc;

use super::Postgres;
use super::error::failed_query;
use super::read::{ShownAs, delivery_views};
use super::settle::small;
use super::work::tried;
use crate::event::{DeliveryId, EventId, Target};
use crate::store::{
    AuditNote, DeliveryView, FoundOperation, ItemResult, NewOperation, Operation, OperationId,
    Operations, Pending, Steer,
};

mod marks;
mod replays;
mod rows;
mod steer;
mod steps;

pub(super) use steer::sweep;

impl Operations for Postgres {
    fn plan(&self, note: AuditNote, operation: NewOperation) -> Pending<'_, OperationId> {
        Box::pin(async move { tried!(self.plan_once(&note, &operation)) })
    }

    fn steer(&self, note: AuditNote, id: OperationId, steer: Steer) -> Pending<'_, OperationId> {
        Box::pin(async move { tried!(self.steer_once(&note, id, steer)) })
    }

    fn undo(&self, note: AuditNote, id: OperationId) -> Pending<'_, OperationId> {
        Box::pin(async move { tried!(self.undo_once(&note, id)) })
    }

    fn find_more(&self, id: OperationId) -> Pending<'_, ()> {
        Box::pin(async move { tried!(self.find_once(id)) })
    }

    fn act(&self, id: OperationId, most: usize) -> Pending<'_, ()> {
        Box::pin(async move { tried!(self.act_once(id, most)) })
    }

    fn replay_items(
        &self,
        id: OperationId,
        events: Vec<(EventId, Vec<Arc<Target>>)>,
    ) -> Pending<'_, ()> {
        Box::pin(async move {
            for part in replays::parts(&events) {
                tried!(self.replay_items_once(id, part))?;
            }
            Ok(())
        })
    }

    fn item_ids(
        &self,
        id: OperationId,
        result: ItemResult,
        after: Option<DeliveryId>,
        limit: usize,
    ) -> Pending<'_, Vec<DeliveryId>> {
        Box::pin(async move {
            self.shared.answers()?;
            let client = self.reads.client().await?;
            let found = rows::items(&client, id, result, after, limit).await;
            found.map_err(|error| failed_query(&error))
        })
    }

    fn collect(&self, id: OperationId) -> Pending<'_, ()> {
        Box::pin(async move { tried!(self.collect_once(id)) })
    }

    fn finish(&self, id: OperationId, reason: Option<String>) -> Pending<'_, ()> {
        Box::pin(async move { tried!(self.finish_once(id, reason.as_deref())) })
    }

    fn operation(&self, id: OperationId) -> Pending<'_, Option<Operation>> {
        Box::pin(async move {
            self.found_operation(id).await?.map(FoundOperation::readable).transpose()
        })
    }

    fn found_operation(&self, id: OperationId) -> Pending<'_, Option<FoundOperation>> {
        Box::pin(async move {
            self.shared.answers()?;
            let client = self.reads.client().await?;
            rows::found(&client, id).await.map_err(|error| failed_query(&error))
        })
    }

    fn running_operations(&self) -> Pending<'_, Vec<Operation>> {
        Box::pin(async move {
            self.shared.answers()?;
            let client = self.reads.client().await?;
            let found = rows::running(&client).await.map_err(|error| failed_query(&error))?;
            Ok(self.shared.unreadable.readable(found))
        })
    }

    fn operations(
        &self,
        before: Option<OperationId>,
        limit: usize,
    ) -> Pending<'_, Vec<FoundOperation>> {
        Box::pin(async move {
            self.shared.answers()?;
            let client = self.reads.client().await?;
            rows::newest(&client, before, limit).await.map_err(|error| failed_query(&error))
        })
    }

    fn operation_items(
        &self,
        id: OperationId,
        result: ItemResult,
        after: Option<DeliveryId>,
        limit: usize,
    ) -> Pending<'_, Vec<DeliveryView>> {
        Box::pin(async move {
            self.shared.answers()?;
            let work = self.listings.read().await?;
            let is_replay = rows::is_replay(&work, id).await;
            let found = match is_replay.map_err(|error| failed_query(&error))? {
                true => replays::made_for(&work, id, result, after, limit).await?,
                false => {
                    let found = rows::items(&work, id, result, after, limit).await;
                    found.map_err(|error| failed_query(&error))?
                }
            };
            let events: Vec<i64> = found.iter().map(|id| id.event.row()).collect();
            let ordinals: Vec<i32> = found.iter().map(|id| small(id.ordinal)).collect();
            let shown = ShownAs::WHOLE;
            let mut views = delivery_views(&work, &events, Some(&ordinals), shown).await?;
            work.commit().await?;
            views.sort_unstable_by_key(|view| (view.id.event, view.id.ordinal));
            Ok(views)
        })
    }
}
