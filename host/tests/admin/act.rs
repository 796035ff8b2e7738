//! Actions: retry, cancel, discard and replay.

use serde_json::{Value, json};

use super::site::{Console, Ends, event, site};

async fn dead(site: &Console, plugin: &str) -> String {
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
    assert_eq!(
        (&attempts[0]["outcome"], &attempts[1]["outcome"]),
        (&json!("reject"), &json!("ok"))
    );
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
    assert_eq!(
        site.ask("POST", &format!("{retry}?plugin=audit"), None).await.1,
        all_of("retried", 3)
    );
    let body = json!({ "subject": "s1", "state": "dead" });
    assert_eq!(site.ask("POST", retry, Some(body)).await.1, all_of("retried", 1));
    assert_eq!(
        site.ask("POST", &format!("{retry}?state=dead"), None).await.1,
        all_of("retried", 2)
    );
}

/// The answer of a call that has come to its end.
fn all_of(done: &str, count: u64) -> Value {
    json!({ done: count, "more": false, "next_cursor": null })
}

#[tokio::test]
async fn an_open_delivery_is_cancelled_once_and_a_dead_one_discarded_once() {
    let site = site();
    let open = site.append(event("video.done", "a", b"{}", &["orders"])).await;
    let open = site.admin.store.event(open).await.unwrap().deliveries[0].id;
    let path = format!("/api/v1/deliveries/{open}/cancel");
    assert_eq!(site.ask("POST", &path, None).await.1, json!({ "cancelled": 1 }));
    assert_eq!(site.get(&format!("/api/v1/deliveries/{open}")).await["state"], "cancelled");
    let (status, detail) = site.refused("POST", &path, None).await;
    assert!(status == 409 && detail.contains("cancelled already"), "{detail}");
    assert_eq!(site.work("orders", Ends::Done).await, 0);
    site.append(event("video.done", "b", b"{}", &["audit"])).await;
    site.work("audit", Ends::Dead).await;
    let dead = dead(&site, "audit").await;
    let path = format!("/api/v1/deliveries/{dead}/discard");
    assert_eq!(site.ask("POST", &path, None).await.1, json!({ "discarded": 1 }));
    let (status, detail) = site.refused("POST", &path, None).await;
    assert!(status == 409 && detail.contains("discarded"), "{detail}");
    let counts = &site.get("/api/v1/stats").await["deliveries"];
    assert_eq!((&counts["cancelled"], &counts["discarded"]), (&json!(1), &json!(1)));
    for state in ["cancelled", "discarded"] {
        assert_eq!(
            site.get(&format!("/api/v1/deliveries?state={state}")).await["items"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
        assert_eq!(
            site.get(&format!("/api/v1/events?state={state}")).await["items"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
    }
}

#[tokio::test]
async fn a_dry_run_counts_shows_the_first_and_changes_nothing() {
    let site = site();
    for number in 0..9 {
        site.append(event("video.done", &format!("s{number}"), b"{}", &["audit", "orders"])).await;
    }
    let before = site.get("/api/v1/stats").await;
    let body = json!({ "plugin": "audit", "dry_run": true });
    let (_, answer) = site.ask("POST", "/api/v1/deliveries/cancel", Some(body)).await;
    assert_eq!((&answer["matched"], &answer["more"]), (&json!(9), &json!(false)), "{answer}");
    let first = answer["first"].as_array().unwrap();
    assert!(
        first.len() == 5 && first.iter().all(|delivery| delivery["plugin"] == "audit"),
        "{answer}"
    );
    assert_eq!(site.get("/api/v1/stats").await, before);
}

#[tokio::test]
async fn open_deliveries_are_cancelled_and_dead_ones_discarded_by_filter() {
    let site = site();
    for number in 0..1_200 {
        let kind = if number % 3 == 0 { "video.lost" } else { "video.done" };
        site.append(event(kind, "s", b"{}", &["audit"])).await;
    }
    let cancel = "/api/v1/deliveries/cancel";
    let (_, answer) =
        site.ask("POST", &format!("{cancel}?type=video.lost&state=ready"), None).await;
    assert_eq!(answer, all_of("cancelled", 400));
    assert_eq!(site.work("audit", Ends::Dead).await, 100);
    assert_eq!(
        site.ask("POST", &format!("{cancel}?state=open"), None).await.1,
        all_of("cancelled", 700)
    );
    let discard = "/api/v1/deliveries/discard";
    assert_eq!(
        site.ask("POST", &format!("{discard}?plugin=orders"), None).await.1,
        all_of("discarded", 0)
    );
    assert_eq!(
        site.ask("POST", &format!("{discard}?state=dead"), None).await.1,
        all_of("discarded", 100)
    );
    let counts = &site.get("/api/v1/stats").await["deliveries"];
    assert_eq!(
        (&counts["ready"], &counts["cancelled"], &counts["discarded"]),
        (&json!(0), &json!(1100), &json!(100))
    );
    let again = site.ask("POST", "/api/v1/deliveries/retry?state=discarded", None).await.1;
    assert_eq!(again, all_of("retried", 100));
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
    assert_eq!(
        plugins(&site.ask("POST", &format!("{path}?plugin=orders"), None).await.1),
        ["orders"]
    );
    let shown = site.get(&format!("/api/v1/events/{id}")).await;
    let deliveries = shown["deliveries"].as_array().unwrap();
    assert_eq!(deliveries.len(), 4);
    assert!(
        deliveries
            .iter()
            .all(|delivery| delivery["replay"] == true && delivery["state"] == "ready"),
        "{shown}"
    );
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
    let mut untyped = event("hookbox.unidentified", "a", b"", &[]);
    untyped.note = Some("the body is empty".to_owned());
    let id = site.append(untyped).await;
    let (status, detail) = site.refused("POST", &format!("/api/v1/events/{id}/replay"), None).await;
    assert_eq!(status, 409);
    let name = format!("`hookbox events replay {id} --plugin NAME`");
    for said in [
        "(the body is empty)",
        &name,
        "\"heygen:hookbox.unidentified\"",
        "`type` under [sources.heygen]",
    ] {
        assert!(detail.contains(said), "{said}: {detail}");
    }
    let missing = "/api/v1/events/evt_0000000000000001/replay";
    assert_eq!(site.refused("POST", &format!("{missing}?plugin=audit"), None).await.0, 404);
}
