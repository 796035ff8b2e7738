//! Operations go on by steps that survive a crash: they are kept by a store on a disk alone.

use std::sync::Arc;

use super::{MemoryStore, done};
use crate::event::{DeliveryId, EventId, Target};
use crate::store::{
    AuditNote, DeliveryView, FoundOperation, ItemResult, NewOperation, Operation, OperationId,
    Operations, Pending, Steer, StoreError,
};

fn unable<'a, T: Send + 'a>() -> Pending<'a, T> {
    done(Err(StoreError::Unavailable("operations need a store on a disk".to_owned())))
}

impl Operations for MemoryStore {
    fn plan(&self, _: AuditNote, _: NewOperation) -> Pending<'_, OperationId> {
        unable()
    }

    fn steer(&self, _: AuditNote, _: OperationId, _: Steer) -> Pending<'_, OperationId> {
        unable()
    }

    fn undo(&self, _: AuditNote, _: OperationId) -> Pending<'_, OperationId> {
        unable()
    }

    fn find_more(&self, _: OperationId) -> Pending<'_, ()> {
        unable()
    }

    fn act(&self, _: OperationId, _: usize) -> Pending<'_, ()> {
        unable()
    }

    fn replay_items(&self, _: OperationId, _: Vec<(EventId, Vec<Arc<Target>>)>) -> Pending<'_, ()> {
        unable()
    }

    fn item_ids(
        &self,
        _: OperationId,
        _: ItemResult,
        _: Option<DeliveryId>,
        _: usize,
    ) -> Pending<'_, Vec<DeliveryId>> {
        unable()
    }

    fn collect(&self, _: OperationId) -> Pending<'_, ()> {
        unable()
    }

    fn finish(&self, _: OperationId, _: Option<String>) -> Pending<'_, ()> {
        unable()
    }

    fn operation(&self, _: OperationId) -> Pending<'_, Option<Operation>> {
        unable()
    }

    fn running_operations(&self) -> Pending<'_, Vec<Operation>> {
        done(Ok(Vec::new()))
    }

    fn operations(&self, _: Option<OperationId>, _: usize) -> Pending<'_, Vec<FoundOperation>> {
        done(Ok(Vec::new()))
    }

    fn operation_items(
        &self,
        _: OperationId,
        _: ItemResult,
        _: Option<DeliveryId>,
        _: usize,
    ) -> Pending<'_, Vec<DeliveryView>> {
        unable()
    }
}
