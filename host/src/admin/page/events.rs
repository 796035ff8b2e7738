//! Events: what came in, and where is mine?

use std::sync::Arc;

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::asked::Asked;
use super::frame::PageFrame;
use super::parts::html::{Html, coded, shown};
use super::parts::link::{Link, word};
use super::parts::measure::bytes;
use super::parts::state::{badge, named};
use super::parts::when::when_text;
use super::{html, params};
use crate::admin::events::{EventPage, list_events};
use crate::admin::params::EventQuery;
use crate::admin::problem::ProblemJson;
use crate::admin::sees::Sees;
use crate::admin::state::Admin;
use crate::admin::view::{DeliveryState, EventItem};
use crate::event::UNIDENTIFIED;
use crate::text::grouped;

/// More deliveries of an event than these are shown as counts.
const FEW_DELIVERIES: usize = 3;

#[derive(Template)]
#[template(path = "events.html")]
struct EventsPage {
    frame: PageFrame,
    filters: Vec<FilterField>,
    chips: Vec<(Html, String)>,
    views: Vec<(&'static str, String, bool)>,
    /// The problem of the query, if it has one.
    problem: Option<Html>,
    rows: Vec<EventRow>,
    bound: Option<String>,
    older: Option<String>,
    newest: Option<String>,
    is_first: bool,
    /// How many events there are, where the list has all of them.
    total: Option<u64>,
}

/// A field of the form.
#[derive(Debug)]
pub(super) struct FilterField {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) value: String,
    pub(super) hint: &'static str,
    /// The values to choose from; none if any text is one.
    pub(super) choices: Vec<(String, bool)>,
}

/// An event in the list.
#[derive(Debug)]
struct EventRow {
    id: String,
    path: String,
    time: Html,
    kind: Html,
    kind_path: String,
    subject: Option<(Html, String)>,
    source: Html,
    source_path: String,
    size: String,
    deliveries: Vec<Html>,
    note: Option<Html>,
}

/// Lists events.
pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    let query = asked.query::<EventQuery>();
    let answer = match query {
        Ok(query) => list_events(State(Arc::clone(&admin)), asked.sees(), params(query)).await,
        Err(problem) => Err(problem),
    };
    let (status, problem, page) = match answer {
        Ok(Json(page)) => (StatusCode::OK, None, page),
        Err(problem) if problem.parts().0 == StatusCode::BAD_REQUEST => {
            let text = coded(problem.parts().1);
            (StatusCode::BAD_REQUEST, Some(text), EventPage::default())
        }
        // Nobody is sent away for a search: what they may look for is beside the refusal.
        Err(problem) if problem.parts().0 == StatusCode::FORBIDDEN => {
            let text = without_payloads(problem.parts().1, &asked);
            (StatusCode::FORBIDDEN, Some(text), EventPage::default())
        }
        Err(problem) => return Err(problem),
    };
    let now_ms = admin.clock.now_ms();
    let is_first = asked.field("cursor").is_none();
    let frame = PageFrame::of(&admin, &asked, "events", "Events").await;
    let topics = if is_first && problem.is_none() { "stats,events" } else { "stats" };
    let is_whole = problem.is_none() && asked.fields().is_empty();
    let shows = EventsPage {
        frame: frame.live(topics).same_as(command(&asked), asked.call("/api/v1/events")),
        filters: filters(&admin, &asked),
        chips: chips(&asked),
        views: views(&asked),
        problem,
        bound: bound(&page),
        older: page.next_cursor.as_deref().map(|cursor| older(&asked, cursor)),
        newest: (!is_first).then(|| asked.but("cursor", None)),
        rows: page.items.into_iter().map(|item| EventRow::of(item, &asked, now_ms)).collect(),
        is_first,
        total: if is_whole { Some(admin.store.stats().await?.events) } else { None },
    };
    html(status, &shows)
}

/// The refusal of a search of payloads, and the searches that look into none.
fn without_payloads(detail: &str, asked: &Asked) -> Html {
    let mut html = coded(detail);
    if let Some(text) = asked.field("q") {
        html.text(". Without payloads, look for events with this ");
        let names = [("subject", "subject"), ("type", "type"), ("source", "source")];
        for (at, (name, label)) in names.into_iter().enumerate() {
            let path = Link::to("/events").with(name, text).into_text();
            html.raw(if at == 0 { "" } else { ", " }).raw("<a href=\"").text(&path).raw("\">");
            html.text(label).raw("</a>");
        }
        html.text(", or by an id.");
    }
    html
}

/// The page after this one.
pub(super) fn older(asked: &Asked, cursor: &str) -> String {
    asked.but("cursor", Some(cursor))
}

/// How far was looked, where that is not to the end.
fn bound(page: &EventPage) -> Option<String> {
    let back_to = page.back_to.as_deref()?;
    let found = page.items.len();
    Some(match page.looked_at {
        Some(events) => format!(
            "looked at {} events, back to {back_to} · {found} found",
            grouped(events.into())
        ),
        None => format!("{found} shown, back to {back_to}"),
    })
}

/// The command that lists the same.
fn command(asked: &Asked) -> String {
    let mut command = "hookbox events".to_owned();
    for (name, value) in asked.fields().iter().filter(|(name, _)| name != "cursor") {
        let flag = if name == "q" { "query".to_owned() } else { name.replace('_', "-") };
        command.push_str(&format!(" --{flag} {}", word(value)));
    }
    command
}

/// The values of a select: any, and these.
pub(super) fn choices<'v>(
    known: impl IntoIterator<Item = &'v str>,
    value: &str,
) -> Vec<(String, bool)> {
    known.into_iter().map(|it| (it.to_owned(), it == value)).collect()
}

