//! Deletes what events hold because somebody asked for it, or because it is old. Counts and trees
//! stay.

use std::collections::BTreeSet;

use super::Postgres;
use super::audit::note_text;
use super::change::{DeliveryRows, change_those, delivery_id, lock};
use super::changed_keys::lock_changed;
use super::moves::WorkMoves;
use super::search::SUBJECT_IS;
use super::shared::PostgresShared;
use super::stripes::{LOCK, Stripes};
use super::work::{Work, WorkError, tried};
use crate::event::{DEAD, DeliveryId, EventId, State};
use crate::store::model::without_paths;
use crate::store::{Action, AuditNote, Erased, Erasure, StoreError};

/// The most events of a subject that one call erases.
const MAX_EVENTS: usize = if cfg!(test) { 3 } else { 50 };

/// The most copies of an event that are erased with it.
const MAX_COPIES: usize = 1_000;

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
        if erased == Erased::default() {
            return Ok(erased);
        }
        moves.count(&work).await?;
        if let Some(note) = note
            && erased.is_some()
        {
            let result = serde_json::to_string(&erased).unwrap_or_default();
            note_text(&work, &self.shared, note, &result).await?;
        }
        work.commit().await?;
        moves.tell(&self.shared);
        Ok(Erased { more: more && erased.is_some(), ..erased })
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

/// An event, the dead letters that tell of it, and what joins, batches and operators made of it.
async fn with_copies(work: &Work<'_>, event: EventId) -> Result<Vec<EventId>, WorkError> {
    let most = i64::try_from(MAX_COPIES).unwrap_or(i64::MAX);
    let mut all = vec![event];
    let mut at = 0;
    while let Some(next) = all.get(at).copied() {
        at += 1;
        let rows = work
            .query(
                "SELECT e.id FROM hookbox.events e WHERE e.parent = $1 AND e.type = $2
                 UNION ALL
                 SELECT e.id FROM hookbox.gathered m
                 JOIN hookbox.gatherings g ON g.event = m.gathering AND g.ordinal = m.ordinal
                 JOIN hookbox.gathered n ON n.gathering = g.event AND n.ordinal = g.ordinal
                 JOIN hookbox.events e ON e.parent = n.event AND e.source = g.plugin
                 WHERE m.event = $1
                 UNION ALL
                 SELECT e.id FROM hookbox.events e WHERE e.edited_from = $1
                 LIMIT $3",
                &[&next.row(), &DEAD, &most],
            )
            .await?;
        for copy in rows.iter().map(|row| EventId::from_row(row.get(0))) {
            if !all.contains(&copy) && all.len() < MAX_COPIES {
                all.push(copy);
            }
        }
    }
    Ok(all)
}

async fn erase_all(
    work: &Work<'_>,
    shared: &PostgresShared,
    events: &[EventId],
    keys: bool,
    moves: &mut WorkMoves,
) -> Result<Erased, WorkError> {
    let mut erased = Erased::default();
    let (mut all, mut meant) = (Vec::with_capacity(events.len()), BTreeSet::new());
    for event in events {
        let copies = with_copies(work, *event).await?;
        meant.extend(copies.iter().map(|copy| copy.row()));
        all.push((*event, copies));
    }
    let meant: Vec<i64> = meant.into_iter().collect();
    lock_keys(work, shared, &meant).await?;
    if keys {
        // Values come before deliveries, as in the batches of the writer.
        erased.keys = remove_keys(work, &meant, moves).await?;
    }
    let mut emptied = BTreeSet::new();
    for (first, copies) in all {
        let (mut running, mut at_rest) = (0, Vec::with_capacity(copies.len()));
        for copy in copies {
            let (ended, is_running) = end_all(work, shared, (copy, &meant), moves).await?;
            erased.ended += ended;
            if is_running {
                running += 1;
            } else {
                at_rest.push(copy);
            }
        }
        // By its subject a later call finds the event, and so what still runs.
        at_rest.retain(|event| running == 0 || *event != first);
        emptied.extend(at_rest);
        erased.running += running;
    }
    let emptied: Vec<EventId> = emptied.into_iter().collect();
    lock_events(work, &emptied).await?;
    erased.events = empty(work, shared, &emptied, true).await?;
    moves.events |= erased.events > 0;
    Ok(erased)
}

/// Locks the keys of all that is ended of these events: at once and before anything else, as in the
/// batches of the writer.
async fn lock_keys(
    work: &Work<'_>,
    shared: &PostgresShared,
    events: &[i64],
) -> Result<(), WorkError> {
    let sql = "SELECT o.event, o.ordinal FROM hookbox.open o
               WHERE o.event = ANY ($1) AND o.key IS NOT NULL
               UNION ALL
               SELECT s.event, s.ordinal FROM hookbox.settled s
               WHERE s.event = ANY ($1) AND s.state = 4 AND s.key IS NOT NULL";
    let ids: Vec<DeliveryId> = work.query(sql, &[&events]).await?.iter().map(delivery_id).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let rows = DeliveryRows::of(&ids);
    lock_changed(work, shared, (&rows.events, &rows.ordinals)).await
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

/// Ends what is open of an event, and puts its dead letters away; says how many, and whether an
/// attempt runs that has its data. A join or a batch ends only with the last of its members.
async fn end_all(
    work: &Work<'_>,
    shared: &PostgresShared,
    (event, meant): (EventId, &[i64]),
    moves: &mut WorkMoves,
) -> Result<(u64, bool), WorkError> {
    // With each delivery, whether it gathers an event that is neither erased nor meant to be.
    let rows = work
        .query(
            "SELECT d.event, d.ordinal, EXISTS (
                 SELECT FROM hookbox.gathered m
                 WHERE m.gathering = d.event AND m.ordinal = d.ordinal
                     AND NOT m.event = ANY ($2) AND NOT EXISTS (SELECT FROM hookbox.erased r
                         WHERE r.event = m.event AND r.asked))
             FROM (
                 SELECT o.event, o.ordinal FROM hookbox.open o WHERE o.event = $1
                 UNION
                 SELECT s.event, s.ordinal FROM hookbox.settled s
                 WHERE s.event = $1 AND s.state = 4
                 UNION
                 SELECT m.gathering, m.ordinal FROM hookbox.gathered m WHERE m.event = $1) d",
            &[&event.row(), &meant],
        )
        .await?;
    let ids: Vec<DeliveryId> = rows.iter().map(delivery_id).collect();
    if ids.is_empty() {
        return Ok((0, false));
    }
    let own = rows.iter().filter(|row| !row.get::<_, bool>(2));
    let own: Vec<DeliveryId> = own.map(delivery_id).collect();
    let mut ended = 0;
    for action in [Action::Cancel, Action::Discard] {
        let (_, changed) = change_those(work, shared, &action, action.takes(), &own, moves).await?;
        ended += changed.len() as u64;
    }
    let stands = lock(work, &DeliveryRows::of(&ids)).await?;
    Ok((ended, stands.iter().any(|stands| stands.state == State::Leased)))
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
