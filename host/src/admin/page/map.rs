//! The map: how does it hang together, and where does it hurt?

use std::collections::HashMap;
use std::sync::Arc;

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::frame::PageFrame;
use super::parts::html::Html;
use super::parts::link::{Link, word};
use super::parts::when::{clock, when_about};
use super::request::Asked;
use super::{html, params};
use crate::admin::map::{EdgeJson, MapJson, NodeJson, show_map};
use crate::admin::params::MapQuery;
use crate::admin::problem::ProblemJson;
use crate::admin::state::Admin;
use crate::series::Burst;
use crate::text::{grouped, three_digits};

mod drawing;

/// The kinds of edges in the order of the table.
const KINDS: [&str; 4] = ["received", "routed", "gathered", "emitted"];

#[derive(Template)]
#[template(path = "map.html")]
struct MapPage {
    frame: PageFrame,
    windows: Vec<(&'static str, String, bool)>,
    /// The time of the counts.
    span: &'static str,
    /// The node in focus, and the address of the whole map.
    focus: Option<(String, String)>,
    remarks: Vec<String>,
    svg: Option<Html>,
    rows: Vec<MapRow>,
    /// The command that sends a first event, if nothing has come.
    first: Option<String>,
}

/// An edge in the table.
#[derive(Debug)]
struct MapRow {
    from: String,
    from_path: String,
    to: String,
    /// Where the focus is on the end; none for an end that is no node.
    to_path: Option<String>,
    kind: &'static str,
    pattern: String,
    count: String,
    rate: String,
    events: String,
    failed: Option<Html>,
    last: Option<Html>,
}

/// Shows the map.
pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    let query = asked.query::<MapQuery>()?;
    let focus = query.focus.clone();
    let Json(map) = show_map(State(Arc::clone(&admin)), params(query)).await?;
    let now_ms = admin.clock.now_ms();
    let frame = PageFrame::of(&admin, &asked, "map", "Map").await;
    let mut command = "hookbox routes".to_owned();
    if map.window != "1h" {
        command.push_str(&format!(" --window {}", map.window));
    }
    if let Some(focus) = &focus {
        command.push_str(&format!(" --focus {}", word(focus)));
    }
    let windows = ["1h", "24h"].map(|name| {
        let value = Some(name).filter(|name| *name != "1h");
        (name, asked.but("window", value), name == map.window)
    });
    let is_quiet = map.edges.iter().all(|edge| edge.count == 0);
    let source = admin.config.load().sources.keys().next().cloned();
    let first = source.map(|source| format!("hookbox sources {source} test"));
    let page = MapPage {
        frame: frame.same_as(command, asked.call("/api/v1/map")),
        windows: windows.into(),
        span: if map.window == "1h" { "hour" } else { "24 h" },
        focus: focus.map(|focus| (focus, asked.but("focus", None))),
        remarks: remarks(&map),
        svg: (!map.truncated && !map.nodes.is_empty()).then(|| drawing::svg(&map, now_ms)),
        rows: rows(&map, &asked, now_ms),
        first: if is_quiet { first } else { None },
    };
    html(StatusCode::OK, &page)
}

fn remarks(map: &MapJson) -> Vec<String> {
    let mut remarks = Vec::new();
    if map.folded > 0 {
        remarks.push(format!(
            "{} types are shown as their prefix, because there are more than 60 nodes.",
            map.folded
        ));
    }
    if map.truncated {
        remarks.push(
            "There are more than 60 nodes, too many to draw: the table has those of the busiest. The focus on one of them \
             shows what is around it."
                .to_owned(),
        );
    }
    remarks
}

/// The rows of the table: every edge, those to types without a route last, and every such type.
fn rows(map: &MapJson, asked: &Asked, now_ms: i64) -> Vec<MapRow> {
    let labels: HashMap<&str, &NodeJson> =
        map.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
    let label = |id: &str| labels.get(id).map_or(id, |node| node.label.as_str()).to_owned();
    let focus = |id: &str| asked.but("focus", Some(id));
    let mut edges: Vec<&EdgeJson> = map.edges.iter().collect();
    edges.sort_by_key(|edge| {
        let is_unrouted = labels.get(edge.to.as_str()).is_some_and(|node| node.unrouted);
        (is_unrouted, KINDS.iter().position(|kind| *kind == edge.kind))
    });
    let mut rows = Vec::new();
    for edge in edges {
        rows.push(MapRow {
            from: label(&edge.from),
            from_path: focus(&edge.from),
            to: label(&edge.to),
            to_path: Some(focus(&edge.to)),
            kind: edge.kind,
            pattern: edge.pattern.clone().unwrap_or_default(),
            count: count(edge),
            rate: rate(edge.count, map.window),
            events: events_of(edge),
            failed: (edge.failed > 0).then(|| failed(edge, now_ms)),
            last: edge.last_at.as_deref().map(|at| when_about(at, now_ms)),
        });
    }
    for node in map.nodes.iter().filter(|node| node.unrouted) {
        let came = arrived(map, &node.id);
        rows.push(MapRow {
            from: node.label.clone(),
            from_path: focus(&node.id),
            to: "no route".to_owned(),
            to_path: None,
            kind: "unrouted",
            pattern: String::new(),
            count: grouped(came),
            rate: rate(came, map.window),
            events: Link::to("/events")
                .with("type", &node.label)
                .with("state", "unrouted")
                .into_text(),
            failed: None,
            last: None,
        });
    }
    rows
}

