//! The record of an attempt: its outcome, its log, its HTTP requests, and the file that ran.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// The outcome of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The handler succeeded.
    Ok,
    /// The handler asked to be called again later.
    Retry,
    /// The handler refused the event for good.
    Reject,
    /// The guest trapped.
    Trap,
    /// The time limit passed.
    Timeout,
    /// The memory limit was reached.
    Memory,
    /// The host could not run it, or refused what it returned.
    Error,
    /// The host died while it ran.
    Crash,
    /// The handler succeeded, and asked to be called again.
    Again,
}

impl Outcome {
    /// Every outcome, in the order of [`Outcome::code`].
    pub const ALL: [Self; 9] = [
        Self::Ok,
        Self::Retry,
        Self::Reject,
        Self::Trap,
        Self::Timeout,
        Self::Memory,
        Self::Error,
        Self::Crash,
        Self::Again,
    ];

    /// Whether the attempt failed.
    pub fn is_failure(self) -> bool {
        !matches!(self, Self::Ok | Self::Again)
    }

    /// Finds an outcome by the name people see.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == name)
    }

    /// The stored form.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Reads the stored form.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The name people see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Retry => "retry",
            Self::Reject => "reject",
            Self::Trap => "trap",
            Self::Timeout => "timeout",
            Self::Memory => "memory",
            Self::Error => "error",
            Self::Crash => "crash",
            Self::Again => "again",
        }
    }
}

/// A line a plugin logged during an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct LogLine {
    /// `trace`, `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// Control characters escaped, cut to the limit.
    pub message: String,
}

/// An HTTP request that a plugin sent, or wanted to send, during an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct HttpCall {
    /// `GET`, `POST`, …
    pub method: String,
    /// Scheme, host, port and path as requested; of the query only the names.
    pub url: String,
    /// The status of the response, if one came.
    pub status: Option<u16>,
    /// The reason, if no response came or its body did not end; for people.
    pub error: Option<String>,
    /// Whether the host refused it, by a rule or a limit. Older records do not say it.
    #[serde(default)]
    pub refused: bool,
    /// Bytes of the request's body.
    pub sent_bytes: u64,
    /// Bytes of the response's body that the plugin took.
    pub received_bytes: u64,
    /// From the request to the end of the response's body, or to the end of the attempt; in
    /// milliseconds.
    pub duration_ms: u64,
    /// From the beginning of the attempt to the request, in milliseconds. Older records do not say
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset_ms: Option<u64>,
}

/// A step that an attempt recorded, or whose result it recalled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct StepUse {
    /// The name of the step.
    pub name: String,
    /// Bytes of its result.
    pub bytes: u64,
    /// From the beginning of the attempt until the result was durable, in milliseconds; absent if
    /// the result was there already.
    pub recorded_after_ms: Option<u64>,
}

/// The processor time and the memory of a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestUse {
    /// The time that it computed, in microseconds.
    pub cpu_us: u64,
    /// The most linear memory that it held, in KiB.
    pub memory_kib: u64,
}

impl GuestUse {
    /// The memory in bytes.
    pub fn memory_bytes(self) -> u64 {
        self.memory_kib.saturating_mul(1024)
    }
}

/// The record of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRecord {
    /// Start, Unix milliseconds.
    pub started_at_ms: i64,
    /// From the call to the verdict, in microseconds.
    pub duration_us: u64,
    /// CPU time and memory of its guest; absent if none ran, and in older records.
    pub used: Option<GuestUse>,
    /// The outcome.
    pub outcome: Outcome,
    /// The reason, if it did not succeed, for people.
    pub error: Option<String>,
    /// Bounded by the sandbox.
    pub logs: Vec<LogLine>,
    /// HTTP requests of the plugin, in the order in which they began; bounded by the sandbox.
    pub calls: Vec<HttpCall>,
    /// Steps that it recorded or recalled, each once, in the order in which it did so first.
    pub steps: Vec<StepUse>,
    /// SHA-256 of the plugin file that ran, absent when none did.
    pub plugin_digest: Option<Digest>,
}

impl AttemptRecord {
    /// The record of an attempt in which no guest ran.
    pub fn of_host(started_at_ms: i64, outcome: Outcome, error: Option<String>) -> Self {
        Self {
            started_at_ms,
            duration_us: 0,
            used: None,
            outcome,
            error,
            logs: Vec::new(),
            calls: Vec::new(),
            steps: Vec::new(),
            plugin_digest: None,
        }
    }
}

/// A SHA-256, shown as 64 lower-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Enough of it to tell files apart in a log: 12 hex digits.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..6])
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A text is not a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 64 hex digits")]
pub struct NotADigest;

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| NotADigest)?;
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_was_recorded_before_it_said_so_was_not_refused() {
        let old = r#"{"method":"GET","url":"https://a/","status":null,"error":"no","sent_bytes":0,"received_bytes":0,"duration_ms":1}"#;
        let call: HttpCall = serde_json::from_str(old).unwrap();
        assert!(!call.refused && call.offset_ms.is_none());
        let refused = HttpCall { refused: true, offset_ms: Some(7), ..call };
        let read: HttpCall =
            serde_json::from_str(&serde_json::to_string(&refused).unwrap()).unwrap();
        assert_eq!(read, refused);
    }
}
