//! Parameters of a change of many deliveries, read into a filter and a cursor.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};

use super::attempts::{attempts, failure_id, outcome};
use super::filters::{EventQuery, no_state, time};
use crate::admin::problem::ProblemJson;
use crate::event::State;
use crate::store::{Action, DeliveryFilter, Progress};

/// The word for all open states.
const OPEN: &str = "open";

/// Filters of `POST /api/v1/deliveries/retry`, `…/cancel`, `…/discard` and `…/move`, in the query
/// or as the members of a JSON object.
#[derive(Debug, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct ChangeQuery {
    /// In this state. A retry takes `dead` (the default), `waiting`, `cancelled` and `discarded`. A
    /// cancellation takes `ready`, `leased`, `waiting` and, for all three, `open`. A discard takes
    /// `dead`. A move takes `ready`, `waiting` and, for both, `open`.
    state: Option<String>,
    /// Of this plugin.
    plugin: Option<String>,
    /// Of events of exactly this type.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Of events of exactly this source.
    source: Option<String>,
    /// Of events with exactly this subject.
    subject: Option<String>,
    /// Whose last attempt failed in this group: `f_` and 12 hex digits.
    failure: Option<String>,
    /// Whose last attempt had this outcome: `ok`, `again`, `retry`, `reject`, `trap`, `timeout`,
    /// `memory`, `error` or `crash`.
    outcome: Option<String>,
    /// With at least so many attempts.
    #[param(value_type = Option<u32>, minimum = 1)]
    min_attempts: Option<String>,
    /// Of events received at or after: RFC 3339 or Unix seconds.
    since: Option<String>,
    /// Of events received before: RFC 3339 or Unix seconds.
    until: Option<String>,
    /// `true`: change nothing, and say how many there are.
    #[param(value_type = Option<bool>)]
    dry_run: Option<String>,
    /// `next_cursor` of the call before, with the same filters.
    cursor: Option<String>,
}

/// The parameter of `POST /api/v1/events/{id}/cancel`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct CursorQuery {
    /// `next_cursor` of the call before.
    cursor: Option<String>,
}

impl CursorQuery {
    /// The cursor at which the call before has stopped.
    pub(in crate::admin) fn from(&self) -> Result<Option<Progress>, ProblemJson> {
        progress(self.cursor.as_deref())
    }
}

/// The parameter of `POST /api/v1/deliveries/{id}/retry`, in the query or as a member of a JSON
/// object.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct FreshQuery {
    /// `true`: drop the steps that it has recorded, so that it begins from the first one.
    #[param(value_type = Option<bool>)]
    pub(in crate::admin) fresh: Option<String>,
}

/// Parameters of `POST /api/v1/deliveries/retry`.
#[derive(Debug, Default, Deserialize)]
pub(in crate::admin) struct RetryQuery {
    #[serde(flatten)]
    pub(in crate::admin) fresh: FreshQuery,
    #[serde(flatten)]
    pub(in crate::admin) change: ChangeQuery,
}

impl IntoParams for RetryQuery {
    fn into_params(place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let mut parameters = ChangeQuery::into_params(&place);
        parameters.extend(FreshQuery::into_params(&place));
        parameters
    }
}

impl FreshQuery {
    /// The retry that is meant.
    pub(in crate::admin) fn action(&self) -> Result<Action, ProblemJson> {
        Ok(if flag("fresh", self.fresh.as_deref())? { Action::RetryFresh } else { Action::Retry })
    }
}

/// A parameter that is true or false; false if absent.
pub(super) fn flag(name: &str, value: Option<&str>) -> Result<bool, ProblemJson> {
    match value {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(ProblemJson::bad_request(format!("`{name}` must be `true` or `false`"))),
    }
}

/// The parameter of `POST /api/v1/deliveries/{id}/move`: the plugin that gets the delivery.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct ToQuery {
    /// The plugin that gets them.
    #[param(required = true)]
    to: Option<String>,
}

