//! Groups of failures. A batch counts its failures in them after it has settled, and the database
//! counts what becomes of their deliveries: see `schema/failures.sql`.

use serde::Deserialize;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use super::client::{SqlClient as Client, SqlStatement as Statement};
use super::conditions::Conditions;
use super::rows::{digest, list};
use super::settle::small;
use super::shared::PostgresShared;
use crate::event::{DeliveryId, EventId, FailureId, OTHER, Outcome, failure_text};
use crate::store::model::MAX_FAILURE_GROUPS;
use crate::store::{
    FailureCursor, FailureFilter, FailureView, FileCounts, Lease, MAX_PAGE, Next, Settlement, Trend,
};

/// Calls `fail_v1`.
pub(super) const FAIL: &str =
    "SELECT hookbox.fail_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

const HOUR_MS: i64 = 3_600_000;

/// The settlements of a batch that change the group of their delivery.
#[derive(Default)]
pub(super) struct FailRows<'c> {
    places: Vec<i32>,
    events: Vec<i64>,
    ordinals: Vec<i32>,
    plugins: Vec<String>,
    codes: Vec<Option<i16>>,
    names: Vec<Option<&'static str>>,
    texts: Vec<Option<String>>,
    files: Vec<Option<&'c [u8]>>,
}

impl<'c> FailRows<'c> {
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Adds the settlement at a place, if its attempt has failed or the one before may have.
    pub(super) fn add(&mut self, place: i32, lease: &Lease, settlement: &'c Settlement) {
        let stays = matches!(settlement.next, Next::Again { .. } | Next::RetryIn(_));
        // An attempt that is not spent leaves no record, and without one the group stays.
        if matches!(settlement.next, Next::GiveBack(_)) {
            return;
        }
        let Some(record) = &settlement.record else { return };
        let failed = record.outcome.is_failure();
        // A delivery that is done leaves its group as it leaves `open`.
        let may_leave = stays && lease.attempt > 1;
        if !failed && !may_leave {
            return;
        }
        let (outcome, error) = (record.outcome, record.error.as_deref());
        self.places.push(place);
        self.events.push(lease.delivery.event.row());
        self.ordinals.push(small(lease.delivery.ordinal));
        self.plugins.push(lease.plugin.to_string());
        self.codes.push(failed.then(|| i16::from(outcome.code())));
        self.names.push(failed.then(|| outcome.name()));
        self.texts.push(failed.then(|| failure_text(outcome, error)));
        let digest = record.plugin_digest.as_ref().map(|it| &it.0[..]);
        self.files.push(if failed { digest } else { None });
    }

    /// Calls the function.
    pub(super) async fn call(
        &self,
        client: &Client,
        statement: &Statement,
        shared: &PostgresShared,
    ) -> Result<Vec<Row>, Error> {
        let (at, most) = (shared.at(), i32::try_from(MAX_FAILURE_GROUPS).unwrap_or(i32::MAX));
        let parameters: [&(dyn ToSql + Sync); 11] = [
            &at,
            &self.places,
            &self.events,
            &self.ordinals,
            &self.plugins,
            &self.codes,
            &self.names,
            &self.texts,
            &self.files,
            &OTHER,
            &most,
        ];
        client.query(statement, &parameters).await
    }
}

/// The groups with what came since they were folded, as a table `f`.
const GROUPS: &str = "(SELECT g.id, g.plugin, g.outcome, g.text, g.first_ms,
        greatest(g.last_ms, d.last_ms) AS last_ms,
        (g.dead + coalesce(d.dead, 0))::bigint AS dead,
        (g.waiting + coalesce(d.waiting, 0))::bigint AS waiting
    FROM hookbox.failures g LEFT JOIN (
        SELECT i.id, sum(i.dead) AS dead, sum(i.waiting) AS waiting,
            max(i.at) FILTER (WHERE i.met > 0) AS last_ms
        FROM hookbox.failure_deltas i GROUP BY i.id) d ON d.id = g.id) f";

