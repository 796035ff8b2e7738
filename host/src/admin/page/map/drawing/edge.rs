//! Edges of the map: a line as thick as there is much, and a label if attempts failed on it.

use super::BELOW_WIDTH;
use crate::admin::map::{EdgeJson, MapJson};
use crate::admin::page::map::{arrived, events_of, failing, over, rate};
use crate::admin::page::parts::graph::{EdgeRoute, LabelSize};
use crate::admin::page::parts::html::Html;
use crate::text::grouped;

/// The height of a line of a label.
const LINE_HEIGHT: i32 = 13;

/// How far below the middle of letters their foot is.
const FOOT: i32 = 4;

/// The lines of the label of an edge, none if it has none: attempts that failed, and when, if that
/// is over; and that it closes a cycle.
fn label(edge: &EdgeJson, is_back: bool, now_ms: i64) -> Vec<String> {
    if edge.failed == 0 {
        return if is_back { vec!["hop limit".to_owned()] } else { Vec::new() };
    }
    let back = if is_back { ", hop limit" } else { "" };
    let mut lines = vec![format!("✕ {}{back}", grouped(edge.failed))];
    let burst = failing(edge).filter(|burst| !burst.is_on(now_ms));
    lines.extend(burst.map(|burst| over(burst, now_ms)));
    lines
}

/// The size of the label of an edge, if it has one.
pub(super) fn label_size(edge: &EdgeJson, is_back: bool, now_ms: i64) -> Option<LabelSize> {
    let lines = label(edge, is_back, now_ms);
    let longest = lines.iter().map(|line| line.chars().count()).max()?;
    let height = LINE_HEIGHT * lines.len() as i32;
    Some(LabelSize { width: (longest * BELOW_WIDTH) as i32, height })
}

/// The words for an edge.
fn says(map: &MapJson, edge: &EdgeJson, route: &EdgeRoute, now_ms: i64) -> String {
    let name = |id: &str| id.split_once(':').map_or(id, |(_, name)| name).to_owned();
    let mut says = format!("{} → {}, {}", name(&edge.from), name(&edge.to), edge.kind);
    if let Some(pattern) = &edge.pattern {
        says.push_str(&format!(" by {pattern}"));
    }
    says.push_str(&match edge.count {
        _ if edge.kind == "gathered" => String::new(),
        0 => ": nothing came".to_owned(),
        count => format!(": {} ({})", grouped(count), rate(count, map.window)),
    });
    if edge.failed > 0 {
        says.push_str(&format!(", {} failed", grouped(edge.failed)));
        if let Some(burst) = failing(edge).filter(|burst| !burst.is_on(now_ms)) {
            says.push_str(&format!(" {} UTC, none in the last 5 min", over(burst, now_ms)));
        }
    }
    if route.is_back {
        says.push_str("; closes a cycle, which ends at the hop limit");
    }
    says
}

/// The line of an edge, a link.
pub(super) fn edge_svg(
    out: &mut Html,
    map: &MapJson,
    edge: &EdgeJson,
    route: &EdgeRoute,
    now_ms: i64,
) {
    let says = says(map, edge, route, now_ms);
    let path = &route.path;
    let width = 1.5 + 1.1 * (1.0 + edge.count as f64).log10().min(6.0);
    out.raw("<a href=\"").text(&events_of(edge)).raw("\"><title>");
    out.text(&says).raw(format_args!("</title><path class=\"near\" d=\"{path}\"/>"));
    // An edge that carries nothing is one to a type that came all the same, if it only gathers.
    let is_quiet = edge.count == 0 && (edge.kind != "gathered" || arrived(map, &edge.from) == 0);
    let dash = if is_quiet { " stroke-dasharray=\"4 4\"" } else { "" };
    let is_bad = is_bad(edge, now_ms);
    // The red line would hide it.
    if !is_bad || edge.failed < edge.count {
        out.raw(format_args!("<path class=\"e\" d=\"{path}\" stroke-width=\"{width:.1}\"{dash}/>"));
    }
    if is_bad {
        let share = (edge.failed as f64 / edge.count.max(1) as f64).min(1.0);
        let red = (width * share).max(1.5);
        out.raw(format_args!("<path class=\"e e-bad\" d=\"{path}\" stroke-width=\"{red:.1}\"/>"));
    }
    out.raw("</a>");
}

/// Whether attempts fail on it now: failures of before are no colour of now.
fn is_bad(edge: &EdgeJson, now_ms: i64) -> bool {
    edge.failed > 0 && failing(edge).is_none_or(|burst| burst.is_on(now_ms))
}

/// The label of an edge, for those who see it.
pub(super) fn label_svg(out: &mut Html, edge: &EdgeJson, route: &EdgeRoute, now_ms: i64) {
    let lines = label(edge, route.is_back, now_ms);
    let (x, middle) = route.label;
    let mut y = middle + FOOT - (LINE_HEIGHT * lines.len() as i32 - LINE_HEIGHT + 1) / 2;
    let class = if is_bad(edge, now_ms) { "below bad over" } else { "below over" };
    for line in &lines {
        out.raw(format_args!("<text class=\"{class}\" x=\"{x}\" y=\"{y}\">"));
        out.text(line).raw("</text>");
        y += LINE_HEIGHT;
    }
}
