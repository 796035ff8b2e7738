//! Every change of an operator has an entry, and a request with a key is done once.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use hookbox::admin::{Endpoint, endpoints};
use serde_json::{Value, json};

use super::site::{Console, Ends, event, site};

/// A POST with a key.
async fn keyed(site: &Console, path: &str, key: &str, agent: &str) -> (StatusCode, Value) {
    let request = Request::builder()
        .method("POST")
        .uri(path)
        .header(header::HOST, "localhost:3001")
        .header(header::USER_AGENT, agent)
        .header("idempotency-key", key);
    let response = site.send(request.body(Body::empty()).unwrap()).await;
    let status = response.status();
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap())
}

async fn entries(site: &Console, query: &str) -> Vec<Value> {
    let page = site.get(&format!("/api/v1/audit{query}")).await;
    page["items"].as_array().unwrap().clone()
}

/// A dead letter of `audit`: its event and its id.
async fn dead(site: &Console, subject: &str) -> (String, String) {
    let event_id = site.append(event("video.done", subject, b"{}", &["audit"])).await.to_string();
    site.work("audit", Ends::Dead).await;
    let page = site.get(&format!("/api/v1/deliveries?state=dead&subject={subject}")).await;
    (event_id, page["items"][0]["id"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn every_change_of_an_operator_has_an_entry() {
    let site = site();
    let (event_id, id) = dead(&site, "a").await;
    site.append(event("video.done", "b", b"{}", &["orders"])).await;
    let changes = [
        (format!("/api/v1/deliveries/{id}/retry?fresh=true"), "deliveries.retry"),
        (format!("/api/v1/deliveries/{id}/move?to=orders"), "deliveries.move"),
        (format!("/api/v1/deliveries/{id}/cancel"), "deliveries.cancel"),
        (format!("/api/v1/events/{event_id}/replay?plugin=audit"), "events.replay"),
        (format!("/api/v1/events/{event_id}/cancel"), "events.cancel"),
        ("/api/v1/deliveries/move?plugin=orders&to=audit".to_owned(), "deliveries.move"),
        ("/api/v1/deliveries/cancel?plugin=audit".to_owned(), "deliveries.cancel"),
        ("/api/v1/deliveries/retry?state=cancelled".to_owned(), "deliveries.retry"),
        (format!("/api/v1/events/{event_id}/erase?keys=true"), "events.erase"),
        ("/api/v1/events/erase?subject=b".to_owned(), "events.erase"),
        ("/api/v1/plugins/audit/load".to_owned(), "plugins.load"),
        ("/api/v1/plugins/audit/pause?reason=x".to_owned(), "plugins.pause"),
        ("/api/v1/plugins/audit/resume".to_owned(), "plugins.resume"),
        ("/api/v1/schedules/report/run".to_owned(), "schedules.run"),
        ("/api/v1/schedules/report/pause?reason=x".to_owned(), "schedules.pause"),
        ("/api/v1/schedules/report/resume".to_owned(), "schedules.resume"),
        ("/api/v1/clock/accept".to_owned(), "clock.accept"),
    ];
    let changes_made = changes.len();
    for (path, action) in changes {
        let before = entries(&site, "").await.len();
        let (status, answer) = site.ask("POST", &path, None).await;
        assert!(status.is_success(), "{path}: {status} {answer}");
        let after = entries(&site, "").await;
        assert_eq!(after.len(), before + 1, "{path}");
        assert_eq!(after[0]["action"], action, "{path}");
        assert_eq!(
            (&after[0]["actor"], &after[0]["role"], &after[0]["via"]),
            (&json!("local"), &json!("operator"), &json!("api"))
        );
    }
    let filtered = entries(&site, "?action=deliveries.move").await;
    assert_eq!(filtered[0]["target"], "plugin=orders");
    assert_eq!(filtered[0]["detail"], "to audit");
    assert_eq!(filtered[1]["target"], id);
    assert_eq!(filtered[1]["result"], 1);
    // A subject is somebody's data as well.
    let erased = &entries(&site, "?action=events.erase").await[0];
    assert!(erased["target"].as_str().unwrap().starts_with("subject sha256:3e23e8160039594a"));
    let page = site.get("/api/v1/audit?limit=2").await;
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = entries(&site, &format!("?limit=500&cursor={cursor}")).await;
    assert_eq!(rest.len(), changes_made - 2);
    for query in ["cursor=x", "limit=0", "since=yesterday", "who=jo"] {
        assert_eq!(site.refused("GET", &format!("/api/v1/audit?{query}"), None).await.0, 400);
    }
}

#[tokio::test]
async fn what_is_refused_or_only_tried_has_no_entry() {
    let site = site();
    let (_, id) = dead(&site, "a").await;
    assert_eq!(site.refused("POST", &format!("/api/v1/deliveries/{id}/cancel"), None).await.0, 409);
    let dry = "/api/v1/deliveries/retry?state=dead&dry_run=true";
    assert_eq!(site.ask("POST", dry, None).await.1["matched"], 1);
    assert_eq!(entries(&site, "").await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_change_that_is_asked_for_twice_with_one_key_is_made_once() {
    let site = site();
    let (event_id, _) = dead(&site, "a").await;
    let replay = format!("/api/v1/events/{event_id}/replay?plugin=audit");
    let (first, second) =
        tokio::join!(keyed(&site, &replay, "k1", "hookbox/1"), keyed(&site, &replay, "k1", "curl"));
    assert_eq!(first.0, StatusCode::ACCEPTED);
    assert_eq!(first, second);
    let shown = site.get(&format!("/api/v1/events/{event_id}")).await;
    assert_eq!(shown["deliveries"].as_array().unwrap().len(), 2);
    assert_eq!(entries(&site, "?action=events").await.len(), 1);
    let other = keyed(&site, &format!("{replay}&x=1"), "k1", "curl").await;
    assert_eq!(other.0, StatusCode::BAD_REQUEST, "{other:?}");
    let other = format!("/api/v1/events/{event_id}/replay?plugin=orders");
    let (status, problem) = keyed(&site, &other, "k1", "curl").await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(problem["detail"].as_str().unwrap().contains("`k1`"), "{problem}");
    let (status, _) = keyed(&site, &replay, "with a blank", "curl").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_change_of_many_that_is_asked_for_twice_with_one_key_answers_the_same() {
    let site = site();
    for subject in ["a", "b", "c"] {
        dead(&site, subject).await;
    }
    let retry = "/api/v1/deliveries/retry?state=dead&plugin=audit";
    let (first, second) =
        tokio::join!(keyed(&site, retry, "k1", "hookbox/1"), keyed(&site, retry, "k1", "curl"));
    assert_eq!(first.1["retried"], 3);
    assert_eq!(first, second);
    // A delivery that dies later is for another request.
    site.work("audit", Ends::Dead).await;
    assert_eq!(keyed(&site, retry, "k1", "curl").await, first);
    let page = site.get("/api/v1/deliveries?state=dead").await;
    assert_eq!(page["items"].as_array().unwrap().len(), 3);
    assert_eq!(entries(&site, "?action=deliveries.retry").await.len(), 1);
    assert_eq!(keyed(&site, retry, "k2", "curl").await.1["retried"], 3);
}

/// Routes that change nothing, or whose change is an event of its own.
const WITHOUT_ENTRY: [&str; 2] = ["/api/v1/events", "/api/v1/plugins/{name}/try"];

#[test]
fn a_route_that_changes_something_is_among_those_that_are_tested_here() {
    let tested = [
        "/api/v1/deliveries/{id}/retry",
        "/api/v1/deliveries/{id}/move",
        "/api/v1/deliveries/{id}/cancel",
        "/api/v1/deliveries/{id}/discard",
        "/api/v1/deliveries/retry",
        "/api/v1/deliveries/move",
        "/api/v1/deliveries/cancel",
        "/api/v1/deliveries/discard",
        "/api/v1/events/{id}/replay",
        "/api/v1/events/{id}/cancel",
        "/api/v1/events/{id}/erase",
        "/api/v1/events/erase",
        // `export` looks at its entry.
        "/api/v1/events/import",
        // `refresh::tests::held` has its store.
        "/api/v1/plugins/{name}/approve",
        "/api/v1/plugins/{name}/load",
        "/api/v1/plugins/{name}/pause",
        "/api/v1/plugins/{name}/resume",
        "/api/v1/schedules/{name}/run",
        // `keys` looks at its entries.
        "/api/v1/kv/{bucket}/value",
        "/api/v1/schedules/{name}/pause",
        "/api/v1/schedules/{name}/resume",
        "/api/v1/clock/accept",
        "/api/v1/deliveries/{id}/undiscard",
        // `operations` looks at their entries.
        "/api/v1/operations",
        "/api/v1/operations/{id}/start",
        "/api/v1/operations/{id}/pause",
        "/api/v1/operations/{id}/resume",
        "/api/v1/operations/{id}/cancel",
        "/api/v1/operations/{id}/undo",
        // `sources` has a public listener.
        "/api/v1/sources/{name}/test",
        // `handshakes` looks at theirs.
        "/api/v1/sources/{name}/take-secret",
        "/api/v1/sources/{name}/reveal-secret",
    ];
    // Forms of pages lead to the same functions; `pages` looks at an entry of theirs.
    let changing = |it: &&Endpoint| it.method != "GET" && !it.is_page;
    for endpoint in endpoints().iter().filter(changing) {
        let path = endpoint.path.as_str();
        let known = tested.contains(&path) || WITHOUT_ENTRY.contains(&path);
        assert!(known, "{path}: does its change have an entry in the audit log?");
    }
}
