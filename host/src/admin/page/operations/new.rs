//! A new operation: how many deliveries or events, some of them, and how it is to go on; then it
//! runs.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::admin::by::By;
use crate::admin::operations::{CountedDeliveries, count, plan, start_operation};
use crate::admin::page::confirm::{Choice, ConfirmPage};
use crate::admin::page::deliveries::actions::capital;
use crate::admin::page::form::{FormFields, ONCE, see_other};
use crate::admin::page::frame::PageFrame;
use crate::admin::page::html;
use crate::admin::page::parts::html::{Html, shown};
use crate::admin::page::parts::link::{Link, word};
use crate::admin::page::request::{Asked, option};
use crate::admin::params::{Id, OperationQuery, OperationStartQuery, ParamsOrBody, read_fields};
use crate::admin::problem::ProblemJson;
use crate::admin::sees::Sees;
use crate::admin::state::Admin;
use crate::admin::view::DeliveryJson;
use crate::clock::rfc3339;
use crate::event::State as DeliveryState;
use crate::store::{Action, OperationDeed, OperationScope};
use crate::text::grouped;

/// More are discarded or cancelled only by one who types their number.
const MANY: u64 = 100;

/// The field that says that rows of a list were selected.
const CHOSEN: &str = "chosen";

/// The fields that say how an operation goes on.
const OPTIONS: [&str; 3] = ["first", "pace", "stop_after"];

/// The field that says where the list was that it began from.
pub(super) const LIST: &str = "list";

/// Asks whether the events are to be replayed that were selected in the list, or that match.
pub(in crate::admin::page) async fn ask_replay(
    State(admin): State<Arc<Admin>>,
    mut asked: Asked,
) -> Result<Response, ProblemJson> {
    let mut ids = Vec::new();
    while let Some(id) = asked.take("id") {
        ids.push(id);
    }
    let is_chosen = asked.take(CHOSEN).is_some();
    let is_bare = asked.fields().iter().all(|(name, _)| name == LIST);
    if ids.is_empty() && (is_chosen || is_bare) {
        // Without ids and filters it would be every event.
        return Err(ProblemJson::bad_request("no event is selected: tick the rows that are meant"));
    }
    if !ids.is_empty() {
        asked.put("ids", &ids.join(","));
    }
    asked.put("action", "replay");
    confirm(&admin, asked, is_chosen).await
}

/// Asks whether it is to be done, and says to how many.
pub(in crate::admin::page) async fn ask(
    State(admin): State<Arc<Admin>>,
    mut asked: Asked,
) -> Result<Response, ProblemJson> {
    let is_chosen = asked.take(CHOSEN).is_some();
    if asked.join("ids") == 0 && is_chosen {
        // Without ids and filters it would be every delivery.
        return Err(ProblemJson::bad_request(
            "no delivery is selected: tick the rows that are meant",
        ));
    }
    confirm(&admin, asked, is_chosen).await
}

async fn confirm(
    admin: &Admin,
    mut asked: Asked,
    is_chosen: bool,
) -> Result<Response, ProblemJson> {
    let list = asked.take(LIST).filter(|back| is_list(back));
    let deed = asked.query::<OperationQuery>()?.deed(asked.sees())?;
    let counted = count(admin, &deed).await?;
    let action = deed.action.clone();
    let verb = capital(action.name());
    if counted.total == 0 && counted.exact {
        let detail = format!("nothing matches: there is nothing to {}", action.name());
        return Err(ProblemJson::conflict(detail));
    }
    let things = things(&action, counted.total);
    let at_least = if counted.exact { "" } else { "at least " };
    let number = format!("{at_least}{}", grouped(counted.total));
    let heading = format!("{verb} {number} {things}?");
    let now_ms = admin.clock.now_ms();
    let mut hidden = vec![("as_of", deed.as_of_ms.unwrap_or(now_ms).to_string())];
    hidden.push(("count", counted.total.to_string()));
    hidden.extend(list.clone().map(|list| (LIST, list)));
    for (name, value) in asked.fields().iter().filter(|(name, _)| name != "as_of") {
        hidden.extend(field_name(name).map(|name| (name, value.clone())));
    }
    let back = match &deed.scope {
        OperationScope::Filter(filter) => match &filter.failure {
            Some(group) => Link::to("/failures").segment(&group.to_string()).into_text(),
            None => "/failures".to_owned(),
        },
        OperationScope::Events(_) | OperationScope::EventIds(_) => "/events".to_owned(),
        _ if is_chosen => "/deliveries".to_owned(),
        _ => "/failures".to_owned(),
    };
    let waits = matches!(&deed.scope, OperationScope::Filter(filter)
        if filter.state == Some(DeliveryState::Waiting))
        || counted.all_wait();
    let active = if action.is_replay() { "events" } else { "failures" };
    let frame = PageFrame::of(admin, &asked, active, heading.clone()).await;
    let page = ConfirmPage {
        // The count stays as it was shown, also when somebody has acted on it meanwhile.
        frame: frame
            .live("")
            .same_as(command(&asked), asked.call("/api/v1/operations") + "' -X 'POST"),
        heading,
        lines: lines(&action, waits, &counted, now_ms),
        action: "/operations".to_owned(),
        hidden,
        choices: choices(admin, &action, &counted, &asked),
        button: format!("{verb} {number}"),
        is_grave: !action.has_result(),
        back: list.unwrap_or(back),
    };
    html(StatusCode::OK, &page)
}

