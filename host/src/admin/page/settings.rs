//! Settings: which configuration applies, who changed what, who may, and what this host is.

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
use super::parts::when::{when, when_text};
use super::request::Asked;
use super::{html, params};
use crate::admin::audit::{AuditEntryJson, list_audit};
use crate::admin::params::{AuditQuery, NoQuery};
use crate::admin::problem::ProblemJson;
use crate::admin::state::{Admin, MAX_BODY_BYTES, MAX_CONNECTIONS, MAX_EXPORTS, MAX_STREAMS};
use crate::admin::who::{ConfigJson, list_tokens, show_config};
use crate::sandbox::ENGINE;
use crate::text::duration;

pub(super) mod hosts;

/// The parts of the settings, with their addresses.
const PARTS: [(&str, &str); 5] = [
    ("Configuration", "/settings"),
    ("Audit", "/settings/audit"),
    ("Tokens", "/settings/tokens"),
    ("Hosts", "/settings/hosts"),
    ("About", "/settings/about"),
];

/// Label, address, and whether it is the part that is shown.
type PartLinks = Vec<(&'static str, &'static str, bool)>;

fn parts(asked: &Asked) -> PartLinks {
    PARTS.into_iter().map(|(label, path)| (label, path, path == asked.path())).collect()
}

#[derive(Template)]
#[template(path = "settings.html")]
struct SettingsPage {
    frame: PageFrame,
    parts: PartLinks,
    read: Option<Html>,
    config: ConfigJson,
}

/// Shows the configuration that is in force.
pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    asked.query::<NoQuery>()?;
    let Json(config) = show_config(State(Arc::clone(&admin)), params(NoQuery {})).await;
    let frame = PageFrame::of(&admin, &asked, "settings", "Configuration").await;
    let page = SettingsPage {
        frame: frame
            .live("stats,plugins")
            .same_as("hookbox config".to_owned(), "/api/v1/config".to_owned()),
        parts: parts(&asked),
        read: config.read_at.as_deref().map(|at| when_text(at, admin.clock.now_ms())),
        config,
    };
    html(StatusCode::OK, &page)
}

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    frame: PageFrame,
    parts: PartLinks,
    filters: FilterForm,
    problem: Option<Html>,
    rows: Vec<AuditRow>,
    older: Option<String>,
    newer: Option<String>,
    /// Where the lines of all that match are.
    export: String,
}

/// An entry of the audit log.
#[derive(Debug)]
struct AuditRow {
    id: i64,
    time: Html,
    actor: Html,
    role: String,
    via: String,
    action: String,
    target: Html,
    detail: Html,
    result: Html,
}

impl AuditRow {
    fn of(entry: AuditEntryJson, now_ms: i64) -> Self {
        Self {
            id: entry.id,
            time: when_text(&entry.at, now_ms),
            actor: shown(&entry.actor),
            role: entry.role,
            via: entry.via,
            action: entry.action,
            target: shown(&entry.target),
            detail: shown(&entry.detail),
            result: shown(if entry.result.get() == "null" { "done" } else { entry.result.get() }),
        }
    }
}

/// Lists the entries of the audit log.
pub(super) async fn audit(
    State(admin): State<Arc<Admin>>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    let answer = match asked.query::<AuditQuery>() {
        Ok(query) => list_audit(State(Arc::clone(&admin)), asked.sees(), params(query)).await,
        Err(problem) => Err(problem),
    };
    let (status, problem, items, next) = match answer {
        Ok(Json(page)) => (StatusCode::OK, None, page.items, page.next_cursor),
        Err(problem) if problem.parts().0 == StatusCode::BAD_REQUEST => {
            (StatusCode::BAD_REQUEST, Some(coded(problem.parts().1)), Vec::new(), None)
        }
        Err(problem) => return Err(problem),
    };
    let now_ms = admin.clock.now_ms();
    let field = |name, label, hint| FilterField::of(&asked, name, label, hint);
    let fields = vec![
        field("actor", "who", "jo"),
        field("action", "action", "deliveries"),
        field("target", "on", "an id, a name"),
        field("since", "from", "2026-11-23T15:04:05Z"),
        field("until", "to", "now"),
    ];
    let frame = PageFrame::of(&admin, &asked, "settings", "Audit").await;
    let page = AuditPage {
        frame: frame
            .live("stats")
            .same_as(asked.command("hookbox audit"), asked.call("/api/v1/audit")),
        parts: parts(&asked),
        filters: FilterForm::of::<AuditQuery>(&asked, fields),
        problem,
        rows: items.into_iter().map(|entry| AuditRow::of(entry, now_ms)).collect(),
        older: next.as_deref().map(|cursor| asked.older(cursor)),
        newer: asked.newer(),
        export: lines(&asked),
    };
    html(status, &page)
}

