//! Actions of operators on deliveries, within a transaction: what stands in `open` or `settled` is
//! locked, looked at, and moved. Each step is one statement for all deliveries of the call.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_postgres::Row;

use super::anew::{begin_anew, wait_on};
use super::changed_keys::{ChangedKeys, lock_changed};
use super::moves::WorkMoves;
use super::settle::small;
use super::shared::PostgresShared;
use super::work::{Work, WorkError};
use crate::event::{DeliveryId, EventId, PluginName, State};
use crate::names::is_built_in;
use crate::store::model::refusal_of_emptied;
use crate::store::{Action, Emptied, StoreError};

/// Deliveries as arrays, in their order.
#[derive(Debug, Clone, Default)]
pub(super) struct DeliveryRows {
    pub(super) events: Vec<i64>,
    pub(super) ordinals: Vec<i32>,
}

impl DeliveryRows {
    pub(super) fn of<'a>(ids: impl IntoIterator<Item = &'a DeliveryId>) -> Self {
        let mut ids: Vec<_> = ids.into_iter().collect();
        ids.sort_unstable_by_key(|id| (id.event, id.ordinal));
        ids.dedup();
        let events = ids.iter().map(|id| id.event.row()).collect();
        Self { events, ordinals: ids.iter().map(|id| small(id.ordinal)).collect() }
    }
}

/// Reads a delivery's id from the first two columns.
pub(super) fn delivery_id(row: &Row) -> DeliveryId {
    let ordinal: i32 = row.get(1);
    DeliveryId { event: EventId::from_row(row.get(0)), ordinal: ordinal.unsigned_abs() }
}

/// The columns that decide whether an action takes a delivery.
#[derive(Debug)]
pub(super) struct DeliveryStands {
    pub(super) id: DeliveryId,
    pub(super) plugin: PluginName,
    pub(super) state: State,
    /// Whether it will be cancelled as soon as its attempt is settled.
    cancelled: bool,
    emptied: Option<Emptied>,
    /// Whether it waits behind others of its key.
    is_behind: bool,
}

impl DeliveryStands {
    /// Why `action` may not be done to it although its state allows it; for people.
    fn refusal(&self, action: &Action) -> Option<&'static str> {
        let is_own = is_built_in(&self.plugin);
        match action {
            Action::Move(_) if is_own => {
                Some("is the host's own and no plugin can have it; cancel it to end it")
            }
            Action::Retry | Action::RetryFresh if self.is_behind => {
                Some("waits behind others of its key; cancel or discard those to let it go")
            }
            Action::Retry | Action::RetryFresh if is_own && self.state == State::Waiting => Some(
                "waits for its members or its time, and ends by itself; cancel it to end it now",
            ),
            _ => None,
        }
    }

    /// Why `action` is not done to it, if it takes deliveries from these states.
    fn excuse(
        &self,
        action: &Action,
        states: &[State],
        others: &BTreeMap<EventId, DeliveryId>,
    ) -> Option<StoreError> {
        let id = self.id;
        if !action.takes_from(self.state, self.cancelled, states) {
            return Some(StoreError::Conflict(action.refusal(self.state, id)));
        }
        if let Some(emptied) = self.emptied
            && action.is_retry()
        {
            return Some(refusal_of_emptied(id.event, emptied));
        }
        if let Some(refusal) = self.refusal(action) {
            return Some(StoreError::Conflict(format!("delivery `{id}` {refusal}")));
        }
        let (Action::Move(to), Some(other)) = (action, others.get(&id.event)) else { return None };
        let why = match *other == id {
            true => format!("it is of plugin `{to}` already"),
            false => format!("plugin `{to}` has `{other}` of the same event"),
        };
        Some(StoreError::Conflict(format!("delivery `{id}` cannot be moved: {why}")))
    }
}

