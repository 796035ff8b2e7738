//! The limits of one attempt. `[plugins.NAME]` has the two that everybody meets, `timeout` and `memory`; the others are
//! in its `limits`.

/// Limits of one attempt, from instantiation to verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Time, waiting included, in milliseconds.
    pub timeout_ms: u64,
    /// All linear memories and tables together, in bytes.
    pub memory_bytes: usize,
    /// HTTP requests, refused ones included.
    pub http_requests: usize,
    /// HTTP requests whose response has not been taken to its end.
    pub http_open: usize,
    /// Bodies of all HTTP requests together, in bytes.
    pub http_sent_bytes: u64,
    /// Bodies of all HTTP responses together, in bytes.
    pub http_received_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout_ms: 10_000,
            memory_bytes: 64 << 20,
            http_requests: 32,
            http_open: 8,
            http_sent_bytes: 4 << 20,
            http_received_bytes: 16 << 20,
        }
    }
}
