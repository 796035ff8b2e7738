//! The map as SVG: nodes and edges are links, each with a text for those who do not see it.

use std::collections::HashMap;

use super::{arrived, events_of, rate};
use crate::admin::map::{EdgeJson, MapJson, NodeJson};
use crate::admin::page::parts::graph::{self, EdgeRoute, NODE_HEIGHT, NodeBox};
use crate::admin::page::parts::html::Html;
use crate::admin::page::parts::link::Link;
use crate::admin::page::parts::measure::percent;
use crate::admin::page::parts::state::shape;
use crate::text::grouped;

/// The parts of a drawing: a sample of each, and its meaning.
pub(super) const LEGEND: [(&str, &str); 7] = [
    (r#"<rect class="n n-source" x="2" y="1" width="22" height="12" rx="3"/>"#, "source, schedule"),
    (r#"<rect class="n" x="2" y="1" width="22" height="12" rx="6"/>"#, "type of events"),
    (r#"<rect class="n n-plugin" x="2" y="1" width="22" height="12" rx="3"/>"#, "plugin, join"),
    (
        r#"<path class="e" d="M0 7h13" stroke-width="1.8"/><path class="e" d="M13 7h13" stroke-width="4.8"/>"#,
        "1, 1,000 events or attempts",
    ),
    (r#"<path class="e e-bad" d="M0 7h26" stroke-width="3"/>"#, "✕ n attempts failed"),
    (r#"<path class="e" d="M0 7h26" stroke-width="1.5" stroke-dasharray="4 4"/>"#, "nothing came"),
    (r#"<path class="e" d="M2 1v11h22v-11" stroke-width="1.5"/>"#, "back to an earlier step"),
];

/// The longest label, in characters.
const MAX_LABEL: usize = 30;

/// The width of a character of both lines, and of the space beside them.
const CHAR_WIDTH: usize = 7;
const BELOW_WIDTH: usize = 6;
const PADDING: i32 = 22;

const LEAST_WIDTH: i32 = 92;

/// The length of the stub of a type that no route takes, with its text.
const STUB: i32 = 76;

/// Draws a map.
pub(super) fn svg(map: &MapJson) -> Html {
    let lines: Vec<_> = map.nodes.iter().map(|node| NodeText::of(map, node)).collect();
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
    let drawing = graph::draw(&widths, &least, &ends);
    let stub = if map.nodes.iter().any(|node| node.unrouted) { STUB } else { 0 };
    let (width, height) = (drawing.width + stub, drawing.height);
    let mut out = Html::default();
    out.raw(format_args!(
        "<svg class=\"map\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         role=\"group\" aria-label=\"Map\">"
    ));
    // An edge with a label lies above the others.
    let mut edges: Vec<_> = drawn.iter().zip(&drawing.routes).collect();
    edges.sort_by_key(|(edge, _)| edge.failed > 0);
    for (edge, route) in edges {
        edge_svg(&mut out, map, edge, route);
    }
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
    below: String,
    class: &'static str,
}

impl NodeText {
    fn of(map: &MapJson, node: &NodeJson) -> Self {
        let leaving = |edge: &&EdgeJson| edge.from == node.id;
        let entering = |edge: &&EdgeJson| edge.to == node.id;
        let sum = |of: &dyn Fn(&&EdgeJson) -> bool| {
            let edges = map.edges.iter().filter(|edge| of(edge));
            edges.fold((0, 0, 0.0), |(count, failed, per_s), edge| {
                (count + edge.count, failed + edge.failed, per_s + edge.per_s)
            })
        };
        let (count, failed, per_s) = match node.kind {
            "source" | "schedule" | "api" => sum(&leaving),
            _ => sum(&entering),
        };
        let mut below = rate(count, per_s, map.window);
        if node.kind == "plugin" && count > 0 {
            below = format!("{} succeeded", percent(count - failed.min(count), count));
        }
        if let Some(types) = node.types {
            below = format!("{types} types, {below}");
        }
        if node.refused > 0 {
            let refused = format!("✕ {} refused in 1 h", grouped(node.refused));
            below = if count > 0 { format!("{below}, {refused}") } else { refused };
        }
        let state = node.state.filter(|state| *state != "loaded");
        if let Some(state) = state {
            let says = if state == "held" { "new file held" } else { state };
            below = format!("{} {says}, {below}", shape(state));
        }
        Self {
            label: cut(&node.label),
            below,
            class: match failed > 0 || node.refused > 0 {
                true => "below bad",
                false if state.is_some() => "below warn",
                false => "below",
            },
        }
    }

    fn width(&self) -> i32 {
        let label = self.label.chars().count() * CHAR_WIDTH;
        let below = self.below.chars().count() * BELOW_WIDTH;
        LEAST_WIDTH.max(label.max(below) as i32 + PADDING)
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
    out.raw("<title>").text(&format!("{} {}: {}", node.kind, node.label, text.below));
    let radius = if node.kind == "type" { NODE_HEIGHT / 2 } else { 4 };
    let (kind, middle) = (node.kind, x + width / 2);
    out.raw(format_args!(
        "</title><rect class=\"n n-{kind}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{NODE_HEIGHT}\" \
         rx=\"{radius}\"/><text x=\"{middle}\" y=\"{}\">",
        y + 16
    ));
    let class = text.class;
    out.text(&text.label)
        .raw(format_args!("</text><text class=\"{class}\" x=\"{middle}\" y=\"{}\">", y + 30));
    out.text(&text.below).raw("</text>");
    if page.is_some() {
        out.raw("</a>");
    }
    if node.unrouted {
        let (x, y) = (x + width, y + NODE_HEIGHT / 2);
        out.raw(format_args!(
            "<path class=\"e\" d=\"M{x} {y}h14m0 -6v12\"/>\
             <text class=\"below beside\" x=\"{}\" y=\"{}\">no route</text>",
            x + 22,
            y + 4
        ));
    }
}

fn edge_svg(out: &mut Html, map: &MapJson, edge: &EdgeJson, route: &EdgeRoute) {
    let name = |id: &str| id.split_once(':').map_or(id, |(_, name)| name).to_owned();
    let mut says = format!("{} → {}, {}", name(&edge.from), name(&edge.to), edge.kind);
    if let Some(pattern) = &edge.pattern {
        says.push_str(&format!(" by {pattern}"));
    }
    says.push_str(&match edge.count {
        _ if edge.kind == "gathered" => String::new(),
        0 => ": nothing came".to_owned(),
        count => format!(": {} ({})", grouped(count), rate(count, edge.per_s, map.window)),
    });
    if edge.failed > 0 {
        says.push_str(&format!(", {} failed", grouped(edge.failed)));
    }
    if route.is_back {
        says.push_str("; closes a cycle, which ends at the hop limit");
    }
    let path = &route.path;
    let width = 1.5 + 1.1 * (1.0 + edge.count as f64).log10().min(6.0);
    out.raw("<a href=\"").text(&events_of(edge)).raw("\"><title>");
    out.text(&says).raw(format_args!("</title><path class=\"near\" d=\"{path}\"/>"));
    // An edge that carries nothing is one to a type that came all the same, if it only gathers.
    let is_quiet = edge.count == 0 && (edge.kind != "gathered" || arrived(map, &edge.from) == 0);
    let dash = if is_quiet { " stroke-dasharray=\"4 4\"" } else { "" };
    out.raw(format_args!("<path class=\"e\" d=\"{path}\" stroke-width=\"{width:.1}\"{dash}/>"));
    let (x, y) = route.label;
    if edge.failed > 0 {
        let share = (edge.failed as f64 / edge.count.max(1) as f64).min(1.0);
        let red = (width * share).max(1.5);
        let back = if route.is_back { ", hop limit" } else { "" };
        out.raw(format_args!(
            "<path class=\"e e-bad\" d=\"{path}\" stroke-width=\"{red:.1}\"/>\
             <text class=\"below bad over\" x=\"{x}\" y=\"{}\">✕ {}{back}</text>",
            y + 4,
            grouped(edge.failed)
        ));
    } else if route.is_back {
        out.raw(format_args!("<text class=\"below\" x=\"{x}\" y=\"{y}\">hop limit</text>"));
    }
    out.raw("</a>");
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
            last_at: None,
        }
    }

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
        let text = svg(&map).to_string();
        assert_eq!(text.matches("<rect").count(), 5, "{text}");
        assert_eq!(text.matches("class=\"near\"").count(), 5, "{text}");
        assert_eq!(text.matches("stroke-dasharray").count(), 1, "{text}");
        assert!(text.contains("✕ 4</text>") && text.contains("4 failed"), "{text}");
        assert!(text.contains("closes a cycle") && text.contains(">hop limit<"), "{text}");
        assert!(text.contains(">no route<") && text.contains("&lt;c&gt;"), "{text}");
        assert!(
            text.contains("◆ new file held, 66.6 % succeeded") && !text.contains("<c>"),
            "{text}"
        );
    }

    #[test]
    fn a_long_label_is_cut() {
        assert_eq!(cut(&"x".repeat(40)).chars().count(), MAX_LABEL);
        assert_eq!(cut("short"), "short");
    }
}
