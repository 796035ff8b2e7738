//! Captured requests that are sent again in other bytes: what is signed makes them duplicates. Two
//! events stay two, however much they have in common.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hookbox::config::Source;
use ring::hmac::{self, Algorithm, HMAC_SHA1_FOR_LEGACY_USE_ONLY, HMAC_SHA256};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::forged::{SECRET, section};
use super::host::{Host, NOW_S, Options, request};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// A host with this section, whose address is `https://h`.
async fn host(text: &str) -> Host {
    let source = Source::clone(&section(text));
    Host::start(Options { sources: vec![source], ..Options::default() }).await
}

fn preset(name: &str, more: &str) -> String {
    format!("preset = \"{name}\"\nsecrets = [{{ env = \"S\" }}]\n{more}")
}

const ADDRESS: &str = "verify = { public_url = \"https://h\" }";

/// `accepted` if an event was stored, `duplicate` if none was, or the status of a refusal.
async fn post(host: &Host, query: &str, headers: &[(&str, &str)], body: &str) -> String {
    let path = format!("/webhook/acme{query}");
    let before = host.events().await.len();
    let response = host.exchange(request("POST", &path, headers, body.as_bytes())).await;
    match (response.status, host.events().await.len() - before) {
        (200, 0) => "duplicate".to_owned(),
        (200, 1) => "accepted".to_owned(),
        (status, _) => status.to_string(),
    }
}

fn mac(algorithm: Algorithm, text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(algorithm, SECRET.as_bytes()), text.as_bytes())
}

fn base64_mac(algorithm: Algorithm, text: &str) -> String {
    STANDARD.encode(mac(algorithm, text))
}

#[tokio::test]
async fn a_message_of_twilio_is_two_events_when_its_state_changes_and_one_when_it_is_replayed() {
    let host = host(&preset("twilio", ADDRESS)).await;
    let signature = |fields: &str| {
        let text = format!("https://h/webhook/acme{fields}");
        base64_mac(HMAC_SHA1_FOR_LEGACY_USE_ONLY, &text)
    };
    let sent = signature("MessageSidSM1MessageStatussent");
    let sent = [FORM, ("x-twilio-signature", &*sent)];
    let delivered = signature("MessageSidSM1MessageStatusdelivered");
    let delivered = [FORM, ("x-twilio-signature", &*delivered)];
    let good = "MessageSid=SM1&MessageStatus=sent";
    assert_eq!(post(&host, "", &sent, good).await, "accepted");
    let later = "MessageSid=SM1&MessageStatus=delivered";
    assert_eq!(post(&host, "", &delivered, later).await, "accepted");
    for replay in [
        good,
        "MessageStatus=sent&MessageSid=SM1",
        "MessageSidS=M1&MessageStatus=sent",
        "MessageSid=SM%31&MessageStatus=sent",
        "MessageSid=SM1&MessageStatus=sent&MessageStatus=sent",
    ] {
        assert_eq!(post(&host, "", &sent, replay).await, "duplicate", "{replay}");
    }
    assert_eq!(host.events().await.len(), 2);
}

#[tokio::test]
async fn a_form_in_another_order_or_with_other_escapes_is_a_duplicate() {
    let plivo = host(&preset("plivo", ADDRESS)).await;
    let signature = base64_mac(HMAC_SHA256, "https://h/webhook/acme.A1B2.n");
    let headers =
        [FORM, ("x-plivo-signature-v3", &*signature), ("x-plivo-signature-v3-nonce", "n")];
    assert_eq!(post(&plivo, "", &headers, "A=1&B=2").await, "accepted");
    for replay in ["B=2&A=1", "A=%31&B=2", "A=1&&B=2"] {
        assert_eq!(post(&plivo, "", &headers, replay).await, "duplicate", "{replay}");
    }
    let mandrill = host(&preset("mandrill", ADDRESS)).await;
    let events = r#"[{"event":"send","_id":"one"}]"#;
    let text = format!("https://h/webhook/acmemandrill_events{events}");
    let signature = base64_mac(HMAC_SHA1_FOR_LEGACY_USE_ONLY, &text);
    let headers = [FORM, ("x-mandrill-signature", &*signature)];
    let body = format!("mandrill_events={}", events.replace('"', "%22"));
    assert_eq!(post(&mandrill, "", &headers, &body).await, "accepted");
    let replay = body.replacen("send", "%73end", 1);
    assert_eq!(post(&mandrill, "", &headers, &replay).await, "duplicate");
}

#[tokio::test]
async fn a_field_that_is_not_signed_and_another_id_make_no_event() {
    let host = host(&preset("gitea-form", "")).await;
    let signature = hex::encode(mac(HMAC_SHA256, r#"{"a":1}"#));
    let headers = |id: &'static str| {
        [FORM, ("x-gitea-event", "push"), ("x-gitea-delivery", id), ("x-gitea-signature", "")]
    };
    let with = |id: &'static str| {
        let mut headers = headers(id).map(|(name, value)| (name, value.to_owned()));
        headers[3].1.clone_from(&signature);
        headers
    };
    let sent = async |id: &'static str, body: &str| {
        let headers = with(id);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        post(&host, "", &headers, body).await
    };
    let body = "payload=%7B%22a%22%3A1%7D";
    assert_eq!(sent("one", body).await, "accepted");
    assert_eq!(sent("two", &format!("{body}&x=1")).await, "duplicate");
    assert_eq!(host.events().await.len(), 1);
}

