//! Logging in with a token, what a session may do, and how it ends.

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt as _;

use super::roles::{TOKENS, ask, guarded, with_hashes};
use super::site::{Console, event};

/// A form or, without one, a look, of a browser that may have a cookie.
async fn browse(
    site: &Console,
    path: &str,
    form: Option<&str>,
    headers: &[(&str, &str)],
) -> (StatusCode, HeaderMap, String) {
    let method = if form.is_some() { "POST" } else { "GET" };
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header(header::HOST, "localhost:3001");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if form.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    }
    let body = Body::from(form.unwrap_or_default().to_owned());
    let (head, body) = site.send(request.body(body).unwrap()).await.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    (head.status, head.headers, String::from_utf8(bytes.to_vec()).unwrap())
}

/// Logs in, and gives the cookie.
async fn log_in(site: &Console, token: &str) -> String {
    let (status, headers, text) =
        browse(site, "/login", Some(&format!("token={token}")), &[]).await;
    assert_eq!(status, StatusCode::SEE_OTHER, "{text}");
    let cookie = headers[header::SET_COOKIE].to_str().unwrap();
    let (pair, rest) = cookie.split_once(';').unwrap();
    assert!(pair.starts_with("__Host-hookbox=") && pair.len() > 70, "{cookie}");
    assert_eq!(rest, " Max-Age=43200; Path=/; Secure; HttpOnly; SameSite=Strict");
    pair.to_owned()
}

#[tokio::test]
async fn a_browser_logs_in_acts_in_its_name_and_logs_out() {
    let site = guarded();
    let (status, headers, _) = browse(&site, "/events?type=a", None, &[]).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    assert_eq!(headers[header::LOCATION], "/login?next=%2Fevents%3Ftype%3Da");
    let (_, _, asks) = browse(&site, "/login?next=%2Fevents%3Ftype%3Da", None, &[]).await;
    assert!(asks.contains("name=\"token\"") && asks.contains("value=\"/events?type=a\""), "{asks}");
    assert!(!asks.contains("ready") && !asks.contains("href=\"/plugins\""), "{asks}");
    let form = "token=+operator-token%0A&next=%2Fevents%3Ftype%3Da";
    let (_, headers, _) = browse(&site, "/login", Some(form), &[]).await;
    assert_eq!(headers[header::LOCATION], "/events?type=a");

    let cookie = log_in(&site, "operator-token").await;
    let with = [("cookie", cookie.as_str())];
    let (status, _, page) = browse(&site, "/", None, &with).await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("jo <span class=\"dim\">operator</span>") && page.contains("Log out"));
    let evil = [("cookie", cookie.as_str()), ("origin", "https://evil.example")];
    assert_eq!(browse(&site, "/operations", Some("id=x"), &evil).await.0, StatusCode::FORBIDDEN);
    let cross = [("cookie", cookie.as_str()), ("sec-fetch-site", "same-site")];
    assert_eq!(browse(&site, "/operations", Some("id=x"), &cross).await.0, StatusCode::FORBIDDEN);

    let (status, headers, _) = browse(&site, "/logout", Some(""), &with).await;
    assert_eq!(
        (status, &headers[header::LOCATION]),
        (StatusCode::SEE_OTHER, &"/login".parse().unwrap())
    );
    assert!(headers[header::SET_COOKIE].to_str().unwrap().contains("Max-Age=0"));
    assert_eq!(browse(&site, "/", None, &with).await.0, StatusCode::SEE_OTHER);
    let (_, _, audit) = ask(&site, "GET", "/api/v1/audit?actor=jo", Some("viewer-token")).await;
    let actions =
        ["\"login\"", "\"logout\""].map(|it| audit.matches(&format!("\"action\":{it}")).count());
    assert_eq!(actions, [2, 1], "{audit}");
}

#[tokio::test]
async fn a_token_that_does_not_work_says_nothing_and_costs_time() {
    let site = guarded();
    for _ in 0..5 {
        let (status, headers, page) = browse(&site, "/login", Some("token=wrong"), &[]).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert!(page.contains("This token does not work here."), "{page}");
        assert!(!headers.contains_key(header::SET_COOKIE));
    }
    // A right one has to wait as well, or the wait would tell it from others.
    for token in ["wrong", "operator-token"] {
        let (status, headers, _) =
            browse(&site, "/login", Some(&format!("token={token}")), &[]).await;
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(headers[header::RETRY_AFTER], "1");
    }
    let path = "/api/v1/audit?action=login.failed";
    let (_, _, audit) = ask(&site, "GET", path, Some("viewer-token")).await;
    assert_eq!(audit.matches("127.0.0.1").count(), 5, "{audit}");
    assert!(!audit.contains("wrong"), "{audit}");
}

