//! Deletes what events hold because somebody asked for it, or because it is old. Counts and trees
//! stay.

use self::listed::ListedErasure;
use super::Postgres;
use super::audit::note_text;
use super::change::{change_those, lock};
use super::changed_keys::lock_changed;
use super::moves::WorkMoves;
use super::search::SUBJECT_IS;
use super::shared::PostgresShared;
use super::stripes::{LOCK, Stripes};
use super::work::{Work, WorkError, tried};
use crate::event::{EventId, State};
use crate::store::model::without_paths;
use crate::store::{Action, AuditNote, Erased, Erasure, StoreError};

mod listed;

/// The most events of a subject that one call erases.
const MAX_EVENTS: usize = if cfg!(test) { 3 } else { 50 };

impl Postgres {
    /// Erases some of what is meant, and with `keys` the values that its deliveries wrote last.
    pub(super) async fn erase_some(
        &self,
        note: Option<AuditNote>,
        erasure: Erasure,
        keys: bool,
    ) -> Result<Erased, StoreError> {
        self.shared.answers()?;
        let note = note.map(|note| note.of_a_part());
        let erased = tried!(self.erase_once(note.as_ref(), &erasure, keys));
        self.work.rolled_back().await;
        erased
    }

    async fn erase_once(
        &self,
        note: Option<&AuditNote>,
        erasure: &Erasure,
        keys: bool,
    ) -> Result<Erased, WorkError> {
        let work = self.work.begin().await?;
        let mut events = meant(&work, erasure).await?;
        let more = events.len() > MAX_EVENTS;
        events.truncate(MAX_EVENTS);
        let mut moves = WorkMoves::default();
        let erased = erase_all(&work, &self.shared, &events, keys, &mut moves).await?;
        if !erased.is_some() {
            return Ok(erased);
        }
        moves.count(&work).await?;
        if let Some(note) = note {
            let result = serde_json::to_string(&erased).unwrap_or_default();
            note_text(&work, &self.shared, note, &result).await?;
        }
        work.commit().await?;
        moves.tell(&self.shared);
        Ok(Erased { more: more || erased.more, ..erased })
    }
}

/// The events that are meant, one more than a call erases.
async fn meant(work: &Work<'_>, erasure: &Erasure) -> Result<Vec<EventId>, WorkError> {
    match erasure {
        Erasure::Event(id) => {
            let sql = "SELECT FROM hookbox.events WHERE id = $1";
            match work.query_opt(sql, &[&id.row()]).await? {
                Some(_) => Ok(vec![*id]),
                None => Err(StoreError::NotFound("such event".to_owned()).into()),
            }
        }
        Erasure::Subject(subject) => {
            let is = SUBJECT_IS.replace('?', "$1");
            let sql =
                format!("SELECT e.id FROM hookbox.events e WHERE {is} ORDER BY e.id LIMIT $2");
            let most = i64::try_from(MAX_EVENTS + 1).unwrap_or(i64::MAX);
            let rows = work.query(&sql, &[subject, &most]).await?;
            Ok(rows.iter().map(|row| EventId::from_row(row.get(0))).collect())
        }
    }
}

/// Erases events. Some are left to the next call: those with very many copies, and those that have
/// got a delivery or a copy since they were listed, by a replay, an edit or the like. A retry adds
/// none.
async fn erase_all(
    work: &Work<'_>,
    shared: &PostgresShared,
    events: &[EventId],
    keys: bool,
    moves: &mut WorkMoves,
) -> Result<Erased, WorkError> {
    let mut erased = Erased::default();
    let listed = ListedErasure::of(work, events).await?;
    let rows = listed.rows();
    // Keys come first, then values, deliveries and events, as in the batches of the writer. All of
    // a kind are locked at once.
    lock_changed(work, shared, (&rows.events, &rows.ordinals)).await?;
    if keys {
        erased.keys = remove_keys(work, &listed.events(), moves).await?;
    }
    let stands = lock(work, &rows).await?;
    let ending = listed.ending(work).await?;
    for action in [Action::Cancel, Action::Discard] {
        let (_, changed) =
            change_those(work, shared, &action, action.takes(), &ending, moves).await?;
        erased.ended += changed.len() as u64;
    }
    let leased = stands.iter().filter(|stands| stands.state == State::Leased);
    let mut waits = listed.events_of(&leased.map(|stands| stands.id).collect());
    erased.running = listed.count(&waits);
    let at_rest = listed.at_rest(&waits);
    lock_events(work, &at_rest).await?;
    let late = listed.late(work, &at_rest).await?;
    let is_late = !late.is_empty();
    waits.extend(late);
    erased.events = empty(work, shared, &listed.at_rest(&waits), true).await?;
    moves.events |= erased.events > 0;
    erased.more = is_late || erased.is_some() && !listed.is_whole();
    Ok(erased)
}

/// Locks events in the order in which replays of many lock them: after deliveries, as a settlement
/// that makes a dead letter does.
async fn lock_events(work: &Work<'_>, events: &[EventId]) -> Result<(), WorkError> {
    let ids: Vec<i64> = events.iter().map(|event| event.row()).collect();
    let sql = "SELECT FROM hookbox.events e WHERE e.id = ANY ($1) ORDER BY e.id FOR UPDATE";
    work.execute(sql, &[&ids]).await?;
    Ok(())
}

