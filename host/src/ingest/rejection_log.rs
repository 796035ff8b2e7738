//! The log of rejected requests, at a bounded rate.

use std::time::{Duration, Instant};

use super::reply::Rejection;
use crate::server::{Client, LineLimit};

/// Lines a second, for all sources and reasons together.
const MAX_LINES_PER_SECOND: u32 = 10;

/// Logs why requests were rejected.
#[derive(Debug)]
pub(super) struct RejectionLog(LineLimit);

impl RejectionLog {
    pub(super) fn new() -> Self {
        Self(LineLimit::new(MAX_LINES_PER_SECOND, Duration::from_secs(1)))
    }

    /// Writes one line with the reason, unless there were too many; the next line then says how
    /// many were left out.
    pub(super) fn note(&self, source: &str, client: &Client, rejection: &Rejection) {
        let Some(suppressed) = self.0.admit(Instant::now()) else { return };
        tracing::warn!(
            source.name = source,
            client.address = %client,
            reason = %rejection,
            suppressed,
            "webhook refused"
        );
    }
}
