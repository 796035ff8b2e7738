//! Creations by operators: new deliveries of old events, and events.

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::Row;

use super::Postgres;
use super::audit::{known, note_in};
use super::batch::append_within;
use super::change::emptied_at;
use super::created::AppendedAs;
use super::lease::give_back;
use super::moves::WorkMoves;
use super::replay_terms::{EVENT, key_for, lock_replayed, replay_with_terms};
use super::rows::read_event;
use super::settle::small;
use super::work::{Work, WorkError, tried};
use crate::event::{DeliveryId, Event, EventId, NewEvent, State, Target};
use crate::store::model::{LeaseTerms, refusal_of_emptied};
use crate::store::{Appended, AuditNote, Lease, LeasePermit, StoreError};

/// The most deliveries an event may have, replays included.
const MAX_DELIVERIES: usize = 1_000;

/// How often an event is appended that shares a key with another one which is being stored.
const TRIES: usize = 5;

/// New deliveries of one event, as arrays.
#[derive(Default)]
struct ReplayRows<'t> {
    ordinals: Vec<i32>,
    plugins: Vec<&'t str>,
    leased: Vec<bool>,
    permits: Vec<(u32, &'t Target, Option<LeasePermit>)>,
}

impl Postgres {
    /// Creates new deliveries of an old event.
    pub(super) async fn replay_event(
        &self,
        note: Option<AuditNote>,
        event: EventId,
        targets: Vec<Arc<Target>>,
    ) -> Result<Vec<DeliveryId>, StoreError> {
        self.shared.answers()?;
        tried!(self.replay_once(note.as_ref(), event, &targets))
    }

    async fn replay_once(
        &self,
        note: Option<&AuditNote>,
        event: EventId,
        targets: &[Arc<Target>],
    ) -> Result<Vec<DeliveryId>, WorkError> {
        let work = self.work.begin().await?;
        if let Some(made) = known(&work, &self.shared, note).await? {
            return Ok(made);
        }
        let mut moves = WorkMoves::default();
        lock_replayed(&work, &self.shared, &[(event, targets)]).await?;
        let made = self.replay_in(&work, event, targets, &mut moves).await?;
        moves.count(&work).await?;
        note_in(&work, &self.shared, note, &made).await?;
        work.commit().await?;
        moves.tell(&self.shared);
        Ok(made)
    }

    /// The same within a transaction that has locked the keys ([`lock_replayed`]). Of several
    /// events the oldest one comes first, because each is locked.
    pub(super) async fn replay_in(
        &self,
        work: &Work<'_>,
        event: EventId,
        targets: &[Arc<Target>],
        moves: &mut WorkMoves,
    ) -> Result<Vec<DeliveryId>, WorkError> {
        let found = lock_event(work, event).await?;
        let first = next_ordinal(work, event).await?;
        if first as usize + targets.len() > MAX_DELIVERIES {
            return Err(StoreError::Conflict(format!(
                "event `{event}` has {first} deliveries already; an event can have {MAX_DELIVERIES}"
            ))
            .into());
        }
        // Notices of deaths come behind all of them.
        let next = first.saturating_add(u32::try_from(targets.len()).unwrap_or(u32::MAX));
        let mut rows = ReplayRows::default();
        let dispatch = self.shared.dispatch.get();
        let (mut made, mut with_terms) = (Vec::with_capacity(targets.len()), Vec::new());
        for (ordinal, target) in (first..).zip(targets) {
            let asked = dispatch.map(|it| it.permit(&target.plugin, found.attributes.body.len()));
            let permit = asked.flatten();
            made.push(DeliveryId { event, ordinal });
            if key_for(&found, target).is_some() || target.options.cancel_tag.is_some() {
                let of = (&found, ordinal, next);
                replay_with_terms(work, &self.shared, of, (target, permit), moves).await?;
                with_terms.push(small(ordinal));
                continue;
            }
            let state = if permit.is_some() { State::Leased } else { State::Ready };
            moves.moved(&target.plugin, None, Some(state));
            rows.ordinals.push(small(ordinal));
            rows.plugins.push(&target.plugin);
            rows.leased.push(permit.is_some());
            rows.permits.push((ordinal, target, permit));
        }
        let (at, me) = (self.shared.at(), self.shared.run().incarnation);
        let sql = "INSERT INTO hookbox.open (event, ordinal, plugin, holder, attempt, waits, due)
                   SELECT $1, d.ordinal, d.plugin, CASE WHEN d.leased THEN $5::bigint END,
                       d.leased::integer, false, hookbox.now_ms_v1($6)
                   FROM unnest($2::integer[], $3::text[], $4::boolean[])
                       AS d (ordinal, plugin, leased)";
        let key = event.row();
        work.execute(sql, &[&key, &rows.ordinals, &rows.plugins, &rows.leased, &me, &at]).await?;
        let sql = "INSERT INTO hookbox.replays SELECT $1, unnest($2::integer[])";
        with_terms.extend(rows.ordinals);
        work.execute(sql, &[&key, &with_terms]).await?;
        for (ordinal, target, permit) in rows.permits {
            let Some(permit) = permit else {
                moves.due(&target.plugin, Duration::ZERO);
                continue;
            };
            let due_ms = self.shared.now_ms();
            moves.created.leases.push(first_lease(&found, ordinal, target, (due_ms, permit)));
        }
        Ok(made)
    }

