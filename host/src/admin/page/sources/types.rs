//! The types that came from a source.

use crate::admin::page::parts::html::Html;
use crate::admin::page::parts::link::Link;
use crate::admin::page::parts::when::when_text;
use crate::admin::sources::TypeSeenJson;
use crate::text::{grouped, three_digits};

/// A type that came.
#[derive(Debug)]
pub(super) struct TypeRow {
    pub(super) kind: String,
    pub(super) path: String,
    pub(super) hour: String,
    /// Events a minute in the last hour.
    pub(super) rate: String,
    pub(super) day: String,
    pub(super) last: Option<Html>,
    pub(super) routed: bool,
    /// The map around it.
    pub(super) map: String,
}

impl TypeRow {
    pub(super) fn of(seen: TypeSeenJson, source: &str, now_ms: i64) -> Self {
        let focus = format!("type:{}", seen.kind);
        Self {
            path: Link::to("/events").with("source", source).with("type", &seen.kind).into_text(),
            hour: grouped(seen.hour),
            rate: rate(seen.per_minute),
            day: grouped(seen.day),
            last: seen.last_at.as_deref().map(|at| when_text(at, now_ms)),
            routed: seen.routed,
            map: Link::to("/map").with("focus", &focus).into_text(),
            kind: seen.kind,
        }
    }
}

/// `12.4/min`; less than one in a hundred minutes has no digits.
fn rate(per_minute: f64) -> String {
    match per_minute {
        0.0 => "–".to_owned(),
        ..0.01 => "< 0.01/min".to_owned(),
        rate => format!("{}/min", three_digits(rate)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_of_a_minute() {
        assert_eq!((rate(0.0), rate(0.005)), ("–".to_owned(), "< 0.01/min".to_owned()));
        assert_eq!((rate(1_204.0), rate(0.25)), ("1,204/min".to_owned(), "0.25/min".to_owned()));
    }
}
