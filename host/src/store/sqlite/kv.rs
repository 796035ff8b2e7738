//! Key-value operations of attempts: checked against what they read, and written at the settlement.
//!
//! The column `plugin` of the table is the bucket, which is a plugin's own name unless its
//! configuration names another one.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

use super::batch::{WriteBatch, due};
use crate::clock::after_ms;
use crate::event::{DeliveryId, EventId, PluginName};
use crate::store::model::number;
use crate::store::{KeyChange, KvEntry, KvKey, KvRange, KvTransaction, KvValue, StoreError};
use crate::text::plain;

/// Since version 7: when keys are deleted that nobody writes, by host time.
pub(super) const SCHEMA: &str = "
    ALTER TABLE kv ADD COLUMN expires_ms INTEGER;
    CREATE INDEX kv_expires ON kv (expires_ms) WHERE expires_ms IS NOT NULL;
";

/// Since version 8: the attempt that wrote a value last; none if a client did, or an older host.
pub(super) const WRITERS: &str = "
    ALTER TABLE kv ADD COLUMN event INTEGER;
    ALTER TABLE kv ADD COLUMN ordinal INTEGER;
    ALTER TABLE kv ADD COLUMN attempt INTEGER;
";

impl WriteBatch<'_> {
    /// Whether every key still has the version the attempt saw, and every list the keys.
    pub(super) fn reads_hold(
        &self,
        plugin: &PluginName,
        kv: &KvTransaction,
    ) -> Result<bool, rusqlite::Error> {
        let bucket = kv.bucket_of(plugin);
        for (key, seen) in &kv.reads {
            let version: Option<i64> = self
                .connection
                .prepare_cached("SELECT version FROM kv WHERE plugin = ?1 AND key = ?2")?
                .query_row(params![bucket, key], |row| row.get(0))
                .optional()?;
            if version != *seen {
                return Ok(false);
            }
        }
        for list in &kv.lists {
            let now = keys(self.connection, bucket, &list.range)?;
            if !now.iter().map(|found| &found.key).eq(&list.keys) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The fault of an addition, if one of them is to a value that is no number; for people.
    pub(super) fn fault_of_adds(
        &self,
        plugin: &PluginName,
        kv: &KvTransaction,
    ) -> Result<Option<String>, rusqlite::Error> {
        let bucket = kv.bucket_of(plugin);
        for (key, _) in &kv.adds {
            let value = match kv.written(key) {
                Some(value) => value.map(<[u8]>::to_vec),
                None => kv_get(self.connection, bucket, key)?.map(|found| found.value),
            };
            if let Err(fault) = number(value.as_deref()) {
                let key = plain(key, 80);
                return Ok(Some(format!(
                    "it adds to the key `{key}` of bucket `{bucket}`: {fault}"
                )));
            }
        }
        Ok(None)
    }

    /// Writes what an attempt leaves, whose additions are without fault.
    pub(super) fn write_kv(
        &mut self,
        plugin: &PluginName,
        writer: (DeliveryId, u32),
        kv: &KvTransaction,
    ) -> Result<(), rusqlite::Error> {
        let bucket = kv.bucket_of(plugin);
        for (key, value) in &kv.writes {
            self.write_key(bucket, key, value.as_deref(), kv.ttl, Some(writer))?;
        }
        for (key, delta) in &kv.adds {
            let value = kv_get(self.connection, bucket, key)?.map(|found| found.value);
            let sum = number(value.as_deref()).unwrap_or(0).saturating_add(*delta);
            self.write_key(bucket, key, Some(&sum.to_le_bytes()), kv.ttl, Some(writer))?;
        }
        Ok(())
    }

    fn write_key(
        &mut self,
        bucket: &Arc<str>,
        key: &str,
        value: Option<&[u8]>,
        ttl: Option<Duration>,
        writer: Option<(DeliveryId, u32)>,
    ) -> Result<Option<i64>, rusqlite::Error> {
        let removed: Option<i64> = self
            .connection
            .prepare_cached(
                "DELETE FROM kv WHERE plugin = ?1 AND key = ?2 RETURNING length(value)",
            )?
            .query_row(params![bucket, key], |row| row.get(0))
            .optional()?;
        let key_bytes = i64::try_from(key.len()).unwrap_or(i64::MAX);
        let mut change = removed.map_or(0, |value_bytes| -value_bytes - key_bytes);
        let mut written = None;
        if let Some(value) = value {
            let version = self.next_id().row();
            written = Some(version);
            let expires_ms = ttl.map(|ttl| due(after_ms(self.now_ms, ttl)));
            self.connection
                .prepare_cached(
                    "INSERT INTO kv (plugin, key, value, version, expires_ms, event, ordinal, attempt)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                )?
                .execute(params![
                    bucket,
                    key,
                    value,
                    version,
                    expires_ms,
                    writer.map(|(delivery, _)| delivery.event.row()),
                    writer.map(|(delivery, _)| delivery.ordinal),
                    writer.map(|(_, attempt)| attempt)
                ])?;
            change += key_bytes + i64::try_from(value.len()).unwrap_or(i64::MAX);
        }
        self.delta.kv_bytes(bucket, change);
        Ok(written)
    }

    /// Sets or deletes a value for a client; returns its new version, or 1.
    pub(super) fn change_key(
        &mut self,
        change: &KeyChange,
    ) -> Result<Result<u64, StoreError>, rusqlite::Error> {
        let KeyChange { bucket, key, value, ttl, .. } = change;
        let found = kv_get(self.connection, bucket, key)?.map(|found| found.version);
        if let Some(why) = change.refusal(found) {
            return Ok(Err(StoreError::Conflict(why)));
        }
        let version = self.write_key(bucket, key, value.as_deref(), *ttl, None)?;
        Ok(Ok(version.map_or(1, i64::unsigned_abs)))
    }

    /// Deletes a value, if it still has this version; says whether it did.
    pub(super) fn remove_key(
        &mut self,
        bucket: &str,
        key: &str,
        version: i64,
    ) -> Result<bool, rusqlite::Error> {
        let removed: Option<i64> = self
            .connection
            .prepare_cached(
                "DELETE FROM kv WHERE plugin = ?1 AND key = ?2 AND version = ?3
                 RETURNING length(CAST(key AS BLOB)) + length(value)",
            )?
            .query_row(params![bucket, key, version], |row| row.get(0))
            .optional()?;
        if let Some(bytes) = removed {
            self.delta.kv_bytes(&bucket.into(), -bytes);
        }
        Ok(removed.is_some())
    }

    /// Deletes values that nobody has written for their time to live, at most `most` of them.
    /// Returns whether there may be more.
    pub(super) fn sweep_kv(&mut self, now_ms: i64, most: usize) -> Result<bool, rusqlite::Error> {
        let deleted: Vec<(String, i64)> = self
            .connection
            .prepare_cached(
                "DELETE FROM kv WHERE (plugin, key) IN
                 (SELECT plugin, key FROM kv WHERE expires_ms <= :now LIMIT :most)
                 RETURNING plugin, length(CAST(key AS BLOB)) + length(value)",
            )?
            .query_map(named_params! { ":now": now_ms, ":most": most }, |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
            .collect::<Result<_, _>>()?;
        for (bucket, bytes) in &deleted {
            self.delta.kv_bytes(&bucket.as_str().into(), -bytes);
        }
        Ok(deleted.len() == most)
    }
}

/// A key of a bucket.
pub(super) fn kv_get(
    connection: &Connection,
    bucket: &str,
    key: &str,
) -> Result<Option<KvValue>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT value, version FROM kv WHERE plugin = ?1 AND key = ?2")?
        .query_row([bucket, key], |row| Ok(KvValue { value: row.get(0)?, version: row.get(1)? }))
        .optional()
}

/// The keys of a range.
pub(super) fn keys(
    connection: &Connection,
    bucket: &str,
    range: &KvRange,
) -> Result<Vec<KvKey>, rusqlite::Error> {
    let read = |row: &Row<'_>| Ok(KvKey { key: row.get(0)?, bytes: row.get(1)? });
    rows(connection, "key, length(value)", bucket, range, read)
}

/// The keys of a range with what is known of their last write; `expires_ms` is host time.
pub(super) fn entries(
    connection: &Connection,
    bucket: &str,
    range: &KvRange,
) -> Result<Vec<KvEntry>, rusqlite::Error> {
    let columns = "key, length(value), version, expires_ms, event, ordinal, attempt";
    rows(connection, columns, bucket, range, |row| {
        let (event, ordinal): (Option<i64>, Option<u32>) = (row.get(4)?, row.get(5)?);
        let delivery = event.map(EventId::from_row).zip(ordinal);
        let delivery = delivery.map(|(event, ordinal)| DeliveryId { event, ordinal });
        Ok(KvEntry {
            key: row.get(0)?,
            bytes: row.get(1)?,
            version: row.get(2)?,
            expires_ms: row.get(3)?,
            writer: delivery.zip(row.get(6)?),
        })
    })
}

/// Columns of the rows of a range.
fn rows<T>(
    connection: &Connection,
    columns: &str,
    bucket: &str,
    range: &KvRange,
    read: impl FnMut(&Row<'_>) -> Result<T, rusqlite::Error>,
) -> Result<Vec<T>, rusqlite::Error> {
    const END: &str = "ORDER BY key LIMIT :most";
    // An end that is always compared would need a greatest text, and there is none.
    let after = range.after.as_deref().filter(|after| *after >= range.prefix.as_str());
    let (from, sign) = after.map_or((range.prefix.as_str(), ">="), |after| (after, ">"));
    let select = format!("SELECT {columns} FROM kv WHERE plugin = :bucket AND key {sign} :from");
    let most = range.limit;
    match range.end() {
        Some(end) => connection
            .prepare_cached(&format!("{select} AND key < :end {END}"))?
            .query_map(
                named_params! { ":bucket": bucket, ":from": from, ":end": end, ":most": most },
                read,
            )?
            .collect(),
        None => connection
            .prepare_cached(&format!("{select} {END}"))?
            .query_map(named_params! { ":bucket": bucket, ":from": from, ":most": most }, read)?
            .collect(),
    }
}
