//! One attempt, as an operator sees it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::admin::sees::Sees;
use crate::clock::rfc3339;
use crate::dispatch::RECORD_BYTES_PER_SECOND;
use crate::event::{GuestUse, HttpCall, LogLine, StepUse};
use crate::store::{AttemptView, StepView};
use crate::text;

/// One try.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Attempt)]
pub(in crate::admin) struct AttemptJson {
    /// Counts from 1; after an operator's retry the numbers go on.
    pub(in crate::admin) number: u32,
    /// RFC 3339 with milliseconds.
    pub(in crate::admin) started_at: String,
    /// From the call to the verdict.
    pub(in crate::admin) duration_ms: f64,
    /// The time that the handler computed; absent if none ran, or an earlier version recorded it.
    pub(in crate::admin) cpu_ms: Option<f64>,
    /// The most memory that the handler held; likewise.
    pub(in crate::admin) memory_bytes: Option<u64>,
    /// `ok`, `retry`, `reject`, `trap`, `timeout`, `memory`, `error`, `crash` or `again`.
    pub(in crate::admin) outcome: &'static str,
    /// `cancelled` if its delivery was cancelled while it ran: nothing but its record was stored.
    pub(in crate::admin) settled: Option<&'static str>,
    /// The reason, if it did not succeed.
    pub(in crate::admin) error: Option<String>,
    /// Lines that the plugin logged.
    pub(in crate::admin) logs: Vec<LogJson>,
    /// HTTP requests that the plugin sent.
    pub(in crate::admin) calls: Vec<CallJson>,
    /// Steps that it recorded or recalled, each once.
    pub(in crate::admin) steps: Vec<UsedStepJson>,
    /// SHA-256 of the plugin file that ran.
    pub(in crate::admin) plugin_digest: Option<String>,
}

/// A line a plugin logged.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Log)]
pub(in crate::admin) struct LogJson {
    /// `trace`, `debug`, `info`, `warn` or `error`.
    pub(in crate::admin) level: String,
    /// Control characters escaped.
    pub(in crate::admin) message: String,
}

/// An HTTP request that a plugin sent, or wanted to send.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Call)]
pub(in crate::admin) struct CallJson {
    /// `GET`, `POST`, …
    pub(in crate::admin) method: String,
    /// The URL; of its query only the names.
    pub(in crate::admin) url: String,
    /// The status of the response, if one came.
    pub(in crate::admin) status: Option<u16>,
    /// The reason, if no response came or its body did not end.
    pub(in crate::admin) error: Option<String>,
    /// Whether the host refused it, by a rule or a limit.
    pub(in crate::admin) refused: bool,
    /// Bytes of the request's body.
    pub(in crate::admin) sent_bytes: u64,
    /// Bytes of the response's body that the plugin took.
    pub(in crate::admin) received_bytes: u64,
    /// From the request to the end of the response.
    pub(in crate::admin) duration_ms: u64,
    /// From the beginning of the attempt to the request; absent if an earlier version recorded it.
    pub(in crate::admin) offset_ms: Option<u64>,
}

/// A step that an attempt recorded or recalled.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsedStep)]
pub(in crate::admin) struct UsedStepJson {
    /// The name.
    pub(in crate::admin) name: String,
    /// Bytes of the result.
    pub(in crate::admin) bytes: u64,
    /// From the beginning of the attempt until the result was durable; absent if it was recalled.
    pub(in crate::admin) recorded_after_ms: Option<u64>,
}

/// A step that a delivery has recorded.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RecordedStep)]
pub(in crate::admin) struct RecordedStepJson {
    /// The name.
    pub(in crate::admin) name: String,
    /// Bytes of the result.
    pub(in crate::admin) bytes: u64,
    /// The number of the attempt that recorded it.
    pub(in crate::admin) attempt: u32,
    /// SHA-256 of the plugin file that made it.
    pub(in crate::admin) plugin_digest: Option<String>,
    /// RFC 3339 with milliseconds.
    pub(in crate::admin) recorded_at: String,
}

impl From<StepUse> for UsedStepJson {
    fn from(StepUse { name, bytes, recorded_after_ms }: StepUse) -> Self {
        Self { name, bytes, recorded_after_ms }
    }
}

impl From<StepView> for RecordedStepJson {
    fn from(step: StepView) -> Self {
        let StepView { name, bytes, attempt, digest, recorded_at_ms } = step;
        let plugin_digest = digest.map(|digest| digest.to_string());
        Self { name, bytes, attempt, plugin_digest, recorded_at: rfc3339(recorded_at_ms) }
    }
}

impl AttemptJson {
    /// `cut_off` is the number of the attempt that ran when its delivery was cancelled.
    pub(super) fn of(row: AttemptView, cut_off: Option<u32>, sees: Sees) -> Self {
        let AttemptView { number, record } = row;
        let log = |LogLine { level, message }| LogJson { level, message: sees.text(message) };
        Self {
            number,
            started_at: rfc3339(record.started_at_ms),
            duration_ms: record.duration_us as f64 / 1000.0,
            cpu_ms: record.used.map(|used| used.cpu_us as f64 / 1000.0),
            memory_bytes: record.used.map(GuestUse::memory_bytes),
            outcome: record.outcome.name(),
            settled: super::cut_off(number, cut_off),
            error: record.error,
            logs: record.logs.into_iter().map(log).collect(),
            calls: record.calls.into_iter().map(CallJson::from).collect(),
            steps: record.steps.into_iter().map(UsedStepJson::from).collect(),
            plugin_digest: record.plugin_digest.map(|digest| digest.to_string()),
        }
    }
}

impl From<LogLine> for LogJson {
    fn from(LogLine { level, message }: LogLine) -> Self {
        Self { level, message }
    }
}

impl From<HttpCall> for CallJson {
    fn from(call: HttpCall) -> Self {
        let HttpCall {
            method,
            url,
            status,
            error,
            refused,
            sent_bytes,
            received_bytes,
            duration_ms,
            offset_ms,
        } = call;
        Self {
            method,
            url,
            status,
            error,
            refused,
            sent_bytes,
            received_bytes,
            duration_ms,
            offset_ms,
        }
    }
}

/// Explains why a delivery shows fewer attempts than it has had.
pub(super) fn left_no_record(attempts: u32) -> Option<String> {
    let attempts = match attempts {
        0 => return None,
        1 => "1 attempt".to_owned(),
        _ => format!("{} attempts", text::grouped(attempts.into())),
    };
    let mebibytes = RECORD_BYTES_PER_SECOND >> 20;
    Some(format!(
        "{attempts} left no record: the plugin failed faster than its attempts are kept ({mebibytes} MiB a second)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_without_a_record_are_said_in_words() {
        assert_eq!(left_no_record(0), None);
        for (count, begins) in
            [(1, "1 attempt left no record: "), (1_200, "1,200 attempts left no record: ")]
        {
            let note = left_no_record(count).unwrap();
            assert!(note.starts_with(begins) && note.ends_with("(1 MiB a second)"), "{note}");
        }
    }
}
