//! Trials: an event on a plugin, without effects, beside the attempt before it.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::form::FormFields;
use super::frame::PageFrame;
use super::html;
use super::parts::html::{Html, shown, shown_lines};
use super::parts::link::{Link, word};
use super::parts::measure::bytes;
use super::parts::state::badge;
use super::request::Asked;
use crate::admin::params::{EventEdit, Id, NoQuery};
use crate::admin::plugins::known;
use crate::admin::problem::ProblemJson;
use crate::admin::state::Admin;
use crate::admin::trials::{TrialJson, tried};
use crate::admin::verdict::AgainstJson;
use crate::event::EventId;
use crate::text::duration;

/// The end of a trial as it is shown.
#[derive(Debug)]
pub(in crate::admin::page) struct TrialPart {
    pub(in crate::admin::page) outcome: Html,
    pub(in crate::admin::page) facts: String,
    pub(in crate::admin::page) error: Option<Html>,
    pub(in crate::admin::page) against: Option<Html>,
    /// Headings, and what belongs there.
    pub(in crate::admin::page) lists: Vec<(&'static str, Vec<Html>)>,
}

impl From<TrialJson> for TrialPart {
    fn from(trial: TrialJson) -> Self {
        let log = trial.logs.iter().map(|it| shown(&format!("{}: {}", it.level, it.message)));
        let emitted = trial.emitted.iter().map(|it| {
            let subject = it.subject.as_deref().unwrap_or_default();
            let to = match it.plugins.is_empty() {
                true => "no route takes it".to_owned(),
                false => format!("to {}", it.plugins.join(", ")),
            };
            let mut html = shown(&format!("{} {subject}, {to}", it.kind));
            if let Some(data) = &it.data {
                let text: String = data.get().chars().take(2_000).collect();
                html.raw("<br><code>").text(&text).raw("</code>");
            }
            html
        });
        let writes = trial.kv_writes.iter().map(|it| match (&it.value_base64, it.add) {
            (_, Some(number)) => shown(&format!("add {number} to {}", it.key)),
            (Some(value), None) => {
                shown(&format!("write {}, about {} bytes", it.key, value.len() / 4 * 3))
            }
            (None, None) => shown(&format!("delete {}", it.key)),
        });
        let requests = trial.requests.iter().map(|it| {
            let why = it.error.as_deref().unwrap_or("not sent");
            shown(&format!("{} {}: {why}", it.method, it.url))
        });
        let lists = vec![
            ("Would emit", emitted.collect()),
            ("Would write", writes.collect()),
            ("Requests, all refused", requests.collect()),
            ("Log", log.collect()),
        ];
        Self {
            outcome: badge(trial.outcome),
            facts: format!(
                "in {}, {} of CPU, with {}",
                duration(trial.duration_ms),
                duration(trial.cpu_ms),
                bytes(trial.memory_bytes)
            ),
            error: trial.error.as_deref().map(shown_lines),
            against: trial.against.as_ref().map(against),
            lists: lists.into_iter().filter(|(_, items): &(_, Vec<_>)| !items.is_empty()).collect(),
        }
    }
}

fn against(against: &AgainstJson) -> Html {
    let mut html = Html::default();
    html.raw("<strong>").text(against.verdict).raw("</strong>: the last attempt of the event was ");
    html.raw(badge(against.outcome));
    if let Some(error) = &against.error {
        html.text(" ").raw("<span class=\"err\">").text(error).raw("</span>");
    }
    html
}

#[derive(Template)]
#[template(path = "try.html")]
struct TryPage {
    frame: PageFrame,
    plugin: String,
    path: String,
    event: String,
    trial: Option<TrialPart>,
}

/// Asks for an event.
pub(in crate::admin::page) async fn ask(
    State(admin): State<Arc<Admin>>,
    Id(name): Id<String>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    asked.query::<NoQuery>()?;
    shown_page(&admin, &asked, &name, String::new(), None).await
}

/// Tries it, and shows what came of it.
pub(in crate::admin::page) async fn act(
    State(admin): State<Arc<Admin>>,
    Id(name): Id<String>,
    asked: Asked,
    mut form: FormFields,
) -> Result<Response, ProblemJson> {
    let event = form.take("event").unwrap_or_default();
    let id: EventId = event
        .trim()
        .parse()
        .map_err(|error| ProblemJson::bad_request(format!("`event`: {error}")))?;
    let trial = tried(&admin, &name, id, EventEdit::default(), None).await?;
    shown_page(&admin, &asked, &name, event, Some(trial.into())).await
}

async fn shown_page(
    admin: &Admin,
    asked: &Asked,
    name: &str,
    event: String,
    trial: Option<TrialPart>,
) -> Result<Response, ProblemJson> {
    let registry = admin.registry.load_full();
    let (name, _) = known(&registry, name)?;
    let own = Link::to("/plugins").segment(name);
    let frame = PageFrame::of(admin, asked, "plugins", format!("Try {name}")).await;
    let api = format!("/api/v1{}", own.clone().segment("try").into_text());
    let id = if event.is_empty() { "evt_…" } else { event.as_str() };
    let page = TryPage {
        frame: frame.same_as(
            format!("hookbox plugins try {} --event {}", word(name), word(id)),
            format!("{api}' --json '{{\"event_id\": \"{id}\"}}"),
        ),
        plugin: name.to_string(),
        path: own.into_text(),
        event,
        trial,
    };
    html(StatusCode::OK, &page)
}
