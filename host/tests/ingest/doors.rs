//! Answers of the public address beside webhooks, and the longest body of each source.

use super::host::{Host, MAX_BODY_BYTES, Options, PATIENT, SECRET, request, signature, signed};
use super::sources::{preset, secrets};

const BODY: &[u8] = br#"{"event_type":"avatar_video.success"}"#;

/// Fault B18.
#[tokio::test]
async fn a_probe_of_the_public_address_learns_that_the_process_answers_and_nothing_else() {
    // Also while nothing can be stored: readiness is the operator's door's affair.
    let (host, held) = Host::start_held(PATIENT).await;
    let mut waiting = host.connect().await;
    waiting.send(signed(BODY)).await;
    held.begun(1).await;
    let response = host.exchange(request("GET", "/healthz", &[], b"")).await;
    assert_eq!((response.status, response.header("content-type")), (200, "application/json"));
    assert_eq!(
        (response.body.as_str(), response.header("cache-control")),
        (r#"{"status":"live"}"#, "no-store")
    );
    // Some probes speak HTTP/1.0, without a Host.
    let mut client = host.connect().await;
    client.send("HEAD /healthz HTTP/1.0\r\n\r\n").await;
    let head = String::from_utf8(client.rest().await).unwrap();
    assert!(head.starts_with("HTTP/1.0 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    for method in ["POST", "OPTIONS", "DELETE"] {
        let response = host.exchange(request(method, "/healthz", &[], b"")).await;
        response.is_problem(405);
        assert_eq!(response.header("allow"), "GET, HEAD");
    }
    for path in ["/healthz/x", "/readyz", "/livez"] {
        host.exchange(request("GET", path, &[], b"")).await.is_problem(404);
    }
    held.open();
    assert_eq!(waiting.response().await.stored().1, "accepted");
}

/// Fault B25.
#[tokio::test]
async fn a_slash_at_the_end_makes_no_other_source() {
    let host = Host::start(Options::default()).await;
    let post = request("POST", "/webhook/heygen/", &[("Heygen-Signature", &signature(BODY))], BODY);
    assert_eq!(host.exchange(post).await.stored().1, "accepted");
    assert_eq!(host.exchange(signed(BODY)).await.stored().1, "duplicate");
    assert_eq!(host.exchange(request("OPTIONS", "/webhook/heygen/", &[], b"")).await.status, 204);
    for path in ["/webhook/heygen//", "/webhook//heygen", "/webhook//", "/webhook/nobody/"] {
        host.exchange(request("POST", path, &[], b"{}")).await.is_problem(404);
    }
}

/// Fault B22.
#[tokio::test]
async fn a_source_takes_bodies_as_long_as_it_says_and_a_refusal_names_the_key() {
    let mut github = preset("github", secrets(&[SECRET]));
    github.max_body_bytes = Some(2 * MAX_BODY_BYTES);
    let mut short = preset("github", secrets(&[SECRET]));
    (short.name, short.max_body_bytes) = ("short".into(), Some(100));
    let sources = vec![github, short, preset("heygen", secrets(&[SECRET]))];
    let host = Host::start(Options { sources, ..Options::default() }).await;
    let post = async |source: &str, length: usize| {
        let mut body = vec![b' '; length];
        body[..2].copy_from_slice(b"{}");
        let signature = signature(&body);
        let header = match source {
            "heygen" => ("Heygen-Signature", signature),
            _ => ("X-Hub-Signature-256", format!("sha256={signature}")),
        };
        host.exchange(request(
            "POST",
            &format!("/webhook/{source}"),
            &[(header.0, &header.1)],
            &body,
        ))
        .await
    };
    for (source, most, key) in [
        ("github", 2 * MAX_BODY_BYTES, "`max_body` of this source"),
        ("short", 100, "`max_body` of this source"),
        ("heygen", MAX_BODY_BYTES, "`server.max_body`"),
    ] {
        assert_eq!(post(source, most).await.stored().1, "accepted", "{source}");
        let refused = post(source, most + 1).await;
        refused.is_problem(413);
        assert!(refused.body.contains(key), "{source}: {}", refused.body);
    }
}
