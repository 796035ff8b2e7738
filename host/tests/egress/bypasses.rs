//! The table of ways around the rules. Each row is aimed at the canary, a server on this machine, or at a host that no
//! rule names: neither may be dialled.

use super::addresses;
use super::world::World;
use hookbox::config::Limits;

/// A rule, a method, what is asked for, and what the refusal says. `PORT` is the canary's.
type Row = (&'static str, &'static str, &'static str, &'static str);

const API: &str = r#"{ scheme = "http", host = "api.example.com", port = PORT, private = true }"#;
const V1: &str =
    r#"{ scheme = "http", host = "api.example.com", port = PORT, private = true, path = "/v1/", methods = ["GET"] }"#;
const V1_BARE: &str = r#"{ scheme = "http", host = "api.example.com", port = PORT, private = true, path = "/v1" }"#;
const BELOW: &str = r#"{ scheme = "http", host = "*.example.com", port = PORT, private = true }"#;
const LOCAL: &str = r#"{ scheme = "http", host = "127.0.0.1", port = PORT, private = true }"#;
const LOCAL_V6: &str = r#"{ scheme = "http", host = "::1", port = PORT, private = true }"#;
const TLS: &str = r#"{ host = "api.example.com", private = true }"#;
const PLAIN: &str = r#"{ scheme = "http", host = "api.example.com", private = true }"#;

/// Hosts that look like the one that is allowed, or like an address that is.
const HOSTS: &[Row] = &[
    (API, "GET", "http://evil-api.example.com:PORT/", "no rule allows it"),
    (API, "GET", "http://api.example.com.evil.net:PORT/", "no rule allows it"),
    (API, "GET", "http://example.com:PORT/", "no rule allows it"),
    (API, "GET", "http://v1.api.example.com:PORT/", "no rule allows it"),
    (API, "GET", "http://apixexample.com:PORT/", "no rule allows it"),
    (API, "GET", "http://api-example.com:PORT/", "no rule allows it"),
    (API, "GET", "http://api.example.comx:PORT/", "no rule allows it"),
    (API, "GET", "http://api.example.co:PORT/", "no rule allows it"),
    (API, "GET", "http://xn--pi-7kc.example.com:PORT/", "no rule allows it"),
    (API, "GET", "http://api.examp1e.com:PORT/", "no rule allows it"),
    (API, "GET", "http://localhost:PORT/", "no rule allows it"),
    (API, "GET", "http://api.example.com.:PORT/", "begins or ends with a dot"),
    (API, "GET", "http://.api.example.com:PORT/", "begins or ends with a dot"),
    (API, "GET", "http://api..example.com:PORT/", "an empty label"),
    (API, "GET", "http://..:PORT/", "begins or ends with a dot"),
    (API, "GET", "http://\u{430}pi.example.com:PORT/", "unreadable"),
    (API, "GET", "http://api\u{3002}example.com:PORT/", "unreadable"),
    (API, "GET", "http://api.example.com\u{200b}:PORT/", "unreadable"),
    (API, "GET", "http://\u{ff41}pi.example.com:PORT/", "unreadable"),
    (API, "GET", "http://api.example.com%00.evil.net:PORT/", "unreadable"),
    (API, "GET", "http://api%2eexample.com:PORT/", "unreadable"),
    (API, "GET", "http://api.example.com%2f:PORT/", "unreadable"),
    (API, "GET", "http://api.example.com\\:PORT/", "unreadable"),
    (API, "GET", "http://api.example.com :PORT/", "unreadable"),
    (API, "GET", "http://api.example.com\t:PORT/", "unreadable"),
    (API, "GET", "http://api.example.com,evil.net:PORT/", "characters other than"),
    (API, "GET", "http://api.example.com;evil.net:PORT/", "characters other than"),
    (API, "GET", "http://api.example.com&evil.net:PORT/", "characters other than"),
    (API, "GET", "http://api.example.com~evil.net:PORT/", "characters other than"),
    (API, "GET", "http://api.example.com!:PORT/", "characters other than"),
    (API, "GET", "http://(api.example.com):PORT/", "characters other than"),
    (API, "GET", "http://*.example.com:PORT/", "characters other than"),
    (API, "GET", "http://$api.example.com:PORT/", "characters other than"),
    (API, "GET", "http://user@api.example.com:PORT/", "a user name or a password"),
    (API, "GET", "http://user:password@api.example.com:PORT/", "a user name or a password"),
    (API, "GET", "http://api.example.com@127.0.0.1:PORT/", "a user name or a password"),
    (API, "GET", "http://api.example.com:PORT@127.0.0.1:PORT/", "a user name or a password"),
    (API, "GET", "http://127.0.0.1:PORT@api.example.com:PORT/", "a user name or a password"),
    (API, "GET", "http://@api.example.com:PORT/", "a user name or a password"),
    (API, "GET", "http://:@api.example.com:PORT/", "a user name or a password"),
    (API, "GET", "http://a@b@api.example.com:PORT/", "a user name or a password"),
    (API, "GET", "http://a%40api.example.com:PORT/", "unreadable"),
    (BELOW, "GET", "http://example.com:PORT/", "no rule allows it"),
    (BELOW, "GET", "http://.example.com:PORT/", "begins or ends with a dot"),
    (BELOW, "GET", "http://evil-example.com:PORT/", "no rule allows it"),
    (BELOW, "GET", "http://notexample.com:PORT/", "no rule allows it"),
    (BELOW, "GET", "http://a.example.com.evil.net:PORT/", "no rule allows it"),
    (BELOW, "GET", "http://a.example.com.:PORT/", "begins or ends with a dot"),
    (BELOW, "GET", "http://a..example.com:PORT/", "an empty label"),
    (BELOW, "GET", "http://127.0.0.1:PORT/.example.com", "no rule allows it"),
    (BELOW, "GET", "http://127.0.0.1:PORT/?.example.com", "no rule allows it"),
    (BELOW, "GET", "http://evil.net/.example.com", "no rule allows it"),
    (BELOW, "GET", "http://evil.net?a.example.com:PORT/", "no rule allows it"),
];

