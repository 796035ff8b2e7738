//! The OpenAPI document and what is really served say the same.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::schema::differences;
use super::site::{Console, Ends, event, member, site};

/// A request for every operation of the document, in an order in which each succeeds.
async fn requests(site: &Console) -> Vec<(&'static str, &'static str, String)> {
    let first =
        site.append(event("video.done", "order_1", b"{\"a\":[1]}", &["audit", "orders"])).await;
    let second = site.append(event("video.done", "order_2", b"\xff", &["audit"])).await;
    let third = site.append(event("video.done", "order_3", b"{}", &["audit"])).await;
    assert_eq!(site.work("audit", Ends::Dead).await, 3);
    assert_eq!(site.work("orders", Ends::Done).await, 1);
    site.append(member("order_1")).await;
    let delivery = site.admin.store.event(first).await.unwrap().deliveries[0].id;
    let moved = site.admin.store.event(second).await.unwrap().deliveries[0].id;
    let other = site.admin.store.event(third).await.unwrap().deliveries[0].id;
    let group = site.admin.store.delivery(delivery).await.unwrap().failure.unwrap();
    let undiscard = format!("/api/v1/deliveries/{other}/undiscard");
    vec![
        ("get", "/api/v1/failures", "/api/v1/failures?state=all".to_owned()),
        ("get", "/api/v1/failures/{id}", format!("/api/v1/failures/{group}")),
        ("get", "/api/v1/events", "/api/v1/events".to_owned()),
        ("get", "/api/v1/events/{id}", format!("/api/v1/events/{first}")),
        ("get", "/api/v1/events/{id}/body", format!("/api/v1/events/{first}/body")),
        ("get", "/api/v1/events/{id}/case", format!("/api/v1/events/{first}/case?plugin=audit")),
        ("get", "/api/v1/events/{id}/tree", format!("/api/v1/events/{first}/tree")),
        ("get", "/api/v1/joins", "/api/v1/joins".to_owned()),
        ("get", "/api/v1/hosts", "/api/v1/hosts".to_owned()),
        ("get", "/api/v1/deliveries", "/api/v1/deliveries".to_owned()),
        ("get", "/api/v1/deliveries/{id}", format!("/api/v1/deliveries/{delivery}")),
        ("post", "/api/v1/deliveries/{id}/retry", format!("/api/v1/deliveries/{delivery}/retry")),
        ("post", "/api/v1/deliveries/{id}/cancel", format!("/api/v1/deliveries/{delivery}/cancel")),
        ("post", "/api/v1/deliveries/{id}/discard", format!("/api/v1/deliveries/{other}/discard")),
        ("post", "/api/v1/deliveries/{id}/undiscard", undiscard),
        ("post", "/api/v1/deliveries/retry", "/api/v1/deliveries/retry?state=dead".to_owned()),
        (
            "post",
            "/api/v1/deliveries/{id}/move",
            format!("/api/v1/deliveries/{moved}/move?to=orders"),
        ),
        (
            "post",
            "/api/v1/deliveries/move",
            "/api/v1/deliveries/move?to=orders&state=open".to_owned(),
        ),
        (
            "post",
            "/api/v1/deliveries/cancel",
            "/api/v1/deliveries/cancel?state=open&dry_run=true".to_owned(),
        ),
        ("post", "/api/v1/deliveries/discard", "/api/v1/deliveries/discard?state=dead".to_owned()),
        ("post", "/api/v1/events/{id}/replay", format!("/api/v1/events/{first}/replay")),
        // Of what was replayed.
        ("post", "/api/v1/events/{id}/cancel", format!("/api/v1/events/{first}/cancel")),
        ("post", "/api/v1/events/{id}/erase", format!("/api/v1/events/{first}/erase")),
        ("post", "/api/v1/events/erase", "/api/v1/events/erase?subject=x&keys=true".to_owned()),
        ("post", "/api/v1/events", "/api/v1/events".to_owned()),
        ("get", "/api/v1/plugins", "/api/v1/plugins".to_owned()),
        ("get", "/api/v1/plugins/{name}", "/api/v1/plugins/audit".to_owned()),
    ]
    .into_iter()
    .chain(others())
    .collect()
}

