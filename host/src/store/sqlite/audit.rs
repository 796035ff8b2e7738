//! The audit log, and the answers to requests that have a key.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::Sqlite;
use super::batch::WriteBatch;
use super::command::{CommandAnswer, WriteCommand};
use crate::store::{
    AuditEntry, AuditFilter, AuditLog, AuditNote, KEY_KNOWN_FOR_MS, Pending, StoreError,
};

/// Since version 8. Entries are not changed, and deleted only by the sweep, which says first up to
/// when. `answers` are known by the actor and the key of a request.
pub(super) const SCHEMA: &str = "
    CREATE TABLE audit (
        id     INTEGER PRIMARY KEY AUTOINCREMENT,
        at_ms  INTEGER NOT NULL,
        actor  TEXT NOT NULL,
        role   TEXT NOT NULL,
        via    TEXT NOT NULL,
        action TEXT NOT NULL,
        target TEXT NOT NULL,
        detail TEXT NOT NULL,
        result TEXT NOT NULL
    ) STRICT;
    CREATE TABLE audit_swept (before_ms INTEGER NOT NULL) STRICT;
    INSERT INTO audit_swept VALUES (0);
    CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
    BEGIN SELECT raise(ABORT, 'entries of the audit log are not changed'); END;
    CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
    WHEN OLD.at_ms >= (SELECT before_ms FROM audit_swept)
    BEGIN SELECT raise(ABORT, 'entries of the audit log are not deleted before their time'); END;
    CREATE TABLE answers (
        actor   TEXT NOT NULL,
        key     TEXT NOT NULL,
        at_ms   INTEGER NOT NULL,
        request TEXT NOT NULL,
        answer  TEXT NOT NULL,
        PRIMARY KEY (actor, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX answers_at ON answers (at_ms);
";

/// The most entries that one call looks at.
const MAX_LOOKED: usize = if cfg!(test) { 6 } else { 20_000 };

/// The most entries, and the most answers, that one sweep deletes.
const MAX_SWEPT: usize = 500;

impl AuditLog for Sqlite {
    fn note(&self, note: AuditNote) -> Pending<'_, ()> {
        self.ask(|reply| WriteCommand::Note { note: Box::new(note), reply })
    }

    fn audit(
        &self,
        filter: AuditFilter,
        limit: usize,
        before: Option<i64>,
    ) -> Pending<'_, (Vec<AuditEntry>, Option<i64>)> {
        let read = move |connection: &_| read(connection, &filter, limit, before);
        Box::pin(self.listings.ask(read))
    }

    fn answer(&self, note: AuditNote) -> Pending<'_, Option<String>> {
        let now_ms = self.clock.now_ms();
        let answer = self.readers.ask(move |connection: &_| answer(connection, &note, now_ms));
        Box::pin(async move { answer.await? })
    }

    fn keep_answer(&self, note: AuditNote, answer: String) -> Pending<'_, ()> {
        self.ask(|reply| WriteCommand::KeepAnswer { note: Box::new(note), answer, reply })
    }
}

