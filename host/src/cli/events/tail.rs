//! `hookbox events tail`: what comes in, as it comes.

use std::time::Duration;

use serde_json::Value;

use crate::cli::client::{AdminClient, Param};
use crate::cli::failure::Failure;
use crate::cli::listing::{EVENT_COLUMNS, event_row};
use crate::cli::output::{Columns, Printout, print_json_line, text};

/// Time between two questions.
const POLL: Duration = Duration::from_secs(1);

/// Events shown at the start.
const FIRST: usize = 10;

/// Events shown at once; of more that came in between two questions the newest are shown.
const WINDOW: usize = 5_000;

/// Prints events that match `filter` until the process ends.
pub(super) fn tail(
    client: &AdminClient,
    filter: &[Param<'_>],
    as_json: bool,
) -> Result<(), Failure> {
    let mut newest = String::new();
    let mut window = FIRST;
    let mut columns = Columns::new(&EVENT_COLUMNS);
    let mut has_head = as_json;
    loop {
        let mut fresh = match newer(client, filter, &newest, window) {
            Ok(fresh) => fresh,
            // A host that restarts comes back; one that was never there does not.
            Err(failure) if window == FIRST => return Err(failure),
            Err(_) => {
                std::thread::sleep(POLL);
                continue;
            }
        };
        window = WINDOW;
        fresh.reverse();
        if let Some(last) = fresh.last() {
            newest = text(&last["id"]);
        }
        if as_json {
            fresh.iter().try_for_each(print_json_line)?;
        } else {
            let mut out = Printout::new();
            if !std::mem::replace(&mut has_head, true) {
                out.head(&columns);
            }
            out.more(&mut columns, &fresh.iter().map(event_row).collect::<Vec<_>>());
            out.print()?;
        }
        std::thread::sleep(POLL);
    }
}

/// Events after `newest`, newest first, at most `window`. Ids grow with time, so an id not above
/// ends the search.
pub(in crate::cli) fn newer(
    client: &AdminClient,
    filter: &[Param<'_>],
    newest: &str,
    window: usize,
) -> Result<Vec<Value>, Failure> {
    const PAGE: usize = 100;
    let mut fresh: Vec<Value> = Vec::new();
    let mut cursor = None;
    loop {
        let rows = PAGE.min(window - fresh.len());
        let (items, next) = client.list("/api/v1/events", filter, cursor, rows)?;
        let known =
            items.iter().position(|event| event["id"].as_str().is_none_or(|id| id <= newest));
        fresh.extend(items.into_iter().take(known.unwrap_or(usize::MAX)));
        if next.is_none() || known.is_some() || fresh.len() >= window {
            return Ok(fresh);
        }
        cursor = next;
    }
}
