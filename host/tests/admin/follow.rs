//! Events as they come in.

use axum::body::Body;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::site::{event, site};

const PATH: &str = "/api/v1/events/stream";

/// Reads until `enough` of what was sent.
async fn read(stream: &mut Body, enough: impl Fn(&str) -> bool) -> String {
    let mut seen = String::new();
    while !enough(&seen) {
        let frame = stream.frame().await.expect("it goes on").unwrap();
        seen += std::str::from_utf8(&frame.into_data().unwrap()).unwrap();
    }
    seen
}

#[tokio::test]
async fn what_comes_in_is_sent_as_a_line_if_it_matches() {
    let site = site();
    site.append(event("video.done", "before", b"{}", &[])).await;
    let mut stream = site.stream(&format!("{PATH}?type=video.*&subject=order_1"), &[]).await;
    site.append(event("video.done", "order_2", b"{}", &[])).await;
    site.append(event("video.done", "order_1", b"{}", &["audit"])).await;
    let seen = read(&mut stream, |seen| seen.trim().ends_with('}')).await;
    let lines: Vec<Value> = seen
        .lines()
        .filter(|it| !it.is_empty())
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    assert_eq!(lines.len(), 1, "{seen}");
    assert_eq!(
        (&lines[0]["subject"], &lines[0]["deliveries"][0]["plugin"]),
        (&json!("order_1"), &json!("audit"))
    );
}

#[tokio::test]
async fn a_client_that_comes_back_gets_what_it_missed_as_server_sent_events() {
    let site = site();
    let first = site.append(event("video.done", "order_1", b"{}", &[])).await;
    let second = site.append(event("video.done", "order_2", b"{}", &[])).await;
    let headers = [("last-event-id", &*first.to_string()), ("accept", "text/event-stream")];
    let mut stream = site.stream(PATH, &headers).await;
    let seen = read(&mut stream, |seen| seen.contains("order_2")).await;
    let sent = seen.split_once("id: ").expect("an event").1;
    assert!(sent.starts_with(&format!("{second}\ndata: {{")), "{seen}");
    assert!(!seen.contains("order_1") && seen.ends_with("\n\n"), "{seen}");
}

#[tokio::test]
async fn of_a_flood_the_newest_are_sent_and_the_others_are_counted() {
    let site = site();
    let first = site.append(event("video.done", "order_0", b"{}", &[])).await;
    for number in 1..=1_200 {
        site.append(event("video.done", &format!("order_{number}"), b"{}", &[])).await;
    }
    let mut stream = site.stream(&format!("{PATH}?after={first}"), &[]).await;
    let seen = read(&mut stream, |seen| seen.contains("\"order_1200\"")).await;
    let lines: Vec<Value> = seen
        .lines()
        .filter(|it| !it.is_empty())
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    assert_eq!(lines[0], json!({ "skipped": 200 }));
    assert_eq!((lines.len(), &lines[1]["subject"]), (1_001, &json!("order_201")));
}

#[tokio::test]
async fn an_id_that_is_none_and_parts_of_pages_are_refused() {
    let site = site();
    for (query, says) in [
        ("?after=dlv_1_0", "`after`"),
        ("?limit=5", "`limit`: a stream has no pages"),
        ("?cursor=x", "`cursor`: a stream has no pages"),
        ("?typ=a", "did you mean `type`?"),
    ] {
        let (status, detail) = site.refused("GET", &format!("{PATH}{query}"), None).await;
        assert_eq!(status, 400, "{query}: {detail}");
        assert!(detail.contains(says), "{query}: {detail}");
    }
}