/// Forms of addresses that some resolvers take for 127.0.0.1.
const NUMBERS: &[Row] = &[
    (LOCAL, "GET", "http://2130706433:PORT/", "ends in a number"),
    (LOCAL, "GET", "http://0x7f000001:PORT/", "ends in a number"),
    (LOCAL, "GET", "http://0X7F000001:PORT/", "ends in a number"),
    (LOCAL, "GET", "http://017700000001:PORT/", "ends in a number"),
    (LOCAL, "GET", "http://127.1:PORT/", "ends in a number"),
    (LOCAL, "GET", "http://127.0.1:PORT/", "ends in a number"),
    (LOCAL, "GET", "http://0:PORT/", "ends in a number"),
    (LOCAL, "GET", "http://0177.0.0.1:PORT/", "ends in a number"),
    (LOCAL, "GET", "http://0x7f.0.0.1:PORT/", "ends in a number"),
    (LOCAL, "GET", "http://0x7f.0x0.0x0.0x1:PORT/", "ends in a number"),
    (LOCAL, "GET", "http://127.0.0.01:PORT/", "ends in a number"),
    (LOCAL, "GET", "http://127.000.000.001:PORT/", "ends in a number"),
    (LOCAL, "GET", "http://127.0.0.0x1:PORT/", "ends in a number"),
    (LOCAL, "GET", "http://127.0.0.1.:PORT/", "begins or ends with a dot"),
    (LOCAL, "GET", "http://127.0.0.1.1:PORT/", "ends in a number"),
    (LOCAL, "GET", "http://127.0.0.256:PORT/", "ends in a number"),
    (LOCAL, "GET", "http://127.0.0.1.5.example:PORT/", "no rule allows it"),
    (LOCAL, "GET", "http://127.0.0.1.nip.io:PORT/", "no rule allows it"),
    (LOCAL, "GET", "http://localtest.me:PORT/", "no rule allows it"),
    (LOCAL, "GET", "http://a.0x7f000001:PORT/", "ends in a number"),
    (LOCAL, "GET", "http://a.1:PORT/", "ends in a number"),
    (LOCAL, "GET", "http://127.0.0.2:PORT/", "no rule allows it"),
    (LOCAL, "GET", "http://localhost:PORT/", "no rule allows it"),
    (LOCAL, "GET", "http://[::1]:PORT/", "no rule allows it"),
    (LOCAL, "GET", "http://[::ffff:127.0.0.1]:PORT/", "no rule allows it"),
    (LOCAL, "GET", "http://[::ffff:7f00:1]:PORT/", "no rule allows it"),
    (LOCAL, "GET", "http://[::127.0.0.1]:PORT/", "no rule allows it"),
    (LOCAL, "GET", "http://[64:ff9b::127.0.0.1]:PORT/", "no rule allows it"),
    (LOCAL, "GET", "http://[127.0.0.1]:PORT/", "not an IPv6 address"),
    (LOCAL, "GET", "http://[localhost]:PORT/", "not an IPv6 address"),
    (LOCAL, "GET", "http://[::1%lo]:PORT/", "not an IPv6 address"),
    (LOCAL, "GET", "http://[::1%25lo]:PORT/", "not an IPv6 address"),
    (LOCAL, "GET", "http://[]:PORT/", "not an IPv6 address"),
    (LOCAL, "GET", "http://[::1:PORT/", "unreadable"),
    (LOCAL, "GET", "http://::1:PORT/", "unreadable"),
    (LOCAL, "GET", "http://[::1]x:PORT/", "not a number"),
    (LOCAL, "GET", "http://[v1.a]:PORT/", "not an IPv6 address"),
    (LOCAL_V6, "GET", "http://[::2]:PORT/", "no rule allows it"),
    (LOCAL_V6, "GET", "http://[fe80::1%25eth0]:PORT/", "not an IPv6 address"),
    (LOCAL_V6, "GET", "http://127.0.0.1:PORT/", "no rule allows it"),
    (LOCAL_V6, "GET", "http://[::ffff:127.0.0.1]:PORT/", "no rule allows it"),
];

