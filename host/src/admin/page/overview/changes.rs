//! The changes shortly before a trouble began.

use std::sync::Arc;

use tokio::time::Instant;

use crate::admin::attention::TroubleSpan;
use crate::admin::page::parts::html::Html;
use crate::admin::page::parts::when::relative;
use crate::admin::state::Admin;
use crate::series::{MAX_MARKS, Mark, STEP_MS};
use crate::store::{AuditEntry, AuditFilter};

/// A change is near a beginning if it was at most this long before it, in milliseconds.
const NEAR_MS: i64 = 600_000;

/// Entries of the audit log that are looked at.
const LOOKED_AT: usize = 50;

/// Changes that may be the cause of a trouble.
#[derive(Debug, Default)]
pub(super) struct NearbyChanges {
    /// Each with its time, the thing that was changed, and the change in words.
    found: Vec<(i64, String, String)>,
    /// Since when all changes are known.
    known_ms: i64,
}

impl NearbyChanges {
    /// The changes from shortly before the first of some times on, as far as they are known at
    /// `until`.
    pub(super) async fn since(admin: &Admin, first_ms: i64, until: Instant) -> Self {
        let (since_ms, started_ms) = (first_ms - NEAR_MS, admin.started_ms);
        let marks = admin.series.marks(since_ms);
        let filter = AuditFilter { since_ms: Some(since_ms), ..AuditFilter::default() };
        let store = Arc::clone(&admin.store);
        let question = async move {
            let (entries, more) = store.audit(filter, LOOKED_AT, None).await?;
            Ok((entries, more.is_some()))
        };
        let noted = admin.answers.changes.ask(until, admin.clock.now_ms(), question).await;
        let is_known = noted.as_of_ms.is_none() && noted.value.is_some() && marks.len() < MAX_MARKS;
        let (entries, more) = noted.value.unwrap_or_default();
        // The newest entries are looked at: what was before the last of them is not known.
        let oldest_ms = if more { entries.last().map(|entry| entry.at_ms) } else { None };
        let start = (started_ms, String::new(), "the host was started".to_owned());
        let found = marks.into_iter().map(of_mark).chain(entries.into_iter().map(of_entry));
        Self {
            found: found.chain([start]).collect(),
            known_ms: match is_known {
                true => oldest_ms.map_or(started_ms, |oldest_ms| oldest_ms.max(started_ms)),
                false => i64::MAX,
            },
        }
    }

    /// Whether it is known that nothing was changed shortly before a trouble.
    pub(super) fn none_before(&self, name: &str, span: TroubleSpan) -> bool {
        let is_known = !span.is_older && self.known_ms <= span.from_ms - NEAR_MS;
        is_known && self.before(name, span).is_none()
    }

    /// The last change before a trouble of a thing: one of the thing itself before all others.
    pub(super) fn before(&self, name: &str, span: TroubleSpan) -> Option<Html> {
        let from_ms = span.from_ms;
        let is_near = |at_ms: i64| (from_ms - NEAR_MS..=from_ms + STEP_MS).contains(&at_ms);
        let near = self.found.iter().filter(|(at_ms, ..)| is_near(*at_ms));
        let (at_ms, _, says) = near.max_by_key(|(at_ms, of, _)| (of == name, *at_ms))?;
        let before = relative(*at_ms, from_ms.max(*at_ms)).replace("ago", "before");
        let before = if before == "now" { "just then".to_owned() } else { before };
        let mut html = Html::default();
        html.text(&format!("{before}: {says}"));
        Some(html)
    }
}

fn of_mark(mark: Mark) -> (i64, String, String) {
    let says = match (mark.what, mark.result) {
        ("config", "taken") => "a new configuration was taken".to_owned(),
        ("config", result) => format!("a new configuration was {result}"),
        (_, "loaded") => format!("a new file of {} was loaded", mark.name),
        (_, "held") => format!("a new file of {} came and waits for approval", mark.name),
        (_, "kept") => format!("a new file of {} was not taken", mark.name),
        (_, "removed") => format!("the file of {} was removed", mark.name),
        (what, result) => format!("{what} {} {result}", mark.name),
    };
    (mark.at_ms, mark.name, says)
}

/// The details of an entry may be hidden from the client, and are left out.
fn of_entry(entry: AuditEntry) -> (i64, String, String) {
    let says = match entry.action.starts_with("plugins.") || entry.action.starts_with("schedules.")
    {
        true => format!("{} {} by {}", entry.action, entry.target, entry.actor),
        false => format!("{} by {}", entry.action, entry.actor),
    };
    (entry.at_ms, entry.target, says)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_770_000_000_000;

    #[test]
    fn the_last_change_of_the_thing_itself_is_named_before_others() {
        let change = |at_ms, of: &str, says: &str| (at_ms, of.to_owned(), says.to_owned());
        let changes = NearbyChanges {
            found: vec![
                change(NOW_MS - 700_000, "a", "too early"),
                change(NOW_MS - 240_000, "a", "a new <file>"),
                change(NOW_MS - 60_000, "", "a new configuration"),
                change(NOW_MS + 60_000, "a", "too late"),
            ],
            known_ms: NOW_MS - 3_600_000,
        };
        let before = |name| changes.before(name, TroubleSpan::since(NOW_MS)).unwrap().to_string();
        assert_eq!(before("a"), "4 min before: a new &lt;file&gt;");
        assert_eq!(before("b"), "1 min before: a new configuration");
        let later = TroubleSpan::since(NOW_MS + 3_600_000);
        assert_eq!(changes.before("a", later), None);
        assert!(changes.none_before("a", later));
        assert!(!changes.none_before("a", TroubleSpan { is_older: true, ..later }));
        assert!(!changes.none_before("a", TroubleSpan::since(NOW_MS)));
        let long_ago = TroubleSpan::since(NOW_MS - 3_100_000);
        assert!(!changes.none_before("a", long_ago), "earlier changes are not known");
    }
}