/// Locks deliveries wherever they are, and says how they stand, in their order.
pub(super) async fn lock(
    work: &Work<'_>,
    ids: &DeliveryRows,
) -> Result<Vec<DeliveryStands>, WorkError> {
    let mut locked = 0;
    // A delivery that leaves a table while it is waited for is found in the other one.
    for table in ["open", "settled", "open"] {
        if locked >= ids.events.len() as u64 {
            break;
        }
        let sql = format!(
            "SELECT FROM hookbox.{table} d
             WHERE (d.event, d.ordinal) IN (SELECT * FROM unnest($1::bigint[], $2::integer[]))
             ORDER BY d.event, d.ordinal FOR UPDATE"
        );
        locked += work.execute(&sql, &[&ids.events, &ids.ordinals]).await?;
    }
    let rows = work
        .query(
            "SELECT d.event, d.ordinal, d.plugin, d.state, d.cancelled, r.at_ms, r.asked, d.behind
             FROM (
                 SELECT o.event, o.ordinal, o.plugin, (CASE WHEN o.holder IS NOT NULL THEN 1
                         WHEN o.waits THEN 2 ELSE 0 END)::smallint AS state,
                     o.cancelled, o.behind
                 FROM unnest($1::bigint[], $2::integer[]) AS i (event, ordinal)
                 JOIN hookbox.open o USING (event, ordinal)
                 UNION ALL
                 SELECT s.event, s.ordinal, s.plugin, s.state, false, false
                 FROM unnest($1::bigint[], $2::integer[]) AS i (event, ordinal)
                 JOIN hookbox.settled s USING (event, ordinal)) d
             LEFT JOIN hookbox.erased r ON r.event = d.event
             ORDER BY d.event, d.ordinal",
            &[&ids.events, &ids.ordinals],
        )
        .await?;
    rows.iter().map(stands).collect()
}

fn stands(row: &Row) -> Result<DeliveryStands, WorkError> {
    let code: i16 = row.get(3);
    let state = u8::try_from(code).ok().and_then(State::from_code);
    Ok(DeliveryStands {
        id: delivery_id(row),
        plugin: row.get::<_, String>(2).into(),
        state: state.ok_or_else(|| StoreError::Query(format!("there is no state {code}")))?,
        cancelled: row.get(4),
        emptied: emptied_at(row, 5),
        is_behind: row.get(7),
    })
}

/// Reads when and why an event was emptied, if it was.
pub(super) fn emptied_at(row: &Row, column: usize) -> Option<Emptied> {
    let at_ms: Option<i64> = row.get(column);
    at_ms.map(|at_ms| Emptied { at_ms, asked: row.get(column + 1) })
}

/// The deliveries of these events that a plugin has, and that no operator has ended.
async fn deliveries_to(
    work: &Work<'_>,
    plugin: &str,
    events: &[i64],
) -> Result<BTreeMap<EventId, DeliveryId>, WorkError> {
    let rows = work
        .query(
            "SELECT o.event, o.ordinal FROM hookbox.open o
             WHERE o.event = ANY ($1) AND o.plugin = $2
             UNION ALL
             SELECT s.event, s.ordinal FROM hookbox.settled s
             WHERE s.event = ANY ($1) AND s.plugin = $2 AND s.state NOT IN (5, 6)",
            &[&events, &plugin],
        )
        .await?;
    Ok(rows.iter().map(delivery_id).map(|id| (id.event, id)).collect())
}

/// Does `action` to one delivery; an error if it does not take it.
pub(super) async fn change_one(
    work: &Work<'_>,
    shared: &PostgresShared,
    action: &Action,
    id: DeliveryId,
    moves: &mut WorkMoves,
) -> Result<(), WorkError> {
    let (refused, changed) =
        change_those(work, shared, action, action.takes(), &[id], moves).await?;
    match (refused, changed.is_empty()) {
        (Some(error), _) => Err(error.into()),
        (None, true) => Err(StoreError::NotFound(format!("delivery `{id}`")).into()),
        (None, false) => Ok(()),
    }
}

