//! Actions on one delivery: asked first, then done.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;

use crate::admin::by::By;
use crate::admin::deliveries::change::{
    cancel_delivery, discard_delivery, retry_delivery, undiscard_delivery,
};
use crate::admin::deliveries::show_delivery;
use crate::admin::page::confirm::{Choice, ConfirmPage};
use crate::admin::page::form::{FormFields, ONCE, see_other};
use crate::admin::page::frame::PageFrame;
use crate::admin::page::parts::html::{Html, shown};
use crate::admin::page::parts::link::Link;
use crate::admin::page::request::Asked;
use crate::admin::page::{html, params};
use crate::admin::params::{FreshQuery, Id, NoQuery, ParamsOrBody};
use crate::admin::problem::ProblemJson;
use crate::admin::state::Admin;
use crate::admin::view::DeliveryJson;
use crate::event::DeliveryId;

/// An action on one delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DeliveryDeed {
    Retry,
    Discard,
    Undiscard,
    Cancel,
}

impl DeliveryDeed {
    fn of(name: &str) -> Result<Self, ProblemJson> {
        match name {
            "retry" => Ok(Self::Retry),
            "discard" => Ok(Self::Discard),
            "undiscard" => Ok(Self::Undiscard),
            "cancel" => Ok(Self::Cancel),
            _ => Err(ProblemJson::not_found(
                "a delivery can be retried, discarded, undiscarded or cancelled",
            )),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Discard => "discard",
            Self::Undiscard => "undiscard",
            Self::Cancel => "cancel",
        }
    }

    /// The effect on a delivery in this state.
    fn effect(self, state: &str) -> &'static str {
        match (self, state) {
            (Self::Retry, "waiting") => {
                "It is due at once. The attempts that it has had still count."
            }
            (Self::Retry, _) => {
                "It begins anew: its attempts are counted from 0, and it is due at once. If it fails again for the same reason, it becomes a dead letter again."
            }
            (Self::Discard, _) => {
                "It is put away, and counts as trouble no longer. Nothing is deleted before retention; a retry brings it back."
            }
            (Self::Undiscard, _) => {
                "It is a dead letter again, with the attempts that it has had, and counts as trouble. Nothing runs."
            }
            (Self::Cancel, "leased") => {
                "It ends with the attempt that runs: of that only the record is stored, not what it returns or writes."
            }
            (Self::Cancel, _) => "It ends here and is not tried again, unless somebody retries it.",
        }
    }
}

/// Asks whether it is to be done.
pub(in crate::admin::page) async fn ask(
    State(admin): State<Arc<Admin>>,
    Path((id, deed)): Path<(String, String)>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    let (id, deed) = (delivery_id(&id)?, DeliveryDeed::of(&deed)?);
    let shared = State(Arc::clone(&admin));
    let Json(delivery) = show_delivery(shared, asked.sees(), params(NoQuery {}), Id(id)).await?;
    let name = deed.name();
    let mut choices = Vec::new();
    if deed == DeliveryDeed::Retry && !delivery.steps.is_empty() {
        choices.push(Choice {
            kind: "checkbox",
            name: "fresh",
            value: "true".to_owned(),
            label: format!("from the first step: drop the {} recorded ones", delivery.steps.len()),
            checked: false,
        });
    }
    let own = Link::to("/deliveries").segment(&delivery.id).segment(name).into_text();
    let frame = PageFrame::of(&admin, &asked, "deliveries", format!("{name} {id}")).await;
    let call = format!("/api/v1{own}' -X 'POST");
    let page = ConfirmPage {
        frame: frame.same_as(format!("hookbox deliveries {name} {id}"), call),
        heading: format!("{} delivery {id}?", capital(name)),
        lines: lines(&delivery, deed),
        action: own,
        hidden: Vec::new(),
        choices,
        button: capital(name),
        is_grave: matches!(deed, DeliveryDeed::Discard | DeliveryDeed::Cancel),
        back: super::path(&delivery.event_id, &delivery.id),
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
    let (id, deed) = (delivery_id(&id)?, DeliveryDeed::of(&deed)?);
    let by = by.once(form.take(ONCE));
    let shared = State(admin);
    match deed {
        DeliveryDeed::Retry => {
            let query = FreshQuery { fresh: form.take("fresh") };
            retry_delivery(shared, by, Id(id), ParamsOrBody(query)).await.map(|_| ())
        }
        DeliveryDeed::Discard => {
            discard_delivery(shared, by, params(NoQuery {}), Id(id)).await.map(|_| ())
        }
        DeliveryDeed::Undiscard => {
            undiscard_delivery(shared, by, params(NoQuery {}), Id(id)).await.map(|_| ())
        }
        DeliveryDeed::Cancel => {
            cancel_delivery(shared, by, params(NoQuery {}), Id(id)).await.map(|_| ())
        }
    }?;
    Ok(see_other(&super::path(&id.event.to_string(), &id.to_string())))
}

fn delivery_id(text: &str) -> Result<DeliveryId, ProblemJson> {
    text.parse().map_err(|error: crate::event::BadId| ProblemJson::not_found(error.to_string()))
}

fn lines(delivery: &DeliveryJson, deed: DeliveryDeed) -> Vec<Html> {
    let mut lines = Vec::new();
    let subject = delivery.subject.as_deref().map(|it| format!(" {it}")).unwrap_or_default();
    let attempts = delivery.attempt;
    lines.push(shown(&format!(
        "{}{subject} for {}: {}, {attempts} attempts",
        delivery.kind, delivery.plugin, delivery.state
    )));
    if let Some(error) = delivery.attempts.last().and_then(|last| last.error.as_deref()) {
        lines.push(shown(&format!("last: {error}")));
    }
    lines.push(shown(deed.effect(delivery.state)));
    lines
}

/// A word with a capital letter.
pub(in crate::admin::page) fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
