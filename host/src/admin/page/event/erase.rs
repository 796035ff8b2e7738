//! Erasing: of one event, or of every event with a subject. Whoever does it types which.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::admin::by::By;
use crate::admin::erase::{ErasedJson, erase_event, erase_subject};
use crate::admin::events::show_event;
use crate::admin::operations::count;
use crate::admin::page::confirm::{Choice, ConfirmPage};
use crate::admin::page::form::{FormFields, ONCE, see_other};
use crate::admin::page::frame::PageFrame;
use crate::admin::page::parts::html::{Html, shown};
use crate::admin::page::parts::link::{Link, word};
use crate::admin::page::request::Asked;
use crate::admin::page::{html, params};
use crate::admin::params::{
    Deed, EraseQuery, EraseSubjectQuery, Id, NoQuery, ParamsOrBody, read_fields,
};
use crate::admin::problem::ProblemJson;
use crate::admin::state::Admin;
use crate::admin::view::EventItem;
use crate::event::EventId;
use crate::store::{EventFilter, OperationDeed, OperationScope};
use crate::text::{grouped, plain};

/// The time that one form works: well within the limit of a request.
const WORKS_FOR: Duration = Duration::from_secs(6);

/// The field in which it is typed what is to be erased.
const TYPED: &str = "typed";

/// The most bytes of a heading or a label with a subject in it.
const MAX_HEADING: usize = 700;

/// The data that is deleted, and the data that stays.
fn effects() -> Vec<Html> {
    [
        "Body, headers and subject go, and of their deliveries the logs, errors, paths of requests, \
         recorded steps and keys: also of dead letters that tell of them, and of what joins and \
         batches made of them. It does not come back, and cannot be replayed.",
        "Open deliveries are cancelled first. Of an attempt that runs only the record is stored, and \
         its event is erased once that has ended. Counts and tree stay. The audit log says who did it.",
    ]
    .map(shown)
    .into()
}

fn choices(typed: String) -> Vec<Choice> {
    vec![
        Choice {
            kind: "checkbox",
            name: "keys",
            value: "true".to_owned(),
            label: "also the values of keys that their deliveries wrote last".to_owned(),
            checked: false,
        },
        Choice { kind: "line", name: TYPED, value: String::new(), label: typed, checked: false },
    ]
}

/// Asks whether an event is to be erased.
pub(in crate::admin::page) async fn ask(
    State(admin): State<Arc<Admin>>,
    Id(id): Id<EventId>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    asked.query::<NoQuery>()?;
    let shared = State(Arc::clone(&admin));
    let Json(event) = show_event(shared, asked.sees(), params(NoQuery {}), Id(id)).await?;
    let attributes = &event.attributes;
    let mut lines = vec![shown(&format!(
        "{} {}, received {}, {} bytes",
        attributes.kind,
        attributes.subject.as_deref().unwrap_or_default(),
        attributes.time,
        grouped(attributes.data_bytes)
    ))];
    lines.extend(effects());
    if let Some(subject) = &attributes.subject {
        let path = Link::to("/events/erase").with("subject", subject).into_text();
        let mut line = Html::default();
        line.text("This is one event. ").raw("<a href=\"").text(&path).raw("\">");
        line.text("Erase every event of ").text(subject).text(" …").raw("</a>");
        lines.push(line);
    }
    let own = Link::to("/events").segment(&attributes.id);
    let action = own.clone().segment("erase").into_text();
    let frame = PageFrame::of(&admin, &asked, "events", format!("Erase {id}")).await;
    let page = ConfirmPage {
        frame: frame
            .live("")
            .same_as(format!("hookbox events erase {id}"), format!("/api/v1{action}' -X 'POST")),
        heading: format!("Erase {id}?"),
        lines,
        choices: choices(format!("type {id} to erase it")),
        action,
        hidden: Vec::new(),
        button: "Erase".to_owned(),
        is_grave: true,
        back: own.into_text(),
    };
    html(StatusCode::OK, &page)
}

/// Erases an event.
pub(in crate::admin::page) async fn act(
    State(admin): State<Arc<Admin>>,
    by: By,
    Id(id): Id<EventId>,
    mut form: FormFields,
) -> Result<Response, ProblemJson> {
    // Erasing again changes nothing, so a form that is sent twice needs no name.
    form.take(ONCE);
    typed(form.take(TYPED), &id.to_string())?;
    let fields = form.others();
    read_fields::<EraseQuery>(fields.clone())?.keys()?;
    let erase = || async {
        let query = ParamsOrBody(read_fields::<EraseQuery>(fields.clone())?);
        erase_event(State(Arc::clone(&admin)), by.clone(), Id(id), query).await
    };
    all(erase).await?;
    Ok(see_other(&Link::to("/events").segment(&id.to_string()).into_text()))
}

