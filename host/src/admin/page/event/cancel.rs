//! The end of a tree: everything that is open of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::waterfall_rows::{Fall, MAX_ROWS};
use crate::admin::by::By;
use crate::admin::deliveries::change::cancel_event;
use crate::admin::page::confirm::ConfirmPage;
use crate::admin::page::form::{FormFields, ONCE, see_other};
use crate::admin::page::frame::PageFrame;
use crate::admin::page::parts::html::shown;
use crate::admin::page::parts::link::Link;
use crate::admin::page::request::Asked;
use crate::admin::page::{html, params};
use crate::admin::params::{CursorQuery, Id, NoQuery, ParamsOrBody, TreeQuery, read_fields};
use crate::admin::problem::ProblemJson;
use crate::admin::state::Admin;
use crate::admin::tree::show_tree;
use crate::event::EventId;
use crate::text::grouped;

/// The time that one form works: well within the limit of a request.
const WORKS_FOR: Duration = Duration::from_secs(6);

/// Asks whether what is open of a tree is to be cancelled.
pub(in crate::admin::page) async fn ask(
    State(admin): State<Arc<Admin>>,
    Id(id): Id<EventId>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    asked.query::<NoQuery>()?;
    let (shared, query) = (State(Arc::clone(&admin)), params(TreeQuery::default()));
    let Json(tree) = show_tree(shared, asked.sees(), query, Id(id)).await?;
    let more = if tree.next_cursor.is_some() { "at least " } else { "" };
    let fall = Fall::of(&tree, &id.to_string(), admin.clock.now_ms(), MAX_ROWS);
    let [events, deliveries, open] = [fall.events as u64, fall.deliveries as u64, fall.open];
    let lines = vec![
        shown(&format!(
            "The tree of this event has {more}{} events and {more}{} deliveries: {more}{} are open.",
            grouped(events),
            grouped(deliveries),
            grouped(open)
        )),
        shown(
            "They end here, and are not tried again unless somebody retries them. Of an attempt that runs only the record is stored: what it returns and writes is not. Settled deliveries stay as they are.",
        ),
    ];
    let own = Link::to("/events").segment(&id.to_string());
    let action = own.clone().segment("cancel").into_text();
    let frame = PageFrame::of(&admin, &asked, "events", format!("Cancel the tree of {id}")).await;
    let page = ConfirmPage {
        frame: frame
            .same_as(format!("hookbox events cancel {id}"), format!("/api/v1{action}' -X 'POST")),
        heading: "Cancel everything that is open of this tree?".to_owned(),
        lines,
        action,
        hidden: Vec::new(),
        choices: Vec::new(),
        button: format!("Cancel {more}{}", grouped(open)),
        is_grave: true,
        back: own.into_text(),
    };
    html(StatusCode::OK, &page)
}

/// Cancels it.
pub(in crate::admin::page) async fn act(
    State(admin): State<Arc<Admin>>,
    by: By,
    Id(id): Id<EventId>,
    mut form: FormFields,
) -> Result<Response, ProblemJson> {
    // A delivery is not cancelled twice, so a form that is sent twice needs no name.
    form.take(ONCE);
    let (begun, mut cursor) = (Instant::now(), None);
    loop {
        let fields = cursor.map(|cursor: String| ("cursor".to_owned(), cursor));
        let query = ParamsOrBody(read_fields::<CursorQuery>(fields.into_iter().collect())?);
        let shared = State(Arc::clone(&admin));
        let Json(step) = cancel_event(shared, by.clone(), Id(id), query).await?;
        cursor = step.next_cursor;
        if cursor.is_none() {
            return Ok(see_other(&Link::to("/events").segment(&id.to_string()).into_text()));
        }
        if begun.elapsed() >= WORKS_FOR {
            let detail = "there is more than one form cancels: send it again for the rest";
            return Err(ProblemJson::conflict(detail));
        }
    }
}
