//! Filters as conditions of statements, and the ids that a listing by time looks at.

use std::fmt::Write as _;

use tokio_postgres::Error;
use tokio_postgres::types::ToSql;

use super::client::SqlClient as Client;
use crate::event::{EventId, FailureId, State};
use crate::store::{DeliveryFilter, EventFilter, EventState};

/// By how much the own time of an event may differ from that of its id before it is in the index
/// of those that are astray: see `schema/listings.sql`.
const ASTRAY_MS: i64 = 3_600_000;

/// The most events that are astray that a listing by time looks for. With more of them in its time
/// it looks at all events.
const MAX_ASTRAY: i64 = 20_000;

/// The lowest bits of an id that do not tell its time.
const LOW_BITS: u32 = 20;

/// The rows of `hookbox.open` as a listing filters them.
const OPEN_ROWS: &str = "SELECT event, ordinal, plugin,
    (CASE WHEN holder IS NOT NULL THEN 1 WHEN waits THEN 2 ELSE 0 END)::smallint AS state,
    attempt, failure, NULL::smallint AS outcome FROM hookbox.open";

/// The same of `hookbox.settled`.
const SETTLED_ROWS: &str =
    "SELECT event, ordinal, plugin, state, attempt, failure, outcome FROM hookbox.settled";

/// The rows of deliveries that may be in a state, as a table: open, settled, or both.
pub(super) fn rows_in(state: Option<State>) -> String {
    match state {
        Some(state) if state.is_settled() => format!("({SETTLED_ROWS})"),
        Some(_) => format!("({OPEN_ROWS})"),
        None => format!("({OPEN_ROWS} UNION ALL {SETTLED_ROWS})"),
    }
}

/// Conditions of a statement and what fills their placeholders.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    /// ` AND …` for each condition.
    pub(super) sql: String,
    values: Vec<Box<dyn ToSql + Sync + Send>>,
}

impl Conditions {
    /// Adds a condition; each `?` in it is the value.
    pub(super) fn add(&mut self, condition: &str, value: impl ToSql + Sync + Send + 'static) {
        self.values.push(Box::new(value));
        let numbered = condition.replace('?', &format!("${}", self.values.len()));
        let _ = write!(self.sql, " AND {numbered}");
    }

    pub(super) fn maybe(
        &mut self,
        condition: &str,
        value: Option<impl ToSql + Sync + Send + 'static>,
    ) {
        if let Some(value) = value {
            self.add(condition, value);
        }
    }

    /// The same with a text. No text of the database holds the character 0, so none is one with it.
    pub(super) fn text(&mut self, condition: &str, value: Option<String>) {
        match value {
            Some(value) if value.contains('\0') => self.sql.push_str(" AND false"),
            value => self.maybe(condition, value),
        }
    }

    /// Fills the placeholders.
    pub(super) fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.values.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect()
    }

    /// Conditions on `events e`.
    pub(super) fn events(filter: &EventFilter) -> Self {
        let mut conditions = Self::default();
        conditions.text("e.type = ?", filter.kind.clone());
        conditions.text("e.source = ?", filter.source.clone());
        conditions.text("e.subject = ?", filter.subject.clone());
        conditions.sql.push_str(match filter.emitted {
            None => "",
            Some(true) => " AND starts_with(e.source, 'plugins/')",
            Some(false) => " AND NOT starts_with(e.source, 'plugins/')",
        });
        conditions.of_deliveries(filter);
        if let Some(text) = &filter.text {
            conditions.with_text(text);
        }
        conditions.by_time(filter.since_ms, filter.until_ms);
        conditions
    }

    /// The condition that a text occurs in `events e`. A body may hold any bytes.
    fn with_text(&mut self, text: &str) {
        self.values.push(Box::new(text.as_bytes().to_vec()));
        let body = self.values.len();
        if text.contains('\0') {
            let _ = write!(self.sql, " AND position(${body} IN e.body) > 0");
            return;
        }
        let anywhere = format!(
            "(position(${body} IN e.body) > 0 OR strpos(e.type, ?) > 0
              OR strpos(coalesce(e.subject, ''), ?) > 0
              OR strpos(coalesce(e.provider_id, ''), ?) > 0
              OR strpos('evt_' || lpad(to_hex(e.id), 16, '0'), ?) > 0)"
        );
        self.add(&anywhere, text.to_owned());
    }

    /// Conditions on the deliveries of `events e`: one of them meets all.
    fn of_deliveries(&mut self, filter: &EventFilter) {
        let failing = filter.state == Some(EventState::Failing);
        let state = match filter.state {
            None | Some(EventState::Failing) => None,
            Some(EventState::Unrouted) => {
                let none = format!(
                    " AND NOT EXISTS (SELECT FROM {} d WHERE d.event = e.id)",
                    rows_in(None)
                );
                self.sql.push_str(&none);
                None
            }
            Some(EventState::Has(state)) => Some(state),
        };
        let asks = failing || filter.plugin.is_some() || filter.min_attempts.is_some();
        if state.is_none() && !asks {
            return;
        }
        let _ =
            write!(self.sql, " AND EXISTS (SELECT FROM {} d WHERE d.event = e.id", rows_in(state));
        if failing {
            // Dead, or open after a failure.
            self.sql.push_str(" AND (d.state = 4 OR (d.state < 3 AND d.failure IS NOT NULL))");
        }
        self.maybe("d.state = ?", state.map(|state| i16::from(state.code())));
        self.text("d.plugin = ?", filter.plugin.clone());
        self.maybe("d.attempt >= ?", filter.min_attempts.map(super::settle::small));
        self.sql.push(')');
    }

    /// Conditions on deliveries `d`, as [`rows_in`] makes them, with `events e`.
    pub(super) fn deliveries(filter: &DeliveryFilter) -> Self {
        let mut conditions = Self::default();
        if filter.state == Some(State::Dead) {
            // The literal state shows that the index of dead letters applies.
            conditions.sql.push_str(" AND d.state = 4");
        } else {
            conditions.maybe("d.state = ?", filter.state.map(|state| i16::from(state.code())));
        }
        conditions.text("d.plugin = ?", filter.plugin.clone());
        conditions.text("e.type = ?", filter.kind.clone());
        conditions.text("e.source = ?", filter.source.clone());
        conditions.text("e.subject = ?", filter.subject.clone());
        conditions.maybe("d.failure = ?", filter.failure.map(FailureId::row));
        conditions.maybe("d.attempt >= ?", filter.min_attempts.map(super::settle::small));
        conditions.maybe(
            "coalesce(d.outcome, (SELECT a.outcome FROM hookbox.attempts a
              WHERE a.event = d.event AND a.ordinal = d.ordinal
              ORDER BY a.number DESC LIMIT 1)) = ?",
            filter.outcome.map(|outcome| i16::from(outcome.code())),
        );
        conditions.by_time(filter.since_ms, filter.until_ms);
        conditions
    }

    fn by_time(&mut self, since_ms: Option<i64>, until_ms: Option<i64>) {
        self.maybe("e.time_ms >= ?", since_ms);
        self.maybe("e.time_ms < ?", until_ms);
    }
}

