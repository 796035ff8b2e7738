//! The troubles: on the overview, in the head of every page, and in the API.

use std::sync::mpsc::channel;

use hookbox::event::Outcome;
use hookbox::series::{Meter, OpenCount, OwnerKind, STEP_MS};
use hookbox::store::{ScheduleChange, ScheduleMark};
use serde_json::json;

use super::pages::{good, page};
use super::site::{Console, Ends, event, site};
use crate::support::NOW_MS;

const MINUTE_MS: i64 = 60_000;

/// The list of what wants attention, as the page shows it.
fn list(text: &str) -> &str {
    let list = text.split("<ul class=\"trouble\">").nth(1).expect("a list of troubles");
    list.split("</ul>").next().unwrap()
}

/// An hour in which every request of `github` is refused.
fn refusing(site: &Console) {
    let meter = site.admin.series.meter(OwnerKind::Source, "github");
    for step in (0..360).rev() {
        meter.count(Meter::REFUSED, 1);
        site.admin.series.sample(NOW_MS - step * STEP_MS);
    }
}

#[tokio::test]
async fn a_source_that_refuses_everything_for_an_hour_is_trouble_still() {
    let site = site();
    refusing(&site);
    let text = good(&site, "/").await;
    let says = "60 of 60 requests refused in the last 10 min (usual: 60)";
    assert!(list(&text).contains(says), "{text}");
    assert!(list(&text).contains("what the provider sent is not stored"), "{text}");
    assert!(list(&text).contains("360 in the last hour"), "a trend: {text}");
    assert!(list(&text).contains("href=\"/sources/github\">see why<"), "{text}");
    assert!(text.contains("topics=\"stats,plugins,failures,sources\""), "{text}");
}

#[tokio::test]
async fn deliveries_that_wait_between_attempts_that_fail_are_trouble() {
    let site = site();
    site.append(event("video.done", "order_1", b"{}", &["audit"])).await;
    site.work("audit", Ends::Waits).await;
    site.admin.clock.set(NOW_MS + MINUTE_MS / 2);
    let text = good(&site, "/").await;
    let says = "1 delivery waits for another attempt: no such order";
    assert!(list(&text).contains(says), "{text}");
    assert!(list(&text).contains("attempts failed from 02:40 to 02:40 UTC"), "{text}");
    assert!(list(&text).contains("href=\"/plugins/audit/pause\">pause …<"), "{text}");
}

#[tokio::test]
async fn deliveries_that_are_due_and_not_begun_are_trouble_after_a_minute() {
    let site = site();
    site.append(event("video.done", "order_1", b"{}", &["audit"])).await;
    site.admin.clock.set(NOW_MS + MINUTE_MS);
    assert!(!good(&site, "/").await.contains("not begun"));
    site.admin.clock.set(NOW_MS + 3 * MINUTE_MS);
    let text = good(&site, "/").await;
    let says = "1 delivery is ready and not begun, the oldest for more than 60 s";
    assert!(list(&text).contains(says), "{text}");
    let link = "href=\"/deliveries?state=ready&#38;plugin=audit\">look at them<";
    assert!(list(&text).contains(link), "{text}");
    let row = text.split("<tr data-row=\"audit\">").nth(1).unwrap().split("</tr>").next().unwrap();
    assert!(row.contains("<td class=\"n\">3 min</td>"), "the age in the table: {row}");
    // A paused plugin is told of once.
    let pause = json!({ "reason": "a look" });
    let (status, _) = site.ask("POST", "/api/v1/plugins/audit/pause", Some(pause)).await;
    assert!(status.is_success());
    let text = good(&site, "/").await;
    assert!(!list(&text).contains("not begun"), "{text}");
    assert!(list(&text).contains("href=\"/plugins/audit/resume\">let it go on …<"), "{text}");
    assert!(list(&text).contains("events for it are stored, and none is handled"), "{text}");
}

