//! The log of a provider, as it is.

use serde_json::{Value, json};

use super::talk::Talk;
use crate::cli::failure::Failure;
use crate::cli::output::{Printout, print_json};
use crate::clock::rfc3339;
use crate::providers::{ApiRequest, LoggedEvent};

/// The most events of a page.
const MAX_PAGE: u32 = 100;

/// Shows at most `limit` events, the newest first.
pub(super) fn show(talk: &Talk, limit: u32) -> Result<(), Failure> {
    let rows = limit.min(MAX_PAGE);
    if talk.shows_only(&ApiRequest::Events { cursor: None, limit: rows })? {
        return Ok(());
    }
    let (mut events, mut cursor) = (Vec::new(), None::<String>);
    while events.len() < limit as usize {
        let body = talk.ask(&ApiRequest::Events { cursor: cursor.as_deref(), limit: rows })?;
        let page = talk.provider.events(&body).map_err(|error| talk.strange(&error))?;
        let is_empty = page.events.is_empty();
        events.extend(page.events);
        if page.next.is_none() || page.next == cursor || is_empty {
            break;
        }
        cursor = page.next;
    }
    events.truncate(limit as usize);
    if talk.json {
        return print_json(&json!({ "items": events.iter().map(shown).collect::<Vec<_>>() }));
    }
    let mut out = Printout::new();
    if events.is_empty() {
        out.line("no event");
        return out.print();
    }
    let head = ["EVENT", "TYPE", "AT"].map(str::to_owned).to_vec();
    let row =
        |event: &LoggedEvent| vec![event.id.clone(), event.kind.clone(), rfc3339(event.at_ms)];
    out.table(&std::iter::once(head).chain(events.iter().map(row)).collect::<Vec<_>>());
    out.print()
}

fn shown(event: &LoggedEvent) -> Value {
    let LoggedEvent { id, kind, at_ms, body, .. } = event;
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    json!({ "event_id": id, "type": kind, "at": rfc3339(*at_ms), "body": body })
}
