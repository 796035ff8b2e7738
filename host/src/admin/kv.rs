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
use crate::event::PluginName;
use crate::names::hint;
use crate::store::{KvRange, KvValue};
use crate::text::needs_escape;

pub(super) mod change;

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
}

/// A key of a bucket.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = KvKey)]
pub(super) struct KeyJson {
    /// The key.
    pub(super) key: String,
    /// Bytes of its value.
    pub(super) bytes: u64,
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
                value: None,
                value_text: None,
                value_base64: None,
                number: None,
                hidden,
            };
        }
        let json = body::json(value);
        let text = std::str::from_utf8(value).ok().filter(|text| !text.chars().any(needs_escape));
        let text = text.filter(|_| json.is_none()).map(str::to_owned);
        let is_other = json.is_none() && text.is_none();
        let number = value.try_into().ok().map(i64::from_le_bytes);
        Self {
            bucket,
            key,
            bytes,
            version,
            value: json,
            value_text: text,
            value_base64: is_other.then(|| STANDARD.encode(value)),
            number: number.filter(|_| is_other),
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
    let found = admin.store.kv_keys(bucket, KvRange { prefix, after, limit }).await?;
    let last = found.last().filter(|_| found.len() == limit).map(|last| last.key.clone());
    let items = found.into_iter().map(|found| KeyJson { key: found.key, bytes: found.bytes });
    Ok(Json(BucketKeys { items: items.collect(), next_after: last }))
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
    Ok(Json(ValueJson::of(bucket, key, &found, sees)))
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

/// The bucket of this name; the refusal knows those that there are.
pub(super) async fn known(admin: &Admin, name: &str) -> Result<PluginName, ProblemJson> {
    let there = buckets(admin).await?;
    let is_plugins = admin.registry.load().entries().any(|(plugin, _)| **plugin == *name);
    if is_plugins || there.iter().any(|it| it.bucket == name) {
        return Ok(name.into());
    }
    let hint = hint(name, there.iter().map(|it| it.bucket.as_str()));
    let shown: String = name.chars().take(80).collect();
    Err(ProblemJson::not_found(format!(
        "there is no bucket `{shown}`{hint} (`hookbox kv` and `/api/v1/kv` list those that there are)"
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
