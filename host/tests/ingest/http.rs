//! The contract of the public address, as a sender meets it.

use std::sync::Arc;

use hookbox::config::source::{Pick, Secrets};
use hookbox::config::{Config, Routes};
use hookbox::event::{Target, UNIDENTIFIED};

use super::host::{Host, NOW_S, Options, SECRET, config, request, signature, signed};
use super::sources::{open, preset, secrets};
use super::vectors::Vector;

pub(super) const SUCCESS: &[u8] =
    br#"{"event_type":"avatar_video.success","event_data":{"callback_id":"order_1"}}"#;

#[tokio::test]
async fn a_signed_webhook_is_stored_before_it_is_acknowledged() {
    let host = Host::start(Options::default()).await;
    let headers = [
        ("Heygen-Signature", signature(SUCCESS)),
        ("Heygen-Event-Id", "h-1".to_owned()),
        ("Heygen-Timestamp", NOW_S.to_string()),
        ("Content-Type", "application/json".to_owned()),
        ("X-Unrelated", "not kept".to_owned()),
    ];
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let response = host.exchange(request("POST", "/webhook/heygen", &headers, SUCCESS)).await;
    let (id, status) = response.stored();
    assert_eq!(status, "accepted");
    let [event] = &host.events().await[..] else { panic!("one event") };
    assert_eq!(event.event.id.to_string(), id);
    let attributes = &event.event.attributes;
    assert_eq!((&*attributes.source, attributes.kind.as_str()), ("heygen", "avatar_video.success"));
    assert_eq!(attributes.subject.as_deref(), Some("order_1"));
    assert_eq!(attributes.content_type.as_deref(), Some("application/json"));
    assert_eq!(attributes.body, SUCCESS);
    assert_eq!((event.provider_id.as_deref(), event.note.as_deref()), (Some("h-1"), None));
    let kept = ["content-type", "heygen-event-id", "heygen-timestamp"];
    assert_eq!(event.headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), kept);
    assert!(event.deliveries.is_empty(), "no route: visible as unrouted");
}

#[tokio::test]
async fn an_event_has_a_delivery_for_every_plugin_that_is_routed_at_that_moment() {
    let host = Host::start(Options::default()).await;
    let plugins = |names: &[&str]| names.iter().map(|name| Target::to(*name)).collect::<Vec<_>>();
    let lines = [
        ("avatar_video.success", plugins(&["video-orders", "audit"])),
        ("heygen:**", plugins(&["audit"])),
    ];
    let mut routed = Config::clone(&host.config.load());
    routed.routes = Arc::new(Routes::new(lines, |name| name == "heygen").unwrap());
    host.config.store(Arc::new(routed));
    host.exchange(signed(SUCCESS)).await.stored();
    host.exchange(signed(b"{}")).await.stored();
    let delivered = host.events().await.into_iter().map(|event| {
        let mut names: Vec<_> =
            event.deliveries.iter().map(|delivery| delivery.plugin.to_string()).collect();
        names.sort();
        names.join(" ")
    });
    assert_eq!(delivered.collect::<Vec<_>>(), ["audit video-orders", "audit"]);
}

#[tokio::test]
async fn every_vector_is_accepted_over_http() {
    for vector in Vector::all() {
        let key = super::sources::key(&vector.preset, &vector.secret);
        let mut source = preset(&vector.preset, secrets(&[&key]));
        // The vectors are of many times; the clock of the tests is of one.
        if let hookbox::config::source::Verify::Signature(template) = &mut source.verify
            && let Some(timestamp) = &mut template.timestamp
        {
            timestamp.tolerance_ms = u64::MAX;
        }
        let host = Host::start(Options { sources: vec![source], ..Options::default() }).await;
        let headers: Vec<_> =
            vector.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let path = format!("/webhook/{}", vector.preset);
        let response =
            host.exchange(request("POST", &path, &headers, vector.body.as_bytes())).await;
        assert_eq!(response.stored().1, "accepted", "{}", vector.preset);
        assert_eq!(host.events().await[0].event.attributes.body, vector.body.as_bytes());
    }
}

#[tokio::test]
async fn the_same_body_is_accepted_under_each_of_heygens_headers_and_stored_once() {
    let host = Host::start(Options::default()).await;
    let mut answers = Vec::new();
    for header in ["Heygen-Signature", "Signature", "X-Heygen-Signature"] {
        let request = request("POST", "/webhook/heygen", &[(header, &signature(SUCCESS))], SUCCESS);
        answers.push(host.exchange(request).await.stored());
    }
    let id = answers[0].0.clone();
    let expected =
        ["accepted", "duplicate", "duplicate"].map(|status| (id.clone(), status.to_owned()));
    assert_eq!(answers, expected);
    assert_eq!(host.events().await.len(), 1);
}

