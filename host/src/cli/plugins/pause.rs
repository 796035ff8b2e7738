//! `hookbox plugins pause` and `resume`, and the same of schedules.

use serde_json::Value;

use crate::cli::client::{AdminClient, encoded};
use crate::cli::failure::Failure;
use crate::cli::output::{Printout, print_json, text};

/// Pauses a thing below `path`.
pub(in crate::cli) fn pause(
    client: &AdminClient,
    path: &str,
    name: &str,
    reason: &str,
    json: bool,
) -> Result<(), Failure> {
    let path = format!("{path}/{}/pause", encoded(name));
    said(&client.post(&path, &[("reason", Some(reason))])?, json)
}

/// Lets it go on.
pub(in crate::cli) fn resume(
    client: &AdminClient,
    path: &str,
    name: &str,
    json: bool,
) -> Result<(), Failure> {
    said(&client.post(&format!("{path}/{}/resume", encoded(name)), &[])?, json)
}

fn said(answer: &Value, json: bool) -> Result<(), Failure> {
    if json {
        return print_json(answer);
    }
    let mut out = Printout::new();
    let name = text(&answer["name"]);
    match answer["paused"].is_null() {
        true => out.line(format!("{name} goes on")),
        false => out.line(format!("{name} is paused: {}", text(&answer["paused"]["reason"]))),
    }
    out.print()
}

/// The pause of a thing in one line; nothing if it goes on.
pub(in crate::cli) fn line(paused: &Value) -> Option<String> {
    (!paused.is_null()).then(|| {
        let [by, since, reason] = ["by", "since", "reason"].map(|field| text(&paused[field]));
        format!("paused by {by} since {since}: {reason}")
    })
}
