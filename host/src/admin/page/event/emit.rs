//! An event of one's own: its type, subject and body, and then it is stored and routed.

use std::sync::Arc;

use askama::Template;
use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::admin::page::form::{FormFields, ONCE, once, see_other};
use crate::admin::page::frame::PageFrame;
use crate::admin::page::parts::link::Link;
use crate::admin::page::request::Asked;
use crate::admin::page::{html, params};
use crate::admin::params::NoQuery;
use crate::admin::problem::ProblemJson;
use crate::admin::role::Identity;
use crate::admin::start::start_event;
use crate::admin::state::Admin;
use crate::cloudevents::MEDIA_TYPE;

/// The header by which a form that is sent twice makes one event.
const KEY_HEADER: &str = "idempotency-key";

#[derive(Template)]
#[template(path = "emit.html")]
struct EmitPage {
    frame: PageFrame,
    /// The source that it will have.
    source: String,
    /// Types that routes name.
    types: Vec<String>,
}

impl EmitPage {
    /// The name of its form.
    fn once(&self) -> String {
        once()
    }
}

/// The event as the API takes it.
#[derive(Serialize)]
struct EmittedDocument<'a> {
    specversion: &'static str,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

/// Shows the fields.
pub(in crate::admin::page) async fn ask(
    State(admin): State<Arc<Admin>>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    asked.query::<NoQuery>()?;
    let name = asked.client.as_ref().map_or("local", |client| &*client.name).to_owned();
    let frame = PageFrame::of(&admin, &asked, "events", "New event").await;
    let config = admin.config.load();
    let patterns = config.routes.iter().map(|route| route.pattern.clone());
    let page = EmitPage {
        frame: frame.live("").same_as(
            "hookbox emit TYPE --subject SUBJECT --data FILE".to_owned(),
            "/api/v1/events' -H 'Content-Type: application/json' -d '{\"type\": \"TYPE\"}"
                .to_owned(),
        ),
        source: format!("api/{name}"),
        types: patterns.filter(|pattern| !pattern.contains(['*', ':'])).collect(),
    };
    html(StatusCode::OK, &page)
}

/// Makes the event.
pub(in crate::admin::page) async fn act(
    State(admin): State<Arc<Admin>>,
    client: Identity,
    request: Request,
) -> Result<Response, ProblemJson> {
    let most = admin.config.load().server.max_body_bytes;
    // A form writes a byte with up to three characters.
    let mut form = FormFields::read(request, most.saturating_mul(3).max(64 << 10)).await?;
    let key = form.take(ONCE);
    let kind = form.take("type").unwrap_or_default();
    let subject = form.take("subject");
    // A browser ends lines with two characters.
    let data = form.take("data").map(|data| data.replace("\r\n", "\n"));
    let data = data.as_deref().map(str::trim).filter(|data| !data.is_empty());
    let data = data.map(serde_json::from_str::<&RawValue>).transpose().map_err(|error| {
        ProblemJson::bad_request(format!(
            "the body is not JSON: {error}; `hookbox emit` takes any file"
        ))
    })?;
    let document =
        EmittedDocument { specversion: "1.0", kind: &kind, subject: subject.as_deref(), data };
    let document = serde_json::to_vec(&document).unwrap_or_default();
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    if let Some(key) = key.and_then(|key| HeaderValue::from_str(&key).ok()) {
        headers.insert(KEY_HEADER, key);
    }
    let (query, body) = (params(NoQuery {}), Body::from(document));
    let made = start_event(State(admin), client, query, headers, body).await?;
    let (_, Json(made)) = made;
    Ok(see_other(&Link::to("/events").segment(&made.event_id).into_text()))
}
