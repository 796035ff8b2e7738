//! Servers and resolvers that change their answers, stay silent, or never end; and whose
//! connections are used again.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hookbox::config::Limits;
use hookbox::egress::{BoxError, RequestErrorKind, RequestTimeouts};
use http_body::{Body, Frame};
use http_body_util::BodyExt;

use super::world::{CLOSED, Reply, TARPIT, Then, World};

const API: &str = r#"[{ scheme = "http", host = "api.example.com", port = PORT }]"#;
const URL: &str = "http://api.example.com:PORT/";

#[tokio::test]
async fn a_name_that_changes_to_a_private_address_is_refused() {
    let world = World::answering(|_| Reply::ok("hello").then(Then::Close)).await;
    world.net.answer(
        "api.example.com",
        &[&["93.184.215.14"], &["127.0.0.1"], &["169.254.169.254", "::1"]],
    );
    let attempt = world.session(API);
    assert_eq!(attempt.get_now(URL).await.0, 200);
    world.internet.closed(1).await;
    for address in ["127.0.0.1", "169.254.169.254"] {
        let refused = attempt.get(URL).await.unwrap_err();
        assert_eq!(refused.kind, RequestErrorKind::Prohibited);
        let says = format!(
            "api.example.com is {address}, which is not a public address; add private = true to the rule for"
        );
        assert!(refused.to_string().starts_with(&says), "{refused}");
    }
    assert_eq!((world.net.dialled(), world.canary.opened()), (vec!["93.184.215.14".to_owned()], 0));
}

#[tokio::test]
async fn of_several_addresses_only_public_ones_are_connected_to() {
    let world = World::new().await;
    world.net.answer(
        "api.example.com",
        &[&["127.0.0.1", "::1", "10.0.0.1", "93.184.215.14", "0.0.0.0"]],
    );
    assert_eq!(world.session(API).get_now(URL).await.0, 200);
    assert_eq!(world.net.dialled(), ["93.184.215.14"]);
    assert_eq!(world.net.resolved(), ["api.example.com"], "it is asked once");
}

#[tokio::test]
async fn a_name_without_an_address_or_that_does_not_exist_is_told() {
    let world = World::new().await;
    world.net.answer("api.example.com", &[&[]]);
    let attempt = world.session(API);
    assert_eq!(attempt.get(URL).await.unwrap_err().to_string(), "api.example.com has no address");
    let absent = world.session(r#"[{ host = "absent.example.com" }]"#);
    let failed = absent.get("https://absent.example.com/").await.unwrap_err();
    assert_eq!(
        (failed.kind, failed.to_string()),
        (
            RequestErrorKind::Dns,
            "absent.example.com could not be resolved: no such name".to_owned()
        )
    );
}

#[tokio::test]
async fn a_redirect_is_the_plugins_to_follow_under_its_rules() {
    let world = World::answering(|request| {
        let host = request.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned();
        let port = host.split(':').nth(1).unwrap().to_owned();
        Reply::raw(&format!(
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{port}/\r\ncontent-length: 0\r\n\r\n"
        ))
    })
    .await;
    let attempt = world.session(API);
    let response = attempt.open(URL).await.unwrap();
    assert_eq!(response.status(), 302);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!((world.canary.opened(), world.internet.opened()), (0, 1));
    let refused = attempt.get(&location).await.unwrap_err();
    assert_eq!((refused.kind, world.canary.opened()), (RequestErrorKind::Denied, 0));
}

#[tokio::test]
async fn a_connection_is_used_again_by_its_rule_and_its_plugin_alone() {
    let world = World::new().await;
    let two = r#"[{ scheme = "http", host = "api.example.com", port = PORT, path = "/a" },
        { scheme = "http", host = "*.example.com", port = PORT }]"#;
    let grants = world.grants(two);
    let (a, b) = ("http://api.example.com:PORT/a", "http://api.example.com:PORT/b");
    let attempt = |plugin: &str| world.attempt(plugin, &grants, Limits::default());
    attempt("guest").get_now(a).await;
    attempt("guest").get_now(a).await;
    attempt("guest").get_now(b).await;
    attempt("other").get_now(a).await;
    attempt("other").get_now(a).await;
    let connections: Vec<usize> =
        world.internet.requests().iter().map(|(connection, _)| *connection).collect();
    assert_eq!(connections, [1, 1, 2, 3, 3]);
}

#[tokio::test]
async fn connections_outlive_a_change_of_other_rules_but_not_of_their_own() {
    let world = World::new().await;
    let rule = r#"{ scheme = "http", host = "api.example.com", port = PORT }"#;
    let changed = r#"{ scheme = "http", host = "api.example.com", port = PORT, private = true }"#;
    let more = format!("[{{ host = \"more.example.com\" }}, {rule}]");
    for rules in [format!("[{rule}]"), more, format!("[{changed}]"), format!("[{changed}]")] {
        world.session(&rules).get_now(URL).await;
    }
    let connections: Vec<usize> =
        world.internet.requests().iter().map(|(connection, _)| *connection).collect();
    assert_eq!(connections, [1, 1, 2, 2]);
    world.internet.closed(1).await;
}

