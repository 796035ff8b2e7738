//! The roles of each route: every role on every route of the one list, with and without a token.

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use hookbox::admin::{Endpoint, Role, endpoints};
use hookbox::status::Trouble;

use super::site::{Console, Ends, event, site};

/// The tokens of [`TOKENS`], and their clients.
const CLIENTS: [(&str, Role, bool); 4] = [
    ("viewer-token", Role::Viewer, false),
    ("reader-token", Role::Viewer, true),
    ("send-token", Role::Send, false),
    ("operator-token", Role::Operator, true),
];

/// Each is the SHA-256 of the text in [`CLIENTS`].
pub(super) const TOKENS: &str = r#"
admin_tokens = [
    { name = "ann", role = "viewer", sha256 = "HASH0" },
    { name = "rob", role = "viewer", payloads = true, sha256 = "HASH1" },
    { name = "shop", role = "send", sha256 = "HASH2" },
    { name = "jo", role = "operator", sha256 = "HASH3" },
]
"#;

/// A host with tokens.
pub(super) fn guarded() -> Console {
    let site = site();
    site.configure(&with_hashes(TOKENS));
    site
}

pub(super) fn with_hashes(text: &str) -> String {
    use sha2::{Digest, Sha256};
    let mut text = text.to_owned();
    for (number, (token, ..)) in CLIENTS.iter().enumerate() {
        let hash =
            Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        text = text.replace(&format!("HASH{number}"), &hash);
    }
    text
}

/// A path with something in the place of each parameter.
fn filled(endpoint: &Endpoint) -> String {
    let path = endpoint.path.replace("{action}", "retry").replace("{bucket}", "audit");
    path.replace("{id}", "evt_0000000000000001").replace("{name}", "audit")
}

/// Asks with a token, if there is one.
pub(super) async fn ask(
    site: &Console,
    method: &str,
    path: &str,
    token: Option<&str>,
) -> (StatusCode, HeaderMap, String) {
    let mut request =
        Request::builder().method(method).uri(path).header(header::HOST, "localhost:3001");
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("bearer {token}"));
    }
    let response = site.send(request.body(Body::empty()).unwrap()).await;
    let (head, body) = response.into_parts();
    // A stream does not end.
    let is_stream = path.ends_with("/stream") && head.status == StatusCode::OK;
    let body = if is_stream { Body::empty() } else { body };
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    (head.status, head.headers, String::from_utf8_lossy(&bytes).into_owned())
}

/// The role that a route is meant to need: a new route is looked at here.
fn meant(method: &str, path: &str) -> Option<Role> {
    let asks_to_act = [
        "/events/{id}/replay",
        "/replays/new",
        "/deliveries/{id}/{action}",
        "/failures/{id}/{action}",
        "/operations/new",
        "/events/{id}/edit",
        "/events/{id}/erase",
        "/events/{id}/cancel",
        "/events/erase",
        "/events/new",
        "/kv/{bucket}/set",
        "/kv/{bucket}/delete",
        "/schedules/{name}/{action}",
        "/plugins/{name}/approve",
        "/plugins/{name}/pause",
        "/plugins/{name}/resume",
        "/plugins/{name}/move",
        "/plugins/{name}/try",
    ];
    match (method, path) {
        (_, "/livez" | "/readyz" | "/login" | "/logout" | "/theme" | "/assets/{hash}/{name}") => {
            None
        }
        ("POST", "/api/v1/events") => Some(Role::Send),
        ("GET", path) if !asks_to_act.contains(&path) => Some(Role::Viewer),
        _ => Some(Role::Operator),
    }
}

#[test]
fn a_route_needs_the_role_that_is_meant() {
    for Endpoint { method, path, role, .. } in endpoints() {
        assert_eq!(*role, meant(method.as_str(), path), "{method} {path}");
    }
}

#[tokio::test]
async fn a_route_answers_the_roles_that_may_use_it_and_no_other() {
    let site = guarded();
    for endpoint in endpoints() {
        let Endpoint { method, path, role: needed, is_page } = endpoint;
        let what = format!("{method} {path}");
        for (token, role, payloads) in CLIENTS {
            let (status, _, body) =
                ask(&site, method.as_str(), &filled(endpoint), Some(token)).await;
            assert_ne!(status, 405, "{what} is in the list and not in the router");
            assert_ne!(status, 401, "{token} on {what}");
            let may = needed.is_none_or(|needed| role.may(needed));
            let reads = payloads || !path.ends_with("{id}/body") && !path.ends_with("{id}/case");
            // Logging in without a token in the form does not work for anybody.
            let may = may && reads && what != "POST /login";
            assert_eq!(status != 403, may, "{token} on {what}: {status} {body}");
            if let Some(needed) = needed.filter(|needed| !role.may(*needed)) {
                assert!(body.contains(needed.name()), "{what}: {body}");
            }
        }
        for token in [None, Some("another-token"), Some("")] {
            let (status, headers, body) =
                ask(&site, method.as_str(), &filled(endpoint), token).await;
            if needed.is_none() {
                assert_ne!(status, 401, "{what}: {body}");
                continue;
            }
            if *is_page && *method == "GET" {
                assert_eq!(status, 303, "{what}: {body}");
                let location = headers[header::LOCATION].to_str().unwrap();
                assert!(location.starts_with("/login"), "{location}");
                continue;
            }
            assert_eq!(status, 401, "{what}: {body}");
            let challenge = headers[header::WWW_AUTHENTICATE].to_str().unwrap();
            assert!(challenge.starts_with("Bearer realm="), "{challenge}");
        }
    }
}

