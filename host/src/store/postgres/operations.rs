//! Operations: actions on many deliveries that go on by steps.

use super::{Postgres, refused};
use crate::event::DeliveryId;
use crate::store::{
    AuditNote, DeliveryView, ItemResult, NewOperation, Operation, OperationId, Operations, Pending,
    Steer, StoreError,
};

impl Operations for Postgres {
    fn plan(&self, _: AuditNote, _: NewOperation) -> Pending<'_, OperationId> {
        refused(StoreError::Unsupported("operations"))
    }

    fn steer(&self, _: AuditNote, _: OperationId, _: Steer) -> Pending<'_, OperationId> {
        refused(StoreError::Unsupported("operations"))
    }

    fn undo(&self, _: AuditNote, _: OperationId) -> Pending<'_, OperationId> {
        refused(StoreError::Unsupported("operations"))
    }

    fn find_more(&self, _: OperationId) -> Pending<'_, ()> {
        refused(StoreError::Unsupported("operations"))
    }

    fn act(&self, _: OperationId, _: usize) -> Pending<'_, ()> {
        refused(StoreError::Unsupported("operations"))
    }

    fn collect(&self, _: OperationId) -> Pending<'_, ()> {
        refused(StoreError::Unsupported("operations"))
    }

    fn rest(&self, _: OperationId, _: Option<String>) -> Pending<'_, ()> {
        refused(StoreError::Unsupported("operations"))
    }

    fn operation(&self, _: OperationId) -> Pending<'_, Option<Operation>> {
        refused(StoreError::Unsupported("operations"))
    }

    fn running_operations(&self) -> Pending<'_, Vec<Operation>> {
        refused(StoreError::Unsupported("operations"))
    }

    fn operations(&self, _: Option<OperationId>, _: usize) -> Pending<'_, Vec<Operation>> {
        refused(StoreError::Unsupported("operations"))
    }

    fn operation_items(
        &self,
        _: OperationId,
        _: ItemResult,
        _: Option<DeliveryId>,
        _: usize,
    ) -> Pending<'_, Vec<DeliveryView>> {
        refused(StoreError::Unsupported("operations"))
    }
}
