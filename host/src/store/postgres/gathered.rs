//! Gatherings as they are read: by the host's plugin that ends them, and by people.

use std::collections::HashMap;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::client::SqlClient as Client;
use super::error::failed_query;
use super::rows::read_event;
use super::settle::small;
use crate::event::{DeliveryId, EventId, Why};
use crate::store::{
    GatheringCursor, GatheringFilter, GatheringState, GatheringView, MAX_CRASHES, MAX_MEMBERSHIPS,
    MAX_PAGE, MAX_TREE_MEMBERS, MemberView, Membership, StoreError, TreeMember,
};

/// The most body bytes of members that are read.
const MAX_READ_BYTES: i64 = 4 << 20;

/// A gathering with the reason why it ends at a time, if nothing has completed it.
const VIEW: &str = "SELECT plugin, key, counted, need, why, until <= hookbox.now_ms_v1($3)
     FROM hookbox.gatherings WHERE event = $1 AND ordinal = $2";

/// The members of a gathering.
const MEMBERS: &str = "SELECT event FROM hookbox.gathered WHERE gathering = $1 AND ordinal = $2
     ORDER BY number";

/// The events of 256 members: of the last one, because a batch may be made for it alone, and of the
/// first ones, as far as their bodies are not too large together.
const BODIES: &str = "
WITH members AS (
    SELECT event, row_number() OVER (ORDER BY number) AS n, count(*) OVER () AS of
    FROM hookbox.gathered WHERE gathering = $1 AND ordinal = $2
), picked AS (
    SELECT event, n, CASE WHEN n = of THEN 0 ELSE n END AS rank FROM members
    ORDER BY rank LIMIT 256
), sized AS (
    SELECT p.n, e.id, sum(octet_length(e.body)) OVER (ORDER BY p.rank) AS bytes
    FROM picked p JOIN hookbox.events e ON e.id = p.event
)
SELECT e.id, e.source, e.type, e.subject, e.content_type, e.time_ms, e.parent, e.root, e.hops,
    e.trace, e.body, s.n
FROM sized s JOIN hookbox.events e ON e.id = s.id WHERE s.bytes <= $3";

/// The columns of [`read_state`], from a table named `g`.
const STATE: &str = "SELECT g.event, g.ordinal, g.plugin, g.key, g.opened, g.until, g.counted, \
     g.need, g.seen, g.frozen, g.why, o.due, o.crashes";

/// Open gatherings after a cursor.
const OPEN: &str = "FROM hookbox.open o JOIN hookbox.gatherings g USING (event, ordinal)
     WHERE o.plugin LIKE '%/%' AND $1::text IS NULL
         AND (o.crashes, o.plugin, o.due, o.event, o.ordinal) > ($2, $3, $4, $5, $6)
     ORDER BY o.crashes, o.plugin, o.due, o.event, o.ordinal LIMIT $7";

/// The same of one plugin.
const OPEN_OF_PLUGIN: &str = "FROM generate_series($2::integer, $8) AS c (crashes)
     CROSS JOIN LATERAL (SELECT p.* FROM hookbox.open p
         WHERE p.plugin LIKE '%/%' AND p.crashes = c.crashes AND p.plugin = $1 AND $3 <= $1
             AND (p.due, p.event, p.ordinal) > (
                 CASE WHEN c.crashes = $2 THEN $4::bigint ELSE -9223372036854775808 END,
                 CASE WHEN c.crashes = $2 THEN $5::bigint ELSE 0 END,
                 CASE WHEN c.crashes = $2 THEN $6::integer ELSE 0 END)
         ORDER BY p.due, p.event, p.ordinal LIMIT $7) o
     JOIN hookbox.gatherings g USING (event, ordinal)
     ORDER BY o.crashes, o.plugin, o.due, o.event, o.ordinal LIMIT $7";

/// The same of one key. Of each plugin the newest 16 are looked at: few can be open at once.
const OPEN_OF_KEY: &str = "FROM p CROSS JOIN LATERAL (
         SELECT * FROM hookbox.gatherings g
         WHERE g.key = $8 AND g.plugin = p.plugin AND ($1::text IS NULL OR g.plugin = $1)
         ORDER BY g.number DESC LIMIT 16) g
     JOIN hookbox.open o ON o.event = g.event AND o.ordinal = g.ordinal
     WHERE (o.crashes, o.plugin, o.due, o.event, o.ordinal) > ($2, $3, $4, $5, $6)
     ORDER BY o.crashes, o.plugin, o.due, o.event, o.ordinal LIMIT $7";

