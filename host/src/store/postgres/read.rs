//! Queries. Each is one statement as far as it has to be of one moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::change::emptied_at;
use super::client::SqlClient as Client;
use super::connect::HeldConnection;
use super::error::failed_query;
use super::gathered;
use super::read_connection::ReadConnection;
use super::rows::{AttemptRow, digest, list, read_event, read_state};
use super::settle::small;
use super::work::WorkError;
use crate::event::{DeliveryId, EditedFrom, Event, EventId, FailureId, PluginName};
use crate::names::is_built_in;
use crate::store::{
    DeliveryView, EventView, FoundFacts, MAX_CHILDREN, MAX_TREE_CALLS, PluginCounts, Stats,
    StepView, StoreError, StoredFacts,
};

const EVENT: &str = "SELECT id, source, type, subject, content_type, time_ms, parent, root, hops, \
     trace, body, provider_id, note, headers, edited_from, edited_by,
     (SELECT sum(times)::bigint FROM hookbox.repeats r WHERE r.event = e.id),
     (SELECT last_ms FROM hookbox.repeats r WHERE r.event = e.id ORDER BY at DESC LIMIT 1),
     ARRAY(SELECT c.id FROM hookbox.events c WHERE c.parent = e.id ORDER BY c.id LIMIT $2), signed_by,
     ARRAY(SELECT c.id FROM hookbox.events c WHERE c.edited_from = e.id ORDER BY c.id LIMIT $2),
     (SELECT r.at_ms FROM hookbox.erased r WHERE r.event = e.id),
     (SELECT r.asked FROM hookbox.erased r WHERE r.event = e.id)
     FROM hookbox.events e WHERE id = $1";

const FACTS: &str = "SELECT id, source, type, subject, content_type, time_ms, parent, root, hops, \
     trace, body, headers FROM hookbox.events e WHERE id = $1";

/// The deliveries of the events `$1`, or those of them with the ordinals `$2` beside, each wherever
/// it is at one moment, newest first. `$3` is the most attempts of each, and `$6` the most requests
/// of an attempt that is shown without its logs.
const DELIVERIES: &str = "
WITH d AS (
    SELECT event, ordinal, plugin,
        (CASE WHEN holder IS NOT NULL THEN 1 WHEN waits THEN 2 ELSE 0 END)::smallint AS state,
        attempt, unrecorded, crashes, again, cancelled AND holder IS NOT NULL AS cancelling,
        false AS cut_off, CASE WHEN holder IS NULL AND NOT behind THEN due END AS due, failure,
        key, behind,
        NULL::bigint AS started_ms, NULL::bigint AS duration_us, NULL::integer AS cpu_us,
        NULL::integer AS memory_kib, NULL::smallint AS outcome, NULL::text AS error,
        NULL::text AS logs, NULL::bytea AS digest, NULL::text AS calls, NULL::text AS steps, deaths,
        uncounted
    FROM hookbox.open WHERE event = ANY ($1)
        AND ($2::integer[] IS NULL OR (event, ordinal) IN (SELECT * FROM unnest($1, $2)))
    UNION ALL
    SELECT event, ordinal, plugin, state, attempt, unrecorded, 0, again, false, cut_off, NULL,
        failure, key, false, started_ms, duration_us, cpu_us, memory_kib, outcome, error, logs,
        digest, calls, steps, deaths, uncounted
    FROM hookbox.settled WHERE event = ANY ($1)
        AND ($2::integer[] IS NULL OR (event, ordinal) IN (SELECT * FROM unnest($1, $2)))
)
SELECT d.event, d.ordinal, d.plugin, e.type, e.subject, d.state, d.attempt, d.unrecorded,
    d.crashes, d.again, d.cancelling, d.cut_off, d.due, d.failure,
    (SELECT json_agg(json_build_object('number', a.number, 'started_ms', a.started_ms,
        'duration_us', a.duration_us, 'cpu_us', a.cpu_us, 'memory_kib', a.memory_kib,
        'outcome', a.outcome, 'error', a.error,
        'logs', CASE WHEN NOT $4::boolean THEN a.logs END, 'digest', encode(a.digest, 'hex'),
        'calls', CASE WHEN NOT $4::boolean THEN a.calls
            ELSE hookbox.first_calls_v1(a.calls, $6::bigint) END, 'steps', a.steps)
        ORDER BY a.number)
     FROM (SELECT number, started_ms, duration_us, cpu_us, memory_kib, outcome, error, logs,
             digest, calls, steps
         FROM hookbox.attempts a WHERE a.event = d.event AND a.ordinal = d.ordinal
         UNION ALL
         SELECT d.attempt, d.started_ms, d.duration_us, d.cpu_us, d.memory_kib, d.outcome, d.error,
             d.logs, d.digest, d.calls, d.steps WHERE d.outcome IS NOT NULL
         ORDER BY number DESC LIMIT $3) a)::text,
    (SELECT json_agg(json_build_object('name', s.name, 'bytes', octet_length(s.value),
        'attempt', s.attempt, 'digest', encode(s.digest, 'hex'),
        'recorded_ms', s.recorded_ms) ORDER BY s.name)
     FROM hookbox.steps s
     WHERE $5::boolean AND s.event = d.event AND s.ordinal = d.ordinal)::text,
    EXISTS (SELECT FROM hookbox.replays r WHERE r.event = d.event AND r.ordinal = d.ordinal),
    d.key, w.event, w.ordinal, w.held, e.source, d.deaths, d.uncounted
