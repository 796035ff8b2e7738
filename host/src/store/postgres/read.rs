//! Queries. Each is one statement as far as it has to be of one moment.

use serde::Deserialize;
use tokio_postgres::{Client, Row};

use super::error::failed_query;
use super::rows::{AttemptRow, digest, list, read_event};
use super::settle::small;
use crate::event::{DeliveryId, EditedFrom, Event, EventId, PluginName, State};
use crate::store::{
    DeliveryView, EventView, MAX_CHILDREN, PluginCounts, Stats, StepView, StoreError,
};

const EVENT: &str = "SELECT id, source, type, subject, content_type, time_ms, parent, root, hops, \
     trace, body, provider_id, note, headers, edited_from, edited_by,
     (SELECT sum(times)::bigint FROM hookbox.repeats r WHERE r.event = e.id),
     (SELECT last_ms FROM hookbox.repeats r WHERE r.event = e.id ORDER BY at DESC LIMIT 1),
     ARRAY(SELECT c.id FROM hookbox.events c WHERE c.parent = e.id ORDER BY c.id LIMIT $2), signed_by
     FROM hookbox.events e WHERE id = $1";

/// The deliveries of an event, or one of them, each wherever it is at one moment.
const DELIVERIES: &str = "
WITH d AS (
    SELECT event, ordinal, plugin,
        (CASE WHEN holder IS NOT NULL THEN 1 WHEN waits THEN 2 ELSE 0 END)::smallint AS state,
        attempt, unrecorded, crashes, again, cancelled AND holder IS NOT NULL AS cancelling,
        false AS cut_off, CASE WHEN holder IS NULL AND NOT behind THEN due END AS due, key, behind,
        NULL::bigint AS started_ms, NULL::bigint AS duration_us, NULL::smallint AS outcome,
        NULL::text AS error, NULL::text AS logs, NULL::bytea AS digest, NULL::text AS calls,
        NULL::text AS steps
    FROM hookbox.open WHERE event = $1 AND ($2::integer IS NULL OR ordinal = $2)
    UNION ALL
    SELECT event, ordinal, plugin, state, attempt, unrecorded, 0, again, false, cut_off, NULL,
        key, false, started_ms, duration_us, outcome, error, logs, digest, calls, steps
    FROM hookbox.settled WHERE event = $1 AND ($2::integer IS NULL OR ordinal = $2)
)
SELECT d.ordinal, d.plugin, d.state, d.attempt, d.unrecorded, d.crashes, d.again, d.cancelling,
    d.cut_off, d.due,
    (SELECT json_agg(json_build_object('number', a.number, 'started_ms', a.started_ms,
        'duration_us', a.duration_us, 'outcome', a.outcome, 'error', a.error, 'logs', a.logs,
        'digest', encode(a.digest, 'hex'), 'calls', a.calls, 'steps', a.steps) ORDER BY a.number)
     FROM (SELECT number, started_ms, duration_us, outcome, error, logs, digest, calls, steps
         FROM hookbox.attempts a WHERE a.event = d.event AND a.ordinal = d.ordinal
         UNION ALL
         SELECT d.attempt, d.started_ms, d.duration_us, d.outcome, d.error, d.logs, d.digest,
             d.calls, d.steps WHERE d.outcome IS NOT NULL) a)::text,
    (SELECT json_agg(json_build_object('name', s.name, 'bytes', octet_length(s.value),
        'attempt', s.attempt, 'digest', encode(s.digest, 'hex'),
        'recorded_ms', s.recorded_ms) ORDER BY s.name)
     FROM hookbox.steps s WHERE s.event = d.event AND s.ordinal = d.ordinal)::text,
    d.key, w.event, w.ordinal, w.held
FROM d LEFT JOIN LATERAL (
    SELECT * FROM (SELECT h.event, h.ordinal, true AS held FROM hookbox.held_keys h
        WHERE h.plugin = d.plugin AND h.key = d.key AND h.until = 9223372036854775807 LIMIT 1) h
    UNION ALL
    SELECT * FROM (SELECT o.event, o.ordinal, false FROM hookbox.open o
        WHERE o.plugin = d.plugin AND o.key = d.key AND o.entered IS NOT NULL
        ORDER BY o.entered LIMIT 1) o
    LIMIT 1) w ON d.behind
ORDER BY d.ordinal";

const DEAD_NOTICE: &str = "SELECT dead_ordinal, death FROM hookbox.dead_notices
     WHERE event = $1 AND ordinal = $2";

/// The counts, with what batches have added since they were folded.
const STATS: &str = "SELECT plugin, state, sum(n)::bigint FROM (
         SELECT plugin, state, n FROM hookbox.counts
         UNION ALL SELECT plugin, state, n FROM hookbox.count_deltas) c
     GROUP BY plugin, state";

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
    pub(super) client: Client,
}