/// Those that need no id.
fn others() -> Vec<(&'static str, &'static str, String)> {
    vec![
        ("get", "/api/v1/plugins/{name}/reloads", "/api/v1/plugins/audit/reloads".to_owned()),
        // It runs already.
        (
            "post",
            "/api/v1/plugins/{name}/approve",
            format!("/api/v1/plugins/audit/approve?digest={}", "07".repeat(32)),
        ),
        ("post", "/api/v1/plugins/{name}/load", "/api/v1/plugins/audit/load".to_owned()),
        ("post", "/api/v1/plugins/{name}/pause", "/api/v1/plugins/audit/pause?reason=x".to_owned()),
        ("post", "/api/v1/plugins/{name}/resume", "/api/v1/plugins/audit/resume".to_owned()),
        (
            "post",
            "/api/v1/schedules/{name}/pause",
            "/api/v1/schedules/report/pause?reason=x".to_owned(),
        ),
        ("post", "/api/v1/schedules/{name}/resume", "/api/v1/schedules/report/resume".to_owned()),
        ("get", "/api/v1/kv", "/api/v1/kv".to_owned()),
        ("get", "/api/v1/kv/{bucket}", "/api/v1/kv/orders?prefix=s".to_owned()),
        ("get", "/api/v1/kv/{bucket}/value", "/api/v1/kv/orders/value?key=seen".to_owned()),
        (
            "put",
            "/api/v1/kv/{bucket}/value",
            "/api/v1/kv/orders/value?key=a&if_absent=true".to_owned(),
        ),
        (
            "delete",
            "/api/v1/kv/{bucket}/value",
            "/api/v1/kv/orders/value?key=a&force=true".to_owned(),
        ),
        ("post", "/api/v1/schedules/{name}/run", "/api/v1/schedules/report/run".to_owned()),
        ("get", "/api/v1/schedules", "/api/v1/schedules".to_owned()),
        ("get", "/api/v1/schedules/{name}", "/api/v1/schedules/report".to_owned()),
        ("get", "/api/v1/map", "/api/v1/map?window=24h".to_owned()),
        ("get", "/api/v1/sources", "/api/v1/sources".to_owned()),
        ("get", "/api/v1/sources/{name}", "/api/v1/sources/github".to_owned()),
        ("get", "/api/v1/sources/{name}/refusals", "/api/v1/sources/github/refusals".to_owned()),
        ("post", "/api/v1/operations", "/api/v1/operations?action=retry&type=x".to_owned()),
        ("get", "/api/v1/operations", "/api/v1/operations".to_owned()),
        ("get", "/api/v1/operations/{id}", "/api/v1/operations/op_1".to_owned()),
        ("post", "/api/v1/operations/{id}/start", "/api/v1/operations/op_1/start".to_owned()),
        ("post", "/api/v1/operations/{id}/pause", "/api/v1/operations/op_1/pause".to_owned()),
        ("post", "/api/v1/operations/{id}/resume", "/api/v1/operations/op_1/resume".to_owned()),
        ("post", "/api/v1/operations/{id}/cancel", "/api/v1/operations/op_1/cancel".to_owned()),
        ("get", "/api/v1/audit", "/api/v1/audit".to_owned()),
        ("get", "/api/v1/me", "/api/v1/me".to_owned()),
        ("get", "/api/v1/tokens", "/api/v1/tokens".to_owned()),
        ("get", "/api/v1/config", "/api/v1/config".to_owned()),
        ("get", "/api/v1/clock", "/api/v1/clock".to_owned()),
        ("post", "/api/v1/clock/accept", "/api/v1/clock/accept".to_owned()),
        ("get", "/api/v1/troubles", "/api/v1/troubles".to_owned()),
        ("get", "/api/v1/stats", "/api/v1/stats".to_owned()),
        ("get", "/api/v1/stats/history", "/api/v1/stats/history?window=24h".to_owned()),
        ("get", "/metrics", "/metrics".to_owned()),
        ("get", "/livez", "/livez".to_owned()),
        ("get", "/readyz", "/readyz".to_owned()),
        ("get", "/api/v1/openapi.json", "/api/v1/openapi.json".to_owned()),
    ]
}

