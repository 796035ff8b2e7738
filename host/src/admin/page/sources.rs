//! Sources: does the provider get through, and if not, why?

use std::sync::Arc;

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::form::{FormFields, ONCE, once, see_other};
use super::frame::PageFrame;
use super::parts::html::{Html, coded, shown};
use super::parts::link::{Link, word};
use super::parts::measure::bytes;
use super::parts::state::badge;
use super::parts::when::when_text;
use super::request::Asked;
use super::trail::Trail;
use super::{html, params};
use crate::admin::by::By;
use crate::admin::params::{Id, NoQuery};
use crate::admin::problem::ProblemJson;
use crate::admin::sources::test::{TestRequest, Tested, send};
use crate::admin::sources::{
    ReasonJson, RefusalJson, SecretJson, SourceDetail, SourceJson, list_refusals, list_sources,
    show_source,
};
use crate::admin::state::Admin;
use crate::text::{duration, grouped};

mod types;
mod window;

use types::TypeRow;
pub(super) use window::take_secret;
use window::{WindowShown, confirmed};

/// The field of the address that names the event of a test.
const TESTED: &str = "tested";

/// The hints after which the pages look again: a refused request changes nothing in the store.
const TOPICS: &str = "stats,sources";

#[derive(Template)]
#[template(path = "sources.html")]
struct SourcesPage {
    frame: PageFrame,
    rows: Vec<SourceLine>,
}

/// A source in the list.
#[derive(Debug)]
struct SourceLine {
    name: String,
    path: String,
    address: String,
    kind: String,
    state: Html,
    keys: String,
    accepted: String,
    duplicates: String,
    refused: String,
    /// The most frequent reason.
    most: Option<&'static str>,
    last: Option<Html>,
}

/// Lists sources.
pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    asked.query::<NoQuery>()?;
    let Json(found) = list_sources(State(Arc::clone(&admin)), params(NoQuery {})).await;
    let now_ms = admin.clock.now_ms();
    let frame = PageFrame::of(&admin, &asked, "sources", "Sources").await;
    let page = SourcesPage {
        frame: frame
            .live(TOPICS)
            .same_as("hookbox sources".to_owned(), "/api/v1/sources".to_owned()),
        rows: found.items.into_iter().map(|source| SourceLine::of(source, now_ms)).collect(),
    };
    html(StatusCode::OK, &page)
}

impl SourceLine {
    fn of(source: SourceJson, now_ms: i64) -> Self {
        let refused = source.refused.values().sum();
        let most = source.refused.iter().max_by_key(|(_, count)| **count);
        Self {
            path: Link::to("/sources").segment(&source.name).into_text(),
            address: format!("POST {}", source.path),
            kind: source.preset.clone().unwrap_or_else(|| source.scheme.to_owned()),
            state: badge(state(&source)),
            keys: keys(&source.secrets),
            accepted: grouped(source.accepted),
            duplicates: grouped(source.duplicates),
            refused: grouped(refused),
            most: most.map(|(reason, _)| *reason),
            last: source.last_at.map(|at| when_text(&at, now_ms)),
            name: source.name,
        }
    }
}

/// Whether it can receive.
fn state(source: &SourceJson) -> &'static str {
    match &source.closed {
        Some(_) => "missing",
        None if source.scheme == "none" => "open",
        None => "on",
    }
}

/// `1 of 2 keys used`.
fn keys(secrets: &[SecretJson]) -> String {
    let set = secrets.iter().filter(|secret| secret.set).count();
    let used = secrets.iter().filter(|secret| secret.last_used_at.is_some()).count();
    match set {
        0 => String::new(),
        _ => format!("{used} of {set} used"),
    }
}