/// The count of an edge; members of joins and batches are not counted. The page says once what is
/// counted: a word in each row would make a large map heavy.
fn count(edge: &EdgeJson) -> String {
    if edge.kind == "gathered" { "–".to_owned() } else { grouped(edge.count) }
}

/// Events of a type that came or were emitted.
fn arrived(map: &MapJson, id: &str) -> u64 {
    map.edges.iter().filter(|edge| edge.to == id).map(|edge| edge.count).sum()
}

/// A rate: all of a map are an hour, so that they can be compared.
fn rate(count: u64, window: &str) -> String {
    match (count, window) {
        (0, _) => "–".to_owned(),
        (_, "1h") => format!("{}/h", grouped(count)),
        _ => format!("{}/h", three_digits(count as f64 / 24.0)),
    }
}

/// The burst of an edge or a node from its beginning and its end.
fn burst(from: Option<&String>, to: Option<&String>) -> Option<Burst> {
    let ms = |text: &String| Some(text.parse::<jiff::Timestamp>().ok()?.as_millisecond());
    Some(Burst { from_ms: ms(from?)?, to_ms: ms(to?)? })
}

/// When attempts of an edge failed.
fn failing(edge: &EdgeJson) -> Option<Burst> {
    burst(edge.failed_from.as_ref(), edge.failed_to.as_ref())
}

/// The time of a burst that is over, in UTC: `17:33–17:48`.
fn over(burst: Burst, now_ms: i64) -> String {
    let (from, to) = (clock(burst.from_ms, now_ms), clock(burst.to_ms, now_ms));
    if from == to { from } else { format!("{from}–{to}") }
}

/// Failed attempts, with their time if that is over.
fn failed(edge: &EdgeJson, now_ms: i64) -> Html {
    let (mut html, count) = (Html::default(), grouped(edge.failed));
    match failing(edge).filter(|burst| !burst.is_on(now_ms)) {
        None => html.raw("<span class=\"bad\">").text(&count).raw("</span>"),
        Some(burst) => html
            .text(&count)
            .raw(format_args!(" <span class=\"dim\">{}</span>", over(burst, now_ms))),
    };
    html
}

/// The events that an edge stands for.
fn events_of(edge: &EdgeJson) -> String {
    let name = |id: &str| id.split_once(':').map(|(_, name)| name.to_owned()).unwrap_or_default();
    let source = |id: &str| match id.split_once(':') {
        Some(("plugin", name)) => format!("plugins/{name}"),
        Some(("schedule", name)) => format!("schedules/{name}"),
        Some(("join", name)) => format!("joins/{name}"),
        Some(("batch", name)) => format!("batches/{name}"),
        Some(("api", name)) => format!("api/{name}"),
        _ => name(id),
    };
    let events = Link::to("/events");
    match edge.kind {
        "routed" => events.with("type", &name(&edge.from)).with("plugin", &name(&edge.to)),
        "gathered" => events.with("type", &name(&edge.from)),
        _ => events.with("source", &source(&edge.from)).with("type", &name(&edge.to)),
    }
    .into_text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_rates_have_one_unit() {
        assert_eq!(rate(0, "1h"), "–");
        assert_eq!(rate(9, "1h"), "9/h");
        assert_eq!(rate(7_200, "1h"), "7,200/h");
        assert_eq!(rate(48, "24h"), "2/h");
        assert_eq!(rate(3, "24h"), "0.12/h");
    }

    #[test]
    fn failures_that_are_over_have_their_time() {
        const NOW_MS: i64 = 1_770_000_000_000;
        let minutes = |from: i64, to: i64| Burst {
            from_ms: NOW_MS - from * 60_000,
            to_ms: NOW_MS - to * 60_000,
        };
        assert_eq!(over(minutes(40, 25), NOW_MS), "02:00–02:15");
        assert_eq!(over(minutes(40, 40), NOW_MS), "02:00");
        let at = |text: &str| text.to_owned();
        let (from, to) = (at("2026-02-02T02:00:00.000Z"), at("2026-02-02T02:15:00.000Z"));
        assert_eq!(burst(Some(&from), Some(&to)), Some(minutes(40, 25)));
        assert_eq!((burst(None, Some(&to)), burst(Some(&from), Some(&at("never")))), (None, None));
    }

    #[test]
    fn an_edge_leads_to_its_events() {
        let edge = |from: &str, to: &str, kind| EdgeJson {
            from: from.to_owned(),
            to: to.to_owned(),
            kind,
            pattern: None,
            count: 0,
            per_s: 0.0,
            failed: 0,
            failed_from: None,
            failed_to: None,
            last_at: None,
        };
        for (edge, path) in [
            (edge("source:acme", "type:a.b", "received"), "/events?source=acme&type=a.b"),
            (edge("type:a.*", "plugin:p", "routed"), "/events?type=a.%2A&plugin=p"),
            (edge("plugin:p", "type:a:b", "emitted"), "/events?source=plugins%2Fp&type=a%3Ab"),
            (edge("type:a", "join:j", "gathered"), "/events?type=a"),
            (edge("join:j", "type:a", "emitted"), "/events?source=joins%2Fj&type=a"),
        ] {
            assert_eq!(events_of(&edge), path);
        }
    }
}
