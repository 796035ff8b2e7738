//! What sources and plugins did over time, and who changed what.

use std::sync::Arc;

use super::{Postgres, refused};
use crate::series::{Rest, SeriesOwner};
use crate::store::{
    AuditEntry, AuditFilter, AuditNote, History, LogPositions, Pending, StoreError, StoredSample,
};

impl History for Postgres {
    fn keep_samples(&self, _: i64, _: Vec<Rest>) -> Pending<'_, ()> {
        refused(StoreError::Unsupported("samples"))
    }

    fn samples(&self, _: SeriesOwner, _: u32) -> Pending<'_, Vec<StoredSample>> {
        refused(StoreError::Unsupported("samples"))
    }

    fn note(&self, _: AuditNote) -> Pending<'_, ()> {
        refused(StoreError::Unsupported("the audit log"))
    }

    fn audit(
        &self,
        _: AuditFilter,
        _: usize,
        _: Option<i64>,
    ) -> Pending<'_, (Vec<AuditEntry>, Option<i64>)> {
        refused(StoreError::Unsupported("the audit log"))
    }

    fn answer(&self, _: AuditNote) -> Pending<'_, Option<String>> {
        refused(StoreError::Unsupported("the audit log"))
    }

    fn keep_answer(&self, _: AuditNote, _: String) -> Pending<'_, ()> {
        refused(StoreError::Unsupported("the audit log"))
    }
}

impl LogPositions for Postgres {
    fn log_position(&self, _: Arc<str>) -> Pending<'_, Option<String>> {
        refused(StoreError::Unsupported("positions in logs"))
    }

    fn keep_log_position(&self, _: Arc<str>, _: String) -> Pending<'_, ()> {
        refused(StoreError::Unsupported("positions in logs"))
    }
}
