//! Credentials that the host adds: they go where their rule says, and never come back.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hookbox::config::Limits;
use hookbox::egress::{Redactor, RequestErrorKind};
use hookbox::event::PluginName;
use http::header::HeaderValue;

use super::world::{Reply, TOKEN, Then, World, grants};

const RULES: &str = r#"[
    { scheme = "http", host = "api.example.com", port = PORT, path = "/v1/",
      headers = { Authorization = { prefix = "Bearer ", env = "API_TOKEN" } } },
    { scheme = "http", host = "api.example.com", port = PORT },
    { scheme = "http", host = "unset.example.com", port = PORT, headers = { X-Key = { env = "ABSENT" } } },
]"#;
const URL: &str = "http://api.example.com:PORT/v1/x";

#[tokio::test]
async fn a_credential_goes_out_under_its_rule_alone() {
    let world = World::new().await;
    let attempt = world.session(RULES);
    attempt.get_now(URL).await;
    attempt.get_now("http://api.example.com:PORT/v2/x").await;
    let requests = world.internet.requests();
    assert!(requests[0].1.contains(&format!("authorization: Bearer {TOKEN}\r\n")), "{requests:?}");
    assert!(requests[0].1.contains("accept-encoding: identity\r\n"), "{requests:?}");
    assert!(
        !requests[1].1.contains("sk-live") && !requests[1].1.contains("accept-encoding"),
        "{requests:?}"
    );
    assert!(attempt.log().is_empty());
}

