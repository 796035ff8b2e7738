//! The overview: when a trouble began, what was changed before it, and how the backlog changes.

use hookbox::event::Outcome;
use hookbox::series::{Mark, Meter, OpenCount, OwnerKind, STEP_MS};
use serde_json::json;

use super::pages::good;
use super::site::{Console, Ends, event, site};
use crate::support::NOW_MS;

const MINUTE_MS: i64 = 60_000;

/// Samples of the hour up to `to_ms`; where `is_bad` holds an attempt of `audit` fails.
fn hour(site: &Console, to_ms: i64, is_bad: impl Fn(i64) -> bool) {
    let meter = site.admin.series.meter(OwnerKind::Plugin, "audit");
    for step in (0..360).rev() {
        let at_ms = to_ms - step * STEP_MS;
        if is_bad(at_ms) {
            meter.count(usize::from(Outcome::Retry.code()), 1);
        }
        site.admin.series.sample(at_ms);
    }
}

#[tokio::test]
async fn a_trouble_has_its_beginning_its_end_and_the_change_before_it() {
    let site = site();
    site.append(event("video.done", "order_1", b"{}", &["audit"])).await;
    site.work("audit", Ends::Dead).await;
    let mark = |minutes: i64, what, name: &str, result| {
        let at_ms = NOW_MS - minutes * MINUTE_MS;
        site.admin.series.mark(Mark { at_ms, what, name: name.to_owned(), result });
    };
    mark(50, "plugin", "audit", "kept");
    mark(42, "plugin", "audit", "loaded");
    mark(41, "config", "", "taken");
    hour(&site, NOW_MS, |at_ms| {
        (NOW_MS - 39 * MINUTE_MS..=NOW_MS - 24 * MINUTE_MS).contains(&at_ms)
    });
    let text = good(&site, "/").await;
    assert!(text.contains("1 dead letter waits for a decision: no such order"), "{text}");
    let time = "attempts failed from 02:00 to 02:16 UTC, the last one <hb-time>";
    assert!(text.contains(time) && !text.contains("over:"), "{text}");
    let retry = "/operations/new?action=retry&#38;state=dead&#38;plugin=audit";
    assert!(text.contains(&format!("href=\"{retry}\">retry …<")), "{text}");
    assert!(text.contains("2 min before: a new file of audit was loaded"), "{text}");
    assert!(text.contains("since 02:38 UTC, <hb-time>"), "the start of the host: {text}");
}

#[tokio::test]
async fn a_trouble_that_goes_on_names_who_acted_shortly_before_it() {
    let site = site();
    site.append(event("video.done", "order_1", b"{}", &["audit"])).await;
    let pause = json!({ "reason": "a look" });
    let (status, _) = site.ask("POST", "/api/v1/plugins/orders/pause", Some(pause)).await;
    assert!(status.is_success());
    let now_ms = NOW_MS + 3 * MINUTE_MS;
    site.admin.clock.set(now_ms);
    hour(&site, now_ms, |at_ms| at_ms > now_ms - MINUTE_MS);
    let text = good(&site, "/").await;
    assert!(text.contains("since 02:42 UTC, <hb-time>"), "{text}");
    assert!(text.contains("2 min before: plugins.pause orders by local"), "{text}");
    assert!(!text.contains("over: the last one"), "{text}");
}

#[tokio::test]
async fn dead_letters_of_before_the_hour_have_the_time_of_their_failures() {
    let site = site();
    site.append(event("video.done", "order_1", b"{}", &["audit"])).await;
    site.work("audit", Ends::Dead).await;
    site.admin.clock.set(NOW_MS + 3 * 60 * MINUTE_MS);
    let text = good(&site, "/").await;
    let time = "attempts failed from 02:40 to 02:40 UTC, the last one <hb-time>";
    assert!(text.contains(time), "{text}");
    assert!(text.contains("3 h ago"), "{text}");
}