/// Does `action` to those that are in one of these states; returns why the first of the others was
/// left, and those that were changed.
pub(super) async fn change_those(
    work: &Work<'_>,
    shared: &PostgresShared,
    action: &Action,
    states: &[State],
    ids: &[DeliveryId],
    moves: &mut WorkMoves,
) -> Result<(Option<StoreError>, Vec<DeliveryId>), WorkError> {
    let rows = DeliveryRows::of(ids);
    lock_changed(work, shared, (&rows.events, &rows.ordinals)).await?;
    let stands = lock(work, &rows).await?;
    let others = match action {
        Action::Move(to) => {
            let events: Vec<i64> = stands.iter().map(|it| it.id.event.row()).collect();
            deliveries_to(work, to, &events).await?
        }
        _ => BTreeMap::new(),
    };
    let (mut refused, mut taken) = (None, Vec::with_capacity(stands.len()));
    for it in stands {
        match it.excuse(action, states, &others) {
            Some(why) => refused = refused.or(Some(why)),
            None => taken.push(it),
        }
    }
    if !taken.is_empty() {
        let rows = DeliveryRows::of(taken.iter().map(|it| &it.id));
        let of = (&rows.events[..], &rows.ordinals[..]);
        let keys = ChangedKeys::read(work, shared, of, action).await?;
        apply(work, shared, action, &taken, moves).await?;
        keys.follow(work, shared, action, moves).await?;
    }
    Ok((refused, taken.into_iter().map(|it| it.id).collect()))
}

async fn apply(
    work: &Work<'_>,
    shared: &PostgresShared,
    action: &Action,
    taken: &[DeliveryStands],
    moves: &mut WorkMoves,
) -> Result<(), WorkError> {
    let rows = |state: &dyn Fn(State) -> bool| {
        DeliveryRows::of(taken.iter().filter(|it| state(it.state)).map(|it| &it.id))
    };
    let is_open = |state| matches!(state, State::Ready | State::Waiting);
    match action {
        Action::Cancel => {
            end_when_settled(work, &rows(&|state| state == State::Leased)).await?;
            end_open(work, &rows(&is_open), State::Cancelled).await?;
        }
        Action::Discard => set_state(work, &rows(&|_| true), State::Discarded).await?,
        Action::Undiscard => set_state(work, &rows(&|_| true), State::Dead).await?,
        Action::Retry | Action::RetryFresh => {
            if *action == Action::RetryFresh {
                drop_steps(work, &rows(&|_| true)).await?;
            }
            due_at_once(work, shared, &rows(&is_open)).await?;
            let anew = rows(&|state| !is_open(state));
            let anew = (&anew.events[..], &anew.ordinals[..]);
            begin_anew(work, shared, anew).await?;
            if taken.iter().any(|it| is_built_in(&it.plugin)) {
                wait_on(work, anew).await?;
            }
        }
        Action::Move(to) => {
            drop_steps(work, &rows(&|_| true)).await?;
            for due_in in hand_over(work, shared, &rows(&|_| true), to).await? {
                moves.due(to, due_in);
            }
        }
    }
    for DeliveryStands { plugin, state, .. } in taken {
        let to = match (action, state) {
            (Action::Cancel, State::Leased) => {
                moves.touch(plugin);
                continue;
            }
            (Action::Cancel, _) => State::Cancelled,
            (Action::Discard, _) => State::Discarded,
            (Action::Undiscard, _) => State::Dead,
            (Action::Retry | Action::RetryFresh, _) => {
                moves.due(plugin, Duration::ZERO);
                State::Ready
            }
            (Action::Move(to), _) => {
                moves.moved(to, None, Some(*state));
                moves.moved(plugin, Some(*state), None);
                continue;
            }
        };
        moves.moved(plugin, Some(*state), Some(to));
    }
    Ok(())
}

/// Marks leased deliveries: each ends when its holder settles it.
async fn end_when_settled(work: &Work<'_>, ids: &DeliveryRows) -> Result<(), WorkError> {
    let sql = "UPDATE hookbox.open o SET cancelled = true
               FROM unnest($1::bigint[], $2::integer[]) AS i (event, ordinal)
               WHERE o.event = i.event AND o.ordinal = i.ordinal";
    work.execute(sql, &[&ids.events, &ids.ordinals]).await?;
    Ok(())
}

