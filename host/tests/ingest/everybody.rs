//! Providers that sign for all of their customers with one key: whose events are taken.

use axum::http::{HeaderMap, Method};
use bytes::Bytes;
use hookbox::config::Source;
use hookbox::ingest::{Head, SourceRuntime, Unverified, sign};

use super::forged::section;
use super::host::NOW_S;

/// Wise, with a secret in place of its private key.
const WISE: &str = "preset = \"wise\"\nsecrets = [{ env = \"S\" }]\nparams = { profile_id = \"222\" }\n\
    verify = { scheme = \"hmac-sha256\", when = { json = \"/data/resource/profile_id\", param = \"profile_id\" } }";

fn request(source: &Source, body: &str, more: Option<&'static str>) -> (Head, Bytes) {
    let mut headers = HeaderMap::new();
    for (name, value) in sign(source, body.as_bytes(), "d-1", NOW_S).unwrap() {
        headers.insert(axum::http::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
    }
    if let Some(name) = more {
        headers.insert(name, "true".parse().unwrap());
    }
    let head = Head { method: Method::POST, uri: "/webhook/acme".parse().unwrap(), headers };
    (head, Bytes::copy_from_slice(body.as_bytes()))
}

#[test]
fn a_transfer_of_another_customer_of_wise_is_refused_once_a_rule_names_the_profile() {
    let source = section(WISE);
    let runtime = SourceRuntime::new(source.clone());
    let is_taken = |profile: u32| {
        let body = format!(
            r#"{{"data":{{"resource":{{"id":1,"profile_id":{profile}}}}},"event_type":"transfers#state-change"}}"#
        );
        let (head, body) = request(&source, &body, None);
        Unverified::new(head, body).verify(&runtime, NOW_S * 1_000).is_ok()
    };
    assert!(is_taken(222));
    assert!(!is_taken(333) && !is_taken(2_222));
}

#[test]
fn the_test_of_wise_is_answered_whoever_it_is_about_and_not_stored() {
    let source = section(WISE);
    let runtime = SourceRuntime::new(source.clone());
    let (head, body) = request(&source, r#"{"data":{}}"#, Some("x-test-notification"));
    let answer = runtime.handshake(&head, &body, NOW_S * 1_000).expect("it is a handshake");
    assert_eq!(answer.status, 200);
    let (head, body) = request(&source, r#"{"data":{}}"#, None);
    assert!(runtime.handshake(&head, &body, NOW_S * 1_000).is_none());
}