#[tokio::test]
async fn the_backlog_has_its_change_and_deliveries_the_time_they_wait() {
    let site = site();
    for _ in 0..5 {
        site.append(event("video.done", "order_1", b"{}", &["audit"])).await;
    }
    let open = |minutes, open| {
        let at_ms = NOW_MS - minutes * MINUTE_MS;
        OpenCount { at_ms, open, ready: open, ..OpenCount::default() }
    };
    site.admin.series.note_open(open(15, 3));
    site.admin.series.note_open(open(1, 9));
    let text = good(&site, "/").await;
    assert!(text.contains("<dt>backlog, +2 in 15 min</dt><dd class=\"\">5</dd>"), "{text}");
    let oldest = |age: &str| format!("<dt>age of the oldest ready</dt><dd class=\"\">{age}</dd>");
    assert!(text.contains(&oldest("0 ms")), "{text}");
    assert!(text.contains("backlog = ready + leased + waiting"), "{text}");
    assert!(text.contains("as of <time datetime=\"2026-02-02T02:40:00.120Z\">02:40:00</time> UTC"));
    site.work("audit", Ends::Waits).await;
    let text = good(&site, "/").await;
    assert!(text.contains("<dt>waiting, the next for 1 min</dt>"), "{text}");
    assert!(text.contains(&oldest("–")), "none is ready: {text}");
}

#[tokio::test]
async fn intake_and_attempts_have_the_same_words_on_every_page() {
    let site = site();
    let meter = site.admin.series.meter(OwnerKind::Source, "github");
    for kind in [Meter::ACCEPTED, Meter::DUPLICATE, Meter::REFUSED] {
        meter.count(kind, 1);
    }
    let attempts = site.admin.series.meter(OwnerKind::Plugin, "audit");
    attempts.count(usize::from(Outcome::Ok.code()), 1);
    site.admin.series.sample(NOW_MS);
    let overview = good(&site, "/").await;
    for word in ["accepted", "duplicate", "refused", "attempts succeeded"] {
        let tile = format!("<dt>{word}</dt><dd class=\"\">1</dd>");
        assert!(overview.contains(&tile), "{word}: {overview}");
    }
    for text in ["now 3 a minute, mean 3, peak 3", "UTC, a step is 1 min", "> succeeded</span>"] {
        assert!(overview.contains(text), "{text}: {overview}");
    }
    assert!(overview.contains("1 accepted in the last 10 s"), "{overview}");
    let map = good(&site, "/map").await;
    assert!(map.contains("✕ 1 refused in 1 h") && map.contains("in the last hour"), "{map}");
    assert!(good(&site, "/map?window=24h").await.contains("in the last 24 h"));
    for path in ["/", "/map", "/sources", "/plugins/audit"] {
        let text = good(&site, path).await;
        for word in ["/s<", "handlers", ">handled", ">duplicates<", ">running<", "% ok", ">ok<"] {
            assert!(!text.contains(word), "{path} says {word}");
        }
    }
}

#[tokio::test]
async fn the_page_of_an_event_has_the_time_and_the_reason_of_each_attempt() {
    let site = site();
    let id = site.append(event("video.done", "order_1", b"{}", &["audit", "orders"])).await;
    site.work("audit", Ends::Waits).await;
    site.work("orders", Ends::Done).await;
    let text = good(&site, &format!("/events/{id}")).await;
    let tries = text.split("<table class=\"tries\">").nth(1).expect("a table of attempts");
    let tries = tries.split("</table>").next().unwrap();
    assert_eq!(tries.matches("<tr>").count(), 3, "{tries}");
    for part in [">02:40:00.120</time>", "audit #1", "no such order", ">1.50 ms<", "orders #1"] {
        assert!(tries.contains(part), "{part}: {tries}");
    }
    assert!(text.contains("this event and 1 other, 2 deliveries in all:"), "{text}");
    assert!(tries.contains("✕</span> failed, to be retried</span>"), "{tries}");
    let own = good(&site, &format!("/events/{id}?tab=attempts")).await;
    assert_eq!(own.matches(" class=\"attempt\">").count(), 2, "as many as the tab says");
    assert!(own.contains("</span> failed (retry)</span> in "), "{own}");
    for action in ["retry\">Retry now …", "cancel\">Cancel …"] {
        assert_eq!(text.matches(action).count(), 1, "where the delivery stands: {text}");
    }
    assert!(text.contains("2 of this event") && text.contains(">received "), "{text}");
}
