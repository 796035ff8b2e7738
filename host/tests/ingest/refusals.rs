//! Refused requests: what is noted of them, the hint that is found afterwards, and its bounds.

use hookbox::ingest::{KEPT_REFUSALS, RefusalNote, RefusalReason, sign};
use tokio::time::Instant;

use super::host::{Host, NOW_S, Options, SECRET, request};
use super::sources::{preset, secrets};

const BODY: &[u8] = br#"{"type":"order.paid","id":"evt_secret_body"}"#;

/// A request to the source `stripe`, signed with `secret` over `signed` at a time.
fn sent(secret: &[u8], signed: &[u8], body: &[u8], at_s: i64) -> Vec<u8> {
    let signer = preset("stripe", secrets(&[secret]));
    let headers = sign(&signer, signed, "unused", at_s).expect("it can be signed");
    let headers: Vec<_> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    request("POST", "/webhook/stripe", &headers, body)
}

async fn host() -> Host {
    let sources = ["stripe", "github"].map(|name| preset(name, secrets(&[SECRET])));
    Host::start(Options { sources: sources.to_vec(), ..Options::default() }).await
}

/// The newest refusal, once it has a hint.
async fn hinted(host: &Host) -> RefusalNote {
    loop {
        let newest = host.activity.refusals("stripe").into_iter().next();
        match newest.filter(|note| note.hint.is_some()) {
            Some(note) => return note,
            None => tokio::task::yield_now().await,
        }
    }
}

#[tokio::test]
async fn a_wrong_secret_a_newline_and_an_old_timestamp_are_three_reasons_with_their_hints() {
    let host = host().await;
    let with_newline = [BODY, b"\n"].concat();
    let cases = [
        (sent(b"another secret", BODY, BODY, NOW_S), "bad_signature", "no variation that is tried"),
        (
            sent(SECRET, BODY, &with_newline, NOW_S),
            "bad_signature",
            "matches with the trailing newline removed",
        ),
        (
            sent(SECRET, BODY, BODY, NOW_S - 542),
            "stale_timestamp",
            "signed 9 min 02 s before it came",
        ),
        (
            sent(b" a secret for tests".trim_ascii(), b"{}", BODY, NOW_S),
            "bad_signature",
            "no variation",
        ),
        (
            sent(b"a secret for tests\n", BODY, BODY, NOW_S),
            "bad_signature",
            "matches with a newline after the secret",
        ),
    ];
    for (request, reason, hint) in cases {
        let reply = host.exchange(&request).await;
        reply.is_problem(401);
        assert!(!reply.body.contains("newline") && !reply.body.contains("signed"), "{reply:?}");
        let note = hinted(&host).await;
        assert_eq!(note.reason.name(), reason);
        let said = note.hint.clone().unwrap();
        assert!(said.contains(hint), "{said}");
        assert_eq!(note.headers[0], "stripe-signature");
        assert!(note.client.starts_with("127.0.0.1:"), "{note:?}");
        let all = format!("{note:?}");
        for hidden in ["evt_secret_body", "another secret", "v1=", "a secret for tests"] {
            assert!(!all.contains(hidden), "{hidden}: {all}");
        }
    }
    let received = host.activity.received("stripe");
    assert_eq!(received.reasons[&RefusalReason::BadSignature].count, 4);
    let stale = &received.reasons[&RefusalReason::StaleTimestamp];
    assert_eq!((stale.count, stale.offset_s), (1, Some(542)));
    assert_eq!((received.accepted, received.last_ms), (0, None));
    assert!(host.events().await.is_empty(), "nothing is stored");
}

