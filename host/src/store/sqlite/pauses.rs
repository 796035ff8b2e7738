//! Pauses by operators, in their table.

use rusqlite::{Connection, params};

use super::batch::WriteBatch;
use crate::store::{Pausable, Pause, PauseChange, Pauses};

/// Since version 8: what is paused. `kind`: 0 a plugin, 1 a schedule.
pub(super) const SCHEMA: &str = "
    CREATE TABLE pauses (
        kind   INTEGER NOT NULL,
        name   TEXT NOT NULL,
        at_ms  INTEGER NOT NULL,
        actor  TEXT NOT NULL,
        reason TEXT NOT NULL,
        PRIMARY KEY (kind, name)
    ) STRICT, WITHOUT ROWID;
";

impl WriteBatch<'_> {
    /// Pauses a thing or lets it go on; returns how many were changed.
    pub(super) fn pause(&mut self, change: &PauseChange) -> Result<u64, rusqlite::Error> {
        let (changed, kind, name) = match change {
            PauseChange::Pause { kind, name, by, reason } => {
                let sql = "INSERT INTO pauses (kind, name, at_ms, actor, reason)
                           VALUES (?1, ?2, ?3, ?4, ?5)
                           ON CONFLICT (kind, name) DO UPDATE
                           SET actor = excluded.actor, reason = excluded.reason";
                let row = params![kind.code(), name, self.wall_ms, by, reason];
                (self.connection.prepare_cached(sql)?.execute(row)?, *kind, name)
            }
            PauseChange::Resume { kind, name } => {
                let sql = "DELETE FROM pauses WHERE kind = ?1 AND name = ?2";
                let row = params![kind.code(), name];
                (self.connection.prepare_cached(sql)?.execute(row)?, *kind, name)
            }
        };
        if changed > 0 {
            self.pauses_changed = true;
            if kind == Pausable::Plugin {
                self.delta.touch(name);
            }
        }
        Ok(changed as u64)
    }
}

/// Everything that is paused.
pub(super) fn read(connection: &Connection) -> Result<Pauses, rusqlite::Error> {
    let sql = "SELECT kind, name, at_ms, actor, reason FROM pauses ORDER BY kind, name";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut found = Pauses::default();
    while let Some(row) = rows.next()? {
        let pause = Pause { since_ms: row.get(2)?, by: row.get(3)?, reason: row.get(4)? };
        if let Some(kind) = Pausable::of_code(row.get(0)?) {
            found.insert(kind, row.get::<_, String>(1)?.into(), pause);
        }
    }
    Ok(found)
}
