//! Cases for `hookbox test`, and parts of bodies.

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use serde_json::json;

use super::site::{Ends, event, site};

#[tokio::test]
async fn a_case_has_the_event_and_what_its_last_attempt_made_of_it() {
    let site = site();
    let body = b"{\"big\":9223372036854775808}";
    let id = site.append(event("video.done", "order_1", body, &["audit", "orders"])).await;
    site.work("audit", Ends::Done).await;
    let case = site.get(&format!("/api/v1/events/{id}/case?plugin=audit")).await;
    assert_eq!(case["event"]["data"], json!({ "big": 9_223_372_036_854_775_808_u64 }));
    assert_eq!(
        (&case["event"]["subject"], &case["event"]["id"]),
        (&json!("order_1"), &json!(id.to_string()))
    );
    assert_eq!(case["expected"]["outcome"], "ok");
    assert_eq!(case["expected"]["emitted"], json!([]));
    for (query, status, says) in [
        ("", 400, "name one of `audit`, `orders`"),
        ("?plugin=orders", 409, "no attempt of `orders`"),
        ("?plugin=nobody", 409, "no attempt of `nobody`"),
    ] {
        let (found, detail) =
            site.refused("GET", &format!("/api/v1/events/{id}/case{query}"), None).await;
        assert_eq!(found, status, "{query}: {detail}");
        assert!(detail.contains(says), "{query}: {detail}");
    }
}

#[tokio::test]
async fn a_part_of_a_body_can_be_read() {
    let site = site();
    let id = site.append(event("video.done", "order_1", b"0123456789", &[])).await;
    for (range, status, part, of_all) in [
        ("bytes=2-4", 206, "234", Some("bytes 2-4/10")),
        ("bytes=-2", 206, "89", Some("bytes 8-9/10")),
        ("pages=1-2", 200, "0123456789", None),
        ("bytes=10-", 416, "behind the end", Some("bytes */10")),
    ] {
        let request = Request::get(format!("/api/v1/events/{id}/body"))
            .header("host", "localhost")
            .header("range", range)
            .body(Body::empty())
            .unwrap();
        let answer = site.send(request).await;
        assert_eq!(answer.status(), status, "{range}");
        let header =
            answer.headers().get("content-range").map(|it| it.to_str().unwrap().to_owned());
        assert_eq!(header.as_deref(), of_all, "{range}");
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(std::str::from_utf8(&bytes).unwrap().contains(part), "{range}: {bytes:?}");
    }
}
