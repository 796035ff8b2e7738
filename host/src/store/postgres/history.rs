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

    fn note(&self, note: AuditNote) -> Pending<'_, ()> {
        Box::pin(self.note_alone(note))
    }

    fn audit(
        &self,
        filter: AuditFilter,
        limit: usize,
        before: Option<i64>,
    ) -> Pending<'_, (Vec<AuditEntry>, Option<i64>)> {
        Box::pin(self.audit_entries(filter, limit, before))
    }

    fn answer(&self, note: AuditNote) -> Pending<'_, Option<String>> {
        Box::pin(self.kept_answer(note))
    }

    fn keep_answer(&self, note: AuditNote, answer: String) -> Pending<'_, ()> {
        Box::pin(self.keep_answer_alone(note, answer))
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
