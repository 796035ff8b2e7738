//! Keys that clients set and delete, by the API and by forms.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};

use super::forms::post;
use super::pages::{full, good, page};
use super::site::{Console, site};

const VALUE: &str = "/api/v1/kv/orders/value";

/// A PUT of these bytes.
async fn put(site: &Console, query: &str, bytes: &[u8]) -> (StatusCode, Value) {
    let request = Request::put(format!("{VALUE}?{query}")).header(header::HOST, "localhost:3001");
    let response = site.send(request.body(Body::from(bytes.to_vec())).unwrap()).await;
    let status = response.status();
    let answer = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&answer).unwrap())
}

#[tokio::test]
async fn a_key_is_set_and_deleted_only_as_it_was_seen() {
    let site = site();
    let (status, made) = put(&site, "key=a/b&if_absent=true", b"\xff\0").await;
    assert_eq!(status, StatusCode::OK, "{made}");
    let shown = site.get(&format!("{VALUE}?key=a/b")).await;
    assert_eq!((&shown["value_base64"], &shown["version"]), (&json!("/wA="), &made["version"]));
    let first = made["version"].as_str().unwrap().to_owned();
    let keys = site.get("/api/v1/kv/orders?prefix=a/").await;
    let key = json!({
        "key": "a/b", "bytes": 2, "version": first, "expires_at": null, "written_by": null,
    });
    assert_eq!(keys["items"], json!([key]), "no attempt has written it");
    assert_eq!((&keys["count"], &keys["has_more"]), (&json!(1), &json!(false)));
    assert_eq!((&keys["bytes"], &keys["max_bytes"]), (&json!(5), &json!(64 << 20)));
    let text = good(&site, "/kv/orders?prefix=a/").await;
    assert!(text.contains("hookbox kv orders --prefix a/"), "{text}");
    assert!(text.contains("5 B of 64 MiB") && text.contains(&first), "{text}");
    let (status, again) = put(&site, "key=a/b&if_absent=true", b"x").await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(again["detail"].as_str().unwrap().contains(&first), "{again}");
    let (_, second) = put(&site, &format!("key=a/b&if_version={first}"), b"{}").await;
    let old = format!("key=a/b&if_version={first}");
    assert_eq!(put(&site, &old, b"late").await.0, StatusCode::CONFLICT);
    assert_eq!(site.refused("DELETE", &format!("{VALUE}?{old}"), None).await.0, 409);
    assert_eq!(site.get(&format!("{VALUE}?key=a/b")).await["value"], json!({}));
    let new = second["version"].as_str().unwrap();
    let (_, gone) = site.ask("DELETE", &format!("{VALUE}?key=a/b&if_version={new}"), None).await;
    assert_eq!(gone["version"], Value::Null, "{gone}");
    assert_eq!(site.refused("GET", &format!("{VALUE}?key=a/b"), None).await.0, 404);
    let audit = site.get("/api/v1/audit?action=kv").await;
    let entries = audit["items"].as_array().unwrap();
    assert_eq!(entries.len(), 3, "what is refused has no entry: {audit}");
    assert_eq!(
        (&entries[0]["action"], &entries[0]["target"]),
        (&json!("kv.delete"), &json!("orders/a/b"))
    );
    assert!(entries[2]["detail"].as_str().unwrap().contains("2 bytes, sha256:"), "{audit}");
}

#[tokio::test]
async fn what_may_not_be_set_says_why() {
    let site = site();
    let long = "k".repeat(257);
    for (query, bytes, status, part) in [
        ("key=a", &b"x"[..], 400, "exactly one way"),
        ("key=a&force=true&if_absent=true", b"x", 400, "exactly one way"),
        ("key=a&force=yes", b"x", 400, "`force`"),
        ("key=a&if_version=x", b"x", 400, "whole number"),
        ("force=true", b"x", 400, "`key` is missing"),
        ("key=a%00b&force=true", b"x", 400, "control characters"),
        (&format!("key={long}&force=true"), b"x", 400, "256 bytes"),
        ("key=a&force=true", &[0; (256 << 10) + 1], 413, "262144"),
        ("key=a&if_version=5", b"x", 409, "not there now"),
    ] {
        let (found, answer) = put(&site, query, bytes).await;
        let detail = answer["detail"].as_str().unwrap_or_default();
        assert!(found == status && detail.contains(part), "{query}: {found} {answer}");
    }
    let absent = format!("{VALUE}?key=a&if_absent=true");
    assert_eq!(site.refused("DELETE", &absent, None).await.0, 400);
    let unknown = "/api/v1/kv/odrers/value?key=a&force=true";
    let (status, detail) = site.refused("PUT", unknown, None).await;
    assert!(status == 404 && detail.contains("no bucket `odrers`"), "{detail}");
    assert_eq!(site.get("/api/v1/audit?action=kv").await["items"], json!([]));
}

