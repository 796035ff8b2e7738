//! Edit and replay: a new event of an old one, exact where it was not edited.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};

use super::forms::post;
use super::pages::{good, page};
use super::site::{Console, event, site};

/// A body with what a parser would lose: digits, order, members that are repeated, line ends.
const BODY: &[u8] =
    b"{\"n\": 9223372036854775808,\r\n  \"x\": 1.0,\n \"x\": 2, \"t\": \"<b>\xe2\x80\xae\"}\n";

async fn raw(site: &Console, id: &str) -> Vec<u8> {
    let request = Request::get(format!("/api/v1/events/{id}/body"))
        .header(header::HOST, "localhost:3001")
        .body(Body::empty());
    let response = site.send(request.unwrap()).await;
    assert_eq!(response.status(), StatusCode::OK);
    axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()
}

/// A form's value.
fn encoded(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("%{byte:02X}")).collect()
}

/// A text as a browser sends it.
fn sent(text: &[u8]) -> String {
    let text = String::from_utf8(text.to_vec()).unwrap().replace("\r\n", "\n");
    encoded(text.replace('\n', "\r\n").as_bytes())
}

async fn replay(site: &Console, id: &str, asked: Value) -> (StatusCode, Value) {
    site.ask("POST", &format!("/api/v1/events/{id}/replay"), Some(asked)).await
}

#[tokio::test]
async fn an_edited_event_and_the_one_it_was_made_of_name_each_other() {
    let site = site();
    let old = site.append(event("video.done", "a", BODY, &["audit"])).await.to_string();
    let asked = json!({ "data": { "n": 1 }, "plugins": ["orders", "orders"] });
    let (status, made) = replay(&site, &old, asked).await;
    assert_eq!((status, &made["edited"]), (StatusCode::ACCEPTED, &json!(true)), "{made}");
    assert_eq!(made["plugins"], json!(["orders"]));
    let id = made["event_id"].as_str().unwrap();
    let shown = site.get(&format!("/api/v1/events/{id}")).await;
    assert_eq!(
        (&shown["replay_of"], &shown["edited_by"], &shown["data"]),
        (&json!(old), &json!("local"), &json!({ "n": 1 }))
    );
    assert_eq!((&shown["type"], &shown["subject"]), (&json!("video.done"), &json!("a")));
    assert_eq!(
        (&shown["source"], &shown["headers"][0]["name"]),
        (&json!("heygen"), &json!("user-agent"))
    );
    assert_eq!(shown["deliveries"][0]["state"], "ready");
    assert_eq!(site.get(&format!("/api/v1/events/{old}")).await["replays"], json!([id]));
    assert!(good(&site, &format!("/events/{id}")).await.contains("edited by local from"));
    assert!(good(&site, &format!("/events/{old}")).await.contains("edited into"));
    let audit = site.get("/api/v1/audit?action=events.replay").await;
    let entry = &audit["items"][0];
    assert_eq!((&entry["target"], &entry["result"]), (&json!(old), &json!(id)), "{audit}");
    assert!(entry["detail"].as_str().unwrap().starts_with("edited: data sha256:"), "{audit}");
}

#[tokio::test]
async fn a_body_that_is_not_edited_stays_byte_for_byte() {
    let site = site();
    let old = site.append(event("video.done", "a", BODY, &["audit"])).await.to_string();
    let (_, made) = replay(&site, &old, json!({ "type": "video.seen", "subject": "" })).await;
    let id = made["event_id"].as_str().unwrap();
    assert_eq!(made["plugins"], json!(["audit", "orders"]), "as it is routed now");
    let shown = site.get(&format!("/api/v1/events/{id}")).await;
    assert_eq!((&shown["type"], &shown["subject"]), (&json!("video.seen"), &json!(null)));
    assert_eq!(raw(&site, id).await, BODY);
    let exact = format!("{{\"data\": {}}}", "{\"big\":9223372036854775808, \"a\":1,\"a\":2.0}");
    let request = Request::post(format!("/api/v1/events/{old}/replay"))
        .header(header::HOST, "localhost:3001")
        .header(header::CONTENT_TYPE, "application/json");
    let response = site.send(request.body(Body::from(exact)).unwrap()).await;
    let answer = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let body = raw(&site, answer["event_id"].as_str().unwrap()).await;
    assert_eq!(body, b"{\"big\":9223372036854775808, \"a\":1,\"a\":2.0}");
    // Longer than other requests to the API may be.
    let long = "x".repeat(300 << 10);
    let (status, _) = replay(&site, &old, json!({ "data": long })).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let (_, made) = replay(&site, &old, json!({ "data_base64": "/wA=" })).await;
    assert_eq!(raw(&site, made["event_id"].as_str().unwrap()).await, b"\xff\0");
}

