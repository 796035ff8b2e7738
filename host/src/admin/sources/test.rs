//! Test events: signed with the source's secret and posted to the host's own public address.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::admin::by::By;
use crate::admin::params::{Id, NoQuery, Params};
use crate::admin::problem::ProblemJson;
use crate::admin::sources::find;
use crate::admin::state::{Admin, MAX_BODY_BYTES};
use crate::config::Source;
use crate::event::name;
use crate::ingest::sample::{Assignment, Sample};
use crate::ingest::{SignedParts, named_event, sign_request};
use crate::server;

/// The host replies within 2.5 s.
const WITHIN: Duration = Duration::from_secs(8);

/// A test event.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct TestRequest {
    /// The type.
    #[serde(rename = "type")]
    kind: String,
    /// Values that are set in the body, by paths such as `event_data.callback_id`.
    #[serde(default)]
    #[schema(value_type = Object)]
    set: BTreeMap<String, Value>,
    /// The body, in place of a sample; as it is, if nothing is to be set.
    #[schema(value_type = Option<Object>)]
    body: Option<Box<RawValue>>,
}

impl TestRequest {
    /// A sample of a type; each line sets a value, `PATH=VALUE`.
    pub(in crate::admin) fn of_lines(kind: String, lines: &str) -> Result<Self, ProblemJson> {
        let mut set = BTreeMap::new();
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (path, value) = line.split_once('=').ok_or_else(|| {
                let line = short(line);
                ProblemJson::bad_request(format!("`set`: `{line}` is not PATH=VALUE"))
            })?;
            let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
            set.insert(path.to_owned(), value);
        }
        Ok(Self { kind, set, body: None })
    }
}

/// The result of a test event.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(in crate::admin) struct Tested {
    /// The status of the reply.
    pub(in crate::admin) status: u16,
    /// The reply, as the provider would have got it.
    pub(in crate::admin) reply: Value,
    /// The event, if it was stored or known.
    pub(in crate::admin) event_id: Option<String>,
    /// How long the reply took, in milliseconds.
    pub(in crate::admin) ms: f64,
}

/// Send a test event: a sample, signed with the first secret of the source, posted to the public
/// address of this host. Plugins get it like any other event.
#[utoipa::path(post, path = "/api/v1/sources/{name}/test", tag = "events",
    params(
        ("name" = String, Path, description = "The source"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters"),
    ),
    request_body(content = TestRequest, content_type = "application/json"),
    responses(
    (status = 200, description = "The public address has replied", body = Tested),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(in crate::admin) async fn test_source(
    State(admin): State<Arc<Admin>>,
    by: By,
    Params(NoQuery {}): Params<NoQuery>,
    Id(name): Id<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Tested>, ProblemJson> {
    send(&admin, by, &name, read(&headers, body).await?).await.map(Json)
}

/// Sends a test event.
pub(in crate::admin) async fn send(
    admin: &Admin,
    by: By,
    name: &str,
    request: TestRequest,
) -> Result<Tested, ProblemJson> {
    let source = find(&admin.config.load(), name)?;
    let note = by.note("sources.test", name, &format!("type {}", request.kind));
    let signed = signed(admin, &source, request)?;
    // Two requests with one key are one: the second waits, and gets the answer of the first.
    let _turn = if note.key.is_some() { Some(admin.keyed_changes.lock().await) } else { None };
    if let Some(answer) = admin.store.answer(note.clone()).await? {
        return serde_json::from_str(&answer).map_err(|error| {
            ProblemJson::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
        });
    }
    // Without its entry it is not sent.
    admin.store.note(note.of_a_part()).await?;
    let tested = post(admin, name, signed).await?;
    if note.key.is_some() {
        let answer = serde_json::to_string(&tested).unwrap_or_default();
        admin.store.keep_answer(note, answer).await?;
    }
    Ok(tested)
}

/// A test event, signed.
struct SignedTest {
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// With its `?`, or nothing.
    query: String,
}

/// Makes the event and signs it.
fn signed(admin: &Admin, source: &Source, request: TestRequest) -> Result<SignedTest, ProblemJson> {
    let TestRequest { kind, set, body } = request;
    if let Err(fault) = name::check(&kind) {
        return Err(ProblemJson::bad_request(format!("`type` {fault}")));
    }
    let mut assignments = Vec::new();
    for (path, value) in set {
        let assignment = Assignment::new(&path, value).map_err(|fault| {
            ProblemJson::bad_request(format!("`set`: `{}`: {fault}", short(&path)))
        })?;
        assignments.push(assignment);
    }
    let data = body.map(|body| body.get().as_bytes().to_vec());
    let sample = Sample::new(source, &kind, data, assignments)
        .map_err(|fault| ProblemJson::bad_request(format!("`type` or `set`: {fault}")))?;
    let made = sample.make();
    let signed = sign_request(source, &made.body, &made.id, admin.clock.now_ms() / 1_000)
        .map_err(|error| ProblemJson::conflict(format!("{error}: no test event can be signed")))?;
    let SignedParts { mut headers, query, body, content_type } = signed;
    headers.extend(made.headers);
    let content_type = content_type.unwrap_or_else(|| sample.content_type());
    headers.push(("content-type".to_owned(), content_type.to_owned()));
    let agent = concat!("hookbox/", env!("CARGO_PKG_VERSION"), " (test event)");
    headers.push(("user-agent".to_owned(), agent.to_owned()));
    Ok(SignedTest { headers, body, query: query.map(|it| format!("?{it}")).unwrap_or_default() })
}

fn short(text: &str) -> String {
    text.chars().take(80).collect()
}

async fn post(
    admin: &Admin,
    name: &str,
    SignedTest { headers, body, query }: SignedTest,
) -> Result<Tested, ProblemJson> {
    let path = format!("/webhook/{name}{query}");
    let address = admin.public_address;
    let begun = Instant::now();
    let posted = server::post(address, &path, &headers, body, WITHIN).await;
    let posted = posted.map_err(|error| {
        let detail = format!("no answer from the public address {address}: {error}");
        ProblemJson::new(StatusCode::BAD_GATEWAY, detail)
    })?;
    let (status, reply) = (posted.status(), posted.body());
    let reply: Value = serde_json::from_slice(reply)
        .unwrap_or_else(|_| String::from_utf8_lossy(reply).into_owned().into());
    // A source with an answer of its own names the event in a header.
    let named = named_event(posted.headers()).and_then(|text| text.split(' ').next());
    let id = reply["id"].as_str().or(named).map(str::to_owned);
    Ok(Tested {
        status: status.as_u16(),
        event_id: if status.is_success() { id } else { None },
        ms: (begun.elapsed().as_secs_f64() * 1e5).round() / 100.0,
        reply,
    })
}

async fn read(headers: &HeaderMap, body: Body) -> Result<TestRequest, ProblemJson> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        let detail = "a test event must be `Content-Type: application/json`, such as {\"type\": \"order.paid\"}";
        return Err(ProblemJson::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let body = axum::body::to_bytes(body, MAX_BODY_BYTES).await.map_err(|_| {
        let detail = format!("the body is not readable or longer than {MAX_BODY_BYTES} bytes");
        ProblemJson::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    })?;
    serde_json::from_slice(&body).map_err(|error| {
        ProblemJson::bad_request(format!(
            "the body is no test event: {error}; the least is {{\"type\": \"order.paid\"}}"
        ))
    })
}
