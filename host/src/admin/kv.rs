//! Key-value buckets: listed, their keys listed, and one value shown, set or deleted.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::body;
use super::params::{Id, KeyQuery, KeysQuery, NoQuery, Params};
use super::problem::ProblemJson;
use super::sees::Sees;
use super::state::Admin;
use crate::clock::rfc3339;
use crate::dispatch::MAX_KV_BYTES;
use crate::event::{DeliveryId, PluginName};
use crate::names::hint;
use crate::store::{KvEntry, KvRange, KvValue};
use crate::text::needs_escape;

pub(super) mod change;

/// The most keys that are counted.
const MAX_COUNTED: usize = 10_000;

/// The buckets that hold anything, or that the configuration names.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Buckets {
    /// By name.
    pub(super) items: Vec<BucketJson>,
}

/// A bucket.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Bucket)]
pub(super) struct BucketJson {
    /// Its name: that of a plugin, unless `kv` of a plugin's section names another one.
    pub(super) bucket: String,
    /// Bytes of its keys and values.
    pub(super) bytes: u64,
    /// The plugins that have it.
    pub(super) plugins: Vec<String>,
}

/// Keys of a bucket.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BucketKeys {
    /// In the order of their bytes.
    pub(super) items: Vec<KeyJson>,
    /// The `after` of the next page; absent on the last one.
    pub(super) next_after: Option<String>,
    /// How many keys begin with the prefix, of the whole bucket without one; at most 10,000.
    pub(super) count: usize,
    /// Whether there are more than that.
    pub(super) has_more: bool,
    /// Bytes of all keys and values of the bucket.
    pub(super) bytes: u64,
    /// The most that they may be.
    pub(super) max_bytes: u64,
}

/// The attempt that wrote a value.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = KvWriter)]
pub(super) struct WriterJson {
    /// The event of its delivery.
    pub(super) event_id: String,
    /// Its delivery.
    pub(super) delivery_id: String,
    /// Its number.
    pub(super) attempt: u32,
}

impl From<(DeliveryId, u32)> for WriterJson {
    fn from((delivery, attempt): (DeliveryId, u32)) -> Self {
        let (event_id, delivery_id) = (delivery.event.to_string(), delivery.to_string());
        Self { event_id, delivery_id, attempt }
    }
}

/// A key of a bucket.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = KvKey)]
pub(super) struct KeyJson {
    /// The key.
    pub(super) key: String,
    /// Bytes of its value.
    pub(super) bytes: u64,
    /// Its version, another one after every write.
    pub(super) version: String,
    /// When it goes unless it is written again, RFC 3339 with milliseconds; null if it stays.
    pub(super) expires_at: Option<String>,
    /// The attempt that wrote it last; null if a client did, or a host of an older version.
    pub(super) written_by: Option<WriterJson>,
}

impl From<KvEntry> for KeyJson {
    fn from(entry: KvEntry) -> Self {
        Self {
            key: entry.key,
            bytes: entry.bytes,
            version: entry.version.to_string(),
            expires_at: entry.expires_ms.map(rfc3339),
            written_by: entry.writer.map(WriterJson::from),
        }
    }
}

/// A value, as JSON, text or base64.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = KvValue)]
pub(super) struct ValueJson {
    /// The bucket.
    pub(super) bucket: String,
    /// The key.
    pub(super) key: String,
    /// Bytes of the value.
    pub(super) bytes: u64,
    /// Its version, another one after every write: what a change names.
    pub(super) version: String,
    /// When it goes unless it is written again, RFC 3339 with milliseconds; absent if it stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expires_at: Option<String>,
    /// The attempt that wrote it last; absent if a client did, or a host of an older version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) written_by: Option<WriterJson>,
    /// The value, if it is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub(super) value: Option<Box<RawValue>>,
    /// The value, if it is text and not JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value_text: Option<String>,
    /// The value in base64 (RFC 4648 §4), if it is neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    /// The number that `add` of `hookbox:plugin/kv` finds in it, if it has 8 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) number: Option<i64>,
    /// Stands for the value if the client's token does not read payloads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hidden: Option<String>,
}

