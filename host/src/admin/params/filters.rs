//! Parameters of listings and orders, as documented, read into the store's filters.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use utoipa::IntoParams;

use super::attempts::{attempts, failure_id, outcome};
use crate::admin::problem::ProblemJson;
use crate::admin::sees::Sees;
use crate::config::routes::TypePattern;
use crate::event::{DeliveryId, Digest, EventId, State};
use crate::names::hint;
use crate::store::{Cursor, DeliveryFilter, EventFilter, EventState, Page};

/// Rows a page holds if nothing is said.
const DEFAULT_LIMIT: usize = 50;

/// The most rows a page holds.
const MAX_LIMIT: usize = 500;

/// Filters of `GET /api/v1/events`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct EventQuery {
    /// Exactly this event type; or a pattern as in `[routes]`, where `*` stands for one piece and
    /// `**` for any number.
    #[serde(rename = "type")]
    pub(in crate::admin) kind: Option<String>,
    /// Exactly this source.
    pub(super) source: Option<String>,
    /// `true`: emitted by a plugin; `false`: not emitted by one.
    #[param(value_type = Option<bool>)]
    pub(super) emitted: Option<String>,
    /// Exactly this subject.
    pub(super) subject: Option<String>,
    /// With at least one delivery in this state (`ready`, `leased`, `waiting`, `done`, `dead`,
    /// `cancelled`, `discarded`); or `failing`: with one that is dead, or is open after an attempt
    /// that failed; or `unrouted`.
    pub(super) state: Option<String>,
    /// With at least one delivery of this plugin; in that `state`, if both are given.
    pub(super) plugin: Option<String>,
    /// With at least one delivery of which so many attempts were begun.
    #[param(value_type = Option<u32>, minimum = 1)]
    pub(super) min_attempts: Option<String>,
    /// Stored after the event with this id.
    pub(super) after: Option<String>,
    /// This text occurs in the id, type, subject, provider id or body.
    pub(super) q: Option<String>,
    /// Received at or after: RFC 3339 or Unix seconds.
    pub(super) since: Option<String>,
    /// Received before: RFC 3339 or Unix seconds.
    pub(super) until: Option<String>,
    /// Rows of a page, 1 to 500; 50 if absent.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 500)]
    pub(super) limit: Option<String>,
    /// `next_cursor` of the page before.
    pub(super) cursor: Option<String>,
}

/// Filters of `GET /api/v1/deliveries`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct DeliveryQuery {
    /// In this state: `ready`, `leased`, `waiting`, `done`, `dead`, `cancelled` or `discarded`.
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
    /// Rows of a page, 1 to 500; 50 if absent.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 500)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Parameters of `POST /api/v1/plugins/{name}/approve`, in the query or as members of a JSON
/// object.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct ApproveQuery {
    /// SHA-256 of the file that may run, in hex; without it, the file that waits for approval now.
    pub(in crate::admin) digest: Option<String>,
}

/// No parameters: a mistyped one is refused all the same.
#[derive(Debug, Deserialize, IntoParams)]
pub(in crate::admin) struct NoQuery {}

impl ApproveQuery {
    pub(in crate::admin) fn digest(&self) -> Result<Option<Digest>, ProblemJson> {
        let read = |text: &String| {
            text.parse().map_err(|error| ProblemJson::bad_request(format!("`digest`: {error}")))
        };
        self.digest.as_ref().map(read).transpose()
    }
}

impl EventQuery {
    /// Whether it says how many rows.
    pub(in crate::admin) fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

    pub(in crate::admin) fn filter(&self, sees: Sees) -> Result<EventFilter, ProblemJson> {
        if self.q.is_some() {
            // Whether a text is found tells what a payload holds.
            sees.need("`q` also looks into payloads")?;
        }
        let is_pattern = self.kind.as_deref().is_some_and(|kind| kind.contains('*'));
        let (pattern, kind) =
            if is_pattern { (self.kind.as_deref(), None) } else { (None, self.kind.clone()) };
        Ok(EventFilter {
            kind,
            pattern: pattern.map(type_pattern).transpose()?,
            plugin: self.plugin.clone(),
            min_attempts: attempts(self.min_attempts.as_deref())?,
            after: self.after.as_deref().map(after).transpose()?,
            source: self.source.clone(),
            emitted: self.emitted.as_deref().map(emitted).transpose()?,
            subject: self.subject.clone(),
            state: self.state.as_deref().map(event_state).transpose()?,
            text: self.q.clone(),
            since_ms: time("since", self.since.as_deref())?,
            until_ms: time("until", self.until.as_deref())?,
        })
    }

