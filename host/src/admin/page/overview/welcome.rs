//! The first steps, until the first events have come.

use std::sync::Arc;

use tokio::time::Instant;

use crate::admin::page::parts::link::{Link, word};
use crate::admin::state::Admin;
use crate::event::EventId;
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
    /// The steps, with what is known at `until`.
    pub(super) async fn of(admin: &Admin, stats: &Stats, until: Instant) -> Option<Self> {
        if stats.events > FEW_EVENTS {
            return None;
        }
        let config = admin.config.load_full();
        let about_source = |warning: &&crate::config::Warning| {
            warning.degrades && warning.about.as_ref().is_some_and(|it| it.kind() == "source")
        };
        let missing = config.warnings.iter().filter(about_source);
        let store = Arc::clone(&admin.store);
        let question = async move {
            let newest = Page { limit: 1, after: None };
            let (events, _) = store.events(EventFilter::default(), newest).await?;
            Ok(events.first().map(|it| it.event.id))
        };
        let newest = admin.answers.newest.ask(until, admin.clock.now_ms(), question).await;
        let path = |id: EventId| Link::to("/events").segment(&id.to_string()).into_text();
        // There is one, and which is not known.
        let any = (stats.events > 0).then(|| "/events".to_owned());
        let source = config.sources.keys().next().map_or("heygen", String::as_str);
        let kind = match config.sources.get(source).and_then(|source| source.preset.as_deref()) {
            Some("heygen") | None => "avatar_video.success",
            Some("github") => "push",
            Some("stripe") => "payment_intent.succeeded",
            Some(_) => "order.paid",
        };
        Some(Self {
            missing: missing.map(|warning| warning.text.clone()).collect(),
            sources: config.sources.len(),
            send: format!("hookbox send {} {kind}", word(source)),
            event: newest.value.flatten().map(path).or(any),
        })
    }
}
