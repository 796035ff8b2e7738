//! Limits of what one attempt sends and receives, and the record of it.

use hookbox::config::Limits;
use hookbox::egress::RequestErrorKind;
use http_body_util::BodyExt;

use super::world::{Reply, Then, World, body};

const API: &str = r#"[{ scheme = "http", host = "api.example.com", port = PORT }]"#;
const URL: &str = "http://api.example.com:PORT/";

#[tokio::test]
async fn requests_are_counted_refused_ones_included() {
    let world = World::new().await;
    let attempt = world.limited(API, Limits { http_requests: 3, ..Limits::default() });
    attempt.get_now(URL).await;
    assert_eq!(attempt.get("https://evil.net/").await.unwrap_err().kind, RequestErrorKind::Denied);
    attempt.get_now(URL).await;
    for _ in 0..5 {
        let refused = attempt.get(URL).await.unwrap_err();
        assert_eq!(refused.kind, RequestErrorKind::Requests);
        assert!(refused.to_string().contains("limits = { http_requests = "), "{refused}");
    }
    assert_eq!(world.internet.requests().len(), 2);
    assert_eq!(attempt.log().len(), 2, "it is said once: {:?}", attempt.log());
    let calls = attempt.session.close();
    assert_eq!(calls.len(), 4);
    assert!(
        calls[3].error.as_deref().unwrap().starts_with("further requests were refused"),
        "{calls:?}"
    );
}

#[tokio::test]
async fn responses_that_are_not_taken_to_their_end_are_counted() {
    let world = World::new().await;
    let attempt = world.limited(API, Limits { http_open: 2, ..Limits::default() });
    let one = attempt.open(URL).await.unwrap();
    let other = attempt.open(URL).await.unwrap();
    let refused = attempt.get(URL).await.unwrap_err();
    assert!(
        refused.kind == RequestErrorKind::Open
            && refused.to_string().contains("limits = { http_open = "),
        "{refused}"
    );
    one.into_body().collect().await.unwrap();
    let third = attempt.open(URL).await.unwrap();
    assert_eq!(attempt.get(URL).await.unwrap_err().kind, RequestErrorKind::Open);
    drop((other, third));
    attempt.get_now(URL).await;
    assert_eq!(world.internet.requests().len(), 4);
}

#[tokio::test]
async fn what_is_sent_is_counted_over_all_bodies() {
    let world = World::new().await;
    let attempt = world.limited(API, Limits { http_sent_bytes: 15, ..Limits::default() });
    let post = |text: &str| attempt.request("POST", URL).unwrap().map(|_| body(text));
    attempt.send(post("0123456789")).await.unwrap();
    let refused = attempt.send(post("0123456789")).await.unwrap_err();
    assert!(
        refused.kind == RequestErrorKind::Sent
            && refused.to_string().contains("limits = { http_sent = "),
        "{refused}"
    );
    assert!(world.internet.requests().len() <= 1, "half a request is none");
    let calls = attempt.session.close();
    assert_eq!((calls[0].sent_bytes, calls[1].sent_bytes), (10, 0));
    assert!(calls[1].error.as_deref().unwrap().contains("can send 15 bytes"), "{calls:?}");
}

#[tokio::test]
async fn what_is_received_is_counted_over_all_bodies() {
    let world = World::answering(|_| Reply::raw("HTTP/1.1 200 OK\r\n\r\n").then(Then::Flood)).await;
    let attempt = world.limited(API, Limits { http_received_bytes: 100_000, ..Limits::default() });
    let mut body = attempt.open(URL).await.unwrap().into_body();
    let mut taken = 0;
    let failed = loop {
        match body.frame().await.unwrap() {
            Ok(frame) => taken += frame.into_data().unwrap().len(),
            Err(failed) => break failed,
        }
    };
    assert!(
        failed.kind == RequestErrorKind::Received
            && failed.to_string().contains("limits = { http_received = "),
        "{failed}"
    );
    assert!(taken <= 100_000);
    world.internet.closed(1).await;
    let calls = attempt.session.close();
    assert_eq!((calls[0].status, calls[0].received_bytes), (Some(200), taken as u64));
    assert!(calls[0].error.as_deref().unwrap().contains("can receive 100000 bytes"), "{calls:?}");
}