    pub(in crate::admin) fn page(&self) -> Result<Page, ProblemJson> {
        page(self.limit.as_deref(), self.cursor.as_deref())
    }

    /// Refuses the parameters of pages where there are none.
    pub(in crate::admin) fn without_page(&self) -> Result<(), ProblemJson> {
        let given = [("limit", &self.limit), ("cursor", &self.cursor)];
        match given.into_iter().find(|(_, value)| value.is_some()) {
            Some((name, _)) => Err(ProblemJson::bad_request(format!(
                "`{name}`: a stream has no pages; `after` says behind which event it begins"
            ))),
            None => Ok(()),
        }
    }
}

impl DeliveryQuery {
    pub(in crate::admin) fn filter(&self) -> Result<DeliveryFilter, ProblemJson> {
        Ok(DeliveryFilter {
            state: self.state.as_deref().map(state).transpose()?,
            plugin: self.plugin.clone(),
            kind: self.kind.clone(),
            source: self.source.clone(),
            subject: self.subject.clone(),
            failure: failure_id(self.failure.as_deref())?,
            outcome: outcome(self.outcome.as_deref())?,
            min_attempts: attempts(self.min_attempts.as_deref())?,
            since_ms: time("since", self.since.as_deref())?,
            until_ms: time("until", self.until.as_deref())?,
        })
    }

    pub(in crate::admin) fn page(&self) -> Result<Page, ProblemJson> {
        page(self.limit.as_deref(), self.cursor.as_deref())
    }
}

fn type_pattern(text: &str) -> Result<TypePattern, ProblemJson> {
    TypePattern::parse(text).map_err(|error| {
        let text: String = text.chars().take(80).collect();
        let right = "`*` stands for one piece between dots, as in `order.*`, `**` for any number";
        ProblemJson::bad_request(format!("`type`: `{text}` {error}: {right}"))
    })
}

fn emitted(text: &str) -> Result<bool, ProblemJson> {
    text.parse().map_err(|_| ProblemJson::bad_request("`emitted` must be `true` or `false`"))
}

fn after(text: &str) -> Result<EventId, ProblemJson> {
    text.parse().map_err(|error| ProblemJson::bad_request(format!("`after`: {error}")))
}

fn state(name: &str) -> Result<State, ProblemJson> {
    State::from_name(name).ok_or_else(|| no_state(name, &State::ALL, &[]))
}

fn event_state(name: &str) -> Result<EventState, ProblemJson> {
    match name {
        "unrouted" => Ok(EventState::Unrouted),
        "failing" => Ok(EventState::Failing),
        _ => State::from_name(name)
            .map(EventState::Has)
            .ok_or_else(|| no_state(name, &State::ALL, &["unrouted", "failing"])),
    }
}

/// A refusal that names the states there are to choose from.
pub(super) fn no_state(name: &str, states: &[State], more: &[&'static str]) -> ProblemJson {
    let valid: Vec<&str> =
        states.iter().copied().map(State::name).chain(more.iter().copied()).collect();
    let hint = hint(name, valid.iter().copied());
    let name: String = name.chars().take(80).collect();
    ProblemJson::bad_request(format!(
        "`state`: there is no state `{name}`{hint} (valid: {})",
        valid.join(", ")
    ))
}

/// Reads RFC 3339 or Unix seconds as Unix milliseconds.
pub(super) fn time(name: &str, text: Option<&str>) -> Result<Option<i64>, ProblemJson> {
    // Twelve digits of seconds reach beyond the year 30,000; more are milliseconds by mistake.
    const MAX_DIGITS: usize = 11;
    let Some(text) = text else { return Ok(None) };
    let seconds = (text.len() <= MAX_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse::<i64>());
    let ms = match seconds {
        Some(seconds) => seconds.ok().map(|seconds| seconds * 1000),
        None => text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond),
    };
    ms.map(Some).ok_or_else(|| {
        let text: String = text.chars().take(80).collect();
        let right =
            "write RFC 3339 (`2026-11-23T15:04:05Z`; a `+` in a query string is `%2B`) or Unix seconds (`1795446245`)";
        ProblemJson::bad_request(format!("`{name}`: `{text}` is not a time: {right}"))
    })
}

/// The number of rows of a page.
pub(super) fn rows(limit: Option<&str>) -> Result<usize, ProblemJson> {
    limit_of(limit, DEFAULT_LIMIT, MAX_LIMIT)
}

fn page(limit: Option<&str>, cursor: Option<&str>) -> Result<Page, ProblemJson> {
    Ok(Page { limit: rows(limit)?, after: cursor_of(cursor, from_text)? })
}