impl ValueJson {
    fn of(bucket: String, key: String, found: &KvValue, sees: Sees) -> Self {
        let value = found.value.as_slice();
        let (bytes, hidden) = (value.len() as u64, sees.hidden(value.len()));
        let version = found.version.to_string();
        if hidden.is_some() {
            return Self {
                bucket,
                key,
                bytes,
                version,
                expires_at: None,
                written_by: None,
                value: None,
                value_text: None,
                value_base64: None,
                number: None,
                hidden,
            };
        }
        let json = body::json(value);
        let text = std::str::from_utf8(value).ok().filter(|text| !text.chars().any(needs_escape));
        let text = if json.is_none() { text.map(str::to_owned) } else { None };
        let is_other = json.is_none() && text.is_none();
        let number = value.try_into().ok().map(i64::from_le_bytes);
        Self {
            bucket,
            key,
            bytes,
            version,
            expires_at: None,
            written_by: None,
            value: json,
            value_text: text,
            value_base64: is_other.then(|| STANDARD.encode(value)),
            number: if is_other { number } else { None },
            hidden,
        }
    }
}

/// List the key-value buckets.
#[utoipa::path(get, path = "/api/v1/kv", tag = "kv", responses(
    (status = 200, description = "All buckets", body = Buckets),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn list_buckets(
    State(admin): State<Arc<Admin>>,
    Params(NoQuery {}): Params<NoQuery>,
) -> Result<Json<Buckets>, ProblemJson> {
    Ok(Json(Buckets { items: buckets(&admin).await? }))
}

