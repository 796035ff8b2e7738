//! Events leave a store as lines of JSON, and come back exactly.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};

use super::site::{Console, Ends, event, site};
use crate::support::until;

async fn export(site: &Console, query: &str) -> String {
    let request = Request::builder()
        .uri(format!("/api/v1/events/export{query}"))
        .header(header::HOST, "localhost:3001");
    let response = site.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn import(site: &Console, query: &str, lines: &str) -> (StatusCode, Value) {
    let request = Request::builder()
        .method("POST")
        .uri(format!("/api/v1/events/import{query}"))
        .header(header::HOST, "localhost:3001")
        .header(header::CONTENT_TYPE, "application/x-ndjson");
    let response = site.send(request.body(Body::from(lines.to_owned())).unwrap()).await;
    let status = response.status();
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap())
}

const BODIES: [&[u8]; 7] = [
    b"{}",
    b"{\"b\": 9223372036854775808, \"a\": 1.0, \"a\": 2}",
    b"{\n  \"pretty\": true\n}",
    b" {} ",
    b"",
    b"\xff\x00\n",
    b"<script>\xe2\x80\xae",
];

#[tokio::test]
async fn what_is_exported_is_imported_exactly_and_once() {
    let old = site();
    let mut bodies = std::collections::BTreeMap::new();
    for (number, body) in BODIES.iter().enumerate() {
        let subject = format!("s{number}");
        old.append(event("video.done", &subject, body, &["audit"])).await;
        bodies.insert(subject, body.to_vec());
    }
    old.work("audit", Ends::Dead).await;
    let lines = export(&old, "").await;
    assert_eq!(lines.lines().count(), BODIES.len());
    let last: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(last["subject"], "s6", "the newest first");
    assert_eq!(last["deliveries"], json!([["audit", "dead"]]));

    let new = site();
    let (status, answer) = import(&new, "", &lines).await;
    assert_eq!((status, &answer["imported"]), (StatusCode::OK, &json!(7)), "{answer}");
    let (_, again) = import(&new, "", &lines).await;
    assert_eq!(again, json!({ "imported": 0, "duplicates": 7, "skipped": 0 }));
    let entries = new.get("/api/v1/audit").await;
    assert_eq!(entries["items"][0]["action"], "events.import");
    let back = export(&new, "").await;
    for (old, new) in lines.lines().zip(back.lines()) {
        let (mut old, mut new): (Value, Value) =
            (serde_json::from_str(old).unwrap(), serde_json::from_str(new).unwrap());
        let note = new["note"].take();
        assert_eq!(note, format!("imported: it was {}", old["id"].as_str().unwrap()));
        // Ids are of a host's own.
        (old["id"], new["id"]) = (Value::Null, Value::Null);
        assert_eq!(new["deliveries"].take(), json!([]));
        (old["deliveries"], old["note"]) = (Value::Null, Value::Null);
        assert_eq!(old, new);
    }
    let exact = r#""data":{"b": 9223372036854775808, "a": 1.0, "a": 2}"#;
    assert!(lines.contains(exact) && back.contains(exact), "{back}");
}

#[tokio::test]
async fn an_export_reads_no_further_than_its_client() {
    let site = site();
    let mut ids = Vec::new();
    for number in 0..10 {
        ids.push(site.append(event("video.done", &format!("s{number}"), b"{}", &[])).await);
    }
    let body = site.stream("/api/v1/events/export", &[]).await;
    for id in ids {
        site.ask("POST", &format!("/api/v1/events/{id}/erase"), None).await;
    }
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let lines = String::from_utf8(bytes.to_vec()).unwrap();
    // One line waits for the client, and one for its place.
    let read_before = lines.lines().filter(|line| !line.contains("\"erased_at\"")).count();
    assert!(lines.lines().count() == 10 && read_before <= 2, "{lines}");
}

#[tokio::test]
async fn a_fifth_export_at_once_is_refused_until_one_has_ended() {
    let site = site();
    for number in 0..10 {
        site.append(event("video.done", &format!("s{number}"), b"{}", &[])).await;
    }
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(site.stream("/api/v1/events/export", &[]).await);
    }
    let ask = async |path: &str| {
        let request = Request::builder().uri(path).header(header::HOST, "localhost:3001");
        site.send(request.body(Body::empty()).unwrap()).await
    };
    for path in ["/api/v1/events/export", "/api/v1/audit/export"] {
        let refused = ask(path).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.headers()[header::RETRY_AFTER], "1");
        let (_, detail) = site.refused("GET", path, None).await;
        assert!(detail.starts_with("4 exports are under way"), "{detail}");
    }
    open.pop();
    let again = until("an export to end", async || {
        let again = ask("/api/v1/events/export").await;
        (again.status() == StatusCode::OK).then_some(again)
    });
    drop(again.await);
}

