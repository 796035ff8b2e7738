//! Listings and single items.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hookbox::status::Trouble;
use serde_json::{Value, json};

use super::site::{Ends, event, member, site};
use crate::support::NOW_MS;

fn subjects(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["subject"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn an_event_is_shown_with_its_deliveries_attempts_and_children() {
    let site = site();
    let id = site.append(event("video.done", "order_1", br#"{"n":1.50}"#, &["audit"])).await;
    site.work("audit", Ends::Done).await;
    let shown = site.get(&format!("/api/v1/events/{id}")).await;
    assert_eq!(shown["id"], id.to_string());
    assert_eq!(
        (&shown["type"], &shown["source"], &shown["subject"]),
        (&json!("video.done"), &json!("heygen"), &json!("order_1"))
    );
    assert_eq!(shown["time"], "2026-02-02T02:40:00.120Z");
    assert_eq!(shown["data"], json!({ "n": 1.50 }));
    assert_eq!(shown["headers"], json!([{ "name": "user-agent", "value": "HeyGen" }]));
    let child = shown["children"][0].as_str().unwrap();
    assert_eq!(site.get(&format!("/api/v1/events/{child}")).await["parent_id"], id.to_string());
    let delivery = &shown["deliveries"][0];
    assert_eq!((&delivery["plugin"], &delivery["state"]), (&json!("audit"), &json!("done")));
    let expected = json!([{
        "number": 1, "started_at": "2026-02-02T02:40:00.120Z", "duration_ms": 1.5,
        "cpu_ms": 1.2, "memory_bytes": 1_179_648, "outcome": "ok", "settled": null, "error": null,
        "logs": [{ "level": "info", "message": "looked" }], "plugin_digest": "07".repeat(32),
        "steps": [], "calls": [{ "method": "GET", "url": "https://api.example.com/v1/videos?id=*", "status": 200, "error": null,
            "refused": false, "sent_bytes": 0, "received_bytes": 165, "duration_ms": 31, "offset_ms": 4 }],
    }]);
    assert_eq!(delivery["attempts"], expected);
}

#[tokio::test]
async fn an_event_is_shown_with_how_often_it_was_repeated() {
    let site = site();
    let at = |time_ms| {
        let mut event = event("video.done", "order_1", b"{}", &[]);
        (event.dedupe, event.attributes.time_ms) = (vec![[1; 16]], time_ms);
        event
    };
    let id = site.append(at(1_770_000_000_120)).await;
    let shown = site.get(&format!("/api/v1/events/{id}")).await;
    assert_eq!((&shown["duplicates"], &shown["last_duplicate_at"]), (&json!(0), &Value::Null));
    for late_ms in [1_000, 2_000] {
        assert!(site.admin.store.append(at(1_770_000_000_120 + late_ms)).await.unwrap().duplicate);
    }
    let shown = site.get(&format!("/api/v1/events/{id}")).await;
    assert_eq!(
        (&shown["duplicates"], &shown["last_duplicate_at"]),
        (&json!(2), &json!("2026-02-02T02:40:02.120Z"))
    );
    assert_eq!(site.get("/api/v1/stats").await["duplicates"], 2);
}

#[tokio::test]
async fn a_body_that_is_not_json_is_shown_in_base64() {
    let site = site();
    let id = site.append(event("video.done", "s", b"\x00\xff", &[])).await;
    let shown = site.get(&format!("/api/v1/events/{id}")).await;
    assert_eq!((shown.get("data"), &shown["data_base64"]), (None, &json!("AP8=")));
}

#[tokio::test]
async fn a_form_that_wraps_json_is_shown_both_ways() {
    let site = site();
    let form = |source: &str, content_type: &str, body: &[u8]| {
        let mut event = event("push", "s", body, &[]);
        event.attributes.source = source.into();
        event.attributes.content_type = Some(content_type.to_owned());
        event
    };
    let is_form = "application/x-www-form-urlencoded; charset=utf-8";
    let body = b"payload=%7B%22zen%22%3A+1.50%7D";
    let id = site.append(form("github", is_form, body)).await;
    let shown = site.get(&format!("/api/v1/events/{id}")).await;
    assert_eq!(shown["form_data"], json!({ "zen": 1.50 }));
    assert_eq!((shown.get("data"), &shown["data_base64"]), (None, &json!(STANDARD.encode(body))));
    for (source, content_type, body) in [
        ("heygen", is_form, &body[..]),
        ("plugins/github", is_form, body),
        ("github", "text/plain", body),
        ("github", is_form, b"payload=text"),
        ("github", is_form, b"other=%7B%7D"),
    ] {
        let id = site.append(form(source, content_type, body)).await;
        let shown = site.get(&format!("/api/v1/events/{id}")).await;
        assert_eq!(shown.get("form_data"), None, "{source} {content_type}");
    }
}

#[tokio::test]
async fn pages_follow_one_another_until_every_event_was_shown_once() {
    let site = site();
    for number in 0..7 {
        site.append(event("video.done", &format!("s{number}"), b"{}", &["audit", "orders"])).await;
    }
    for (path, rows) in [("/api/v1/events", 7), ("/api/v1/deliveries", 14)] {
        let mut seen = BTreeSet::new();
        let mut target = format!("{path}?limit=2");
        loop {
            let page = site.get(&target).await;
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= 2, "{page}");
            for item in items {
                assert!(seen.insert(item["id"].as_str().unwrap().to_owned()), "twice: {item}");
            }
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            target = format!("{path}?limit=2&cursor={cursor}");
        }
        assert_eq!(seen.len(), rows, "{path}");
    }
}

#[tokio::test]
async fn filters_narrow_a_listing_down() {
    let site = site();
    site.append(event("video.done", "a", b"{\"word\":\"needle\"}", &["audit"])).await;
    site.work("audit", Ends::Dead).await;
    site.append(event("video.failed", "b", b"{}", &["orders"])).await;
    site.append(event("other", "c", b"{}", &[])).await;
    for (query, expected) in [
        ("", vec!["c", "b", "a"]),
        ("?type=video.failed", vec!["b"]),
        ("?subject=a", vec!["a"]),
        ("?source=heygen&limit=1", vec!["c"]),
        ("?source=nobody", vec![]),
        ("?state=dead", vec!["a"]),
        ("?state=ready", vec!["b"]),
        ("?state=unrouted", vec!["c"]),
        ("?q=needle", vec!["a"]),
        ("?since=2026-02-02T02:41:00Z", vec![]),
        ("?since=2026-02-02T02:40:00Z", vec!["c", "b", "a"]),
        ("?until=1770000000", vec![]),
    ] {
        assert_eq!(
            subjects(&site.get(&format!("/api/v1/events{query}")).await),
            expected,
            "{query}"
        );
    }
    for (query, expected) in
        [("?state=dead", vec!["a"]), ("?plugin=orders", vec!["b"]), ("?type=other", vec![])]
    {
        assert_eq!(
            subjects(&site.get(&format!("/api/v1/deliveries{query}")).await),
            expected,
            "{query}"
        );
    }
}

#[tokio::test]
async fn plugins_are_shown_with_what_leads_to_them() {
    let site = site();
    site.append(event("video.done", "a", b"{}", &["audit"])).await;
    site.work("audit", Ends::Waits).await;
    let page = site.get("/api/v1/plugins").await;
    let names: Vec<_> =
        page["items"].as_array().unwrap().iter().map(|plugin| plugin["name"].clone()).collect();
    assert_eq!(names, ["audit", "orders"]);
    let mut plugin = site.get("/api/v1/plugins/audit").await;
    // A listing leaves out what asks the store for each plugin.
    let members = plugin.as_object_mut().unwrap();
    assert_eq!(members.remove("emits"), Some(json!([])));
    let failures = members.remove("failures").unwrap();
    assert_eq!((&failures[0]["waiting"], &failures[0]["plugin"]), (&json!(1), &json!("audit")));
    assert_eq!(plugin, page["items"][0]);
    assert_eq!((&plugin["state"], &plugin["routes"]), (&json!("loaded"), &json!(["video.*"])));
    assert_eq!((&plugin["contract"], &plugin["grants"]), (&json!("handler@0.1.0"), &json!([])));
    assert_eq!(
        plugin["deliveries"],
        json!({ "ready": 0, "leased": 0, "waiting": 1, "done": 0, "dead": 0, "cancelled": 0, "discarded": 0 })
    );
}

#[tokio::test]
async fn counts_are_by_state_and_plugin() {
    let site = site();
    site.append(event("video.done", "a", b"{}", &["audit", "orders"])).await;
    site.work("audit", Ends::Done).await;
    let stats = site.get("/api/v1/stats").await;
    // The second event is the one that `audit` emitted.
    assert_eq!((&stats["events"], &stats["duplicates"]), (&json!(2), &json!(0)));
    assert_eq!(
        stats["deliveries"],
        json!({ "ready": 1, "leased": 0, "waiting": 0, "done": 1, "dead": 0, "cancelled": 0, "discarded": 0 })
    );
    assert_eq!(stats["plugins"]["orders"]["ready"], 1);
}

#[tokio::test]
async fn a_bad_configuration_is_seen_while_the_host_goes_on() {
    let site = site();
    assert_eq!(
        site.get("/readyz").await,
        json!({ "status": "ready", "generation": 0, "problems": [] })
    );
    site.admin.status.update(|condition| {
        Trouble::note(&mut condition.config, "config.toml:3:1: unknown key", 1);
        condition.restart_needed = vec!["server.listen"];
        condition.generation = 4;
    });
    let health = site.get("/readyz").await;
    assert_eq!((&health["status"], &health["generation"]), (&json!("degraded"), &json!(4)));
    assert_eq!(health["problems"][0]["detail"], "config.toml:3:1: unknown key");
    assert_eq!(health["problems"][0]["since"], "1970-01-01T00:00:00.001Z");
    assert_eq!(health["problems"][1]["name"], "server.listen");
    assert_eq!(health["problems"][1]["since"], serde_json::Value::Null);
    assert_eq!(site.get("/livez").await["status"], "live");
}

#[tokio::test]
async fn a_clock_that_jumped_is_seen_until_an_operator_accepts_it() {
    let site = site();
    assert_eq!(site.get("/api/v1/clock").await["state"], "right");
    site.admin.clock.step(NOW_MS - 2 * 3_600_000);
    site.admin.clock.compare();
    let health = site.get("/readyz").await;
    assert_eq!(
        (&health["status"], &health["problems"][0]["part"]),
        (&json!("degraded"), &json!("clock"))
    );
    let detail = health["problems"][0]["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("the clock went back by 2 h 0 min at 2026-02-02T00:40:00.120Z"),
        "{detail}"
    );
    let clock = site.get("/api/v1/clock").await;
    assert_eq!((&clock["state"], &clock["jump_ms"]), (&json!("jumped"), &json!(-7_200_000)));
    assert_eq!(
        (&clock["host_time"], &clock["since"]),
        (&json!("2026-02-02T02:40:00.120Z"), &clock["time"])
    );
    let (status, _) = site.ask("GET", "/api/v1/clock/accept", None).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    let (_, accepted) = site.ask("POST", "/api/v1/clock/accept", None).await;
    assert_eq!(
        (&accepted["jump_ms"], &accepted["clock"]["state"]),
        (&json!(-7_200_000), &json!("right"))
    );
    assert_eq!(site.get("/readyz").await["status"], "ready");
}

#[tokio::test]
async fn a_store_that_has_stopped_makes_the_host_unready() {
    let site = site();
    site.admin.store.close().await.unwrap();
    let (status, health) = site.ask("GET", "/readyz", None).await;
    assert_eq!(
        (status, &health["status"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("unavailable"))
    );
    assert_eq!(health["problems"][0]["part"], "store");
}

/// The wait of a delivery of an event, by the API: the kind and the sentence.
async fn waits(site: &super::site::Console, event: &str, index: usize) -> (String, String) {
    let shown = site.get(&format!("/api/v1/events/{event}")).await;
    let waits = &shown["deliveries"][index]["waits_for"];
    let text = |name: &str| waits[name].as_str().unwrap_or_default().to_owned();
    (text("kind"), text("text"))
}

#[tokio::test]
async fn every_open_delivery_names_what_it_waits_for() {
    let site = site();
    let id = site.append(event("video.done", "s", b"{}", &["audit", "gone"])).await.to_string();
    let (kind, text) = waits(&site, &id, 0).await;
    assert_eq!(kind, "capacity", "{text}");
    let (kind, text) = waits(&site, &id, 1).await;
    assert!(kind == "plugin" && text.contains("`gone`, which is missing"), "{kind}: {text}");
    site.work("audit", Ends::Waits).await;
    let (kind, text) = waits(&site, &id, 0).await;
    assert!(kind == "time" && text.contains("next attempt, 2026-02-02T02:41"), "{kind}: {text}");
    let opens = site.append(member("order_1")).await.to_string();
    let (kind, text) = waits(&site, &opens, 0).await;
    assert!(kind == "members" && text.contains("1 of 3"), "{kind}: {text}");
    let listed = site.get("/api/v1/deliveries").await;
    for delivery in listed["items"].as_array().unwrap() {
        let open = ["ready", "leased", "waiting"].contains(&delivery["state"].as_str().unwrap());
        assert_eq!(delivery["waits_for"].is_object(), open, "{delivery}");
    }
}

#[tokio::test]
async fn open_joins_are_listed_with_what_they_need() {
    let site = site();
    for key in ["order_2", "order_1", "order_1"] {
        site.append(member(key)).await;
    }
    let page = site.get("/api/v1/joins?limit=1").await;
    let first = &page["items"][0];
    assert_eq!((&first["name"], &first["key"]), (&json!("joins/videos"), &json!("order_2")));
    assert_eq!((&first["count"], &first["need"]), (&json!(1), &json!(3)));
    let cursor = page["next_cursor"].as_str().unwrap();
    let page = site.get(&format!("/api/v1/joins?limit=1&cursor={cursor}")).await;
    assert_eq!(
        (&page["items"][0]["key"], &page["items"][0]["count"]),
        (&json!("order_1"), &json!(2))
    );
    let page = site.get("/api/v1/joins?name=joins/videos&key=order_1").await;
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    let (status, body) = site.ask("GET", "/api/v1/joins?name=videos", None).await;
    let detail = body["detail"].as_str().unwrap();
    assert!(status == StatusCode::BAD_REQUEST && detail.contains("`joins/NAME`"), "{body}");
}

#[tokio::test]
async fn a_tree_is_the_same_from_each_of_its_events() {
    let site = site();
    let root = site.append(event("video.done", "order_1", b"{}", &["audit"])).await;
    site.work("audit", Ends::Done).await;
    let tree = site.get(&format!("/api/v1/events/{root}/tree")).await;
    let events = tree["events"].as_array().unwrap();
    assert_eq!((events.len(), &tree["root_id"]), (2, &json!(root.to_string())));
    assert_eq!(events[1]["parent_id"], json!(root.to_string()));
    assert_eq!(events[0]["deliveries"][0]["attempts"][0]["after_ms"], 0);
    let attempt = &events[0]["deliveries"][0]["attempts"][0];
    let call = &attempt["calls"][0];
    assert_eq!((&call["offset_ms"], &call["status"]), (&json!(4), &json!(200)), "{attempt}");
    let told = (&attempt["more_calls"], &attempt["emitted"]);
    assert_eq!(told, (&json!(false), &json!([])), "it is of a source: {attempt}");
    assert_eq!(events[0]["deliveries"][0]["waits"], json!([]));
    let child = events[1]["id"].as_str().unwrap();
    assert_eq!(site.get(&format!("/api/v1/events/{child}/tree")).await, tree);
    let page = site.get(&format!("/api/v1/events/{child}/tree?limit=1")).await;
    let next = page["next_cursor"].as_str().unwrap();
    let rest = site.get(&format!("/api/v1/events/{child}/tree?limit=1&cursor={next}")).await;
    assert_eq!((&rest["events"][0], &rest["next_cursor"]), (&events[1], &Value::Null));
}
