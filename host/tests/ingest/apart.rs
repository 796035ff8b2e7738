//! Events of a provider that differ are never taken for one, however alike their requests are.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, Method};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hookbox::config::source::DedupeBy;
use hookbox::config::{MakeSecrets, Partial, Routes, Source, Surroundings, presets};
use hookbox::event::NewEvent;
use hookbox::ingest::{Head, SignedParts, SourceRuntime, Unverified, sign_request};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use sha2::{Digest, Sha256};

use super::signed::{NOW_S, source};

const SECRET: &str = "sk_0123456789abcdef0123456789abcdef:x";

/// The events of a request as its provider sends it at this time.
pub(super) fn events(runtime: &SourceRuntime, body: &str, id: &str, at_s: i64) -> Vec<NewEvent> {
    let signed = sign_request(runtime.source(), body.as_bytes(), id, at_s).expect("it is ours");
    let SignedParts { mut headers, query, body, content_type } = signed;
    headers.push(("content-type".into(), content_type.unwrap_or("application/json").into()));
    let target = query.map_or("/webhook/acme".to_owned(), |it| format!("/webhook/acme?{it}"));
    received(runtime, &headers, &target, body, at_s)
}

fn received(
    runtime: &SourceRuntime,
    headers: &[(String, String)],
    target: &str,
    body: Vec<u8>,
    at_s: i64,
) -> Vec<NewEvent> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    let head = Head { method: Method::POST, uri: target.parse().unwrap(), headers: map };
    let request = Unverified::new(head, Bytes::from(body));
    let verified = request.verify(runtime, at_s * 1_000).expect("it is authentic");
    verified.events(&Routes::default(), at_s * 1_000).expect("it has events")
}

pub(super) fn are_one(first: &NewEvent, second: &NewEvent) -> bool {
    first.dedupe.iter().any(|key| second.dedupe.contains(key))
}

