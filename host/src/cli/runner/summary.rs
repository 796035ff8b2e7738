//! The result of an attempt, for people.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::answer;
use crate::cli::listing::step_line;
use crate::cli::output::{Ink, Printout, bytes, call_line, printable};
use crate::sandbox::{Emitted, Invocation, Plugin};
use crate::text::{duration, exact_duration};

/// The longest JSON that is shown on one line, in bytes.
const MAX_ONE_LINE_BYTES: usize = 100;
/// The most lines of one body that are shown.
const MAX_BODY_LINES: usize = 40;
/// The longest line of a body that is shown, in characters.
const MAX_LINE_CHARS: usize = 500;

/// The whole report.
pub(in crate::cli) fn summary(plugin: &Plugin, invocation: &Invocation) -> Printout {
    let mut out = Printout::new();
    ending(&mut out, invocation, "");
    for event in answer::emitted(&invocation.verdict) {
        emitted(&mut out, event);
    }
    for call in &invocation.calls {
        out.line(format!("sends  {}", call_line(&json!(call))));
    }
    for step in &invocation.steps {
        out.line(step_line(&json!(step)));
    }
    for list in &invocation.kv_lists {
        let (prefix, count) = (printable(&list.prefix), list.keys.len());
        out.line(format!("lists  {count} keys that begin with \"{prefix}\""));
    }
    for (key, _) in &invocation.kv_reads {
        out.line(format!("reads  {}", printable(key)));
    }
    for (key, value) in &invocation.kv_writes {
        let value = value.as_deref().map_or("nothing (deletes it)".into(), readable);
        out.line(format!("writes {} = {}", printable(key), cut(&printable(&value))));
    }
    for (key, delta) in &invocation.kv_adds {
        out.line(format!("adds   {delta} to {}", printable(key)));
    }
    let took = duration(invocation.duration_us as f64 / 1000.0);
    let memory = bytes(invocation.memory_peak_bytes as u64);
    let kind = format!("{}@{}", plugin.contract(), plugin.interface_version());
    out.line(out.ink(Ink::Dim, &format!("{kind}, {took}, {memory} of memory")));
    out
}

/// Adds the outcome, its reason and the log; `indent` stands before every line.
pub(in crate::cli) fn ending(out: &mut Printout, invocation: &Invocation, indent: &str) {
    let (outcome, reason, retry_after_ms) = answer::outcome(invocation);
    let reason = reason.map(|reason| format!(": {}", printable(reason))).unwrap_or_default();
    let after = retry_after_ms
        .map(|ms| format!(" (not before {} from now)", exact_duration(ms)))
        .unwrap_or_default();
    let again = answer::again_after_ms(invocation)
        .map(|ms| format!(" (asks to be called again in {})", exact_duration(ms)))
        .unwrap_or_default();
    out.line(format!("{indent}{}{reason}{after}{again}", out.state(outcome.name())));
    for log in &invocation.logs {
        out.line(format!("{indent}  {:<5} {}", printable(&log.level), printable(&log.message)));
    }
}

fn emitted(out: &mut Printout, event: &Emitted) {
    let subject =
        event.subject.as_deref().map(|subject| format!(" for {subject}")).unwrap_or_default();
    let delay = match event.delay_ms {
        0 => String::new(),
        ms => format!(" in {}", exact_duration(ms)),
    };
    out.line(format!(
        "{} {}",
        out.ink(Ink::Bold, "emits"),
        printable(&format!("{}{subject}{delay}", event.kind))
    ));
    let body = body(event);
    let count = body.lines().count();
    for line in body.lines().take(MAX_BODY_LINES) {
        out.line(format!("  {}", cut(&printable(line))));
    }
    if count > MAX_BODY_LINES {
        out.line(format!("  … {} more lines (--json shows them)", count - MAX_BODY_LINES));
    }
}

/// JSON as it came if it is short, and indented if not; text as it is; of anything else, how much
/// it is.
fn body(event: &Emitted) -> Cow<'_, str> {
    let is_short = event.data.len() <= MAX_ONE_LINE_BYTES;
    match serde_json::from_slice::<Value>(&event.data) {
        Ok(value) if !is_short => format!("{value:#}").into(),
        _ => readable(&event.data),
    }
}

fn readable(data: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(data) {
        Ok(text) => text.into(),
        Err(_) => {
            format!("{} that are not text (--json shows them)", bytes(data.len() as u64)).into()
        }
    }
}

fn cut(line: &str) -> Cow<'_, str> {
    match line.char_indices().nth(MAX_LINE_CHARS) {
        None => line.into(),
        Some((end, _)) => format!("{}… (--json shows the whole)", &line[..end]).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(data: &[u8]) -> Emitted {
        Emitted {
            kind: "a".to_owned(),
            subject: None,
            content_type: None,
            data: data.to_vec(),
            delay_ms: 0,
        }
    }

    #[test]
    fn a_body_is_shown_so_that_it_can_be_read() {
        assert_eq!(body(&event(b"{\"b\": 1.0}")), "{\"b\": 1.0}");
        let long = format!("{{\"text\":\"{}\"}}", "x".repeat(MAX_ONE_LINE_BYTES));
        assert_eq!(body(&event(long.as_bytes())).lines().count(), 3);
        assert_eq!(body(&event(b"two\nlines")), "two\nlines");
        assert_eq!(body(&event(&[0xff, 0])), "2 B that are not text (--json shows them)");
    }

    #[test]
    fn a_long_line_is_cut_and_says_so() {
        assert_eq!(cut(&"ü".repeat(MAX_LINE_CHARS)), "ü".repeat(MAX_LINE_CHARS));
        assert_eq!(cut(&"ü".repeat(MAX_LINE_CHARS + 1)).matches('ü').count(), MAX_LINE_CHARS);
    }
}