/// List keys of a bucket, in the order of their bytes.
#[utoipa::path(get, path = "/api/v1/kv/{bucket}", tag = "kv",
    params(("bucket" = String, Path, description = "The bucket"), KeysQuery), responses(
    (status = 200, description = "A page of keys", body = BucketKeys),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn list_keys(
    State(admin): State<Arc<Admin>>,
    Params(query): Params<KeysQuery>,
    Id(bucket): Id<String>,
) -> Result<Json<BucketKeys>, ProblemJson> {
    let bucket = known(&admin, &bucket).await?;
    let limit = query.rows()?;
    let (prefix, after) = (query.prefix.unwrap_or_default(), query.after);
    let all = KvRange { prefix: prefix.clone(), after: None, limit: MAX_COUNTED + 1 };
    let found = admin.store.kv_entries(bucket.clone(), KvRange { prefix, after, limit }).await?;
    let last = if found.len() == limit { found.last().map(|last| last.key.clone()) } else { None };
    let counted = admin.store.kv_keys(bucket.clone(), all).await?.len();
    Ok(Json(BucketKeys {
        items: found.into_iter().map(KeyJson::from).collect(),
        next_after: last,
        count: counted.min(MAX_COUNTED),
        has_more: counted > MAX_COUNTED,
        bytes: admin.store.kv_bytes(&bucket).await?,
        max_bytes: MAX_KV_BYTES,
    }))
}

/// Show the value of a key.
#[utoipa::path(get, path = "/api/v1/kv/{bucket}/value", tag = "kv",
    params(("bucket" = String, Path, description = "The bucket"), KeyQuery), responses(
    (status = 200, description = "The value", body = ValueJson),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn show_value(
    State(admin): State<Arc<Admin>>,
    sees: Sees,
    Params(query): Params<KeyQuery>,
    Id(bucket): Id<String>,
) -> Result<Json<ValueJson>, ProblemJson> {
    let key = query.key()?.to_owned();
    let found = found_value(&admin, &bucket, &key).await?;
    let its = KvRange { prefix: key.clone(), after: None, limit: 1 };
    let entries = admin.store.kv_entries(bucket.as_str().into(), its).await?;
    let entry = entries.into_iter().find(|it| it.key == key && it.version == found.version);
    let mut shown = ValueJson::of(bucket, key, &found, sees);
    if let Some(KvEntry { expires_ms, writer, .. }) = entry {
        shown.expires_at = expires_ms.map(rfc3339);
        shown.written_by = writer.map(WriterJson::from);
    }
    Ok(Json(shown))
}

/// A value with its version.
pub(super) async fn found_value(
    admin: &Admin,
    bucket: &str,
    key: &str,
) -> Result<KvValue, ProblemJson> {
    let bucket = known(admin, bucket).await?;
    let found = admin.store.kv_get(bucket.clone(), key.to_owned()).await?;
    let shown: String = key.chars().take(80).collect();
    let missing = || ProblemJson::not_found(format!("bucket `{bucket}` has no key `{shown}`"));
    found.ok_or_else(missing)
}

/// The buckets that hold anything, and those of the configuration.
async fn buckets(admin: &Admin) -> Result<Vec<BucketJson>, ProblemJson> {
    let (config, registry) = (admin.config.load(), admin.registry.load());
    let mut found = admin.store.kv_buckets().await?;
    let named: Vec<(PluginName, PluginName)> = registry
        .entries()
        .map(|(name, _)| (config.plugin(name).kv.bucket_of(name), name.clone()))
        .collect();
    let shared = named.iter().filter(|(bucket, name)| bucket != name);
    for (bucket, _) in shared {
        found.entry(bucket.clone()).or_default();
    }
    let plugins = |bucket: &PluginName| {
        let having = named.iter().filter(|(its, _)| its == bucket);
        having.map(|(_, name)| name.to_string()).collect()
    };
    let items = found.iter().map(|(bucket, bytes)| BucketJson {
        bucket: bucket.to_string(),
        bytes: *bytes,
        plugins: plugins(bucket),
    });
    Ok(items.collect())
}

/// Buckets that a refusal names.
const NAMED_BUCKETS: usize = 20;

/// The bucket of this name; the refusal knows those that there are.
pub(super) async fn known(admin: &Admin, name: &str) -> Result<PluginName, ProblemJson> {
    let there = buckets(admin).await?;
    let is_plugins = admin.registry.load().entries().any(|(plugin, _)| **plugin == *name);
    if is_plugins || there.iter().any(|it| it.bucket == name) {
        return Ok(name.into());
    }
    let hint = hint(name, there.iter().map(|it| it.bucket.as_str()));
    let shown: String = name.chars().take(80).collect();
    let mut names: Vec<String> =
        there.iter().take(NAMED_BUCKETS).map(|it| format!("`{}`", it.bucket)).collect();
    if there.len() > NAMED_BUCKETS {
        names.push(format!("{} more, which `hookbox kv` lists", there.len() - NAMED_BUCKETS));
    }
    let known = match names.as_slice() {
        [] => "none holds anything".to_owned(),
        names => format!("there are {}", names.join(", ")),
    };
    Err(ProblemJson::not_found(format!(
        "there is no bucket `{shown}`{hint} ({known}; `kv = {{ bucket = \"orders\" }}` under `[plugins.NAME]` makes one)"
    )))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_shown_as_what_it_is() {
        for (value, expected) in [
            (&b"{\"n\": 1}"[..], json!({ "value": { "n": 1 } })),
            (b"open", json!({ "value_text": "open" })),
            (b"a\0b", json!({ "value_base64": "YQBi" })),
            (&42_i64.to_le_bytes(), json!({ "value_base64": "KgAAAAAAAAA=", "number": 42 })),
            (b"", json!({ "value_text": "" })),
        ] {
            let found = KvValue { value: value.to_vec(), version: i64::MAX };
            let shown = ValueJson::of("orders".to_owned(), "k".to_owned(), &found, Sees::ALL);
            assert_eq!(shown.version, "9223372036854775807");
            let mut shown = serde_json::to_value(shown).unwrap();
            let members = shown.as_object_mut().unwrap();
            assert_eq!(members.remove("bytes"), Some(json!(value.len())));
            members.retain(|name, _| name.starts_with("value") || name == "number");
            assert_eq!(shown, expected);
            let (bucket, key) = ("orders".to_owned(), "k".to_owned());
            let hidden = ValueJson::of(bucket, key, &found, Sees::NO_PAYLOADS);
            let hidden = serde_json::to_value(hidden).unwrap();
            let names: Vec<_> = hidden.as_object().unwrap().keys().collect();
            assert_eq!(names, ["bucket", "bytes", "hidden", "key", "version"]);
        }
    }
}