impl WriteBatch<'_> {
    /// Does what `note` is of, and makes its entry. Nothing is done for a key that is known.
    pub(super) fn noted(
        &mut self,
        note: &AuditNote,
        command: &mut WriteCommand,
    ) -> Result<CommandAnswer, rusqlite::Error> {
        let since_ms = self.wall_ms - KEY_KNOWN_FOR_MS;
        match known_answer(self.connection, note, since_ms)? {
            Some(Ok(answer)) => {
                return command
                    .kept_answer(&answer)
                    .ok_or_else(|| rusqlite::Error::InvalidParameterName(answer));
            }
            Some(Err(conflict)) => return Ok(CommandAnswer::Refused(conflict)),
            None => {}
        }
        let answer = command.run(self)?;
        if let Some(result) = answer.result() {
            self.make_entry(note, &result)?;
            self.keep_answer(note, &result)?;
        }
        Ok(answer)
    }

    /// Makes an entry.
    pub(super) fn make_entry(&self, note: &AuditNote, result: &str) -> Result<(), rusqlite::Error> {
        let AuditNote { actor, action, target, detail, .. } = note;
        self.connection
            .prepare_cached(
                "INSERT INTO audit (at_ms, actor, role, via, action, target, detail, result)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                self.wall_ms,
                actor.name,
                actor.role,
                actor.via.name(),
                action,
                target,
                detail,
                result
            ])
            .map(drop)
    }

    /// Keeps an answer, if the request has a key.
    pub(super) fn keep_answer(
        &self,
        note: &AuditNote,
        answer: &str,
    ) -> Result<(), rusqlite::Error> {
        let Some(key) = &note.key else { return Ok(()) };
        let row = params![note.actor.name, key, self.wall_ms, note.request(), answer];
        self.connection
            .prepare_cached(
                "INSERT OR REPLACE INTO answers (actor, key, at_ms, request, answer)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(row)
            .map(drop)
    }

    /// Deletes some of the entries from before a time, and answers that are known no more; says
    /// whether there may be more.
    pub(super) fn sweep_audit(&self, before_ms: i64) -> Result<bool, rusqlite::Error> {
        let answers = self
            .connection
            .prepare_cached(
                "DELETE FROM answers WHERE (actor, key) IN
                 (SELECT actor, key FROM answers WHERE at_ms < ?1 ORDER BY at_ms LIMIT ?2)",
            )?
            .execute(params![self.wall_ms - KEY_KNOWN_FOR_MS, MAX_SWEPT])?;
        let up_to: Option<i64> = self
            .connection
            .prepare_cached(
                "SELECT max(id) FROM (SELECT id, at_ms FROM audit WHERE id > 0 ORDER BY id LIMIT ?2)
                 WHERE at_ms < ?1",
            )?
            .query_row(params![before_ms, MAX_SWEPT], |row| row.get(0))?;
        let Some(up_to) = up_to else { return Ok(answers == MAX_SWEPT) };
        self.connection
            .prepare_cached("UPDATE audit_swept SET before_ms = ?1")?
            .execute([before_ms])?;
        let entries = self
            .connection
            .prepare_cached("DELETE FROM audit WHERE id <= ?1 AND at_ms < ?2")?
            .execute([up_to, before_ms])?;
        Ok(answers == MAX_SWEPT || entries == MAX_SWEPT)
    }
}

/// The answer that is kept for a request with a key; an error if the key is of another request.
fn known_answer(
    connection: &Connection,
    note: &AuditNote,
    since_ms: i64,
) -> Result<Option<Result<String, StoreError>>, rusqlite::Error> {
    let Some(key) = &note.key else { return Ok(None) };
    let sql = "SELECT request, answer FROM answers WHERE actor = ?1 AND key = ?2 AND at_ms > ?3";
    let found: Option<(String, String)> = connection
        .prepare_cached(sql)?
        .query_row(params![note.actor.name, key, since_ms], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(found.map(|(request, answer)| {
        if request == note.request() {
            Ok(answer)
        } else {
            Err(StoreError::Conflict(note.other_request()))
        }
    }))
}

/// The answer that is kept for a request.
pub(super) fn answer(
    connection: &Connection,
    note: &AuditNote,
    now_ms: i64,
) -> Result<Result<Option<String>, StoreError>, rusqlite::Error> {
    let found = known_answer(connection, note, now_ms - KEY_KNOWN_FOR_MS)?;
    Ok(found.transpose())
}

/// Entries that match, the newest first, and where to go on.
pub(super) fn read(
    connection: &Connection,
    filter: &AuditFilter,
    limit: usize,
    before: Option<i64>,
) -> Result<(Vec<AuditEntry>, Option<i64>), rusqlite::Error> {
    let sql = "SELECT id, at_ms, actor, role, via, action, target, detail, result FROM audit
               WHERE id < ?1 ORDER BY id DESC LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = params![before.unwrap_or(i64::MAX), MAX_LOOKED + 1];
    let (mut found, mut last) = (Vec::new(), None);
    for (looked, entry) in statement.query_map(rows, entry)?.enumerate() {
        if found.len() == limit || looked == MAX_LOOKED {
            return Ok((found, last));
        }
        let entry = entry?;
        last = Some(entry.id);
        if filter.takes(&entry) {
            found.push(entry);
        }
    }
    Ok((found, None))
}

fn entry(row: &Row<'_>) -> Result<AuditEntry, rusqlite::Error> {
    Ok(AuditEntry {
        id: row.get(0)?,
        at_ms: row.get(1)?,
        actor: row.get(2)?,
        role: row.get(3)?,
        via: row.get(4)?,
        action: row.get(5)?,
        target: row.get(6)?,
        detail: row.get(7)?,
        result: row.get(8)?,
    })
}
