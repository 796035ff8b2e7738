//! Retention: deletes what is settled and old, a bounded number at a time. One host at a time does
//! it.

use std::time::Duration;

use super::change::{DeliveryRows, delivery_id};
use super::changed_keys::{forget_keys, lock_held};
use super::created::CreatedDeliveries;
use super::moves::WorkMoves;
use super::shared::PostgresShared;
use super::work::{Work, WorkError, tried};
use super::{Postgres, audit, erase, operations};
use crate::event::{DeliveryId, EventId, State};
use crate::store::{Keep, StoreError};

/// The most events that one sweep visits.
const MAX_SWEPT: i64 = 500;

/// The most body bytes that one sweep deletes, and those of one event more.
const MAX_SWEPT_BYTES: i64 = 4 << 20;

/// The most values of plugins that one sweep deletes.
const MAX_VALUES: i32 = 500;

/// The most keys that one sweep lets go on waiting no more.
const MAX_HELD: i32 = 500;

/// The most groups of failures that one sweep deletes.
const MAX_GROUPS: i32 = 500;

/// An attempt that is said to have begun so long after now says nothing: a host's clock was wrong.
const AHEAD_MS: i64 = 24 * 60 * 60 * 1000;

/// The times before which things are deleted, by the database's clock, Unix ms.
#[derive(Debug, Clone, Copy)]
struct Expiry {
    now_ms: i64,
    events_ms: i64,
    payloads_ms: i64,
    keys_ms: i64,
    audit_ms: i64,
}

impl Expiry {
    fn new(now_ms: i64, keep: &Keep) -> Self {
        let before = |time: Duration| {
            now_ms.saturating_sub(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
        };
        Self {
            now_ms,
            events_ms: before(keep.events),
            payloads_ms: before(keep.payloads),
            keys_ms: before(keep.dedupe_keys),
            audit_ms: before(keep.audit),
        }
    }

    /// Events before this one may be deleted.
    fn events_until(&self) -> EventId {
        EventId::first_at(self.events_ms.min(self.keys_ms))
    }
}

impl Postgres {
    /// Deletes some of what is older than it has to be kept; says whether there may be more.
    pub(super) async fn sweep_some(&self, keep: Keep) -> Result<bool, StoreError> {
        self.shared.answers()?;
        let mut more = tried!(self.sweep_keys(&keep))?;
        more |= tried!(self.sweep_events(&keep))?;
        more |= tried!(self.sweep_days(&keep))?;
        more |= tried!(self.sweep_payloads(&keep))?;
        more |= tried!(self.sweep_rest(&keep))?;
        Ok(more)
    }

    /// Begins a part of a sweep; none if another host is at it.
    async fn begin_sweep(&self, keep: &Keep) -> Result<Option<(Work<'_>, Expiry)>, WorkError> {
        let work = self.work.begin().await?;
        let row = work
            .query_one(
                "SELECT pg_try_advisory_xact_lock(7450001, 5), hookbox.now_ms_v1($1)",
                &[&self.shared.at()],
            )
            .await?;
        Ok(row.get::<_, bool>(0).then(|| (work, Expiry::new(row.get(1), keep))))
    }

    async fn sweep_keys(&self, keep: &Keep) -> Result<bool, WorkError> {
        let Some((work, expiry)) = self.begin_sweep(keep).await? else { return Ok(false) };
        rotate(&work, expiry).await?;
        work.commit().await?;
        Ok(false)
    }

    async fn sweep_events(&self, keep: &Keep) -> Result<bool, WorkError> {
        let Some((work, expiry)) = self.begin_sweep(keep).await? else { return Ok(false) };
        let mut moves = WorkMoves::default();
        let more = delete_some(&work, &self.shared, expiry, &mut moves).await?;
        moves.count(&work).await?;
        work.commit().await?;
        if moves.events {
            moves.tell(&self.shared);
        }
        Ok(more)
    }

    async fn sweep_days(&self, keep: &Keep) -> Result<bool, WorkError> {
        let Some((work, expiry)) = self.begin_sweep(keep).await? else { return Ok(false) };
        let sql = "SELECT hookbox.drop_empty_day_v1($1)";
        let dropped = work.query_one(sql, &[&expiry.events_until().row()]).await?.get(0);
        work.commit().await?;
        Ok(dropped)
    }

