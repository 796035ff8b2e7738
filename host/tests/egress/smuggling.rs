//! Headers: what would be read as another message or for another host does not leave.

use hookbox::egress::RequestErrorKind;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::world::{Reply, World, body};

const API: &str = r#"[{ scheme = "http", host = "api.example.com", port = PORT }]"#;

async fn send(world: &World, headers: &[(&str, &str)]) -> Result<u16, (RequestErrorKind, String)> {
    let attempt = world.session(API);
    let mut request = attempt.request("POST", "http://api.example.com:PORT/a?b=c").unwrap();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    let sent = attempt.send(request).await;
    sent.map(|response| response.status().as_u16())
        .map_err(|failure| (failure.kind, failure.to_string()))
}

#[tokio::test]
async fn headers_that_frame_a_message_are_refused() {
    let refused: &[&[(&str, &str)]] = &[
        &[("host", "evil.net")],
        &[("Host", "api.example.com")],
        &[("connection", "x-forwarded-for")],
        &[("connection", "upgrade"), ("upgrade", "websocket")],
        &[("upgrade", "h2c")],
        &[("http2-settings", "AAMAAABkAARAAAAAAAIAAAAA")],
        &[("transfer-encoding", "chunked")],
        &[("Transfer-Encoding", "identity, chunked")],
        &[("te", "trailers")],
        &[("trailer", "x")],
        &[("expect", "100-continue")],
        &[("keep-alive", "timeout=1000")],
        &[("proxy-authorization", "Basic YTpi")],
        &[("proxy-connection", "keep-alive")],
        &[("Proxy-Anything", "x")],
        &[("content-length", "0"), ("content-length", "10")],
        &[("content-length", "+0")],
        &[("content-length", "0, 0")],
        &[("content-length", "0x0")],
        &[("content-length", "")],
    ];
    for headers in refused {
        let world = World::new().await;
        let (kind, why) = send(&world, headers).await.expect_err(headers[0].0);
        assert_eq!(kind, RequestErrorKind::Header, "{headers:?}: {why}");
        assert_eq!((world.net.dialled().len(), world.internet.opened()), (0, 0), "{headers:?}");
    }
}

#[tokio::test]
async fn headers_cannot_hold_a_line_break() {
    for value in ["a\r\nHost: evil.net", "a\nb", "a\rb", "a\0b"] {
        assert!(HeaderValue::from_bytes(value.as_bytes()).is_err(), "{value:?}");
    }
    for name in ["a b", "a\r\nb", "a:b", "", "\u{e9}"] {
        assert!(HeaderName::from_bytes(name.as_bytes()).is_err(), "{name:?}");
    }
}

#[tokio::test]
async fn headers_are_bounded_in_number_and_in_bytes() {
    let world = World::new().await;
    let many: Vec<(String, &str)> = (0..101).map(|n| (format!("x-{n}"), "y")).collect();
    let many: Vec<(&str, &str)> =
        many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    assert_eq!(send(&world, &many).await.unwrap_err().0, RequestErrorKind::HeaderSize);
    assert_eq!(
        send(&world, &[("x", &"y".repeat(33_000))]).await.unwrap_err().0,
        RequestErrorKind::HeaderSize
    );
    assert_eq!(world.internet.opened(), 0);
    assert_eq!(send(&world, &many[..90]).await, Ok(200));
}

#[tokio::test]
async fn a_request_leaves_with_the_host_it_is_sent_to_and_the_hosts_own_name() {
    let world = World::new().await;
    assert_eq!(send(&world, &[("x-mine", "1"), ("accept", "*/*")]).await, Ok(200));
    let request = world.internet.request();
    let head: Vec<&str> = request.split("\r\n").collect();
    assert_eq!(head[0], "POST /a?b=c HTTP/1.1");
    let expected = [
        format!("host: api.example.com:{}", world.canary.port),
        "x-mine: 1".to_owned(),
        "accept: */*".to_owned(),
        "idempotency-key: dlv_1_0".to_owned(),
        format!("user-agent: hookbox/{}", env!("CARGO_PKG_VERSION")),
        "content-length: 0".to_owned(),
    ];
    for line in expected {
        assert_eq!(head.iter().filter(|other| **other == line).count(), 1, "{line}: {request}");
    }
    assert_eq!(head.len(), 9, "{request}");
}

