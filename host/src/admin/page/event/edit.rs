//! Edit and replay: a new event is made of an old one, with the difference shown before.

use std::sync::Arc;

use askama::Template;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::admin::body;
use crate::admin::by::By;
use crate::admin::page::confirm::Choice;
use crate::admin::page::form::{FormFields, ONCE, once, see_other};
use crate::admin::page::frame::PageFrame;
use crate::admin::page::html;
use crate::admin::page::parts::difference::{difference, with_line_ends};
use crate::admin::page::parts::html::{Html, field_text};
use crate::admin::page::parts::link::Link;
use crate::admin::page::request::Asked;
use crate::admin::page::trials::TrialPart;
use crate::admin::params::{EventEdit, Id, NoQuery, ReplayAsked, decoded};
use crate::admin::problem::ProblemJson;
use crate::admin::replay::replay_event;
use crate::admin::state::Admin;
use crate::admin::trials::tried;
use crate::event::EventId;
use crate::store::EventView;

/// The most bytes of a body that the page shows in a field.
const MAX_FIELD: usize = 48 << 10;

#[derive(Template)]
#[template(path = "edit.html")]
struct EditPage {
    frame: PageFrame,
    id: String,
    path: String,
    action: String,
    kind: String,
    subject: String,
    data: Html,
    /// The name of the field with the body: `data` or `data_base64`.
    field: &'static str,
    /// Whether the body was JSON as it came.
    is_json: bool,
    /// The difference, if it was asked for.
    difference: Option<Difference>,
    trial: Option<TrialPart>,
    choices: Vec<Choice>,
}

/// The difference to the event as it is stored.
#[derive(Debug)]
struct Difference {
    attributes: Vec<String>,
    body: Option<Html>,
    is_other: bool,
}

impl EditPage {
    /// The name of its form.
    fn once(&self) -> String {
        once()
    }
}

/// Whether a field of a form gives the text back as it is, but for its line ends.
fn is_text(body: &[u8]) -> Option<&str> {
    let is_odd = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    std::str::from_utf8(body).ok().filter(|text| !text.contains(is_odd))
}

/// An event that the page can show in a field.
async fn editable(admin: &Arc<Admin>, id: EventId) -> Result<EventView, ProblemJson> {
    let old = admin.store.event(id).await?;
    if let Some(emptied) = old.emptied {
        let detail = format!("event `{id}` {}: there is nothing left to edit", emptied.reason());
        return Err(ProblemJson::conflict(detail));
    }
    let length = old.event.attributes.body.len();
    if length > MAX_FIELD {
        return Err(ProblemJson::conflict(format!(
            "its body has {length} bytes, and {MAX_FIELD} are the most that a page edits: \
             `hookbox events edit {id}` opens it in an editor"
        )));
    }
    Ok(old)
}

/// Shows the event in fields.
pub(in crate::admin::page) async fn ask(
    State(admin): State<Arc<Admin>>,
    Id(id): Id<EventId>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    asked.query::<NoQuery>()?;
    let old = editable(&admin, id).await?;
    let attributes = &old.event.attributes;
    let edited = Edited {
        kind: attributes.kind.clone(),
        subject: attributes.subject.clone().unwrap_or_default(),
        data: attributes.body.clone(),
        plugin: String::new(),
    };
    shown(&admin, &asked, &old, edited, (None, None)).await
}

/// The fields as they were sent.
struct Edited {
    kind: String,
    subject: String,
    data: Bytes,
    plugin: String,
}

impl Edited {
    fn of(old: &EventView, form: &mut FormFields) -> Result<Self, ProblemJson> {
        let body = &old.event.attributes.body;
        let data = match (form.take("data_base64"), is_text(body)) {
            (Some(text), _) => decoded(&text.split_whitespace().collect::<String>())?,
            (None, Some(text)) => {
                Bytes::from(with_line_ends(text, &form.take("data").unwrap_or_default()))
            }
            (None, None) => Bytes::new(),
        };
        let kind = form.take("type").unwrap_or_default();
        let subject = form.take("subject").unwrap_or_default();
        Ok(Self { kind, subject, data, plugin: form.take("plugin").unwrap_or_default() })
    }

    fn asked(self, old: &EventView) -> ReplayAsked {
        let attributes = &old.event.attributes;
        let subject = attributes.subject.as_deref().unwrap_or_default();
        let edit = EventEdit {
            data: Some(self.data).filter(|data| *data != attributes.body),
            kind: Some(self.kind).filter(|kind| *kind != attributes.kind),
            subject: Some(self.subject).filter(|it| it != subject),
        };
        let plugins = Some(self.plugin).filter(|plugin| !plugin.is_empty());
        ReplayAsked { plugins: plugins.into_iter().collect(), edit }
    }