#[tokio::test]
async fn what_cannot_be_edited_says_why() {
    let site = site();
    let old = site.append(event("video.done", "a", b"{}", &["audit"])).await.to_string();
    for (asked, status, part) in [
        (json!({ "subject": "a" }), 400, "nothing is another"),
        (json!({ "data": {} }), 400, "nothing is another"),
        (json!({ "type": "hookbox.dead" }), 400, "the host's own"),
        (json!({ "type": "a b\n" }), 400, "`type`"),
        (json!({ "data": 1, "data_base64": "" }), 400, "both"),
        (json!({ "data_base64": "?" }), 400, "base64"),
        (json!({ "date": 1 }), 400, "`date`"),
        (json!({ "type": "nobody.knows" }), 409, "no route takes"),
        (json!({ "data": 1, "plugins": ["audti"] }), 404, "did you mean `audit`?"),
    ] {
        let (found, answer) = replay(&site, &old, asked.clone()).await;
        let detail = answer["detail"].as_str().unwrap_or_default();
        assert!(found == status && detail.contains(part), "{asked}: {found} {answer}");
    }
    site.ask("POST", &format!("/api/v1/events/{old}/erase"), None).await;
    let (status, answer) = replay(&site, &old, json!({ "data": 1 })).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(answer["detail"].as_str().unwrap().contains("erased"), "{answer}");
    assert_eq!(page(&site, &format!("/events/{old}/edit")).await.status, StatusCode::CONFLICT);
    assert_eq!(site.get("/api/v1/stats").await["events"], 1);
}

#[tokio::test]
async fn what_was_made_of_an_erased_event_is_erased_with_it() {
    let site = site();
    let old = site.append(event("video.done", "a", b"{}", &["audit"])).await.to_string();
    let (_, made) = replay(&site, &old, json!({ "data": { "name": "Jo" } })).await;
    let id = made["event_id"].as_str().unwrap();
    let erased = site.ask("POST", &format!("/api/v1/events/{old}/erase"), None).await.1;
    assert_eq!(erased["erased"], 2, "{erased}");
    assert_eq!(raw(&site, id).await, b"");
}

#[tokio::test]
async fn a_form_shows_the_difference_and_then_makes_the_event() {
    let site = site();
    let old = site.append(event("video.done", "a", BODY, &["audit"])).await.to_string();
    let path = format!("/events/{old}/edit");
    let shown = good(&site, &format!("/events/{old}")).await;
    assert!(shown.contains(&format!("data-key=\"e\" href=\"{path}\"")), "{shown}");
    let ask = good(&site, &path).await;
    assert!(ask.contains("&lt;b>&#x202e;") && ask.contains("9223372036854775808"), "{ask}");
    // As it came, and as a browser sends it back.
    let fields = format!("type=video.done&subject=a&once=k&data={}", sent(BODY));
    let same = post(&site, &path, &fields).await;
    assert!(same.text.contains("byte for byte"), "{}", same.text);
    let refused = post(&site, &path, &format!("{fields}&do=send")).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    let edited = String::from_utf8(BODY.to_vec()).unwrap().replace("1.0", "1.5");
    let fields = format!("type=video.done&subject=b&once=k&data={}", sent(edited.as_bytes()));
    let difference = post(&site, &path, &fields).await;
    assert_eq!(difference.status, StatusCode::OK);
    let text = &difference.text;
    assert!(text.contains("<del>") && text.contains("<ins>"), "{text}");
    assert!(text.contains("subject: a → b") && !text.contains("<b>\u{202e}"), "{text}");
    let mut made = Vec::new();
    for _ in 0..2 {
        let done = post(&site, &path, &format!("{fields}&do=send&plugin=audit")).await;
        assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text);
        made.push(done.headers[header::LOCATION].to_str().unwrap().to_owned());
    }
    assert_eq!(made[0], made[1], "a form that is sent twice acts once");
    let id = made[0].strip_prefix("/events/").unwrap();
    assert_eq!(raw(&site, id).await, edited.as_bytes());
    assert_eq!(site.get("/api/v1/stats").await["events"], 2);
}

#[tokio::test]
async fn a_body_that_is_no_text_is_edited_as_base64() {
    let site = site();
    let old = site.append(event("video.done", "a", b"\xff\0", &["audit"])).await.to_string();
    let path = format!("/events/{old}/edit");
    let ask = good(&site, &path).await;
    assert!(ask.contains("name=\"data_base64\"") && ask.contains("/wA="), "{ask}");
    let fields = "type=video.done&subject=a&do=send&data_base64=%2FwE%3D";
    let done = post(&site, &path, fields).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text);
    let location = done.headers[header::LOCATION].to_str().unwrap();
    assert_eq!(raw(&site, location.strip_prefix("/events/").unwrap()).await, b"\xff\x01");
}
