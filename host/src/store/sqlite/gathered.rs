//! A gathering as it is read: by the host's plugin that ends it, and by people.

use rusqlite::{Connection, OptionalExtension, params};

use super::rows::{EVENT_COLUMNS, read_event};
use crate::event::{DeliveryId, EventId, Why};
use crate::store::{GatheringView, MemberView};

/// The most members that are read with their bodies.
const MAX_READ: usize = 256;

/// The most body bytes of members that are read.
const MAX_READ_BYTES: usize = 4 << 20;

/// The gathering of a delivery, at this host time.
pub(super) fn view(
    connection: &Connection,
    id: DeliveryId,
    now_ms: i64,
) -> Result<Option<GatheringView>, rusqlite::Error> {
    let found = connection
        .prepare_cached(
            "SELECT plugin, key, count, need, until_ms, why FROM gatherings WHERE event = ?1 AND ordinal = ?2",
        )?
        .query_row(params![id.event.row(), id.ordinal], |row| {
            let (until_ms, why): (i64, Option<u8>) = (row.get(4)?, row.get(5)?);
            let over = if until_ms <= now_ms { Why::Within } else { Why::Quiet };
            Ok(GatheringView {
                plugin: row.get::<_, String>(0)?.into(),
                key: row.get(1)?,
                count: row.get(2)?,
                need: row.get(3)?,
                why: why.and_then(Why::from_code).unwrap_or(over),
                complete: why.is_some(),
                members: Vec::new(),
            })
        })
        .optional()?;
    let Some(mut view) = found else { return Ok(None) };
    let ids: Vec<EventId> = connection
        .prepare_cached(
            "SELECT event FROM gathered WHERE gathering = ?1 AND ordinal = ?2 ORDER BY event",
        )?
        .query_map(params![id.event.row(), id.ordinal], |row| row.get(0).map(EventId::from_row))?
        .collect::<Result<_, _>>()?;
    let sql = format!("SELECT {EVENT_COLUMNS} FROM events e WHERE e.id = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut bytes = 0;
    for (index, id) in ids.into_iter().enumerate() {
        let mut event = None;
        if index < MAX_READ && bytes <= MAX_READ_BYTES {
            event = statement.query_row([id.row()], read_event).optional()?;
            bytes += event.as_ref().map_or(0, |event| event.attributes.body.len());
            event = event.filter(|_| bytes <= MAX_READ_BYTES);
        }
        view.members.push(MemberView { id, event });
    }
    Ok(Some(view))
}
