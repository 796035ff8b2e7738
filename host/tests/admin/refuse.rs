//! Refused requests and their texts.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::json;

use super::site::site;

#[tokio::test]
async fn every_refusal_says_what_was_wrong_and_what_would_be_right() {
    let site = site();
    for (method, path, status, hint) in [
        ("GET", "/api/v1/evnts", 404, "did you mean `/api/v1/events`?"),
        ("GET", "/api", 404, "openapi.json"),
        ("GET", "/api/v1/events?type=a..*", 400, "`order.*`"),
        ("GET", "/api/v1/events?min_attempts=0", 400, "from 1 to 9999999"),
        ("GET", "/api/v1/events?after=evt_1", 400, "an event id"),
        ("DELETE", "/api/v1/events", 405, "DELETE"),
        ("GET", "/api/v1/deliveries/retry", 405, "GET"),
        ("GET", "/api/v1/events?sorce=heygen", 400, "did you mean `source`?"),
        ("GET", "/api/v1/events?limit=0", 400, "1 to 500"),
        ("GET", "/api/v1/events?state=deda", 400, "did you mean `dead`?"),
        ("GET", "/api/v1/events?since=yesterday", 400, "RFC 3339"),
        ("GET", "/api/v1/events?cursor=x", 400, "next_cursor"),
        ("GET", "/api/v1/events/nonsense", 404, "an event id"),
        ("GET", "/api/v1/events/%ff", 400, "UTF-8"),
        ("GET", "/api/v1/events/evt_0000000000000001", 404, "evt_0000000000000001"),
        ("GET", "/api/v1/deliveries/dlv_0000000000000001_0", 404, "0000000000000001"),
        ("POST", "/api/v1/deliveries/dlv_0000000000000001_0/retry", 404, "0000000000000001"),
        ("POST", "/api/v1/deliveries/dlv_0000000000000001_0/cancel", 404, "0000000000000001"),
        ("POST", "/api/v1/deliveries/retry?state=ready", 400, "retry takes `dead`"),
        ("POST", "/api/v1/deliveries/cancel", 400, "state=open"),
        ("POST", "/api/v1/deliveries/cancel?state=dead", 400, "cancel takes `ready`"),
        ("POST", "/api/v1/deliveries/discard?state=waiting", 400, "`cancel` ends what is open"),
        ("POST", "/api/v1/deliveries/cancel?state=open&dry_run=yes", 400, "`true` or `false`"),
        ("POST", "/api/v1/deliveries/cancel?state=open&cursor=x", 400, "next_cursor"),
        ("GET", "/api/v1/plugins/audt", 404, "did you mean `audit`?"),
        ("GET", "/api/v1/stats?since=1", 400, "takes none"),
    ] {
        let (got, detail) = site.refused(method, path, None).await;
        assert_eq!(got, status, "{method} {path}: {detail}");
        assert!(detail.contains(hint), "{method} {path}: {detail}");
    }
}

#[tokio::test]
async fn a_body_that_is_no_json_object_is_refused() {
    let site = site();
    let post = |content_type: &'static str, body: Vec<u8>| {
        let request = Request::post("/api/v1/deliveries/retry")
            .header(header::HOST, "127.0.0.1:3001")
            .header(header::CONTENT_TYPE, content_type)
            .body(Body::from(body))
            .unwrap();
        site.send(request)
    };
    assert_eq!(
        post("text/plain", b"{}".to_vec()).await.status(),
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
    assert_eq!(post("application/json", b"[]".to_vec()).await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(
        post("application/json", b"{\"plugin\":{}}".to_vec()).await.status(),
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        post("application/json", vec![b' '; 65 << 10]).await.status(),
        StatusCode::PAYLOAD_TOO_LARGE
    );
    assert_eq!(
        post("application/json; charset=utf-8", b"{\"state\":\"dead\"}".to_vec()).await.status(),
        StatusCode::OK
    );
    let (status, detail) =
        site.refused("POST", "/api/v1/deliveries/retry", Some(json!({ "plugn": "audit" }))).await;
    assert!(status == 400 && detail.contains("did you mean `plugin`?"), "{detail}");
}

#[tokio::test]
async fn only_a_loopback_name_opens_the_door() {
    let site = site();
    let to = |host: &'static str, origin: Option<&'static str>, method: &'static str| {
        let mut request = Request::builder()
            .method(method)
            .uri("/api/v1/deliveries/retry?state=dead")
            .header(header::HOST, host);
        if let Some(origin) = origin {
            request = request.header(header::ORIGIN, origin);
        }
        site.send(request.body(Body::empty()).unwrap())
    };
    assert_eq!(
        to("rebound.example:3001", None, "POST").await.status(),
        StatusCode::MISDIRECTED_REQUEST
    );
    assert_eq!(
        to("localhost:3001", Some("http://evil.example"), "POST").await.status(),
        StatusCode::FORBIDDEN
    );
    let allowed = to("localhost:3001", Some("http://localhost:3001"), "POST").await;
    assert_eq!(allowed.status(), StatusCode::OK);
    assert_eq!(allowed.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    assert_eq!(allowed.headers()[header::CACHE_CONTROL], "no-store");
    assert!(!allowed.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones_as_a_problem() {
    let site = site();
    let request = Request::put("/api/v1/events")
        .header(header::HOST, "localhost")
        .body(Body::empty())
        .unwrap();
    let response = site.send(request).await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()[header::ALLOW], "GET,HEAD,POST");
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
}

#[tokio::test]
async fn a_store_that_has_stopped_is_told_with_a_time_to_come_back() {
    let site = site();
    site.admin.store.close().await.unwrap();
    let request =
        Request::post("/api/v1/deliveries/retry?state=dead").header(header::HOST, "localhost");
    let response = site.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key(header::RETRY_AFTER));
}
