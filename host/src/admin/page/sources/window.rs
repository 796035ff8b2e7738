//! The window in which the secret of a handshake is taken, on the page of its source.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use crate::admin::by::By;
use crate::admin::page::form::{FormFields, ONCE, see_other};
use crate::admin::page::parts::html::Html;
use crate::admin::page::parts::link::{Link, word};
use crate::admin::page::parts::state::badge;
use crate::admin::page::parts::when::when_text;
use crate::admin::params::{Id, ParamsOrBody};
use crate::admin::problem::ProblemJson;
use crate::admin::sources::window::{self, ConfirmationJson, TakeSecretQuery, WindowJson};
use crate::admin::state::Admin;

/// A window as the page shows it.
#[derive(Debug)]
pub(super) struct WindowShown {
    pub(super) state: Html,
    pub(super) line: Html,
    pub(super) is_open: bool,
    pub(super) command: String,
}

impl WindowShown {
    pub(super) fn of(window: &WindowJson, name: &str, now_ms: i64) -> Self {
        let is_open = window.state == "open";
        Self {
            state: badge(if is_open { "waiting" } else { window.state }),
            line: line(window, now_ms),
            is_open,
            command: format!("hookbox sources {} take-secret", word(name)),
        }
    }
}

fn line(window: &WindowJson, now_ms: i64) -> Html {
    let mut line = Html::default();
    if let Some(until) = &window.until {
        line.text("The secret of the next handshake is taken, until ")
            .raw(when_text(until, now_ms));
    } else if let Some(at) = &window.taken_at {
        let client = window.client_address.as_deref().unwrap_or_default();
        line.text("A secret was taken ")
            .raw(when_text(at, now_ms))
            .text(&format!(", from {client}."));
        if window.can_show {
            line.text(" The command below shows it, once.");
        }
    } else {
        line.text("A handshake that brings a new secret is refused, unless somebody waits for it.");
    }
    line
}

/// The result of confirming a subscription.
pub(super) fn confirmed(confirmation: &ConfirmationJson, now_ms: i64) -> Html {
    let ConfirmationJson { at, host, error } = confirmation;
    let mut line = Html::default();
    line.raw(badge(if error.is_some() { "failed" } else { "ok" })).text(" ");
    match error {
        None => line.text(&format!("A subscription was confirmed at {host}, ")),
        Some(error) => line.text(&format!(
            "A subscription could not be confirmed at {host}: {error}. Nothing comes of it until the \
             provider asks again, "
        )),
    };
    line.raw(when_text(at, now_ms)).text(".");
    line
}

/// Waits for the secret of the next handshake.
pub(in crate::admin::page) async fn take_secret(
    State(admin): State<Arc<Admin>>,
    by: By,
    Id(name): Id<String>,
    mut form: FormFields,
) -> Result<Response, ProblemJson> {
    let by = by.once(form.take(ONCE));
    let query = ParamsOrBody(TakeSecretQuery::default());
    let path = Link::to("/sources").segment(&name).into_text();
    let _ = window::take_secret(State(admin), by, Id(name), query).await?;
    Ok(see_other(&path))
}