const PORTS: &[Row] = &[
    (API, "GET", "http://api.example.com:0/", "not between 1 and 65535"),
    (API, "GET", "http://api.example.com:65536/", "not between 1 and 65535"),
    (API, "GET", "http://api.example.com:99999999999/", "not between 1 and 65535"),
    (API, "GET", "http://api.example.com:/", "not between 1 and 65535"),
    (API, "GET", "http://api.example.com:+PORT/", "not a number"),
    (API, "GET", "http://api.example.com:-1/", "not a number"),
    (API, "GET", "http://api.example.com:0x50/", "not a number"),
    (API, "GET", "http://api.example.com:80:PORT/", "unreadable"),
    (API, "GET", "http://api.example.com/", "except for the port"),
    (API, "GET", "http://api.example.com:81/", "except for the port"),
    (API, "GET", "https://api.example.com:PORT/", "except for the scheme"),
    (TLS, "GET", "http://api.example.com/", "except for the scheme"),
    (TLS, "GET", "http://api.example.com:443/", "except for the scheme"),
    (TLS, "GET", "https://api.example.com:80/", "except for the port"),
    (TLS, "GET", "https://api.example.com:PORT/", "except for the port"),
    (PLAIN, "GET", "http://api.example.com:443/", "except for the port"),
    (PLAIN, "GET", "https://api.example.com:80/", "except for the scheme"),
    (PLAIN, "GET", "https://api.example.com/", "except for the scheme"),
    (API, "GET", "ftp://api.example.com:PORT/", "neither https nor http"),
    (API, "GET", "HTTP://api.example.com:PORT/", "neither https nor http"),
    (API, "GET", "ws://api.example.com:PORT/", "neither https nor http"),
    (API, "GET", "file://api.example.com:PORT/", "neither https nor http"),
    (API, "GET", "h2c://api.example.com:PORT/", "neither https nor http"),
    (API, "GET", "http+unix://api.example.com:PORT/", "neither https nor http"),
];

