//! The shared parts of `hookbox events` and `hookbox deliveries`: a listing that goes on at a
//! cursor, and the rows of events, deliveries and attempts.

use clap::Args;
use serde_json::{Value, json};

use super::client::{AdminClient, Param};
use super::failure::Failure;
use super::output::{Ink, Printout, bytes, call_line, duration_of, print_json, printable, text};
use crate::text::duration;

/// The bounds of a listing.
#[derive(Debug, Args)]
pub(super) struct ListingArgs {
    /// Rows at most
    #[arg(
        long, value_name = "N", default_value_t = 50,
        value_parser = clap::value_parser!(u32).range(1..=100_000)
    )]
    limit: u32,
    /// Go on where a listing ended (its `next_cursor`)
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

/// The rows of a listing, and the way they are printed.
#[derive(Debug)]
pub(super) struct Listed {
    /// The path of the API.
    pub(super) path: &'static str,
    /// The text that says there is none.
    pub(super) none: &'static str,
    /// Adds a table of the rows.
    pub(super) table: fn(&mut Printout, &[Value]),
}

impl ListingArgs {
    /// Where it goes on.
    pub(super) fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// Prints the rows that match `filter`.
    pub(super) fn print(
        &self,
        client: &AdminClient,
        listed: &Listed,
        filter: &[Param<'_>],
        as_json: bool,
    ) -> Result<(), Failure> {
        let cursor = self.cursor.clone();
        let (items, next) = client.list(listed.path, filter, cursor, self.limit as usize)?;
        if as_json {
            return print_json(&json!({ "items": items, "next_cursor": next }));
        }
        let mut out = Printout::new();
        if items.is_empty() {
            out.line(listed.none);
        } else {
            (listed.table)(&mut out, &items);
        }
        if let Some(next) = next {
            out.remark(format!("there is more: --cursor {}", printable(&next)));
        }
        out.print()
    }
}

/// The columns of a listing of events, and how wide they are at least where rows come one by one.
pub(super) const EVENT_COLUMNS: [(&str, usize); 6] =
    [("TIME", 24), ("ID", 20), ("SOURCE", 20), ("TYPE", 24), ("SUBJECT", 16), ("DELIVERIES", 0)];

/// Adds events, a row each.
pub(super) fn event_table(out: &mut Printout, events: &[Value]) {
    let head = EVENT_COLUMNS.map(|(name, _)| name.to_owned()).to_vec();
    out.table(&std::iter::once(head).chain(events.iter().map(event_row)).collect::<Vec<_>>());
}

/// The cells of an event.
pub(super) fn event_row(event: &Value) -> Vec<String> {
    let stand =
        |delivery: &Value| format!("{} {}", text(&delivery["plugin"]), text(&delivery["state"]));
    let deliveries = elements(&event["deliveries"]);
    let deliveries = match deliveries {
        [] => "unrouted".to_owned(),
        some => some.iter().map(stand).collect::<Vec<_>>().join(", "),
    };
    let attribute = |name: &str| text(&event[name]);
    vec![
        attribute("time"),
        attribute("id"),
        attribute("source"),
        attribute("type"),
        attribute("subject"),
        deliveries,
    ]
}

/// Adds deliveries, a row each.
pub(super) fn delivery_table(out: &mut Printout, deliveries: &[Value]) {
    let head = ["ID", "PLUGIN", "TYPE", "SUBJECT", "STATE", "ATTEMPTS", "LAST", "WAITS FOR"]
        .map(str::to_owned)
        .to_vec();
    out.table(
        &std::iter::once(head).chain(deliveries.iter().map(delivery_row)).collect::<Vec<_>>(),
    );
}

fn delivery_row(delivery: &Value) -> Vec<String> {
    let last =
        elements(&delivery["attempts"]).last().map(|attempt| match attempt["error"].as_str() {
            Some(error) => format!("{}: {error}", text(&attempt["outcome"])),
            None => text(&attempt["outcome"]),
        });
    let mut cells: Vec<String> = ["id", "plugin", "type", "subject", "state", "attempt"]
        .iter()
        .map(|name| text(&delivery[*name]))
        .collect();
    cells.extend([last.unwrap_or_default(), text(&delivery["waits_for"]["text"])]);
    cells
}

/// Adds a delivery with its attempts and their logs.
pub(super) fn attempts(out: &mut Printout, delivery: &Value) {
    let plugin = out.ink(Ink::Bold, &printable(&text(&delivery["plugin"])));
    let state = out.state(&text(&delivery["state"]));
    let cancelling =
        if delivery["cancelling"] == true { ", cancelled: ends with this attempt" } else { "" };
    let due = delivery["due_at"]
        .as_str()
        .map(|due| format!(", due {}", printable(due)))
        .unwrap_or_default();
    let replay = if delivery["replay"] == true { ", a replay" } else { "" };
    let again = match delivery["again"].as_u64() {
        None | Some(0) => String::new(),
        Some(1) => ", asked once to be called again".to_owned(),
        Some(count) => format!(", asked {count} times to be called again"),
    };
    out.line(format!(
        "{plugin}  {state}{cancelling}{due}{again}{replay}  {}",
        printable(&text(&delivery["id"]))
    ));
    if let Some(waits) = delivery["waits_for"]["text"].as_str() {
        out.line(format!("  waits for {}", printable(waits)));
    }
    if let Some(note) = delivery["note"].as_str() {
        out.line(format!("  {}", printable(note)));
    }
    if delivery["against"].is_object() {
        out.line(format!("  {}", printable(&verdict(&delivery["against"]))));
    }
    for step in elements(&delivery["steps"]) {
        out.line(format!("  {}", recorded_step(step)));
    }
    for attempt in elements(&delivery["attempts"]) {
        let outcome = out.state(&text(&attempt["outcome"]));
        let error = attempt["error"]
            .as_str()
            .map(|error| format!(": {}", printable(error)))
            .unwrap_or_default();
        let (number, started) = (&attempt["number"], text(&attempt["started_at"]));
        let took = duration_of(&attempt["duration_ms"]);
        let settled = if attempt["settled"] == "cancelled" { ", cancelled meanwhile" } else { "" };
        let line = format!("  #{number}  {}  {took}  {outcome}", printable(&started));
        out.line(format!("{line}{settled}{error}"));
        if let (Some(cpu), Some(memory)) =
            (attempt["cpu_ms"].as_f64(), attempt["memory_bytes"].as_u64())
        {
            let (cpu, memory) = (duration(cpu), bytes(memory));
            out.line(format!("    used {cpu} of CPU and {memory} of memory"));
        }
        for step in elements(&attempt["steps"]) {
            out.line(format!("    {}", step_line(step)));
        }
        for call in elements(&attempt["calls"]) {
            out.line(format!("    {}", call_line(call)));
        }
        for log in elements(&attempt["logs"]) {
            let line = format!("{:<5} {}", text(&log["level"]), text(&log["message"]));
            out.line(format!("      {}", printable(&line)));
        }
    }
}

/// Whether a retry or a replay has helped, beside the attempt before it.
fn verdict(against: &Value) -> String {
    let error = against["error"].as_str().map(|error| format!(": {error}")).unwrap_or_default();
    format!(
        "{}: before it, attempt {} of {} was {}{error}",
        text(&against["verdict"]),
        against["attempt"],
        text(&against["delivery_id"]),
        text(&against["outcome"]),
    )
}

/// A step that a delivery keeps: its name, size, and which attempt and file made it.
fn recorded_step(step: &Value) -> String {
    let digest: String = text(&step["plugin_digest"]).chars().take(12).collect();
    let by = if digest.is_empty() { String::new() } else { format!(" by {digest}") };
    printable(&format!(
        "step {} ({}) recorded in attempt {}{by}",
        text(&step["name"]),
        bytes(step["bytes"].as_u64().unwrap_or(0)),
        step["attempt"],
    ))
}

/// A step that an attempt recorded or recalled.
pub(super) fn step_line(step: &Value) -> String {
    let (name, size) = (text(&step["name"]), bytes(step["bytes"].as_u64().unwrap_or(0)));
    let line = match step["recorded_after_ms"].as_f64() {
        Some(ms) => format!("step {name} recorded after {} ({size})", duration(ms)),
        None => format!("step {name} recalled ({size})"),
    };
    printable(&line)
}

/// The elements of an array; none for anything else.
pub(super) fn elements(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
