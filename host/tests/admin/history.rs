//! The time series of what happened, and the stream of hints.

use std::time::Duration;

use hookbox::event::Outcome;
use hookbox::series::{Mark, Meter, OwnerKind};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::pages::good;
use super::site::{event, site};
use crate::support::NOW_MS;

fn last(history: &Value, series: &str) -> Value {
    history["series"][series].as_array().unwrap().last().unwrap().clone()
}

fn sum(history: &Value, series: &str) -> f64 {
    history["series"][series].as_array().unwrap().iter().filter_map(Value::as_f64).sum()
}

#[tokio::test]
async fn the_last_hour_shows_what_was_counted_in_each_step() {
    let site = site();
    let series = &site.admin.series;
    let (heygen, audit) =
        (series.meter(OwnerKind::Source, "github"), series.meter(OwnerKind::Plugin, "audit"));
    heygen.count(Meter::ACCEPTED, 7);
    heygen.took(Duration::from_millis(2));
    series.sample(NOW_MS - 60_000);
    heygen.count(Meter::ACCEPTED, 2);
    heygen.count(Meter::REFUSED, 1);
    audit.count(usize::from(Outcome::Trap.code()), 3);
    series.sample(NOW_MS);
    series.mark(Mark {
        at_ms: NOW_MS - 60_000,
        what: "config",
        name: String::new(),
        result: "taken",
    });
    let all = site.get("/api/v1/stats/history").await;
    assert_eq!((&all["window"], &all["step_s"]), (&json!("1h"), &json!(30)));
    assert_eq!(all["series"]["accepted"].as_array().unwrap().len(), 120);
    assert_eq!((last(&all, "accepted"), sum(&all, "accepted")), (json!(2.0), 9.0));
    assert_eq!((last(&all, "trap"), last(&all, "ack_p50_ms")), (json!(3.0), Value::Null));
    assert!((sum(&all, "ack_p99_ms") - 2.0).abs() < 0.2, "{all}");
    assert_eq!(all["marks"][0]["result"], "taken");
    let one = site.get("/api/v1/stats/history?source=github&series=refused").await;
    assert_eq!(one["series"].as_object().unwrap().len(), 1);
    assert_eq!(last(&one, "refused"), json!(1.0));
    let plugin = site.get("/api/v1/stats/history?plugin=audit").await;
    assert_eq!(last(&plugin, "trap"), json!(3.0));
}

#[tokio::test]
async fn longer_windows_show_what_was_stored_and_what_has_come_since() {
    let site = site();
    let meter = site.admin.series.meter(OwnerKind::Source, "github");
    meter.count(Meter::ACCEPTED, 5);
    meter.took(Duration::from_millis(4));
    let increments = site.admin.series.increments();
    site.admin.series.sample(NOW_MS - 3_600_000);
    site.admin.store.keep_samples(NOW_MS - 3_600_000, increments).await.unwrap();
    meter.count(Meter::ACCEPTED, 1);
    site.admin.series.sample(NOW_MS);
    for (window, steps) in [("24h", 96), ("14d", 112)] {
        let found = site.get(&format!("/api/v1/stats/history?window={window}")).await;
        assert_eq!(found["series"]["accepted"].as_array().unwrap().len(), steps);
        assert_eq!(sum(&found, "accepted"), 6.0, "nothing is counted twice: {found}");
        assert!((sum(&found, "ack_p50_ms") - 4.0).abs() < 0.3, "{found}");
        let since = jiff::Timestamp::from_millisecond(NOW_MS - 3_600_000).unwrap();
        assert_eq!(found["since"], format!("{since:.3}"), "nothing was counted before: {window}");
    }
    let overview = good(&site, "/?window=24h").await;
    assert!(overview.contains(", mean 2, peak 5"), "of the last hour alone: {overview}");
}