#[tokio::test]
async fn without_tokens_a_client_has_the_role_of_its_address_and_elsewhere_none() {
    for role in std::iter::once(None).chain(Role::ALL.map(Some)) {
        let site = site().with_role(role);
        for (path, needed) in [("/api/v1/stats", Role::Viewer), ("/api/v1/clock", Role::Viewer)] {
            let (status, ..) = ask(&site, "GET", path, None).await;
            let expected = match role {
                None => 401,
                Some(role) if role.may(needed) => 200,
                Some(_) => 403,
            };
            assert_eq!(status, expected, "{role:?} {path}");
        }
    }
}

#[tokio::test]
async fn the_document_names_the_role_of_every_route_and_of_no_other() {
    let document = site().get("/api/v1/openapi.json").await;
    let documented = document["paths"].as_object().unwrap().iter().flat_map(|(path, item)| {
        let operations = item.as_object().unwrap().iter();
        operations.map(|(method, operation)| row(method, path, operation["x-role"].as_str()))
    });
    let listed = endpoints().iter().filter(|it| !it.is_page).map(
        |Endpoint { method, path, role, .. }| {
            row(method.as_str(), path, Some(role.map_or("none", Role::name)))
        },
    );
    let (mut documented, mut listed): (Vec<_>, Vec<_>) = (documented.collect(), listed.collect());
    documented.sort_unstable();
    listed.sort_unstable();
    assert_eq!(documented, listed);
    assert!(listed.len() > 20, "{listed:?}");
}

fn row(method: &str, path: &str, role: Option<&str>) -> (String, String, Option<String>) {
    (method.to_lowercase(), path.to_owned(), role.map(str::to_owned))
}

/// Every address that shows something, with ids of what there is.
async fn addresses(site: &Console) -> Vec<String> {
    let body = br#"{"a":"SECRETBODY"}"#;
    let id = site.append(event("video.done", "order_1", body, &["audit", "orders"])).await;
    site.append(event("video.done", "order_2", b"SECRETBODY raw", &["audit"])).await;
    assert_eq!(site.work("audit", Ends::Dead).await, 2);
    assert_eq!(site.work("orders", Ends::Done).await, 1);
    let delivery = site.admin.store.event(id).await.unwrap().deliveries[0].id;
    let group = site.admin.store.delivery(delivery).await.unwrap().failure.unwrap();
    let mut found = Vec::new();
    for Endpoint { path, .. } in endpoints().iter().filter(|it| it.method == "GET") {
        let id = match path.trim_start_matches("/api/v1").split('/').nth(1).unwrap() {
            "deliveries" => delivery.to_string(),
            "failures" => group.to_string(),
            _ => id.to_string(),
        };
        let name = if path.contains("/sources/") { "github" } else { "audit" };
        let path = path.replace("{id}", &id).replace("{bucket}", "orders");
        let path = path.replace("{action}", "retry").replace("{name}", name);
        match path.as_str() {
            path if path.ends_with("/value") => found.push(format!("{path}?key=seen")),
            path if path == format!("/events/{id}") => {
                let tabs = ["payload", "headers", "attempts", "tree", "copy"];
                found.extend(tabs.map(|tab| format!("{path}?tab={tab}")));
            }
            path => found.push(path.to_owned()),
        }
    }
    found
}

