//! One event: what happened to it, step by step?

use std::sync::Arc;

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::frame::PageFrame;
use super::parts::html::{Html, coded, shown};
use super::parts::link::Link;
use super::parts::measure::bytes;
use super::parts::payload::{self, BodyView};
use super::parts::state::badge;
use super::parts::when::when_text;
use super::request::Asked;
use super::trail::Trail;
use super::{html, params};
use crate::admin::events::{body::body, routed, show_event};
use crate::admin::params::{Id, NoQuery};
use crate::admin::problem::ProblemJson;
use crate::admin::sources::keys_set;
use crate::admin::state::Admin;
use crate::admin::view::{AttributesJson, EventDetail};
use crate::event::EventId;
use crate::text::grouped;
use attempts::{Beside, DeliveryPart, LEVELS};
use copies::copies;
use tree_page::{AFTER, TreePart, tree_part};
use waterfall_rows::{Fall, MAX_ROWS};

mod attempts;
mod bars;
pub(super) mod cancel;
mod copies;
pub(super) mod edit;
pub(super) mod emit;
pub(super) mod erase;
pub(super) mod replay;
mod timeline;
mod tree_page;
mod waterfall_rows;

/// The tabs in the lower half of the page.
const TABS: [(&str, &str); 5] = [
    ("payload", "Payload"),
    ("headers", "Headers"),
    ("attempts", "Attempts"),
    ("tree", "Tree as list"),
    ("copy", "Copy as"),
];

/// The longest names of plugins in the label of a button.
const MAX_NAMES: usize = 40;

/// Edited replays of an event that are named.
const MAX_REPLAYS: usize = 20;