/// Reads the rows of a page.
pub(super) fn limit_of(
    text: Option<&str>,
    unset: usize,
    most: usize,
) -> Result<usize, ProblemJson> {
    text.map_or(Ok(unset), |limit| {
        let limit = limit.parse().ok().filter(|limit| (1..=most).contains(limit));
        limit.ok_or_else(|| {
            ProblemJson::bad_request(format!("`limit` must be a number from 1 to {most}"))
        })
    })
}

/// Reads where a page goes on.
pub(super) fn cursor_of<C>(
    text: Option<&str>,
    read: impl FnOnce(&str) -> Option<C>,
) -> Result<Option<C>, ProblemJson> {
    let found = text.map(|text| {
        read(text).ok_or_else(|| {
            ProblemJson::bad_request("`cursor` is not a `next_cursor` that this host gave out")
        })
    });
    found.transpose()
}

/// The text of a cursor: opaque to clients.
pub(in crate::admin) fn to_text(cursor: Cursor) -> String {
    let Cursor(DeliveryId { event, ordinal }) = cursor;
    let mut bytes = event.row().to_be_bytes().to_vec();
    bytes.extend(ordinal.to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn from_text(text: &str) -> Option<Cursor> {
    let bytes: [u8; 12] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
    let (event, ordinal) = bytes.split_at(8);
    let event = EventId::from_row(i64::from_be_bytes(event.try_into().ok()?));
    Some(Cursor(DeliveryId { event, ordinal: u32::from_be_bytes(ordinal.try_into().ok()?) }))
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;

    use super::super::{pairs, read};
    use super::*;

    fn detail<T: std::fmt::Debug>(result: Result<T, ProblemJson>) -> String {
        let value = serde_json::to_value(result.unwrap_err()).unwrap();
        value["detail"].as_str().unwrap().to_owned()
    }

    fn ask<T: DeserializeOwned + IntoParams>(query: &str) -> Result<T, ProblemJson> {
        read(pairs(&format!("/?{query}").parse().unwrap())?)
    }

    #[test]
    fn a_mistyped_parameter_is_named_with_what_was_meant() {
        let message = detail(ask::<EventQuery>("sorce=heygen"));
        assert!(
            message.contains("`sorce`") && message.contains("did you mean `source`?"),
            "{message}"
        );
        assert!(message.contains("`next_cursor`") || message.contains("`cursor`"), "{message}");
    }

    #[test]
    fn an_empty_or_repeated_parameter_is_refused() {
        assert!(detail(ask::<DeliveryQuery>("plugin=")).contains("is empty"));
        assert!(detail(ask::<DeliveryQuery>("plugin=a&plugin=b")).contains("twice"));
    }

    #[test]
    fn a_time_is_rfc_3339_or_unix_seconds() {
        for (text, ms) in [
            ("1970-01-01T00:00:01.5Z", 1_500),
            ("1970-01-01T01:00:00%2B01:00", 0),
            ("1770000000", 1_770_000_000_000),
        ] {
            let filter =
                ask::<EventQuery>(&format!("since={text}")).unwrap().filter(Sees::ALL).unwrap();
            assert_eq!(filter.since_ms, Some(ms), "{text}");
        }
        for text in ["yesterday", "1770000000000", "-5", "2026-11-23"] {
            assert!(
                detail(ask::<EventQuery>(&format!("until={text}")).unwrap().filter(Sees::ALL))
                    .contains("RFC 3339"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_limit_outside_its_range_is_refused() {
        for limit in ["0", "501", "-1", "ten"] {
            assert!(
                detail(ask::<EventQuery>(&format!("limit={limit}")).unwrap().page())
                    .contains("1 to 500"),
                "{limit}"
            );
        }
        assert_eq!(ask::<EventQuery>("limit=500").unwrap().page().unwrap().limit, 500);
    }

    #[test]
    fn a_cursor_is_read_back_and_a_foreign_one_refused() {
        let cursor = Cursor(DeliveryId { event: EventId::first_at(1_770_000_000_000), ordinal: 7 });
        let page =
            ask::<EventQuery>(&format!("cursor={}", to_text(cursor))).unwrap().page().unwrap();
        assert_eq!(page.after, Some(cursor));
        for text in ["1", "AAAA", "%00"] {
            assert!(
                detail(ask::<EventQuery>(&format!("cursor={text}")).unwrap().page())
                    .contains("next_cursor"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_state_that_does_not_exist_is_named_with_those_that_do() {
        let message = detail(ask::<EventQuery>("state=unroutd").unwrap().filter(Sees::ALL));
        assert!(
            message.contains("did you mean `unrouted`?") && message.contains("waiting"),
            "{message}"
        );
    }
}