/// Parameters of `POST /api/v1/deliveries/move`: the filters, and the plugin that gets what
/// matches.
#[derive(Debug, Default, Deserialize)]
pub(in crate::admin) struct MoveQuery {
    #[serde(flatten)]
    pub(in crate::admin) to: ToQuery,
    #[serde(flatten)]
    pub(in crate::admin) change: ChangeQuery,
}

impl IntoParams for MoveQuery {
    fn into_params(place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let mut parameters = ToQuery::into_params(&place);
        parameters.extend(ChangeQuery::into_params(&place));
        parameters
    }
}

impl ToQuery {
    /// The plugin's name, as given.
    pub(in crate::admin) fn plugin(&self) -> Result<&str, ProblemJson> {
        let missing = || {
            ProblemJson::bad_request(
                "`to` is missing: it names the plugin that gets the deliveries",
            )
        };
        self.to.as_deref().ok_or_else(missing)
    }
}

impl ChangeQuery {
    /// The filter. A request for all deliveries has to say so.
    pub(in crate::admin) fn filter(self, action: &Action) -> Result<DeliveryFilter, ProblemJson> {
        let state = self.state.as_deref().map(|name| state(action, name)).transpose()?;
        let filter = DeliveryFilter {
            state: None,
            plugin: self.plugin,
            kind: self.kind,
            source: self.source,
            subject: self.subject,
            failure: failure_id(self.failure.as_deref())?,
            outcome: outcome(self.outcome.as_deref())?,
            min_attempts: attempts(self.min_attempts.as_deref())?,
            since_ms: time("since", self.since.as_deref())?,
            until_ms: time("until", self.until.as_deref())?,
        };
        if filter == DeliveryFilter::default() && state.is_none() {
            let (verb, all, which) = match action {
                Action::Cancel | Action::Move(_) => (action.name(), OPEN, "open"),
                Action::Retry | Action::RetryFresh | Action::Discard => {
                    (action.name(), State::Dead.name(), "dead")
                }
                Action::Undiscard => (action.name(), State::Discarded.name(), "discarded"),
            };
            let detail =
                format!("no filter given: say `state={all}` to {verb} every {which} delivery");
            return Err(ProblemJson::bad_request(detail));
        }
        Ok(DeliveryFilter { state: state.flatten(), ..filter })
    }

    /// The same as filters of events.
    pub(super) fn of_events(
        self,
        after: Option<String>,
        q: Option<String>,
        emitted: Option<String>,
    ) -> Result<EventQuery, ProblemJson> {
        let Self { state, plugin, kind, source, subject, min_attempts, since, until, .. } = self;
        let others = [
            ("failure", self.failure),
            ("outcome", self.outcome),
            ("dry_run", self.dry_run),
            ("cursor", self.cursor),
        ];
        if let Some((name, _)) = others.into_iter().find(|(_, value)| value.is_some()) {
            return Err(ProblemJson::bad_request(format!("`{name}` is no filter of events")));
        }
        Ok(EventQuery {
            kind,
            source,
            subject,
            state,
            plugin,
            min_attempts,
            after,
            q,
            emitted,
            since,
            until,
            ..EventQuery::default()
        })
    }

    /// Whether no parameter is given.
    pub(in crate::admin) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(in crate::admin) fn dry_run(&self) -> Result<bool, ProblemJson> {
        flag("dry_run", self.dry_run.as_deref())
    }

    /// The cursor at which the call before has stopped.
    pub(in crate::admin) fn from(&self) -> Result<Option<Progress>, ProblemJson> {
        progress(self.cursor.as_deref())
    }
}

/// Reads a cursor.
fn progress(cursor: Option<&str>) -> Result<Option<Progress>, ProblemJson> {
    let read = |text: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok();
    let refused =
        || ProblemJson::bad_request("`cursor` is not a `next_cursor` that this host gave out here");
    cursor.map(|text| read(text).ok_or_else(refused)).transpose()
}