/// Asks whether every event with a subject is to be erased.
pub(in crate::admin::page) async fn ask_subject(
    State(admin): State<Arc<Admin>>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    let query = asked.query::<EraseSubjectQuery>()?;
    let subject = query.subject()?.to_owned();
    let filter = EventFilter { subject: Some(subject.clone()), ..EventFilter::default() };
    let (action, scope) = (OperationDeed::Replay(Vec::new()), OperationScope::Events(filter));
    let counted = count(&admin, &Deed { action, scope, as_of_ms: None }).await?;
    if counted.total == 0 && counted.exact {
        let detail = "no event has exactly this subject: there is nothing to erase";
        return Err(ProblemJson::conflict(detail));
    }
    let events = if counted.total == 1 { "event" } else { "events" };
    let at_least = if counted.exact { "" } else { "at least " };
    let number = format!("{at_least}{} {events}", grouped(counted.total));
    let heading = plain(&format!("Erase {number} of {subject}?"), MAX_HEADING);
    let name = |row: &EventItem| format!("{} {}", row.attributes.kind, row.attributes.time);
    let more = if counted.total > counted.events.len() as u64 { " · …" } else { "" };
    let names: Vec<String> = counted.events.iter().map(name).collect();
    let mut lines = vec![shown(&format!("{}{more}", names.join(" · ")))];
    lines.push(shown(
        "Events that come meanwhile with this subject are erased as well. The audit log has the SHA-256 of the subject.",
    ));
    lines.extend(effects());
    let back = Link::to("/events").with("subject", &subject).into_text();
    let frame = PageFrame::of(&admin, &asked, "events", heading.clone()).await;
    let call = asked.call("/api/v1/events/erase");
    let page = ConfirmPage {
        frame: frame.live("").same_as(
            format!("hookbox events erase --subject {}", word(&subject)),
            format!("{call}' -X 'POST"),
        ),
        heading,
        lines,
        choices: choices(plain(
            &format!("type the subject, {subject}, to erase them"),
            MAX_HEADING,
        )),
        action: "/events/erase".to_owned(),
        hidden: vec![("subject", subject)],
        button: format!("Erase {number}"),
        is_grave: true,
        back,
    };
    html(StatusCode::OK, &page)
}

/// Erases every event with a subject. Its entry in the audit log is shown then.
pub(in crate::admin::page) async fn act_subject(
    State(admin): State<Arc<Admin>>,
    by: By,
    mut form: FormFields,
) -> Result<Response, ProblemJson> {
    form.take(ONCE);
    let given = form.take(TYPED);
    let fields = form.others();
    let query = read_fields::<EraseSubjectQuery>(fields.clone())?;
    query.rest.keys()?;
    typed(given, query.subject()?)?;
    let erase = || async {
        let query = ParamsOrBody(read_fields::<EraseSubjectQuery>(fields.clone())?);
        erase_subject(State(Arc::clone(&admin)), by.clone(), query).await
    };
    all(erase).await?;
    Ok(see_other("/settings/audit?action=events.erase"))
}

/// Refuses a form in which another thing was typed.
fn typed(typed: Option<String>, wanted: &str) -> Result<(), ProblemJson> {
    match typed {
        Some(typed) if typed.trim() == wanted.trim() => Ok(()),
        _ => Err(ProblemJson::bad_request(
            "type exactly what is to be erased into the field: nothing was erased",
        )),
    }
}

/// Erases until nothing is left, for a bounded time; what is left is said.
async fn all<F>(erase: impl Fn() -> F) -> Result<(), ProblemJson>
where
    F: Future<Output = Result<Json<ErasedJson>, ProblemJson>>,
{
    let (begun, mut erased) = (Instant::now(), 0);
    loop {
        let Json(some) = erase().await?;
        erased += some.erased;
        if some.more && begun.elapsed() < WORKS_FOR {
            continue;
        }
        if !some.more && some.running == 0 {
            return Ok(());
        }
        let why = match some.more {
            true => "there are more".to_owned(),
            false => format!("{} have an attempt that still runs, and are cancelled", some.running),
        };
        return Err(ProblemJson::conflict(format!(
            "{} were erased, and {why}: send the form again for the rest",
            grouped(erased)
        )));
    }
}
