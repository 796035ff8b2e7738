//! Keys: what plugins keep from one event to the next.

use std::sync::Arc;

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::frame::PageFrame;
use super::parts::html::{Html, shown};
use super::parts::link::{Link, word};
use super::parts::measure::bytes;
use super::parts::payload::{self, BodyView};
use super::parts::when::when_text;
use super::request::Asked;
use super::trail::Trail;
use super::{html, params};
use crate::admin::kv::{KeyJson, WriterJson, found_value, list_buckets, list_keys, show_value};
use crate::admin::params::{Id, KeyQuery, KeysQuery, NoQuery};
use crate::admin::problem::ProblemJson;
use crate::admin::state::Admin;
use crate::text::grouped;

pub(super) mod change;

#[derive(Template)]
#[template(path = "buckets.html")]
struct BucketsPage {
    frame: PageFrame,
    /// Name, path, size, and the plugins that have it.
    rows: Vec<(String, String, String, String)>,
}

/// Lists buckets.
pub(super) async fn buckets(
    State(admin): State<Arc<Admin>>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    asked.query::<NoQuery>()?;
    let Json(found) = list_buckets(State(Arc::clone(&admin)), params(NoQuery {})).await?;
    let rows = found.items.into_iter().map(|bucket| {
        let path = Link::to("/kv").segment(&bucket.bucket).into_text();
        (bucket.bucket, path, bytes(bucket.bytes), bucket.plugins.join(", "))
    });
    let frame = PageFrame::of(&admin, &asked, "keys", "Keys").await;
    let page = BucketsPage {
        rows: rows.collect(),
        frame: frame.same_as("hookbox kv".to_owned(), "/api/v1/kv".to_owned()),
    };
    html(StatusCode::OK, &page)
}

#[derive(Template)]
#[template(path = "keys.html")]
struct KeysPage {
    frame: PageFrame,
    bucket: String,
    prefix: String,
    new_path: String,
    rows: Vec<KeyRow>,
    next: Option<String>,
    /// How many keys there are, and how full the bucket is.
    count: String,
    size: String,
}

/// A key in the list.
#[derive(Debug)]
struct KeyRow {
    key: Html,
    path: String,
    size: String,
    version: String,
    expires: Option<Html>,
    writer: Option<(String, String)>,
}

impl KeyRow {
    fn of(it: KeyJson, bucket: &str, now_ms: i64) -> Self {
        let path = Link::to("/kv").segment(bucket).segment("value").with("key", &it.key);
        Self {
            key: shown(&it.key),
            path: path.into_text(),
            size: bytes(it.bytes),
            version: it.version,
            expires: it.expires_at.as_deref().map(|at| when_text(at, now_ms)),
            writer: it.written_by.as_ref().map(written_by),
        }
    }
}

/// The attempt that wrote a value: its address and its name.
fn written_by(writer: &WriterJson) -> (String, String) {
    let WriterJson { event_id, delivery_id, attempt } = writer;
    let page = Link::to("/events").segment(event_id).with("tab", "attempts").into_text();
    (format!("{page}#{delivery_id}"), format!("{delivery_id} #{attempt}"))
}

/// Lists keys of a bucket.
pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    Id(bucket): Id<String>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    let query = asked.query::<KeysQuery>()?;
    let shared = State(Arc::clone(&admin));
    let Json(found) = list_keys(shared, params(query), Id(bucket.clone())).await?;
    let now_ms = admin.clock.now_ms();
    let rows = found.items.into_iter().map(|it| KeyRow::of(it, &bucket, now_ms)).collect();
    let more = if found.has_more { "more than " } else { "" };
    let api = Link::to("/api/v1/kv").segment(&bucket).into_text();
    let frame = PageFrame::of(&admin, &asked, "keys", format!("Keys of {bucket}")).await;
    let command = asked.command(&format!("hookbox kv {}", word(&bucket)));
    let page = KeysPage {
        rows,
        frame: frame.same_as(command, asked.call(&api)),
        count: format!("{more}{}", grouped(found.count as u64)),
        size: format!("{} of {}", bytes(found.bytes), bytes(found.max_bytes)),
        prefix: asked.field("prefix").unwrap_or_default().to_owned(),
        new_path: Link::to("/kv").segment(&bucket).segment("set").into_text(),
        next: found.next_after.map(|after| asked.but("after", Some(&after))),
        bucket,
    };
    html(StatusCode::OK, &page)
}

#[derive(Template)]
#[template(path = "value.html")]
struct ValuePage {
    frame: PageFrame,
    bucket: String,
    bucket_path: String,
    key: Html,
    size: String,
    version: String,
    set_path: String,
    delete_path: String,
    expires: Option<Html>,
    writer: Option<(String, String)>,
    number: Option<i64>,
    body: Html,
    is_cut: bool,
    trail: Trail,
}

/// Shows a value.
pub(super) async fn value(
    State(admin): State<Arc<Admin>>,
    Id(bucket): Id<String>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    let query = asked.query::<KeyQuery>()?;
    let key = query.key()?.to_owned();
    let raw = found_value(&admin, &bucket, &key).await?.value;
    let shared = State(Arc::clone(&admin));
    let sees = asked.sees();
    let Json(found) = show_value(shared, sees, params(query), Id(bucket.clone())).await?;
    let view = match (found.value.is_some(), found.value_text.is_some()) {
        (true, _) => BodyView::Indented,
        (_, true) => BodyView::Text,
        _ => BodyView::Hex,
    };
    let (body, shown_bytes) = match &found.hidden {
        Some(hidden) => (shown(hidden), raw.len()),
        None => payload::body(&raw, view),
    };
    let api = Link::to("/api/v1/kv").segment(&bucket).segment("value").into_text();
    let own =
        |action| Link::to("/kv").segment(&bucket).segment(action).with("key", &key).into_text();
    let command = format!("hookbox kv {} {}", word(&bucket), word(&key));
    let frame = PageFrame::of(&admin, &asked, "keys", format!("A key of {bucket}")).await;
    let page = ValuePage {
        frame: frame.same_as(command, asked.call(&api)),
        bucket_path: Link::to("/kv").segment(&bucket).into_text(),
        key: shown(&key),
        size: bytes(found.bytes),
        version: found.version,
        expires: found.expires_at.as_deref().map(|at| when_text(at, admin.clock.now_ms())),
        writer: found.written_by.as_ref().map(written_by),
        set_path: own("set"),
        delete_path: own("delete"),
        number: found.number,
        body,
        is_cut: shown_bytes < raw.len(),
        trail: Trail::of_name(&admin, asked.sees(), &format!("{bucket}/{key}"), "kv").await?,
        bucket,
    };
    html(StatusCode::OK, &page)
}
