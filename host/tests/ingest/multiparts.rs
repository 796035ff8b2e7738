//! JSON in a field of `multipart/form-data`, and the signature within it, as Dropbox Sign sends it.

use axum::http::{HeaderMap, HeaderValue, Method};
use bytes::Bytes;
use hookbox::config::Routes;
use hookbox::ingest::{Head, Refusal, SourceRuntime, Unverified};
use ring::hmac;
use serde_json::json;

use super::forged::{SECRET, section};

const TIME_S: i64 = 1_772_000_000;

/// A section as a user writes it.
const SECTION: &str = r#"secrets = [{ env = "S" }]
form = "json"
type = { json = "/event/event_type" }
id = { join = "{json:/event/event_hash}.{json:/signature_request/signature_request_id}" }
subject = { json = "/signature_request/signature_request_id" }
dedupe = "id"
answer = { content_type = "text/plain", body = "Hello API Event Received" }
[sources.acme.verify]
scheme = "hmac-sha256"
from = { json = "/event/event_hash" }
timestamp = { json = "/event/event_time" }
tolerance = "31h"
signed = "{timestamp}{json:/event/event_type}""#;

const FORM: &str = "multipart/form-data; boundary=----d74496";

/// The JSON of an event of this type, with the signature of `signed`.
fn event(kind: &str, signed: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let hash = hex::encode(hmac::sign(&key, format!("{TIME_S}{signed}").as_bytes()));
    json!({
        "event": { "event_time": TIME_S.to_string(), "event_type": kind, "event_hash": hash },
        "signature_request": { "signature_request_id": "fa5c8a" },
    })
    .to_string()
}

/// A form with this field, and one before it.
fn form(name: &str, json: &str) -> String {
    let field = |name: &str, value: &str| {
        format!(
            "------d74496\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        )
    };
    format!("{}{}------d74496--\r\n", field("other", "1"), field(name, json))
}

fn request(content_type: &str, body: &str) -> Unverified {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_str(content_type).unwrap());
    let head = Head { method: Method::POST, uri: "/webhook/acme".parse().unwrap(), headers };
    Unverified::new(head, Bytes::copy_from_slice(body.as_bytes()))
}

#[test]
fn an_event_in_a_form_of_parts_is_verified_and_read_there() {
    let runtime = SourceRuntime::new(section(SECTION));
    let json = event("signature_request_signed", "signature_request_signed");
    let body = form("json", &json);
    for (content_type, body) in [(FORM, body.as_str()), ("application/json", json.as_str())] {
        let verified = request(content_type, body).verify(&runtime, TIME_S * 1_000).unwrap();
        let found = verified.events(&Routes::default(), TIME_S * 1_000).unwrap().remove(0);
        assert_eq!(found.attributes.kind, "signature_request_signed");
        assert_eq!(found.attributes.subject.as_deref(), Some("fa5c8a"));
        assert!(found.provider_id.is_some_and(|id| id.ends_with(".fa5c8a")));
        assert_eq!(found.attributes.body, body.as_bytes(), "it is kept as it came");
    }
}

#[test]
fn a_form_of_parts_that_lacks_its_signed_event_is_refused() {
    let runtime = SourceRuntime::new(section(SECTION));
    let good = event("signature_request_signed", "signature_request_signed");
    let body = form("json", &good);
    let twice = body.replace("name=\"other\"", "name=\"json\"");
    let forged = event("signature_request_declined", "signature_request_signed");
    let day_ms = 24 * 3_600 * 1_000;
    for (case, content_type, body, refusal) in [
        ("another type", FORM, form("json", &forged), Refusal::Mismatch),
        ("another field", FORM, form("JSON", &good), Refusal::NoSignature),
        ("two fields", FORM, twice, Refusal::NoSignature),
        ("no form at all", FORM, good.clone(), Refusal::NoSignature),
        ("no end", FORM, body[..body.len() - 46].to_owned(), Refusal::NoSignature),
        ("no boundary", "multipart/form-data", body.clone(), Refusal::NoSignature),
        ("another boundary", "multipart/form-data; boundary=x", body.clone(), Refusal::NoSignature),
    ] {
        let verdict = request(content_type, &body).verify(&runtime, TIME_S * 1_000);
        assert_eq!(verdict.map(drop).unwrap_err(), refusal, "{case}");
    }
    let late = |days: i64| request(FORM, &body).verify(&runtime, TIME_S * 1_000 + days * day_ms);
    assert!(late(1).is_ok() && late(2).is_err());
}