    /// Tries it on the plugin that is chosen, or the only one to which it is routed.
    async fn tried(&self, admin: &Admin, old: &EventView) -> Result<TrialPart, ProblemJson> {
        let source = &old.event.attributes.source;
        let routed = admin.config.load().routes.targets(source, &self.kind);
        let plugin = match (self.plugin.as_str(), routed.as_slice()) {
            ("", [only]) => only.plugin.to_string(),
            ("", _) => {
                let count = routed.len();
                return Err(ProblemJson::bad_request(format!(
                    "`plugin` is missing: it is routed to {count} plugins, and a trial runs on one \
                     of them; go back and choose it"
                )));
            }
            (chosen, _) => chosen.to_owned(),
        };
        let edit = EventEdit {
            data: Some(self.data.clone()),
            kind: Some(self.kind.clone()),
            subject: Some(self.subject.clone()),
        };
        Ok(tried(admin, &plugin, old.event.id, edit, None).await?.into())
    }

    fn difference(&self, old: &EventView) -> Difference {
        let attributes = &old.event.attributes;
        let subject = attributes.subject.as_deref().unwrap_or_default();
        let mut found = Vec::new();
        if self.kind != attributes.kind {
            found.push(format!("type: {} → {}", attributes.kind, self.kind));
        }
        if self.subject != subject {
            found.push(format!("subject: {subject} → {}", self.subject));
        }
        let texts = (std::str::from_utf8(&attributes.body), std::str::from_utf8(&self.data));
        let body = match texts {
            (Ok(before), Ok(after)) => difference(before, after),
            _ => None,
        };
        let is_other = self.data != attributes.body;
        Difference { attributes: found, body, is_other }
    }
}

/// Shows the difference, or makes the event.
pub(in crate::admin::page) async fn act(
    State(admin): State<Arc<Admin>>,
    by: By,
    Id(id): Id<EventId>,
    request: Request,
) -> Result<Response, ProblemJson> {
    let asked =
        Asked::of(request.uri()).dressed(request.headers()).by(request.extensions().get().cloned());
    let mut form = FormFields::read(request, 8 * MAX_FIELD).await?;
    let by = by.once(form.take(ONCE));
    let wanted = form.take("do").unwrap_or_default();
    let old = editable(&admin, id).await?;
    let edited = Edited::of(&old, &mut form)?;
    if wanted != "send" {
        let difference = edited.difference(&old);
        let trial = match wanted.as_str() {
            "try" => Some(edited.tried(&admin, &old).await?),
            _ => None,
        };
        return shown(&admin, &asked, &old, edited, (Some(difference), trial)).await;
    }
    let replay = edited.asked(&old);
    if replay.edit.is_empty() {
        return Err(ProblemJson::conflict(
            "nothing is another than it was: replay the event as it is, or edit it",
        ));
    }
    let (_, Json(made)) = replay_event(State(admin), by, Id(id), replay).await?;
    Ok(see_other(&Link::to("/events").segment(&made.event_id).into_text()))
}

async fn shown(
    admin: &Arc<Admin>,
    asked: &Asked,
    old: &EventView,
    edited: Edited,
    (difference, trial): (Option<Difference>, Option<TrialPart>),
) -> Result<Response, ProblemJson> {
    let id = old.event.id;
    let (data, field) = match is_text(&edited.data) {
        Some(text) if is_text(&old.event.attributes.body).is_some() => (field_text(text), "data"),
        _ => (field_text(&STANDARD.encode(&edited.data)), "data_base64"),
    };
    let registry = admin.registry.load();
    let choice = |value: String, label: String| Choice {
        kind: "radio",
        name: "plugin",
        checked: value == edited.plugin,
        value,
        label,
    };
    let mut choices = vec![choice(String::new(), "to what is routed then".to_owned())];
    let only = registry.entries().map(|(name, _)| (name.to_string(), format!("to {name} only")));
    choices.extend(only.map(|(name, label)| choice(name, label)));
    let path = Link::to("/events").segment(&id.to_string());
    let frame = PageFrame::of(admin, asked, "events", "Edit and replay").await;
    let call = format!("/api/v1{}", path.clone().segment("replay").into_text());
    let page = EditPage {
        frame: frame.same_as(
            format!("hookbox events edit {id}"),
            format!("{call}' --json '{{\"data\": {{}}}}"),
        ),
        id: id.to_string(),
        path: path.clone().into_text(),
        action: path.segment("edit").into_text(),
        kind: edited.kind,
        subject: edited.subject,
        data,
        is_json: field == "data" && body::json(&old.event.attributes.body).is_some(),
        field,
        difference,
        trial,
        choices,
    };
    html(StatusCode::OK, &page)
}