/// A state that `action` takes deliveries from; `None` for all of them.
fn state(action: &Action, name: &str) -> Result<Option<State>, ProblemJson> {
    let takes_open = matches!(action, Action::Cancel | Action::Move(_));
    if takes_open && name == OPEN {
        return Ok(None);
    }
    let more: &[_] = if takes_open { &[OPEN] } else { &[] };
    let state = State::from_name(name).ok_or_else(|| no_state(name, action.takes(), more))?;
    if action.takes().contains(&state) {
        return Ok(Some(state));
    }
    let taken: Vec<_> = action.takes().iter().map(|state| format!("`{}`", state.name())).collect();
    let (verb, done) = (action.name(), action.done());
    let why = match (action, state) {
        (Action::Retry | Action::RetryFresh, State::Ready) => "it is due".to_owned(),
        (Action::Retry | Action::RetryFresh | Action::Move(_), State::Leased) => {
            "it is running".to_owned()
        }
        (Action::Discard, State::Ready | State::Leased | State::Waiting) => {
            "`cancel` ends what is open".to_owned()
        }
        _ => "it is settled".to_owned(),
    };
    Err(ProblemJson::bad_request(format!(
        "`state`: a {} delivery cannot be {done}, {why}; {verb} takes {}",
        state.name(),
        taken.join(", ")
    )))
}

/// The text of a cursor of a change: opaque to clients.
pub(in crate::admin) fn progress_text(progress: &Progress) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(progress).expect("numbers and names are always JSON"))
}

#[cfg(test)]
mod tests {
    use super::super::{pairs, read};
    use super::*;

    fn detail<T: std::fmt::Debug>(result: Result<T, ProblemJson>) -> String {
        let value = serde_json::to_value(result.unwrap_err()).unwrap();
        value["detail"].as_str().unwrap().to_owned()
    }

    fn ask(query: &str) -> ChangeQuery {
        read(pairs(&format!("/?{query}").parse().unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn to_mean_everything_one_has_to_say_so() {
        let to = Action::Move("orders".into());
        for (action, all) in [
            (&Action::Retry, "dead"),
            (&Action::Discard, "dead"),
            (&Action::Cancel, "open"),
            (&to, "open"),
        ] {
            let message = detail(ask("").filter(action));
            assert!(
                message.contains(&format!("`state={all}` to {} every", action.name())),
                "{message}"
            );
            ask(&format!("state={all}")).filter(action).unwrap();
            assert_eq!(ask("plugin=audit").filter(action).unwrap().state, None);
        }
        assert_eq!(ask("state=open").filter(&Action::Cancel).unwrap(), DeliveryFilter::default());
        assert_eq!(ask("state=dead").filter(&Action::Retry).unwrap().state, Some(State::Dead));
    }

    #[test]
    fn a_state_that_an_action_does_not_take_is_refused_with_those_that_it_takes() {
        for (action, state, hint) in [
            (Action::Retry, "ready", "retry takes `dead`, `waiting`, `cancelled`, `discarded`"),
            (Action::Retry, "done", "it is settled"),
            (Action::Retry, "open", "valid: dead, waiting"),
            (Action::Cancel, "dead", "cancel takes `ready`, `leased`, `waiting`"),
            (Action::Cancel, "opn", "did you mean `open`?"),
            (Action::Discard, "waiting", "`cancel` ends what is open"),
            (Action::Discard, "daed", "did you mean `dead`?"),
            (
                Action::Move("orders".into()),
                "leased",
                "it is running; move takes `ready`, `waiting`",
            ),
        ] {
            let message = detail(ask(&format!("state={state}")).filter(&action));
            assert!(message.contains(hint), "{} {state}: {message}", action.name());
        }
    }

    #[test]
    fn a_dry_run_is_true_or_false() {
        for (text, expected) in [("", false), ("dry_run=false", false), ("dry_run=true", true)] {
            assert_eq!(ask(text).dry_run().unwrap(), expected);
        }
        assert!(detail(ask("dry_run=1").dry_run()).contains("`true` or `false`"));
    }

    #[test]
    fn a_foreign_cursor_is_refused() {
        assert!(ask("").from().unwrap().is_none());
        for text in ["1", "AAAA", "%00", "e30"] {
            assert!(
                detail(ask(&format!("cursor={text}")).from()).contains("next_cursor"),
                "{text}"
            );
        }
    }
}