#[tokio::test]
async fn a_session_ends_when_its_token_is_gone_from_the_file() {
    let site = guarded();
    let cookie = log_in(&site, "viewer-token").await;
    let with = [("cookie", cookie.as_str())];
    assert_eq!(browse(&site, "/", None, &with).await.0, StatusCode::OK);
    let others: String = with_hashes(TOKENS)
        .lines()
        .filter(|line| !line.contains("ann"))
        .collect::<Vec<_>>()
        .join("\n");
    site.configure(&others);
    assert_eq!(browse(&site, "/", None, &with).await.0, StatusCode::SEE_OTHER);
    site.configure(&with_hashes(TOKENS));
    assert_eq!(browse(&site, "/", None, &with).await.0, StatusCode::SEE_OTHER, "it stays gone");
}

#[tokio::test]
async fn a_token_that_sends_alone_has_no_pages() {
    let site = guarded();
    let (status, headers, page) = browse(&site, "/login", Some("token=send-token"), &[]).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(page.contains("role send has no pages") && !headers.contains_key(header::SET_COOKIE));
}

#[tokio::test]
async fn over_plain_http_from_elsewhere_nobody_logs_in_and_behind_the_proxy_they_do() {
    let mut site = guarded();
    site.admin.own_address = [192, 0, 2, 7].into();
    let site = site.rebuilt();
    let direct = [("host", "192.0.2.7:3001")];
    let (_, _, page) = browse(&site, "/login", None, &direct).await;
    assert!(page.contains("needs TLS") && !page.contains("name=\"token\""), "{page}");
    let (status, headers, _) = browse(&site, "/login", Some("token=operator-token"), &direct).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(!headers.contains_key(header::SET_COOKIE));
    let proxied = [("host", "hookbox.example.com"), ("origin", "https://hookbox.example.com")];
    let form = Some("token=operator-token");
    assert_eq!(browse(&site, "/login", form, &proxied).await.0, StatusCode::MISDIRECTED_REQUEST);
    let url = "admin_url = \"https://hookbox.example.com\"\n";
    site.configure(&format!("{url}{}", with_hashes(TOKENS)));
    let (status, headers, page) = browse(&site, "/login", form, &proxied).await;
    assert_eq!(status, StatusCode::SEE_OTHER, "{page}");
    assert!(headers.contains_key(header::SET_COOKIE));
}