#[tokio::test]
async fn what_is_accepted_is_counted_with_the_key_that_signed_it() {
    let host = host().await;
    let source = preset("stripe", secrets(&[SECRET]));
    assert_eq!(host.activity.key_uses(&source), [None]);
    for _ in 0..2 {
        assert_eq!(host.exchange(sent(SECRET, BODY, BODY, NOW_S)).await.status, 200);
    }
    let received = host.activity.received("stripe");
    assert_eq!((received.accepted, received.duplicates), (1, 1));
    assert_eq!(received.last_ms, Some(NOW_S * 1_000));
    assert_eq!(host.activity.key_uses(&source), [Some(NOW_S * 1_000)]);
    // After a reload a key is known by what it is, and not by its place.
    let rotated = preset("stripe", secrets(&[b"a new secret for tests", SECRET]));
    let mut config = hookbox::config::Config::clone(&host.config.load());
    config.sources.insert("stripe".to_owned(), std::sync::Arc::new(rotated.clone()));
    config.sources.remove("github");
    host.config.store(std::sync::Arc::new(config));
    assert_eq!(host.exchange(request("POST", "/webhook/stripe", &[], b"")).await.status, 401);
    assert_eq!(host.activity.key_uses(&rotated), [None, Some(NOW_S * 1_000)]);
    assert_eq!(host.activity.received("stripe").accepted, 1);
}

#[tokio::test]
async fn every_kind_of_refusal_is_noted_and_requests_to_no_source_are_not() {
    let host = host().await;
    let long = vec![b'a'; super::host::MAX_BODY_BYTES + 1];
    for (request, status, reason) in [
        (request("POST", "/webhook/stripe", &[], b"{}"), 401, "no_signature"),
        (
            request("POST", "/webhook/stripe", &[("stripe-signature", "t=1,v1=ab")], b"{}"),
            401,
            "malformed_signature",
        ),
        (request("PUT", "/webhook/stripe", &[], b""), 405, "method"),
        (request("POST", "/webhook/stripe", &[("content-encoding", "gzip")], b""), 415, "encoded"),
        (sent(SECRET, &long, &long, NOW_S), 413, "too_large"),
    ] {
        assert_eq!(host.exchange(&request).await.status, status);
        let note = host.activity.refusals("stripe").into_iter().next().unwrap();
        assert_eq!(note.reason.name(), reason);
        assert!(note.headers.contains(&"host".to_owned()), "{note:?}");
    }
    assert_eq!(host.activity.refusals("stripe")[0].body_bytes, Some(long.len() as u64));
    assert_eq!(host.exchange(request("POST", "/webhook/nobody", &[], b"")).await.status, 404);
    assert_eq!(host.activity.refusals("nobody"), []);
    assert_eq!(host.activity.refusals("github"), []);
}

#[tokio::test]
async fn a_flood_of_refusals_has_a_bounded_number_of_hints() {
    let host = host().await;
    let with_newline = [BODY, b"\n"].concat();
    let start = Instant::now();
    let mut client = host.connect().await;
    for _ in 0..KEPT_REFUSALS {
        client.send(sent(SECRET, BODY, &with_newline, NOW_S)).await;
        assert_eq!(client.response().await.status, 401);
    }
    a_first_hint(&host).await;
    let notes = host.activity.refusals("stripe");
    assert_eq!(notes.len(), KEPT_REFUSALS);
    let hinted = notes.iter().filter(|note| note.hint.is_some()).count() as u64;
    // Five in each second that has begun.
    let most = 5 * (start.elapsed().as_secs() + 2);
    assert!((1..=most).contains(&hinted), "{hinted} of at most {most}");
}

/// Waits for a first hint: the others are looked for one at a time.
async fn a_first_hint(host: &Host) {
    while !host.activity.refusals("stripe").iter().any(|note| note.hint.is_some()) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_long_body_is_not_tried() {
    let host = host().await;
    let long = vec![b'a'; 65 << 10];
    let longer = [&long[..], b"\n"].concat();
    assert_eq!(host.exchange(sent(SECRET, &long, &longer, NOW_S)).await.status, 401);
    let said = hinted(&host).await.hint.unwrap();
    assert!(said.contains("longer than 64 KiB"), "{said}");
}