/// Paths that begin as they should and lead elsewhere.
const PATHS: &[Row] = &[
    (V1, "GET", "http://api.example.com:PORT/", "except for the path"),
    (V1, "GET", "http://api.example.com:PORT", "path missing"),
    (V1, "GET", "http://api.example.com:PORT?/v1/", "except for the path"),
    (V1, "GET", "http://api.example.com:PORT/v1", "except for the path"),
    (V1, "GET", "http://api.example.com:PORT/v10/", "except for the path"),
    (V1, "GET", "http://api.example.com:PORT/V1/", "except for the path"),
    (V1, "GET", "http://api.example.com:PORT/admin", "except for the path"),
    (V1, "GET", "http://api.example.com:PORT/admin?/v1/", "except for the path"),
    (V1, "GET", "http://api.example.com:PORT/admin/v1/", "except for the path"),
    (V1, "GET", "http://api.example.com:PORT/%76%31/", "except for the path"),
    (V1, "GET", "http://api.example.com:PORT/v1%2fadmin", "except for the path"),
    (V1, "GET", "http://api.example.com:PORT/v1;/admin", "except for the path"),
    (V1_BARE, "GET", "http://api.example.com:PORT/v10", "except for the path"),
    (V1_BARE, "GET", "http://api.example.com:PORT/v1;x", "except for the path"),
    (V1_BARE, "GET", "http://api.example.com:PORT/v1%2f..%2fadmin", "`..` segment"),
    (V1, "GET", "http://api.example.com:PORT/v1/../admin", "`..` segment"),
    (V1, "GET", "http://api.example.com:PORT/v1/..", "`..` segment"),
    (V1, "GET", "http://api.example.com:PORT/v1/./x", "`..` segment"),
    (V1, "GET", "http://api.example.com:PORT/v1/%2e%2e/admin", "`..` segment"),
    (V1, "GET", "http://api.example.com:PORT/v1/%2E%2E/admin", "`..` segment"),
    (V1, "GET", "http://api.example.com:PORT/v1/.%2e/admin", "`..` segment"),
    (V1, "GET", "http://api.example.com:PORT/v1/%2e./admin", "`..` segment"),
    (V1, "GET", "http://api.example.com:PORT/v1/%252e%252e/admin", "`..` segment"),
    (V1, "GET", "http://api.example.com:PORT/v1/..%2fadmin", "`..` segment"),
    (V1, "GET", "http://api.example.com:PORT/v1/..%252fadmin", "`..` segment"),
    (V1, "GET", "http://api.example.com:PORT/v1/..\\admin", "`..` segment"),
    (V1, "GET", "http://api.example.com:PORT/v1/..%5cadmin", "`..` segment"),
    (V1, "GET", "http://api.example.com:PORT/v1/..%255cadmin", "`..` segment"),
    (V1, "GET", "http://api.example.com:PORT/v1/..;/admin", "`..` segment"),
    (V1, "GET", "http://api.example.com:PORT/v1/..;x=1/admin", "`..` segment"),
    (V1, "GET", "http://api.example.com:PORT/v1/..%3b/admin", "`..` segment"),
    (V1, "GET", "http://api.example.com:PORT/v1/%2e%2e%3b/admin", "`..` segment"),
    (V1, "GET", "http://api.example.com:PORT/v1/.;/x", "`..` segment"),
    (V1, "GET", "http://api.example.com:PORT/v1/x/../../admin", "`..` segment"),
    (API, "GET", "http://api.example.com:PORT/../admin", "`..` segment"),
    (API, "GET", "http://api.example.com:PORT/%2e%2e/admin", "`..` segment"),
    (V1, "GET", "http://api.example.com:PORT/v1//admin", "an empty segment"),
    (V1, "GET", "http://api.example.com:PORT//v1/", "begins with `//`"),
    (API, "GET", "http://api.example.com:PORT//127.0.0.1:PORT/", "begins with `//`"),
    (V1, "GET", "http://api.example.com:PORT/v1/a\\b", "a backslash"),
    (V1, "GET", "http://api.example.com:PORT/v1/a%5Cb", "a backslash"),
    (V1, "GET", "http://api.example.com:PORT/v1/a%255cb", "a backslash"),
    (V1, "GET", "http://api.example.com:PORT/v1/a%2Fb", "an escaped slash"),
    (V1, "GET", "http://api.example.com:PORT/v1/a%252fb", "an escaped slash"),
    (V1, "GET", "http://api.example.com:PORT/v1/a%2eb", "an escaped dot"),
    (V1, "GET", "http://api.example.com:PORT/v1/%c0%ae%c0%ae/admin", "invalid UTF-8"),
    (V1, "GET", "http://api.example.com:PORT/v1/%c0%af", "invalid UTF-8"),
    (V1, "GET", "http://api.example.com:PORT/v1/%ff", "invalid UTF-8"),
    (V1, "GET", "http://api.example.com:PORT/v1/%00", "control characters"),
    (V1, "GET", "http://api.example.com:PORT/v1/%0d%0aHost:%20evil", "control characters"),
    (V1, "GET", "http://api.example.com:PORT/v1/%", "not part of an escape"),
    (V1, "GET", "http://api.example.com:PORT/v1/%2", "not part of an escape"),
    (V1, "GET", "http://api.example.com:PORT/v1/%zz", "not part of an escape"),
    (V1, "GET", "http://api.example.com:PORT/v1/%u002e%u002e/admin", "not part of an escape"),
    (V1, "GET", "http://api.example.com:PORT/v1/\u{e9}", "not visible ASCII"),
    (V1, "GET", "http://api.example.com:PORT/v1/\u{ff0e}\u{ff0e}/admin", "not visible ASCII"),
    (API, "GET", "http://api.example.com:PORT/\u{2215}", "not visible ASCII"),
    (API, "GET", "http://api.example.com:PORT/?q=\u{e9}", "not visible ASCII"),
    (API, "GET", "http://api.example.com:PORT/a b", "unreadable"),
    (API, "GET", "http://api.example.com:PORT/a\r\nHost: evil", "unreadable"),
    (API, "GET", "http://api.example.com:PORT/a HTTP/1.1\r\n\r\nGET /admin", "unreadable"),
    (API, "GET", "http://api.example.com:PORT/a\0b", "unreadable"),
];

