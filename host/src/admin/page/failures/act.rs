//! What is done to all dead deliveries of a group: counted first, then done.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;

use crate::admin::by::By;
use crate::admin::deliveries::change::{Bulk, discard_deliveries, retry_deliveries};
use crate::admin::failures::show_failure;
use crate::admin::page::asked::Asked;
use crate::admin::page::confirm::{Choice, ConfirmPage};
use crate::admin::page::form::{FormFields, ONCE, see_other};
use crate::admin::page::frame::PageFrame;
use crate::admin::page::parts::html::shown;
use crate::admin::page::parts::link::{Link, word};
use crate::admin::page::{html, params};
use crate::admin::params::{Id, NoQuery, ParamsOrBody, read_fields};
use crate::admin::problem::ProblemJson;
use crate::admin::state::Admin;
use crate::event::FailureId;
use crate::text::grouped;

/// More are discarded only by one who types their number.
const MANY: u64 = 100;

/// An action on a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GroupDeed {
    Retry,
    Discard,
}

impl GroupDeed {
    fn of(name: &str) -> Result<Self, ProblemJson> {
        match name {
            "retry" => Ok(Self::Retry),
            "discard" => Ok(Self::Discard),
            _ => Err(ProblemJson::not_found("a group can be retried or discarded")),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Discard => "discard",
        }
    }

    fn effect(self) -> &'static str {
        match self {
            Self::Retry => {
                "Their attempts are counted from 0, and all are due at once. Events they emit are routed as the routes are now. If the file that runs has met this failure, they fail again."
            }
            Self::Discard => {
                "They are put away, and count as trouble no longer. Nothing is deleted before retention; a retry brings them back."
            }
        }
    }
}

/// Asks whether it is to be done, and says to how many.
pub(in crate::admin::page) async fn ask(
    State(admin): State<Arc<Admin>>,
    Path((id, deed)): Path<(String, String)>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    let (id, deed) = (failure_id(&id)?, GroupDeed::of(&deed)?);
    let shared = State(Arc::clone(&admin));
    let Json(group) = show_failure(shared, params(NoQuery {}), Id(id)).await?;
    let (name, dead) = (deed.name(), group.dead);
    if dead == 0 {
        let detail = format!("no delivery of `{}` is dead: there is nothing to {name}", group.id);
        return Err(ProblemJson::conflict(detail));
    }
    let deliveries = if dead == 1 { "dead delivery" } else { "dead deliveries" };
    let count = grouped(dead);
    let verb = if deed == GroupDeed::Retry { "Retry" } else { "Discard" };
    let heading = format!("{verb} {count} {deliveries} of {}?", group.plugin);
    let typed = Choice {
        kind: "text",
        name: "typed",
        value: String::new(),
        label: format!("type {dead} to discard so many"),
        checked: false,
    };
    let asks = deed == GroupDeed::Discard && dead > MANY;
    let own = Link::to("/failures").segment(&group.id);
    let frame = PageFrame::of(&admin, &asked, "failures", heading.clone()).await;
    let command = format!("hookbox deliveries {name} --failure {}", word(&group.id));
    let call = format!("/api/v1/deliveries/{name}?failure={}' -X 'POST", group.id);
    let page = ConfirmPage {
        frame: frame.same_as(command, call),
        heading,
        lines: vec![shown(&group.text), shown(deed.effect())],
        action: own.clone().segment(name).into_text(),
        hidden: vec![("count", dead.to_string())],
        choices: if asks { vec![typed] } else { Vec::new() },
        button: format!("{verb} {count}"),
        is_grave: deed == GroupDeed::Discard,
        back: own.into_text(),
    };
    html(StatusCode::OK, &page)
}

/// Does it.
pub(in crate::admin::page) async fn act(
    State(admin): State<Arc<Admin>>,
    by: By,
    Path((id, deed)): Path<(String, String)>,
    mut form: FormFields,
) -> Result<Response, ProblemJson> {
    let (id, deed) = (failure_id(&id)?.to_string(), GroupDeed::of(&deed)?);
    let by = by.once(form.take(ONCE));
    let count = form.take("count").and_then(|count| count.parse::<u64>().ok());
    let typed = form.take("typed").and_then(|typed| typed.trim().parse::<u64>().ok());
    let is_many = count.is_none_or(|count| count > MANY);
    if deed == GroupDeed::Discard && is_many && (typed.is_none() || typed != count) {
        let detail = "type the number of deliveries that are to be discarded: nothing was changed";
        return Err(ProblemJson::bad_request(detail));
    }
    let fields = vec![("failure".to_owned(), id.clone())];
    let more = match deed {
        GroupDeed::Retry => {
            let query = ParamsOrBody(read_fields(fields)?);
            goes_on(&retry_deliveries(State(admin), by, query).await?.0)
        }
        GroupDeed::Discard => {
            let query = ParamsOrBody(read_fields(fields)?);
            goes_on(&discard_deliveries(State(admin), by, query).await?.0)
        }
    };
    let own = Link::to("/failures").segment(&id);
    // One call works for a bounded time: the page asks again for the rest.
    let next = if more { own.segment(deed.name()) } else { own };
    Ok(see_other(&next.into_text()))
}

/// Whether a call stopped before the end.
fn goes_on<T: utoipa::ToSchema>(answer: &Bulk<T>) -> bool {
    match answer {
        Bulk::Done(step) => step.more,
        Bulk::DryRun(step) => step.more,
    }
}

fn failure_id(text: &str) -> Result<FailureId, ProblemJson> {
    text.parse::<FailureId>().map_err(|error| ProblemJson::not_found(error.to_string()))
}
