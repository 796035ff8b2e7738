//! Requests that want to cost more than they may: each ends within its limit, and nothing of it is
//! stored.

use hookbox::server::ServerTimeouts;

use super::host::{
    Client, Host, MAX_BODY_BYTES, Options, PATIENT, SOON, request, signature, signed,
};

const BODY: &[u8] = br#"{"event_type":"avatar_video.success"}"#;

async fn impatient(timeouts: ServerTimeouts) -> Host {
    Host::start(Options { timeouts, ..Options::default() }).await
}

fn chunked(headers: &[(&str, &str)], chunks: &[&[u8]]) -> Vec<u8> {
    let mut request =
        "POST /webhook/heygen HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n"
            .to_owned();
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut request = [request.as_bytes(), b"\r\n"].concat();
    for chunk in chunks {
        request.extend([format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
    }
    request
}

/// Fault C3.
#[tokio::test]
async fn a_body_declared_too_long_is_refused_before_it_is_sent() {
    let host = Host::start(Options::default()).await;
    for length in [MAX_BODY_BYTES as u64 + 1, u64::from(u32::MAX), u64::MAX / 2] {
        let mut client = host.connect().await;
        let head = "POST /webhook/heygen HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n";
        let signature = signature(BODY);
        client
            .send(format!(
                "{head}heygen-signature: {signature}\r\ncontent-length: {length}\r\n\r\n"
            ))
            .await;
        let response = client.response().await;
        response.is_problem(413);
        assert_eq!(response.header("connection"), "close");
        client.finish().await;
        assert!(client.rest().await.is_empty());
    }
    assert!(host.events().await.is_empty());
}

/// Fault C4. The client is still sending when it is told, and must be able to read it.
#[tokio::test]
async fn a_chunked_body_is_cut_off_at_the_limit() {
    let host = Host::start(Options::default()).await;
    let chunk = vec![b' '; 65_536];
    let mut client = host.connect().await;
    client.send(chunked(&[("Heygen-Signature", &signature(BODY))], &[])).await;
    // More than the buffers between client and host can hold.
    for _ in 0..1_000 {
        client.send(format!("{:x}\r\n", chunk.len())).await;
        client.send(&chunk).await;
        client.send("\r\n").await;
    }
    let response = client.response().await;
    response.is_problem(413);
    assert_eq!(response.header("connection"), "close");
    client.finish().await;
    assert!(client.rest().await.is_empty());
    assert!(host.events().await.is_empty());
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_taken() {
    let host = Host::start(Options::default()).await;
    let mut body = vec![b' '; MAX_BODY_BYTES];
    body[..BODY.len()].copy_from_slice(BODY);
    assert_eq!(host.exchange(signed(&body)).await.stored().1, "accepted");
    body.push(b' ');
    host.exchange(signed(&body)).await.is_problem(413);
    body.pop();
    body[MAX_BODY_BYTES - 1] = b'\n';
    let signature = signature(&body);
    let parts: Vec<&[u8]> = body.chunks(10_000).chain([&b""[..]]).collect();
    let request = chunked(&[("Heygen-Signature", &signature)], &parts);
    assert_eq!(host.exchange(request).await.stored().1, "accepted");
    let events = host.events().await;
    assert_eq!(events.len(), 2);
    assert_eq!(events[1].event.attributes.body, body);
}

/// Fault C2.
#[tokio::test]
async fn a_slow_body_is_told_408() {
    let host = impatient(ServerTimeouts { body: SOON, ..PATIENT }).await;
    let whole = signed(BODY);
    let mut client = host.connect().await;
    client.send(&whole[..whole.len() - 1]).await;
    let response = client.response().await;
    response.is_problem(408);
    assert_eq!(response.header("connection"), "close");
    client.finish().await;
    assert!(client.rest().await.is_empty());
    assert!(host.events().await.is_empty());
}

/// Fault C1.
#[tokio::test]
async fn slow_headers_are_closed() {
    let host = impatient(ServerTimeouts { header: SOON, ..PATIENT }).await;
    for start in ["", "POST /webh", "POST /webhook/heygen HTTP/1.1\r\nhost: localhost\r\nx-slow: "]
    {
        let mut client = host.connect().await;
        client.send(start).await;
        assert!(client.rest().await.is_empty(), "{start:?}");
    }
    assert!(host.events().await.is_empty());
}

/// Fault C6.
#[tokio::test]
async fn too_many_or_too_long_headers_are_refused() {
    let host = Host::start(Options::default()).await;
    let names: Vec<String> = (0..101).map(|index| format!("x-{index}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let long = "a".repeat(40_000);
    for headers in [&many[..], &[("x-long", long.as_str())]] {
        let response = host.exchange(request("POST", "/webhook/heygen", headers, b"")).await;
        assert_eq!(response.status, 431);
    }
    let allowed: Vec<_> = many[..90].to_vec();
    host.exchange(request("POST", "/webhook/heygen", &allowed, b"")).await.is_problem(401);
}

/// Fault C5.
#[tokio::test]
async fn ambiguous_framing_is_refused() {
    let host = Host::start(Options::default()).await;
    let signature = signature(b"12345");
    for lines in [
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: +5\r\n",
        "content-length: 5, 6\r\n",
        "transfer-encoding: gzip\r\n",
        "transfer-encoding: identity, chunked\r\n",
        "transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n",
        "x : folded\r\n y\r\ncontent-length: 5\r\n",
    ] {
        let head = format!(
            "POST /webhook/heygen HTTP/1.1\r\nhost: a\r\nheygen-signature: {signature}\r\n{lines}\r\n12345"
        );
        let mut client = host.connect().await;
        client.send(head).await;
        let response = client.response().await;
        assert_eq!(response.status, 400, "{lines:?}");
    }
    assert!(host.events().await.is_empty());
}

/// Fault X19.
#[tokio::test]
async fn a_request_without_exactly_one_valid_host_is_refused() {
    let host = Host::start(Options::default()).await;
    let lines =
        format!("heygen-signature: {}\r\ncontent-length: {}\r\n\r\n", signature(BODY), BODY.len());
    let body = String::from_utf8(BODY.to_vec()).unwrap();
    let post = |version: &str, hosts: &str| {
        format!("POST /webhook/heygen HTTP/{version}\r\n{hosts}{lines}{body}")
    };
    for hosts in [
        "",
        "host: a\r\nhost: a\r\n",
        "host: a\r\nhost: b\r\n",
        "host: a b\r\n",
        "host: a:b\r\n",
        "host: u@a\r\n",
    ] {
        let mut client = host.connect().await;
        client.send(post("1.1", hosts)).await;
        let response = client.response().await;
        response.is_problem(400);
        assert_eq!(response.header("connection"), "close", "{hosts:?}");
        client.finish().await;
        assert!(client.rest().await.is_empty(), "{hosts:?}");
    }
    assert!(host.events().await.is_empty());
    let mut old = host.connect().await;
    old.send(post("1.0", "")).await;
    let answer = String::from_utf8(old.rest().await).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200 ") && answer.contains("accepted"), "{answer}");
}

/// Fault X20.
#[tokio::test]
async fn a_line_feed_alone_is_refused_in_a_header_and_kept_in_a_body() {
    let host = Host::start(Options::default()).await;
    let body = b"{\n\"event_type\":\n\r\n\"avatar_video.success\"\n}\n\n";
    let good = signed(body);
    let mut client = host.connect().await;
    client.send(&good).await;
    assert_eq!(client.response().await.stored().1, "accepted");
    // On a connection that was used before, and on a new one; in one piece, and byte by byte.
    let head = good.len() - body.len();
    let text = String::from_utf8(good[..head].to_vec()).unwrap();
    for bad in [
        text.replace("\r\n", "\n"),
        text.replacen("\r\n", "\n", 2),
        text.replace("\r\n\r\n", "\r\n\n"),
    ] {
        let request = [bad.as_bytes(), body].concat();
        for piece in [1, request.len()] {
            client.send(&good).await;
            assert_eq!(client.response().await.stored().1, "duplicate");
            for bytes in request.chunks(piece) {
                if !client.try_send(bytes).await {
                    break;
                }
            }
            assert_eq!(client.response().await.status, 400, "{bad:?} by {piece}");
            client = host.connect().await;
        }
    }
    assert_eq!(host.events().await.len(), 1);
    assert_eq!(host.events().await[0].event.attributes.body, &body[..]);
}

#[tokio::test]
async fn a_body_that_breaks_off_stores_nothing() {
    let host = Host::start(Options::default()).await;
    let whole = signed(BODY);
    let mut client = host.connect().await;
    client.send(&whole[..whole.len() - 1]).await;
    client.finish().await;
    let rest = String::from_utf8(client.rest().await).unwrap();
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 400 "), "{rest}");
    let mut client = host.connect().await;
    client.send(chunked(&[("Heygen-Signature", &signature(BODY))], &[BODY])).await;
    client.send("not a chunk\r\n").await;
    client.response().await.is_problem(400);
    assert!(host.events().await.is_empty());
}

#[tokio::test]
async fn deep_json_that_is_not_signed_is_not_even_parsed() {
    let host = Host::start(Options::default()).await;
    let deep = b"[".repeat(100_000);
    host.exchange(request("POST", "/webhook/heygen", &[("Heygen-Signature", "00")], &deep))
        .await
        .is_problem(401);
    assert!(host.events().await.is_empty());
}

#[tokio::test]
async fn a_client_that_never_reads_is_disconnected() {
    let host = impatient(ServerTimeouts { write: SOON, linger: SOON, ..PATIENT }).await;
    let mut client: Client = host.connect().await;
    let requests = request("GET", "/webhook/heygen", &[], b"").repeat(1_000);
    client.send_until_refused(&requests).await;
    assert_eq!(host.exchange(signed(BODY)).await.stored().1, "accepted");
}

#[tokio::test]
async fn http_2_is_not_spoken() {
    let host = Host::start(Options::default()).await;
    let mut client = host.connect().await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    let answer = client.rest().await;
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 400 "),
        "{:?}",
        String::from_utf8_lossy(&answer)
    );
}
