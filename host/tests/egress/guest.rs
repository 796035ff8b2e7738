//! A guest that sends, from its call to what an operator sees of it.

use hookbox::config::Limits;
use hookbox::sandbox::{Call, Plugin, Sandbox, SandboxOptions, Verdict};

use super::world::{Reply, TOKEN, Then, World};
use crate::support::{call_with, event, log};

fn guest(world: &World) -> Plugin {
    let sandbox = Sandbox::with(
        SandboxOptions { max_warm: 1, ..SandboxOptions::default() },
        world.egress.clone(),
    )
    .unwrap();
    sandbox.load(include_bytes!("../guests/send.wat")).unwrap()
}

/// An attempt to get `to`, as the guest reads it: a digit for the scheme, the authority and the
/// path.
fn sending(world: &World, rules: &str, to: &str) -> Call {
    Call { grants: world.grants(rules), ..call_with(event("a.b", world.aimed(to))) }
}

const API: &str = r#"[{ scheme = "http", host = "api.example.com", port = PORT }]"#;

#[tokio::test]
async fn a_guest_reaches_what_it_is_granted_and_the_request_is_noted() {
    let world = World::new().await;
    let done =
        guest(&world).invoke(sending(&world, API, "0api.example.com:PORT/v1?token=abc")).await;
    assert_eq!(
        (done.verdict.clone(), log(&done)),
        (Verdict::Ok(Vec::new()), vec!["info: status 200".into(), "info: hello".into()])
    );
    assert!(
        world.internet.request().starts_with("GET /v1?token=abc HTTP/1.1\r\n"),
        "{}",
        world.internet.request()
    );
    let [call] = done.calls.as_slice() else { panic!("{:?}", done.calls) };
    assert_eq!(
        (call.method.as_str(), call.url.as_str()),
        ("GET", world.aimed("http://api.example.com:PORT/v1?token=*").as_str())
    );
    assert_eq!(
        (call.status, call.error.as_deref(), call.sent_bytes, call.received_bytes),
        (Some(200), None, 0, 5)
    );
}

#[tokio::test]
async fn a_guest_without_a_rule_is_refused_and_its_log_says_what_would_allow_it() {
    let world = World::new().await;
    let done = guest(&world).invoke(sending(&world, "[]", "1api.example.com/v1/x?a=b")).await;
    let advice = "no rule allows it; add http = [{ host = \"api.example.com\", methods = [\"GET\"], path = \"/v1/x\" }] to [plugins.guest]";
    let line = format!("warn: GET https://api.example.com/v1/x was refused: {advice}");
    // HTTP-request-denied is the sixteenth error code.
    assert_eq!(
        (done.verdict.clone(), log(&done)),
        (Verdict::Ok(Vec::new()), vec![line, "info: error 015".to_owned()])
    );
    assert_eq!(
        (done.calls.len(), done.calls[0].status, done.calls[0].error.as_deref()),
        (1, None, Some(advice))
    );
    assert!(done.calls[0].refused, "{:?}", done.calls);
    assert_eq!((world.net.resolved().len(), world.net.dialled().len()), (0, 0));
}

#[tokio::test]
async fn a_guest_never_sees_the_credential_that_the_host_adds() {
    let world = World::answering(|request| {
        let head = request.to_owned();
        Reply::ok(&head)
    })
    .await;
    let rules = r#"[{ scheme = "http", host = "api.example.com", port = PORT,
        headers = { Authorization = { prefix = "Bearer ", env = "API_TOKEN" } } }]"#;
    let done = guest(&world).invoke(sending(&world, rules, "0api.example.com:PORT/")).await;
    assert!(world.internet.request().contains(TOKEN));
    let shown = format!("{done:?}");
    assert!(!shown.contains("sk-live") && shown.contains(&"*".repeat(TOKEN.len())), "{shown}");
}

#[tokio::test]
async fn what_a_guest_logs_and_says_of_its_end_is_masked() {
    let world = World::new().await;
    let rules = r#"[{ host = "api.example.com", headers = { X-Key = { env = "API_TOKEN" } } }]"#;
    // Without a rule for it the guest may know the credential from elsewhere: its address is noted
    // without it.
    let done = guest(&world)
        .invoke(sending(&world, rules, &format!("1{}.example.com/", "sk-live-0123456789")))
        .await;
    assert_eq!(done.calls.len(), 1);
    let done =
        guest(&world).invoke(sending(&world, rules, &format!("1other.example.com/{TOKEN}"))).await;
    assert!(!format!("{:?}{:?}", done.logs, done.calls).contains(TOKEN), "{done:?}");
}

#[tokio::test]
async fn a_guest_is_told_where_a_body_ends_before_its_end() {
    let world = World::answering(|_| Reply::raw("HTTP/1.1 200 OK\r\n\r\n").then(Then::Flood)).await;
    let limits = Limits { http_received_bytes: 40_000, timeout_ms: 60_000, ..Limits::default() };
    let done = guest(&world)
        .invoke(Call { limits, ..sending(&world, API, "0api.example.com:PORT/") })
        .await;
    assert_eq!(done.verdict, Verdict::Ok(Vec::new()));
    assert_eq!(log(&done).last().map(String::as_str), Some("info: broken"));
    assert!(done.calls[0].error.as_deref().unwrap().contains("http_received"), "{:?}", done.calls);
    world.internet.closed(1).await;
}

#[tokio::test]
async fn an_attempt_that_waits_for_a_response_ends_with_its_time() {
    let world = World::answering(|_| Reply::raw("").then(Then::Hang)).await;
    let limits = Limits { timeout_ms: 100, ..Limits::default() };
    let done = guest(&world)
        .invoke(Call { limits, ..sending(&world, API, "0api.example.com:PORT/") })
        .await;
    // Either the request or the attempt is the first to find that the time is up.
    let by_request = log(&done).iter().any(|line| line.starts_with("info: error"));
    assert!(matches!(done.verdict, Verdict::Timeout(_)) || by_request, "{done:?}");
    assert_eq!((done.calls.len(), done.calls[0].error.is_some()), (1, true));
    world.internet.closed(1).await;
}

#[tokio::test]
async fn an_attempt_that_is_dropped_leaves_no_connection() {
    let world = World::answering(|_| Reply::raw("").then(Then::Hang)).await;
    let plugin = guest(&world);
    let mut running = Box::pin(plugin.invoke(sending(&world, API, "0api.example.com:PORT/")));
    tokio::select! {
        done = &mut running => panic!("{done:?}"),
        () = world.internet.has_opened(1) => {}
    }
    drop(running);
    world.internet.closed(1).await;
}

#[tokio::test]
async fn a_warm_guest_is_noted_attempt_by_attempt() {
    let world = World::new().await;
    let plugin = guest(&world);
    for path in ["/1", "/2", "/3"] {
        let to = format!("0api.example.com:PORT{path}");
        let done = plugin.invoke(Call { reuse: true, ..sending(&world, API, &to) }).await;
        assert_eq!(done.calls.len(), 1);
        assert!(done.calls[0].url.ends_with(path), "{:?}", done.calls);
    }
}