/// Promise P3: where the id is not signed and equal bodies mean the same event.
#[tokio::test]
async fn a_captured_request_cannot_be_replayed_under_a_new_id_where_equal_bodies_mean_the_same_event()
 {
    let host = Host::start(Options::default()).await;
    let send = async |id: &str| {
        let headers =
            [("Heygen-Signature", signature(SUCCESS)), ("Heygen-Event-Id", id.to_owned())];
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        host.exchange(request("POST", "/webhook/heygen", &headers, SUCCESS)).await.stored().1
    };
    assert_eq!(send("first").await, "accepted");
    assert_eq!(send("another").await, "duplicate");
    assert_eq!(send("first").await, "duplicate");
    assert_eq!(host.events().await.len(), 1);
}

/// Promise P4. One text for every reason: a forger learns nothing from it.
#[tokio::test]
async fn what_cannot_be_authenticated_is_refused_in_one_text_and_stores_nothing() {
    let host = Host::start(Options::default()).await;
    let good = signature(SUCCESS);
    let flipped = format!("{}{}", if good.starts_with('0') { '1' } else { '0' }, &good[1..]);
    let other = signature(b"another body");
    let mut bodies = Vec::new();
    for headers in [
        vec![],
        vec![("Heygen-Signature", "")],
        vec![("Heygen-Signature", "zz")],
        vec![("Heygen-Signature", &good[..32])],
        vec![("Heygen-Signature", flipped.as_str())],
        vec![("Heygen-Signature", other.as_str())],
        vec![("Heygen-Signature", other.as_str()), ("Signature", good.as_str())],
        vec![("X-Hub-Signature-256", good.as_str())],
    ] {
        let response = host.exchange(request("POST", "/webhook/heygen", &headers, SUCCESS)).await;
        response.is_problem(401);
        assert!(!response.header("www-authenticate").is_empty());
        bodies.push(response.body);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    let prefixed = format!("sha256={good}");
    let to_other =
        request("POST", "/webhook/github", &[("X-Hub-Signature-256", &prefixed)], b"changed");
    host.exchange(to_other).await.is_problem(401);
    assert!(host.events().await.is_empty());
}

#[tokio::test]
async fn a_signature_header_that_occurs_twice_is_a_bad_request() {
    let host = Host::start(Options::default()).await;
    let good = signature(SUCCESS);
    let twice = [("Heygen-Signature", good.as_str()), ("heygen-signature", good.as_str())];
    host.exchange(request("POST", "/webhook/heygen", &twice, SUCCESS)).await.is_problem(400);
    assert!(host.events().await.is_empty());
}

#[tokio::test]
async fn an_unknown_source_or_path_is_not_found() {
    let host = Host::start(Options::default()).await;
    for path in [
        "/webhook/nobody",
        "/webhook/",
        "/webhook",
        "/",
        "/webhook/heygen/x",
        "/webhook/%ff",
        "/metrics",
    ] {
        for method in ["POST", "GET", "OPTIONS"] {
            host.exchange(request(method, path, &[], b"{}")).await.is_problem(404);
        }
    }
    assert!(host.events().await.is_empty());
}

#[tokio::test]
async fn other_methods_are_refused_and_told_which_are_taken() {
    let host = Host::start(Options::default()).await;
    for method in ["GET", "PUT", "PATCH", "DELETE", "BREW"] {
        let response = host.exchange(request(method, "/webhook/heygen", &[], b"")).await;
        response.is_problem(405);
        assert_eq!(response.header("allow"), "POST, OPTIONS");
    }
}

#[tokio::test]
async fn a_source_without_a_secret_answers_probes_and_refuses_posts() {
    let missing = preset("heygen", Secrets::Missing("set HEYGEN_WEBHOOK_SECRET".to_owned()));
    let host = Host::start(Options { sources: vec![missing], ..Options::default() }).await;
    let probe = host.exchange(request("OPTIONS", "/webhook/heygen", &[], b"")).await;
    assert_eq!(
        (probe.status, probe.header("allow"), probe.body.as_str()),
        (204, "POST, OPTIONS", "")
    );
    let response = host.exchange(signed(SUCCESS)).await;
    response.is_problem(503);
    assert!(!response.body.contains("HEYGEN_WEBHOOK_SECRET"), "what to set is for the operator");
    assert!(host.events().await.is_empty());

    host.config.store(config(vec![preset("heygen", secrets(&[SECRET]))]));
    assert_eq!(host.exchange(signed(SUCCESS)).await.stored().1, "accepted");
}

#[tokio::test]
async fn a_new_configuration_takes_effect_with_the_next_request() {
    let host = Host::start(Options::default()).await;
    let mut client = host.connect().await;
    client.send(signed(SUCCESS)).await;
    assert_eq!(client.response().await.stored().1, "accepted");
    host.config
        .store(config(vec![preset("heygen", secrets(&[b"the secret is another now"])), open()]));
    client.send(signed(b"{}")).await;
    client.response().await.is_problem(401);
    client.send(request("POST", "/webhook/open", &[], br#"{"type":"t"}"#)).await;
    assert_eq!(client.response().await.stored().1, "accepted");
    client.send(request("POST", "/webhook/github", &[], b"{}")).await;
    client.response().await.is_problem(404);
}

#[tokio::test]
async fn an_authentic_body_that_cannot_be_identified_is_stored_byte_for_byte() {
    let mut fixed = preset("github", secrets(&[SECRET]));
    fixed.kind = Pick::Json("/type".to_owned());
    let host = Host::start(Options {
        sources: vec![preset("heygen", secrets(&[SECRET])), fixed],
        ..Options::default()
    })
    .await;
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    let bodies: [&[u8]; 6] =
        [b"", b"not JSON", b"\xff\xfe\x00", br#"{"event_type":7e}"#, b"{}", &deep];
    for body in bodies {
        assert_eq!(host.exchange(signed(body)).await.stored().1, "accepted");
    }
    let events = host.events().await;
    assert_eq!(events.len(), bodies.len());
    for (event, body) in events.iter().zip(bodies) {
        assert_eq!(event.event.attributes.kind, UNIDENTIFIED);
        assert_eq!(event.event.attributes.body, body);
        assert!(event.note.is_some());
    }
}

#[tokio::test]
async fn an_encoded_body_is_refused() {
    let host = Host::start(Options::default()).await;
    let good = signature(SUCCESS);
    for (encoding, status) in
        [("gzip", 415), ("br", 415), ("gzip, identity", 415), ("identity", 200), ("Identity", 200)]
    {
        let headers = [("Heygen-Signature", good.as_str()), ("Content-Encoding", encoding)];
        let response = host.exchange(request("POST", "/webhook/heygen", &headers, SUCCESS)).await;
        assert_eq!(response.status, status, "{encoding}");
        if status == 415 {
            response.is_problem(415);
        }
    }
    assert_eq!(host.events().await.len(), 1);
}

#[tokio::test]
async fn a_connection_goes_on_after_a_refusal() {
    let host = Host::start(Options::default()).await;
    let mut client = host.connect().await;
    let other = signature(b"another body");
    client.send(request("POST", "/webhook/heygen", &[("Heygen-Signature", &other)], SUCCESS)).await;
    client.response().await.is_problem(401);
    client.send(request("POST", "/webhook/heygen", &[], b"")).await;
    client.response().await.is_problem(401);
    client.send(request("POST", "/webhook/nobody", &[], SUCCESS)).await;
    client.response().await.is_problem(404);
    client.send(request("GET", "/webhook/heygen", &[], b"")).await;
    client.response().await.is_problem(405);
    client.send(request("OPTIONS", "/webhook/heygen", &[], b"")).await;
    assert_eq!(client.response().await.status, 204);
    client.send([signed(SUCCESS), signed(b"{}")].concat()).await;
    assert_eq!(client.response().await.stored().1, "accepted");
    assert_eq!(client.response().await.stored().1, "accepted");
}

#[tokio::test]
async fn a_saturated_store_is_told_as_unavailable_for_a_moment() {
    let host = Host::start(Options { max_waiting_appends: 0, ..Options::default() }).await;
    let mut client = host.connect().await;
    client.send(signed(SUCCESS)).await;
    let response = client.response().await;
    response.is_problem(503);
    assert_eq!(response.header("retry-after"), "1");
    client.send(request("OPTIONS", "/webhook/heygen", &[], b"")).await;
    assert_eq!(client.response().await.status, 204, "the connection goes on");
    assert!(host.events().await.is_empty());
}

#[tokio::test]
async fn a_stopped_store_is_told_as_unavailable() {
    let host = Host::start(Options::default()).await;
    host.store.close().await.unwrap();
    host.exchange(signed(SUCCESS)).await.is_problem(503);
}

/// Names from outside must not become labels: anybody could fill the memory with them.
#[tokio::test]
async fn metrics_name_configured_sources_only() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let host = Host::start(Options::default()).await;
    host.exchange(signed(SUCCESS)).await.stored();
    host.exchange(signed(SUCCESS)).await.stored();
    host.exchange(request("POST", "/webhook/heygen", &[], b"")).await.is_problem(401);
    host.exchange(request("POST", "/webhook/nobody", &[], b"")).await.is_problem(404);
    host.exchange(request("POST", "/elsewhere", &[], b"")).await.is_problem(404);
    let text = recorder.handle().render();
    for line in [
        r#"hookbox_ingest_requests_total{source="heygen",reason="accepted",code="200"} 1"#,
        r#"hookbox_ingest_requests_total{source="heygen",reason="duplicate",code="200"} 1"#,
        r#"hookbox_ingest_requests_total{source="heygen",reason="no_signature",code="401"} 1"#,
        r#"hookbox_ingest_requests_total{source="unknown",reason="unknown_source",code="404"} 2"#,
        r#"hookbox_ingest_signatures_total{source="heygen",key="0"} 2"#,
        r#"hookbox_ingest_ack_duration_seconds_count{source="heygen"} 2"#,
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(!text.contains("nobody") && !text.contains("elsewhere"));
}