#[tokio::test]
async fn an_import_is_delivered_only_if_it_says_so() {
    let (old, new) = (site(), site());
    old.append(event("video.done", "a", b"{}", &[])).await;
    let lines = export(&old, "?limit=1").await;
    let (_, answer) = import(&new, "?route=true", &lines).await;
    assert_eq!(answer["imported"], 1);
    let listed = new.get("/api/v1/events").await;
    assert!(!listed["items"][0]["deliveries"].as_array().unwrap().is_empty(), "{listed}");
}

#[tokio::test]
async fn of_an_import_with_a_wrong_line_nothing_is_stored() {
    let site = site();
    let good = r#"{"id":"evt_0000000000000001","source":"a","type":"t","time":"2026-01-01T00:00:00Z","data":{}}"#;
    let wrong = [
        ("nonsense", "line 2: it is no event"),
        (r#"{"id":"x","source":"a","type":"t","time":"now","data":{}}"#, "line 2: `time`: `now`"),
        (r#"{"id":"x","source":"a","type":"t","time":"2026-01-01T00:00:00Z"}"#, "needs one of"),
        (
            r#"{"id":"x","source":"a","type":"t","time":"2026-01-01T00:00:00Z","data_base64":"?"}"#,
            "no base64",
        ),
        (
            r#"{"id":"x","source":"","type":"t","time":"2026-01-01T00:00:00Z","data":{}}"#,
            "`source`",
        ),
    ];
    for (line, why) in wrong {
        let (status, problem) = import(&site, "", &format!("{good}\n{line}\n")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(why), "{line}: {detail}");
    }
    assert_eq!(site.get("/api/v1/stats").await["events"], 0);
    let json = Request::builder()
        .method("POST")
        .uri("/api/v1/events/import")
        .header(header::HOST, "localhost:3001")
        .header(header::CONTENT_TYPE, "application/json");
    let refused = site.send(json.body(Body::from(good)).unwrap()).await;
    assert_eq!(refused.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn an_erased_event_is_exported_without_data_and_not_imported() {
    let site = site();
    let id = site.append(event("video.done", "a", b"{}", &[])).await;
    site.ask("POST", &format!("/api/v1/events/{id}/erase"), None).await;
    let lines = export(&site, "").await;
    assert!(lines.contains("\"erased_at\""), "{lines}");
    assert_eq!(import(&site, "", &lines).await.1["skipped"], 1);
}

#[tokio::test]
async fn an_event_that_the_host_has_itself_is_a_duplicate_of_an_import() {
    let site = site();
    for subject in ["a", "b"] {
        site.append(event("video.done", subject, b"{}", &["audit"])).await;
    }
    let lines = export(&site, "").await;
    let (_, answer) = import(&site, "?route=true", &lines).await;
    assert_eq!(answer, json!({ "imported": 0, "duplicates": 2, "skipped": 0 }));
    assert_eq!(site.get("/api/v1/stats").await["events"], 2);
    // Another host may have given the same id to another event.
    let (_, other) = import(&site, "", &lines.replace("\"data\":{}", "\"data\":{\"n\":1}")).await;
    assert_eq!((&other["imported"], &other["duplicates"]), (&json!(2), &json!(0)));
    // Deleted data does not come back.
    let id = site.append(event("video.done", "c", b"{}", &[])).await;
    let before = export(&site, "?limit=1").await;
    site.ask("POST", &format!("/api/v1/events/{id}/erase"), None).await;
    assert_eq!(import(&site, "", &before).await.1["duplicates"], 1);
}

#[tokio::test]
async fn imported_events_are_listed_in_the_order_of_the_file_whatever_their_sources() {
    let site = site();
    let line = |n: i32| {
        let source = ["acme", "plugins/audit", "beta"][n as usize % 3];
        let mut line =
            json!({ "id": format!("evt_{:016x}", 1_000 - n), "source": source, "type": "t" });
        line["subject"] = format!("s{n}").into();
        line["time"] = "2026-01-01T00:00:00Z".into();
        line["data"] = json!({});
        line.to_string() + "\n"
    };
    let lines: String = (0..60).map(line).collect();
    assert_eq!(import(&site, "", &lines).await.1["imported"], 60);
    let listed = site.get("/api/v1/events?limit=60").await;
    let subjects = listed["items"].as_array().unwrap().iter().map(|event| event["subject"].clone());
    let expected: Vec<Value> = (0..60).map(|n| format!("s{n}").into()).collect();
    assert_eq!(subjects.collect::<Vec<_>>(), expected);
}