    async fn sweep_payloads(&self, keep: &Keep) -> Result<bool, WorkError> {
        let Some((work, expiry)) = self.begin_sweep(keep).await? else { return Ok(false) };
        let (emptied, more) = empty_some(&work, &self.shared, expiry).await?;
        work.commit().await?;
        if emptied > 0 {
            WorkMoves::of_events(CreatedDeliveries::default()).tell(&self.shared);
        }
        Ok(more)
    }

    async fn sweep_rest(&self, keep: &Keep) -> Result<bool, WorkError> {
        let Some((work, expiry)) = self.begin_sweep(keep).await? else { return Ok(false) };
        let mut more = audit::sweep(&work, expiry.now_ms, expiry.audit_ms).await?;
        more |= operations::sweep(&work, expiry.now_ms).await?;
        let sql = "SELECT hookbox.sweep_values_v1($1, $2)";
        let row = work.query_one(sql, &[&self.shared.at(), &MAX_VALUES]).await?;
        more |= row.get::<_, bool>(0);
        let sql = "SELECT hookbox.forget_held_v1($1, $2)";
        let held: i64 = work.query_one(sql, &[&self.shared.at(), &MAX_HELD]).await?.get(0);
        more |= held == i64::from(MAX_HELD);
        let sql = "SELECT hookbox.sweep_failures_v1($1, $2)";
        let groups: i32 = work.query_one(sql, &[&expiry.events_ms, &MAX_GROUPS]).await?.get(0);
        more |= groups == MAX_GROUPS;
        work.commit().await?;
        Ok(more)
    }
}

/// Gives up old dedupe keys: of three partitions the present one takes new keys, and the one before
/// is still asked. Each window the third becomes the present one, and the one that is asked no more
/// is emptied. If even the newest event is older than the window, all are emptied.
async fn rotate(work: &Work<'_>, expiry: Expiry) -> Result<(), WorkError> {
    let present = "SELECT p.slot, p.since FROM hookbox.dedupe_present p";
    let is_due = |since: i64, newest: Option<i64>| {
        let is_empty = newest.is_none_or(|id| EventId::from_row(id).unix_ms() < expiry.keys_ms);
        (since < expiry.keys_ms || is_empty, is_empty)
    };
    let newest = "SELECT greatest(max(e.id), (SELECT nullif(s.last_id, 0) FROM hookbox.swept s))
                  FROM hookbox.events e";
    let row = work.query_one(present, &[]).await?;
    let last: Option<i64> = work.query_one(newest, &[]).await?.get(0);
    if !is_due(row.get(1), last).0 {
        return Ok(());
    }
    // Nobody stores keys from here on until the end: now they are read again.
    work.execute("SELECT pg_advisory_xact_lock(7450001, 1)", &[]).await?;
    let row = work.query_one(present, &[]).await?;
    let last: Option<i64> = work.query_one(newest, &[]).await?.get(0);
    let (slot, since): (i16, i64) = (row.get(0), row.get(1));
    let (due, all) = is_due(since, last);
    if !due {
        return Ok(());
    }
    let next = (slot + 1) % 3;
    let emptied = if all { vec![0, 1, 2] } else { vec![next, (slot + 2) % 3] };
    for slot in emptied {
        // An empty one is left alone, so that nobody waits for its lock.
        let sql = format!("SELECT FROM hookbox.dedupe_{slot} LIMIT 1");
        if work.query_opt(&sql, &[]).await?.is_some() {
            work.batch_execute(&format!("TRUNCATE hookbox.dedupe_{slot}")).await?;
        }
    }
    work.execute(
        "UPDATE hookbox.dedupe_present SET slot = $1, since = $2",
        &[&next, &expiry.now_ms],
    )
    .await?;
    Ok(())
}

/// The times that decide whether an event with a dead letter is kept. The last attempt began since
/// the first one, and not after the second if the event is older than the third one's id.
fn dead_since(expiry: Expiry, before_ms: i64) -> (i64, i64, i64) {
    let kept_ms = expiry.now_ms.saturating_sub(before_ms);
    let twice = EventId::first_at(before_ms.saturating_sub(kept_ms));
    (before_ms, expiry.now_ms.saturating_add(AHEAD_MS), twice.row())
}

/// Of these events, those that are needed no more: nothing of them is open, and no dead letter
/// has to be seen, and no gathering has one as a member or keeps its key closed.
async fn not_needed(
    work: &Work<'_>,
    events: &[i64],
    (since_ms, until_ms, twice): (i64, i64, i64),
    now_ms: i64,
) -> Result<Vec<i64>, WorkError> {
    let deliveries = "SELECT FROM hookbox.settled s WHERE s.event = ANY ($1)
                      ORDER BY s.event, s.ordinal FOR UPDATE";
    let own = "SELECT FROM hookbox.events e WHERE e.id = ANY ($1) ORDER BY e.id FOR UPDATE";
    // With the events locked, no transaction is waited for that has a delivery.
    let late = "SELECT s.event, s.ordinal FROM hookbox.settled s WHERE s.event = ANY ($1)
                FOR UPDATE SKIP LOCKED";
    // Transactions that make an old event's delivery open again hold one of these. Deliveries come
    // first, as in an erasure, and then once more those that have come meanwhile. An event with one
    // that another transaction holds is left to a later sweep.
    for sql in [deliveries, own] {
        work.execute(sql, &[&events]).await?;
    }
    let locked: Vec<DeliveryId> =
        work.query(late, &[&events]).await?.iter().map(delivery_id).collect();
    let locked = DeliveryRows::of(&locked);
    let rows = work
        .query(
            "SELECT e.id FROM hookbox.events e
             WHERE e.id = ANY ($1)
               AND NOT EXISTS (SELECT FROM hookbox.open o WHERE o.event = e.id)
               AND NOT hookbox.is_gathered_v1($5, e.id)
               AND NOT EXISTS (
                   SELECT FROM hookbox.settled s WHERE s.event = e.id
                   AND s.event = ANY ($1) AND (s.event, s.ordinal) NOT IN (
                       SELECT * FROM unnest($6::bigint[], $7::integer[])))
               AND NOT EXISTS (
                   SELECT FROM hookbox.settled s WHERE s.event = e.id AND s.state = 4
                   AND EXISTS (
                       SELECT FROM (
                           SELECT s.started_ms
                           UNION ALL
                           SELECT a.started_ms FROM hookbox.attempts a
                           WHERE a.event = s.event AND a.ordinal = s.ordinal) t
                       WHERE t.started_ms >= $2 AND (t.started_ms <= $3 OR e.id >= $4)))
             ORDER BY e.id",
            &[&events, &since_ms, &until_ms, &twice, &now_ms, &locked.events, &locked.ordinals],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The next events of a walk from `after` on, before an id, as far as one sweep goes; and whether
/// that is to the end.
async fn scan(work: &Work<'_>, after: i64, until: i64) -> Result<(Vec<i64>, bool), WorkError> {
    let rows = work
        .query(
            "SELECT e.id, octet_length(e.body)::bigint FROM hookbox.events e
             WHERE e.id > $1 AND e.id < $2 ORDER BY e.id LIMIT $3",
            &[&after, &until, &MAX_SWEPT],
        )
        .await?;
    let (mut scanned, mut bytes) = (Vec::new(), 0);
    for row in &rows {
        if bytes >= MAX_SWEPT_BYTES {
            return Ok((scanned, false));
        }
        scanned.push(row.get(0));
        bytes += row.get::<_, i64>(1);
    }
    Ok((scanned, (rows.len() as i64) < MAX_SWEPT))
}

/// Deletes old events whose deliveries are all settled; says whether there may be more. A dead
/// letter is kept as long again after its last attempt, for people to see it, or until an operator
/// discards it. An event is kept at least as long as its keys have to be. A sweep goes on where the
/// last one stopped, so that it passes old open events only once in each pass.
async fn delete_some(
    work: &Work<'_>,
    shared: &PostgresShared,
    expiry: Expiry,
    moves: &mut WorkMoves,
) -> Result<bool, WorkError> {
    let until = expiry.events_until().row();
    let from: i64 = work.query_one("SELECT s.events_up_to FROM hookbox.swept s", &[]).await?.get(0);
    let (events, to_the_end) = scan(work, from, until).await?;
    if !events.is_empty() {
        lock_held(work, &events).await?;
        let old =
            not_needed(work, &events, dead_since(expiry, expiry.events_ms), expiry.now_ms).await?;
        delete(work, shared, &old, moves).await?;
    }
    let up_to = if to_the_end { 0 } else { events.last().copied().unwrap_or(0) };
    work.execute("UPDATE hookbox.swept SET events_up_to = $1 WHERE events_up_to <> $1", &[&up_to])
        .await?;
    Ok(!to_the_end)
}

/// Deletes events with all that is left of them.
async fn delete(
    work: &Work<'_>,
    shared: &PostgresShared,
    events: &[i64],
    moves: &mut WorkMoves,
) -> Result<(), WorkError> {
    let Some(last) = events.last() else { return Ok(()) };
    forget_keys(work, shared, events, moves).await?;
    let sql = "SELECT DISTINCT coalesce(e.root, e.id) FROM hookbox.events e WHERE e.id = ANY ($1)";
    let roots: Vec<i64> = work.query(sql, &[&events]).await?.iter().map(|row| row.get(0)).collect();
    let gone = work
        .query(
            "DELETE FROM hookbox.settled s WHERE s.event = ANY ($1) RETURNING s.plugin, s.state",
            &[&events],
        )
        .await?;
    for row in &gone {
        let state = u8::try_from(row.get::<_, i16>(1)).ok().and_then(State::from_code);
        moves.moved(&row.get::<_, String>(0).into(), state, None);
    }
    for table in ["attempts", "steps", "erased", "replays", "repeats"] {
        let sql = format!("DELETE FROM hookbox.{table} r WHERE r.event = ANY ($1)");
        work.execute(&sql, &[&events]).await?;
    }
    work.execute("SELECT hookbox.forget_gathered_v1($1)", &[&events]).await?;
    let deleted =
        work.execute("DELETE FROM hookbox.events e WHERE e.id = ANY ($1)", &[&events]).await?;
    let sql = "SELECT hookbox.forget_tree_v1(root) FROM unnest($1::bigint[]) AS r (root)";
    work.query(sql, &[&roots]).await?;
    work.execute("UPDATE hookbox.swept SET last_id = greatest(last_id, $1)", &[last]).await?;
    moves.deleted(i64::try_from(deleted).unwrap_or(i64::MAX));
    Ok(())
}

/// Empties old events that are needed no more; says how many, and whether there may be more.
async fn empty_some(
    work: &Work<'_>,
    shared: &PostgresShared,
    expiry: Expiry,
) -> Result<(u64, bool), WorkError> {
    let until = EventId::first_at(expiry.payloads_ms).row();
    let row = work
        .query_one("SELECT s.empty_up_to, s.empty_at, s.empty_kept FROM hookbox.swept s", &[])
        .await?;
    let (begins, at, kept): (i64, i64, Option<i64>) = (row.get(0), row.get(1), row.get(2));
    let (events, to_the_end) = scan(work, at.max(begins), until).await?;
    let Some(last) = events.last().copied() else {
        // The end of a pass, which the next one begins behind.
        let begins = kept.map_or(at.max(begins), |kept| kept - 1);
        note_emptied(work, (begins, 0, None)).await?;
        return Ok((0, false));
    };
    let old =
        not_needed(work, &events, dead_since(expiry, expiry.payloads_ms), expiry.now_ms).await?;
    let kept = kept.or_else(|| events.iter().copied().find(|event| !old.contains(event)));
    let ids: Vec<EventId> = old.iter().map(|event| EventId::from_row(*event)).collect();
    let emptied = erase::empty(work, shared, &ids, false).await?;
    let next = match to_the_end {
        true => (kept.map_or(last, |kept| kept - 1), 0, None),
        false => (begins, last, kept),
    };
    note_emptied(work, next).await?;
    Ok((emptied, !to_the_end))
}

async fn note_emptied(
    work: &Work<'_>,
    (begins, at, kept): (i64, i64, Option<i64>),
) -> Result<(), WorkError> {
    work.execute(
        "UPDATE hookbox.swept SET empty_up_to = $1, empty_at = $2, empty_kept = $3
         WHERE (empty_up_to, empty_at, empty_kept) IS DISTINCT FROM ($1, $2, $3)",
        &[&begins, &at, &kept],
    )
    .await?;
    Ok(())
}