#[tokio::test]
async fn a_form_sets_and_deletes_what_was_seen() {
    let site = full().await;
    let shown = good(&site, "/kv/orders/value?key=seen").await;
    assert!(shown.contains("/kv/orders/set?key=seen"), "{shown}");
    let ask = good(&site, "/kv/orders/set?key=seen").await;
    let version = ask.split("name=\"version\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(ask.contains("{\"n\":1}</textarea>"), "{ask}");
    let form = format!("key=seen&version={version}&value=%7B%22n%22%3A2%7D%0D%0A");
    let done = post(&site, "/kv/orders/set", &form).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text);
    let value = site.get("/api/v1/kv/orders/value?key=seen").await;
    assert_eq!((&value["value"], &value["bytes"]), (&json!({ "n": 2 }), &json!(8)));
    // The version of before is refused.
    let late = post(&site, "/kv/orders/set", &form).await;
    assert_eq!(late.status, StatusCode::CONFLICT, "{}", late.text);
    assert!(good(&site, "/kv/orders/set").await.contains("A new key of orders"));
    let new = post(&site, "/kv/orders/set", "key=%3Cb%3E&value=a").await;
    assert_eq!(new.status, StatusCode::SEE_OTHER, "{}", new.text);
    let ask = good(&site, "/kv/orders/delete?key=%3Cb%3E").await;
    assert!(ask.contains("&lt;b&gt;") && !ask.contains("<b>"), "{ask}");
    let version = ask.split("name=\"version\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let form = format!("key=%3Cb%3E&version={version}");
    let done = post(&site, "/kv/orders/delete", &form).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text);
    let gone = page(&site, "/kv/orders/value?key=%3Cb%3E").await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_schedule_is_run_by_hand_once_for_each_request_with_a_key() {
    let site = site();
    let path = "/schedules/report/run";
    assert!(good(&site, "/schedules").await.contains(&format!("href=\"{path}\"")));
    assert!(good(&site, path).await.contains("report.due"));
    let mut made = Vec::new();
    for once in ["a", "a", "b"] {
        let done = post(&site, path, &format!("once={once}")).await;
        assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text);
        made.push(done.headers[header::LOCATION].to_str().unwrap().to_owned());
    }
    assert!(made[0] == made[1] && made[1] != made[2], "{made:?}");
    let event = site.get(&format!("/api/v1{}", made[0])).await;
    assert_eq!(
        (&event["type"], &event["source"]),
        (&json!("report.due"), &json!("schedules/report"))
    );
    assert!(event["note"].as_str().unwrap().starts_with("manual: local"), "{event}");
    assert_eq!(site.get("/api/v1/schedules").await["items"][0]["last"], Value::Null);
    let done = post(&site, "/schedules/report/pause", "reason=later").await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text);
    let text = good(&site, "/schedules").await;
    assert!(text.contains("later") && text.contains("/schedules/report/resume"), "{text}");
    assert!(good(&site, "/schedules/report/resume").await.contains("Let report go on?"));
    let done = post(&site, "/schedules/report/resume", "").await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text);
    assert_eq!(page(&site, "/schedules/report/resume").await.status, StatusCode::CONFLICT);
    assert_eq!(page(&site, "/schedules/report/explode").await.status, StatusCode::NOT_FOUND);
    assert_eq!(
        site.get("/api/v1/audit?action=schedules").await["items"].as_array().unwrap().len(),
        4
    );
}
