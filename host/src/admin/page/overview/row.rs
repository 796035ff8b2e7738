//! A row of what wants attention.

use super::began::{NearbyChanges, TroubleKind, TroubleSpan};
use crate::admin::page::parts::html::Html;
use crate::text::grouped;

/// Something that wants attention.
#[derive(Debug)]
pub(super) struct TroubleRow {
    pub(super) class: &'static str,
    pub(super) shape: &'static str,
    /// The part of the host.
    pub(super) part: &'static str,
    /// Its name, where there are several.
    pub(super) name: String,
    pub(super) detail: Html,
    /// Its time, if that is known.
    pub(super) span: Option<TroubleSpan>,
    /// Attempts that succeeded since it is over.
    pub(super) later: Option<u64>,
    /// Its time in words, with what was changed shortly before.
    pub(super) since: Option<Html>,
    pub(super) about: TroubleKind,
    /// Where to look.
    pub(super) link: Option<(String, &'static str)>,
    /// Where to act.
    pub(super) act: Option<(String, &'static str)>,
}

impl TroubleRow {
    /// Says when it began, and after which change.
    pub(super) fn tell_since(&mut self, changes: &NearbyChanges, now_ms: i64) {
        let Some(span) = self.span else { return };
        let mut html = span.words(self.about, now_ms);
        if let Some(later) = self.later {
            html.text(&format!(", {} succeeded since", grouped(later)));
        }
        let has_cause = matches!(
            self.about,
            TroubleKind::Attempts | TroubleKind::DeadLetters | TroubleKind::Refusals
        );
        // The beginning of what waits for approval is the change itself.
        // Of what may be older it is not known what was changed before.
        let change = changes.before(&self.name, span).filter(|_| !span.is_older);
        if let Some(change) = change.filter(|_| self.about != TroubleKind::Approval) {
            html.text("; ").raw(change);
        } else if has_cause && changes.none_before(&self.name, span) {
            html.text("; nothing was changed shortly before");
        }
        self.since = Some(html);
    }
}
