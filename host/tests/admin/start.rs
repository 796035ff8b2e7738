//! Events that clients of the API make, and trees that they cancel.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use hookbox::store::Keep;
use serde_json::{Value, json};

use super::site::{Console, Ends, event, site};

const DAY_MS: i64 = 24 * 3_600_000;

async fn start_as(
    site: &Console,
    media_type: &str,
    key: Option<&str>,
    body: &str,
) -> (StatusCode, Value) {
    let mut request = Request::builder()
        .method("POST")
        .uri("/api/v1/events")
        .header(header::HOST, "localhost:3001")
        .header(header::CONTENT_TYPE, media_type);
    if let Some(key) = key {
        request = request.header("Idempotency-Key", key);
    }
    let response = site.send(request.body(Body::from(body.to_owned())).unwrap()).await;
    let status = response.status();
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap())
}

async fn start(site: &Console, key: Option<&str>, body: &Value) -> (StatusCode, Value) {
    start_as(site, "application/json", key, &body.to_string()).await
}

#[tokio::test]
async fn an_event_is_made_from_its_type_and_what_else_is_given() {
    let site = site();
    let body = "{\"specversion\":\"1.0\",\"type\":\"video.start\",\"subject\":\"order_1\",\"id\":\"mine\",\
                \"source\":\"me\",\"time\":\"1999-01-01T00:00:00Z\",\"data\":{\"b\": 1.0, \"a\":2}}";
    let (status, started) = start_as(&site, "application/cloudevents+json", None, body).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{started}");
    assert_eq!((&started["duplicate"], &started["detail"]), (&json!(false), &json!(null)));
    let plugins: Vec<_> =
        started["deliveries"].as_array().unwrap().iter().map(|it| &it["plugin"]).collect();
    assert_eq!(plugins, ["audit", "orders"]);
    let id = started["event_id"].as_str().unwrap();
    assert_ne!(id, "mine");
    let shown = site.get(&format!("/api/v1/events/{id}")).await;
    assert_eq!((&shown["source"], &shown["subject"]), (&json!("api/local"), &json!("order_1")));
    assert_eq!(shown["time"], "2026-02-02T02:40:00.120Z", "the host's: {shown}");
    let stored = site.admin.store.event(id.parse().unwrap()).await.unwrap();
    assert_eq!(&*stored.event.attributes.body, b"{\"b\": 1.0, \"a\":2}", "as it was written");
    let (status, least) = start(&site, None, &json!({ "type": "nobody.knows" })).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert!(least["detail"].as_str().unwrap().contains("no route takes `nobody.knows`"), "{least}");
}

#[tokio::test]
async fn what_is_no_event_is_refused_and_makes_nothing() {
    let site = site();
    let good = "{\"type\":\"video.start\"}";
    let cases = [
        ("application/json", None, "", 400, "is no event"),
        ("application/json", None, "[]", 400, "{\"type\": \"order.paid\"}"),
        ("application/json", None, "{\"subject\":\"a\"}", 400, "missing field `type`"),
        ("application/json", None, "{\"type\":\"\"}", 400, "`type` is empty"),
        ("application/json", None, "{\"type\":\"hookbox.dead\"}", 400, "the host's own"),
        (
            "application/json",
            None,
            "{\"type\":\"a\",\"subject\":\" a\"}",
            400,
            "`subject` has blanks",
        ),
        ("application/json", None, "{\"type\":\"a\",\"specversion\":\"0.3\"}", 400, "reads 1.0"),
        (
            "application/json",
            None,
            "{\"type\":\"a\",\"data\":1,\"data_base64\":\"\"}",
            400,
            "one of them",
        ),
        ("application/json", None, "{\"type\":\"a\",\"delayms\":31708800000}", 400, "366 days"),
        ("text/plain", None, good, 415, "application/cloudevents+json"),
        ("application/cloudevents-batch+json", None, good, 415, "one event a request"),
        ("application/json", Some(""), good, 400, "1 to 255 visible"),
        ("application/json", Some("a b"), good, 400, "`Idempotency-Key`"),
        ("application/json", Some(&*"k".repeat(256)), good, 400, "`Idempotency-Key`"),
    ];
    for (media_type, key, body, expected, says) in cases {
        let (status, refused) = start_as(&site, media_type, key, body).await;
        assert_eq!(status, expected, "{body} {refused}");
        assert!(refused["detail"].as_str().unwrap().contains(says), "{says}: {refused}");
    }
    let long = format!("{{\"type\":\"a\",\"data\":\"{}\"}}", "x".repeat(1 << 20));
    let (status, refused) = start_as(&site, "application/json", None, &long).await;
    assert_eq!(status, 413, "{refused}");
    assert!(refused["detail"].as_str().unwrap().contains("`server.max_body`"), "{refused}");
    assert_eq!(site.admin.store.stats().await.unwrap().events, 0);
    // More than other requests may have, and less than an event may.
    let body = json!({ "type": "a", "data": "x".repeat(500_000) });
    assert_eq!(start(&site, None, &body).await.0, StatusCode::ACCEPTED);
}