FROM d JOIN hookbox.events e ON e.id = d.event
LEFT JOIN LATERAL (
    SELECT * FROM (SELECT h.event, h.ordinal, true AS held FROM hookbox.held_keys h
        WHERE h.plugin = d.plugin AND h.key = d.key AND h.until = 9223372036854775807 LIMIT 1) h
    UNION ALL
    SELECT * FROM (SELECT o.event, o.ordinal, false FROM hookbox.open o
        WHERE o.plugin = d.plugin AND o.key = d.key AND o.entered IS NOT NULL
        ORDER BY o.entered LIMIT 1) o
    LIMIT 1) w ON d.behind
ORDER BY d.event DESC, d.ordinal";

const DEAD_NOTICE: &str = "SELECT dead_ordinal, death FROM hookbox.dead_notices
     WHERE event = $1 AND ordinal = $2";

/// The attempts of a delivery that are shown: the last ones. A handler that asks to be called again
/// may have thousands.
const MAX_ATTEMPTS: i64 = 1_000;

/// How much of a delivery is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct ShownAs {
    /// The most attempts, the last ones.
    pub(super) attempts: i64,
    /// Whether attempts are without their logs, and with few of their requests.
    pub(super) is_bare: bool,
    /// Whether its steps are read.
    pub(super) has_steps: bool,
}

impl ShownAs {
    /// A delivery that is asked for.
    pub(super) const WHOLE: Self = Self { attempts: MAX_ATTEMPTS, is_bare: false, has_steps: true };
    /// A delivery in a listing.
    pub(super) const LISTED: Self = Self { attempts: 1, is_bare: false, has_steps: false };
}

/// All deliveries of these events, or those with the ordinals beside: the newest event first.
pub(super) async fn delivery_views(
    client: &Client,
    events: &[i64],
    ordinals: Option<&[i32]>,
    shown: ShownAs,
) -> Result<Vec<DeliveryView>, WorkError> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let ShownAs { attempts, is_bare, has_steps } = shown;
    let most_calls = MAX_TREE_CALLS as i64 + 1;
    let parameters: [&(dyn ToSql + Sync); 6] =
        [&events, &ordinals, &attempts, &is_bare, &has_steps, &most_calls];
    let rows = client.query(DELIVERIES, &parameters).await?;
    let mut views = rows.iter().map(view).collect::<Result<Vec<_>, _>>()?;
    let built_in = views.iter().filter(|view| is_built_in(&view.plugin));
    let built_in: Vec<_> = built_in.map(|view| view.id).collect();
    if !built_in.is_empty() {
        let mut gatherings = gathered::states(client, &built_in).await?;
        for view in &mut views {
            view.gathering = gatherings.remove(&view.id).map(Box::new);
        }
    }
    Ok(views)
}