#[tokio::test]
async fn a_viewer_without_payloads_is_shown_none_anywhere() {
    let site = guarded();
    let addresses = addresses(&site).await;
    // The body, as it is and in base64, a header, a log line, and the value of a key.
    let secrets = [
        "SECRETBODY",
        "U0VDUkVUQk9EWSByYXc",
        "HeyGen",
        "\"looked\"",
        "</span> looked\n",
        "\"n\":1",
    ];
    let mut shown = [false; 6];
    let mut hidden = 0;
    for path in &addresses {
        let (_, _, text) = ask(&site, "GET", path, Some("reader-token")).await;
        for (shown, secret) in shown.iter_mut().zip(secrets) {
            *shown |= text.contains(secret);
        }
        let (_, _, text) = ask(&site, "GET", path, Some("viewer-token")).await;
        for secret in secrets {
            assert!(!text.contains(secret), "{path} has {secret}: {text}");
        }
        hidden += usize::from(text.contains("hidden: your token does not read payloads"));
    }
    assert_eq!(shown, [true; 6], "a client that reads payloads is shown each of these");
    assert!(hidden >= 8, "{hidden} answers say that something is hidden");
    let (_, _, list) = ask(&site, "GET", "/events", Some("viewer-token")).await;
    // One is the field above every page, which finds ids and names.
    assert_eq!(list.matches("name=\"q\"").count(), 1, "{list}");
    // Whether a text is found would tell what is hidden.
    for path in ["/api/v1/events?q=SECRET", "/api/v1/events/export?q=SECRET", "/events?q=SECRET"] {
        let (status, _, text) = ask(&site, "GET", path, Some("viewer-token")).await;
        assert_eq!(status, 403, "{path}");
        assert!(text.contains("looks into payloads"), "{path}: {text}");
        assert_eq!(ask(&site, "GET", path, Some("reader-token")).await.0, 200, "{path}");
    }
}

#[tokio::test]
async fn a_viewer_without_payloads_is_told_no_digest_of_a_value() {
    let site = guarded();
    let path = "/api/v1/kv/audit/value?key=k&force=true";
    let (status, _, text) = ask(&site, "PUT", path, Some("operator-token")).await;
    assert_eq!(status, 200, "{text}");
    let plan = "/api/v1/operations?action=replay&q=SECRET";
    let (status, _, text) = ask(&site, "POST", plan, Some("operator-token")).await;
    assert_eq!(status, 201, "{text}");
    for (token, says) in [("reader-token", "q=sha256:"), ("viewer-token", "q=(hidden)")] {
        let (_, _, seen) = ask(&site, "GET", "/api/v1/audit", Some(token)).await;
        assert!(seen.contains(says), "{token}: {seen}");
    }
    // SHA-256 of nothing.
    let digest = "e3b0c44298fc1c14";
    let by_digest = format!("/api/v1/audit?target={digest}");
    for path in ["/api/v1/audit", by_digest.as_str(), "/settings/audit"] {
        let (_, _, read) = ask(&site, "GET", path, Some("reader-token")).await;
        assert!(read.contains("0 bytes, sha256:") && read.contains("kv.set"), "{path}: {read}");
        let (status, _, seen) = ask(&site, "GET", path, Some("viewer-token")).await;
        assert_eq!(status, 200, "{path}: {seen}");
        assert!(!seen.contains(digest) && !seen.contains("0 bytes,"), "{path}: {seen}");
        assert_eq!(seen.contains("kv.set"), path != by_digest, "{path}: {seen}");
    }
}

#[tokio::test]
async fn a_viewer_is_offered_no_action() {
    let site = guarded();
    let addresses = addresses(&site).await;
    let offers = [
        "Replay",
        "New key",
        "data-key=\"r\"",
        "data-key=\"d\"",
        "Send a test event",
        "type=\"checkbox\"",
    ];
    let mut offered = [false; 6];
    for path in addresses.iter().filter(|path| !path.starts_with("/api/")) {
        let (_, _, text) = ask(&site, "GET", path, Some("operator-token")).await;
        for (offered, offer) in offered.iter_mut().zip(offers) {
            *offered |= text.contains(offer);
        }
        let (_, _, text) = ask(&site, "GET", path, Some("reader-token")).await;
        for offer in offers {
            assert!(!text.contains(offer), "{path} offers {offer}");
        }
    }
    assert_eq!(offered, [true; 6]);
}

#[tokio::test]
async fn the_events_of_a_client_bear_the_name_of_its_token() {
    let site = guarded();
    let request = Request::post("/api/v1/events")
        .header(header::HOST, "localhost:3001")
        .header(header::AUTHORIZATION, "Bearer send-token")
        .header(header::CONTENT_TYPE, "application/json");
    let response = site.send(request.body(Body::from(r#"{"type":"order.paid"}"#)).unwrap()).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let (_, _, list) = ask(&site, "GET", "/api/v1/events", Some("viewer-token")).await;
    assert!(list.contains("\"source\":\"api/shop\""), "{list}");
}

#[tokio::test]
async fn a_probe_needs_no_token_and_is_not_told_what_is_wrong() {
    let site = guarded();
    let wrong = Some(Trouble { text: "a line of the file".to_owned(), since_ms: 0 });
    site.admin.status.update(|condition| condition.config = wrong);
    let (status, _, text) = ask(&site, "GET", "/readyz", None).await;
    assert_eq!(status, StatusCode::OK);
    assert!(text.contains("\"status\":\"degraded\"") && text.contains("\"problems\":[]"), "{text}");
    let (_, _, text) = ask(&site, "GET", "/readyz", Some("viewer-token")).await;
    assert!(text.contains("a line of the file"), "{text}");
}