#[tokio::test]
async fn without_tokens_there_is_nothing_to_log_in_to() {
    let site = super::site::site();
    let (_, _, page) = browse(&site, "/login", None, &[]).await;
    assert!(page.contains("whoever reaches it over loopback is operator"), "{page}");
    let (status, ..) = browse(&site, "/login", Some("token=x"), &[]).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_client_is_told_who_it_is_which_tokens_there_are_and_what_applies() {
    let site = guarded();
    let cookie = log_in(&site, "reader-token").await;
    let (_, _, me) = browse(&site, "/api/v1/me", None, &[("cookie", &cookie)]).await;
    assert_eq!(me, r#"{"name":"rob","role":"viewer","payloads":true,"session":true}"#);
    let (_, _, me) = ask(&site, "GET", "/api/v1/me", Some("viewer-token")).await;
    assert_eq!(me, r#"{"name":"ann","role":"viewer","payloads":false,"session":false}"#);
    let (_, _, tokens) = ask(&site, "GET", "/api/v1/tokens", Some("viewer-token")).await;
    let tokens: serde_json::Value = serde_json::from_str(&tokens).unwrap();
    let row = |n: usize| {
        (tokens["items"][n]["name"].clone(), tokens["items"][n]["last_used_at"].is_null())
    };
    assert_eq!([row(0), row(3)], [("ann".into(), false), ("jo".into(), true)]);
    let (_, _, config) = ask(&site, "GET", "/api/v1/config", Some("viewer-token")).await;
    let hash = with_hashes("HASH3");
    assert!(config.contains("\"server.admin_tokens\"") && !config.contains(&hash), "{config}");
    assert!(
        config.contains("{\"key\":\"store.retention\",\"value\":\"\\\"30d\\\"\",\"line\":null}")
    );
}

#[tokio::test]
async fn the_streams_of_a_session_end_with_its_log_out_and_no_other_does() {
    let site = guarded();
    let (gone, stays) = (log_in(&site, "viewer-token").await, log_in(&site, "viewer-token").await);
    let hints = "/api/v1/stream?topics=events";
    let mut ends = Vec::new();
    for path in [hints, "/api/v1/events/stream"] {
        ends.push(site.stream(path, &[("cookie", &gone)]).await);
    }
    let mut goes_on = site.stream(hints, &[("cookie", &stays)]).await;
    let with = [("cookie", gone.as_str())];
    let (status, ..) = browse(&site, "/logout", Some(""), &with).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    for mut stream in ends {
        // A comment or none, and then the end: nothing has happened, and nothing else ends it.
        while let Some(chunk) = stream.frame().await {
            assert!(chunk.unwrap().into_data().unwrap().trim_ascii().len() <= 1);
        }
    }
    site.append(event("video.done", "order_1", b"{}", &[])).await;
    let mut told = String::new();
    while !told.contains("\"topic\":\"events\"") {
        let chunk = goes_on.frame().await.expect("it goes on").unwrap();
        told += std::str::from_utf8(&chunk.into_data().unwrap()).unwrap();
    }
}

#[tokio::test]
async fn what_a_client_could_no_longer_begin_ends_and_what_others_began_goes_on() {
    for (token, before, after) in [
        ("reader-token", "payloads = true, ", ""),
        ("operator-token", "role = \"operator\"", "role = \"viewer\", payloads = true"),
    ] {
        let site = guarded();
        for number in 0..120 {
            site.append(event("video.done", &format!("order_{number}"), b"{}", &[])).await;
        }
        let hints = "/api/v1/stream?topics=events";
        let shows = format!("Bearer {token}");
        let mut ends = Vec::new();
        for path in [hints, "/api/v1/events/stream", "/api/v1/events/export"] {
            ends.push((path, site.stream(path, &[("authorization", &shows)]).await));
        }
        let mut goes_on = site.stream(hints, &[("authorization", "Bearer viewer-token")]).await;
        site.configure(&with_hashes(&TOKENS.replace(before, after)));
        site.admin.status.update(|condition| condition.generation += 1);
        site.append(event("video.done", "secret", b"{}", &[])).await;
        for (path, mut stream) in ends {
            let (mut told, mut is_broken) = (String::new(), false);
            while let Some(chunk) = stream.frame().await {
                let Ok(chunk) = chunk else {
                    is_broken = true;
                    break;
                };
                told += std::str::from_utf8(&chunk.into_data().unwrap()).unwrap();
                assert!(!told.contains("secret") && !told.contains("topic"), "{path}: {told}");
            }
            assert_eq!(is_broken, path.ends_with("export"), "{path}: {told}");
            assert!(told.lines().count() < 10, "{path}: {told}");
        }
        let mut told = String::new();
        while !told.contains("\"topic\":\"events\"") {
            let chunk = goes_on.frame().await.expect("it goes on").unwrap();
            told += std::str::from_utf8(&chunk.into_data().unwrap()).unwrap();
        }
    }
}

#[tokio::test]
async fn a_viewer_without_payloads_who_searches_is_told_what_else_to_look_for() {
    let site = guarded();
    let cookie = log_in(&site, "viewer-token").await;
    let with = [("cookie", cookie.as_str())];
    let (status, headers, _) = browse(&site, "/find?q=order_1", None, &with).await;
    assert_eq!(
        (status, &headers[header::LOCATION]),
        (StatusCode::SEE_OTHER, &"/events?q=order_1".parse().unwrap())
    );
    let (status, _, page) = browse(&site, "/events?q=order_1", None, &with).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    for part in [
        "your token does not read payloads",
        "href=\"/events?subject=order_1\"",
        "<form class=\"filters\"",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let (status, ..) = browse(&site, "/events?subject=order_1", None, &with).await;
    assert_eq!(status, StatusCode::OK);
}
