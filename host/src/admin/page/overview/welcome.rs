//! The first steps, until the first events have come.

use crate::admin::page::parts::link::{Link, word};
use crate::admin::problem::ProblemJson;
use crate::admin::state::Admin;
use crate::store::{EventFilter, Page, Stats};

/// The steps are shown until there are more events than these.
const FEW_EVENTS: u64 = 3;

/// Three steps, each ticked when it is done.
#[derive(Debug)]
pub(super) struct Welcome {
    /// The settings that sources still lack.
    pub(super) missing: Vec<String>,
    pub(super) sources: usize,
    /// The command that sends the first event.
    pub(super) send: String,
    /// The newest event.
    pub(super) event: Option<String>,
}

impl Welcome {
    pub(super) async fn of(admin: &Admin, stats: &Stats) -> Result<Option<Self>, ProblemJson> {
        if stats.events > FEW_EVENTS {
            return Ok(None);
        }
        let config = admin.config.load_full();
        let about_source = |warning: &&crate::config::Warning| {
            warning.degrades && warning.about.as_ref().is_some_and(|it| it.kind() == "source")
        };
        let missing = config.warnings.iter().filter(about_source);
        let newest = Page { limit: 1, after: None };
        let (events, _) = admin.store.events(EventFilter::default(), newest).await?;
        let source = config.sources.keys().next().map_or("heygen", String::as_str);
        let kind = match config.sources.get(source).and_then(|source| source.preset.as_deref()) {
            Some("heygen") | None => "avatar_video.success",
            Some("github") => "push",
            Some("stripe") => "payment_intent.succeeded",
            Some(_) => "order.paid",
        };
        Ok(Some(Self {
            missing: missing.map(|warning| warning.text.clone()).collect(),
            sources: config.sources.len(),
            send: format!("hookbox send {} {kind}", word(source)),
            event: events
                .first()
                .map(|it| Link::to("/events").segment(&it.event.id.to_string()).into_text()),
        }))
    }
}