/// A range of ids that has all events whose own time is within some bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IdSpan {
    /// The first id that may be meant.
    pub(super) low: i64,
    /// The id after the last one that may be meant.
    pub(super) end: i64,
}

impl IdSpan {
    /// The ids of the events since one time and before another one, both of the events' own.
    pub(super) async fn of(
        client: &Client,
        since_ms: Option<i64>,
        until_ms: Option<i64>,
    ) -> Result<Self, Error> {
        let all = Self { low: i64::MIN, end: i64::MAX };
        if since_ms.is_none() && until_ms.is_none() {
            return Ok(all);
        }
        let row = client
            .query_one(
                "SELECT min(a.id), max(a.id), count(*) FROM (SELECT id FROM hookbox.events
                 WHERE time_ms - (id >> 20) NOT BETWEEN -3600000 AND 3600000
                   AND time_ms >= $1 AND time_ms < $2 LIMIT $3) a",
                &[&since_ms.unwrap_or(i64::MIN), &until_ms.unwrap_or(i64::MAX), &MAX_ASTRAY],
            )
            .await?;
        if row.get::<_, i64>(2) == MAX_ASTRAY {
            return Ok(all);
        }
        let mut span = Self::by_ids(since_ms, until_ms);
        if let (Some(first), Some(last)) = (row.get::<_, Option<i64>>(0), row.get(1)) {
            span.low = span.low.min(first);
            span.end = span.end.max(i64::saturating_add(last, 1));
        }
        Ok(span)
    }

    /// The same as far as the ids of events tell it.
    fn by_ids(since_ms: Option<i64>, until_ms: Option<i64>) -> Self {
        let last_ms = i64::MAX >> LOW_BITS;
        let first_at = |ms: i64| EventId::first_at(ms.clamp(0, last_ms)).row();
        Self {
            low: since_ms.map_or(i64::MIN, |ms| first_at(ms.saturating_sub(ASTRAY_MS))),
            end: until_ms.map_or(i64::MAX, |ms| first_at(ms.saturating_add(ASTRAY_MS + 1))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_the_ids_of_its_time_and_of_the_hour_around_it() {
        let at = |ms| EventId::first_at(ms).row();
        let span = IdSpan::by_ids(Some(10 * ASTRAY_MS), Some(12 * ASTRAY_MS));
        assert_eq!(span, IdSpan { low: at(9 * ASTRAY_MS), end: at(13 * ASTRAY_MS + 1) });
        let all = IdSpan::by_ids(Some(i64::MIN), Some(i64::MAX));
        assert_eq!((all.low, all.end >= at(i64::MAX >> LOW_BITS)), (0, true));
    }

    #[test]
    fn a_value_stands_wherever_its_condition_has_it() {
        let mut conditions = Conditions::default();
        conditions.maybe("a = ?", None::<i64>);
        conditions.add("b = ?", 1_i64);
        conditions.add("(c = ? OR d = ?)", 2_i64);
        assert_eq!(conditions.sql, " AND b = $1 AND (c = $2 OR d = $2)");
        assert_eq!(conditions.values().len(), 2);
    }
}