#[tokio::test]
async fn a_connection_that_was_closed_while_it_was_kept_costs_no_request() {
    let world = World::answering(|_| Reply::ok("hello").then(Then::Close)).await;
    let attempt = world.session(API);
    for n in 1..=5 {
        assert_eq!(attempt.get_now(URL).await.0, 200);
        world.internet.closed(n).await;
    }
    assert_eq!(world.internet.opened(), 5);
}

#[tokio::test]
async fn a_silent_server_costs_no_more_than_the_plugins_time() {
    let world = World::answering(|_| Reply::raw("").then(Then::Hang)).await;
    let attempt = world.limited(API, Limits { timeout_ms: 30, ..Limits::default() });
    let failed = attempt.get(URL).await.unwrap_err();
    assert_eq!(failed.kind, RequestErrorKind::ReadTimeout, "{failed}");
    world.internet.closed(1).await;
    let calls = attempt.session.close();
    assert!(
        calls[0].error.as_deref().is_some_and(|error| error.contains("no response came")),
        "{calls:?}"
    );
}

#[tokio::test]
async fn a_server_that_stops_in_the_middle_is_waited_for_as_long_as_the_plugin_says() {
    let world = World::answering(|_| {
        Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc").then(Then::Hang)
    })
    .await;
    let attempt = world.session(API);
    let timeouts = RequestTimeouts {
        between_bytes: Some(Duration::from_millis(10)),
        ..RequestTimeouts::default()
    };
    let response =
        attempt.session.send(attempt.request("GET", URL).unwrap(), timeouts).await.unwrap();
    let mut body = response.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "abc");
    let failed = body.frame().await.unwrap().unwrap_err();
    assert_eq!(failed.kind, RequestErrorKind::ReadTimeout, "{failed}");
    assert!(body.frame().await.is_none(), "it has ended");
    world.internet.closed(1).await;
}

#[tokio::test]
async fn a_response_that_breaks_off_is_no_whole_one() {
    let world = World::answering(|_| {
        Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc").then(Then::Close)
    })
    .await;
    let attempt = world.session(API);
    let failed = attempt.get(URL).await.unwrap_err();
    assert_eq!(failed.kind, RequestErrorKind::Terminated, "{failed}");
    let calls = attempt.session.close();
    assert_eq!((calls[0].status, calls[0].received_bytes), (Some(200), 3));
    assert!(calls[0].error.is_some());
}

#[tokio::test]
async fn timeouts_of_nothing_and_of_forever_are_timeouts() {
    let world = World::answering(|_| Reply::raw("").then(Then::Hang)).await;
    for wanted in [Duration::ZERO, Duration::from_nanos(1)] {
        let attempt = world.session(API);
        let all = RequestTimeouts {
            connect: Some(wanted),
            first_byte: Some(wanted),
            between_bytes: Some(wanted),
        };
        let failed =
            attempt.session.send(attempt.request("GET", URL).unwrap(), all).await.unwrap_err();
        assert!(
            matches!(failed.kind, RequestErrorKind::ReadTimeout | RequestErrorKind::ConnectTimeout),
            "{failed}"
        );
    }
    let attempt = world.limited(API, Limits { timeout_ms: 20, ..Limits::default() });
    let all = RequestTimeouts {
        connect: Some(Duration::MAX),
        first_byte: Some(Duration::MAX),
        between_bytes: Some(Duration::MAX),
    };
    let began = Instant::now();
    let failed = attempt.session.send(attempt.request("GET", URL).unwrap(), all).await.unwrap_err();
    assert_eq!(failed.kind, RequestErrorKind::ReadTimeout, "{failed}");
    assert!(began.elapsed() >= Duration::from_millis(1));
}

#[tokio::test]
async fn a_request_that_is_given_up_leaves_no_connection() {
    let world = World::answering(|request| match request.contains("/slow") {
        true => Reply::raw("").then(Then::Hang),
        false => Reply::raw("HTTP/1.1 200 OK\r\n\r\n").then(Then::Flood),
    })
    .await;
    let attempt = world.session(API);
    // While the response is waited for.
    let mut waiting = Box::pin(attempt.get("http://api.example.com:PORT/slow"));
    tokio::select! {
        answer = &mut waiting => panic!("{answer:?}"),
        () = world.internet.has_opened(1) => {}
    }
    drop(waiting);
    world.internet.closed(1).await;
    // With the response, read not at all and in part.
    drop(attempt.open(URL).await.unwrap());
    world.internet.closed(2).await;
    let mut body = attempt.open(URL).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    world.internet.closed(3).await;
    // Before it was ever polled.
    drop(attempt.get(URL));
    assert!(!attempt.session.busy());
    let errors: Vec<_> = attempt.session.close().into_iter().map(|call| call.error).collect();
    assert_eq!(errors[0].as_deref(), Some("the plugin did not wait for the response"));
    assert_eq!(errors[1..3], [None, None]);
}

