//! Events: what came in, and where is mine?

use std::sync::Arc;

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::filters::{FilterField, FilterForm};
use super::frame::PageFrame;
use super::parts::html::{Html, coded, shown};
use super::parts::link::Link;
use super::parts::measure::bytes;
use super::parts::state::{badge, named};
use super::parts::when::when_text;
use super::request::Asked;
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
    filters: FilterForm,
    views: Vec<(&'static str, String, bool)>,
    /// The problem of the query, if it has one.
    problem: Option<Html>,
    rows: Vec<EventRow>,
    bound: Option<String>,
    older: Option<String>,
    newer: Option<String>,
    newest: Option<String>,
    /// Where all that match are replayed, if there is a filter.
    replay_all: Option<String>,
    /// Where the lines of all that match are.
    export: String,
    is_first: bool,
    /// How many events there are, where the list has all of them.
    total: Option<u64>,
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
        frame: frame
            .live(topics)
            .same_as(asked.command("hookbox events"), asked.call("/api/v1/events")),
        filters: filters(&admin, &asked),
        views: views(&asked),
        problem,
        bound: bound(&page),
        older: page.next_cursor.as_deref().map(|cursor| asked.older(cursor)),
        newer: asked.newer(),
        export: export(&asked),
        newest: (!is_first).then(|| asked.but("cursor", None)),
        replay_all: replay_all(&asked),
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

/// Where all events that match are replayed, and back to here; nowhere without a filter.
fn replay_all(asked: &Asked) -> Option<String> {
    const PAGED: [&str; 2] = ["cursor", "limit"];
    let filters = asked.fields().iter().filter(|(name, _)| !PAGED.contains(&name.as_str()));
    let all = filters.fold(Link::to("/replays/new"), |link, (name, value)| link.with(name, value));
    let is_filtered = asked.fields().iter().any(|(name, _)| !PAGED.contains(&name.as_str()));
    is_filtered.then(|| all.with("list", asked.here()).into_text())
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

fn filters(admin: &Admin, asked: &Asked) -> FilterForm {
    let config = admin.config.load();
    let registry = admin.registry.load();
    let field = |name, label, hint| FilterField::of(asked, name, label, hint);
    let states = crate::event::State::ALL.map(crate::event::State::name);
    let plugins = registry.entries().map(|(name, _)| name.as_ref());
    let mut fields = vec![
        field("type", "type", "order.*"),
        field("source", "source", "").among(config.sources.keys().map(String::as_str)),
        field("subject", "subject", "exactly"),
        field("state", "state", "").among(states.into_iter().chain(["unrouted", "failing"])),
        field("plugin", "plugin", "").among(plugins),
        field("q", "text", "in id, type, body …"),
        field("since", "from", "2026-11-23T15:04:05Z"),
        field("until", "to", "now"),
    ];
    // A client that reads no payload cannot search in them.
    fields.retain(|field| field.name != "q" || asked.sees() == Sees::ALL);
    let mut form = FilterForm::of::<EventQuery>(asked, fields);
    form.kept.retain(|(name, _)| name != "q");
    form
}

fn views(asked: &Asked) -> Vec<(&'static str, String, bool)> {
    let of = |label, name, value: &str| {
        let path = Link::to("/events").with(name, value).into_text();
        (label, path, asked.field(name) == Some(value))
    };
    vec![
        ("all", "/events".to_owned(), asked.fields().is_empty()),
        of("failing", "state", "failing"),
        of("dead", "state", "dead"),
        of("waiting", "state", "waiting"),
        of("tried again", "min_attempts", "2"),
        of("unrouted", "state", "unrouted"),
        of("unidentified", "type", UNIDENTIFIED),
        of("emitted by plugins", "emitted", "true"),
    ]
}

/// The lines of all that match: neither where this page begins nor how long it is.
fn export(asked: &Asked) -> String {
    let fields = asked.filters::<EventQuery>().into_iter().filter(|(name, _)| name != "limit");
    let link = Link::to("/api/v1/events/export");
    fields.fold(link, |link, (name, value)| link.with(&name, &value)).into_text()
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
    fn the_command_and_the_export_have_the_filters() {
        let uri = "/events?type=a.*&min_attempts=2&cursor=x&q=a+b&limit=5".parse().unwrap();
        let asked = Asked::of(&uri);
        assert_eq!(
            asked.command("hookbox events"),
            "hookbox events --type 'a.*' --min-attempts 2 --cursor x --query 'a b' --limit 5"
        );
        let path = "/api/v1/events/export?type=a.%2A&min_attempts=2&q=a%20b";
        assert_eq!(export(&asked), path);
    }
}