#[derive(Template)]
#[template(path = "source.html")]
struct SourceShown {
    frame: PageFrame,
    name: String,
    state: Html,
    closed: Option<Html>,
    facts: Vec<(&'static str, Html)>,
    tiles: Vec<(&'static str, String)>,
    /// Whether nothing has come yet.
    is_new: bool,
    url: String,
    looks_for: String,
    secrets: Vec<(Html, &'static str, Option<Html>)>,
    /// Since when last uses of keys are known.
    uses_since: Html,
    rotation: Vec<Html>,
    types: Vec<TypeRow>,
    reasons: Vec<ReasonRow>,
    refusals: Vec<RefusalRow>,
    tested: Option<(String, String)>,
    samples: Vec<String>,
    untestable: Option<Html>,
    window: Option<WindowShown>,
    confirmation: Option<Html>,
    events: String,
    trail: Trail,
}

/// A reason.
#[derive(Debug)]
struct ReasonRow {
    reason: &'static str,
    count: String,
    last: Html,
    meaning: &'static str,
    remedy: &'static str,
    hint: Option<Html>,
}

/// A request that was refused.
#[derive(Debug)]
struct RefusalRow {
    at: Html,
    reason: &'static str,
    client: String,
    body: String,
    headers: Html,
    offset: Option<String>,
    hint: Option<Html>,
}

impl ReasonRow {
    fn of(reason: ReasonJson, now_ms: i64) -> Self {
        Self {
            reason: reason.reason,
            count: grouped(reason.count),
            last: when_text(&reason.last_at, now_ms),
            meaning: reason.meaning,
            remedy: reason.remedy,
            hint: reason.hint.as_deref().map(sentence),
        }
    }
}

/// A hint as a sentence; some are questions.
fn sentence(hint: &str) -> Html {
    let end = if hint.ends_with(['?', '.']) { "" } else { "." };
    coded(&format!("{hint}{end}"))
}

impl RefusalRow {
    fn of(refusal: RefusalJson, now_ms: i64) -> Self {
        Self {
            at: when_text(&refusal.at, now_ms),
            reason: refusal.reason,
            client: refusal.client_address,
            body: refusal.body_bytes.map(bytes).unwrap_or_default(),
            headers: shown(&refusal.headers.join(", ")),
            offset: refusal.offset_s.map(offset),
            hint: refusal.hint.as_deref().map(coded),
        }
    }
}

/// How far a time of sending is from the time of arrival.
fn offset(seconds: i64) -> String {
    let distance = duration(seconds.unsigned_abs() as f64 * 1_000.0);
    match seconds {
        0 => "0 s".to_owned(),
        1.. => format!("{distance} before"),
        _ => format!("{distance} after"),
    }
}

/// Shows one source.
pub(super) async fn one(
    State(admin): State<Arc<Admin>>,
    Id(name): Id<String>,
    mut asked: Asked,
) -> Result<Response, ProblemJson> {
    let tested = asked.take(TESTED).map(|id| {
        let path = Link::to("/events").segment(&id).into_text();
        (id, path)
    });
    asked.query::<NoQuery>()?;
    let shared = || State(Arc::clone(&admin));
    let Json(detail) = show_source(shared(), params(NoQuery {}), Id(name.clone())).await?;
    let Json(refusals) = list_refusals(shared(), params(NoQuery {}), Id(name)).await?;
    let now_ms = admin.clock.now_ms();
    let (facts, tiles) = (facts(&detail), tiles(&detail));
    let SourceDetail { source, signature_headers, types, reasons, samples, .. } = detail;
    let SourceDetail { untestable, secret_window, confirmation, .. } = detail;
    let name = source.name.clone();
    let frame = PageFrame::of(&admin, &asked, "sources", name.clone()).await;
    let call = Link::to("/api/v1/sources").segment(&name).into_text();
    let secret = |it: &SecretJson| {
        let last = it.last_used_at.as_deref().map(|at| when_text(at, now_ms));
        (coded(&it.from), if it.set { "set" } else { "not set" }, last)
    };
    let page = SourceShown {
        frame: frame.live(TOPICS).same_as(format!("hookbox sources {}", word(&name)), call),
        state: badge(state(&source)),
        closed: source.closed.as_deref().map(coded),
        facts,
        tiles,
        is_new: source.last_at.is_none() && source.refused.is_empty(),
        url: format!("http://{}{}", admin.public_address, source.path),
        looks_for: signature_headers.join(", "),
        types: types.into_iter().map(|seen| TypeRow::of(seen, &name, now_ms)).collect(),
        secrets: source.secrets.iter().map(secret).collect(),
        rotation: rotation(&source.secrets, &when_text(&source.key_uses_since, now_ms)),
        uses_since: when_text(&source.key_uses_since, now_ms),
        reasons: reasons.into_iter().map(|it| ReasonRow::of(it, now_ms)).collect(),
        refusals: refusals.items.into_iter().map(|it| RefusalRow::of(it, now_ms)).collect(),
        tested,
        samples,
        untestable: untestable.as_deref().map(coded),
        confirmation: confirmation.map(|it| confirmed(&it, now_ms)),
        window: secret_window.map(|window| WindowShown::of(&window, &name, now_ms)),
        events: Link::to("/events").with("source", &name).into_text(),
        trail: Trail::of_name(&admin, asked.sees(), &name, "sources").await?,
        name,
    };
    html(StatusCode::OK, &page)
}

impl SourceShown {
    /// The name of its form.
    fn once(&self) -> String {
        once()
    }

    /// Whether some refused request said when it was sent.
    fn has_offsets(&self) -> bool {
        self.refusals.iter().any(|row| row.offset.is_some())
    }
}

fn facts(detail: &SourceDetail) -> Vec<(&'static str, Html)> {
    let source = &detail.source;
    let mut facts = vec![("address", shown(&format!("POST {}", source.path)))];
    facts.extend(source.preset.as_deref().map(|preset| ("preset", shown(preset))));
    facts.push(("signature", shown(source.scheme)));
    if !detail.signature_headers.is_empty() {
        facts.push(("looked for in", shown(&detail.signature_headers.join(", "))));
    }
    facts.extend(detail.timestamp_header.as_deref().map(|name| ("time of sending", shown(name))));
    facts.push(("events", shown(&detail.events)));
    facts.push(("type", shown(&detail.type_from)));
    facts
}

fn tiles(detail: &SourceDetail) -> Vec<(&'static str, String)> {
    let (source, day) = (&detail.source, &detail.day);
    vec![
        ("accepted, 24 h", grouped(day.accepted)),
        ("duplicate, 24 h", grouped(day.duplicates)),
        ("refused, 24 h", grouped(day.refused)),
        ("accepted since the start", grouped(source.accepted)),
        ("duplicate since the start", grouped(source.duplicates)),
        ("refused since the start", grouped(source.refused.values().sum())),
    ]
}

/// Keys that may not be needed any more; `since` is the time from which on uses are known.
fn rotation(secrets: &[SecretJson], since: &Html) -> Vec<Html> {
    let is_used = |secret: &&SecretJson| secret.last_used_at.is_some();
    let set = || secrets.iter().filter(|secret| secret.set);
    if set().count() < 2 || !set().any(|secret| is_used(&secret)) {
        return Vec::new();
    }
    let unused = set().filter(|secret| !is_used(secret));
    let remark = |secret: &SecretJson| {
        let mut html = coded(&format!("No request was signed with {} since ", secret.from));
        html.raw(since).text(": if that is long enough, it can go.");
        html
    };
    unused.map(remark).collect()
}

/// Sends a test event.
pub(super) async fn test(
    State(admin): State<Arc<Admin>>,
    by: By,
    Id(name): Id<String>,
    mut form: FormFields,
) -> Result<Response, ProblemJson> {
    let by = by.once(form.take(ONCE));
    let Some(kind) = form.take("type") else {
        return Err(ProblemJson::bad_request(
            "`type` is missing: it is the type of the test event",
        ));
    };
    let request = TestRequest::of_lines(kind, &form.take("set").unwrap_or_default())?;
    let Tested { status, reply, event_id, .. } = send(&admin, by, &name, request).await?;
    let Some(id) = event_id else {
        let why = reply["detail"].as_str().map_or_else(|| reply.to_string(), str::to_owned);
        let detail = format!("the public address replied {status}: {why}");
        return Err(ProblemJson::conflict(detail));
    };
    Ok(see_other(&Link::to("/sources").segment(&name).with(TESTED, &id).into_text()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(from: &str, last: Option<&str>) -> SecretJson {
        SecretJson { from: from.to_owned(), set: true, last_used_at: last.map(str::to_owned) }
    }

    #[test]
    fn a_key_that_nobody_uses_beside_one_that_is_used_can_go() {
        let (old, new) = (secret("old", None), secret("new", Some("2026-02-02T00:00:00.000Z")));
        let rotation = |secrets: &[SecretJson]| -> Vec<String> {
            let remarks = super::rotation(secrets, &shown("3 d ago"));
            remarks.iter().map(ToString::to_string).collect()
        };
        let remarks = rotation(&[old, new]);
        assert!(remarks.len() == 1 && remarks[0].contains(" old "), "{remarks:?}");
        assert!(remarks[0].contains("since 3 d ago: if that is long enough"), "{remarks:?}");
        assert_eq!(rotation(&[secret("old", None), secret("new", None)]), Vec::<String>::new());
        assert_eq!(rotation(&[secret("old", None)]), Vec::<String>::new());
        assert_eq!(keys(&[secret("a", None), secret("b", Some("x"))]), "1 of 2 used");
    }

    #[test]
    fn an_offset_says_on_which_side_it_is() {
        assert_eq!(offset(542), "9.03 min before");
        assert_eq!(offset(-1), "1 s after");
        assert_eq!(offset(0), "0 s");
    }
}