#[tokio::test]
async fn a_question_about_history_that_has_no_answer_is_refused() {
    let site = site();
    for (query, status, says) in [
        ("window=2h", 400, "`1h`, `24h` and `14d`"),
        ("series=acepted", 400, "accepted"),
        ("source=github&plugin=audit", 400, "one of them"),
        ("plugin=audti", 404, "did you mean `audit`"),
        ("widow=1h", 400, "window"),
    ] {
        let path = format!("/api/v1/stats/history?{query}");
        let (found, detail) = site.refused("GET", &path, None).await;
        assert_eq!(found, status, "{query}: {detail}");
        assert!(detail.contains(says), "{query}: {detail}");
    }
}

#[tokio::test]
async fn a_commit_is_a_hint_for_the_topics_that_a_page_shows() {
    let site = site();
    let mut stream = site.stream("/api/v1/stream?topics=events,plugins", &[]).await;
    site.append(event("video.done", "order_1", b"{}", &["audit"])).await;
    let mut seen = String::new();
    while !(seen.contains(r#"{"topic":"events"}"#) && seen.contains(r#"{"topic":"plugins"}"#)) {
        let frame = stream.frame().await.expect("it goes on").unwrap();
        seen += std::str::from_utf8(&frame.into_data().unwrap()).unwrap();
    }
    assert!(!seen.contains("stats"), "only what was asked for: {seen}");
    assert!(seen.contains("id: "), "{seen}");
}

#[tokio::test]
async fn one_event_is_told_of_when_its_tree_stands_otherwise_and_for_nothing_else() {
    let site = site();
    let [own, other] =
        ["order_1", "order_2"].map(|subject| event("video.done", subject, b"{}", &["audit"]));
    let own = site.append(own).await;
    let path = format!("/api/v1/stream?topics=event:{own},events");
    let mut stream = site.stream(&path, &[]).await;
    let mut seen = String::new();
    let mut read = async |until: &str| {
        while !seen.contains(until) {
            let frame = stream.frame().await.expect("it goes on").unwrap();
            seen += std::str::from_utf8(&frame.into_data().unwrap()).unwrap();
        }
        std::mem::take(&mut seen)
    };
    site.append(other).await;
    let hints = read(r#"{"topic":"events"}"#).await;
    assert!(!hints.contains("event:"), "{hints}");
    assert_eq!(site.ask("POST", &format!("/api/v1/events/{own}/cancel"), None).await.0, 200);
    read(&format!(r#"{{"topic":"event:{own}"}}"#)).await;
    for wrong in [
        "event:x",
        "operation:7",
        "event:evt_0000000000000001,event:evt_0000000000000002,event:evt_0000000000000003,operation:op_1,operation:op_2",
    ] {
        let (status, detail) =
            site.refused("GET", &format!("/api/v1/stream?topics={wrong}"), None).await;
        assert_eq!(status, 400, "{wrong}: {detail}");
    }
}

#[tokio::test]
async fn a_client_that_comes_back_is_told_of_everything_at_once() {
    let site = site();
    let mut stream =
        site.stream("/api/v1/stream?topics=sources,stats", &[("last-event-id", "7")]).await;
    let frame = stream.frame().await.unwrap().unwrap().into_data().unwrap();
    let text = std::str::from_utf8(&frame).unwrap();
    assert!(text.contains("sources") && text.contains("stats"), "{text}");
}

#[tokio::test]
async fn streams_end_when_the_host_stops_and_more_than_sixteen_are_refused() {
    let site = site();
    let mut streams = Vec::new();
    for _ in 0..16 {
        streams.push(site.stream("/api/v1/stream", &[]).await);
    }
    let (status, detail) = site.refused("GET", "/api/v1/stream", None).await;
    assert_eq!(status, 503, "{detail}");
    let (status, detail) = site.refused("GET", "/api/v1/stream?topics=event", None).await;
    assert_eq!(status, 400, "{detail}");
    assert!(detail.contains("did you mean `events`"), "{detail}");
    site.admin.closing.cancel();
    for mut stream in streams {
        while let Some(frame) = stream.frame().await {
            frame.unwrap();
        }
    }
}
