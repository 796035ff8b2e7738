//! What can be done: retry and replay.

use serde_json::{Value, json};

use super::site::{Ends, Site, event, site};

async fn dead(site: &Site, plugin: &str) -> String {
    let page = site.get(&format!("/api/v1/deliveries?state=dead&plugin={plugin}")).await;
    page["items"][0]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_dead_delivery_is_retried_once() {
    let site = site();
    site.append(event("video.done", "a", b"{}", &["audit"])).await;
    site.work("audit", Ends::Dead).await;
    let id = dead(&site, "audit").await;
    let path = format!("/api/v1/deliveries/{id}/retry");
    assert_eq!(site.ask("POST", &path, None).await.1, json!({ "retried": 1 }));
    assert_eq!(site.get(&format!("/api/v1/deliveries/{id}")).await["state"], "ready");
    assert_eq!(site.refused("POST", &path, None).await.0, 409);
    assert_eq!(site.work("audit", Ends::Done).await, 1);
    let attempts = &site.get(&format!("/api/v1/deliveries/{id}")).await["attempts"];
    assert_eq!((&attempts[0]["outcome"], &attempts[1]["outcome"]), (&json!("reject"), &json!("ok")));
    assert_eq!((&attempts[0]["number"], &attempts[1]["number"]), (&json!(1), &json!(2)));
}

#[tokio::test]
async fn dead_deliveries_are_retried_by_filter() {
    let site = site();
    for number in 0..3 {
        site.append(event("video.done", &format!("s{number}"), b"{}", &["audit", "orders"])).await;
    }
    site.work("audit", Ends::Dead).await;
    site.work("orders", Ends::Dead).await;
    let retry = "/api/v1/deliveries/retry";
    let (status, detail) = site.refused("POST", retry, None).await;
    assert!(status == 400 && detail.contains("state=dead"), "{detail}");
    assert_eq!(site.refused("POST", &format!("{retry}?plugin="), None).await.0, 400);
    assert_eq!(site.ask("POST", &format!("{retry}?plugin=audit"), None).await.1, json!({ "retried": 3 }));
    let body = json!({ "subject": "s1", "state": "dead" });
    assert_eq!(site.ask("POST", retry, Some(body)).await.1, json!({ "retried": 1 }));
    assert_eq!(site.ask("POST", &format!("{retry}?state=dead"), None).await.1, json!({ "retried": 2 }));
}

fn plugins(answer: &Value) -> Vec<&str> {
    answer["plugins"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
}

#[tokio::test]
async fn an_event_is_replayed_to_what_is_routed_now_or_to_one_plugin() {
    let site = site();
    // Came in before there was a route.
    let id = site.append(event("video.done", "a", b"{}", &[])).await;
    let path = format!("/api/v1/events/{id}/replay");
    let (status, answer) = site.ask("POST", &path, None).await;
    assert_eq!((status.as_u16(), plugins(&answer)), (202, vec!["audit", "orders"]));
    let (_, answer) = site.ask("POST", &path, Some(json!({ "plugin": "audit" }))).await;
    assert_eq!(plugins(&answer), ["audit"]);
    assert_eq!(plugins(&site.ask("POST", &format!("{path}?plugin=orders"), None).await.1), ["orders"]);
    let shown = site.get(&format!("/api/v1/events/{id}")).await;
    let deliveries = shown["deliveries"].as_array().unwrap();
    assert_eq!(deliveries.len(), 4);
    assert!(deliveries.iter().all(|delivery| delivery["replay"] == true && delivery["state"] == "ready"), "{shown}");
    assert_eq!(answer["deliveries"][0], deliveries[2]["id"]);
}

#[tokio::test]
async fn a_replay_needs_a_plugin_that_exists_or_a_route() {
    let site = site();
    let id = site.append(event("nobody.cares", "a", b"{}", &[])).await;
    let path = format!("/api/v1/events/{id}/replay");
    let (status, detail) = site.refused("POST", &path, None).await;
    assert!(status == 409 && detail.contains("nobody.cares"), "{detail}");
    let (status, detail) = site.refused("POST", &format!("{path}?plugin=audti"), None).await;
    assert!(status == 404 && detail.contains("did you mean `audit`?"), "{detail}");
    let missing = "/api/v1/events/evt_0000000000000001/replay";
    assert_eq!(site.refused("POST", &format!("{missing}?plugin=audit"), None).await.0, 404);
}
