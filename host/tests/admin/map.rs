//! The map as a page: failures, cycles and types without a route are drawn, and are in the table.

use axum::http::StatusCode;
use hookbox::series::PairKind;

use super::pages::{good, page};
use super::site::{Console, site};
use crate::support::NOW_MS;

/// A host whose plugins give each other events, and one of them fails.
fn busy() -> Console {
    let site = site();
    let count = |kind, from: &str, to: &str, times: usize, failed: usize| {
        let pair = site.admin.series.pairs().of(kind, from, to);
        (0..times).for_each(|n| pair.count(n < failed));
    };
    count(PairKind::Received, "github", "video.done", 9, 0);
    count(PairKind::Received, "github", "push", 4, 0);
    count(PairKind::Handled, "video.done", "audit", 9, 3);
    count(PairKind::Handled, "video.done", "orders", 9, 0);
    count(PairKind::Emitted, "orders", "video.done", 2, 0);
    site
}

#[tokio::test]
async fn a_failing_edge_a_cycle_and_an_unrouted_type_are_drawn_and_in_the_table() {
    let site = busy();
    let text = good(&site, "/map").await;
    let drawing = text.split("<svg class=\"map\"").nth(1).unwrap().split("</svg>").next().unwrap();
    let table = text.split("<tbody>").nth(1).unwrap().split("</tbody>").next().unwrap();
    assert!(drawing.contains("class=\"e e-bad\"") && drawing.contains("✕ 3</text>"), "{drawing}");
    assert!(drawing.contains("closes a cycle") && drawing.contains(">no route<"), "{drawing}");
    assert!(drawing.contains("66.6 % of attempts succeeded, 1 h"), "{drawing}");
    let map = site.get("/api/v1/map").await;
    let edges = map["edges"].as_array().unwrap();
    let unrouted = map["nodes"].as_array().unwrap().iter().filter(|it| it["unrouted"] == true);
    let unrouted = unrouted.count();
    assert!(unrouted >= 1, "{map}");
    assert_eq!(drawing.matches("class=\"near\"").count(), edges.len());
    assert_eq!(table.matches("<tr ").count(), edges.len() + unrouted);
    for edge in edges {
        let name = |end: &str| edge[end].as_str().unwrap().split_once(':').unwrap().1.to_owned();
        let row = format!("data-row=\"{} {}\"", name("from"), name("to"));
        assert!(table.contains(&row), "{row}: {table}");
    }
    assert!(table.contains("push no route"), "{table}");
    let row = |text: &str| table.find(text).unwrap_or_else(|| panic!("{text}: {table}"));
    assert!(row("video.done audit") < row("github push"), "what no route takes comes last");
    assert!(table.contains("<span class=\"bad\">3</span>"), "{table}");
}

#[tokio::test]
async fn failures_of_before_are_no_colour_of_now_and_have_their_time() {
    let site = busy();
    site.get("/api/v1/map").await;
    site.admin.clock.set(NOW_MS + 10 * 60_000);
    let text = good(&site, "/map").await;
    let drawing = text.split("<svg class=\"map\"").nth(1).unwrap().split("</svg>").next().unwrap();
    assert!(!drawing.contains("bad"), "{drawing}");
    assert!(drawing.contains("✕ 3</text>") && drawing.contains(">02:40</text>"), "{drawing}");
    assert!(text.contains("3 <span class=\"dim\">02:40</span>"), "{text}");
    let map = site.get("/api/v1/map").await;
    let edges = map["edges"].as_array().unwrap();
    let failed = edges.iter().find(|edge| edge["failed"] == 3).unwrap();
    let at = "2026-02-02T02:40:00.120Z";
    assert_eq!((&failed["failed_from"], &failed["failed_to"]), (&at.into(), &at.into()));
}

#[tokio::test]
async fn events_that_no_plugin_gets_are_trouble() {
    let site = busy();
    let text = good(&site, "/").await;
    assert!(text.contains("Trouble (1)"), "{text}");
    assert!(
        text.contains("4 events of the last hour go to no plugin: no route takes push"),
        "{text}"
    );
    assert!(text.contains("href=\"/events?state=unrouted\""), "{text}");
}

#[tokio::test]
async fn a_map_of_too_many_nodes_is_folded_or_is_a_table_only() {
    let site = busy();
    let pairs = site.admin.series.pairs();
    for n in 0..80 {
        pairs.of(PairKind::Received, "github", &format!("issue.t{n}")).count(false);
    }
    let map = site.get("/api/v1/map").await;
    assert_eq!((&map["folded"], &map["truncated"]), (&80.into(), &false.into()));
    assert!(map["nodes"].as_array().unwrap().len() <= 60);
    let text = good(&site, "/map").await;
    assert!(text.contains("issue.*") && text.contains("80 types are shown as their prefix"));
    for n in 0..80 {
        pairs.of(PairKind::Received, "github", &format!("p{n}.t")).count(false);
    }
    let text = good(&site, "/map").await;
    assert!(!text.contains("<svg class=\"map\"") && text.contains("too many to draw"), "{text}");
    assert!(text.len() <= 100 * 1024, "{}", text.len());
}

#[tokio::test]
async fn a_focus_and_a_window_are_in_the_address() {
    let site = busy();
    let text = good(&site, "/map?focus=type:push").await;
    assert!(text.contains("focus: type:push") && !text.contains(">orders<"), "{text}");
    let day = good(&site, "/map?window=24h").await;
    assert!(day.contains("hookbox routes --window 24h"), "{day}");
    assert_eq!(page(&site, "/map?focus=plugin:nobody").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(page(&site, "/map?window=2h").await.status, StatusCode::BAD_REQUEST);
}
