//! A plugin's deliveries that are ready or wait are given to another plugin.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::confirm::{Choice, ConfirmPage};
use super::form::{FormFields, ONCE, see_other};
use super::frame::PageFrame;
use super::html;
use super::parts::html::shown;
use super::parts::link::{Link, word};
use super::request::Asked;
use crate::admin::by::By;
use crate::admin::deliveries::change::{Bulk, move_deliveries};
use crate::admin::params::{Id, MoveQuery, NoQuery, ParamsOrBody, read_fields};
use crate::admin::plugins::known;
use crate::admin::problem::ProblemJson;
use crate::admin::state::Admin;
use crate::event::State as DeliveryState;
use crate::names::PluginName;
use crate::plugins::{Entry, Registry};
use crate::text::grouped;

/// The time that one form works: well within the limit of a request.
const WORKS_FOR: Duration = Duration::from_secs(6);

/// The plugins that could get the deliveries of one.
fn others<'r>(
    registry: &'r Registry,
    name: &str,
) -> impl Iterator<Item = (&'r PluginName, &'r Entry)> {
    registry
        .entries()
        .filter(move |(other, entry)| other.as_ref() != name && entry.state() != "missing")
}

/// Whether there is a plugin that could get them.
pub(super) fn is_possible(admin: &Admin, name: &str) -> bool {
    others(&admin.registry.load(), name).next().is_some()
}

/// Asks to which plugin they are to go.
pub(super) async fn ask(
    State(admin): State<Arc<Admin>>,
    Id(name): Id<String>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    asked.query::<NoQuery>()?;
    let registry = admin.registry.load_full();
    let counts = admin.store.stats().await?.plugins.get(&*name).copied().unwrap_or_default();
    if counts.open() == 0 {
        // A plugin whose file is gone may have left some.
        known(&registry, &name)?;
    }
    let [ready, waiting, leased] =
        [DeliveryState::Ready, DeliveryState::Waiting, DeliveryState::Leased]
            .map(|state| counts.0[usize::from(state.code())]);
    let choices: Vec<Choice> = others(&registry, &name)
        .map(|(other, entry)| Choice {
            kind: "radio",
            name: "to",
            value: other.to_string(),
            label: format!("to {other} ({})", entry.state()),
            checked: false,
        })
        .collect();
    if choices.is_empty() {
        let detail = format!("there is no other plugin that could get the deliveries of `{name}`");
        return Err(ProblemJson::conflict(detail));
    }
    let lines = vec![
        shown(&format!(
            "{} are ready and {} wait. The {} that run stay with {name}.",
            grouped(ready),
            grouped(waiting),
            grouped(leased)
        )),
        shown(
            "They are due when they were, and their attempts are counted from 0. A plugin gets an event once: what it has already stays where it is. Routes stay as they are, so what comes later goes where it went.",
        ),
    ];
    let own = Link::to("/plugins").segment(&name);
    let frame = PageFrame::of(&admin, &asked, "plugins", format!("move from {name}")).await;
    let call = Link::to("/api/v1/deliveries/move").with("plugin", &name).with("state", "open");
    let page = ConfirmPage {
        frame: frame.live("").same_as(
            format!("hookbox deliveries move --plugin {} --to PLUGIN", word(&name)),
            format!("{}&to=PLUGIN' -X 'POST", call.into_text()),
        ),
        heading: format!("Move what waits for {name}?"),
        lines,
        action: own.clone().segment("move").into_text(),
        hidden: Vec::new(),
        choices,
        button: format!("Move {}", grouped(ready + waiting)),
        is_grave: false,
        back: own.into_text(),
    };
    html(StatusCode::OK, &page)
}

/// Moves them.
pub(super) async fn act(
    State(admin): State<Arc<Admin>>,
    by: By,
    Id(name): Id<String>,
    mut form: FormFields,
) -> Result<Response, ProblemJson> {
    // A delivery is not moved twice, so a form that is sent twice needs no name.
    form.take(ONCE);
    let to = form.take("to").ok_or_else(|| {
        ProblemJson::bad_request("`to` is missing: choose the plugin that gets the deliveries")
    })?;
    if to == name {
        return Err(ProblemJson::bad_request("`to` is the plugin that has them"));
    }
    let (begun, mut moved, mut cursor) = (Instant::now(), 0, None);
    loop {
        let mut fields = vec![
            ("to".to_owned(), to.clone()),
            ("plugin".to_owned(), name.clone()),
            ("state".to_owned(), "open".to_owned()),
        ];
        fields.extend(cursor.map(|cursor: String| ("cursor".to_owned(), cursor)));
        let query = ParamsOrBody(read_fields::<MoveQuery>(fields)?);
        let Json(step) = move_deliveries(State(Arc::clone(&admin)), by.clone(), query).await?;
        // Nobody asked for a dry run.
        let Bulk::Done(step) = step else { break };
        (moved, cursor) = (moved + step.did.moved, step.next_cursor);
        if cursor.is_none() {
            break;
        }
        if begun.elapsed() >= WORKS_FOR {
            return Err(ProblemJson::conflict(format!(
                "{} were moved, and there are more: send the form again for the rest",
                grouped(moved)
            )));
        }
    }
    Ok(see_other(&Link::to("/plugins").segment(&to).into_text()))
}