#[tokio::test]
async fn the_end_of_an_attempt_is_the_end_of_what_it_sent() {
    let world = World::answering(|_| Reply::raw("HTTP/1.1 200 OK\r\n\r\n").then(Then::Flood)).await;
    let attempt = world.session(API);
    let response = attempt.open(URL).await.unwrap();
    assert!(attempt.session.busy());
    let calls = attempt.session.close();
    assert_eq!(
        (calls.len(), calls[0].error.as_deref()),
        (1, Some("the attempt ended before the request did"))
    );
    drop(response);
    assert!(attempt.session.close().is_empty());
    world.internet.closed(1).await;
}

#[tokio::test]
async fn addresses_are_tried_in_their_order_until_one_answers() {
    let world = World::new().await;
    world.net.answer("api.example.com", &[&[CLOSED, "10.0.0.1", "93.184.215.14", TARPIT]]);
    assert_eq!(world.session(API).get_now(URL).await.0, 200);
    assert_eq!(world.net.dialled(), [CLOSED, "93.184.215.14"]);
    world.net.answer("api.example.com", &[&[CLOSED]]);
    let alone = world.attempt("other", &world.grants(API), Limits::default());
    let failed = alone.get(URL).await.unwrap_err();
    assert!(
        failed.kind == RequestErrorKind::Refused && failed.to_string().contains(CLOSED),
        "{failed}"
    );
}

#[tokio::test]
async fn a_resolver_or_a_server_that_never_answers_costs_no_more_than_the_plugins_time() {
    let world = World::new().await;
    world.net.answer("api.example.com", &[&[TARPIT]]);
    let rules = r#"[{ scheme = "http", host = "*.example.com", port = PORT }]"#;
    for url in [URL, "http://slow.example.com:PORT/"] {
        let attempt = world.limited(rules, Limits { timeout_ms: 20, ..Limits::default() });
        let failed = attempt.get(url).await.unwrap_err();
        assert_eq!(failed.kind, RequestErrorKind::ConnectTimeout, "{url}: {failed}");
    }
}

#[tokio::test]
async fn a_resolver_that_never_answers_is_not_asked_without_end() {
    let world = World::new().await;
    let rules = r#"[{ scheme = "http", host = "*.example.com", port = PORT }]"#;
    let attempt = world.session(rules);
    let hurried =
        RequestTimeouts { connect: Some(Duration::from_millis(5)), ..RequestTimeouts::default() };
    for _ in 0..12 {
        let request = attempt.request("GET", "http://slow.example.com:PORT/").unwrap();
        assert_eq!(
            attempt.session.send(request, hurried).await.unwrap_err().kind,
            RequestErrorKind::ConnectTimeout
        );
    }
    assert_eq!(world.net.resolved().len(), 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_attempts_at_once_leave_a_few_connections() {
    let world = World::new().await;
    let grants = world.grants(API);
    let attempts = (0..16).map(|_| {
        let attempt = world.attempt("guest", &grants, Limits::default());
        tokio::spawn(async move {
            for _ in 0..20 {
                assert_eq!(attempt.get_now(URL).await, (200, "hello".to_owned()));
            }
        })
    });
    for attempt in attempts.collect::<Vec<_>>() {
        attempt.await.unwrap();
    }
    let opened = world.internet.opened();
    assert!(opened < 320, "connections are used again: {opened}");
    world.internet.closed(opened.saturating_sub(4)).await;
    assert_eq!(world.internet.requests().len(), 320);
}

/// A body that begins and never goes on.
struct Stuck(Option<Bytes>);

impl Body for Stuck {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.take().map_or(Poll::Pending, |data| Poll::Ready(Some(Ok(Frame::data(data)))))
    }
}

#[tokio::test]
async fn a_body_that_never_ends_costs_no_more_than_the_plugins_time() {
    let world = World::new().await;
    let attempt = world.limited(API, Limits { timeout_ms: 30, ..Limits::default() });
    let stuck = Stuck(Some(Bytes::from_static(b"begin"))).boxed_unsync();
    let request = attempt.request("POST", URL).unwrap().map(|_| stuck);
    let failed = attempt.send(request).await.unwrap_err();
    assert_eq!(failed.kind, RequestErrorKind::ReadTimeout, "{failed}");
    world.internet.closed(1).await;
    assert_eq!(attempt.session.close()[0].sent_bytes, 5);
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_request_is_an_answer_and_its_connection_is_not_kept() {
    let world = World::answering(|_| Reply::ok("enough")).await;
    let attempt = world.session(API);
    // The server takes the head for all of it.
    let stuck = Stuck(None).boxed_unsync();
    let mut request = attempt.request("POST", URL).unwrap().map(|_| stuck);
    request.headers_mut().insert("content-length", http::HeaderValue::from_static("0"));
    let early = super::world::take(attempt.send(request).await.unwrap()).await.unwrap();
    assert_eq!(early, (200, "enough".to_owned()));
    assert_eq!(attempt.get_now(URL).await.1, "enough");
}