/// Whether this is a list of this host.
pub(super) fn is_list(path: &str) -> bool {
    ["/events", "/deliveries"].iter().any(|list| path.split('?').next() == Some(list))
}

/// The word for so many of what an operation is for.
fn things(action: &OperationDeed, total: u64) -> &'static str {
    match (action.is_replay(), total) {
        (true, 1) => "event",
        (true, _) => "events",
        (false, 1) => "delivery",
        (false, _) => "deliveries",
    }
}

/// The name of a field as forms carry it on.
fn field_name(name: &str) -> Option<&'static str> {
    const NAMES: [&str; 16] = [
        "action",
        "fresh",
        "ids",
        "after",
        "q",
        "state",
        "plugin",
        "type",
        "source",
        "emitted",
        "subject",
        "failure",
        "outcome",
        "min_attempts",
        "since",
        "until",
    ];
    NAMES.into_iter().find(|known| *known == name)
}

/// The command that does the same.
fn command(asked: &Asked) -> String {
    let action = asked.field("action").unwrap_or("retry");
    if action == "replay" {
        return replay_command(asked);
    }
    if let Some(ids) = asked.field("ids").filter(|ids| ids.contains(',')) {
        let ids: Vec<String> = ids.split(',').map(word).collect();
        return format!("for id in {}; do hookbox deliveries {action} $id; done", ids.join(" "));
    }
    let mut command = format!("hookbox deliveries {action}");
    for (name, value) in asked.fields() {
        match name.as_str() {
            "action" | "as_of" => {}
            "ids" => command.push_str(&format!(" {}", word(value))),
            "fresh" => command.push_str(" --fresh"),
            name => command.push_str(&option(name, value)),
        }
    }
    command
}

/// The command that replays the same events.
fn replay_command(asked: &Asked) -> String {
    let mut command = "hookbox events replay".to_owned();
    for (name, value) in asked.fields() {
        match name.as_str() {
            "action" | "as_of" => {}
            "ids" => value.split(',').for_each(|id| command.push_str(&format!(" {}", word(id)))),
            name => command.push_str(&option(name, value)),
        }
    }
    command
}

fn lines(
    action: &OperationDeed,
    waits: bool,
    counted: &CountedDeliveries,
    now_ms: i64,
) -> Vec<Html> {
    let mut lines = Vec::new();
    let deliveries = counted.sample.iter().map(|row| {
        let subject = row.subject.as_deref().unwrap_or(&row.id);
        format!("{} {subject} for {}", row.kind, row.plugin)
    });
    let events = counted.events.iter().map(|row| {
        let subject = row.attributes.subject.as_deref().unwrap_or(&row.attributes.id);
        format!("{} {subject}", row.attributes.kind)
    });
    let names: Vec<String> = deliveries.chain(events).collect();
    let more = if counted.total > names.len() as u64 { " · …" } else { "" };
    lines.push(shown(&format!("{}{more}", names.join(" · "))));
    let later = if action.is_replay() {
        "comes later is not replayed"
    } else {
        "fails later is not touched"
    };
    lines.push(shown(&format!("As of {}: what {later}.", rfc3339(now_ms))));
    lines.push(shown(match action {
        OperationDeed::Change(Action::Retry | Action::RetryFresh) if waits => {
            "They are due at once, and their attempts count on. A delivery that fails again waits as before, or is dead after its last attempt."
        }
        OperationDeed::Change(Action::Retry | Action::RetryFresh) => {
            "Their attempts are counted from 0. Events they emit are routed as the routes are now. If the file that runs has met the same failure, they fail again."
        }
        OperationDeed::Change(Action::Discard) => {
            "They are put away, and count as trouble no longer. Nothing is deleted before retention, and the whole can be undone."
        }
        OperationDeed::Change(_) => {
            "They end, and are not tried again unless somebody retries them."
        }
        OperationDeed::Replay(_) => {
            "Each goes out once more, the oldest first, as new deliveries: the plugins do again what they do. Events that they emit are routed as the routes are now. Events that are erased or go nowhere are skipped."
        }
    }));
    let is_retry = matches!(action, OperationDeed::Change(Action::Retry));
    if is_retry && !waits && counted.sample.iter().any(DeliveryJson::waits) {
        lines.push(shown("Those that wait are due at once, and their attempts count on."));
    }
    lines
}