/// Two requests of a preset that are two events, as their provider sends them.
const APART: [(&str, &str, &str); 15] = [
    ("acuity", "action=rescheduled&id=1&calendarID=2", "action=rescheduled&id=1&calendarID=2"),
    ("attio", r#"{"events":[{"event_type":"a","id":{"r":"1"}}]}"#, "="),
    ("bitbucket", r#"{"push":{"changes":[{"new":{"type":"tag","name":"v1"}}]}}"#, "="),
    ("datadog", r#"{"alert":"cpu"}"#, "="),
    ("dropbox", r#"{"list_folder":{"accounts":["dbid:A"]},"delta":{"users":[1]}}"#, "="),
    ("freshdesk", r#"{"ticket_id":5}"#, "="),
    ("gitlab", r#"{"object_kind":"tag_push","ref":"refs/tags/v1","after":"a1"}"#, "="),
    (
        "hubspot",
        r#"[{"eventId":100,"portalId":1,"subscriptionId":5,"objectId":1,"occurredAt":7}]"#,
        r#"[{"eventId":100,"portalId":2,"subscriptionId":5,"objectId":1,"occurredAt":7}]"#,
    ),
    (
        "hubspot-v1",
        r#"[{"eventId":100,"portalId":1,"subscriptionId":5,"objectId":1,"occurredAt":7}]"#,
        r#"[{"eventId":100,"portalId":1,"subscriptionId":5,"objectId":9,"occurredAt":7}]"#,
    ),
    ("hugging-face", r#"{"event":{"action":"update","scope":"discussion"}}"#, "="),
    (
        "mandrill",
        r#"[{"event":"send","_id":"m1","ts":1772000000,"msg":{"_id":"m1"}}]"#,
        r#"[{"event":"open","_id":"m1","ts":1772000050,"msg":{"_id":"m1"}}]"#,
    ),
    (
        "microsoft-graph",
        r#"{"value":[{"subscriptionId":"s","clientState":"x","changeType":"updated","resource":"me/drive/root"}]}"#,
        "=",
    ),
    (
        "pipedrive",
        r#"{"v":1,"meta":{"action":"updated","object":"deal","id":7,"timestamp_micro":1}}"#,
        r#"{"v":1,"meta":{"action":"updated","object":"deal","id":7,"timestamp_micro":2}}"#,
    ),
    ("supabase-database", r#"{"type":"UPDATE","record":{"id":1,"flag":true}}"#, "="),
    ("zapier", r#"{"row":5}"#, "="),
];

#[test]
fn two_events_of_a_provider_are_two_however_alike_their_requests_are() {
    for (preset, first, second) in APART {
        let runtime = SourceRuntime::new(source(preset, SECRET));
        let second = if second == "=" { first } else { second };
        let [first, second] = [(first, "d-1", NOW_S), (second, "d-2", NOW_S + 60)]
            .map(|(body, id, at_s)| events(&runtime, body, id, at_s).remove(0));
        assert!(!are_one(&first, &second), "{preset}: {:?}", runtime.source().dedupe);
    }
}

#[test]
fn events_of_one_mail_in_one_list_are_several_and_a_repeated_list_is_known() {
    let runtime = SourceRuntime::new(source("mandrill", SECRET));
    let body = r#"[{"event":"send","_id":"m1","ts":1},{"event":"open","_id":"m1","ts":2},{"event":"click","_id":"m1","ts":2}]"#;
    let all = events(&runtime, body, "", NOW_S);
    assert_eq!(all.len(), 3);
    for (at, event) in all.iter().enumerate() {
        assert!(all[..at].iter().all(|before| !are_one(before, event)), "{at}");
    }
    let again = events(&runtime, body, "", NOW_S + 60);
    assert!(all.iter().zip(&again).all(|(first, again)| are_one(first, again)));
}

#[test]
fn a_retry_of_hubspot_is_known_although_its_attempt_has_another_number() {
    let runtime = SourceRuntime::new(source("hubspot", SECRET));
    let body = |attempt: u8| {
        format!(
            r#"[{{"eventId":1,"portalId":2,"subscriptionId":3,"objectId":4,"occurredAt":5,"attemptNumber":{attempt}}}]"#
        )
    };
    let [first, retry] =
        [0, 1].map(|attempt| events(&runtime, &body(attempt), "", NOW_S + i64::from(attempt)));
    assert!(are_one(&first[0], &retry[0]));
}

/// A token of Plaid for a body.
fn plaid_token(pair: &EcdsaKeyPair, body: &str, at_s: i64) -> String {
    let coded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let digest = hex::encode(Sha256::digest(body));
    let claims = format!(r#"{{"iat":{at_s},"request_body_sha256":"{digest}"}}"#);
    let text = format!("{}.{}", coded(br#"{"alg":"ES256","kid":"k"}"#), coded(claims.as_bytes()));
    let signature = pair.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
    format!("{text}.{}", coded(signature.as_ref()))
}

fn plaid(pair: &EcdsaKeyPair) -> Arc<Source> {
    let point = pair.public_key().as_ref();
    let [x, y] = [&point[1..33], &point[33..]].map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
    let key =
        format!(r#"{{"kty":"EC","crv":"P-256","alg":"ES256","kid":"k","x":"{x}","y":"{y}"}}"#);
    let section =
        format!("[sources.acme]\npreset = \"plaid\"\nverify = {{ public_keys = ['{key}'] }}\n");
    let env = |_: &str| None::<OsString>;
    let around = Surroundings { make_secrets: MakeSecrets::No, env: &env };
    let source = Partial::parse(Path::new("/config.toml"), &section, around).take_source("acme");
    source.unwrap().unwrap_or_else(|problems| panic!("{}", problems.render(false)))
}

#[test]
fn updates_of_one_item_of_plaid_are_told_apart_by_the_time_of_their_token() {
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap();
    let runtime = SourceRuntime::new(plaid(&pair));
    let body =
        r#"{"webhook_type":"TRANSACTIONS","webhook_code":"SYNC_UPDATES_AVAILABLE","item_id":"i"}"#;
    let [first, later] = [NOW_S, NOW_S + 90].map(|at_s| plaid_token(&pair, body, at_s));
    let post = |token: &String| {
        let headers = [("plaid-verification".to_owned(), token.clone())];
        received(&runtime, &headers, "/webhook/acme", body.into(), NOW_S + 90).remove(0)
    };
    assert!(!are_one(&post(&first), &post(&later)));
    assert!(are_one(&post(&first), &post(&first)), "the same token again");
}

#[test]
fn a_preset_that_goes_by_the_body_says_what_differs_in_it_or_that_nothing_may() {
    let mut silent = Vec::new();
    for name in presets::NAMES {
        let dedupe = presets::find(name).unwrap().dedupe(true);
        let about = presets::about(name).unwrap();
        let by_body = dedupe.keys.contains(&DedupeBy::Body);
        assert!(by_body || about.differs.is_none(), "{name} has other keys");
        if dedupe.is_body_for_want_of_better() {
            silent.push(name);
        }
    }
    // Whoever adds a preset here says that events may be lost: `hookbox check` tells its users.
    let known = "bird contentful fireflies flutterwave forgejo gitea gitea-form gogs help-scout \
                 hubspot-v2 kustomer paystack plivo sentry shopify snyk vapi webex websub woocommerce";
    assert_eq!(silent, known.split(' ').collect::<Vec<_>>());
}