fn filters(admin: &Admin, asked: &Asked) -> Vec<FilterField> {
    let config = admin.config.load();
    let registry = admin.registry.load();
    let field = |name, label, hint| FilterField {
        name,
        label,
        value: asked.field(name).unwrap_or_default().to_owned(),
        hint,
        choices: Vec::new(),
    };
    let states = crate::event::State::ALL.map(crate::event::State::name);
    let plugins: Vec<&str> = registry.entries().map(|(name, _)| name.as_ref()).collect();
    let of = |name| asked.field(name).unwrap_or_default();
    // A source of the address may be one that is gone, or a plugin.
    let mut sources: Vec<&str> = config.sources.keys().map(String::as_str).collect();
    if !of("source").is_empty() && !sources.contains(&of("source")) {
        sources.push(of("source"));
    }
    let mut fields = vec![
        field("type", "type", "order.*"),
        FilterField { choices: choices(sources, of("source")), ..field("source", "source", "") },
        field("subject", "subject", "exactly"),
        FilterField {
            choices: choices(states.into_iter().chain(["unrouted"]), of("state")),
            ..field("state", "state", "")
        },
        FilterField { choices: choices(plugins, of("plugin")), ..field("plugin", "plugin", "") },
        field("q", "text", "in id, type, body …"),
        field("since", "from", "2026-11-23T15:04:05Z"),
        field("until", "to", "now"),
    ];
    // A client that reads no payload cannot search in them.
    fields.retain(|field| field.name != "q" || asked.sees() == Sees::ALL);
    fields
}

/// The filters that apply, each with the address without it.
pub(super) fn chips(asked: &Asked) -> Vec<(Html, String)> {
    let fields = asked.fields().iter().filter(|(name, _)| name != "cursor");
    fields
        .map(|(name, value)| {
            let value: String = value.chars().take(80).collect();
            (shown(&format!("{name}: {value}")), asked.but(name, None))
        })
        .collect()
}

fn views(asked: &Asked) -> Vec<(&'static str, String, bool)> {
    let all = Link::to("/events");
    let current = |name: &str, value: &str| asked.field(name) == Some(value);
    vec![
        ("all", all.clone().into_text(), asked.fields().is_empty()),
        ("dead", all.clone().with("state", "dead").into_text(), current("state", "dead")),
        ("waiting", all.clone().with("state", "waiting").into_text(), current("state", "waiting")),
        (
            "tried again",
            all.clone().with("min_attempts", "2").into_text(),
            current("min_attempts", "2"),
        ),
        (
            "unrouted",
            all.clone().with("state", "unrouted").into_text(),
            current("state", "unrouted"),
        ),
        ("unidentified", all.with("type", UNIDENTIFIED).into_text(), current("type", UNIDENTIFIED)),
    ]
}

impl EventRow {
    fn of(item: EventItem, asked: &Asked, now_ms: i64) -> Self {
        let EventItem { attributes, deliveries } = item;
        let source = attributes.source.as_str();
        let emitted = source.strip_prefix("plugins/");
        let narrow = |name: &str, value: &str| asked.but(name, Some(value));
        Self {
            path: Link::to("/events").segment(&attributes.id).into_text(),
            time: when_text(&attributes.time, now_ms),
            kind: shown(&attributes.kind),
            kind_path: narrow("type", &attributes.kind),
            subject: attributes.subject.as_deref().map(|it| (shown(it), narrow("subject", it))),
            source: emitted.map_or_else(|| shown(source), |name| shown(&format!("↳ {name}"))),
            source_path: narrow("source", source),
            size: bytes(attributes.data_bytes),
            deliveries: stands(&deliveries),
            note: attributes.note.as_deref().map(shown),
            id: attributes.id,
        }
    }
}

/// Where the deliveries of an event stand: each, or their number by state if they are many.
fn stands(deliveries: &[DeliveryState]) -> Vec<Html> {
    if deliveries.len() <= FEW_DELIVERIES {
        return deliveries.iter().map(|it| named(it.state, &it.plugin)).collect();
    }
    let mut found = Vec::new();
    for state in crate::event::State::ALL.map(crate::event::State::name) {
        let count = deliveries.iter().filter(|it| it.state == state).count();
        if count > 0 {
            let mut html = badge(state);
            html.text(&format!(" {}", grouped(count as u64)));
            found.push(html);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(state: &'static str) -> DeliveryState {
        DeliveryState { plugin: "audit".to_owned(), state }
    }

    #[test]
    fn few_deliveries_are_named_and_many_are_counted() {
        let few = stands(&[at("done"), at("dead")]);
        assert!(few[0].to_string().contains("audit") && few.len() == 2);
        let many = stands(&[at("done"), at("dead"), at("done"), at("done")]);
        let text: String = many.iter().map(ToString::to_string).collect();
        assert!(text.contains("done</span> 3") && text.contains("dead</span> 1"), "{text}");
    }

    #[test]
    fn a_search_that_ends_early_says_where() {
        let mut page = EventPage { back_to: Some("T".to_owned()), ..EventPage::default() };
        page.looked_at = Some(20_000);
        assert_eq!(bound(&page).unwrap(), "looked at 20,000 events, back to T · 0 found");
        assert_eq!(bound(&EventPage::default()), None);
    }

    #[test]
    fn the_command_has_the_filters() {
        let uri = "/events?type=a.*&min_attempts=2&cursor=x&q=a+b".parse().unwrap();
        let command = command(&Asked::of(&uri));
        assert_eq!(command, "hookbox events --type 'a.*' --min-attempts 2 --query 'a b'");
    }
}