#[tokio::test]
async fn a_schedule_whose_tick_nobody_makes_is_trouble_and_can_be_run() {
    let site = site();
    let spec = site.admin.config.load().schedules.get("report").unwrap().spec_hash();
    let to = ScheduleMark { spec, next_ms: NOW_MS - 5 * MINUTE_MS, active: true };
    let change = ScheduleChange::Begin { name: "report".into(), from: None, to };
    assert!(site.admin.store.change_schedule(change).await.unwrap());
    let text = good(&site, "/").await;
    assert!(list(&text).contains("its tick is late"), "{text}");
    assert!(list(&text).contains("since 02:35 UTC"), "{text}");
    assert!(list(&text).contains("href=\"/schedules/report/run\">run it now …<"), "{text}");
}

#[tokio::test]
async fn the_api_has_what_the_page_has_and_every_page_says_how_much_that_is() {
    let site = site();
    assert_eq!(site.get("/api/v1/troubles").await, json!({ "items": [], "not_known": [] }));
    assert!(!good(&site, "/events").await.contains("trouble"));
    refusing(&site);
    site.append(event("video.done", "order_1", b"{}", &["audit"])).await;
    site.work("audit", Ends::Dead).await;
    let found = site.get("/api/v1/troubles").await;
    let items = found["items"].as_array().unwrap();
    assert_eq!(items.len(), 2, "{found}");
    assert_eq!((&items[0]["part"], &items[0]["name"]), (&json!("plugin"), &json!("audit")));
    assert_eq!(items[0]["detail"], "1 dead letter waits for a decision: no such order");
    assert_eq!((&items[0]["grave"], &items[1]["grave"]), (&json!(true), &json!(false)));
    assert_eq!(items[1]["trend"].as_array().unwrap().len(), 12);
    assert!(items[1]["since"].is_string() && items[1]["until"].is_null(), "{found}");
    for path in ["/", "/events", "/settings", "/map"] {
        let text = good(&site, path).await;
        assert!(text.contains("Overview <span class=\"badge bad\">2 troubles</span>"), "{path}");
    }
    let text = good(&site, "/").await;
    assert!(text.contains(">hookbox troubles</code>"), "{text}");
    assert!(text.contains("/api/v1/troubles&#39;</code>"), "{text}");
}

/// Runs a test on a runtime on which the store can answer one question at a time.
fn with_one_reader(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.max_blocking_threads(1).enable_all().build().unwrap().block_on(test);
}

#[test]
fn the_overview_shows_what_was_known_while_the_store_answers_somebody_else() {
    with_one_reader(async {
        let site = site();
        for _ in 0..5 {
            site.append(event("video.done", "order_1", b"{}", &["audit"])).await;
        }
        site.work("audit", Ends::Dead).await;
        while good(&site, "/").await.contains("id=\"not-known\"") {}
        let (go, gone) = channel::<()>();
        // As a search that goes on.
        let search = tokio::task::spawn_blocking(move || gone.recv().is_err());
        site.append(event("video.done", "order_1", b"{}", &["orders"])).await;
        for path in ["/", "/?window=14d"] {
            let text = good(&site, path).await;
            let says = "5 dead letters wait for a decision: no such order";
            assert!(list(&text).contains(says), "{path}: {text}");
            let note = text.split("id=\"not-known\"").nth(1).expect("a note");
            let note = note.split("</p>").next().unwrap();
            assert!(note.contains("why attempts fail (of 02:40 UTC is shown)"), "{note}");
            assert!(note.contains("when deliveries are due"), "{note}");
            assert_eq!(note.contains("more than an hour ago"), path.contains("14d"), "{note}");
        }
        drop(go);
        assert!(search.await.unwrap());
        // The answer comes in a moment.
        while good(&site, "/").await.contains("id=\"not-known\"") {}
    });
}

#[test]
fn the_overview_of_a_store_that_has_never_answered_says_what_is_not_known() {
    with_one_reader(async {
        let site = site();
        site.append(event("video.done", "order_1", b"{}", &["audit"])).await;
        site.work("audit", Ends::Dead).await;
        let (go, gone) = channel::<()>();
        let search = tokio::task::spawn_blocking(move || gone.recv().is_err());
        let text = good(&site, "/").await;
        let says = "1 dead letter waits for a decision <span class=\"dim\">· they are not handled";
        assert!(list(&text).contains(says), "{text}");
        assert!(text.contains("Not known now: why attempts fail, "), "{text}");
        assert!(text.contains("href=\"/events\">look at the newest event<"), "{text}");
        drop(go);
        assert!(search.await.unwrap());
    });
}