#[tokio::test]
async fn what_is_hidden_is_made_once_for_all_attempts_under_the_same_grants() {
    let world = World::new().await;
    let plugin = PluginName::from("guest");
    let (granted, again) = (world.grants(RULES), world.grants(RULES));
    let redactor = |grants| world.egress.redactor(&plugin, grants).unwrap();
    assert!(std::sync::Arc::ptr_eq(&redactor(&granted), &redactor(&granted)));
    assert!(
        !std::sync::Arc::ptr_eq(&redactor(&granted), &redactor(&again)),
        "a new configuration has credentials of its own"
    );
    let open = world.grants(r#"[{ host = "api.example.com" }]"#);
    assert!(world.egress.redactor(&plugin, &open).is_none(), "there is nothing to hide");
}

#[tokio::test]
async fn a_credential_takes_the_place_of_what_the_plugin_sets() {
    let world = World::new().await;
    let attempt = world.session(RULES);
    let mut request = attempt.request("GET", URL).unwrap();
    for name in ["AUTHORIZATION", "authorization", "Authorization"] {
        request.headers_mut().append(name, HeaderValue::from_static("Bearer forged"));
    }
    request.headers_mut().insert("accept-encoding", HeaderValue::from_static("gzip"));
    attempt.send(request).await.unwrap();
    let sent = world.internet.request();
    assert_eq!(sent.matches("authorization").count(), 1, "{sent}");
    assert!(!sent.contains("forged") && !sent.contains("gzip") && sent.contains(TOKEN), "{sent}");
    assert_eq!(
        attempt.line(),
        "the plugin's header `authorization` was replaced: the host sets it"
    );
}

#[tokio::test]
async fn a_credential_that_is_not_there_is_looked_for_by_name() {
    let world = World::new().await;
    let attempt = world.session(RULES);
    let failed = attempt.get("http://unset.example.com:PORT/").await.unwrap_err();
    assert_eq!(failed.kind, RequestErrorKind::Configuration);
    assert!(
        attempt.line().contains("`x-key`") && attempt.line().contains("ABSENT"),
        "{}",
        attempt.line()
    );
    assert!(world.net.resolved().is_empty());
}

#[tokio::test]
async fn an_echo_is_masked_in_every_form_and_wherever_it_is_cut() {
    let escaped: String = TOKEN.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let forms = [
        TOKEN.to_owned(),
        format!("Bearer {TOKEN}"),
        STANDARD.encode(TOKEN),
        STANDARD.encode(format!("user:{TOKEN}")),
        STANDARD.encode(format!("Bearer {TOKEN}")),
        URL_SAFE_NO_PAD.encode(TOKEN),
        TOKEN.replace('/', "%2F").replace('+', "%2B"),
        TOKEN.replace('/', "%2f").replace('+', "%2b"),
    ];
    for form in &forms {
        for cut in 1..form.len() {
            let text = form.clone();
            let world = World::answering(move |_| {
                let (one, other) = text.split_at(cut);
                Reply::chunks(&["<", one, other, ">"])
            })
            .await;
            let (_, body) = world.session(RULES).get_now(URL).await;
            assert_eq!(body.len(), form.len() + 2, "the length stays");
            let shown = body.chars().filter(|c| *c != '*').count();
            assert!(body.starts_with('<') && body.ends_with('>'), "{body}");
            // Beside what stands around it, base64 shares a character or two on either side.
            let around = form.len() - form.len().min(TOKEN.len() - 2);
            assert!(shown <= around + 4 && !body.contains("sk-live"), "{form} at {cut}: {body}");
        }
    }
    assert!(!forms.contains(&escaped), "an escape of every character is no usual form");
}

#[tokio::test]
async fn an_echo_in_a_header_is_masked() {
    let world = World::answering(|request| {
        let line = request.lines().find_map(|line| line.strip_prefix("authorization: ")).unwrap().to_owned();
        Reply::raw(&format!(
            "HTTP/1.1 401 No\r\nx-you-sent: {line}\r\nwww-authenticate: {line}\r\ncontent-length: 0\r\n\r\n"
        ))
    })
    .await;
    let response = world.session(RULES).open(URL).await.unwrap();
    let stars = format!("Bearer {}", "*".repeat(TOKEN.len()));
    for name in ["x-you-sent", "www-authenticate"] {
        assert_eq!(response.headers()[name].to_str().unwrap(), stars);
    }
}

#[tokio::test]
async fn a_body_that_ends_within_the_beginning_of_a_credential_is_whole() {
    let world = World::answering(|_| Reply::ok("sk-live-0123 sk-l")).await;
    assert_eq!(world.session(RULES).get_now(URL).await, (200, "sk-live-0123 sk-l".to_owned()));
}

#[tokio::test]
async fn an_echo_cannot_hide_in_a_range_or_in_a_compression() {
    let world = World::answering(|_| {
        Reply::raw("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nab")
    })
    .await;
    let attempt = world.session(RULES);
    assert_eq!(attempt.get(URL).await.unwrap_err().kind, RequestErrorKind::Coding);
    let ranged = |url: &str| {
        let mut request = attempt.request("GET", url).unwrap();
        request.headers_mut().insert("range", HeaderValue::from_static("bytes=0-0"));
        request
    };
    let refused = attempt.send(ranged(URL)).await.unwrap_err();
    assert!(
        refused.kind == RequestErrorKind::Header && refused.to_string().contains("range"),
        "{refused}"
    );
    assert_eq!(world.internet.requests().len(), 1);
    // A rule without credentials has nothing to hide.
    let free = attempt.send(ranged("http://api.example.com:PORT/v2/x")).await.unwrap();
    assert_eq!(super::world::take(free).await.unwrap(), (200, "ab".to_owned()));
}

#[tokio::test]
async fn a_redirect_takes_no_credential_along() {
    let world = World::answering(|_| {
        Reply::raw("HTTP/1.1 302 Found\r\nlocation: http://api.example.com/v2/\r\ncontent-length: 0\r\n\r\n")
            .then(Then::Wait)
    })
    .await;
    let attempt = world.session(RULES);
    assert_eq!(attempt.get_now(URL).await.0, 302);
    assert_eq!(attempt.get_now("http://api.example.com:PORT/v2/").await.0, 302);
    let requests = world.internet.requests();
    assert!(
        requests[0].1.contains("sk-live") && !requests[1].1.contains("sk-live"),
        "{requests:?}"
    );
    assert_ne!(requests[0].0, requests[1].0, "two rules share no connection");
}

#[tokio::test]
async fn a_credential_is_not_shown_to_whoever_debugs() {
    let world = World::new().await;
    let grants = world.grants(RULES);
    let attempt = world.attempt("guest", &grants, Limits::default());
    let response = attempt.open(URL).await.unwrap();
    let shown =
        format!("{:?} {:?} {:?} {:?}", grants, attempt.session, world.egress, response.headers());
    assert!(!shown.contains("sk-live"), "{shown}");
    assert!(!format!("{:?}", Redactor::of(&grants)).contains("sk-live"));
}

#[test]
fn texts_without_credentials_are_left_alone() {
    let redactor = Redactor::of(&grants(
        r#"[{ host = "a.example.com", headers = { X-Key = { env = "API_TOKEN" } } }]"#,
    ));
    assert_eq!(
        redactor.redact(&format!("a {TOKEN} é")),
        format!("a {} é", "*".repeat(TOKEN.len()))
    );
    assert!(matches!(redactor.redact("a"), std::borrow::Cow::Borrowed("a")));
    assert!(Redactor::of(&grants("[]")).is_empty());
}