#[tokio::test]
async fn the_heads_of_responses_count_with_their_bodies() {
    let head = format!(
        "HTTP/1.1 200 OK\r\nx-much: {}\r\ncontent-length: 5\r\n\r\nhello",
        "x".repeat(1_000)
    );
    let world = World::answering(move |_| Reply::raw(&head)).await;
    let attempt = world.limited(API, Limits { http_received_bytes: 2_000, ..Limits::default() });
    attempt.get_now(URL).await;
    let failed = attempt.get(URL).await.unwrap_err();
    assert!(
        failed.kind == RequestErrorKind::Received
            && failed.to_string().contains("can receive 2000 bytes"),
        "{failed}"
    );
    let calls = attempt.session.close();
    assert_eq!(
        (calls[0].received_bytes, calls[0].error.clone()),
        (5, None),
        "the body alone is noted"
    );
    assert_eq!((calls[1].status, calls[1].received_bytes, calls[1].refused), (Some(200), 0, false));
    assert!(calls[1].error.as_deref().unwrap().contains("http_received"), "{calls:?}");
}

#[tokio::test]
async fn every_request_is_noted_without_what_its_query_says() {
    let world =
        World::answering(|_| Reply::raw("HTTP/1.1 418 Tea\r\ncontent-length: 5\r\n\r\nhello"))
            .await;
    let attempt = world.session(API);
    let post = attempt
        .request("POST", "http://api.example.com:PORT/a?token=abc&b=&c&d=e=f")
        .unwrap()
        .map(|_| body("hi"));
    super::world::take(attempt.send(post).await.unwrap()).await.unwrap();
    let _ = attempt.get("https://user:password@evil.net/x?y=z").await;
    let _ = attempt.get(&format!("https://evil.net/{}", "x".repeat(2_000))).await;
    let calls = attempt.session.close();
    let url = world.aimed("http://api.example.com:PORT/a?token=*&b=*&*&d=*");
    assert_eq!(
        (calls[0].method.as_str(), calls[0].url.clone(), calls[0].status),
        ("POST", url, Some(418))
    );
    assert_eq!(
        (calls[0].sent_bytes, calls[0].received_bytes, calls[0].error.clone()),
        (2, 5, None)
    );
    assert_eq!(calls[1].url, "https://*@evil.net/x?y=*");
    assert_eq!((calls[1].status, calls[1].error.is_some()), (None, true));
    assert!(calls[2].url.len() <= 512 && calls[2].url.ends_with('…'));
    assert!(
        attempt.log().iter().all(|line| !line.contains(":password") && !line.contains('?')),
        "{:?}",
        attempt.log()
    );
}

#[tokio::test]
async fn requests_are_counted_by_what_came_of_them() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let shown = recorder.handle();
    let _counting = metrics::set_default_local_recorder(&recorder);
    let rules = r#"[{ scheme = "http", host = "*.example.com", port = PORT }]"#;
    let world =
        World::answering(|_| Reply::raw("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n")).await;
    let attempt = world.limited(rules, Limits { http_requests: 5, ..Limits::default() });
    attempt.get_now(URL).await;
    attempt.get_now(URL).await;
    assert_eq!(attempt.get("https://evil.net/").await.unwrap_err().kind, RequestErrorKind::Denied);
    let lost = attempt.get("http://lost.example.com:PORT/").await.unwrap_err();
    assert_eq!(lost.kind, RequestErrorKind::Dns);
    let text = shown.render();
    for (result, count) in [("answered", 2), ("refused", 1), ("unanswered", 1)] {
        let line = format!(
            "hookbox_plugin_http_requests_total{{plugin=\"guest\",result=\"{result}\"}} {count}\n"
        );
        assert!(text.contains(&line), "{line}{text}");
    }
}