/// Ends deliveries that are open and not leased.
async fn end_open(work: &Work<'_>, ids: &DeliveryRows, state: State) -> Result<(), WorkError> {
    let sql = "WITH gone AS (
                   DELETE FROM hookbox.open o
                   USING unnest($1::bigint[], $2::integer[]) AS i (event, ordinal)
                   WHERE o.event = i.event AND o.ordinal = i.ordinal RETURNING o.*
               )
               INSERT INTO hookbox.settled (event, ordinal, plugin, state, attempt, uncounted,
                   unrecorded, deaths, again, cut_off, failure)
               SELECT g.event, g.ordinal, g.plugin, $3, g.attempt, g.uncounted, g.unrecorded,
                   g.deaths, g.again, false, g.failure
               FROM gone g";
    let state = i16::from(state.code());
    work.execute(sql, &[&ids.events, &ids.ordinals, &state]).await?;
    Ok(())
}

/// Gives settled deliveries another state of those that are settled.
async fn set_state(work: &Work<'_>, ids: &DeliveryRows, state: State) -> Result<(), WorkError> {
    let sql = "UPDATE hookbox.settled s SET state = $3
               FROM unnest($1::bigint[], $2::integer[]) AS i (event, ordinal)
               WHERE s.event = i.event AND s.ordinal = i.ordinal";
    let state = i16::from(state.code());
    work.execute(sql, &[&ids.events, &ids.ordinals, &state]).await?;
    Ok(())
}

/// Drops what deliveries have recorded.
async fn drop_steps(work: &Work<'_>, ids: &DeliveryRows) -> Result<(), WorkError> {
    for sql in [
        "DELETE FROM hookbox.steps p USING unnest($1::bigint[], $2::integer[]) AS i (event, ordinal)
         WHERE p.event = i.event AND p.ordinal = i.ordinal",
        "UPDATE hookbox.open o SET steps = false
         FROM unnest($1::bigint[], $2::integer[]) AS i (event, ordinal)
         WHERE o.event = i.event AND o.ordinal = i.ordinal AND o.steps",
    ] {
        work.execute(sql, &[&ids.events, &ids.ordinals]).await?;
    }
    Ok(())
}

/// Waiting to ready. They leave the quarantine queue, as any that is retried does.
async fn due_at_once(
    work: &Work<'_>,
    shared: &PostgresShared,
    ids: &DeliveryRows,
) -> Result<(), WorkError> {
    let sql = "UPDATE hookbox.open o SET waits = false, crashes = 0,
                   due = least(o.due, hookbox.now_ms_v1($3))
               FROM unnest($1::bigint[], $2::integer[]) AS i (event, ordinal)
               WHERE o.event = i.event AND o.ordinal = i.ordinal";
    work.execute(sql, &[&ids.events, &ids.ordinals, &shared.at()]).await?;
    Ok(())
}

/// From one plugin to another. They leave the quarantine queue, because it was the other one that
/// crashed. Returns when each is due.
async fn hand_over(
    work: &Work<'_>,
    shared: &PostgresShared,
    ids: &DeliveryRows,
    to: &PluginName,
) -> Result<Vec<Duration>, WorkError> {
    let sql =
        "UPDATE hookbox.open o SET plugin = $3, uncounted = o.attempt, crashes = 0, again = 0,
                   again_since = NULL, failure = NULL
               FROM unnest($1::bigint[], $2::integer[]) AS i (event, ordinal)
               WHERE o.event = i.event AND o.ordinal = i.ordinal
               RETURNING greatest(o.due - hookbox.now_ms_v1($4), 0)";
    let rows = work.query(sql, &[&ids.events, &ids.ordinals, &&**to, &shared.at()]).await?;
    Ok(rows.iter().map(|row| Duration::from_millis(row.get::<_, i64>(0).unsigned_abs())).collect())
}
