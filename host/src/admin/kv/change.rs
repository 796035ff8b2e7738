//! Values that clients set and delete: with the version that they have seen.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::known;
use crate::admin::by::By;
use crate::admin::params::{ChangeKeyQuery, Id, Params};
use crate::admin::problem::ProblemJson;
use crate::admin::state::Admin;
use crate::dispatch::MAX_KV_BYTES;
use crate::event::PluginName;
use crate::sandbox::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
use crate::store::{KeyChange, KeyExpected};

/// A value that was set or deleted.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::admin) struct KeyChanged {
    /// The bucket.
    pub(in crate::admin) bucket: String,
    /// The key.
    pub(in crate::admin) key: String,
    /// The version of the value; absent if it was deleted.
    pub(in crate::admin) version: Option<String>,
}

/// Set the value of a key: the body of the request is the value, byte for byte.
///
/// The request says what the client believes to be there: `if_version`, `if_absent=true`, or
/// `force=true` for whatever there is. An attempt that has read the key runs again.
#[utoipa::path(put, path = "/api/v1/kv/{bucket}/value", tag = "kv",
    params(("bucket" = String, Path, description = "The bucket"), ChangeKeyQuery),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The value"),
    responses(
    (status = 200, description = "It is set", body = KeyChanged),
    (status = 409, description = "It has changed meanwhile", body = ProblemJson, content_type = "application/problem+json"),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(in crate::admin) async fn set_value(
    State(admin): State<Arc<Admin>>,
    by: By,
    Params(query): Params<ChangeKeyQuery>,
    Id(bucket): Id<String>,
    body: Body,
) -> Result<Json<KeyChanged>, ProblemJson> {
    let (key, expected) = (query.key()?.to_owned(), query.expected(true)?);
    let value = to_bytes(body, MAX_VALUE_BYTES).await.map_err(|_| too_long())?;
    change(&admin, &by, &bucket, key, Some(value.to_vec()), expected).await
}

/// Delete the value of a key.
#[utoipa::path(delete, path = "/api/v1/kv/{bucket}/value", tag = "kv",
    params(("bucket" = String, Path, description = "The bucket"), ChangeKeyQuery),
    responses(
    (status = 200, description = "It is deleted", body = KeyChanged),
    (status = 409, description = "It has changed meanwhile", body = ProblemJson, content_type = "application/problem+json"),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(in crate::admin) async fn delete_value(
    State(admin): State<Arc<Admin>>,
    by: By,
    Params(query): Params<ChangeKeyQuery>,
    Id(bucket): Id<String>,
) -> Result<Json<KeyChanged>, ProblemJson> {
    let (key, expected) = (query.key()?.to_owned(), query.expected(false)?);
    change(&admin, &by, &bucket, key, None, expected).await
}

fn too_long() -> ProblemJson {
    let detail = format!("the value is longer than {MAX_VALUE_BYTES} bytes, which are the most");
    ProblemJson::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

/// Sets or deletes a value within the limits that plugins have.
pub(in crate::admin) async fn change(
    admin: &Admin,
    by: &By,
    bucket: &str,
    key: String,
    value: Option<Vec<u8>>,
    expected: KeyExpected,
) -> Result<Json<KeyChanged>, ProblemJson> {
    let bucket = known(admin, bucket).await?;
    if key.is_empty() || key.len() > MAX_KEY_BYTES || key.chars().any(char::is_control) {
        return Err(ProblemJson::bad_request(format!(
            "`key` must have 1 to {MAX_KEY_BYTES} bytes and no control characters"
        )));
    }
    if let Some(value) = &value {
        if value.len() > MAX_VALUE_BYTES {
            return Err(too_long());
        }
        let there = admin.store.kv_bytes(&bucket).await?;
        if there.saturating_add((key.len() + value.len()) as u64) > MAX_KV_BYTES {
            return Err(ProblemJson::conflict(format!(
                "bucket `{bucket}` is full: it may hold {MAX_KV_BYTES} bytes"
            )));
        }
    }
    let (action, detail) = match &value {
        Some(value) => {
            let sum = &hex::encode(Sha256::digest(value))[..16];
            ("kv.set", format!("{} bytes, sha256:{sum}; {}", value.len(), said(expected)))
        }
        None => ("kv.delete", said(expected)),
    };
    let note = by.note(action, &format!("{bucket}/{key}"), &detail);
    let ttl = if value.is_some() { ttl_of(admin, &bucket) } else { None };
    let change = KeyChange { bucket: bucket.clone(), key: key.clone(), value, expected, ttl };
    let version = admin.store.change_key(Some(note), change).await?;
    tracing::info!(kv.bucket = %bucket, action, "an operator changes a key");
    let version = version.map(|version| version.to_string());
    Ok(Json(KeyChanged { bucket: bucket.to_string(), key, version }))
}

fn said(expected: KeyExpected) -> String {
    match expected {
        KeyExpected::Anything => "whatever is there".to_owned(),
        KeyExpected::Absent => "if it is not there".to_owned(),
        KeyExpected::Version(version) => format!("if its version is {version}"),
    }
}

/// For how long values of a bucket live: the longest time of the plugins that have it.
fn ttl_of(admin: &Admin, bucket: &PluginName) -> Option<Duration> {
    let (config, registry) = (admin.config.load(), admin.registry.load());
    let settings = registry.entries().map(|(name, _)| (name, config.plugin(name)));
    let having = settings.filter(|(name, its)| its.kv.bucket_of(name) == *bucket);
    let times: Option<Vec<u64>> = having.map(|(_, its)| its.kv.ttl_ms).collect();
    times?.into_iter().max().map(Duration::from_millis)
}
