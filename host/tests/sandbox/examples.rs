//! The example plugins in Rust do what they say.

use super::*;

fn example(name: &str) -> Plugin {
    let bytes = file(&format!("../plugins/{name}.wasm"));
    assert!(bytes.len() < 150_000, "{name}.wasm has {} bytes", bytes.len());
    SANDBOX.load(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"))
}

async fn video_orders(kind: &str, body: &str) -> Invocation {
    let config = Arc::new(BTreeMap::from([("currency".to_owned(), "EUR".to_owned())]));
    example("video-orders")
        .invoke(Call { config, attempt: 3, ..call_with(event(kind, body)) })
        .await
}

/// The one event that was emitted: its type, subject and data.
fn emitted(invocation: Invocation) -> (String, Option<String>, String) {
    let Verdict::Ok(mut events) = invocation.verdict else { panic!("{:?}", invocation.verdict) };
    let event = events.pop().expect("an event");
    assert!(events.is_empty());
    assert_eq!((event.content_type.as_deref(), event.delay_ms), (Some("application/json"), 0));
    (event.kind, event.subject, String::from_utf8(event.data).expect("JSON"))
}

#[tokio::test]
async fn a_finished_video_becomes_news_about_its_order() {
    let ready =
        |data: &str| ("order.video_ready".to_owned(), Some("order_7".to_owned()), data.to_owned());
    for urls in [
        r#""url": "https://x.test/v.mp4""#,
        r#""video_url": "https://x.test/v.mp4""#,
        r#""video_url": "old", "url": "https://x.test/v.mp4""#,
    ] {
        let body = format!(
            r#"{{"event_type": "avatar_video.success", "event_data": {{"video_id": "v1", {urls},
                "duration": 45.2, "thumbnail_url": null, "callback_id": "order_7"}}}}"#
        );
        let done = video_orders("avatar_video.success", &body).await;
        assert_eq!(log(&done), ["info: order.video_ready for order order_7"]);
        assert_eq!(
            emitted(done),
            ready(r#"{"video_id":"v1","url":"https://x.test/v.mp4","currency":"EUR"}"#)
        );
    }
    let body = r#"{"event_data": {"video_id": "v1", "url": "u", "callback_id": "order_7"}}"#;
    let plain =
        example("video-orders").invoke(call_with(event("avatar_video.success", body))).await;
    assert_eq!(emitted(plain), ready(r#"{"video_id":"v1","url":"u"}"#));
    let body = r#"{"event_data": {"video_id": "v1", "url": "u"}}"#;
    let (_, subject, _) = emitted(video_orders("avatar_video.success", body).await);
    assert_eq!(
        subject.as_deref(),
        Some("order_1"),
        "without a callback id, the subject of the event it came from"
    );
}

#[tokio::test]
async fn a_failed_video_becomes_news_about_its_order() {
    for errors in
        [r#""msg": "too long""#, r#""error": "too long""#, r#""error": "old", "msg": "too long""#]
    {
        let body = format!(
            r#"{{"event_data": {{"video_id": "v1", {errors}, "callback_id": "order_7"}}}}"#
        );
        let done = video_orders("avatar_video.fail", &body).await;
        let data = r#"{"video_id":"v1","error":"too long"}"#.to_owned();
        assert_eq!(
            emitted(done),
            ("order.video_failed".to_owned(), Some("order_7".to_owned()), data)
        );
    }
}

#[tokio::test]
async fn video_orders_rejects_what_cannot_succeed_and_retries_what_may() {
    let verdict = async |kind: &str, body: &str| video_orders(kind, body).await.verdict;
    let rejected = |reason: &str| Verdict::Reject(reason.to_owned());
    let no_id = rejected("the payload has no event_data.video_id");
    assert_eq!(verdict("avatar_video.success", r#"{"event_data": {"url": "u"}}"#).await, no_id);
    assert_eq!(verdict("avatar_video.fail", r#"{"event_data": {"video_id": ""}}"#).await, no_id);
    let no_url = rejected("the payload has no event_data.url");
    assert_eq!(
        verdict("avatar_video.success", r#"{"event_data": {"video_id": "v"}}"#).await,
        no_url
    );
    for body in ["", "[", "{}", r#"{"event_data": {"video_id": 7}}"#, &"[".repeat(100_000)] {
        let verdict = verdict("avatar_video.success", body).await;
        assert!(
            matches!(&verdict, Verdict::Reject(why) if why.starts_with("the body is not")),
            "{verdict:?}"
        );
    }
    let outage = verdict("avatar_video.success", r#"{"event_data": {"simulate": "outage"}}"#).await;
    let reason = "simulated outage (attempt 3 of 8)".to_owned();
    assert_eq!(outage, Verdict::Retry { reason, after_ms: None });
    let other = video_orders("video_translate.success", "not read at all").await;
    assert_eq!(log(&other), ["info: nothing to do for an event of type video_translate.success"]);
    assert_eq!(other.verdict, Verdict::Ok(Vec::new()));
}

#[tokio::test]
async fn audit_takes_anything_and_logs_one_line() {
    let plugin = example("audit");
    assert!(plugin.imports().iter().any(|import| import.starts_with("hookbox:plugin/log@")));
    for (body, bytes) in [("", 0), ("\u{0}\u{1b}", 2), ("{}", 2)] {
        let done = plugin.invoke(call_with(event("a.b", body))).await;
        let line = format!("info: a.b subject=order_1 id={} bytes={bytes}", event("a.b", body).id);
        assert_eq!((done.verdict.clone(), log(&done)), (Verdict::Ok(Vec::new()), vec![line]));
    }
}