/// The plugins that have gatherings of a key, each found by the index.
const PLUGINS_OF_KEY: &str = "WITH RECURSIVE p (plugin) AS (
         SELECT min(plugin) FROM hookbox.gatherings WHERE key = $8
         UNION ALL
         SELECT (SELECT min(g.plugin) FROM hookbox.gatherings g
             WHERE g.key = $8 AND g.plugin > p.plugin)
         FROM p WHERE p.plugin IS NOT NULL)";

/// The gathering of a delivery with its members.
pub(super) async fn view(
    client: &Client,
    id: DeliveryId,
    at: Option<i64>,
) -> Result<Option<GatheringView>, StoreError> {
    let failed = |error| failed_query(&error);
    let (event, ordinal) = (id.event.row(), small(id.ordinal));
    let found = client.query_opt(VIEW, &[&event, &ordinal, &at]).await.map_err(failed)?;
    let Some(row) = found else { return Ok(None) };
    let over = if row.get(5) { Why::Within } else { Why::Quiet };
    let why = read_why(&row, 4);
    let members = client.query(MEMBERS, &[&event, &ordinal]).await.map_err(failed)?;
    let mut view = GatheringView {
        plugin: row.get::<_, String>(0).into(),
        key: read_key(&row, 1)?,
        count: read_count(row.get(2)),
        need: row.get::<_, Option<i64>>(3).map(read_count),
        why: why.unwrap_or(over),
        complete: why.is_some(),
        members: members
            .iter()
            .map(|row| MemberView { id: EventId::from_row(row.get(0)), event: None })
            .collect(),
    };
    let bodies = client.query(BODIES, &[&event, &ordinal, &MAX_READ_BYTES]).await;
    for row in bodies.map_err(failed)? {
        let place = usize::try_from(row.get::<_, i64>(11) - 1).expect("they begin at 1");
        if let Some(member) = view.members.get_mut(place) {
            member.event = Some(read_event(&row));
        }
    }
    Ok(Some(view))
}

/// The gatherings of deliveries without their members.
pub(super) async fn states(
    client: &Client,
    ids: &[DeliveryId],
) -> Result<HashMap<DeliveryId, GatheringState>, StoreError> {
    let (events, ordinals) = columns(ids);
    let sql = format!(
        "{STATE} FROM unnest($1::bigint[], $2::integer[]) AS i (event, ordinal)
         JOIN hookbox.gatherings g USING (event, ordinal)
         LEFT JOIN hookbox.open o USING (event, ordinal)"
    );
    let rows = client.query(&sql, &[&events, &ordinals]).await;
    let rows = rows.map_err(|error| failed_query(&error))?;
    rows.iter().map(|row| read_state(row).map(|state| (state.id, state))).collect()
}

/// A page of open gatherings.
pub(super) async fn open(
    client: &Client,
    filter: &GatheringFilter,
    limit: usize,
    after: Option<GatheringCursor>,
) -> Result<(Vec<GatheringState>, Option<GatheringCursor>), StoreError> {
    let limit = limit.clamp(1, MAX_PAGE);
    let after = after.unwrap_or_else(|| GatheringCursor {
        crashes: 0,
        plugin: String::new(),
        due_ms: i64::MIN,
        id: DeliveryId { event: EventId::from_row(0), ordinal: 0 },
    });
    let (crashes, event) = (small(after.crashes), after.id.event.row());
    let (ordinal, most) = (small(after.id.ordinal), i64::try_from(limit).unwrap_or(i64::MAX));
    let key = filter.key.as_ref().map(|key| key.as_bytes());
    let most_crashes = small(MAX_CRASHES - 1);
    let mut parameters: Vec<&(dyn ToSql + Sync)> =
        vec![&filter.plugin, &crashes, &after.plugin, &after.due_ms, &event, &ordinal, &most];
    let sql = match &key {
        None if filter.plugin.is_none() => format!("{STATE} {OPEN}"),
        None => {
            parameters.push(&most_crashes);
            format!("{STATE} {OPEN_OF_PLUGIN}")
        }
        Some(key) => {
            parameters.push(key);
            format!("{PLUGINS_OF_KEY} {STATE} {OPEN_OF_KEY}")
        }
    };
    let rows = client.query(&sql, &parameters).await.map_err(|error| failed_query(&error))?;
    let found = rows.iter().map(read_state).collect::<Result<Vec<_>, _>>()?;
    let last = if found.len() == limit { rows.last().zip(found.last()) } else { None };
    let next = last.map(|(row, state)| GatheringCursor {
        crashes: row.get::<_, i32>(12).unsigned_abs(),
        plugin: state.plugin.to_string(),
        due_ms: row.get(11),
        id: state.id,
    });
    Ok((found, next))
}