const METHODS: &[Row] = &[
    (V1, "POST", "http://api.example.com:PORT/v1/x", "except for the method, which must be GET"),
    (V1, "DELETE", "http://api.example.com:PORT/v1/x", "except for the method"),
    (V1, "HEAD", "http://api.example.com:PORT/v1/x", "except for the method"),
    (V1, "get", "http://api.example.com:PORT/v1/x", "the method is not one of"),
    (API, "Post", "http://api.example.com:PORT/", "the method is not one of"),
    (API, "CONNECT", "http://api.example.com:PORT/", "the method is not one of"),
    (API, "CONNECT", "http://127.0.0.1:PORT/", "the method is not one of"),
    (API, "TRACE", "http://api.example.com:PORT/", "the method is not one of"),
    (API, "TRACK", "http://api.example.com:PORT/", "the method is not one of"),
    (API, "PRI", "http://api.example.com:PORT/", "the method is not one of"),
    (API, "PROPFIND", "http://api.example.com:PORT/", "the method is not one of"),
    (API, "PURGE", "http://api.example.com:PORT/", "the method is not one of"),
    (API, "GETX", "http://api.example.com:PORT/", "the method is not one of"),
    (API, "GET /admin", "http://api.example.com:PORT/", "invalid HTTP method"),
    (API, "GET\r\nX: y", "http://api.example.com:PORT/", "invalid HTTP method"),
    (API, "", "http://api.example.com:PORT/", "invalid HTTP method"),
];

