//! The map as SVG: nodes and edges are links, each with a text for those who do not see it.

use std::collections::HashMap;

use super::{burst, failing, over, rate};
use crate::admin::map::{EdgeJson, MapJson, NodeJson};
use crate::admin::page::parts::graph::{self, NODE_HEIGHT, NodeBox};
use crate::admin::page::parts::html::Html;
use crate::admin::page::parts::link::Link;
use crate::admin::page::parts::measure::percent;
use crate::admin::page::parts::state::shape;
use crate::admin::page::parts::when::clock;
use crate::text::grouped;

mod edge;

use edge::{edge_svg, label_size, label_svg};

/// The parts of a drawing: a sample of each, and its meaning.
pub(super) const LEGEND: [(&str, &str); 9] = [
    (r#"<rect class="n n-source" x="2" y="1" width="22" height="12" rx="3"/>"#, "source, schedule"),
    (r#"<rect class="n" x="2" y="1" width="22" height="12" rx="6"/>"#, "type of events"),
    (r#"<rect class="n n-plugin" x="2" y="1" width="22" height="12" rx="3"/>"#, "plugin, join"),
    (
        r#"<path class="e" d="M0 7h13" stroke-width="1.8"/><path class="e" d="M13 7h13" stroke-width="4.8"/>"#,
        "thicker: more events or attempts (1, 1,000)",
    ),
    (
        r#"<path class="e e-bad" d="M0 7h26" stroke-width="3"/>"#,
        "✕ n failed, some in the last 5 min",
    ),
    (
        r#"<path class="e" d="M9 3l8 8m0-8l-8 8" stroke-width="1.5"/>"#,
        "n failed from–to UTC, none since",
    ),
    (r#"<path class="e e-none" d="M2 7h18m0-6v12" stroke-width="1.5"/>"#, "no plugin gets it"),
    (r#"<path class="e" d="M0 7h26" stroke-width="1.5" stroke-dasharray="4 4"/>"#, "nothing came"),
    (r#"<path class="e" d="M2 1v11h22v-11" stroke-width="1.5"/>"#, "back to an earlier step"),
];

/// The longest label, in characters.
const MAX_LABEL: usize = 30;

/// The width of a character of both lines, and of the space beside them.
const CHAR_WIDTH: usize = 7;
const BELOW_WIDTH: usize = 6;
const PADDING: i32 = 16;

const LEAST_WIDTH: i32 = 92;

/// Draws a map of the moment `now_ms`.
pub(super) fn svg(map: &MapJson, now_ms: i64) -> Html {
    let lines: Vec<_> = map.nodes.iter().map(|node| NodeText::of(map, node, now_ms)).collect();
    let widths: Vec<i32> = lines.iter().map(NodeText::width).collect();
    let at: HashMap<&str, usize> =
        map.nodes.iter().enumerate().map(|(at, node)| (node.id.as_str(), at)).collect();
    let ends = map.edges.iter().filter_map(|edge| {
        Some((edge, (*at.get(edge.from.as_str())?, *at.get(edge.to.as_str())?)))
    });
    let (drawn, ends): (Vec<&EdgeJson>, Vec<_>) = ends.unzip();
    // Whatever nothing leads to stands below what is of its kind.
    let tier = |node: &NodeJson| match node.kind {
        "source" | "schedule" | "api" => 0,
        "type" => 1,
        _ => 2,
    };
    let least: Vec<usize> = map.nodes.iter().map(tier).collect();
    let unrouted: Vec<usize> = (0..map.nodes.len()).filter(|at| map.nodes[*at].unrouted).collect();
    let label = |edge: usize, is_back| label_size(drawn[edge], is_back, now_ms);
    let drawing = graph::draw(&widths, &least, &unrouted, &ends, &label);
    let (width, height) = (drawing.width, drawing.height);
    let mut out = Html::default();
    out.raw(format_args!(
        "<svg class=\"map\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         role=\"group\" aria-label=\"Map\">"
    ));
    // An edge with failures lies above the others, and no line lies above a label.
    let mut edges: Vec<_> = drawn.iter().zip(&drawing.routes).collect();
    edges.sort_by_key(|(edge, _)| edge.failed > 0);
    for (edge, route) in &edges {
        edge_svg(&mut out, map, edge, route, now_ms);
    }
    // The links say the same, and a click goes to the line.
    out.raw("<g aria-hidden=\"true\" pointer-events=\"none\">");
    for (edge, route) in edges {
        label_svg(&mut out, edge, route, now_ms);
    }
    out.raw("</g>");
    for ((node, text), place) in map.nodes.iter().zip(&lines).zip(&drawing.boxes) {
        node_svg(&mut out, node, text, *place);
    }
    out.raw("</svg>");
    out
}

/// The two lines of a node.
#[derive(Debug)]
struct NodeText {
    label: String,
    /// A mark beside the name that wants attention, such as that of a file that waits.
    mark: Option<String>,
    /// The parts of the second line, each with its class.
    below: Vec<(&'static str, String)>,
}

impl NodeText {
    fn of(map: &MapJson, node: &NodeJson, now_ms: i64) -> Self {
        let is_origin = matches!(node.kind, "source" | "schedule" | "api");
        let end =
            |edge: &EdgeJson| if is_origin { edge.from == node.id } else { edge.to == node.id };
        let edges = || map.edges.iter().filter(|edge| end(edge));
        let count: u64 = edges().map(|edge| edge.count).sum();
        let failed: u64 = edges().map(|edge| edge.failed).sum();
        let newest = edges().filter_map(failing).max_by_key(|burst| burst.to_ms);
        let is_failing = newest.is_some_and(|burst| burst.is_on(now_ms));
        let class = if is_failing { "bad" } else { "" };
        let mut below = vec![(class, rate(count, map.window))];
        if node.kind == "plugin" && count > 0 {
            let hours = map.window.trim_end_matches('h');
            let share = percent(count - failed.min(count), count);
            below[0].1 = format!("{share} of attempts succeeded, {hours} h");
            if let Some(burst) = newest.filter(|burst| !burst.is_on(now_ms)) {
                let since = clock(burst.to_ms, now_ms);
                below[0].1 = format!("{share} ok in {hours} h, all since {since}");
            }
        }
        if let Some(types) = node.types {
            below.insert(0, ("", format!("{types} types")));
        }
        if node.refused > 0 {
            below.retain(|_| count > 0);
            let says = format!("✕ {} refused", grouped(node.refused));
            let refusing = burst(node.refused_from.as_ref(), node.refused_to.as_ref());
            below.push(match refusing.filter(|burst| !burst.is_on(now_ms)) {
                None => ("bad", format!("{says} in 1 h")),
                Some(burst) => ("", format!("{says} {}", over(burst, now_ms))),
            });
        }
        let mark = node.state.filter(|state| *state != "loaded").map(|state| {
            let says = if state == "held" { "new file waits" } else { state };
            format!("{} {says}", shape(state))
        });
        Self { label: cut(&node.label), mark, below }
    }

    /// Both lines as text.
    fn words(&self) -> (String, String) {
        let mark = self.mark.as_deref().map(|mark| format!(" {mark}")).unwrap_or_default();
        let below: Vec<&str> = self.below.iter().map(|(_, text)| text.as_str()).collect();
        (format!("{}{mark}", self.label), below.join(", "))
    }

    fn width(&self) -> i32 {
        let (label, below) = self.words();
        let label = label.chars().count() * CHAR_WIDTH;
        let below = below.chars().count() * BELOW_WIDTH;
        LEAST_WIDTH.max(label.max(below) as i32 + PADDING)
    }

    /// Writes both lines.
    fn svg(&self, out: &mut Html, middle: i32, y: i32) {
        out.raw(format_args!("<text x=\"{middle}\" y=\"{}\">", y + 16)).text(&self.label);
        if let Some(mark) = &self.mark {
            out.raw("<tspan class=\"warn\"> ").text(mark).raw("</tspan>");
        }
        out.raw(format_args!("</text><text class=\"below\" x=\"{middle}\" y=\"{}\">", y + 30));
        for (at, (class, text)) in self.below.iter().enumerate() {
            out.raw(if at > 0 { ", " } else { "" });
            match class.is_empty() {
                true => out.text(text),
                false => {
                    out.raw(format_args!("<tspan class=\"{class}\">")).text(text).raw("</tspan>")
                }
            };
        }
        out.raw("</text>");
    }
}

fn cut(label: &str) -> String {
    match label.chars().count() > MAX_LABEL {
        true => label.chars().take(MAX_LABEL - 1).chain(['…']).collect(),
        false => label.to_owned(),
    }
}

/// The page of a node.
fn page_of(node: &NodeJson) -> Option<String> {
    let link = match node.kind {
        "source" => Link::to("/sources").segment(&node.label),
        "plugin" => Link::to("/plugins").segment(&node.label),
        "type" => Link::to("/events").with("type", &node.label),
        "api" => Link::to("/events").with("source", &format!("api/{}", node.label)),
        "schedule" => Link::to("/schedules"),
        "join" | "batch" => Link::to("/joins"),
        _ => return None,
    };
    Some(link.into_text())
}

fn node_svg(out: &mut Html, node: &NodeJson, text: &NodeText, place: NodeBox) {
    let NodeBox { x, y, width } = place;
    let page = page_of(node);
    if let Some(page) = &page {
        out.raw("<a href=\"").text(page).raw("\">");
    }
    let mark = text.mark.as_deref().map(|mark| format!(" {mark}")).unwrap_or_default();
    out.raw("<title>").text(&format!("{} {}{mark}: {}", node.kind, node.label, text.words().1));
    let radius = if node.kind == "type" { NODE_HEIGHT / 2 } else { 4 };
    let (kind, middle) = (node.kind, x + width / 2);
    out.raw(format_args!(
        "</title><rect class=\"n n-{kind}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{NODE_HEIGHT}\" \
         rx=\"{radius}\"/>"
    ));
    text.svg(out, middle, y);
    if page.is_some() {
        out.raw("</a>");
    }
    if node.unrouted {
        let (x, y) = (x + width, y + NODE_HEIGHT / 2);
        out.raw(format_args!(
            "<path class=\"e e-none\" d=\"M{x} {y}h14m0 -6v12\"/>\
             <text class=\"none beside\" x=\"{}\" y=\"{}\">no route</text>",
            x + 20,
            y + 4
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str) -> NodeJson {
        let (kind, label) = id.split_once(':').unwrap();
        let kinds = ["source", "type", "plugin"];
        NodeJson {
            id: id.to_owned(),
            kind: kinds.into_iter().find(|known| *known == kind).unwrap(),
            label: label.to_owned(),
            state: None,
            unrouted: false,
            refused: 0,
            refused_from: None,
            refused_to: None,
            types: None,
        }
    }

    fn edge(from: &str, to: &str, kind: &'static str, count: u64, failed: u64) -> EdgeJson {
        EdgeJson {
            from: from.to_owned(),
            to: to.to_owned(),
            kind,
            pattern: None,
            count,
            per_s: 0.0,
            failed,
            failed_from: (failed > 0).then(|| "2026-02-02T02:20:00.000Z".to_owned()),
            failed_to: (failed > 0).then(|| "2026-02-02T02:38:00.000Z".to_owned()),
            last_at: None,
        }
    }

    /// Two minutes after the last failure.
    const NOW_MS: i64 = 1_770_000_000_000;

    #[test]
    fn failures_cycles_quiet_routes_and_unrouted_types_are_drawn() {
        let mut nodes = ["plugin:p", "source:s", "type:a", "type:b", "type:<c>"].map(node);
        nodes[4].unrouted = true;
        nodes[0].state = Some("held");
        let map = MapJson {
            window: "1h",
            nodes: nodes.into(),
            edges: vec![
                edge("plugin:p", "type:a", "emitted", 3, 0),
                edge("source:s", "type:<c>", "received", 9, 0),
                edge("source:s", "type:a", "received", 9, 0),
                edge("type:a", "plugin:p", "routed", 12, 4),
                edge("type:b", "plugin:p", "routed", 0, 0),
            ],
            folded: 0,
            truncated: false,
        };
        let text = svg(&map, NOW_MS).to_string();
        assert_eq!(text.matches("<rect").count(), 5, "{text}");
        assert_eq!(text.matches("class=\"near\"").count(), 5, "{text}");
        assert_eq!(text.matches("stroke-dasharray").count(), 1, "{text}");
        assert!(text.contains("✕ 4</text>") && text.contains("4 failed"), "{text}");
        let last_line = text.rfind("class=\"near\"").unwrap();
        let first_label = text.find("<text class=\"below").unwrap();
        assert!(last_line < first_label, "labels lie above all lines: {text}");
        assert!(text.contains("closes a cycle") && text.contains(">hop limit<"), "{text}");
        assert!(text.contains(">no route<") && text.contains("&lt;c&gt;"), "{text}");
        assert!(text.contains(">66.6 % of attempts succeeded, 1 h<"), "{text}");
        assert!(text.contains("> ◆ new file waits</tspan>") && !text.contains("<c>"), "{text}");
        let later = svg(&map, NOW_MS + 10 * 60_000).to_string();
        assert!(text.contains("e-bad") && text.contains("<tspan class=\"bad\">66.6 %"), "{text}");
        assert!(!later.contains("bad") && later.contains(">02:20–02:38</text>"), "{later}");
        assert!(later.contains("✕ 4</text>") && later.contains("4 failed 02:20–02:38"), "{later}");
        assert!(later.contains(">66.6 % ok in 1 h, all since 02:38<"), "{later}");
    }

    #[test]
    fn a_source_says_whether_requests_are_refused_now_or_when_they_were() {
        let mut source = node("source:s");
        source.refused = 6;
        source.refused_from = Some("2026-02-02T02:36:00.000Z".to_owned());
        source.refused_to = Some("2026-02-02T02:39:00.000Z".to_owned());
        let nodes = vec![source, node("type:a")];
        let edges = vec![edge("source:s", "type:a", "received", 9, 0)];
        let map = MapJson { window: "1h", nodes, edges, folded: 0, truncated: false };
        let now = svg(&map, NOW_MS).to_string();
        assert!(now.contains(">9/h, <tspan class=\"bad\">✕ 6 refused in 1 h</tspan>"), "{now}");
        let later = svg(&map, NOW_MS + 10 * 60_000).to_string();
        assert!(later.contains(">9/h, ✕ 6 refused 02:36–02:39</text>"), "{later}");
    }

    #[test]
    fn a_long_label_is_cut() {
        assert_eq!(cut(&"x".repeat(40)).chars().count(), MAX_LABEL);
        assert_eq!(cut("short"), "short");
    }
}
