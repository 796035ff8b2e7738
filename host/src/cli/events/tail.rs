//! `hookbox events tail`: what comes in, as it comes.

use std::time::Duration;

use serde_json::Value;

use crate::cli::client::{AdminClient, Param};
use crate::cli::failure::Failure;
use crate::cli::listing::{EVENT_COLUMNS, event_row};
use crate::cli::output::{Columns, Printout, print_json_line, text};
use crate::cli::remarks;

/// Time between two tries to reach a host that is gone.
const PAUSE: Duration = Duration::from_secs(1);

/// Events shown at the start.
const FIRST: usize = 10;

/// Prints events that match `filter` until the process ends.
pub(super) fn tail(
    client: &AdminClient,
    filter: &[Param<'_>],
    as_json: bool,
) -> Result<(), Failure> {
    let mut shown = Shown { as_json, has_head: as_json, columns: Columns::new(&EVENT_COLUMNS) };
    let mut first = client.list("/api/v1/events", filter, None, FIRST)?.0;
    first.reverse();
    let mut last = match first.last() {
        Some(event) => Some(text(&event["id"])),
        // The newest of all: of this filter there is none.
        None => client.list("/api/v1/events", &[], None, 1)?.0.first().map(|it| text(&it["id"])),
    };
    shown.print(&first)?;
    let (mut was_followed, mut is_lost) = (false, false);
    loop {
        let mut query = filter.to_vec();
        query.push(("after", last.as_deref()));
        let mut newest = None;
        let followed = client.lines("/api/v1/events/stream", &query, &mut |line| {
            (was_followed, is_lost) = (true, false);
            if let Some(id) = line["id"].as_str() {
                newest = Some(id.to_owned());
            }
            shown.print(std::slice::from_ref(&line))
        });
        last = newest.or(last);
        match followed {
            Err(failure @ Failure::NobodyReads) => return Err(failure),
            // A host that restarts comes back; one that never answered does not.
            Err(failure) if !was_followed => return Err(failure),
            Err(failure) if !std::mem::replace(&mut is_lost, true) => {
                remarks::remark(&format!("{failure}; trying again"));
            }
            Ok(()) | Err(_) => {}
        }
        std::thread::sleep(PAUSE);
    }
}

struct Shown {
    as_json: bool,
    has_head: bool,
    columns: Columns,
}

impl Shown {
    fn print(&mut self, lines: &[Value]) -> Result<(), Failure> {
        if self.as_json {
            return lines.iter().try_for_each(print_json_line);
        }
        let mut out = Printout::new();
        if !std::mem::replace(&mut self.has_head, true) {
            out.head(&self.columns);
        }
        for line in lines {
            match line["skipped"].as_u64() {
                Some(skipped) => {
                    let more = if line["or_more"] == true { " or more" } else { "" };
                    out.line(format!("({skipped}{more} events are not shown)"));
                }
                None => out.more(&mut self.columns, &[event_row(line)]),
            }
        }
        out.print()
    }
}
