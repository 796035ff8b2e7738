//! A gathering as it is read: by the host's plugin that ends it, and by people.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::rows::{EVENT_COLUMNS, next_plugin, read_event};
use crate::event::{DeliveryId, EventId, Why};
use crate::names::is_built_in;
use crate::store::{
    GatheringCursor, GatheringFilter, GatheringState, GatheringView, MAX_CRASHES, MAX_PAGE,
    MemberView,
};

/// The most members that are read with their bodies.
const MAX_READ: usize = 256;

/// The most body bytes of members that are read.
const MAX_READ_BYTES: usize = 4 << 20;

/// The most gatherings of one key that are looked at: the newest. Few of them can be open at once.
const MAX_OF_KEY: u32 = 16;

/// The columns [`read_gathering`] reads, from a table named `g`.
const STATE_COLUMNS: &str = "g.event, g.ordinal, g.plugin, g.key, g.opened_ms, g.until_ms, g.count, g.need, g.seen, g.frozen, g.why";

/// Reads a gathering from [`STATE_COLUMNS`], its times in host time.
fn read_gathering(row: &Row<'_>) -> Result<GatheringState, rusqlite::Error> {
    let why: Option<u8> = row.get(10)?;
    Ok(GatheringState {
        id: DeliveryId { event: EventId::from_row(row.get(0)?), ordinal: row.get(1)? },
        plugin: row.get::<_, String>(2)?.into(),
        key: row.get(3)?,
        since_ms: row.get(4)?,
        until_ms: row.get(5)?,
        count: row.get(6)?,
        need: row.get(7)?,
        seen: row.get::<_, i64>(8)?.cast_unsigned(),
        frozen: row.get(9)?,
        why: why.and_then(Why::from_code),
    })
}

/// The gathering of a delivery without its members, its times in host time.
pub(super) fn state(
    connection: &Connection,
    id: DeliveryId,
) -> Result<Option<GatheringState>, rusqlite::Error> {
    let sql =
        format!("SELECT {STATE_COLUMNS} FROM gatherings g WHERE g.event = ?1 AND g.ordinal = ?2");
    connection
        .prepare_cached(&sql)?
        .query_row(params![id.event.row(), id.ordinal], read_gathering)
        .optional()
}

/// A page of open gatherings, their times in host time. Only open deliveries are walked, by the
/// index of what is due; those of one key are found by theirs.
pub(super) fn open(
    connection: &Connection,
    filter: &GatheringFilter,
    limit: usize,
    after: Option<GatheringCursor>,
) -> Result<(Vec<GatheringState>, Option<GatheringCursor>), rusqlite::Error> {
    let limit = limit.clamp(1, MAX_PAGE);
    let mut found = Vec::new();
    let mut last = None;
    let first = after.as_ref().map_or(0, |after| after.crashes);
    for crashes in first..MAX_CRASHES {
        let mut from = after.as_ref().filter(|after| after.crashes == crashes);
        let mut next = match from {
            Some(after) => Some(after.plugin.clone()),
            None => next_plugin(connection, crashes, "")?,
        };
        while let Some(plugin) = next {
            if is_built_in(&plugin) && filter.plugin.as_ref().is_none_or(|only| *only == plugin) {
                let left = limit - found.len();
                let rows = match &filter.key {
                    None => open_of(connection, crashes, &plugin, left, from)?,
                    Some(key) => open_of_key(connection, crashes, &plugin, key, left, from)?,
                };
                for (due_ms, state) in rows {
                    last = Some(GatheringCursor {
                        crashes,
                        plugin: plugin.clone(),
                        due_ms,
                        id: state.id,
                    });
                    found.push(state);
                }
                if found.len() == limit {
                    return Ok((found, last));
                }
            }
            from = None;
            next = next_plugin(connection, crashes, &plugin)?;
        }
    }
    Ok((found, None))
}

type OpenGatherings = Vec<(i64, GatheringState)>;

/// Those of one plugin after a cursor, the one that is due first before the others.
fn open_of(
    connection: &Connection,
    crashes: u32,
    plugin: &str,
    limit: usize,
    after: Option<&GatheringCursor>,
) -> Result<OpenGatherings, rusqlite::Error> {
    let sql = format!(
        "SELECT {STATE_COLUMNS}, d.due_ms
         FROM deliveries d CROSS JOIN gatherings g ON g.event = d.event AND g.ordinal = d.ordinal
         WHERE d.crashes = ?1 AND d.plugin = ?2 AND d.due_ms IS NOT NULL
           AND (d.due_ms, d.event, d.ordinal) > (?3, ?4, ?5)
         ORDER BY d.due_ms, d.event, d.ordinal LIMIT ?6"
    );
    let (due_ms, id) = after.map_or((i64::MIN, None), |after| (after.due_ms, Some(after.id)));
    let (event, ordinal) = id.map_or((0, 0), |id| (id.event.row(), id.ordinal));
    connection
        .prepare_cached(&sql)?
        .query_map(params![crashes, plugin, due_ms, event, ordinal, limit], |row| {
            Ok((row.get(11)?, read_gathering(row)?))
        })?
        .collect()
}

/// Those of one plugin and key.
fn open_of_key(
    connection: &Connection,
    crashes: u32,
    plugin: &str,
    key: &str,
    limit: usize,
    after: Option<&GatheringCursor>,
) -> Result<OpenGatherings, rusqlite::Error> {
    let sql = format!(
        "SELECT {STATE_COLUMNS}, d.due_ms
         FROM (SELECT * FROM gatherings WHERE plugin = ?1 AND key = ?2
               ORDER BY event DESC, ordinal DESC LIMIT {MAX_OF_KEY}) g
         CROSS JOIN deliveries d ON d.event = g.event AND d.ordinal = g.ordinal
         WHERE d.due_ms IS NOT NULL AND d.crashes = ?3"
    );
    let mut found: OpenGatherings = connection
        .prepare_cached(&sql)?
        .query_map(params![plugin, key, crashes], |row| Ok((row.get(11)?, read_gathering(row)?)))?
        .collect::<Result<_, _>>()?;
    found.sort_by_key(|(due_ms, state)| (*due_ms, state.id));
    found.retain(|(due_ms, state)| {
        after.is_none_or(|after| (*due_ms, state.id) > (after.due_ms, after.id))
    });
    found.truncate(limit);
    Ok(found)
}

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
    view.members = ids.into_iter().map(|id| MemberView { id, event: None }).collect();
    // The last one first: a batch may be made for it alone.
    let last = view.members.len().saturating_sub(1);
    for index in std::iter::once(last).chain(0..last).take(MAX_READ) {
        let Some(member) = view.members.get_mut(index) else { break };
        let event = statement.query_row([member.id.row()], read_event).optional()?;
        bytes += event.as_ref().map_or(0, |event| event.attributes.body.len());
        if bytes > MAX_READ_BYTES {
            break;
        }
        member.event = event;
    }
    Ok(Some(view))
}
