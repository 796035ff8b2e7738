//! Finds the deliveries of a tree that an action is for: a bounded number of events a call, by the
//! index of their root.

use rusqlite::{Connection, OptionalExtension, params};

use super::search::FoundDeliveries;
use crate::event::{DeliveryId, EventId};
use crate::store::model::Position;
use crate::store::{Action, Progress};

/// The most events that one call looks at.
const MAX_LOOKED: usize = if cfg!(test) { 3 } else { 500 };

/// The most deliveries that one call finds (and at least those of one event).
const MAX_FOUND: usize = if cfg!(test) { 4 } else { 1_000 };

/// Those of the tree that an event belongs to, from where an earlier call has stopped; `None` if
/// there is no such event. Events that come while this goes on are found as well, because they come
/// after all others.
pub(super) fn find(
    connection: &Connection,
    action: &Action,
    event: EventId,
    from: Option<&Progress>,
) -> Result<Option<FoundDeliveries>, rusqlite::Error> {
    let root: Option<i64> = connection
        .prepare_cached("SELECT coalesce(root, id) FROM events WHERE id = ?1")?
        .query_row([event.row()], |row| row.get(0))
        .optional()?;
    let Some(root) = root else { return Ok(None) };
    let since = match from.and_then(|progress| progress.at.as_ref()) {
        Some(Position::Event(event, _)) => *event,
        _ => 0,
    };
    let mut events: Vec<i64> = if since <= root { vec![root] } else { Vec::new() };
    let others: Vec<i64> = connection
        .prepare_cached("SELECT id FROM events WHERE root = ?1 AND id >= ?2 ORDER BY id LIMIT ?3")?
        .query_map(params![root, since, MAX_LOOKED + 1], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    events.extend(others);
    let states = action.meant(None);
    let mut found =
        FoundDeliveries { deliveries: Vec::new(), states, before: i64::MAX, rest: None };
    for (looked, event) in events.into_iter().enumerate() {
        if looked >= MAX_LOOKED || found.deliveries.len() >= MAX_FOUND {
            found.rest = Some(Position::Event(event, 0));
            break;
        }
        let open: Vec<u32> = connection
            .prepare_cached(
                "SELECT ordinal FROM deliveries
                 WHERE event = ?1 AND due_ms IS NOT NULL AND cancelled = 0",
            )?
            .query_map([event], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let event = EventId::from_row(event);
        found.deliveries.extend(open.into_iter().map(|ordinal| DeliveryId { event, ordinal }));
    }
    Ok(Some(found))
}