#[derive(Template)]
#[template(path = "event.html")]
struct EventShown {
    frame: PageFrame,
    id: String,
    kind: Html,
    subject: Option<(Html, String)>,
    facts: Vec<Html>,
    summary: Vec<Html>,
    note: Option<Html>,
    /// When its data was deleted, and whether somebody asked for it.
    erased: Option<(Html, bool)>,
    trail: Trail,
    fall: Fall,
    /// Says so if that is not the whole tree.
    part: Option<TreePart>,
    more_rows: Option<String>,
    /// To which plugins a replay goes, in the label of its button.
    replay: String,
    tabs: Vec<(&'static str, String, bool, String)>,
    tab: &'static str,
    body: Option<BodyShown>,
    /// Stands for the payload, if the client does not read it.
    hidden: Option<String>,
    headers: Vec<(Html, Html)>,
    deliveries: Vec<DeliveryPart>,
    /// Levels of lines, with their addresses, and whether each is the one asked for.
    levels: Vec<(&'static str, String, bool)>,
    copies: Vec<(&'static str, String)>,
    is_settled: bool,
}

/// The payload as it is shown.
struct BodyShown {
    html: Html,
    /// The part of it that is shown, if that is not all.
    cut: Option<String>,
    views: Vec<(&'static str, String, bool)>,
    wrap: Option<String>,
    size: String,
}

/// Shows one event.
pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    Id(id): Id<EventId>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    let Wanted { tab, view, all, level, after } = Wanted::of(&asked)?;
    let shared = || State(Arc::clone(&admin));
    let Json(event) = show_event(shared(), asked.sees(), params(NoQuery {}), Id(id)).await?;
    let (tree, part) = tree_part(&admin, &asked, id, after.as_deref()).await?;
    let now_ms = admin.clock.now_ms();
    let attributes = &event.attributes;
    let fall = Fall::of(&tree, &attributes.id, now_ms, if all { usize::MAX } else { MAX_ROWS });
    let body = match (tab, &event.hidden) {
        ("payload", None) => {
            Some(body_shown(&body(&admin, asked.sees(), id).await?, &event, view, &asked))
        }
        _ => None,
    };
    let title = format!("{} {}", attributes.kind, attributes.subject.as_deref().unwrap_or(""));
    let frame = PageFrame::of(&admin, &asked, "events", shown_title(&title)).await;
    let (settled, may_act) = (fall.open == 0, frame.may_act);
    // Only when something of the tree has changed is the page made anew. A part of a large tree is
    // not read again with each change.
    let topics = if part.is_none() { format!("event:{id}") } else { String::new() };
    let (command, call) = same(&attributes.id, tab);
    let registry = admin.registry.load_full();
    let beside = Beside { now_ms, may_act, level, registry: &registry, tree: &tree };
    let page = EventShown {
        frame: frame.live(topics).same_as(command, call),
        kind: shown(&attributes.kind),
        subject: attributes.subject.as_deref().map(|subject| {
            (shown(subject), Link::to("/events").with("subject", subject).into_text())
        }),
        facts: facts(&admin, &event, now_ms),
        summary: summary(&fall),
        note: attributes.note.as_deref().map(coded),
        erased: erased(attributes, now_ms),
        // The ids of its deliveries have the same digits.
        trail: Trail::of_id(&admin, asked.sees(), attributes.id.trim_start_matches("evt_")).await?,
        replay: replay_label(&admin, may_act, id).await,
        more_rows: fall.cut.map(|_| asked.but("rows", Some("all"))),
        tabs: tabs(&asked, tab, &event),
        tab,
        body,
        headers: event.headers.iter().map(|it| (shown(&it.name), shown(&it.value))).collect(),
        copies: copies(&admin, &event),
        hidden: if tab == "payload" { event.hidden } else { None },
        deliveries: event.deliveries.into_iter().map(|it| DeliveryPart::of(it, &beside)).collect(),
        levels: levels(&asked, level),
        id: attributes.id.clone(),
        fall,
        part,
        is_settled: settled,
    };
    html(StatusCode::OK, &page)
}

/// The command and the call that show the same.
fn same(id: &str, tab: &str) -> (String, String) {
    let call = Link::to("/api/v1/events").segment(id);
    match tab {
        "tree" => (format!("hookbox events tree {id}"), call.segment("tree").into_text()),
        _ => (format!("hookbox events {id}"), call.into_text()),
    }
}

/// When the event's data was deleted, and whether somebody asked for it.
fn erased(attributes: &AttributesJson, now_ms: i64) -> Option<(Html, bool)> {
    let at = attributes.erased_at.as_deref()?;
    Some((when_text(at, now_ms), attributes.erased_by == Some("request")))
}

/// Levels of lines, with their addresses, and whether each is the one asked for.
fn levels(asked: &Asked, level: usize) -> Vec<(&'static str, String, bool)> {
    let of = |(place, name): (usize, &'static str)| {
        (name, asked.but("level", (place > 0).then_some(name)), place == level)
    };
    LEVELS.into_iter().enumerate().map(of).collect()
}

/// The label of the button that replays: to whom, if that is short.
async fn replay_label(admin: &Admin, may_act: bool, id: EventId) -> String {
    if !may_act {
        return String::new();
    }
    let targets = routed(admin, id).await.unwrap_or_default();
    let names: Vec<&str> = targets.iter().map(|target| &*target.plugin).collect();
    match names.join(" and ") {
        // Whoever replays it names the plugin.
        none if none.is_empty() => "Replay …".to_owned(),
        names if names.len() <= MAX_NAMES => format!("Replay to {names} …"),
        _ => format!("Replay to {} plugins …", names.len()),
    }
}

/// A title of a browser's window is plain text: what controls text is taken out.
fn shown_title(text: &str) -> String {
    let text: String = text.chars().take(80).collect();
    crate::text::plain(text.trim(), 120)
}

/// The view that the address asks for.
struct Wanted {
    tab: &'static str,
    view: Option<BodyView>,
    all: bool,
    /// The least level of lines, as a place in [`LEVELS`].
    level: usize,
    /// Where the part of the tree begins.
    after: Option<String>,
}

impl Wanted {
    fn of(asked: &Asked) -> Result<Self, ProblemJson> {
        let mut rest = asked.clone();
        let tab = rest.take("tab").unwrap_or_else(|| "payload".to_owned());
        let known = TABS.iter().find(|(key, _)| *key == tab);
        let (tab, _) = known.ok_or_else(|| {
            let tab: String = tab.chars().take(80).collect();
            let there = TABS.map(|(key, _)| key).join(", ");
            ProblemJson::bad_request(format!("`tab`: there is no tab `{tab}` (valid: {there})"))
        })?;
        let view = match rest.take("view").as_deref() {
            None => None,
            Some("indented") => Some(BodyView::Indented),
            Some("text") => Some(BodyView::Text),
            Some("hex") => Some(BodyView::Hex),
            Some(_) => {
                let detail = "`view` must be `indented`, `text` or `hex`";
                return Err(ProblemJson::bad_request(detail));
            }
        };
        let level = rest
            .take("level")
            .map_or(Some(0), |name| LEVELS.iter().position(|level| *level == name));
        let level = level.ok_or_else(|| {
            let detail = format!("`level` must be one of {}", LEVELS.join(", "));
            ProblemJson::bad_request(detail)
        })?;
        let (all, after) = (rest.take("rows").is_some(), rest.take(AFTER));
        rest.take("wrap");
        rest.query::<NoQuery>()?;
        Ok(Self { tab, view, all, level, after })
    }
}

fn body_shown(raw: &[u8], event: &EventDetail, view: Option<BodyView>, asked: &Asked) -> BodyShown {
    let is_json = event.data.is_some();
    let usual = match (is_json, std::str::from_utf8(raw)) {
        (true, _) => BodyView::Indented,
        (false, Ok(_)) => BodyView::Text,
        (false, Err(_)) => BodyView::Hex,
    };
    let view = view.filter(|view| *view != BodyView::Indented || is_json).unwrap_or(usual);
    let (html, shown) = payload::body(raw, view);
    let of = |name: &'static str, it| (name, asked.but("view", Some(name)), it == view);
    let mut views = vec![of("text", BodyView::Text), of("hex", BodyView::Hex)];
    if is_json {
        views.insert(0, of("indented", BodyView::Indented));
    }
    let cut = format!("the first {} of {} bytes", grouped(shown as u64), grouped(raw.len() as u64));
    BodyShown {
        html,
        cut: (shown < raw.len()).then_some(cut),
        views,
        wrap: asked.field("wrap").is_none().then(|| asked.but("wrap", Some("no"))),
        size: bytes(raw.len() as u64),
    }
}

/// The facts about the event, in a line.
fn facts(admin: &Admin, event: &EventDetail, now_ms: i64) -> Vec<Html> {
    let attributes = &event.attributes;
    let mut facts = Vec::new();
    let mut fact = |label: &str, value: &str, path: Option<String>| {
        let mut html = Html::default();
        html.raw("<span class=\"dim\">").text(label).raw("</span> ");
        match path {
            Some(path) => html.raw("<a href=\"").text(&path).raw("\">").text(value).raw("</a>"),
            None => html.text(value),
        };
        facts.push(html);
    };
    let source = &attributes.source;
    fact("source", source, Some(Link::to("/events").with("source", source).into_text()));
    fact("size", &bytes(attributes.data_bytes), None);
    if let Some(kind) = &attributes.datacontenttype {
        fact("media type", kind, None);
    }
    if let Some(id) = &attributes.provider_id {
        fact("provider's id", id, None);
    }
    if let Some(verified) = &event.verified {
        let path = Link::to("/sources").segment(source).into_text();
        fact("signature checked: right,", &key_text(admin, source, verified.key), Some(path));
    }
    if let Some(parent) = &attributes.parent_id {
        fact("emitted by", parent, Some(Link::to("/events").segment(parent).into_text()));
    }
    if let Some(old) = &event.replay_of {
        let label = format!("edited by {} from", event.edited_by.as_deref().unwrap_or_default());
        fact(&label, old, Some(Link::to("/events").segment(old).into_text()));
    }
    for made in event.replays.iter().take(MAX_REPLAYS) {
        fact("edited into", made, Some(Link::to("/events").segment(made).into_text()));
    }
    if let Some(more) = event.replays.len().checked_sub(MAX_REPLAYS).filter(|more| *more > 0) {
        fact("and into more", &grouped(more as u64), None);
    }
    if let Some(trace) = &event.trace_id {
        fact("trace", trace, event.trace_url.clone());
    }
    if event.duplicates > 0 {
        fact("duplicate requests", &grouped(event.duplicates), None);
    }
    let mut time = Html::default();
    let came = if source.contains('/') { "stored " } else { "received " };
    time.raw("<span class=\"dim\">").text(came).text(&attributes.time).raw("</span> ");
    time.raw(when_text(&attributes.time, now_ms));
    facts.insert(1, time);
    facts
}

/// The key that signed an event, in words: it may be gone from the configuration since.
fn key_text(admin: &Admin, source: &str, key: u32) -> String {
    let keys = admin.config.load().sources.get(source).map_or(0, |it| keys_set(it));
    let key = key as usize + 1;
    if key <= keys { format!("key {key} of {keys}") } else { format!("key {key}") }
}

/// How the tree stands, in a few words.
fn summary(fall: &Fall) -> Vec<Html> {
    let mut found = Vec::new();
    for (state, count) in &fall.states {
        let mut html = badge(state);
        html.text(&format!(" {}", grouped(*count)));
        found.push(html);
    }
    found
}

fn tabs(
    asked: &Asked,
    tab: &str,
    event: &EventDetail,
) -> Vec<(&'static str, String, bool, String)> {
    let count = |key: &str| match key {
        "headers" => grouped(event.headers.len() as u64),
        "attempts" => {
            let attempts = event.deliveries.iter().map(|delivery| delivery.attempts.len() as u64);
            format!("{} of this event", grouped(attempts.sum()))
        }
        _ => String::new(),
    };
    TABS.iter()
        .map(|(key, label)| {
            let value = (*key != TABS[0].0).then_some(*key);
            (*label, asked.but("tab", value), *key == tab, count(key))
        })
        .collect()
}
