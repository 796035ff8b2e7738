//! One attempt, as an operator sees it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::clock::rfc3339;
use crate::event::{HttpCall, LogLine, StepUse};
use crate::store::{AttemptView, StepView};

/// One try.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Attempt)]
pub(super) struct AttemptJson {
    /// Counts from 1; after an operator's retry the numbers go on.
    number: u32,
    /// RFC 3339 with milliseconds.
    started_at: String,
    /// From the call to the verdict.
    duration_ms: f64,
    /// `ok`, `retry`, `reject`, `trap`, `timeout`, `memory`, `error`, `crash` or `again`.
    outcome: &'static str,
    /// The reason, if it did not succeed.
    error: Option<String>,
    /// Lines that the plugin logged.
    logs: Vec<LogJson>,
    /// HTTP requests that the plugin sent.
    calls: Vec<CallJson>,
    /// Steps that it recorded or recalled, each once.
    steps: Vec<UsedStepJson>,
    /// SHA-256 of the plugin file that ran.
    plugin_digest: Option<String>,
}

/// A line a plugin logged.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Log)]
pub(super) struct LogJson {
    /// `trace`, `debug`, `info`, `warn` or `error`.
    level: String,
    /// Control characters escaped.
    message: String,
}

/// An HTTP request that a plugin sent, or wanted to send.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Call)]
pub(super) struct CallJson {
    /// `GET`, `POST`, …
    method: String,
    /// The URL; of its query only the names.
    url: String,
    /// The status of the response, if one came.
    status: Option<u16>,
    /// The reason, if no response came or its body did not end.
    error: Option<String>,
    /// Whether the host refused it, by a rule or a limit.
    refused: bool,
    /// Bytes of the request's body.
    sent_bytes: u64,
    /// Bytes of the response's body that the plugin took.
    received_bytes: u64,
    /// From the request to the end of the response.
    duration_ms: u64,
}

/// A step that an attempt recorded or recalled.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsedStep)]
pub(super) struct UsedStepJson {
    /// The name.
    name: String,
    /// Bytes of the result.
    bytes: u64,
    /// From the beginning of the attempt until the result was durable; absent if it was recalled.
    recorded_after_ms: Option<u64>,
}

/// A step that a delivery has recorded.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RecordedStep)]
pub(super) struct RecordedStepJson {
    /// The name.
    name: String,
    /// Bytes of the result.
    bytes: u64,
    /// The number of the attempt that recorded it.
    attempt: u32,
    /// SHA-256 of the plugin file that made it.
    plugin_digest: Option<String>,
    /// RFC 3339 with milliseconds.
    recorded_at: String,
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

impl From<AttemptView> for AttemptJson {
    fn from(row: AttemptView) -> Self {
        let AttemptView { number, record } = row;
        let log = |LogLine { level, message }| LogJson { level, message };
        Self {
            number,
            started_at: rfc3339(record.started_at_ms),
            duration_ms: record.duration_us as f64 / 1000.0,
            outcome: record.outcome.name(),
            error: record.error,
            logs: record.logs.into_iter().map(log).collect(),
            calls: record.calls.into_iter().map(CallJson::from).collect(),
            steps: record.steps.into_iter().map(UsedStepJson::from).collect(),
            plugin_digest: record.plugin_digest.map(|digest| digest.to_string()),
        }
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
        } = call;
        Self { method, url, status, error, refused, sent_bytes, received_bytes, duration_ms }
    }
}
