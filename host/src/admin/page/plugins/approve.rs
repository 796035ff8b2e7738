//! Approvals: which file, what it asks for, and then by its digest.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::pending_approval::sentences;
use crate::admin::by::By;
use crate::admin::page::confirm::ConfirmPage;
use crate::admin::page::form::{FormFields, ONCE, see_other};
use crate::admin::page::frame::PageFrame;
use crate::admin::page::parts::html::shown;
use crate::admin::page::parts::link::{Link, word};
use crate::admin::page::request::Asked;
use crate::admin::page::{html, params};
use crate::admin::params::{ApproveQuery, Id, NoQuery, ParamsOrBody};
use crate::admin::plugins::{approve_plugin, show_plugin};
use crate::admin::problem::ProblemJson;
use crate::admin::state::Admin;

/// Asks whether the file that waits is to be let in.
pub(in crate::admin::page) async fn ask(
    State(admin): State<Arc<Admin>>,
    Id(name): Id<String>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    let wanted = asked.query::<ApproveQuery>()?.digest()?.map(|digest| digest.to_string());
    let shared = State(Arc::clone(&admin));
    let Json(plugin) = show_plugin(shared, params(NoQuery {}), Id(name)).await?;
    let held = plugin.held.as_ref().ok_or_else(|| {
        let (name, state) = (&plugin.name, plugin.state);
        ProblemJson::conflict(format!("no file of `{name}` waits to be approved: it is {state}"))
    })?;
    if wanted.is_some_and(|wanted| wanted != held.digest) {
        let detail = format!(
            "it is another file of `{}` that waits now, {}: look at what that asks for",
            plugin.name, held.digest
        );
        return Err(ProblemJson::conflict(detail));
    }
    let own = Link::to("/plugins").segment(&plugin.name);
    let page_of = own.clone().into_text();
    let short = super::short(&held.digest);
    let runs = plugin.digest.as_deref().unwrap_or("no file");
    let frame = PageFrame::of(&admin, &asked, "plugins", format!("approve {}", plugin.name)).await;
    let command =
        format!("hookbox plugins approve {} --digest {}", word(&plugin.name), held.digest);
    let call = format!("/api/v1{page_of}/approve?digest={}' -X 'POST", held.digest);
    let none_or = |words: &[String]| match words.is_empty() {
        true => "nothing".to_owned(),
        false => words.join(", "),
    };
    let mut lines = vec![
        shown(&format!("It asks for: {}", held.capabilities_added.join(", "))),
        shown(&format!("Imports that are new: {}", held.imports_added.join(", "))),
        shown(&format!("Granted by the configuration: {}", none_or(&plugin.grants))),
    ];
    lines.extend(sentences(held));
    lines.push(shown(&format!("The whole digest is {}; {runs} runs now.", held.digest)));
    lines.push(shown("This approves this file alone: another one in its place waits again."));
    let page = ConfirmPage {
        frame: frame.same_as(command, call),
        heading: format!("Let {short} of {} in?", plugin.name),
        lines,
        action: own.segment("approve").into_text(),
        hidden: vec![("digest", held.digest.clone())],
        choices: Vec::new(),
        button: format!("Let {short} in"),
        is_grave: false,
        back: page_of,
    };
    html(StatusCode::OK, &page)
}

/// Lets it in.
pub(in crate::admin::page) async fn act(
    State(admin): State<Arc<Admin>>,
    by: By,
    Id(name): Id<String>,
    mut form: FormFields,
) -> Result<Response, ProblemJson> {
    let by = by.once(form.take(ONCE));
    let Some(digest) = form.take("digest") else {
        return Err(ProblemJson::bad_request("`digest` is missing: it names the file to let in"));
    };
    let query = ApproveQuery { digest: Some(digest) };
    let approve = approve_plugin(State(admin), by, Id(name.clone()), ParamsOrBody(query));
    let Json(_) = approve.await?;
    Ok(see_other(&Link::to("/plugins").segment(&name).into_text()))
}