/// The counts, with what batches have added since they were folded.
const STATS: &str = "SELECT plugin, state, sum(n)::bigint FROM (
         SELECT plugin, state, n FROM hookbox.counts
         UNION ALL SELECT plugin, state, n FROM hookbox.count_deltas) c
     WHERE state >= -1 GROUP BY plugin, state";

/// A step as the database tells it in JSON.
#[derive(Deserialize)]
struct StepRow {
    name: String,
    bytes: u64,
    attempt: u32,
    digest: Option<String>,
    recorded_ms: i64,
}

/// The connection for queries.
#[derive(Debug)]
pub(super) struct PostgresReads {
    pub(super) connection: Arc<ReadConnection>,
}

impl PostgresReads {
    /// The connection, made again if it is gone.
    pub(super) async fn client(&self) -> Result<Arc<HeldConnection>, StoreError> {
        self.connection.live().await
    }

    pub(super) async fn event(&self, id: EventId) -> Result<EventView, StoreError> {
        let most = i64::try_from(MAX_CHILDREN).unwrap_or(i64::MAX);
        let client = self.client().await?;
        let found = client.query_opt(EVENT, &[&id.row(), &most]).await;
        let found = found.map_err(|error| failed_query(&error))?;
        let row = found.ok_or_else(|| StoreError::NotFound(format!("event `{id}`")))?;
        let event = read_event(&row);
        let deliveries = delivery_views(&client, &[id.row()], None, ShownAs::WHOLE).await?;
        let edited_from: Option<i64> = row.get(14);
        let children: Vec<i64> = row.get(18);
        let replays: Vec<i64> = row.get(20);
        Ok(EventView {
            provider_id: row.get(11),
            note: row.get(12),
            signed_by: row.get::<_, Option<i32>>(19).map(i32::unsigned_abs),
            emptied: emptied_at(&row, 21),
            headers: list(row.get(13)),
            duplicates: row.get::<_, Option<i64>>(16).unwrap_or(0).unsigned_abs(),
            last_duplicate_ms: row.get(17),
            deliveries,
            children: children.into_iter().map(EventId::from_row).collect(),
            edited: edited_from.map(|event| EditedFrom {
                event: EventId::from_row(event),
                by: row.get::<_, Option<String>>(15).unwrap_or_default(),
            }),
            replays: replays.into_iter().map(EventId::from_row).collect(),
            event,
        })
    }

    /// The parts of an event that routes look at.
    pub(super) async fn facts(&self, id: EventId) -> Result<Option<FoundFacts>, StoreError> {
        let client = self.client().await?;
        let found = client.query_opt(FACTS, &[&id.row()]).await;
        let facts = |row: Row| {
            let Event { attributes, hops, .. } = read_event(&row);
            // Not as in a view: what is damaged is routed by nothing.
            let headers: Option<&str> = row.get(11);
            match headers.map_or(Ok(Vec::new()), serde_json::from_str) {
                Ok(headers) => FoundFacts::Whole(StoredFacts { attributes, headers, hops }),
                Err(_) => FoundFacts::Unreadable { column: "headers".to_owned() },
            }
        };
        Ok(found.map_err(|error| failed_query(&error))?.map(facts))
    }

    pub(super) async fn delivery(&self, id: DeliveryId) -> Result<DeliveryView, StoreError> {
        let missing = || StoreError::NotFound(format!("delivery `{id}` of event `{}`", id.event));
        let (events, ordinals) = ([id.event.row()], [small(id.ordinal)]);
        let client = self.client().await?;
        let found = delivery_views(&client, &events, Some(&ordinals), ShownAs::WHOLE).await?;
        found.into_iter().next_back().ok_or_else(missing)
    }

