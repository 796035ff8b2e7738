//! Values of plugins outside of attempts: reads, and changes by clients.

use std::collections::BTreeMap;

use tokio_postgres::Row;

use super::Postgres;
use super::audit::{known, note_in};
use super::client::SqlClient as Client;
use super::error::failed_query;
use super::kv::KeyBounds;
use super::rows::millis;
use super::stripes::{LOCK, Stripes};
use super::work::WorkError;
use crate::event::{DeliveryId, EventId, PluginName};
use crate::store::changes::Hint;
use crate::store::{AuditNote, KeyChange, KvEntry, KvKey, KvRange, KvValue, StoreError};

/// The bytes of buckets, with what batches have added since they were folded.
const BYTES: &str = "SELECT plugin, sum(n)::bigint FROM (
         SELECT plugin, n FROM hookbox.counts
         WHERE state = -2 AND ($1::text IS NULL OR plugin = $1)
         UNION ALL SELECT plugin, n FROM hookbox.count_deltas
         WHERE state = -2 AND ($1::text IS NULL OR plugin = $1)) c
     GROUP BY plugin HAVING sum(n) > 0";

/// The value of a key.
pub(super) async fn value(
    client: &Client,
    bucket: &str,
    key: &str,
) -> Result<Option<KvValue>, StoreError> {
    let sql = "SELECT value, version FROM hookbox.kv WHERE bucket = $1 AND key = $2";
    let found = client.query_opt(sql, &[&bucket, &key.as_bytes()]).await;
    let found = found.map_err(|error| failed_query(&error))?;
    Ok(found.map(|row| KvValue { value: row.get(0), version: row.get(1) }))
}

/// The keys of a range.
pub(super) async fn keys(
    client: &Client,
    bucket: &str,
    range: &KvRange,
) -> Result<Vec<KvKey>, StoreError> {
    let sql = "SELECT key, bytes FROM hookbox.list_keys_v1($1, $2, $3, $4, $5)";
    let KeyBounds { low, besides, high, most } = KeyBounds::of(range);
    let rows = client.query(sql, &[&bucket, &low, &besides, &high, &most]).await;
    let rows = rows.map_err(|error| failed_query(&error))?;
    let key =
        |row: &Row| Ok(KvKey { key: key_of(row)?, bytes: row.get::<_, i64>(1).unsigned_abs() });
    rows.iter().map(key).collect()
}

/// The key in the first column.
fn key_of(row: &Row) -> Result<String, StoreError> {
    let key = String::from_utf8(row.get(0));
    key.map_err(|error| StoreError::Query(format!("a key is no text: {error}")))
}

/// No key is greater, because keys are text.
const GREATEST: &[u8] = &[0xff];

/// The keys of a range with what is known of their last write.
pub(super) async fn entries(
    client: &Client,
    bucket: &str,
    range: &KvRange,
) -> Result<Vec<KvEntry>, StoreError> {
    let sql = "SELECT key, octet_length(value)::bigint, version, expires, event, ordinal, attempt
         FROM hookbox.kv WHERE bucket = $1 AND key >= $2 AND key < $3
             AND ($4::bytea IS NULL OR key <> $4)
         ORDER BY key LIMIT $5";
    let KeyBounds { low, besides, high, most } = KeyBounds::of(range);
    let high = high.as_deref().unwrap_or(GREATEST);
    let rows = client.query(sql, &[&bucket, &low, &high, &besides, &most]).await;
    let rows = rows.map_err(|error| failed_query(&error))?;
    let number = |row: &Row, at: usize| row.get::<_, Option<i32>>(at).map(i32::unsigned_abs);
    let entry = |row: &Row| {
        let event = row.get::<_, Option<i64>>(4).map(EventId::from_row);
        let delivery = event.zip(number(row, 5));
        let delivery = delivery.map(|(event, ordinal)| DeliveryId { event, ordinal });
        Ok(KvEntry {
            key: key_of(row)?,
            bytes: row.get::<_, i64>(1).unsigned_abs(),
            version: row.get(2),
            expires_ms: row.get(3),
            writer: delivery.zip(number(row, 6)),
        })
    };
    rows.iter().map(entry).collect()
}

/// The bytes of each bucket that holds anything, or of one.
pub(super) async fn bytes(
    client: &Client,
    bucket: Option<&str>,
) -> Result<BTreeMap<PluginName, u64>, StoreError> {
    let rows = client.query(BYTES, &[&bucket]).await.map_err(|error| failed_query(&error))?;
    let filled = rows.iter().map(|row| {
        let bytes: i64 = row.get(1);
        (PluginName::from(row.get::<_, String>(0)), bytes.unsigned_abs())
    });
    Ok(filled.collect())
}

impl Postgres {
    /// Sets or deletes a value for a client; returns its new version.
    pub(super) async fn change_value(
        &self,
        note: Option<AuditNote>,
        change: KeyChange,
    ) -> Result<Option<i64>, StoreError> {
        self.shared.answers()?;
        let version = self.write_value(note, &change).await?;
        let plugins = std::iter::once(change.bucket).collect();
        self.shared.changes.committed(|| Hint { plugins, ..Hint::default() });
        Ok(version)
    }

    async fn write_value(
        &self,
        note: Option<AuditNote>,
        change: &KeyChange,
    ) -> Result<Option<i64>, WorkError> {
        let KeyChange { bucket, key, value, ttl, .. } = change;
        let (bucket, key): (&str, &[u8]) = (bucket, key.as_bytes());
        let (shared, note) = (&*self.shared, note.as_ref());
        let work = self.work.begin().await?;
        if let Some(version) = known::<u64>(&work, shared, note).await? {
            return Ok(if value.is_some() { i64::try_from(version).ok() } else { None });
        }
        let mut stripes = Stripes::default();
        stripes.add_value(bucket, &change.key);
        stripes.take(&work, &work.prepare(LOCK).await?).await?;
        let found = self::value(&work, bucket, &change.key).await?;
        if let Some(why) = change.refusal(found.map(|found| found.version)) {
            return Err(StoreError::Conflict(why).into());
        }
        let ttl_ms = ttl.map(millis);
        let put = "SELECT new_version, hookbox.count_values_v1($1, change)
             FROM hookbox.put_value_v1($1, $2, $3, hookbox.now_ms_v1($4) + $5, NULL, NULL, NULL)";
        let at = self.shared.at();
        let put = work.query_one(put, &[&bucket, &key, &value, &at, &ttl_ms]).await?;
        let version: Option<i64> = put.get(0);
        note_in(&work, shared, note, &version.map_or(1, i64::unsigned_abs)).await?;
        work.commit().await?;
        Ok(version)
    }
}
