//! Requests that the rules refuse and allow, and how a refusal is told.

use self::rows::{ALLOWED, HOSTS, LOCAL_V6, METHODS, NUMBERS, PATHS, PORTS};
use super::addresses;
use super::world::World;
use hookbox::config::Limits;

mod rows;

async fn aimed() -> World {
    let world = World::new().await;
    // Every name resolves to the canary.
    for name in [
        "api.example.com",
        "a-b_c.d.example.com",
        "localhost",
        "localtest.me",
        "evil.net",
        "example.com",
    ] {
        world.net.answer(name, &[&["127.0.0.1"]]);
    }
    world
}

#[tokio::test]
async fn no_way_around_the_rules_reaches_the_canary() {
    let mut rows = 0;
    for (rule, method, url, says) in [HOSTS, NUMBERS, PORTS, PATHS, METHODS].concat() {
        let world = aimed().await;
        let attempt = world.session(&format!("[{rule}]"));
        let said = match attempt.request(method, url) {
            Ok(request) => attempt.send(request).await.expect_err(url).to_string(),
            // A request that cannot be built cannot be sent.
            Err(unreadable) => unreadable,
        };
        assert!(said.contains(says), "{method} {url}: {said}");
        assert!(
            world.net.dialled().is_empty() && world.net.resolved().is_empty(),
            "{method} {url}"
        );
        assert_eq!((world.canary.opened(), world.internet.opened()), (0, 0), "{method} {url}");
        rows += 1;
    }
    rows += addresses::attack().await;
    println!("{rows} attacks");
    assert!(rows >= 150, "{rows}");
}

#[tokio::test]
async fn what_the_rules_allow_reaches_the_canary() {
    for (rule, method, url) in ALLOWED {
        let world = aimed().await;
        let attempt = world.session(&format!("[{rule}]"));
        let request = attempt.request(method, url).unwrap();
        let response = attempt
            .send(request)
            .await
            .unwrap_or_else(|failure| panic!("{method} {url}: {failure}"));
        assert_eq!(response.status(), 200, "{method} {url}");
        assert_eq!(
            (world.canary.opened(), world.net.dialled().as_slice()),
            (1, &["127.0.0.1".to_owned()][..]),
            "{url}"
        );
        assert!(attempt.log().is_empty(), "{:?}", attempt.log());
        let line = world.canary.request().lines().next().unwrap().to_owned();
        let path = url.split_once("://").unwrap().1;
        let path = path[path.find(['/', '?']).unwrap()..].to_owned();
        let path = if path.starts_with('?') { format!("/{path}") } else { path };
        assert_eq!(
            line,
            format!("{method} {path} HTTP/1.1"),
            "what was asked for goes out as it is"
        );
    }
    let world = aimed().await;
    let attempt = world.session(&format!("[{LOCAL_V6}]"));
    // A machine without IPv6 refuses the connection; where it goes is what counts.
    let _ = attempt.get("http://[::1]:PORT/").await;
    assert_eq!(world.net.dialled(), ["::1"]);
}

/// A method and what is asked for, and the rule that would allow it.
const MISSING_RULES: [(&str, &str, &str); 7] = [
    (
        "GET",
        "https://api.example.com/v1/x?token=a",
        r#"{ host = "api.example.com", methods = ["GET"], path = "/v1/x" }"#,
    ),
    (
        "POST",
        "http://api.example.com/",
        r#"{ scheme = "http", host = "api.example.com", methods = ["POST"] }"#,
    ),
    (
        "GET",
        "https://a.example.com:8443/",
        r#"{ host = "a.example.com", port = 8443, methods = ["GET"] }"#,
    ),
    (
        "PUT",
        "http://127.0.0.1:8080/a",
        r#"{ scheme = "http", host = "127.0.0.1", port = 8080, methods = ["PUT"], path = "/a", private = true }"#,
    ),
    (
        "GET",
        "http://[fd00::1]/",
        r#"{ scheme = "http", host = "fd00::1", methods = ["GET"], private = true }"#,
    ),
    (
        "GET",
        "https://api.example.com/v1/%C3%A9",
        r#"{ host = "api.example.com", methods = ["GET"], path = "/v1/" }"#,
    ),
    ("GET", "https://api.example.com/a//b", r#"{ host = "api.example.com", methods = ["GET"] }"#),
];

#[tokio::test]
async fn a_refusal_names_the_line_that_would_allow_the_request() {
    for (method, url, rule) in MISSING_RULES {
        let world = World::new().await;
        let (none, some) =
            (world.session("[]"), world.session("[{ host = \"other.example.com\" }]"));
        for (attempt, advice) in [
            (none, format!("no rule allows it; add http = [{rule}] to [plugins.guest]")),
            (some, format!("no rule allows it; add {rule} to `http` in [plugins.guest]")),
        ] {
            let refused = attempt.send(attempt.request(method, url).unwrap()).await.expect_err(url);
            assert_eq!(refused.to_string(), advice);
            let shown = url.split('?').next().unwrap();
            assert_eq!(attempt.line(), format!("{method} {shown} was refused: {advice}"));
        }
        // With that line it is sent, as far as the network goes.
        let limits = Limits { timeout_ms: 50, ..Limits::default() };
        let attempt = world.limited(&format!("[{rule}]"), limits);
        let sent = attempt.send(attempt.request(method, url).unwrap()).await;
        assert!(!world.net.dialled().is_empty() || url.contains("//a."), "{url}: {sent:?}");
        assert!(
            sent.as_ref().err().is_none_or(|failure| !failure.to_string().contains("rule")),
            "{url}: {sent:?}"
        );
        // And nothing else is.
        let attempt = world.session(&format!("[{rule}]"));
        let other = attempt.send(attempt.request("PATCH", url).unwrap()).await.unwrap_err();
        assert!(other.to_string().contains("except for the method"), "{other}");
    }
}

#[tokio::test]
async fn the_example_in_the_documentation_is_true() {
    let text = include_str!("../../../docs/plugins.md");
    let section = &text[text.find("## Reaching the network").unwrap()..];
    let example = section.split("```toml").nth(1).unwrap().split("```").next().unwrap();
    let world = World::new().await;
    let grants = super::world::read(&example.replace("video-details", "guest")).unwrap();
    let attempt = world.attempt("video-details", &grants, Limits::default());
    attempt.get("https://api.heygen.com/v2/x").await.unwrap_err();
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words(section).contains(&words(&attempt.line())), "{}", attempt.line());
    let private = world.attempt("video-details", &grants, Limits::default());
    world.net.answer("orders.internal", &[&["10.1.2.3"]]);
    assert_eq!(private.get("http://orders.internal:8080/").await.unwrap().0, 200);
}