/// The members of gatherings for the view of a tree: of each one more than that shows, if there are
/// more.
pub(super) async fn tree_members(
    client: &Client,
    ids: &[DeliveryId],
) -> Result<HashMap<DeliveryId, Vec<TreeMember>>, StoreError> {
    let (events, ordinals) = columns(ids);
    let sql = "SELECT i.event, i.ordinal, m.event, e.type, coalesce(e.root, m.event)
         FROM unnest($1::bigint[], $2::integer[]) AS i (event, ordinal)
         CROSS JOIN LATERAL (SELECT w.event, w.number FROM hookbox.gathered w
             WHERE w.gathering = i.event AND w.ordinal = i.ordinal
             ORDER BY w.number LIMIT $3) m
         LEFT JOIN hookbox.events e ON e.id = m.event ORDER BY m.number";
    let most = i64::try_from(MAX_TREE_MEMBERS + 1).unwrap_or(i64::MAX);
    let rows = client.query(sql, &[&events, &ordinals, &most]).await;
    let mut members: HashMap<_, Vec<_>> = HashMap::new();
    for row in rows.map_err(|error| failed_query(&error))? {
        let (id, kind, tree) = (row.get(2), row.get(3), row.get(4));
        let (id, tree) = (EventId::from_row(id), EventId::from_row(tree));
        members.entry(read_id(&row)).or_default().push(TreeMember { id, kind, tree });
    }
    Ok(members)
}

/// The gatherings of other events that each of these is a member of.
pub(super) async fn memberships(
    client: &Client,
    events: &[i64],
) -> Result<HashMap<EventId, Vec<Membership>>, StoreError> {
    let sql = "SELECT m.gathering, m.ordinal, i.event, g.plugin, coalesce(e.root, m.gathering)
         FROM unnest($1::bigint[]) AS i (event)
         CROSS JOIN LATERAL (SELECT w.gathering, w.ordinal, w.number FROM hookbox.gathered w
             WHERE w.event = i.event AND w.gathering <> i.event LIMIT $2) m
         JOIN hookbox.gatherings g ON g.event = m.gathering AND g.ordinal = m.ordinal
         LEFT JOIN hookbox.events e ON e.id = m.gathering ORDER BY m.number";
    let most = i64::try_from(MAX_MEMBERSHIPS).unwrap_or(i64::MAX);
    let rows = client.query(sql, &[&events, &most]).await;
    let mut memberships: HashMap<_, Vec<_>> = HashMap::new();
    for row in rows.map_err(|error| failed_query(&error))? {
        memberships.entry(EventId::from_row(row.get(2))).or_default().push(Membership {
            delivery: read_id(&row),
            plugin: row.get::<_, String>(3).into(),
            tree: EventId::from_row(row.get(4)),
        });
    }
    Ok(memberships)
}

/// Deliveries as arrays.
fn columns(ids: &[DeliveryId]) -> (Vec<i64>, Vec<i32>) {
    ids.iter().map(|id| (id.event.row(), small(id.ordinal))).unzip()
}

/// Reads a delivery from the first two columns.
fn read_id(row: &Row) -> DeliveryId {
    let (event, ordinal): (i64, i32) = (row.get(0), row.get(1));
    DeliveryId { event: EventId::from_row(event), ordinal: ordinal.unsigned_abs() }
}

/// Reads a gathering from the columns of [`STATE`].
fn read_state(row: &Row) -> Result<GatheringState, StoreError> {
    Ok(GatheringState {
        id: read_id(row),
        plugin: row.get::<_, String>(2).into(),
        key: read_key(row, 3)?,
        since_ms: row.get(4),
        until_ms: row.get(5),
        count: read_count(row.get(6)),
        need: row.get::<_, Option<i64>>(7).map(read_count),
        seen: row.get::<_, i64>(8).cast_unsigned(),
        frozen: row.get(9),
        why: read_why(row, 10),
    })
}

fn read_key(row: &Row, column: usize) -> Result<String, StoreError> {
    String::from_utf8(row.get(column))
        .map_err(|error| StoreError::Query(format!("a key is no text: {error}")))
}

fn read_why(row: &Row, column: usize) -> Option<Why> {
    let code: Option<i16> = row.get(column);
    code.and_then(|code| u8::try_from(code).ok()).and_then(Why::from_code)
}

fn read_count(count: i64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
