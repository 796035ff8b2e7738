//! One group of failures: what its deliveries have in common, and its first attempt beside its
//! last one.

use crate::admin::failures::{FailedAttempt, FailureDetail, ValueCount};
use crate::admin::history::MarkJson;
use crate::admin::page::parts::html::{Html, coded, shown};
use crate::admin::page::parts::link::Link;
use crate::admin::page::parts::spark::spark_with;
use crate::admin::page::parts::state::badge;
use crate::admin::page::parts::when::when_text;
use crate::admin::page::plugins::short;
use crate::admin::view::DeliveryJson;
use crate::text::{duration, grouped};

/// Lines of a log that are shown of an attempt, the last ones.
const MAX_LOGS: usize = 5;

const HOUR_MS: i64 = 3_600_000;

/// A kind of value, and how often each occurs: value, address of the deliveries with it, count.
pub(super) type GroupValues = (&'static str, Vec<(Html, String, String)>);

/// An attempt in the table of two.
#[derive(Debug)]
pub(super) struct AttemptColumn {
    pub(super) path: String,
    pub(super) name: String,
    pub(super) started: Html,
    pub(super) took: String,
    pub(super) outcome: Html,
    pub(super) error: Html,
    pub(super) digest: String,
    pub(super) logs: Vec<Html>,
    pub(super) calls: Vec<Html>,
}

/// A delivery of the group.
#[derive(Debug)]
pub(super) struct GroupDelivery {
    pub(super) id: String,
    pub(super) path: String,
    pub(super) time: Option<Html>,
    pub(super) kind: Html,
    pub(super) source: Html,
    pub(super) subject: Option<Html>,
    pub(super) state: Html,
    pub(super) attempts: u32,
    pub(super) error: Option<Html>,
}

/// The types, sources and subjects of the deliveries.
pub(super) fn values(detail: &FailureDetail) -> Vec<GroupValues> {
    let of = |name: &'static str, field: &str, counts: &[ValueCount]| {
        let row = |it: &ValueCount| {
            let link = Link::to("/deliveries").with("failure", &detail.group.id);
            let path = link.with(field, &it.value).into_text();
            (shown(&it.value), path, grouped(it.count as u64))
        };
        (name, counts.iter().map(row).collect::<Vec<_>>())
    };
    let kinds = [
        of("type", "type", &detail.types),
        of("source", "source", &detail.sources),
        of("subject", "subject", &detail.subjects),
    ];
    kinds.into_iter().filter(|(_, rows)| !rows.is_empty()).collect()
}

/// How many deliveries were looked at.
pub(super) fn looked_at(detail: &FailureDetail) -> String {
    let count = grouped(detail.looked_at as u64);
    match (detail.looked_at, detail.has_older) {
        (0, _) => "No delivery ends with it now.".to_owned(),
        (_, true) => format!("Of the newest {count} deliveries; older ones were not looked at."),
        (1, false) => "Of its 1 delivery.".to_owned(),
        (_, false) => format!("Of all its {count} deliveries."),
    }
}

/// The trend with what was changed meanwhile, and the same in words.
pub(super) fn trend(detail: &FailureDetail, now_ms: i64) -> (Html, Vec<Html>) {
    let counts = &detail.group.trend;
    let lately: u64 = counts.iter().map(|n| u64::from(*n)).sum();
    let place = |mark: &MarkJson| {
        let at_ms = mark.at.parse::<jiff::Timestamp>().ok()?.as_millisecond();
        let hours = now_ms.div_euclid(HOUR_MS) - at_ms.div_euclid(HOUR_MS);
        let at = counts.len().checked_sub(1 + usize::try_from(hours).ok()?)?;
        Some((at, words(mark)))
    };
    let marks: Vec<_> = detail.marks.iter().filter_map(place).collect();
    let html = spark_with(counts, &format!("{} in 24 h", grouped(lately)), &marks);
    let line = |mark: &MarkJson| {
        let mut html = shown(&words(mark));
        html.text(" ").raw(when_text(&mark.at, now_ms));
        html
    };
    (html, detail.marks.iter().rev().map(line).collect())
}

fn words(mark: &MarkJson) -> String {
    let words = [mark.what, &mark.name, mark.result];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

impl AttemptColumn {
    pub(super) fn of(failed: &FailedAttempt, now_ms: i64) -> Self {
        let attempt = &failed.attempt;
        let page = Link::to("/events").segment(&failed.event_id).with("tab", "attempts");
        let call = |it: &crate::admin::view::attempt::CallJson| {
            let status = it.status.map_or_else(|| "no answer".to_owned(), |it| it.to_string());
            let mut html = shown(&format!("{} {} {status}", it.method, it.url));
            if let Some(error) = &it.error {
                html.text(": ").raw(coded(error));
            }
            html
        };
        let skipped = attempt.logs.len().saturating_sub(MAX_LOGS);
        let log = |it: &crate::admin::view::attempt::LogJson| {
            shown(&format!("{}: {}", it.level, it.message))
        };
        Self {
            path: format!("{}#{}", page.into_text(), failed.delivery_id),
            name: format!("{} #{}", failed.delivery_id, attempt.number),
            started: when_text(&attempt.started_at, now_ms),
            took: duration(attempt.duration_ms),
            outcome: badge(attempt.outcome),
            error: shown(attempt.error.as_deref().unwrap_or_default()),
            digest: attempt.plugin_digest.as_deref().map(short).unwrap_or_default(),
            logs: attempt.logs.iter().skip(skipped).map(log).collect(),
            calls: attempt.calls.iter().map(call).collect(),
        }
    }
}

impl GroupDelivery {
    pub(super) fn of(row: &DeliveryJson, now_ms: i64) -> Self {
        let last = row.attempts.last();
        let page = Link::to("/events").segment(&row.event_id).with("tab", "attempts");
        Self {
            path: format!("{}#{}", page.into_text(), row.id),
            time: last.map(|last| when_text(&last.started_at, now_ms)),
            kind: shown(&row.kind),
            source: shown(&row.source),
            subject: row.subject.as_deref().map(shown),
            state: badge(row.state),
            attempts: row.attempt,
            error: last.and_then(|last| last.error.as_deref()).map(shown),
            id: row.id.clone(),
        }
    }
}