#[tokio::test]
async fn an_idempotency_key_is_added_where_a_repetition_would_count() {
    let world = World::new().await;
    let keyless =
        r#"[{ scheme = "http", host = "api.example.com", port = PORT, idempotency_key = false }]"#;
    let cases = [
        ("GET", API, None, None),
        ("HEAD", API, None, None),
        ("OPTIONS", API, None, None),
        ("POST", API, None, Some("dlv_1_0")),
        ("PUT", API, None, Some("dlv_1_0")),
        ("PATCH", API, None, Some("dlv_1_0")),
        ("DELETE", API, None, Some("dlv_1_0")),
        ("POST", API, Some("mine"), Some("mine")),
        ("POST", keyless, None, None),
        ("POST", keyless, Some("mine"), Some("mine")),
    ];
    for (n, (method, rules, set, expected)) in cases.into_iter().enumerate() {
        let attempt = world.session(rules);
        let mut request = attempt.request(method, "http://api.example.com:PORT/").unwrap();
        if let Some(key) = set {
            request.headers_mut().insert("idempotency-key", HeaderValue::from_static(key));
        }
        attempt.send(request).await.unwrap();
        let sent = world.internet.requests()[n].1.clone();
        let found: Vec<&str> =
            sent.lines().filter_map(|line| line.strip_prefix("idempotency-key: ")).collect();
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{method} {rules} {set:?}");
    }
}

#[tokio::test]
async fn a_body_cannot_be_longer_or_shorter_than_it_says() {
    for (length, text) in [("3", "hello"), ("10", "hello")] {
        let world = World::new().await;
        let attempt = world.session(API);
        let mut request =
            attempt.request("POST", "http://api.example.com:PORT/").unwrap().map(|_| body(text));
        request.headers_mut().insert("content-length", HeaderValue::from_static(length));
        let refused = attempt.send(request).await.unwrap_err();
        assert!(refused.to_string().contains("`content-length`"), "{refused}");
        assert!(world.internet.requests().is_empty(), "half a request is none");
        assert_eq!(attempt.session.close()[0].error.as_deref(), Some(refused.to_string().as_str()));
    }
}

#[tokio::test]
async fn a_response_that_is_none_or_too_large_is_not_passed_on() {
    let many: String = (0..101).map(|n| format!("x-{n}: y\r\n")).collect();
    let cases = [
        (
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"
                .to_owned(),
            RequestErrorKind::Protocol,
        ),
        (format!("HTTP/1.1 200 OK\r\n{many}\r\n"), RequestErrorKind::Protocol),
        (
            format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(70_000)),
            RequestErrorKind::Protocol,
        ),
        ("SSH-2.0-OpenSSH_9.0\r\n\r\n".to_owned(), RequestErrorKind::Protocol),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab".to_owned(),
            RequestErrorKind::Protocol,
        ),
        ("HTTP/1.1 200 OK\r\na b: c\r\n\r\n".to_owned(), RequestErrorKind::Protocol),
        ("HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n".to_owned(), RequestErrorKind::Protocol),
    ];
    for (response, expected) in cases {
        let (text, raw) = (response.clone(), response);
        let world =
            World::answering(move |_| Reply::raw(&raw).then(super::world::Then::Close)).await;
        let failed = world
            .session(API)
            .get("http://api.example.com:PORT/")
            .await
            .expect_err(&text[..text.len().min(80)]);
        assert_eq!(failed.kind, expected, "{:.80}: {failed}", text);
    }
    let world = World::answering(|_| {
        Reply::raw("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\nx: y\r\ncontent-length: 2\r\n\r\nab")
    })
    .await;
    let response = world.session(API).open("http://api.example.com:PORT/").await.unwrap();
    let headers: HeaderMap = response.headers().clone();
    assert_eq!(
        (response.status().as_u16(), headers.contains_key("link"), headers["x"].as_bytes()),
        (200, false, &b"y"[..])
    );
}
