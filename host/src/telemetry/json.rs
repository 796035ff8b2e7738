//! Log lines as JSON: one object a line, in the order time, level, message and fields, target.

use std::fmt;
use std::io::{self, Write};

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::clock::{Clock, rfc3339};
use crate::trace;

/// Fields that hold a list of names. `tracing` has no lists: they are given as `?list`, and what
/// that writes is JSON.
const LISTS: [&str; 3] = ["config.restart_needed", "plugins", "sources"];

/// Formats each event as one line.
#[derive(Debug)]
pub(super) struct JsonFormat;

impl<S, N> FormatEvent<S, N> for JsonFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = JsonLine::new(event.metadata().level().as_str());
        event.record(&mut line);
        if let Some(span) = trace::current() {
            line.put("trace_id", &span.trace.to_string().into());
            line.put("span_id", &span.span.to_string().into());
        }
        writeln!(writer, "{}", line.end(event.metadata().target()))
    }
}

/// Writes one line to stderr, whatever the filter. If stderr is closed, the line is lost.
pub(super) fn say(level: &str, message: &str, fields: &[(&str, Value)], target: &str) {
    let mut line = JsonLine::new(level);
    line.put("message", &message.into());
    fields.iter().for_each(|(name, value)| line.put(name, value));
    let line = format!("{}\n", line.end(target));
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// A line that is being built.
struct JsonLine(String);

impl JsonLine {
    fn new(level: &str) -> Self {
        Self(format!(r#"{{"timestamp":"{}","level":"{level}""#, rfc3339(Clock::system().now_ms())))
    }

    fn put(&mut self, name: &str, value: &Value) {
        let name = Value::from(name.strip_prefix("r#").unwrap_or(name));
        self.0.push_str(&format!(",{name}:{value}"));
    }

    fn end(mut self, target: &str) -> String {
        self.put("target", &target.into());
        self.0.push('}');
        self.0
    }
}

impl Visit for JsonLine {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), &value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), &value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), &value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), &value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), &value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        let is_list = LISTS.contains(&field.name());
        let list = if is_list { serde_json::from_str(&text).ok() } else { None };
        self.put(field.name(), &list.unwrap_or(Value::String(text)));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::json;

    use super::*;

    /// Keeps the lines in memory.
    #[derive(Clone, Default)]
    struct MemoryWriter(Arc<Mutex<Vec<u8>>>);

    impl Write for MemoryWriter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(log: impl FnOnce()) -> Value {
        let kept = MemoryWriter::default();
        let writer = kept.clone();
        let lines = tracing_subscriber::fmt()
            .event_format(JsonFormat)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(lines, log);
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        assert!(
            text.starts_with("{\"timestamp\":\"2")
                && text.contains("Z\",\"level\":\"WARN\",\"message\":"),
            "{text}"
        );
        let mut line: Value = serde_json::from_str(&text).unwrap();
        line.as_object_mut().unwrap().remove("timestamp");
        line
    }

    #[test]
    fn a_line_is_one_json_object_with_the_types_of_its_fields() {
        let absent: Option<&str> = None;
        let line = logged(|| {
            tracing::warn!(
                event.id = %"evt_1", count = 3, late = true, share = 0.5, reason = "a\n\"b\"\u{1b}", absent,
                "what \u{1} {}", "happened"
            );
        });
        let expected = json!({
            "level": "WARN", "message": "what \u{1} happened", "event.id": "evt_1", "count": 3, "late": true,
            "share": 0.5, "reason": "a\n\"b\"\u{1b}", "target": module_path!(),
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn lists_are_lists_and_what_only_looks_like_one_is_a_text() {
        let line = logged(
            || tracing::warn!(config.restart_needed = ?["a", "b"], reason = %"[1]", plugins = ?[""; 0], "m"),
        );
        assert_eq!(line["config.restart_needed"], json!(["a", "b"]));
        assert_eq!((&line["reason"], &line["plugins"]), (&json!("[1]"), &json!([])));
    }

    #[test]
    fn a_line_has_the_ids_of_the_span_that_it_belongs_to() {
        let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let line = logged(|| {
            let _entered = trace::enter(trace::SpanContext::read(traceparent));
            tracing::warn!("m");
        });
        assert_eq!(line["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(line["span_id"], "00f067aa0ba902b7");
        assert!(logged(|| tracing::warn!("m")).get("trace_id").is_none());
    }
}
