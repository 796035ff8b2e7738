//! Pauses by operators: a table that each host reads with its heartbeat.

use std::sync::Arc;

use tokio_postgres::Error;

use super::Postgres;
use super::audit::{known, note_in};
use super::client::SqlClient as Client;
use super::error::failed_query;
use super::shared::PostgresShared;
use super::work::{Work, WorkError, tried};
use crate::event::PluginName;
use crate::store::{AuditNote, Hint, Pausable, Pause, PauseChange, Pauses, StoreError};

/// Everything that is paused.
async fn read(client: &Client) -> Result<Pauses, Error> {
    let mut found = Pauses::default();
    let sql = "SELECT kind, name, at_ms, actor, reason FROM hookbox.pauses ORDER BY kind, name";
    for row in client.query(sql, &[]).await? {
        let pause = Pause { since_ms: row.get(2), by: row.get(3), reason: row.get(4) };
        let code = u8::try_from(row.get::<_, i16>(0)).ok();
        if let Some(kind) = code.and_then(Pausable::of_code) {
            found.insert(kind, row.get::<_, String>(1).into(), pause);
        }
    }
    Ok(found)
}

/// Learns what is paused now, also by other hosts.
pub(super) async fn refresh(client: &Client, shared: &PostgresShared) -> Result<(), Error> {
    // A task that has its turn later has read later.
    let _turn = shared.pauses_turn.lock().await;
    let found = read(client).await?;
    let before = Arc::clone(&shared.pauses.borrow());
    if *before == found {
        return Ok(());
    }
    let is_changed =
        |name: &Arc<str>| before.of(Pausable::Plugin, name) != found.of(Pausable::Plugin, name);
    let names = before.all(Pausable::Plugin).chain(found.all(Pausable::Plugin));
    let changed = names.map(|(name, _)| name).filter(|name| is_changed(name));
    let plugins = changed.map(|name| PluginName::from(&**name)).collect();
    shared.pauses.send_replace(Arc::new(found.clone()));
    shared.changes.committed(|| Hint { plugins, ..Hint::default() });
    Ok(())
}

/// Makes the change; returns how many things it has changed.
async fn apply(work: &Work<'_>, change: &PauseChange, at: Option<i64>) -> Result<u64, WorkError> {
    let changed = match change {
        PauseChange::Pause { kind, name, by, reason } => {
            let sql = "INSERT INTO hookbox.pauses (kind, name, at_ms, actor, reason)
                VALUES ($1, $2, hookbox.now_ms_v1($3), $4, $5)
                ON CONFLICT (kind, name) DO UPDATE
                SET actor = excluded.actor, reason = excluded.reason";
            let (kind, name) = (i16::from(kind.code()), &**name);
            work.execute(sql, &[&kind, &name, &at, by, reason]).await?
        }
        PauseChange::Resume { kind, name } => {
            let sql = "DELETE FROM hookbox.pauses WHERE kind = $1 AND name = $2";
            work.execute(sql, &[&i16::from(kind.code()), &&**name]).await?
        }
    };
    Ok(changed)
}

impl Postgres {
    /// Pauses a thing or lets it go on. All of this host knows it before it is answered.
    pub(super) async fn change_pause(
        &self,
        note: Option<AuditNote>,
        change: PauseChange,
    ) -> Result<bool, StoreError> {
        let (note, shared) = (note.as_ref(), &self.shared);
        let once = async || {
            let work = self.work.begin().await?;
            if let Some(changed) = known::<u64>(&work, shared, note).await? {
                return Ok::<_, WorkError>(changed);
            }
            let changed = apply(&work, &change, shared.at()).await?;
            if changed > 0 {
                note_in(&work, shared, note, &changed).await?;
            }
            work.commit().await?;
            Ok(changed)
        };
        let changed = tried!(once())?;
        let client = self.reads.client().await?;
        let known = refresh(&client, shared).await;
        known.map_err(|error| failed_query(&error))?;
        Ok(changed > 0)
    }
}