/// The same places, where the rules allow them: what reaches the canary, so that the rows above could have.
const ALLOWED: &[(&str, &str, &str)] = &[
    (API, "GET", "http://api.example.com:PORT/"),
    (API, "GET", "http://API.Example.COM:PORT/"),
    (API, "GET", "http://api.example.com:PORT?a=b"),
    (API, "GET", "http://api.example.com:PORT/v1/a%2fb;c//d"),
    (API, "DELETE", "http://api.example.com:PORT/%C3%A9?%2e%2e/../"),
    (V1, "GET", "http://api.example.com:PORT/v1/"),
    (V1, "GET", "http://api.example.com:PORT/v1/...;a/b.c/..d?../x"),
    (V1_BARE, "POST", "http://api.example.com:PORT/v1"),
    (V1_BARE, "POST", "http://api.example.com:PORT/v1?x"),
    (V1_BARE, "POST", "http://api.example.com:PORT/v1/x"),
    (BELOW, "GET", "http://api.example.com:PORT/"),
    (BELOW, "GET", "http://a-b_c.d.example.com:PORT/"),
    (LOCAL, "GET", "http://127.0.0.1:PORT/"),
    (r#"{ scheme = "http", host = "localhost", port = PORT, private = true }"#, "GET", "http://localhost:PORT/"),
];

async fn aimed() -> World {
    let world = World::new().await;
    // Every name resolves to the canary.
    for name in ["api.example.com", "a-b_c.d.example.com", "localhost", "localtest.me", "evil.net", "example.com"] {
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
        assert!(world.net.dialled().is_empty() && world.net.resolved().is_empty(), "{method} {url}");
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
        let response = attempt.send(request).await.unwrap_or_else(|failure| panic!("{method} {url}: {failure}"));
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
        assert_eq!(line, format!("{method} {path} HTTP/1.1"), "what was asked for goes out as it is");
    }
    let world = aimed().await;
    let attempt = world.session(&format!("[{LOCAL_V6}]"));
    // A machine without IPv6 refuses the connection; where it goes is what counts.
    let _ = attempt.get("http://[::1]:PORT/").await;
    assert_eq!(world.net.dialled(), ["::1"]);
}

#[tokio::test]
async fn a_refusal_names_the_line_that_would_allow_the_request() {
    let cases = [
        (
            "GET",
            "https://api.example.com/v1/x?token=a",
            r#"{ host = "api.example.com", methods = ["GET"], path = "/v1/x" }"#,
        ),
        ("POST", "http://api.example.com/", r#"{ scheme = "http", host = "api.example.com", methods = ["POST"] }"#),
        ("GET", "https://a.example.com:8443/", r#"{ host = "a.example.com", port = 8443, methods = ["GET"] }"#),
        (
            "PUT",
            "http://127.0.0.1:8080/a",
            r#"{ scheme = "http", host = "127.0.0.1", port = 8080, methods = ["PUT"], path = "/a", private = true }"#,
        ),
        ("GET", "http://[fd00::1]/", r#"{ scheme = "http", host = "fd00::1", methods = ["GET"], private = true }"#),
        (
            "GET",
            "https://api.example.com/v1/%C3%A9",
            r#"{ host = "api.example.com", methods = ["GET"], path = "/v1/" }"#,
        ),
        ("GET", "https://api.example.com/a//b", r#"{ host = "api.example.com", methods = ["GET"] }"#),
    ];
    for (method, url, rule) in cases {
        let world = World::new().await;
        let (none, some) = (world.session("[]"), world.session("[{ host = \"other.example.com\" }]"));
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
        assert!(sent.as_ref().err().is_none_or(|failure| !failure.to_string().contains("rule")), "{url}: {sent:?}");
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
