//! The audit log, and the answers to requests that have a key.
//!
//! A change calls [`known`] first in its transaction, and [`note_in`] when it is done: then its
//! entry is committed with it, or neither is.

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::Postgres;
use super::client::SqlClient as Client;
use super::shared::PostgresShared;
use super::work::{Work, WorkError, tried};
use crate::store::model::AuditResult;
use crate::store::{
    AuditEntry, AuditFilter, AuditLog, AuditNote, KEY_KNOWN_FOR_MS, Pending, StoreError,
};

/// The most entries that one call looks at.
const MAX_LOOKED: i64 = if cfg!(test) { 6 } else { 20_000 };

/// The most entries, and the most answers, that one sweep deletes.
const MAX_SWEPT: i64 = 500;

/// The answer that was given to this request, if its key is known; an error if that is of another
/// request. Until the transaction ends nobody else asks with this key.
pub(super) async fn known<T: AuditResult>(
    work: &Work<'_>,
    shared: &PostgresShared,
    note: Option<&AuditNote>,
) -> Result<Option<T>, WorkError> {
    let Some(note) = note.filter(|note| note.key.is_some()) else { return Ok(None) };
    let place = format!("{}\n{}", note.actor.name, note.key.as_deref().unwrap_or_default());
    work.execute("SELECT pg_advisory_xact_lock(7450009, hashtext($1))", &[&place]).await?;
    let Some(answer) = known_answer(work, shared, note).await? else { return Ok(None) };
    let unread = || StoreError::Query(format!("the answer to a request cannot be read: {answer}"));
    Ok(Some(T::read(&answer).ok_or_else(unread)?))
}

/// Makes the entry of a change that is done, and keeps its answer if the request has a key.
pub(super) async fn note_in<T: AuditResult>(
    work: &Work<'_>,
    shared: &PostgresShared,
    note: Option<&AuditNote>,
    result: &T,
) -> Result<(), WorkError> {
    match note {
        Some(note) => note_text(work, shared, note, &result.text()).await,
        None => Ok(()),
    }
}

/// The same for a result that is JSON already.
pub(super) async fn note_text(
    work: &Work<'_>,
    shared: &PostgresShared,
    note: &AuditNote,
    result: &str,
) -> Result<(), WorkError> {
    let AuditNote { actor, action, target, detail, .. } = note;
    let parameters: [&(dyn ToSql + Sync); 8] = [
        &shared.at(),
        &&*actor.name,
        &actor.role,
        &actor.via.name(),
        action,
        target,
        detail,
        &result,
    ];
    work.execute(
        "INSERT INTO hookbox.audit (at_ms, actor, role, via, action, target, detail, result)
         VALUES (hookbox.now_ms_v1($1), $2, $3, $4, $5, $6, $7, $8)",
        &parameters,
    )
    .await?;
    keep(work, shared, note, result).await
}

/// Keeps an answer, if the request has a key.
async fn keep(
    work: &Work<'_>,
    shared: &PostgresShared,
    note: &AuditNote,
    answer: &str,
) -> Result<(), WorkError> {
    let Some(key) = &note.key else { return Ok(()) };
    work.execute(
        "INSERT INTO hookbox.answers (actor, key, at_ms, request, answer)
         VALUES ($1, $2, hookbox.now_ms_v1($3), $4, $5)
         ON CONFLICT (actor, key) DO UPDATE SET at_ms = excluded.at_ms,
             request = excluded.request, answer = excluded.answer",
        &[&&*note.actor.name, key, &shared.at(), &note.request(), &answer],
    )
    .await?;
    Ok(())
}

async fn known_answer(
    client: &Client,
    shared: &PostgresShared,
    note: &AuditNote,
) -> Result<Option<String>, WorkError> {
    let Some(key) = &note.key else { return Ok(None) };
    let found = client
        .query_opt(
            "SELECT request, answer FROM hookbox.answers
             WHERE actor = $1 AND key = $2 AND at_ms > hookbox.now_ms_v1($3) - $4",
            &[&&*note.actor.name, key, &shared.at(), &KEY_KNOWN_FOR_MS],
        )
        .await?;
    match found {
        None => Ok(None),
        Some(row) if row.get::<_, String>(0) == note.request() => Ok(Some(row.get(1))),
        Some(_) => Err(StoreError::Conflict(note.other_request()).into()),
    }
}

