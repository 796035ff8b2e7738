//! The audit log, and the answers to requests that have a key.

use std::collections::HashMap;
use std::sync::Arc;

use super::{MemoryStore, done};
use crate::store::model::AuditResult;
use crate::store::{
    AuditEntry, AuditFilter, AuditLog, AuditNote, KEY_KNOWN_FOR_MS, Pending, StoreError,
};

impl AuditLog for MemoryStore {
    fn note(&self, note: AuditNote) -> Pending<'_, ()> {
        done(self.write(|data| {
            data.audit.make_entry(&note, &().text(), data.wall_ms);
            Ok(())
        }))
    }

    fn audit(
        &self,
        filter: AuditFilter,
        limit: usize,
        before: Option<i64>,
    ) -> Pending<'_, (Vec<AuditEntry>, Option<i64>)> {
        done(self.read(|data| data.audit.entries(&filter, limit, before)))
    }

    fn answer(&self, note: AuditNote) -> Pending<'_, Option<String>> {
        let now_ms = self.clock.now_ms();
        done(self.read(|data| data.audit.known_answer(&note, now_ms)).and_then(|found| found))
    }

    fn keep_answer(&self, note: AuditNote, answer: String) -> Pending<'_, ()> {
        done(self.write(|data| {
            data.audit.keep_answer(note, answer, data.wall_ms);
            Ok(())
        }))
    }
}

/// The audit log and kept answers.
#[derive(Debug, Default)]
pub(super) struct AuditRows {
    entries: Vec<AuditEntry>,
    last_id: i64,
    /// By actor and key.
    answers: HashMap<(Arc<str>, String), KeptAnswer>,
}

/// An answer that is kept.
#[derive(Debug, Clone)]
struct KeptAnswer {
    at_ms: i64,
    request: String,
    answer: String,
}

impl AuditRows {
    pub(super) fn make_entry(&mut self, note: &AuditNote, result: &str, at_ms: i64) {
        self.last_id += 1;
        self.entries.push(AuditEntry {
            id: self.last_id,
            at_ms,
            actor: note.actor.name.to_string(),
            role: note.actor.role.to_owned(),
            via: note.actor.via.name().to_owned(),
            action: note.action.to_owned(),
            target: note.target.clone(),
            detail: note.detail.clone(),
            result: result.to_owned(),
        });
    }

    pub(super) fn keep_answer(&mut self, note: AuditNote, answer: String, at_ms: i64) {
        let request = note.request();
        let Some(key) = note.key else { return };
        let kept = KeptAnswer { at_ms, request, answer };
        self.answers.insert((note.actor.name, key), kept);
    }

    pub(super) fn known_answer(
        &self,
        note: &AuditNote,
        now_ms: i64,
    ) -> Result<Option<String>, StoreError> {
        let Some(key) = note.key.clone() else { return Ok(None) };
        let found = self.answers.get(&(note.actor.name.clone(), key));
        match found.filter(|kept| kept.at_ms > now_ms - KEY_KNOWN_FOR_MS) {
            None => Ok(None),
            Some(kept) if kept.request == note.request() => Ok(Some(kept.answer.clone())),
            Some(_) => Err(StoreError::Conflict(note.other_request())),
        }
    }

    pub(super) fn sweep(&mut self, before_ms: i64, now_ms: i64) {
        self.entries.retain(|entry| entry.at_ms >= before_ms);
        let since_ms = now_ms - KEY_KNOWN_FOR_MS;
        self.answers.retain(|_, kept| kept.at_ms >= since_ms);
    }

    pub(super) fn entries(
        &self,
        filter: &AuditFilter,
        limit: usize,
        before: Option<i64>,
    ) -> (Vec<AuditEntry>, Option<i64>) {
        let older = |entry: &&AuditEntry| before.is_none_or(|before| entry.id < before);
        let all: Vec<_> = self
            .entries
            .iter()
            .rev()
            .filter(older)
            .filter(|entry| filter.takes(entry))
            .cloned()
            .collect();
        let found: Vec<_> = all.iter().take(limit).cloned().collect();
        let next = if all.len() > limit { found.last().map(|entry| entry.id) } else { None };
        (found, next)
    }
}