    /// Stores an event that an operator makes.
    pub(super) async fn make_event(
        &self,
        note: Option<AuditNote>,
        event: NewEvent,
    ) -> Result<Appended, StoreError> {
        self.shared.answers()?;
        for _ in 0..TRIES {
            if let Some(made) = tried!(self.make_once(note.as_ref(), &event))? {
                return Ok(made);
            }
        }
        let text = "another event with the same dedupe key is being stored: try again";
        Err(StoreError::Conflict(text.to_owned()))
    }

    /// Stores it, unless another event with one of its keys is being stored.
    async fn make_once(
        &self,
        note: Option<&AuditNote>,
        event: &NewEvent,
    ) -> Result<Option<Appended>, WorkError> {
        let work = self.work.begin().await?;
        if let Some(made) = known(&work, &self.shared, note).await? {
            return Ok(Some(made));
        }
        if let Some(edited) = &event.edited {
            stored_event(&work, edited.event).await?;
        }
        let (appended, created, refused) = append_within(event, &work, &self.shared).await?;
        // After the keys, as in a batch of a writer. If it is gone by now, nothing is kept of this.
        if let Some(edited) = &event.edited {
            lock_event(&work, edited.event).await?;
        }
        let made = match appended {
            AppendedAs::New(id) => Appended { id, duplicate: false },
            AppendedAs::DuplicateOf(id) => Appended { id, duplicate: true },
            AppendedAs::Later | AppendedAs::Dropped => return Ok(None),
        };
        note_in(&work, &self.shared, note, &made).await?;
        work.commit().await?;
        let mut moves = WorkMoves::of_events(created);
        for delivery in &event.deliveries {
            moves.touch(&delivery.target.plugin);
        }
        moves.tell(&self.shared);
        refused.into_iter().map(give_back).for_each(|command| self.send(command));
        Ok(Some(made))
    }
}

/// The lease of a delivery that has no terms, for its first attempt.
fn first_lease(
    event: &Arc<Event>,
    ordinal: u32,
    target: &Target,
    (due_ms, permit): (i64, LeasePermit),
) -> Lease {
    Lease {
        delivery: DeliveryId { event: event.id, ordinal },
        plugin: target.plugin.clone(),
        attempt: 1,
        uncounted: 0,
        deaths: 0,
        due_ms,
        event: Arc::clone(event),
        terms: LeaseTerms::default(),
        permit,
        held: None,
    }
}

/// Locks an event, so that nobody else gives it deliveries or deletes it; an error if it is gone or
/// holds nothing any more.
async fn lock_event(work: &Work<'_>, event: EventId) -> Result<Arc<Event>, WorkError> {
    let row = work.query_opt(&format!("{EVENT} FOR UPDATE"), &[&event.row()]).await?;
    kept_event(work, event, row).await
}

/// The same without a lock.
async fn stored_event(work: &Work<'_>, event: EventId) -> Result<Arc<Event>, WorkError> {
    let row = work.query_opt(EVENT, &[&event.row()]).await?;
    kept_event(work, event, row).await
}

/// The event of a row; an error if there is none, or if it holds nothing any more.
async fn kept_event(
    work: &Work<'_>,
    event: EventId,
    row: Option<Row>,
) -> Result<Arc<Event>, WorkError> {
    let row = row.ok_or_else(|| StoreError::NotFound(format!("event `{event}`")))?;
    let sql = "SELECT r.at_ms, r.asked FROM hookbox.erased r WHERE r.event = $1";
    let emptied = work.query_opt(sql, &[&event.row()]).await?;
    match emptied.and_then(|row| emptied_at(&row, 0)) {
        Some(emptied) => Err(refusal_of_emptied(event, emptied).into()),
        None => Ok(Arc::new(read_event(&row))),
    }
}

async fn next_ordinal(work: &Work<'_>, event: EventId) -> Result<u32, WorkError> {
    let sql = "SELECT greatest(
                   (SELECT max(o.ordinal) + 1 FROM hookbox.open o WHERE o.event = $1),
                   (SELECT max(s.ordinal) + 1 FROM hookbox.settled s WHERE s.event = $1), 0)";
    let row = work.query_one(sql, &[&event.row()]).await?;
    Ok(row.get::<_, i32>(0).unsigned_abs())
}