/// The lines of all entries that match.
fn lines(asked: &Asked) -> String {
    let fields = asked.filters::<AuditQuery>().into_iter().filter(|(name, _)| name != "limit");
    let link = Link::to("/api/v1/audit/export");
    fields.fold(link, |link, (name, value)| link.with(&name, &value)).into_text()
}

#[derive(Template)]
#[template(path = "tokens.html")]
struct TokensPage {
    frame: PageFrame,
    parts: PartLinks,
    rows: Vec<TokenRow>,
}

/// A token.
#[derive(Debug)]
struct TokenRow {
    name: Html,
    role: &'static str,
    payloads: bool,
    used: Option<Html>,
}

/// Lists tokens.
pub(super) async fn tokens(
    State(admin): State<Arc<Admin>>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    asked.query::<NoQuery>()?;
    let Json(found) = list_tokens(State(Arc::clone(&admin)), params(NoQuery {})).await;
    let now_ms = admin.clock.now_ms();
    let frame = PageFrame::of(&admin, &asked, "settings", "Tokens").await;
    let page = TokensPage {
        frame: frame.same_as("hookbox token list".to_owned(), "/api/v1/tokens".to_owned()),
        parts: parts(&asked),
        rows: found
            .items
            .into_iter()
            .map(|token| TokenRow {
                name: shown(&token.name),
                role: token.role,
                payloads: token.payloads,
                used: token.last_used_at.as_deref().map(|at| when_text(at, now_ms)),
            })
            .collect(),
    };
    html(StatusCode::OK, &page)
}

#[derive(Template)]
#[template(path = "about.html")]
struct AboutPage {
    frame: PageFrame,
    parts: PartLinks,
    facts: Vec<(&'static str, Html)>,
}

/// Says what this host is.
pub(super) async fn about(
    State(admin): State<Arc<Admin>>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    asked.query::<NoQuery>()?;
    let config = admin.config.load();
    let mut up = when(admin.started_ms, admin.clock.now_ms());
    up.text(", for ").text(&duration((admin.clock.now_ms() - admin.started_ms) as f64));
    let facts = vec![
        ("version", shown(env!("CARGO_PKG_VERSION"))),
        ("engine", shown(ENGINE)),
        ("started", up),
        ("name", shown(&config.server.name)),
        ("configuration", shown(&config.path.display().to_string())),
        ("generation", shown(&admin.status.get().generation.to_string())),
        ("webhooks", shown(&config.server.listen.to_string())),
        ("this address", shown(&config.server.admin.to_string())),
        ("connections here, at most", shown(&MAX_CONNECTIONS.to_string())),
        ("pages that are live at once", shown(&MAX_STREAMS.to_string())),
        ("exports at once", shown(&MAX_EXPORTS.to_string())),
        ("bytes of a request, at most", shown(&MAX_BODY_BYTES.to_string())),
    ];
    let frame = PageFrame::of(&admin, &asked, "settings", "About").await;
    let page = AboutPage {
        frame: frame.same_as("hookbox stats --json".to_owned(), "/api/v1/stats".to_owned()),
        parts: parts(&asked),
        facts,
    };
    html(StatusCode::OK, &page)
}