fn operations(document: &Value) -> Vec<(String, String)> {
    let paths = document["paths"].as_object().unwrap();
    let of_path = |(path, item): (&String, &Value)| {
        item.as_object()
            .unwrap()
            .keys()
            .map(|method| (method.clone(), path.clone()))
            .collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

#[tokio::test]
async fn every_route_is_documented_and_answers_as_documented() {
    let site = site();
    let document = site.get("/api/v1/openapi.json").await;
    let requests = requests(&site).await;
    let mut tried: Vec<_> = requests
        .iter()
        .map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned()))
        .collect();
    let mut documented = operations(&document);
    // A stream does not end; it has a test of its own.
    // Lines of JSON are no document either.
    // A test event needs a public listener.
    let lines = [
        "/api/v1/stream",
        "/api/v1/events/stream",
        "/api/v1/events/export",
        "/api/v1/audit/export",
        "/api/v1/events/import",
        "/api/v1/sources/{name}/test",
        // No handshake of this site brings a secret; `handshakes` has others.
        "/api/v1/sources/{name}/take-secret",
        "/api/v1/sources/{name}/reveal-secret",
        // An operation goes on on a whole host alone: `operations` undoes one.
        "/api/v1/operations/{id}/undo",
    ];
    // There is no dispatcher to try anything: `tried` has a host.
    let tries = "/api/v1/plugins/{name}/try";
    documented.retain(|(_, path)| path != tries);
    documented.retain(|(_, path)| !lines.contains(&path.as_str()));
    tried.sort_unstable();
    documented.sort_unstable();
    assert_eq!(tried, documented, "this test asks for every operation once");
    for (method, path, target) in requests {
        let starts = (method, path) == ("post", "/api/v1/events");
        let body = starts.then(|| json!({ "type": "video.start", "data": {} }));
        let (status, body) = site.ask(&method.to_uppercase(), &target, body).await;
        assert!(status.is_success(), "{method} {path}: {status} {body}");
        let answer = &document["paths"][path][method]["responses"][status.as_str()];
        let (_, content) =
            answer["content"].as_object().and_then(|types| types.iter().next()).unwrap();
        let differences = differences(&document, &content["schema"], &body);
        assert!(differences.is_empty(), "{method} {path}: {differences:#?}\n{body:#}");
    }
}

#[tokio::test]
async fn a_refusal_is_documented_too() {
    let site = site();
    let document = site.get("/api/v1/openapi.json").await;
    let (status, body) = site.ask("GET", "/api/v1/events?nonsense=1", None).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let refusal = &document["paths"]["/api/v1/events"]["get"]["responses"]["default"]["content"]["application/problem+json"];
    assert_eq!(differences(&document, &refusal["schema"], &body), Vec::<String>::new());
}

#[tokio::test]
async fn every_documented_parameter_is_accepted() {
    let site = site();
    let document = site.get("/api/v1/openapi.json").await;
    let sample = |name: &str| match name {
        "state" => "dead",
        "since" | "until" => "1770000000",
        "limit" => "10",
        "after" => "evt_0000000000000001",
        "dry_run" | "fresh" | "emitted" => "true",
        "failure" => "f_0123456789ab",
        "outcome" => "trap",
        "min_attempts" => "2",
        _ => "x",
    };
    for (path, method) in [
        ("/api/v1/events", "get"),
        ("/api/v1/deliveries", "get"),
        ("/api/v1/deliveries/retry", "post"),
        ("/api/v1/deliveries/discard", "post"),
    ] {
        let parameters = document["paths"][path][method]["parameters"].as_array().unwrap();
        assert!(parameters.len() >= 7, "{parameters:?}");
        for name in parameters
            .iter()
            .map(|parameter| parameter["name"].as_str().unwrap())
            .filter(|name| *name != "cursor")
        {
            let with = if matches!(name, "dry_run" | "fresh") { "&state=dead" } else { "" };
            let target = format!("{path}?{name}={}{with}", sample(name));
            let (status, body) = site.ask(&method.to_uppercase(), &target, None).await;
            assert_eq!(status, StatusCode::OK, "{target}: {body}");
        }
    }
    let body = json!({ "plugin": "audit", "since": 1_770_000_000, "type": null });
    let answer = json!({ "retried": 0, "more": false, "next_cursor": null });
    assert_eq!(site.ask("POST", "/api/v1/deliveries/retry", Some(body)).await.1, answer);
}