/// Deletes the values that deliveries of these events wrote last; returns how many.
async fn remove_keys(
    work: &Work<'_>,
    events: &[i64],
    moves: &mut WorkMoves,
) -> Result<u64, WorkError> {
    let sql = "SELECT v.bucket, v.key FROM hookbox.kv v WHERE v.event = ANY ($1)";
    let rows = work.query(sql, &[&events]).await?;
    let mut stripes = Stripes::default();
    for row in &rows {
        let key: &[u8] = row.get(1);
        stripes.add_value(row.get(0), &String::from_utf8_lossy(key));
    }
    if stripes.is_empty() {
        return Ok(0);
    }
    stripes.take(work, &work.prepare(LOCK).await?).await?;
    let mut removed = 0;
    for row in &rows {
        let (bucket, key): (String, &[u8]) = (row.get(0), row.get(1));
        // Only if nobody has written it meanwhile.
        let sql = "SELECT hookbox.count_values_v1(v.bucket, (hookbox.put_value_v1(v.bucket, v.key,
                       NULL, NULL, NULL, NULL, NULL)).change)
                   FROM hookbox.kv v WHERE v.bucket = $1 AND v.key = $2 AND v.event = ANY ($3)";
        removed += work.execute(sql, &[&bucket, &key, &events]).await?;
        moves.touch(&bucket.into());
    }
    Ok(removed)
}

/// Empties events with what their deliveries left; returns how many were there and held anything.
pub(super) async fn empty(
    work: &Work<'_>,
    shared: &PostgresShared,
    events: &[EventId],
    asked: bool,
) -> Result<u64, WorkError> {
    let ids: Vec<i64> = events.iter().map(|event| event.row()).collect();
    let note = if asked { "erased" } else { "past `store.payload_retention`" };
    let rows = work
        .query(
            "UPDATE hookbox.events e SET body = '', headers = NULL, note = $2,
                 subject = CASE WHEN $3 THEN NULL ELSE e.subject END,
                 trace = CASE WHEN $3 THEN NULL ELSE e.trace END
             WHERE e.id = ANY ($1) AND NOT EXISTS (SELECT FROM hookbox.erased r
                 WHERE r.event = e.id AND (r.asked OR NOT $3))
             RETURNING e.id",
            &[&ids, &note, &asked],
        )
        .await?;
    let emptied: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    if emptied.is_empty() {
        return Ok(0);
    }
    strip_attempts(work, &emptied).await?;
    work.execute("DELETE FROM hookbox.steps p WHERE p.event = ANY ($1)", &[&emptied]).await?;
    if asked {
        let sql = "UPDATE hookbox.gathered m SET member = NULL
                   WHERE m.event = ANY ($1) AND m.member IS NOT NULL";
        work.execute(sql, &[&emptied]).await?;
        for table in ["open", "settled"] {
            let sql = format!(
                "UPDATE hookbox.{table} d SET key = NULL
                 WHERE d.event = ANY ($1) AND d.key IS NOT NULL"
            );
            work.execute(&sql, &[&emptied]).await?;
        }
    }
    work.execute(
        "INSERT INTO hookbox.erased (event, at_ms, asked)
         SELECT e, hookbox.now_ms_v1($2), $3 FROM unnest($1::bigint[]) e
         ON CONFLICT (event) DO UPDATE SET at_ms = excluded.at_ms, asked = excluded.asked",
        &[&emptied, &shared.at(), &asked],
    )
    .await?;
    Ok(emptied.len() as u64)
}

/// Leaves of attempts what can be counted: times, outcomes, files, and hosts that were asked.
async fn strip_attempts(work: &Work<'_>, events: &[i64]) -> Result<(), WorkError> {
    for (table, number) in [("attempts", "number"), ("settled", "attempt")] {
        let sql = format!(
            "SELECT a.event, a.ordinal, a.{number}, a.calls FROM hookbox.{table} a
             WHERE a.event = ANY ($1) AND a.calls IS NOT NULL"
        );
        let rows = work.query(&sql, &[&events]).await?;
        let sql = format!(
            "UPDATE hookbox.{table} a SET error = NULL, logs = NULL, steps = NULL, calls = NULL
             WHERE a.event = ANY ($1) AND (a.error IS NOT NULL OR a.logs IS NOT NULL
                 OR a.steps IS NOT NULL OR a.calls IS NOT NULL)"
        );
        work.execute(&sql, &[&events]).await?;
        let (mut ids, mut ordinals, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
        let mut left = Vec::new();
        for row in &rows {
            ids.push(row.get::<_, i64>(0));
            ordinals.push(row.get::<_, i32>(1));
            numbers.push(row.get::<_, i32>(2));
            left.push(without_paths(row.get(3)));
        }
        let sql = format!(
            "UPDATE hookbox.{table} a SET calls = u.calls
             FROM unnest($1::bigint[], $2::integer[], $3::integer[], $4::text[])
                 AS u (event, ordinal, number, calls)
             WHERE a.event = u.event AND a.ordinal = u.ordinal AND a.{number} = u.number"
        );
        if !ids.is_empty() {
            work.execute(&sql, &[&ids, &ordinals, &numbers, &left]).await?;
        }
    }
    Ok(())
}