    /// The steps that a delivery has recorded.
    pub(super) async fn steps(
        &self,
        id: DeliveryId,
    ) -> Result<BTreeMap<String, Vec<u8>>, StoreError> {
        let sql = "SELECT name, value FROM hookbox.steps WHERE event = $1 AND ordinal = $2";
        let client = self.client().await?;
        let rows = client.query(sql, &[&id.event.row(), &small(id.ordinal)]).await;
        let rows = rows.map_err(|error| failed_query(&error))?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    pub(super) async fn dead_notice(
        &self,
        id: DeliveryId,
    ) -> Result<Option<(DeliveryId, u32)>, StoreError> {
        let client = self.client().await?;
        let found = client.query_opt(DEAD_NOTICE, &[&id.event.row(), &small(id.ordinal)]).await;
        let found = found.map_err(|error| failed_query(&error))?;
        let number = |row: &Row, at| row.get::<_, i32>(at).unsigned_abs();
        Ok(found.map(|row| (DeliveryId { ordinal: number(&row, 0), ..id }, number(&row, 1))))
    }

    pub(super) async fn stats(&self, duplicates: u64) -> Result<Stats, StoreError> {
        let client = self.client().await?;
        let rows = client.query(STATS, &[]).await.map_err(|error| failed_query(&error))?;
        let mut stats = Stats { duplicates, ..Stats::default() };
        for row in rows {
            let (plugin, state, count): (String, i16, i64) = (row.get(0), row.get(1), row.get(2));
            let count = u64::try_from(count).unwrap_or(0);
            match usize::try_from(state) {
                Err(_) => stats.events = count,
                Ok(state) => {
                    let counts = stats.plugins.entry(PluginName::from(plugin)).or_default();
                    if let Some(place) = counts.0.get_mut(state) {
                        *place = count;
                    }
                }
            }
        }
        stats.plugins.retain(|_, counts| *counts != PluginCounts::default());
        Ok(stats)
    }
}

fn view(row: &Row) -> Result<DeliveryView, StoreError> {
    let attempts: Vec<AttemptRow> = list(row.get(14));
    let steps: Vec<StepRow> = list(row.get(15));
    let event = EventId::from_row(row.get(0));
    let (key, behind): (Option<Vec<u8>>, Option<i64>) = (row.get(17), row.get(18));
    let (state, number) = (read_state(row.get(5))?, |at| row.get::<_, i32>(at).unsigned_abs());
    Ok(DeliveryView {
        id: DeliveryId { event, ordinal: row.get::<_, i32>(1).unsigned_abs() },
        plugin: row.get::<_, String>(2).into(),
        kind: row.get(3),
        source: row.get(21),
        subject: row.get(4),
        state,
        attempt: row.get::<_, i32>(6).unsigned_abs(),
        due_ms: row.get(12),
        key: key.map(|key| String::from_utf8_lossy(&key).into_owned()),
        behind: behind.map(|event| DeliveryId {
            event: EventId::from_row(event),
            ordinal: row.get::<_, i32>(19).unsigned_abs(),
        }),
        held: row.get::<_, Option<bool>>(20).unwrap_or(false),
        gathering: None,
        quarantined: row.get::<_, i32>(8) > 0,
        replay: row.get(16),
        cancelling: row.get(10),
        cut_off: row.get(11),
        unrecorded: row.get::<_, i32>(7).unsigned_abs(),
        failure: row.get::<_, Option<i64>>(13).map(FailureId::from_row),
        again: row.get::<_, i32>(9).unsigned_abs(),
        retried_after: DeliveryView::before_retry(state, number(22), number(23)),
        steps: steps.into_iter().map(step_view).collect(),
        attempts: attempts.into_iter().filter_map(AttemptRow::view).collect(),
    })
}

fn step_view(row: StepRow) -> StepView {
    StepView {
        name: row.name,
        bytes: row.bytes,
        attempt: row.attempt,
        digest: digest(row.digest.as_deref()),
        recorded_at_ms: row.recorded_ms,
    }
}