impl PostgresReads {
    pub(super) async fn event(&self, id: EventId) -> Result<EventView, StoreError> {
        let most = i64::try_from(MAX_CHILDREN).unwrap_or(i64::MAX);
        let found = self
            .client
            .query_opt(EVENT, &[&id.row(), &most])
            .await
            .map_err(|error| failed_query(&error))?;
        let row = found.ok_or_else(|| StoreError::NotFound(format!("event `{id}`")))?;
        let event = read_event(&row);
        let deliveries = self.deliveries(&event, None).await?;
        let edited_from: Option<i64> = row.get(14);
        let children: Vec<i64> = row.get(18);
        Ok(EventView {
            provider_id: row.get(11),
            note: row.get(12),
            signed_by: row.get::<_, Option<i32>>(19).map(i32::unsigned_abs),
            emptied: None,
            headers: list(row.get(13)),
            duplicates: row.get::<_, Option<i64>>(16).unwrap_or(0).unsigned_abs(),
            last_duplicate_ms: row.get(17),
            deliveries,
            children: children.into_iter().map(EventId::from_row).collect(),
            edited: edited_from.map(|event| EditedFrom {
                event: EventId::from_row(event),
                by: row.get::<_, Option<String>>(15).unwrap_or_default(),
            }),
            replays: Vec::new(),
            event,
        })
    }

    pub(super) async fn delivery(&self, id: DeliveryId) -> Result<DeliveryView, StoreError> {
        let missing = || StoreError::NotFound(format!("delivery `{id}` of event `{}`", id.event));
        let found = self
            .client
            .query_opt(EVENT, &[&id.event.row(), &0_i64])
            .await
            .map_err(|error| failed_query(&error))?;
        let event = read_event(&found.ok_or_else(missing)?);
        self.deliveries(&event, Some(small(id.ordinal))).await?.pop().ok_or_else(missing)
    }

    async fn deliveries(
        &self,
        event: &Event,
        ordinal: Option<i32>,
    ) -> Result<Vec<DeliveryView>, StoreError> {
        let rows = self
            .client
            .query(DELIVERIES, &[&event.id.row(), &ordinal])
            .await
            .map_err(|error| failed_query(&error))?;
        rows.iter().map(|row| view(event, row)).collect()
    }

    pub(super) async fn dead_notice(
        &self,
        id: DeliveryId,
    ) -> Result<Option<(DeliveryId, u32)>, StoreError> {
        let found = self
            .client
            .query_opt(DEAD_NOTICE, &[&id.event.row(), &small(id.ordinal)])
            .await
            .map_err(|error| failed_query(&error))?;
        let number = |row: &Row, at| row.get::<_, i32>(at).unsigned_abs();
        Ok(found.map(|row| (DeliveryId { ordinal: number(&row, 0), ..id }, number(&row, 1))))
    }

    pub(super) async fn stats(&self, duplicates: u64) -> Result<Stats, StoreError> {
        let rows = self.client.query(STATS, &[]).await.map_err(|error| failed_query(&error))?;
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

fn view(event: &Event, row: &Row) -> Result<DeliveryView, StoreError> {
    let code: i16 = row.get(2);
    let state = u8::try_from(code).ok().and_then(State::from_code);
    let state = state.ok_or_else(|| StoreError::Query(format!("there is no state {code}")))?;
    let attempts: Vec<AttemptRow> = list(row.get(10));
    let steps: Vec<StepRow> = list(row.get(11));
    let (key, behind): (Option<Vec<u8>>, Option<i64>) = (row.get(12), row.get(13));
    Ok(DeliveryView {
        id: DeliveryId { event: event.id, ordinal: row.get::<_, i32>(0).unsigned_abs() },
        plugin: row.get::<_, String>(1).into(),
        kind: event.attributes.kind.clone(),
        subject: event.attributes.subject.clone(),
        state,
        attempt: row.get::<_, i32>(3).unsigned_abs(),
        due_ms: row.get(9),
        key: key.map(|key| String::from_utf8_lossy(&key).into_owned()),
        behind: behind.map(|event| DeliveryId {
            event: EventId::from_row(event),
            ordinal: row.get::<_, i32>(14).unsigned_abs(),
        }),
        held: row.get::<_, Option<bool>>(15).unwrap_or(false),
        gathering: None,
        quarantined: row.get::<_, i32>(5) > 0,
        replay: false,
        cancelling: row.get(7),
        cut_off: row.get(8),
        unrecorded: row.get::<_, i32>(4).unsigned_abs(),
        failure: None,
        again: row.get::<_, i32>(6).unsigned_abs(),
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