/// To whom events are replayed: to what is routed, or to one plugin.
fn targets(admin: &Admin, asked: &Asked) -> Vec<Choice> {
    let now = asked.field("to").unwrap_or_default();
    let choice = |value: &str, label: String| Choice {
        kind: "radio",
        name: "to",
        value: value.to_owned(),
        label,
        checked: value == now,
    };
    let mut found = vec![choice("", "to what is routed then".to_owned())];
    let registry = admin.registry.load();
    found.extend(registry.entries().map(|(name, _)| choice(name, format!("to {name} only"))));
    if now.contains(',') {
        found.push(choice(now, format!("to {}", now.replace(',', ", "))));
    }
    found
}

fn choices(
    admin: &Admin,
    action: &OperationDeed,
    counted: &CountedDeliveries,
    asked: &Asked,
) -> Vec<Choice> {
    let CountedDeliveries { total, exact, .. } = *counted;
    let text = |name, label: &str, value: &str| Choice {
        kind: "text",
        name,
        value: value.to_owned(),
        label: label.to_owned(),
        checked: false,
    };
    if action.has_result() {
        let first = Choice {
            kind: "checkbox",
            name: "first",
            value: "true".to_owned(),
            label: "try one first, and go on only if that succeeds".to_owned(),
            checked: total > 1,
        };
        let mut found = if action.is_replay() { targets(admin, asked) } else { Vec::new() };
        found.extend([
            first,
            text("pace", "a second, at most (empty: as fast as they go)", "50"),
            text("stop_after", "failures after which it stops (empty: never)", "10"),
        ]);
        return found;
    }
    if total > MANY || !exact {
        return vec![text("typed", &format!("type {total} to {} so many", action.name()), "")];
    }
    Vec::new()
}

/// Plans it and starts it.
pub(in crate::admin::page) async fn act(
    State(admin): State<Arc<Admin>>,
    by: By,
    sees: Sees,
    mut form: FormFields,
) -> Result<Response, ProblemJson> {
    let once = form.take(ONCE);
    let (plans, starts) =
        (by.clone().once(once.clone().map(|once| format!("{once}-plan"))), by.once(once));
    let counted = form.take("count").and_then(|count| count.parse::<u64>().ok());
    let typed = form.take("typed").and_then(|typed| typed.trim().parse::<u64>().ok());
    let back = form.take(LIST).filter(|back| is_list(back));
    let mut options = Vec::new();
    for name in OPTIONS {
        options.extend(form.take(name).map(|value| (name.to_owned(), value)));
    }
    let options: OperationStartQuery = read_fields(options)?;
    options.options()?;
    let deed = read_fields::<OperationQuery>(form.others())?.deed(sees)?;
    let asks_number = !deed.action.has_result() && counted.is_none_or(|count| count > MANY);
    if asks_number && (typed.is_none() || typed != counted) {
        let detail =
            format!("type the number of deliveries to {}: nothing was changed", deed.action.name());
        return Err(ProblemJson::bad_request(detail));
    }
    let counted = count(&admin, &deed).await?;
    if let Some(typed) = typed.filter(|typed| asks_number && counted.total > *typed) {
        let now = grouped(counted.total);
        return Err(ProblemJson::conflict(format!(
            "{now} match now, more than the {typed} that you typed: nothing was changed, ask again"
        )));
    }
    let id = plan(&admin, &plans, deed, counted).await?;
    let start = start_operation(State(admin), starts, Id(id), ParamsOrBody(options));
    let Json(started) = start.await?;
    let own = Link::to("/operations").segment(&started.id).maybe(LIST, back.as_deref());
    Ok(see_other(&own.into_text()))
}