impl AuditLog for Postgres {
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

impl Postgres {
    /// Makes an entry of a change that is none of the store's.
    pub(super) async fn note_alone(&self, note: AuditNote) -> Result<(), StoreError> {
        let note = note.of_a_part();
        let once = async || {
            let work = self.work.begin().await?;
            note_in(&work, &self.shared, Some(&note), &()).await?;
            Ok::<_, WorkError>(work.commit().await?)
        };
        tried!(once())
    }

    /// Keeps the answer to a request that was done in several transactions.
    pub(super) async fn keep_answer_alone(
        &self,
        note: AuditNote,
        answer: String,
    ) -> Result<(), StoreError> {
        let once = async || {
            let work = self.work.begin().await?;
            keep(&work, &self.shared, &note, &answer).await?;
            Ok::<_, WorkError>(work.commit().await?)
        };
        tried!(once())
    }

    /// The answer that is kept for a request.
    pub(super) async fn kept_answer(&self, note: AuditNote) -> Result<Option<String>, StoreError> {
        self.shared.answers()?;
        let client = self.reads.client().await?;
        Ok(known_answer(&client, &self.shared, &note).await?)
    }

    /// Entries that match, the newest first, and where to go on.
    pub(super) async fn audit_entries(
        &self,
        filter: AuditFilter,
        limit: usize,
        before: Option<i64>,
    ) -> Result<(Vec<AuditEntry>, Option<i64>), StoreError> {
        self.shared.answers()?;
        let sql = "SELECT id, at_ms, actor, role, via, action, target, detail, result
                   FROM hookbox.audit WHERE id < $1 ORDER BY id DESC LIMIT $2";
        let most = usize::try_from(MAX_LOOKED).unwrap_or(usize::MAX);
        let (mut found, mut before, mut looked) = (Vec::new(), before.unwrap_or(i64::MAX), 0);
        let mut last = None;
        loop {
            // In portions, so that a page of what is newest reads no more than that.
            let portion = (most - looked + 1).min(limit.saturating_mul(2).clamp(100, 1_000));
            let asked = i64::try_from(portion).unwrap_or(i64::MAX);
            let rows = self.reads.client().await?.query(sql, &[&before, &asked]).await;
            let rows = rows.map_err(WorkError::from)?;
            for row in &rows {
                if found.len() == limit || looked == most {
                    return Ok((found, last));
                }
                looked += 1;
                let entry = entry(row);
                (last, before) = (Some(entry.id), entry.id);
                if filter.takes(&entry) {
                    found.push(entry);
                }
            }
            if rows.len() < portion {
                return Ok((found, None));
            }
        }
    }
}

/// Deletes some of the entries from before a time, and answers that are known no more; says whether
/// there may be more.
pub(super) async fn sweep(work: &Work<'_>, now_ms: i64, before_ms: i64) -> Result<bool, WorkError> {
    let answers = work
        .execute(
            "DELETE FROM hookbox.answers WHERE (actor, key) IN (
                 SELECT a.actor, a.key FROM hookbox.answers a WHERE a.at_ms < $1
                 ORDER BY a.at_ms LIMIT $2)",
            &[&now_ms.saturating_sub(KEY_KNOWN_FOR_MS), &MAX_SWEPT],
        )
        .await?;
    let most = MAX_SWEPT.unsigned_abs();
    let up_to: Option<i64> = work
        .query_one(
            "SELECT max(id) FROM (
                 SELECT a.id, a.at_ms FROM hookbox.audit a ORDER BY a.id LIMIT $2) o
             WHERE at_ms < $1",
            &[&before_ms, &MAX_SWEPT],
        )
        .await?
        .get(0);
    let Some(up_to) = up_to else { return Ok(answers == most) };
    work.execute("UPDATE hookbox.audit_swept SET before_ms = $1", &[&before_ms]).await?;
    let entries = work
        .execute("DELETE FROM hookbox.audit WHERE id <= $1 AND at_ms < $2", &[&up_to, &before_ms])
        .await?;
    Ok(answers == most || entries == most)
}

fn entry(row: &Row) -> AuditEntry {
    AuditEntry {
        id: row.get(0),
        at_ms: row.get(1),
        actor: row.get(2),
        role: row.get(3),
        via: row.get(4),
        action: row.get(5),
        target: row.get(6),
        detail: row.get(7),
        result: row.get(8),
    }
}