/// A token with these claims.
fn token(claims: &serde_json::Value) -> String {
    let coded = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let signed = format!("{}.{}", coded(r#"{"alg":"HS256"}"#), coded(&claims.to_string()));
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac(HMAC_SHA256, &signed)))
}

#[tokio::test]
async fn a_token_that_covers_no_body_proves_one_event() {
    let host = host(&preset("monday", ADDRESS)).await;
    let claims =
        |n: i64| json!({ "aud": "https://h/webhook/acme", "exp": NOW_S + 300, "iat": NOW_S + n });
    let sent = async |n: i64, id: &str, pulse: u32| {
        let body = json!({ "event": { "type": "x", "triggerUuid": id, "pulseId": pulse } });
        let token = token(&claims(n));
        post(&host, "", &[("authorization", &token)], &body.to_string()).await
    };
    assert_eq!(sent(1, "one", 1).await, "accepted");
    assert_eq!(sent(1, "one", 1).await, "duplicate");
    assert_eq!(sent(2, "one", 1).await, "duplicate", "a retry has a new token");
    assert_eq!(sent(1, "two", 2).await, "401", "the provider sends it again, with another token");
    assert_eq!(sent(3, "two", 2).await, "accepted");
    assert_eq!(host.events().await.len(), 2);
    assert_eq!(
        sent(2, "three", 3).await,
        "401",
        "the token of a retry is good for its event alone"
    );
    assert_eq!(sent(2, "one", 1).await, "duplicate");
}

#[tokio::test]
async fn a_token_with_another_id_of_the_message_is_a_duplicate() {
    let host = host(&preset("qstash", ADDRESS)).await;
    let digest = URL_SAFE_NO_PAD.encode(Sha256::digest("{}"));
    let sent = async |nonce: &str, id: &str| {
        let token = token(&json!({
            "iss": "Upstash", "sub": "https://h/webhook/acme", "exp": NOW_S + 300,
            "body": digest, "jti": nonce,
        }));
        post(&host, "", &[("upstash-signature", &token), ("upstash-message-id", id)], "{}").await
    };
    assert_eq!(sent("a", "one").await, "accepted");
    assert_eq!(sent("a", "two").await, "duplicate");
    assert_eq!(sent("b", "three").await, "accepted", "two messages with equal bodies");
}

#[tokio::test]
async fn a_deploy_of_netlify_is_an_event_in_each_of_its_states() {
    let host = host(&preset("netlify", "")).await;
    let sent = async |state: &str| {
        let body = json!({ "id": "deploy", "state": state }).to_string();
        let digest = hex::encode(Sha256::digest(&body));
        let token = token(&json!({ "iss": "netlify", "sha256": digest }));
        post(&host, "", &[("x-webhook-signature", &token)], &body).await
    };
    assert_eq!(sent("building").await, "accepted");
    assert_eq!(sent("ready").await, "accepted");
    assert_eq!(sent("ready").await, "duplicate");
}

#[tokio::test]
async fn a_topic_of_contentful_that_is_not_signed_makes_no_event() {
    let host = host(&preset("contentful", "")).await;
    let time = (NOW_S * 1_000).to_string();
    let list = "x-contentful-signed-headers,x-contentful-timestamp";
    let text = format!(
        "POST\n/webhook/acme\nx-contentful-signed-headers:{list};x-contentful-timestamp:{time}\n{{}}"
    );
    let signature = hex::encode(mac(HMAC_SHA256, &text));
    let sent = async |topic: &str| {
        let headers = [
            ("x-contentful-topic", topic),
            ("x-contentful-timestamp", &*time),
            ("x-contentful-signed-headers", list),
            ("x-contentful-signature", &*signature),
        ];
        post(&host, "", &headers, "{}").await
    };
    assert_eq!(sent("ContentManagement.Entry.publish").await, "accepted");
    assert_eq!(sent("ContentManagement.Entry.delete").await, "duplicate");
}

#[tokio::test]
async fn a_time_in_the_address_or_in_the_body_tells_events_apart_and_finds_replays() {
    let own = |place: &str| {
        format!(
            "type = {{ fixed = \"acme.event\" }}\nsecrets = [{{ env = \"S\" }}]\ndedupe = \"timestamp+body\"\n\
             verify = {{ scheme = \"hmac-sha256\", header = \"X-S\", signed = \"{{timestamp}}.{{body}}\", timestamp = {{ {place} }} }}"
        )
    };
    let by_query = host(&own("query = \"t\"")).await;
    let sent = async |time: i64| {
        let signature = hex::encode(mac(HMAC_SHA256, &format!("{time}.{{}}")));
        post(&by_query, &format!("?t={time}"), &[("x-s", &signature)], "{}").await
    };
    assert_eq!(sent(NOW_S).await, "accepted");
    assert_eq!(sent(NOW_S).await, "duplicate");
    assert_eq!(sent(NOW_S + 1).await, "accepted");
    let by_json = host(&own("json = \"/t\"")).await;
    let sent = async |time: i64| {
        let body = format!("{{\"t\":{time}}}");
        let signature = hex::encode(mac(HMAC_SHA256, &format!("{time}.{body}")));
        post(&by_json, "", &[("x-s", &signature)], &body).await
    };
    assert_eq!(sent(NOW_S).await, "accepted");
    assert_eq!(sent(NOW_S).await, "duplicate");
    assert_eq!(sent(NOW_S + 1).await, "accepted");
}