/// A start that is repeated with its key creates nothing, for the whole dedupe window.
#[tokio::test]
async fn a_start_that_is_repeated_with_its_key_creates_nothing_for_the_whole_dedupe_window() {
    let site = site();
    let store = &site.admin.store;
    let window_ms = site.admin.config.load().store.dedupe_window_ms;
    let keep = Keep {
        events: Duration::from_millis(window_ms),
        payloads: Duration::MAX,
        dedupe_keys: Duration::from_millis(window_ms),
        audit: Duration::MAX,
    };
    let body = json!({ "type": "video.start" });
    let (status, first) = start(&site, Some("order-1"), &body).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{first}");
    let (_, other) = start(&site, Some("order-2"), &body).await;
    assert_ne!(other["event_id"], first["event_id"], "another key");
    for plugin in ["audit", "orders"] {
        assert_eq!(site.work(plugin, Ends::Dead).await, 2);
    }
    let days = i64::try_from(window_ms).unwrap() / DAY_MS;
    for day in 0..days {
        while store.sweep(keep).await.unwrap() {}
        // Also with another body, and although its deliveries are dead.
        let body = json!({ "type": "video.start", "data": day });
        let (status, again) = start(&site, Some("order-1"), &body).await;
        assert_eq!(status, StatusCode::OK, "day {day}: {again}");
        assert_eq!(again["event_id"], first["event_id"], "day {day}");
        assert_eq!((&again["duplicate"], &again["dead"]), (&json!(true), &json!(true)));
        let detail = again["detail"].as_str().unwrap();
        assert!(detail.contains("hookbox deliveries retry dlv_"), "{detail}");
        assert_eq!(store.stats().await.unwrap().events, 2);
        site.admin.clock.set(site.admin.clock.now_ms() + DAY_MS);
    }
    site.admin.clock.set(site.admin.clock.now_ms() + DAY_MS);
    while store.sweep(keep).await.unwrap() {}
    let (status, anew) = start(&site, Some("order-1"), &body).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{anew}");
    assert_ne!(anew["event_id"], first["event_id"]);
}

#[tokio::test]
async fn a_tree_is_cancelled_once_and_refused_when_nothing_is_open() {
    let site = site();
    let root = site.append(event("video.done", "order_1", b"{}", &["audit", "orders"])).await;
    let other = site.append(event("video.done", "order_2", b"{}", &["orders"])).await;
    assert_eq!(site.work("audit", Ends::Waits).await, 1);
    let cancel = format!("/api/v1/events/{root}/cancel");
    let (status, cancelled) = site.ask("POST", &cancel, None).await;
    assert_eq!(status, StatusCode::OK, "{cancelled}");
    assert_eq!((&cancelled["cancelled"], &cancelled["more"]), (&json!(2), &json!(false)));
    let shown = site.get(&format!("/api/v1/events/{root}")).await;
    for delivery in shown["deliveries"].as_array().unwrap() {
        assert_eq!(delivery["state"], "cancelled", "{delivery}");
    }
    let (status, refused) = site.ask("POST", &cancel, None).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains(&format!("nothing of the tree of event `{root}` is open")), "{detail}");
    let (status, _) = site.ask("POST", "/api/v1/events/evt_0000000000000001/cancel", None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, refused) = site.ask("POST", &format!("{cancel}?cursor=x"), None).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{refused}");
    let shown = site.get(&format!("/api/v1/events/{other}")).await;
    assert_eq!(shown["deliveries"][0]["state"], "ready", "{shown}");
}
