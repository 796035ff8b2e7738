//! The last changes that people made to a thing, for its own page.

use std::sync::Arc;

use super::parts::html::{Html, shown};
use super::parts::link::Link;
use super::parts::when::when_text;
use crate::admin::problem::ProblemJson;
use crate::admin::sees::Sees;
use crate::admin::state::Admin;
use crate::clock::rfc3339;
use crate::store::{AuditEntry, AuditFilter};

/// Entries that are shown.
const SHOWN: usize = 5;

/// Entries that are looked at for those of a thing whose name occurs in others.
const LOOKED_AT: usize = 50;

/// The last entries of the audit log about a thing.
#[derive(Debug)]
pub(super) struct Trail {
    pub(super) lines: Vec<Html>,
    /// The list of all of them.
    pub(super) all: String,
}

impl Trail {
    /// The entries that name this id.
    pub(super) async fn of_id(
        admin: &Arc<Admin>,
        sees: Sees,
        id: &str,
    ) -> Result<Self, ProblemJson> {
        Self::of(admin, sees, id, |_| true).await
    }

    /// The entries of the actions on this name that begin with one of `actions` and a dot.
    pub(super) async fn of_name(
        admin: &Arc<Admin>,
        sees: Sees,
        name: &str,
        actions: &str,
    ) -> Result<Self, ProblemJson> {
        let is_its = |entry: &AuditEntry| {
            let acts = entry.action.strip_prefix(actions).is_some_and(|it| it.starts_with('.'));
            acts && entry.target == name
        };
        Self::of(admin, sees, name, is_its).await
    }

    async fn of(
        admin: &Arc<Admin>,
        sees: Sees,
        text: &str,
        is_its: impl Fn(&AuditEntry) -> bool,
    ) -> Result<Self, ProblemJson> {
        let filter = AuditFilter { target: Some(text.to_owned()), ..AuditFilter::default() };
        let (entries, _) = admin.store.audit(filter, LOOKED_AT, None).await?;
        let now_ms = admin.clock.now_ms();
        let its = entries.iter().filter(|entry| is_its(entry)).take(SHOWN);
        Ok(Self {
            lines: its.map(|entry| line(entry, sees, now_ms)).collect(),
            all: Link::to("/settings/audit").with("target", text).into_text(),
        })
    }
}

/// The action, who did it, and when.
fn line(entry: &AuditEntry, sees: Sees, now_ms: i64) -> Html {
    let mut html = shown(&entry.action);
    html.text(" by ").raw(shown(&entry.actor)).text(" ");
    html.raw(when_text(&rfc3339(entry.at_ms), now_ms));
    let detail = sees.detail(entry.detail.clone());
    if !detail.is_empty() {
        html.text(": ").raw(shown(&detail));
    }
    html
}