/// The columns of [`read_group`]: those of [`GROUPS`], failed attempts by hour and by file, the
/// file that was met last at the end, and the newest delivery.
const COLUMNS: &str = "f.id, f.plugin, f.outcome, f.text, f.first_ms, f.last_ms, f.dead, f.waiting,
    (SELECT json_agg(json_build_array(h.hour, h.met) ORDER BY h.hour)::text FROM (
        SELECT u.hour, sum(u.met)::bigint AS met FROM (
            SELECT hour, met FROM hookbox.failure_hours WHERE id = f.id
            UNION ALL SELECT at / 3600000, met FROM hookbox.failure_deltas
            WHERE id = f.id AND met > 0) u
        GROUP BY u.hour ORDER BY u.hour DESC LIMIT 24) h),
    (SELECT json_agg(json_build_array(encode(h.digest, 'hex'), h.met) ORDER BY h.last_ms)::text
     FROM (
        SELECT u.digest, sum(u.met)::bigint AS met, max(u.last_ms) AS last_ms FROM (
            SELECT digest, met, last_ms FROM hookbox.failure_files WHERE id = f.id
            UNION ALL SELECT digest, met, at FROM hookbox.failure_deltas
            WHERE id = f.id AND digest IS NOT NULL) u
        GROUP BY u.digest ORDER BY 3 DESC LIMIT 8) h),
    s.event, s.ordinal";

/// The newest delivery of a group `f`, as a table `s`.
const SAMPLE: &str = "LEFT JOIN LATERAL (
    SELECT u.event, u.ordinal FROM (
        (SELECT event, ordinal FROM hookbox.open WHERE failure = f.id
         ORDER BY event DESC, ordinal DESC LIMIT 1)
        UNION ALL
        (SELECT event, ordinal FROM hookbox.settled WHERE failure = f.id
         ORDER BY event DESC, ordinal DESC LIMIT 1)) u
    ORDER BY u.event DESC, u.ordinal DESC LIMIT 1) s ON true";

/// How often failures were met on a file.
#[derive(Deserialize)]
struct FileRow(String, u64);

fn read_group(row: &Row) -> FailureView {
    let bounded = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    let mut trend = Trend::default();
    for (hour, count) in list::<(i64, u64)>(row.get(8)) {
        trend.count(hour.saturating_mul(HOUR_MS), bounded(count));
    }
    let mut files = FileCounts::default();
    for FileRow(file, count) in list(row.get(9)) {
        if let Some(file) = digest(Some(&file)) {
            files.count(file, bounded(count));
        }
    }
    let code: Option<i16> = row.get(2);
    let sample: Option<(i64, i32)> = row.get::<_, Option<i64>>(10).zip(row.get(11));
    FailureView {
        id: FailureId::from_row(row.get(0)),
        plugin: row.get::<_, String>(1).into(),
        outcome: code.and_then(|code| Outcome::from_code(u8::try_from(code).ok()?)),
        text: row.get(3),
        first_ms: row.get(4),
        last_ms: row.get(5),
        dead: row.get::<_, i64>(6).max(0).unsigned_abs(),
        waiting: row.get::<_, i64>(7).max(0).unsigned_abs(),
        trend,
        files,
        sample: sample.map(|(event, ordinal)| DeliveryId {
            event: EventId::from_row(event),
            ordinal: ordinal.unsigned_abs(),
        }),
    }
}

/// A page of groups, the one that was met first last before the others.
pub(super) async fn failures(
    client: &Client,
    filter: &FailureFilter,
    limit: usize,
    after: Option<FailureCursor>,
) -> Result<(Vec<FailureView>, Option<FailureCursor>), Error> {
    let limit = limit.clamp(1, MAX_PAGE);
    let mut conditions = Conditions::default();
    conditions.text("f.plugin = ?", filter.plugin.clone());
    conditions.maybe("f.outcome = ?", filter.outcome.map(|outcome| i16::from(outcome.code())));
    conditions.maybe("f.last_ms >= ?", filter.since_ms);
    conditions.maybe("f.first_ms < ?", filter.until_ms);
    if filter.open {
        conditions.sql.push_str(" AND f.dead + f.waiting > 0");
    }
    if let Some(FailureCursor { first_ms, id }) = after {
        conditions.add(&format!("(f.first_ms, f.id) < (?, {})", id.row()), first_ms);
    }
    let sql = format!(
        "SELECT {COLUMNS} FROM (SELECT f.* FROM {GROUPS} WHERE true {}
             ORDER BY f.first_ms DESC, f.id DESC LIMIT {limit}) f {SAMPLE}
         ORDER BY f.first_ms DESC, f.id DESC",
        conditions.sql
    );
    let rows = client.query(&sql, &conditions.values()).await?;
    let found: Vec<_> = rows.iter().map(read_group).collect();
    let last = if found.len() == limit { found.last() } else { None };
    let next = last.map(|last| FailureCursor { first_ms: last.first_ms, id: last.id });
    Ok((found, next))
}

/// One group.
pub(super) async fn failure(client: &Client, id: FailureId) -> Result<Option<FailureView>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM {GROUPS} {SAMPLE} WHERE f.id = $1");
    Ok(client.query_opt(&sql, &[&id.row()]).await?.map(|row| read_group(&row)))
}