#[tokio::test]
async fn the_backlog_has_its_curves_and_the_store_its_place() {
    let site = site();
    let note = |minutes: i64, ready, waiting| {
        let at_ms = NOW_MS - minutes * MINUTE_MS;
        let open = ready + waiting;
        site.admin.series.note_open(OpenCount { at_ms, open, ready, waiting });
    };
    note(30, 70, 1);
    site.admin
        .store
        .keep_samples(NOW_MS - 30 * MINUTE_MS, site.admin.series.increments())
        .await
        .unwrap();
    note(0, 4, 9);
    for (window, steps) in [("1h", 120), ("24h", 96), ("14d", 112)] {
        let found = site.get(&format!("/api/v1/stats/history?window={window}")).await;
        for (name, most, last) in [("ready", 70.0, 4.0), ("waiting", 9.0, 9.0)] {
            let values = found["series"][name].as_array().unwrap();
            assert_eq!(values.len(), steps);
            let known: Vec<_> = values.iter().filter_map(serde_json::Value::as_f64).collect();
            assert_eq!(known.iter().copied().fold(0.0, f64::max), most, "{window} {name}");
            // In the longest window both are of one step.
            let last = if window == "14d" { most } else { last };
            assert_eq!(known.last().copied(), Some(last), "{window} {name}");
        }
    }
    let text = good(&site, "/").await;
    let chart = text.split("id=\"chart-backlog\"").nth(1).expect("a chart");
    assert!(chart.contains("now 13 ready or waiting, mean 42, peak 71"), "{chart}");
    assert!(text.contains("<dt>size of the store</dt>"), "{text}");
    assert!(text.contains("<dt>free of "), "{text}");
    assert!(text.contains("<span data-utc>UTC, a step is 2 min</span>"), "{text}");
}

#[tokio::test]
async fn an_hour_in_which_everything_happened_keeps_the_overview_light() {
    let site = site();
    let (github, audit) = (
        site.admin.series.meter(OwnerKind::Source, "github"),
        site.admin.series.meter(OwnerKind::Plugin, "audit"),
    );
    for step in (0..360).rev() {
        let at_ms = NOW_MS - step * STEP_MS;
        let many = 10_000 + step.unsigned_abs();
        for (kind, part) in [(Meter::ACCEPTED, 1), (Meter::DUPLICATE, 100), (Meter::REFUSED, 50)] {
            github.count(kind, many / part);
        }
        for (outcome, part) in [(Outcome::Ok, 1), (Outcome::Retry, 20)] {
            audit.count(usize::from(outcome.code()), many / part);
        }
        for ms in 0..100 {
            let took = std::time::Duration::from_micros(100 + ms * ms * 97);
            github.took(took);
            audit.took(took);
        }
        site.admin.series.sample(at_ms);
        let (ready, waiting) = (1_000 + step.unsigned_abs(), 2_000);
        let count = OpenCount { at_ms, open: ready + waiting, ready, waiting };
        site.admin.series.note_open(count);
    }
    site.append(event("video.done", "order_1", b"{}", &["audit"])).await;
    site.work("audit", Ends::Dead).await;
    let text = good(&site, "/").await;
    let parts = ["page.css", "page.js", "hb-copy.js", "hb-keys.js", "hb-live.js", "hb-time.js"];
    let hash = text.split("/assets/").nth(1).unwrap().split('/').next().unwrap().to_owned();
    let mut bytes = text.len();
    for part in parts {
        let asset = page(&site, &format!("/assets/{hash}/{part}")).await;
        assert!(asset.status.is_success() && !asset.text.is_empty(), "{part}");
        bytes += asset.text.len();
    }
    assert!(bytes <= 100_000, "{bytes} bytes, {} of the page alone", text.len());
}
