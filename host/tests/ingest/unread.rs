//! A request whose header alone shows that it is not authentic is refused before its body is read.

use hookbox::ingest::Capacity;

use super::host::{Host, MAX_BODY_BYTES, Options, SECRET, request, signature, signed};
use super::sources::{preset, secrets};

const BODY: &[u8] = br#"{"event_type":"avatar_video.success"}"#;

/// Headers to a source that no body can make authentic.
fn impossible() -> Vec<(&'static str, Vec<(&'static str, String)>)> {
    let good = signature(BODY);
    let base64 = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let one = |name: &'static str, value: &str| vec![(name, value.to_owned())];
    vec![
        ("heygen", vec![]),
        ("heygen", one("x-signature", &good)),
        ("heygen", one("heygen-signature", "")),
        ("heygen", one("heygen-signature", &good[1..])),
        ("heygen", one("heygen-signature", &format!("{good}0"))),
        ("heygen", one("heygen-signature", &format!("g{}", &good[1..]))),
        ("heygen", one("heygen-signature", base64)),
        ("github", one("x-hub-signature-256", &good)),
        ("github", one("x-hub-signature-256", "sha256=")),
        ("github", one("x-hub-signature-256", &format!("sha1={good}"))),
        ("stripe", one("stripe-signature", &format!("t=1770000000,v0={good}"))),
        ("stripe", one("stripe-signature", &format!("v1={good}"))),
        ("standard-webhooks", one("webhook-signature", &format!("v1,{base64}"))),
        (
            "standard-webhooks",
            vec![
                ("webhook-id", "msg_1".to_owned()),
                ("webhook-timestamp", "1770000000".to_owned()),
                ("webhook-signature", format!("v1,{}", &base64[1..])),
            ],
        ),
    ]
}

fn options(body_bytes: usize) -> Options {
    let sources = ["heygen", "github", "stripe", "standard-webhooks"]
        .map(|name| preset(name, secrets(&[SECRET])));
    let capacity = Capacity { body_bytes, ..Capacity::default() };
    Options { sources: sources.to_vec(), capacity, ..Options::default() }
}

/// The header of a request whose body is only sent when it is asked for.
fn head(source: &str, headers: &[(&str, String)]) -> String {
    let lines: String =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let rest = format!("{lines}expect: 100-continue\r\ncontent-length: {}", BODY.len());
    format!("POST /webhook/{source} HTTP/1.1\r\nhost: localhost\r\n{rest}\r\n\r\n")
}

#[tokio::test]
async fn without_a_signature_of_the_right_form_a_request_is_refused_before_its_body_is_asked_for() {
    let host = Host::start(options(0)).await;
    let other = [("heygen-signature", signature(b"another body"))];
    let mut client = host.connect().await;
    client.send(head("heygen", &other)).await;
    client.is_asked_for_the_body().await;
    client.send(BODY).await;
    let after_the_body = client.response().await;
    after_the_body.is_problem(401);
    for (source, headers) in impossible() {
        let mut client = host.connect().await;
        client.send(head(source, &headers)).await;
        let response = client.response().await;
        response.is_problem(401);
        assert_eq!(
            response.body, after_the_body.body,
            "{source} {headers:?}: one text for every reason"
        );
        assert_eq!(response.header("www-authenticate"), after_the_body.header("www-authenticate"));
        assert_eq!(response.header("connection"), "close", "{source} {headers:?}");
        client.finish().await;
        assert!(client.rest().await.is_empty());
    }
    assert!(host.events().await.is_empty());
}

#[tokio::test]
async fn a_header_that_can_be_authentic_is_asked_for_its_body() {
    let host = Host::start(options(0)).await;
    for header in ["heygen-signature", "signature", "x-heygen-signature"] {
        let mut client = host.connect().await;
        client.send(head("heygen", &[(header, signature(BODY))])).await;
        client.is_asked_for_the_body().await;
        client.send(BODY).await;
        client.response().await.stored();
    }
}

/// Fault X8.
#[tokio::test]
async fn what_is_refused_unread_takes_no_memory() {
    let (host, held) = Host::start_held_with(options(MAX_BODY_BYTES)).await;
    let mut filling = host.connect().await;
    filling.send(signed(&vec![b' '; MAX_BODY_BYTES])).await;
    held.begun(1).await;
    // There is room for no other body.
    host.exchange(signed(BODY)).await.is_problem(503);
    for (source, headers) in impossible() {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let request = request("POST", &format!("/webhook/{source}"), &headers, BODY);
        host.exchange(request).await.is_problem(401);
    }
    held.open();
    filling.response().await.stored();
}

#[tokio::test]
async fn a_client_that_is_still_sending_can_read_why_it_is_refused() {
    let host = Host::start(options(0)).await;
    // More than the buffers between client and host can hold.
    let length = 64 << 20;
    let mut client = host.connect().await;
    client
        .send(format!(
            "POST /webhook/heygen HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n"
        ))
        .await;
    for _ in 0..64 {
        client.send(vec![b' '; length / 64]).await;
    }
    client.response().await.is_problem(401);
    client.finish().await;
    assert!(client.rest().await.is_empty());
}

#[tokio::test]
async fn a_signature_header_that_occurs_twice_is_a_bad_request_before_its_body_is_read() {
    let host = Host::start(options(0)).await;
    let twice = [("heygen-signature", signature(BODY)), ("heygen-signature", signature(BODY))];
    let mut client = host.connect().await;
    client.send(head("heygen", &twice)).await;
    client.response().await.is_problem(400);
}
